//! How each test went, told when it ends; what was skipped once more at the end, where a reader of a long log looks.
//!
//! Owns the words and the counting. Judges nothing.

use std::time::Duration;

/// Set to 1, what is skipped is a failure.
const REQUIRE: &str = "ECSBEAT_REQUIRE_IMAGES";

/// How a test went.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// As it should.
    Passed(Duration),
    /// It did not, and why.
    Failed(String),
    /// It was not done, and why.
    Skipped(String),
}

/// How all tests went.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

/// Says something on standard output.
#[expect(clippy::print_stdout, reason = "this is the test's output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

impl Verdict {
    /// A test has ended, or was not begun.
    pub(crate) fn note(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed(took) => {
                self.passed += 1;
                say(&format!("{name} ... ok, {:.1} s", took.as_secs_f64()));
            }
            Outcome::Failed(why) => {
                say(&format!("{name} ... FAILED\n{why}"));
                self.failed.push(name.to_owned());
            }
            Outcome::Skipped(why) => self.skipped.push(format!("SKIPPED {name}: {why}")),
        }
    }

    /// Tells the end of it; gives whether all is well.
    pub(crate) fn tell(&self) -> bool {
        let (passed, failed, skipped) = (self.passed, self.failed.len(), self.skipped.len());
        if passed + failed + skipped == 0 {
            return true;
        }
        for line in &self.skipped {
            say(line);
        }
        for name in &self.failed {
            say(&format!("FAILED {name}"));
        }
        say(&format!(
            "images: {passed} passed, {failed} failed, {skipped} SKIPPED"
        ));
        let required = skipped > 0 && std::env::var(REQUIRE).is_ok_and(|value| value == "1");
        if required {
            say(&format!("images: {REQUIRE}=1 asks for what was skipped"));
        }
        failed == 0 && !required
    }
}
