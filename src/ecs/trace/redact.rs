//! Takes secrets out of what is recorded of an exchange.
//!
//! Owns what counts as one: by the name of a header, a JSON member, an XML element or a parameter; and by value, for the
//! password and token of the exchange itself, wherever they turn up and however they are encoded. Texts may be cut
//! anywhere, so nothing here asks for whole documents. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{Secret, is_secret_header};
use crate::transform::is_secret;

const HIDDEN: &str = "xxxxx";
/// Parts of names whose values are secret, in JSON, XML and parameters. Rather too much than too little.
const PARTS: [&str; 9] = [
    "passw",
    "secret",
    "token",
    "credential",
    "private",
    "authorization",
    "cookie",
    "api_key",
    "apikey",
];
/// Shorter values are not looked for: they would be found in half of all words.
const SHORTEST: usize = 4;

/// Values that must not be shown.
pub(super) struct Hidden(Vec<String>);

impl Hidden {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let mut forms = Vec::new();
        for secret in secrets {
            let text = secret.expose();
            if text.len() < SHORTEST {
                continue;
            }
            let quoted = serde_json::Value::from(text).to_string();
            forms.extend([
                text.to_owned(),
                quoted.get(1..quoted.len() - 1).unwrap_or(text).to_owned(),
                utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
                STANDARD.encode(text),
            ]);
        }
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self(forms)
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str, value: &str) -> String {
        if is_secret_header(name) || is_secret(name) {
            HIDDEN.to_owned()
        } else {
            self.text(value)
        }
    }

    /// A body, or its beginning.
    pub(super) fn body(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let text = match text.trim_start().bytes().next() {
            Some(b'{' | b'[' | b'"') => json(&text),
            Some(b'<') => xml(&text),
            _ => text.into_owned(),
        };
        self.text(&text)
    }

    /// Any other text.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = parameters(text);
        for form in &self.0 {
            if text.contains(form) {
                text = text.replace(form, HIDDEN);
            }
        }
        text
    }
}

fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_secret(name) || PARTS.iter().any(|part| lower.contains(part))
}

/// Hides the values of secret members, at every depth.
fn json(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(quote) = text[at..].find('"').map(|quote| at + quote) {
        let end = string_end(bytes, quote);
        shown.push_str(&text[at..end]);
        at = end;
        let colon = skip_blanks(bytes, end);
        if bytes.get(colon) != Some(&b':') {
            continue;
        }
        let value = skip_blanks(bytes, colon + 1);
        shown.push_str(&text[end..value]);
        at = value;
        let written = &text[quote..end];
        let name = serde_json::from_str::<String>(written).unwrap_or_else(|_| written.to_owned());
        if is_secret_name(&name) {
            shown.extend(["\"", HIDDEN, "\""]);
            at = value_end(bytes, value);
        }
    }
    shown.push_str(&text[at..]);
    shown
}

/// Behind the string that begins at `start`, or the end of the text.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn skip_blanks(bytes: &[u8], from: usize) -> usize {
    let blanks = bytes[from.min(bytes.len())..]
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace());
    from + blanks.count()
}

/// Behind the value that begins at `start`, or the end of the text.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            // Of what is around the value.
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Hides the content of secret elements.
fn xml(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let inside = &rest[open + 1..];
        let name_end = inside
            .find(|c: char| c.is_whitespace() || c == '>' || c == '/')
            .unwrap_or(inside.len());
        let name = &inside[..name_end];
        let local = name.rsplit(':').next().unwrap_or(name);
        if !local.starts_with(|c: char| c.is_alphabetic()) || !is_secret_name(local) {
            shown.push_str(&rest[..=open]);
            rest = inside;
            continue;
        }
        shown.push_str(&rest[..=open]);
        shown.extend([name, ">", HIDDEN]);
        let tag_end = inside.find('>').unwrap_or(inside.len());
        let is_empty = inside[..tag_end].ends_with('/');
        let close = format!("</{name}");
        // Attributes go as well: nobody knows what is in them.
        rest = match inside.find(&close) {
            _ if is_empty => inside.get(tag_end + 1..).unwrap_or_default(),
            Some(at) => &inside[at..],
            None => "",
        };
    }
    shown.push_str(rest);
    shown
}

