//! Secrets that are known again wherever they turn up.
//!
//! Owns [`Canaries`]: texts that begin and end with a mark of their own, so that a part of one is found too, and the
//! forms in which a mark may hide.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ecsbeat::telemetry::cut::cut;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Secrets by name, and other texts that must not be shown.
pub(super) struct Canaries {
    names: Vec<&'static str>,
    others: Vec<String>,
}

impl Canaries {
    /// Names are letters only, and none is the beginning or end of another.
    pub(super) fn new(names: &[&'static str]) -> Self {
        Self {
            names: names.to_vec(),
            others: Vec::new(),
        }
    }

    /// Further texts that must not be found.
    pub(super) fn and(mut self, others: impl IntoIterator<Item = String>) -> Self {
        self.others.extend(others);
        self
    }

    /// The secret of that name: with signs that are written differently in JSON, in URLs and in markup.
    pub(super) fn of(&self, name: &str) -> String {
        assert!(self.names.contains(&name), "{name}");
        format!("CANARY-{name}-p/w\"+q&r%s@t:<-{name}-YRANAC")
    }

    /// As part of a URL.
    pub(super) fn in_url(&self, name: &str) -> String {
        utf8_percent_encode(&self.of(name), NON_ALPHANUMERIC).to_string()
    }

    /// What is found in `text`: which secret, in which form, and what stands before it.
    pub(super) fn found(&self, text: &str) -> Vec<String> {
        let marks = self
            .names
            .iter()
            .flat_map(|name| [format!("CANARY-{name}-"), format!("-{name}-YRANAC")]);
        let mut found = Vec::new();
        for mark in marks.chain(self.others.iter().cloned()) {
            for (form, written) in forms(&mark) {
                if let Some(at) = text.find(&written) {
                    let begin = cut(text, at.saturating_sub(300)).len();
                    found.push(format!("{mark} ({form}) after {:?}", &text[begin..at]));
                }
            }
        }
        found
    }

    /// Fails where anything is found in `text`, or where there is nothing to look at.
    #[track_caller]
    pub(super) fn absent(&self, place: &str, text: &str) {
        assert!(!text.is_empty(), "nothing in {place}");
        let found = self.found(text);
        assert!(found.is_empty(), "in {place}: {found:#?}");
    }
}

fn forms(mark: &str) -> Vec<(&'static str, String)> {
    let percent = utf8_percent_encode(mark, NON_ALPHANUMERIC).to_string();
    let mut hex = String::new();
    mark.bytes().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    let mut forms = vec![
        ("plain", mark.to_owned()),
        ("percent", percent.to_ascii_lowercase()),
        ("percent", percent),
        ("hex", hex.to_ascii_uppercase()),
        ("hex", hex),
    ];
    for lead in 0..3 {
        forms.push((
            "base64",
            within(&STANDARD_NO_PAD.encode(padded(mark, lead)), mark, lead),
        ));
        forms.push((
            "base64",
            within(&URL_SAFE_NO_PAD.encode(padded(mark, lead)), mark, lead),
        ));
    }
    forms
}

fn padded(mark: &str, lead: usize) -> Vec<u8> {
    [&b"xx"[..lead], mark.as_bytes()].concat()
}

/// The letters of base64 that say nothing of what stands before and after the mark.
fn within(encoded: &str, mark: &str, lead: usize) -> String {
    let from = (lead * 8).div_ceil(6);
    let until = (lead + mark.len()) * 8 / 6;
    encoded[from..until].to_owned()
}

#[test]
fn every_form_is_found_wherever_it_stands() {
    let canaries = Canaries::new(&["a", "b"]).and(["sim-secret".to_owned()]);
    let secret = canaries.of("a");
    let quoted = serde_json::Value::from(secret.as_str()).to_string();
    for lead in ["", "u", "us", "user:"] {
        let text = format!("{lead}{secret}");
        for text in [
            text.clone(),
            quoted.clone(),
            serde_json::Value::from(quoted.as_str()).to_string(),
            format!("{text:?}"),
            canaries.in_url("a"),
            STANDARD_NO_PAD.encode(&text),
            URL_SAFE_NO_PAD.encode(format!("{text}, and more")),
            secret[..20].to_owned(),
            secret[20..].to_owned(),
            "a sim-secret b".to_owned(),
        ] {
            assert!(!canaries.found(&text).is_empty(), "{text}");
        }
    }
    assert!(canaries.found("CANARY, YRANAC, CANARY-c-").is_empty());
}
