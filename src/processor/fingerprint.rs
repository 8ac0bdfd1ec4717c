//! `fingerprint`: a hash of some fields.
//!
//! Owns what is hashed, which is what Beats hash: `|name|value|name|value|`, in the order of the names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::document::Document;
use super::failure::Failure;
use super::object::Value;
use crate::condition::Fields as _;
use crate::config::{Encoding, Fingerprint, HashMethod};

/// Fails, with the event as it was, where a field is missing or no scalar.
pub(super) fn run(config: &Fingerprint, document: &mut Document<'_>) -> Result<(), Failure> {
    let what = "failed to compute fingerprint: ";
    let mut hash = digest::Context::new(match config.method {
        HashMethod::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        HashMethod::Sha256 => &digest::SHA256,
        HashMethod::Sha384 => &digest::SHA384,
        HashMethod::Sha512 => &digest::SHA512,
    });
    for field in &config.fields {
        let Some(found) = document.find(field) else {
            if config.ignore_missing {
                continue;
            }
            return Err(Failure::new(format!(
                "{what}failed to find field [{field}] in event: key not found"
            )));
        };
        let Some(value) = found.scalar() else {
            return Err(Failure::new(format!(
                "{what}cannot compute fingerprint using non-scalar field [{field}]"
            )));
        };
        for part in ["|", field, "|", &value] {
            hash.update(part.as_bytes());
        }
    }
    hash.update(b"|");
    let text = encode(hash.finish().as_ref(), config.encoding);
    document
        .put(&config.target_field, Value::text(text))
        .map_err(|error| Failure::edit(&config.target_field, error).of(what))
}

fn encode(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => bytes.iter().fold(String::new(), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(digit.into(), 16));
            }
            text
        }),
        Encoding::Base32 => base32(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    }
}

/// RFC 4648, section 6, with padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for group in bytes.chunks(5) {
        let mut bits = [0; 8];
        // A group has at most 5 bytes.
        bits[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bits);
        // 8 digits of 5 bits for 5 bytes; a shorter group fills as many as it has bits for.
        let filled = (group.len() * 8).div_ceil(5);
        for digit in 0..8 {
            if digit < filled {
                let index = (bits >> (35 - 5 * digit)) & 31;
                text.extend(
                    usize::try_from(index)
                        .ok()
                        .and_then(|index| ALPHABET.get(index))
                        .map(|digit| char::from(*digit)),
                );
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::processor::samples::{check, fails};

    /// Of `|field1|foo|field2|bar|`, by `sha1sum` and its like; Beats test for the same.
    const SHA1: &str = "22f76427d626516d3f7a05785165b99617683b22";
    const SHA256: &str = "1208288932231e313b369bae587ff574cd3016a408e52e7128d7bee752674003";

    #[test]
    fn hashes_what_beats_hash() {
        let before = r#"{"field1":"foo","field2":"bar","unused":"baz""#;
        for (method, want) in [
            ("sha1", SHA1),
            ("sha256", SHA256),
            (
                "sha384",
                "295adfe0bc03908948e4b0b6a54f441767867e426dda590430459c8a147fbba242a38cba282adee78335b9e08877b86c",
            ),
            (
                "sha512",
                "f50ad51b63c92a0ed0c910527119b81806f3110f0afaa1dcb93506a78371ea761e50c0fc09b08c441d832dd2da1b45e5\
                 d8361adfb240e1fffc2695122a23e183",
            ),
        ] {
            check(
                &format!("  - fingerprint: {{fields: [field2, field1, field2], method: {method}}}"),
                &format!("{before}}}"),
                &format!(r#"{before},"fingerprint":"{want}"}}"#),
            );
        }
        check(
            "  - fingerprint: {fields: [field1, field2, no], ignore_missing: true, target_field: x.y}",
            r#"{"field1":"f\u006fo","field2":"bar"}"#,
            &format!(r#"{{"field1":"f\u006fo","field2":"bar","x":{{"y":"{SHA256}"}}}}"#),
        );
    }

    #[test]
    fn encodings() {
        // Of `|n|9007199254740993|`, by `sha1sum`, `base32` and `base64`.
        for (encoding, want) in [
            ("hex", "5315c65d615b73fc640aa1ac0d5e093e6e61a087"),
            ("base32", "KMK4MXLBLNZ7YZAKUGWA2XQJHZXGDIEH"),
            ("base64", "UxXGXWFbc/xkCqGsDV4JPm5hoIc="),
        ] {
            check(
                &format!("  - fingerprint: {{fields: [n], method: sha1, encoding: {encoding}}}"),
                r#"{"n":9007199254740993}"#,
                &format!(r#"{{"n":9007199254740993,"fingerprint":"{want}"}}"#),
            );
        }
        // RFC 4648, section 10.
        for (text, want) in [
            ("", ""),
            ("f", "MY======"),
            ("fo", "MZXQ===="),
            ("foo", "MZXW6==="),
            ("foob", "MZXW6YQ="),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI======"),
        ] {
            assert_eq!(super::base32(text.as_bytes()), want);
        }
    }

    #[test]
    fn a_missing_field_or_one_of_several_values_leaves_the_event_as_it_is() {
        let before = r#"{"a":1,"l":[1],"o":{"x":1}}"#;
        for (fields, why) in [
            ("a, no", "failed to find field [no] in event: key not found"),
            ("a, l", "cannot compute fingerprint using non-scalar field [l]"),
            ("a, o", "cannot compute fingerprint using non-scalar field [o]"),
        ] {
            fails(
                &format!("  - fingerprint.fields: [{fields}]"),
                before,
                before,
                &[&format!("failed to compute fingerprint: {why}")],
            );
        }
    }
}