/// Hides what stands behind `password=`, `token: ` and the like, as in addresses and messages.
fn parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(sign) = rest.find('=') {
        let name_begin = rest[..sign]
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
        let value = &rest[sign + 1..];
        let is_secret = is_secret_name(&rest[name_begin..sign]);
        shown.push_str(&rest[..=sign]);
        rest = value;
        if !is_secret {
            continue;
        }
        let (quote, value) = match value.strip_prefix(['"', '\'']) {
            Some(inner) => (value.get(..1).unwrap_or_default(), inner),
            None => ("", value),
        };
        let end = if quote.is_empty() {
            value.find(|c: char| c.is_whitespace() || "&\"'<>,;\\".contains(c))
        } else {
            value.find(quote)
        };
        shown.push_str(quote);
        shown.push_str(HIDDEN);
        rest = &value[end.unwrap_or(value.len())..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hidden() -> Hidden {
        Hidden::new(&[Secret::new("CANARY\"pass/word"), Secret::new("abc")])
    }

    fn body(text: &str) -> String {
        hidden().body(text.as_bytes())
    }

    #[test]
    fn members_are_hidden_by_name_at_every_depth() {
        for (text, want) in [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (
                r#"{"secretKeys":"CANARY","name":"v"}"#,
                r#"{"secretKeys":"xxxxx","name":"v"}"#,
            ),
            (
                r#"{"x":[{"root_user_password" : {"a":["CANARY","}"]} , "b":null}]}"#,
                r#"{"x":[{"root_user_password" : "xxxxx" , "b":null}]}"#,
            ),
            (r#"{"token":123,"x":true}"#, r#"{"token":"xxxxx","x":true}"#),
            (r#"{"token":null}"#, r#"{"token":"xxxxx"}"#),
            (r#"{"pass\u0077ord":"CANARY"}"#, r#"{"pass\u0077ord":"xxxxx"}"#),
            // Cut in the middle.
            (r#"{"secretKeys":"CANA"#, r#"{"secretKeys":"xxxxx""#),
            (r#"{"secretKeys":["CANARY",{"a"#, r#"{"secretKeys":"xxxxx""#),
            (r#"{"secretKeys":"#, r#"{"secretKeys":"xxxxx""#),
            (r#"{"secretKe"#, r#"{"secretKe"#),
            (r#"{"a":"b\"#, r#"{"a":"b\"#),
            ("[1,2", "[1,2"),
        ] {
            assert_eq!(body(text), want, "{text}");
        }
    }

    #[test]
    fn elements_are_hidden_by_name() {
        for (text, want) in [
            ("<a><b>1</b></a>", "<a><b>1</b></a>"),
            (
                "<vdc><secretKeys>CANARY</secretKeys><n>v</n></vdc>",
                "<vdc><secretKeys>xxxxx</secretKeys><n>v</n></vdc>",
            ),
            (
                "<x:password kind='CANARY'>CANARY</x:password>",
                "<x:password>xxxxx</x:password>",
            ),
            ("<token/><n>1</n>", "<token>xxxxx<n>1</n>"),
            ("<password>CANA", "<password>xxxxx"),
            ("<password", "<password>xxxxx"),
        ] {
            assert_eq!(body(text), want, "{text}");
        }
    }

    #[test]
    fn parameters_are_hidden_by_name() {
        for (text, want) in [
            (
                "https://n:4443/x?marker=a&token=CANARY&b=1",
                "https://n:4443/x?marker=a&token=xxxxx&b=1",
            ),
            ("password='CANARY x' left", "password='xxxxx' left"),
            ("old_password=CANARY", "old_password=xxxxx"),
            ("a==b=c", "a==b=c"),
            ("ä=1", "ä=1"),
        ] {
            assert_eq!(hidden().text(text), want, "{text}");
        }
    }

    #[test]
    fn what_the_exchange_itself_must_hide_is_found_in_every_form() {
        for text in [
            "CANARY\"pass/word",
            r#"{"said":"CANARY\"pass/word"}"#,
            "CANARY%22pass%2Fword",
            &STANDARD.encode("CANARY\"pass/word"),
        ] {
            let shown = hidden().body(text.as_bytes());
            assert!(shown.contains("xxxxx") && !shown.contains("CANARY"), "{shown}");
        }
        assert_eq!(
            hidden().text("abc"),
            "abc",
            "too short to be told from other words"
        );
    }

    #[test]
    fn headers_are_hidden_by_name() {
        for name in [
            "X-SDS-AUTH-TOKEN",
            "authorization",
            "Set-Cookie",
            "Cookie",
            "Proxy-Authorization",
            "X-Api-Key",
        ] {
            assert_eq!(hidden().header(name, "CANARY"), "xxxxx", "{name}");
        }
        assert_eq!(hidden().header("content-type", "text/html"), "text/html");
        assert_eq!(
            hidden().header("location", "/login?token=CANARY"),
            "/login?token=xxxxx"
        );
    }

    proptest! {
        #[test]
        fn any_text_cut_anywhere_is_taken(text in "[\\[{\"<:,=\\\\ a}\\]>/ä'&]{0,40}(token|password)?[\\[{\"<:,=\\\\ a}\\]>/ä'&]{0,40}") {
            body(&text);
            json(&text);
            xml(&text);
        }

        #[test]
        fn the_beginning_of_an_answer_never_shows_a_secret(cut in 0usize..200) {
            let whole = r#"{"id":"urn:x","secretKeys":"CANARY1","vdc":[{"k":"v","root_user_password":{"a":["CANARY2"]}}],"n":"ok"}"#;
            let shown = body(&whole[..cut.min(whole.len())]);
            prop_assert!(!shown.contains("CANARY"), "{}", shown);
        }
    }
}
