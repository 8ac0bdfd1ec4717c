//! What a panic leaves in the log.
//!
//! Owns the words: where it happened, and what it says without the values that it quotes. A panic of a library shows
//! whatever it failed on, and that may be an answer, an event or a secret.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::panic::PanicHookInfo;

use super::cut::cut;

/// Bytes of a message that are shown.
const SHOWN: usize = 300;

/// Has panics logged from now on; before the log is set up that is nowhere.
pub fn log() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("{}", describe(panic))));
}

/// Where it happened and why; with the functions, where `RUST_BACKTRACE` asks for them.
pub fn describe(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let mut text = format!("thread {:?} panicked", thread.name().unwrap_or("unnamed"));
    if let Some(place) = panic.location() {
        // Writing to a text cannot fail.
        let _never = write!(text, " at {}:{}", place.file(), place.line());
    }
    let _never = write!(
        text,
        ": {}; this is a defect, please report it with the log",
        words(panic.payload())
    );
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _never = write!(text, "\n{trace}");
    }
    text
}

/// What a panic says, without the values in it.
pub fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    text.map_or_else(|| "it does not say why".to_owned(), without_values)
}

/// The text up to the first value that it quotes.
fn without_values(text: &str) -> String {
    // The standard library's own words, in backquotes like the values that it shows.
    const WORDS: [&str; 8] = [
        "`Option::unwrap()`",
        "`Result::unwrap()`",
        "`Result::unwrap_err()`",
        "`Result::expect_err()`",
        "`None`",
        "`Some`",
        "`Err`",
        "`Ok`",
    ];
    let mut end = 0;
    while let Some(at) = text[end..].find(['"', '\'', '`', '\n']).map(|at| end + at) {
        let word = WORDS.iter().find(|word| text[at..].starts_with(**word));
        let before = text[..at].chars().next_back();
        let after = text[at + 1..].chars().next();
        let is_apostrophe = text[at..].starts_with('\'')
            && before.is_some_and(char::is_alphanumeric)
            && after.is_some_and(char::is_alphabetic);
        end = match word {
            Some(word) => at + word.len(),
            None if is_apostrophe => at + 1,
            None => return format!("{}…", shortened(&text[..at])),
        };
    }
    shortened(text).to_owned()
}

fn shortened(text: &str) -> &str {
    cut(text, SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out() {
        for (text, want) in [
            (
                "index out of bounds: the len is 3 but the index is 5",
                "index out of bounds: the len is 3 but the index is 5",
            ),
            (
                "called `Option::unwrap()` on a `None` value",
                "called `Option::unwrap()` on a `None` value",
            ),
            (
                "called `Result::unwrap()` on an `Err` value: Error(\"CANARY\", line: 1)",
                "called `Result::unwrap()` on an `Err` value: Error(…",
            ),
            (
                "end byte index 9 is out of bounds of `CANARY`",
                "end byte index 9 is out of bounds of …",
            ),
            (
                "byte index 3 is not a char boundary; it is inside 'ä' (bytes 2..4) of `CANARY`",
                "byte index 3 is not a char boundary; it is inside …",
            ),
            ("the field's value: 'CANARY' is odd", "the field's value: …"),
            ("two\nCANARY", "two…"),
            ("", ""),
        ] {
            assert_eq!(without_values(text), want);
        }
        assert_eq!(without_values(&"ä".repeat(1000)).len(), SHOWN);
    }

    #[test]
    fn a_panic_is_told_with_its_place() {
        let hook = std::panic::take_hook();
        let (told, heard) = std::sync::mpsc::channel();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = told.send(describe(panic));
        }));
        let caught = std::thread::Builder::new()
            .name("CANARY-free".to_owned())
            .spawn(|| {
                let text = "{\"password\": \"CANARY-secret\"".to_owned();
                serde_json::from_str::<u8>(&text).map_err(|_| text).unwrap()
            })
            .unwrap()
            .join();
        std::panic::set_hook(hook);
        assert!(caught.is_err());
        // Other tests may panic meanwhile, as they should.
        let told = heard
            .iter()
            .find(|text| text.starts_with("thread \"CANARY-free\""))
            .unwrap();
        assert!(
            told.contains("panics.rs:") && told.contains("an `Err` value: …"),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
    }
}
