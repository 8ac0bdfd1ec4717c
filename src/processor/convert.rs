//! `convert`: a value of another type.
//!
//! Owns what becomes what. All fields are converted before the first is written, so that one can be the source of
//! several. Whole numbers never go through a float: one that does not fit into its type is a failure, where Beats give
//! another number.

use std::borrow::Cow;
use std::net::IpAddr;

use super::Told;
use super::document::Document;
use super::failure::{Failure, mark};
use super::object::Value;
use crate::config::{Conversion, Convert, DataType};
use crate::json::{Found, Kind, Number};

/// Converts the fields, then writes them.
pub(super) fn run(
    config: &Convert,
    document: &mut Document<'_>,
    tell: &mut dyn FnMut(Told),
) -> Result<(), Failure> {
    let strict = config.on_error.fail_on_error;
    let mut converted = Vec::with_capacity(config.fields.len());
    for field in &config.fields {
        match converted_value(config, field, document) {
            Ok(Some(value)) => converted.push((field, value)),
            Ok(None) => {}
            Err(failure) if strict => return Err(mark(document, failure)),
            Err(failure) => tell(failure.told()),
        }
    }
    // With one field there is nothing to undo.
    let before = (strict && converted.len() > 1).then(|| document.clone());
    for (field, value) in converted {
        let target = field.to.as_ref().unwrap_or(&field.from);
        match document.put(target, value) {
            Ok(()) if config.rename && field.to.is_some() => {
                // Gone already where another conversion had the same source.
                let _ = document.remove(&field.from);
            }
            Ok(()) => {}
            Err(error) => {
                let failure = Failure::edit(target, error).of(&what(config, field));
                if !strict {
                    tell(failure.told());
                    continue;
                }
                if let Some(before) = before {
                    *document = before;
                }
                return Err(mark(document, failure));
            }
        }
    }
    Ok(())
}

/// `Ok(None)`: it is missing, and that is ignored.
fn converted_value<'a>(
    config: &Convert,
    field: &Conversion,
    document: &Document<'a>,
) -> Result<Option<Value<'a>>, Failure> {
    let Some(value) = document.get(&field.from) else {
        return if config.on_error.ignore_missing {
            Ok(None)
        } else {
            let reason = format!("field [{}] is missing: key not found", field.from);
            Err(Failure::new(reason).of(&what(config, field)))
        };
    };
    let Some(kind) = field.kind else {
        return Ok(Some(value));
    };
    convert(value, kind)
        .map(Some)
        .map_err(|reason| Failure::new(format!("unable to convert value: {reason}")).of(&what(config, field)))
}

/// What failed, in the words of Beats.
fn what(config: &Convert, field: &Conversion) -> String {
    let tag = match config.tag.as_str() {
        "" => String::new(),
        tag => format!(" with instance_id={tag}"),
    };
    let target = match &field.to {
        Some(to) => format!(" with target field [{to}]"),
        None => String::new(),
    };
    let kind = field.kind.map_or("[unset]", name);
    format!(
        "failed in processor.convert{tag}: conversion of field [{}] to type [{kind}]{target} failed: ",
        field.from
    )
}

fn name(kind: DataType) -> &'static str {
    match kind {
        DataType::Integer => "integer",
        DataType::Long => "long",
        DataType::Float => "float",
        DataType::Double => "double",
        DataType::String => "string",
        DataType::Boolean => "boolean",
        DataType::Ip => "ip",
    }
}

