//! The answer to a bulk request.
//!
//! Owns what an item of it means for its event. Items are matched to events by id: one that is missing, has no
//! status or an id that was not sent never counts as accepted. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Deserialize;

use crate::event::EventId;

/// Bytes of a reason that are shown.
const SHOWN: usize = 300;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Stored.
    Accepted,
    /// Stored before.
    Duplicate,
    /// Not now (429).
    TooMany,
    /// Not this time (5xx).
    Failed,
    /// Not with these privileges, or not while the index is blocked: somebody can change that.
    Denied(ItemError),
    /// Never (other 4xx).
    Refused(ItemError),
    /// The answer does not say.
    Unanswered,
}

/// Why an event was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ItemError {
    pub(super) status: u16,
    /// Elasticsearch's name for it.
    pub(super) kind: String,
    /// Its own words, which may quote the document.
    pub(super) reason: String,
}

impl ItemError {
    /// The error without the document's content: its name and the field's.
    pub(super) fn summary(&self) -> String {
        let kind = if self.kind.is_empty() { "error" } else { &self.kind };
        let text = match field(&self.reason) {
            Some(field) => format!("{kind} on field {field} (status {})", self.status),
            None => format!("{kind} (status {})", self.status),
        };
        cut(&text).to_owned()
    }
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<BTreeMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "_id")]
    id: Option<String>,
    status: Option<u16>,
    error: Option<Reason>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reason {
    Object {
        #[serde(rename = "type")]
        kind: Option<String>,
        reason: Option<String>,
        caused_by: Option<Box<Reason>>,
    },
    Text(String),
}

impl Reason {
    fn kind(&self) -> &str {
        match self {
            Self::Object { kind, .. } => kind.as_deref().unwrap_or_default(),
            Self::Text(_) => "",
        }
    }

    /// The reason and those of its causes.
    fn text(&self) -> String {
        match self {
            Self::Object {
                reason, caused_by, ..
            } => {
                let texts = [reason.clone(), caused_by.as_ref().map(|cause| cause.text())];
                let texts: Vec<String> = texts.into_iter().flatten().collect();
                texts.join(": ")
            }
            Self::Text(text) => text.clone(),
        }
    }
}

/// The verdicts on the events with the given ids, in their order, out of an answer's body.
pub(super) fn verdicts(sent: &[EventId], body: &[u8]) -> Result<Vec<Verdict>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(body)?;
    // One id may be in a bulk more than once; then each of its events takes one of the items, in order.
    let mut waiting: HashMap<EventId, VecDeque<usize>> = HashMap::with_capacity(sent.len());
    for (position, &id) in sent.iter().enumerate() {
        waiting.entry(id).or_default().push_back(position);
    }
    let mut verdicts = vec![Verdict::Unanswered; sent.len()];
    for item in answer
        .items
        .into_iter()
        .filter_map(|item| item.into_values().next())
    {
        let position = item
            .id
            .as_deref()
            .and_then(EventId::parse)
            .and_then(|id| waiting.get_mut(&id)?.pop_front());
        if let (Some(position), Some(status)) = (position, item.status) {
            verdicts[position] = verdict(status, item.error.as_ref());
        }
    }
    Ok(verdicts)
}

fn verdict(status: u16, error: Option<&Reason>) -> Verdict {
    let described = || ItemError {
        status,
        kind: error.map(Reason::kind).unwrap_or_default().to_owned(),
        reason: error.map(Reason::text).unwrap_or_default(),
    };
    match status {
        200..=299 if error.is_none() => Verdict::Accepted,
        409 => Verdict::Duplicate,
        429 => Verdict::TooMany,
        // A read-only index (a full disk) or a missing right: dropping would lose what somebody can still save.
        401 | 403 => Verdict::Denied(described()),
        400..=499 => Verdict::Refused(described()),
        500.. => Verdict::Failed,
        _ => Verdict::Unanswered,
    }
}

/// The reason in the answer to a request as a whole, where it can be shown: one about parsing could quote a
/// document.
pub(super) fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Whole {
        error: Reason,
    }
    let Whole { error } = serde_json::from_slice(body).ok()?;
    let (kind, text) = (error.kind(), error.text());
    let shown = match (kind, text.as_str()) {
        ("", "") => return None,
        (kind, _) if kind.contains("pars") => kind.to_owned(),
        ("", text) => text.to_owned(),
        (kind, "") => kind.to_owned(),
        (kind, text) => format!("{kind}: {text}"),
    };
    Some(cut(&shown).to_owned())
}

