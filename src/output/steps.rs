//! The steps of reaching a server, as `test output` tells them.
//!
//! Owns the tree's shape, which is that of Beats: two spaces a level, `OK`, `WARN` or `ERROR` behind each step. A run
//! tells nobody its steps. Knows no output.

use std::fmt;
use std::io::Write;

/// Takes the steps and writes them out as they happen.
pub struct Steps {
    out: Option<Box<dyn Write + Send>>,
    colour: bool,
    level: usize,
    failed: bool,
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps")
            .field("level", &self.level)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Steps {
    /// Steps that nobody wants to hear of.
    pub fn untold() -> Self {
        Self {
            out: None,
            colour: false,
            level: 0,
            failed: false,
        }
    }

    /// Steps that are written to `out`; `colour` for a terminal.
    pub fn told(out: impl Write + Send + 'static, colour: bool) -> Self {
        Self {
            out: Some(Box::new(out)),
            colour,
            level: 0,
            failed: false,
        }
    }

    /// Opens a group: what follows stands below it, until [`Steps::leave`].
    pub fn enter(&mut self, title: &str) {
        self.line(format_args!("{title}..."));
        self.level += 1;
    }

    /// Closes the innermost group.
    pub fn leave(&mut self) {
        self.level = self.level.saturating_sub(1);
    }

    /// A step that worked.
    pub fn ok(&mut self, step: &str) {
        let word = self.word("OK", "32");
        self.line(format_args!("{step}... {word}"));
    }

    /// A step that worked, but perhaps not as it should.
    pub fn warn(&mut self, step: &str, warning: &str) {
        let word = self.word("WARN", "33");
        self.line(format_args!("{step}... {word} {warning}"));
    }

    /// A step that failed.
    pub fn failed(&mut self, step: &str, error: &dyn fmt::Display) {
        self.failed = true;
        let word = self.word("ERROR", "31");
        self.line(format_args!("{step}... {word} {error}"));
    }

    /// A step that worked or failed.
    pub fn result<T, E: fmt::Display>(&mut self, step: &str, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => self.ok(step),
            Err(error) => self.failed(step, error),
        }
        result
    }

    /// A fact that was found, as `key: value`.
    pub fn fact(&mut self, key: &str, value: &dyn fmt::Display) {
        self.line(format_args!("{key}: {value}"));
    }

    /// Whether a step failed since the beginning.
    pub fn have_failed(&self) -> bool {
        self.failed
    }

    fn word(&self, word: &str, code: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        if let Some(out) = &mut self.out {
            // Whoever closed the pipe does not want the rest.
            let _ = writeln!(out, "{:width$}{text}", "", width = 2 * self.level);
            let _ = out.flush();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was told, for looking at it.
    #[derive(Clone, Default)]
    pub(in crate::output) struct Told(Arc<Mutex<Vec<u8>>>);

    impl Told {
        pub(in crate::output) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_tree_is_that_of_beats() {
        let told = Told::default();
        let mut steps = Steps::told(told.clone(), false);
        steps.enter("elasticsearch: http://localhost:9200");
        steps.enter("connection");
        steps.ok("parse host");
        steps.fact("addresses", &"127.0.0.1");
        steps.leave();
        steps.warn("TLS", "secure connection disabled");
        assert!(!steps.have_failed());
        steps
            .result::<(), _>("talk to server", Err("refused"))
            .unwrap_err();
        assert!(steps.have_failed());
        assert_eq!(
            told.text(),
            "elasticsearch: http://localhost:9200...\n  connection...\n    parse host... OK\n    addresses: \
             127.0.0.1\n  TLS... WARN secure connection disabled\n  talk to server... ERROR refused\n"
        );
    }

    #[test]
    fn colours_are_for_terminals() {
        let told = Told::default();
        Steps::told(told.clone(), true).ok("dial up");
        assert_eq!(told.text(), "dial up... \x1b[32mOK\x1b[0m\n");
    }
}