fn convert(value: Value<'_>, kind: DataType) -> Result<Value<'_>, String> {
    let found = value.found();
    let impossible = || format!("invalid conversion of [{}] to {}", found.kind(), name(kind));
    let json = match kind {
        DataType::String => {
            return match found.kind() {
                Kind::Text => Ok(value),
                Kind::Null => Err(impossible()),
                Kind::Flag | Kind::Number | Kind::List | Kind::Object => Ok(Value::text(value.to_json())),
            };
        }
        DataType::Ip => {
            let text = found.text().ok_or_else(impossible)?;
            let is_address = text.parse::<IpAddr>().is_ok();
            return if is_address {
                Ok(value)
            } else {
                Err("value is not a valid IP address".to_owned())
            };
        }
        DataType::Boolean => match (found.flag(), found.text()) {
            (Some(flag), _) => flag.to_string(),
            (None, Some(text)) => flag(&text).ok_or("it is neither true nor false")?.to_string(),
            (None, None) => return Err(impossible()),
        },
        DataType::Long => whole(found)
            .and_then(|whole| i64::try_from(whole).map_err(|_| NoNumber::Unfit))
            .map_err(|no| no.reason(impossible, "it is no whole number of 64 bits"))?
            .to_string(),
        DataType::Integer => whole(found)
            .and_then(|whole| i32::try_from(whole).map_err(|_| NoNumber::Unfit))
            .map_err(|no| no.reason(impossible, "it is no whole number of 32 bits"))?
            .to_string(),
        DataType::Float => decimal(found)
            .and_then(|text| text.parse().map_err(|_| NoNumber::Unfit))
            .and_then(|float: f32| float.is_finite().then(|| written(float)).ok_or(NoNumber::Unfit))
            .map_err(|no| no.reason(impossible, "it is no number of 32 bits"))?,
        DataType::Double => decimal(found)
            .and_then(|text| text.parse().map_err(|_| NoNumber::Unfit))
            .and_then(|float: f64| float.is_finite().then(|| written(float)).ok_or(NoNumber::Unfit))
            .map_err(|no| no.reason(impossible, "it is no number of 64 bits"))?,
    };
    Ok(Value::json(json))
}

/// The words that Go knows for a flag.
fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Why a value does not become a number.
enum NoNumber {
    /// It is neither a number nor a text.
    Kind,
    /// It is no such number.
    Unfit,
}

// === impl NoNumber ===

impl NoNumber {
    fn reason(&self, kind: impl Fn() -> String, unfit: &str) -> String {
        match self {
            Self::Kind => kind(),
            Self::Unfit => unfit.to_owned(),
        }
    }
}

/// A whole number. Of a number the fraction is cut off; a text must not have one, and may be hexadecimal.
fn whole(found: Found<'_>) -> Result<i128, NoNumber> {
    match (found.kind(), found.scalar()) {
        (Kind::Text, Some(text)) => whole_text(&text),
        (Kind::Number, Some(json)) => truncated(&json),
        _ => return Err(NoNumber::Kind),
    }
    .ok_or(NoNumber::Unfit)
}

fn whole_text(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let whole = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -whole } else { whole })
}

