//! A value that must never be shown.
//!
//! Owns the redaction: `Debug` and `Display` of a [`Secret`] give `xxxxx`, and there is no `Serialize`. The
//! only way to the text is [`Secret::expose`], so that a search for it finds every use.

use std::fmt;

/// A password, key or token.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xxxxx")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xxxxx")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn never_shows_its_text() {
        let secret = Secret::new("ChangeMe");
        assert_eq!(format!("{secret:?} {secret}"), "xxxxx xxxxx");
        assert_eq!(secret.expose(), "ChangeMe");
    }
}
