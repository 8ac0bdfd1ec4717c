//! The hashes that choose a partition, bit for bit those of other producers.
//!
//! Owns FNV-1a as Beats and Sarama use it, Murmur2 as Kafka's Java client uses it, and the bytes that Beats makes of a
//! field's value: who reads by partition finds an event where the other producer would have put it.

use serde_json::{Number, Value};

use crate::config::Hash;

/// The hash of `bytes`, without its sign.
pub(super) fn of(algorithm: Hash, bytes: &[u8]) -> u32 {
    let hash = match algorithm {
        Hash::Fnv1a => fnv1a(bytes),
        Hash::Murmur2 => murmur2(bytes),
    };
    // Both take the sign away, rather than the absolute value.
    hash & 0x7fff_ffff
}

/// <http://www.isthe.com/chongo/tech/comp/fnv/>, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// `org.apache.kafka.common.utils.Utils.murmur2`: Murmur2 with a seed of its own.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    // Java's lengths are 32 bits, and so is the sum.
    #[allow(clippy::cast_possible_truncation)]
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut mixed = word
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u32::from(*byte))
            .wrapping_mul(MULTIPLIER);
        mixed = (mixed ^ mixed >> 24).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

/// Appends the bytes that Beats hashes of a field's value; false where it hashes none (null, lists, objects).
pub(super) fn value_bytes(out: &mut Vec<u8>, value: &Value) -> bool {
    match value {
        Value::String(text) => out.extend_from_slice(text.as_bytes()),
        Value::Bool(flag) => out.push(u8::from(*flag)),
        Value::Number(number) => number_bytes(out, number),
        Value::Null | Value::Array(_) | Value::Object(_) => return false,
    }
    true
}

/// Integers as eight bytes, the lowest first; others as text with the digits of 32 bits.
fn number_bytes(out: &mut Vec<u8>, number: &Number) {
    if let Some(number) = number.as_i64() {
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Some(number) = number.as_u64() {
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Some(number) = number.as_f64() {
        // As Beats: what 32 bits cannot tell apart is the same here.
        #[allow(clippy::cast_possible_truncation)]
        let text = shortest(number as f32);
        out.extend_from_slice(text.as_bytes());
    }
}

/// As Go writes it with `strconv.FormatFloat(number, 'g', -1, 32)`: the fewest digits that mean this number, with an
/// exponent where it is below -4 or above 5.
fn shortest(number: f32) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Of Go's `hash/fnv` (`New32a`), without the sign.
    #[test]
    fn fnv1a_is_that_of_go() {
        for (text, hash) in [
            ("", 18_652_613),
            ("a", 1_678_518_572),
            ("foobar", 1_067_252_072),
            ("ecsbeat", 698_588_054),
            ("node-1", 1_422_144_387),
            ("0123456789", 2_038_468_594),
            ("Ünïcode", 971_529_931),
            ("10.0.0.1", 1_589_558_925),
        ] {
            assert_eq!(of(Hash::Fnv1a, text.as_bytes()), hash, "{text}");
        }
        // The sign is taken away, not turned round: -1 would give 1 there.
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
        assert_eq!(of(Hash::Fnv1a, b"foobar"), 0x3f9c_f968);
    }

    /// The values that librdkafka compares itself with Java by.
    #[test]
    fn murmur2_is_that_of_java() {
        for (text, hash) in [
            ("kafka", 0xd067_cf64),
            ("giberish123456789", 0x8f55_2b0c),
            ("1234", 0x9fc9_7b14),
            ("234", 0xe7c0_09ca),
            ("34", 0x8739_30da),
            ("4", 0x5a4b_5ca1),
            ("PreAmbleWillBeRemoved,ThePrePartThatIs", 0x7842_4f1c),
            ("reAmbleWillBeRemoved,ThePrePartThatIs", 0x4a62_b377),
            ("eAmbleWillBeRemoved,ThePrePartThatIs", 0xe0e4_e09e),
            ("AmbleWillBeRemoved,ThePrePartThatIs", 0x62b8_b43f),
            ("", 0x106e_08d9),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
            assert_eq!(of(Hash::Murmur2, text.as_bytes()), hash & 0x7fff_ffff, "{text}");
        }
    }

    /// Of a Go program that hashes with `encoding/binary` and `strconv` as Beats does.
    #[test]
    fn values_are_hashed_as_beats_does() {
        let hash = |values: &[Value]| {
            let mut bytes = Vec::new();
            assert!(values.iter().all(|value| value_bytes(&mut bytes, value)));
            of(Hash::Fnv1a, &bytes)
        };
        assert_eq!(hash(&[json!(42)]), 1_843_072_207);
        assert_eq!(hash(&[json!(true)]), 67_918_732);
        assert_eq!(hash(&[json!("disk"), json!(-7), json!(0.25)]), 1_484_326_409);
        let mut bytes = Vec::new();
        for nothing in [json!(null), json!([1]), json!({"a": 1})] {
            assert!(!value_bytes(&mut bytes, &nothing), "{nothing}");
        }
        assert!(value_bytes(&mut bytes, &json!(u64::MAX)));
        assert_eq!(bytes, [0xff; 8]);
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (number, text) in [
            (0.5, "0.5"),
            (1.0, "1"),
            (1e20, "1e+20"),
            (123_456_789.0, "1.2345679e+08"),
            (1_234_567.0, "1.234567e+06"),
            (1e6, "1e+06"),
            (999_999.0, "999999"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (3.4e38, "3.4e+38"),
            (1.175_494_4e-38, "1.1754944e-38"),
            (100.25, "100.25"),
            (-2.5e-7, "-2.5e-07"),
            (f32::INFINITY, "+Inf"),
        ] {
            assert_eq!(shortest(number), text);
        }
    }
}