/// The whole part of a JSON number, from its digits.
fn truncated(json: &str) -> Option<i128> {
    let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    // An exponent beyond this makes any number 0 or too large.
    let exponent = exponent.parse::<i64>().ok()?.clamp(-100_000, 100_000);
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (true, mantissa),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let places = i64::try_from(whole.len()).ok()?.saturating_add(exponent);
    let mut digits = whole
        .bytes()
        .chain(fraction.bytes())
        .skip_while(|digit| *digit == b'0');
    let zeros = whole
        .bytes()
        .chain(fraction.bytes())
        .take_while(|digit| *digit == b'0')
        .count();
    let places = places.saturating_sub(i64::try_from(zeros).ok()?);
    let mut value: i128 = 0;
    // The first digit is none of the zeros, so that this ends with the range of the type.
    for _ in 0..places {
        let Some(digit) = digits.next().or((value != 0).then_some(b'0')) else {
            break;
        };
        let digit = char::from(digit).to_digit(10)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    Some(if negative { -value } else { value })
}

/// The text of a number, or a text that is one.
fn decimal(found: Found<'_>) -> Result<Cow<'_, str>, NoNumber> {
    match (found.kind(), found.scalar()) {
        (Kind::Number | Kind::Text, Some(text)) => {
            Number::parse(&text).ok_or(NoNumber::Unfit)?;
            Ok(text)
        }
        _ => Err(NoNumber::Kind),
    }
}

/// As JSON, with the fewest digits that give the same float.
fn written<T: serde::Serialize>(float: T) -> String {
    // A finite float can always be written.
    serde_json::to_string(&float).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::processor::samples::{check, fails};

    fn becomes(kind: &str, before: &str, after: &str) {
        check(
            &format!("  - convert.fields: [{{from: a, type: {kind}}}]"),
            &format!(r#"{{"a":{before}}}"#),
            &format!(r#"{{"a":{after}}}"#),
        );
    }

    fn does_not(kind: &str, before: &str, why: &str) {
        let document = format!(r#"{{"a":{before}}}"#);
        fails(
            &format!("  - convert: {{fields: [{{from: a, type: {kind}}}], fail_on_error: false}}"),
            &document,
            &document,
            &[&format!(
                "failed in processor.convert: conversion of field [a] to type [{kind}] failed: unable to convert value: {why}"
            )],
        );
    }

    #[test]
    fn whole_numbers_are_exact() {
        for (before, after) in [
            (r#""9007199254740993""#, "9007199254740993"),
            (r#""-9223372036854775808""#, "-9223372036854775808"),
            (r#""+5""#, "5"),
            (r#""007""#, "7"),
            (r#""0x1F""#, "31"),
            (r#""-0xff""#, "-255"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.9", "9007199254740993"),
            ("-1.9", "-1"),
            ("1.2450503E8", "124505030"),
            ("12e-1", "1"),
            ("0.000012e5", "1"),
            ("0e99999999", "0"),
            ("5e-99999999999", "0"),
        ] {
            becomes("long", before, after);
        }
        let no = "it is no whole number of 64 bits";
        for before in [
            r#""5.0""#,
            r#"" 5""#,
            r#""""#,
            r#""0x""#,
            r#""5a""#,
            r#""--5""#,
            "1e30",
            "9223372036854775808",
            "1e300",
        ] {
            does_not("long", before, no);
        }
        becomes("integer", r#""2147483647""#, "2147483647");
        does_not("integer", "2147483648", "it is no whole number of 32 bits");
        does_not("long", "true", "invalid conversion of [boolean] to long");
        does_not("long", "[1]", "invalid conversion of [array] to long");
    }

    #[test]
    fn floats_have_a_dot() {
        becomes("double", r#""0.1""#, "0.1");
        becomes("double", "5", "5.0");
        becomes("double", r#""1e3""#, "1000.0");
        becomes("float", "3.141592653589793", "3.1415927");
        becomes("float", r#""0.1""#, "0.1");
        for text in [r#""inf""#, r#""NaN""#, r#""1e999""#, r#""x""#, r#""1_0""#] {
            does_not("double", text, "it is no number of 64 bits");
        }
        does_not("float", "1e39", "it is no number of 32 bits");
        does_not("double", "null", "invalid conversion of [null] to double");
    }

    #[test]
    fn texts_flags_and_addresses() {
        becomes("string", "9007199254740993", r#""9007199254740993""#);
        becomes("string", "1.50", r#""1.50""#);
        becomes("string", "true", r#""true""#);
        becomes("string", r#"[1,"x"]"#, r#""[1,\"x\"]""#);
        becomes("string", r#""\u00fc""#, r#""\u00fc""#);
        does_not("string", "null", "invalid conversion of [null] to string");
        for (text, flag) in [
            ("1", true),
            ("t", true),
            ("TRUE", true),
            ("F", false),
            ("False", false),
            ("0", false),
        ] {
            becomes("boolean", &format!("\"{text}\""), &flag.to_string());
        }
        becomes("boolean", "false", "false");
        does_not("boolean", r#""yes""#, "it is neither true nor false");
        does_not("boolean", "1", "invalid conversion of [number] to boolean");
        becomes("ip", r#""2001:db8::1""#, r#""2001:db8::1""#);
        does_not("ip", r#""node1.example.net""#, "value is not a valid IP address");
        does_not("ip", "1", "invalid conversion of [number] to ip");
    }

    #[test]
    fn values_are_copied_or_moved_and_overwrite() {
        let before = r#"{"src_ip":"192.0.2.1","port":"443","source":{"ip":"x"}}"#;
        let fields =
            "[{from: src_ip, to: source.ip, type: ip}, {from: port, to: source.port, type: integer}]";
        check(
            &format!("  - convert: {{fields: {fields}}}"),
            before,
            r#"{"src_ip":"192.0.2.1","port":"443","source":{"ip":"192.0.2.1","port":443}}"#,
        );
        check(
            &format!("  - convert: {{fields: {fields}, mode: rename}}"),
            before,
            r#"{"source":{"ip":"192.0.2.1","port":443}}"#,
        );
        check(
            "  - convert: {fields: [{from: a, to: b}]}",
            r#"{"a":{"x":1.0}}"#,
            r#"{"a":{"x":1.0},"b":{"x":1.0}}"#,
        );
        // One source of two.
        check(
            "  - convert: {mode: rename, fields: [{from: a, to: b, type: long}, {from: a, to: c}]}",
            r#"{"a":"1"}"#,
            r#"{"b":1,"c":"1"}"#,
        );
        check(
            "  - convert: {mode: rename, fields: [{from: a, to: a, type: long}]}",
            r#"{"a":"1"}"#,
            r#"{"a":1}"#,
        );
    }

    #[test]
    fn a_failure_converts_nothing_unless_told_otherwise() {
        let before = r#"{"a":"1","b":"x","c":2}"#;
        let missing = "failed in processor.convert with instance_id=t1: conversion of field [no] to type [long] with \
                       target field [d] failed: field [no] is missing: key not found";
        fails(
            "  - convert: {tag: t1, fields: [{from: a, type: long}, {from: no, to: d, type: long}]}",
            before,
            &format!(r#"{{"a":"1","b":"x","c":2,"error":{{"message":"{missing}"}}}}"#),
            &[missing],
        );
        let map = "failed in processor.convert: conversion of field [a] to type [[unset]] with target field [c.d] failed: \
                   could not put value: c.d: value is not a map";
        fails(
            "  - convert: {fields: [{from: a, type: long}, {from: a, to: c.d}]}",
            before,
            &format!(r#"{{"a":"1","b":"x","c":2,"error":{{"message":"{map}"}}}}"#),
            &[map],
        );
        fails(
            "  - convert: {fail_on_error: false, mode: rename, fields: [{from: a, to: c.d}, {from: a, type: long}]}",
            before,
            r#"{"a":1,"b":"x","c":2}"#,
            &[map],
        );
        check(
            "  - convert: {ignore_missing: true, fields: [{from: no, to: d}, {from: a, type: long}]}",
            before,
            r#"{"a":1,"b":"x","c":2}"#,
        );
    }

    proptest! {
        #[test]
        fn truncating_agrees_with_the_float_where_that_is_exact(whole in -(1_i64 << 50)..(1_i64 << 50), shift in 0_u32..6) {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let float = whole as f64 / f64::from(1 << shift);
            #[expect(clippy::cast_possible_truncation, reason = "below 2^53")]
            let want = float.trunc() as i128;
            for json in [float.to_string(), format!("{float:e}")] {
                prop_assert_eq!(super::truncated(&json), Some(want), "{}", json);
            }
        }

        #[test]
        fn no_number_makes_it_panic(json in "-?[0-9]{1,40}(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,12})?") {
            let _ = super::truncated(&json);
            let _ = super::whole_text(&json);
        }
    }
}