/// The name of the field that a reason is about. Only the first mention counts: later ones may be in a quoted
/// value.
fn field(reason: &str) -> Option<&str> {
    let marks = ["field [", "mapping for [", "mapper ["];
    let start = marks
        .iter()
        .filter_map(|mark| Some(reason.find(mark)? + mark.len()))
        .min()?;
    let name = &reason[start..];
    let name = &name[..name.find(']')?];
    let plain = |c: char| c.is_alphanumeric() || "._-@*".contains(c);
    (!name.is_empty() && name.len() <= 128 && name.chars().all(plain)).then_some(name)
}

fn cut(text: &str) -> &str {
    let ends = text.char_indices().map(|(start, c)| start + c.len_utf8());
    &text[..ends.take_while(|&end| end <= SHOWN).last().unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn id(number: u8) -> EventId {
        EventId::of([&[number][..]])
    }

    fn item(number: u8, status: u16) -> Value {
        json!({"create": {"_id": id(number).to_string(), "status": status}})
    }

    fn judge(sent: &[u8], answer: &Value) -> Vec<Verdict> {
        let sent: Vec<EventId> = sent.iter().copied().map(id).collect();
        verdicts(&sent, answer.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn every_status_has_its_meaning() {
        for (status, want) in [
            (200, Verdict::Accepted),
            (201, Verdict::Accepted),
            (409, Verdict::Duplicate),
            (429, Verdict::TooMany),
            (500, Verdict::Failed),
            (503, Verdict::Failed),
            (100, Verdict::Unanswered),
            (301, Verdict::Unanswered),
        ] {
            // The flag and the words of the answer decide nothing.
            for errors in [true, false] {
                let answer = json!({"errors": errors, "items": [item(1, status)], "note": "\"errors\":true"});
                assert_eq!(judge(&[1], &answer), std::slice::from_ref(&want), "{status}");
            }
        }
        for status in [400, 404, 410, 499] {
            assert!(matches!(&judge(&[1], &json!({"items": [item(1, status)]}))[..],
                    [Verdict::Refused(error)] if error.status == status));
        }
        for status in [401, 403] {
            assert!(matches!(&judge(&[1], &json!({"items": [item(1, status)]}))[..],
                    [Verdict::Denied(error)] if error.status == status));
        }
    }

    #[test]
    fn a_good_status_with_an_error_is_not_accepted() {
        let answer =
            json!({"items": [{"create": {"_id": id(1).to_string(), "status": 201, "error": {"type": "x"}}}]});
        assert_eq!(judge(&[1], &answer), [Verdict::Unanswered]);
    }

    #[test]
    fn items_are_matched_by_id() {
        let reordered = json!({"items": [item(3, 429), item(1, 201), item(2, 409)]});
        assert_eq!(
            judge(&[1, 2, 3], &reordered),
            [Verdict::Accepted, Verdict::Duplicate, Verdict::TooMany]
        );
        let first_missing = json!({"items": [item(2, 409), item(3, 201)]});
        assert_eq!(
            judge(&[1, 2, 3], &first_missing),
            [Verdict::Unanswered, Verdict::Duplicate, Verdict::Accepted]
        );
        let strange = json!({"items": [item(9, 201), {"create": {"status": 201}}, {}, {"create": {"_id": id(3).to_string()}}]});
        assert_eq!(judge(&[1, 2, 3], &strange), vec![Verdict::Unanswered; 3]);
        let surplus = json!({"items": [item(1, 201), item(1, 500), item(2, 201)]});
        assert_eq!(judge(&[1, 2], &surplus), [Verdict::Accepted, Verdict::Accepted]);
        assert_eq!(judge(&[1], &json!({"items": []})), [Verdict::Unanswered]);
    }

    #[test]
    fn one_id_sent_twice_takes_both_items() {
        let answer = json!({"items": [item(1, 201), item(2, 500), item(1, 409)]});
        assert_eq!(
            judge(&[1, 2, 1], &answer),
            [Verdict::Accepted, Verdict::Failed, Verdict::Duplicate]
        );
        let one_missing = json!({"items": [item(1, 201)]});
        assert_eq!(
            judge(&[1, 1], &one_missing),
            [Verdict::Accepted, Verdict::Unanswered]
        );
    }

    #[test]
    fn what_is_not_an_answer_is_an_error() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "{\"items\":1}",
            "{\"items\":[{\"create\":{\"status\":201}}",
            "<html>",
        ] {
            assert!(verdicts(&[id(1)], body.as_bytes()).is_err(), "{body}");
        }
        let real = json!({"items": [item(1, 201)]}).to_string();
        assert!(verdicts(&[id(1)], &real.as_bytes()[..real.len() - 1]).is_err());
    }

    fn error(kind: &str, reason: &str) -> ItemError {
        ItemError {
            status: 400,
            kind: kind.to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_summary_names_the_field_and_never_a_value() {
        for (reason, want) in [
            (
                "failed to parse field [disk.size] of type [long] in document with id 'x'. Preview of field's value: 'SECRET'",
                "mapper_parsing_exception on field disk.size (status 400)",
            ),
            (
                "object mapping for [a] tried to parse field [a] as object, but found a concrete value",
                "mapper_parsing_exception on field a (status 400)",
            ),
            (
                "mapper [x-y] cannot be changed from type [long] to [keyword]",
                "mapper_parsing_exception on field x-y (status 400)",
            ),
            ("failed to parse: SECRET", "mapper_parsing_exception (status 400)"),
            (
                "value 'SECRET field [SECRET value]'",
                "mapper_parsing_exception (status 400)",
            ),
            ("field [", "mapper_parsing_exception (status 400)"),
        ] {
            assert_eq!(error("mapper_parsing_exception", reason).summary(), want);
        }
        assert_eq!(error("", "").summary(), "error (status 400)");
        assert!(error(&"ä".repeat(500), "").summary().len() <= SHOWN);
    }

    #[test]
    fn reasons_of_causes_are_kept_for_the_dead_letter() {
        let answer = json!({"items": [{"create": {"_id": id(1).to_string(), "status": 400, "error": {
            "type": "mapper_parsing_exception", "reason": "failed to parse field [a]",
            "caused_by": {"type": "number_format_exception", "reason": "For input string: \"x\""}}}}]});
        let [Verdict::Refused(error)] = &judge(&[1], &answer)[..] else {
            panic!("not refused");
        };
        assert_eq!(error.kind, "mapper_parsing_exception");
        assert_eq!(error.reason, "failed to parse field [a]: For input string: \"x\"");
        let plain =
            json!({"items": [{"create": {"_id": id(1).to_string(), "status": 400, "error": "No handler"}}]});
        assert!(
            matches!(&judge(&[1], &plain)[..], [Verdict::Refused(error)] if error.reason == "No handler")
        );
    }

    #[test]
    fn reasons_of_whole_answers() {
        let show = |body: &str| reason(body.as_bytes());
        assert_eq!(
            show(r#"{"error":{"type":"a_exception","reason":"b"},"status":400}"#).as_deref(),
            Some("a_exception: b")
        );
        assert_eq!(show(r#"{"error":"plain"}"#).as_deref(), Some("plain"));
        assert_eq!(
            show(r#"{"error":{"type":"x_content_parse_exception","reason":"SECRET"}}"#).as_deref(),
            Some("x_content_parse_exception")
        );
        assert_eq!(show("<html>"), None);
        assert_eq!(show("{}"), None);
    }

    proptest! {
        #[test]
        fn any_answer_gives_one_verdict_for_each_event(
            sent in proptest::collection::vec(0_u8..6, 0..8),
            answered in proptest::collection::vec((0_u8..8, 0_u16..600), 0..10),
        ) {
            let items: Vec<Value> = answered.iter().map(|&(id, status)| item(id, status)).collect();
            let verdicts = judge(&sent, &json!({"items": items}));
            prop_assert_eq!(verdicts.len(), sent.len());
            for number in 0..6 {
                let accepted = sent.iter().zip(&verdicts)
                    .filter(|(id, verdict)| **id == number && **verdict == Verdict::Accepted).count();
                let good = answered.iter().filter(|(id, status)| *id == number && (200..300).contains(status)).count();
                prop_assert!(accepted <= good);
            }
        }

        #[test]
        fn summaries_never_panic(reason: String) {
            let _ = error("x", &reason).summary();
            let _ = super::reason(reason.as_bytes());
        }
    }
}
