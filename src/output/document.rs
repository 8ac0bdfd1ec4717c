//! An event's document as outputs write it.
//!
//! Owns the two layouts, one line and indented. Both work on the bytes and never decode them, so that a number
//! of any length arrives as it was collected.

use std::borrow::Cow;

/// The document without a line break. Valid JSON has them between its tokens only, where a space means the same.
pub(super) fn single_line(document: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', document).is_none() {
        return Cow::Borrowed(document);
    }
    let spaced = document
        .iter()
        .map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte });
    Cow::Owned(spaced.collect())
}

/// Appends the document in lines, indented by two spaces a level.
pub(super) fn indent(out: &mut Vec<u8>, document: &[u8]) {
    let mut level = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut opened = false;
    for &byte in document {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(byte, b'}' | b']');
        if closes {
            level = level.saturating_sub(1);
        }
        if opened != closes {
            // Neither an empty pair of brackets nor a value within a line.
            new_line(out, level);
        }
        opened = matches!(byte, b'{' | b'[');
        match byte {
            b'{' | b'[' => level += 1,
            b'"' => in_string = true,
            _ => {}
        }
        out.push(byte);
        match byte {
            b':' => out.push(b' '),
            b',' => new_line(out, level),
            _ => {}
        }
    }
}

fn new_line(out: &mut Vec<u8>, level: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * level, b' ');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(document: &str, want: &str) {
        let mut out = Vec::new();
        indent(&mut out, document.as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn indents_without_touching_values() {
        check("{}", "{}");
        check(
            r#"{"a": 1,"b":{"c":[],"d":[1,{"e":"x,{\"[ y\\"}]},"f":123456789012345678901234567890.10}"#,
            r#"{
  "a": 1,
  "b": {
    "c": [],
    "d": [
      1,
      {
        "e": "x,{\"[ y\\"
      }
    ]
  },
  "f": 123456789012345678901234567890.10
}"#,
        );
    }

    #[test]
    fn line_breaks_become_spaces() {
        assert!(matches!(single_line(b"{\"a\":\"\\n\"}"), Cow::Borrowed(_)));
        assert_eq!(&*single_line(b"{\r\n\"a\":1}"), b"{  \"a\":1}");
    }

    proptest! {
        #[test]
        fn indents_as_serde_json_does(text in r#"[\[\]{},:"\\a1 ]{0,30}"#, number: i64) {
            let value = serde_json::json!({"k": [text, {"n": number}, [], {}, null, true], "e": ""});
            let mut out = Vec::new();
            indent(&mut out, value.to_string().as_bytes());
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
