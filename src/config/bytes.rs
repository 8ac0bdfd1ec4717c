//! Whole numbers and byte sizes: `64MB` is 64,000,000 and `64MiB` 67,108,864.
//!
//! Numbers as YAML 1.1 reads them (`0x1f`, `0600`, `1_000`), because that is what Beats users write. Exact, no
//! floating point.

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SizeError {
    #[error("not a size")]
    Syntax,
    #[error("{0:?} is not one of the units B, kB, MB, GB, TB, KiB, MiB, GiB, TiB")]
    Unit(String),
    #[error("it is too large")]
    TooLarge,
}

/// Reads a size in bytes; a number without a unit is bytes. A part of a byte is cut off.
pub(super) fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u128 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" | "ki" => 1 << 10,
        "mib" | "mi" => 1 << 20,
        "gib" | "gi" => 1 << 30,
        "tib" | "ti" => 1 << 40,
        _ if number.is_empty() => return Err(SizeError::Syntax),
        other => return Err(SizeError::Unit(other.chars().take(20).collect())),
    };
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || whole.contains('.') || fraction.contains('.') || number.ends_with('.') {
        return Err(SizeError::Syntax);
    }
    let fraction = &fraction[..fraction.len().min(15)];
    let whole: u128 = u128::from(whole.parse::<u64>().map_err(|_| SizeError::TooLarge)?);
    let part: u128 = if fraction.is_empty() {
        0
    } else {
        let digits = u32::try_from(fraction.len()).map_err(|_| SizeError::Syntax)?;
        u128::from(fraction.parse::<u64>().map_err(|_| SizeError::Syntax)?) * factor / 10_u128.pow(digits)
    };
    u64::try_from(whole * factor + part).map_err(|_| SizeError::TooLarge)
}

/// Reads a whole number: decimal, `0x`, `0b`, `0o` or a leading zero for octal, `_` between digits.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Reads a file mode: octal with a leading zero (`0600`, `0o600`), at most `0777`.
pub(super) fn parse_mode(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_decimal_unless_they_say_i() {
        for (text, size) in [
            ("0", 0),
            ("10485760", 10_485_760),
            ("64MB", 64_000_000),
            ("64 mb", 64_000_000),
            ("64MiB", 67_108_864),
            ("10GB", 10_000_000_000),
            ("1.5kB", 1_500),
            ("1_000", 1_000),
            ("0.5KiB", 512),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        assert_eq!(parse("5 parsecs"), Err(SizeError::Unit("parsecs".to_owned())));
        assert_eq!(parse("99999999TiB"), Err(SizeError::TooLarge));
        for text in ["", "MB", "-1", "1.", ".5", "1.2.3", "many", "0x10"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_those_of_yaml_1_1() {
        for (text, value) in [
            ("0", 0),
            ("42", 42),
            ("-1", -1),
            ("+7", 7),
            ("0600", 384),
            ("0o600", 384),
            ("0x1F", 31),
            ("1_000", 1000),
        ] {
            assert_eq!(parse_integer(text), Some(value), "{text}");
        }
        for text in [
            "",
            "09",
            "1.5",
            "a",
            "_1",
            "0x",
            "--1",
            "0x-1",
            "99999999999999999999",
            "1e3",
        ] {
            assert_eq!(parse_integer(text), None, "{text}");
        }
    }

    #[test]
    fn modes_are_octal_or_nothing() {
        assert_eq!(parse_mode("0600"), Some(0o600));
        assert_eq!(parse_mode("0o640"), Some(0o640));
        for text in ["600", "384", "0", "0888", "01777", "rw"] {
            assert_eq!(parse_mode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = (parse(&text), parse_integer(&text), parse_mode(&text));
        }

        #[test]
        fn never_panics_on_near_misses(text in "[-+]?0?[xob]?[0-9._]{0,40} ?[kKmMgGtT]?i?[bB]?") {
            let _ = (parse(&text), parse_integer(&text), parse_mode(&text));
        }
    }
}
