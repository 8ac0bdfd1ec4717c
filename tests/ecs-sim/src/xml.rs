//! The XML form of an answer, made from its JSON form by the rules of Jersey: members become elements, lists
//! repeat their element. It must never be used for an answer that ECS gives in JSON only.

use serde_json::Value;

/// The document with the root element `root`; text that is no JSON is passed on as it is.
pub(crate) fn document(root: &str, json: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(json) else {
        return json.to_owned();
    };
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>");
    element(&mut out, root, &value);
    out
}

fn element(out: &mut String, name: &str, value: &Value) {
    if let Value::Array(items) = value {
        for item in items {
            element(out, name, item);
        }
        return;
    }
    if value.is_null() {
        return;
    }
    out.push('<');
    out.push_str(name);
    out.push('>');
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                element(out, key, member);
            }
        }
        Value::String(text) => escape(out, text),
        other => out.push_str(&other.to_string()),
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Writes character data.
pub(crate) fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_repeat_their_element() {
        let xml = document(
            "auditevents",
            r#"{"auditevent":[{"id":"a<b"},{"id":"c"}],"MaxEvents":2,"x":null}"#,
        );
        assert!(xml.contains("<auditevent><id>a&lt;b</id></auditevent><auditevent><id>c</id></auditevent>"));
        assert!(xml.ends_with("</auditevents>"));
        assert!(!xml.contains("<x>"));
    }
}
