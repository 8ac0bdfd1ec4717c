//! Which strings are numbers.
//!
//! Owns the rule by a field's name and the check of a text. The dashboards give every scalar as a string, and
//! so do metering and, in some releases, capacity for their `total…`; identifiers and names are strings even where they have digits only, so
//! that a field never changes its type from one record to the next.

/// How strings below a field are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// They stay as they are.
    Strings,
    /// Numbers become numbers; `""` and `"N/A"` are absent.
    Numbers,
}

impl Rule {
    /// The rule for the field `name` of a record; `metrics` = it comes from the dashboards.
    pub(super) fn of(name: &str, metrics: bool) -> Self {
        let numeric = if metrics {
            !is_word(name)
        } else {
            name.starts_with("total") && !name.ends_with("_unit")
        };
        if numeric { Self::Numbers } else { Self::Strings }
    }
}

/// Names that stand for an identity or a word.
fn is_word(name: &str) -> bool {
    const ENDINGS: [&str; 8] = [
        "id", "name", "version", "type", "status", "state", "label", "title",
    ];
    let bytes = name.as_bytes();
    ENDINGS.iter().any(|ending| {
        bytes.len() >= ending.len()
            && bytes[bytes.len() - ending.len()..].eq_ignore_ascii_case(ending.as_bytes())
    })
}

/// Whether `text` is a JSON number as it stands: no sign but minus, no leading zeros, finite, and where it is an
/// integer, one of 64 bits.
pub(super) fn is_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let start = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(start);
    if whole == 0 || (whole > 1 && bytes[start] == b'0') {
        return false;
    }
    let mut at = start + whole;
    if at == bytes.len() {
        return whole < 19 || text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    }
    if bytes[at] == b'.' {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if at < bytes.len() && matches!(bytes[at], b'e' | b'E') {
        at += 1 + usize::from(bytes.get(at + 1).is_some_and(|byte| matches!(byte, b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == bytes.len() && text.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_json_numbers_of_at_most_64_bits() {
        for text in [
            "0",
            "-0",
            "12",
            "9007199254740993",
            "18446744073709551615",
            "-9223372036854775808",
            "0.5",
            "1.2450503E8",
            "1e-3",
        ] {
            assert!(is_number(text), "{text}");
            assert!(serde_json::from_str::<f64>(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "-",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "NaN",
            "N/A",
            "1 ",
            "0x1",
            "1e999",
            "99999999999999999999",
            "1.2.3",
            "12a",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn names_and_ids_stay_strings() {
        for name in [
            "id",
            "slotId",
            "displayName",
            "storagePoolId",
            "healthStatus",
            "rglinkStatus",
        ] {
            assert_eq!(Rule::of(name, true), Rule::Strings, "{name}");
        }
        assert_eq!(Rule::of("numNodes", true), Rule::Numbers);
        assert_eq!(Rule::of("numNodes", false), Rule::Strings);
        assert_eq!(Rule::of("total_size", false), Rule::Numbers);
        assert_eq!(Rule::of("totalFree_gb", false), Rule::Numbers);
        assert_eq!(Rule::of("total_size_unit", false), Rule::Strings);
        assert_eq!(Rule::of("namespace", false), Rule::Strings);
    }
}
