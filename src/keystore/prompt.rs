//! Questions to whoever sits at the terminal.
//!
//! Owns the reading of a line that is not shown. The terminal is put back as it was, also where the answer is broken
//! off: Ctrl-C comes as a key here, so that nothing ends the process while its keys are hidden. Keeps no answer.

use std::io::{self, IsTerminal as _, Read, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Longest answer, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Whether there is somebody to ask.
pub(super) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a yes; everything else is a no.
pub(super) fn confirms(question: &str) -> io::Result<bool> {
    ask(&format!("{question} [y/N]: "))?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}

/// Asks for a line that is not shown; `None` where the answer is broken off.
pub(super) fn hidden(question: &str) -> io::Result<Option<Vec<u8>>> {
    let restored = Hidden::begin()?;
    ask(question)?;
    let line = typed(io::stdin().lock().bytes());
    drop(restored);
    ask("\n")?;
    line
}

/// Questions are no output: they must not end up where that is sent.
fn ask(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

/// While it lives, keys come one by one and are not shown.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nothing to be done where the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// The line that these keys make.
fn typed(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Option<Vec<u8>>> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const BACKSPACE: u8 = 8;
    const CTRL_U: u8 = 21;
    const DELETE: u8 = 127;
    let mut line: Vec<u8> = Vec::new();
    for key in keys {
        match key? {
            b'\r' | b'\n' => return Ok(Some(line)),
            CTRL_D if !line.is_empty() => return Ok(Some(line)),
            CTRL_C | CTRL_D => return Ok(None),
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => {
                // A character of UTF-8 is several bytes: all that continue it, and the one that begins it.
                while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
            }
            _ if line.len() >= MAX_LINE => {}
            key => line.push(key),
        }
    }
    Ok((!line.is_empty()).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &str) -> Option<String> {
        let typed = typed(keys.bytes().map(Ok)).unwrap();
        typed.map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn keys_make_a_line() {
        for (keys, want) in [
            ("secret\nrest", Some("secret")),
            ("secret\r", Some("secret")),
            ("\n", Some("")),
            ("sü\x7f\x7fx\n", Some("x")),
            ("\x08ab\x08c\n", Some("ac")),
            ("wrong\x15right\n", Some("right")),
            ("half\x03", None),
            ("\x04", None),
            ("half\x04", Some("half")),
            ("no end", Some("no end")),
            ("", None),
        ] {
            assert_eq!(line(keys).as_deref(), want, "{keys:?}");
        }
    }
}
