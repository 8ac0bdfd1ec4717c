//! The steps of reaching a server, as `test output` and `test ecs` tell them.
//!
//! Owns the tree's shape, which is that of Beats: two spaces a level, `OK`, `WARN` or `ERROR` behind each step. A run
//! tells nobody its steps. Knows no output and no ECS.

use std::fmt;
use std::io::Write;

/// Takes the steps and writes them out as they happen.
pub struct Steps {
    out: Out,
    colour: bool,
    level: usize,
    failed: bool,
}

/// Where the lines go.
enum Out {
    Nowhere,
    Told(Box<dyn Write + Send>),
    Kept(String),
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
            out: Out::Nowhere,
            colour: false,
            level: 0,
            failed: false,
        }
    }

    /// Steps that are written to `out`; `colour` for a terminal.
    pub fn told(out: impl Write + Send + 'static, colour: bool) -> Self {
        Self {
            out: Out::Told(Box::new(out)),
            colour,
            level: 0,
            failed: false,
        }
    }

    /// Steps of something that is done at the same time as others: kept until they are [joined](Steps::join), below
    /// the present group.
    #[must_use]
    pub fn branch(&self) -> Self {
        Self {
            out: Out::Kept(String::new()),
            colour: self.colour,
            level: self.level,
            failed: false,
        }
    }

    /// Tells what a branch has kept.
    pub fn join(&mut self, branch: Self) {
        self.failed |= branch.failed;
        if let Out::Kept(text) = branch.out {
            self.write(&text);
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

    /// A step that worked, and what came of it.
    pub fn done(&mut self, step: &str, what: &dyn fmt::Display) {
        let word = self.word("OK", "32");
        self.line(format_args!("{step}... {word} {what}"));
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

    /// A line that is no step.
    pub fn say(&mut self, text: &str) {
        self.line(format_args!("{text}"));
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
        if !matches!(self.out, Out::Nowhere) {
            self.write(&format!("{:width$}{text}\n", "", width = 2 * self.level));
        }
    }

    fn write(&mut self, lines: &str) {
        match &mut self.out {
            Out::Nowhere => {}
            Out::Kept(text) => text.push_str(lines),
            Out::Told(out) => {
                // Whoever closed the pipe does not want the rest.
                let _ = out.write_all(lines.as_bytes());
                let _ = out.flush();
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was told, for looking at it.
    #[derive(Clone, Default)]
    pub(crate) struct Told(Arc<Mutex<Vec<u8>>>);

    impl Told {
        pub(crate) fn text(&self) -> String {
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
    fn branches_are_told_when_they_are_joined_whatever_was_first() {
        let told = Told::default();
        let mut steps = Steps::told(told.clone(), false);
        steps.enter("vdc");
        let (mut one, mut two) = (steps.branch(), steps.branch());
        two.enter("two");
        two.failed("dial up", &"refused");
        one.done("one", &"here");
        assert_eq!(told.text(), "vdc...\n");
        steps.join(one);
        assert!(!steps.have_failed());
        steps.join(two);
        assert!(steps.have_failed());
        steps.ok("end");
        assert_eq!(
            told.text(),
            "vdc...\n  one... OK here\n  two...\n    dial up... ERROR refused\n  end... OK\n"
        );
    }

    #[test]
    fn colours_are_for_terminals() {
        let told = Told::default();
        Steps::told(told.clone(), true).ok("dial up");
        assert_eq!(told.text(), "dial up... \x1b[32mOK\x1b[0m\n");
    }
}
