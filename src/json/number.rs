//! Numbers that are compared exactly.
//!
//! Owns [`Number`]: whole numbers stay whole, so that two that differ beyond 2^53 are not equal. Pure.

use std::cmp::Ordering;

/// A number out of a document or the configuration.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// A whole number, written without a dot and an exponent.
    Whole(i128),
    /// Any other one; finite.
    Float(f64),
}

/// 2^127: the first float above every `i128`; its negative is the least `i128`.
const ABOVE: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

// === impl Number ===

impl Number {
    /// Reads a number in decimal notation, as JSON and YAML write it. `None`: it is none, or not finite.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Self::Float)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Whole(a), Self::Float(b)) => whole_to_float(a, b),
            (Self::Float(a), Self::Whole(b)) => whole_to_float(b, a).map(Ordering::reverse),
        }
    }
}

fn whole_to_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= ABOVE {
        return Some(Ordering::Less);
    }
    if float < -ABOVE {
        return Some(Ordering::Greater);
    }
    let floor = float.floor();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float without a fraction, within the bounds looked at above, is exact"
    )]
    let below = floor as i128;
    Some(whole.cmp(&below).then(if float > floor {
        Ordering::Less
    } else {
        Ordering::Equal
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn whole_numbers_are_exact_and_equal_to_the_same_float() {
        assert!(number("9007199254740993") > number("9007199254740992"));
        assert!(number("9007199254740993") > number("9007199254740992.0"));
        assert!(number("18446744073709551615") < number("18446744073709551616"));
        assert_eq!(number("2"), number("2.0"));
        assert_eq!(number("-0"), number("0.0"));
        assert_eq!(number("1e3"), number("1000"));
        assert!(number("-3") < number("-2.5") && number("-2.5") < number("-2"));
        assert!(number("5") < number("5.5") && number("5.5") > number("5"));
        assert!(number("1e300") > number("99999999999999999999999999999999999999"));
        assert!(number("-1e300") < number("-99999999999999999999999999999999999999"));
        assert!(number("1e39") < number("1000000000000000000000000000000000000001e1"));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", "x", "1x", " 1", "inf", "NaN", "-inf", "1e999", "0x1", "1_000", "--1", "null",
        ] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
        assert_eq!(number("+5"), number("5"));
        assert_eq!(number(".5"), number("0.5"));
    }

    proptest! {
        #[test]
        fn comparing_with_a_float_is_as_exact_as_with_a_whole_number(whole: i64, other: i64) {
            // Floats below 2^53 are whole numbers themselves, so the two ways must agree.
            let other = other >> 12;
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let float = Number::Float(other as f64);
            let (a, b) = (Number::Whole(i128::from(whole)), Number::Whole(i128::from(other)));
            prop_assert_eq!(a.partial_cmp(&float), a.partial_cmp(&b));
            prop_assert_eq!(float.partial_cmp(&a), b.partial_cmp(&a));
        }
    }
}
