//! Numbers and ids that are a pure function of the seed. Must never read a clock or keep state: two runs of
//! one seed show the same world.

use std::fmt::Write as _;

/// One number out of several; every bit of every part matters.
pub(crate) fn mix(parts: &[u64]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        state = scramble(state ^ part.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    }
    state
}

fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number for a name (FNV-1a), to be mixed with others.
pub(crate) fn of_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A uuid in the shape of version 4.
pub(crate) fn uuid(parts: &[u64]) -> String {
    let high = mix(parts);
    let low = scramble(high ^ 0x5bd1_e995);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0x0fff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

/// `length` hexadecimal digits.
pub(crate) fn hex(parts: &[u64], length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    let mut state = mix(parts);
    while text.len() < length {
        let _ = write!(text, "{state:016x}");
        state = scramble(state);
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_id_and_others_another() {
        assert_eq!(uuid(&[1, 2, 3]), uuid(&[1, 2, 3]));
        assert_ne!(uuid(&[1, 2, 3]), uuid(&[1, 3, 2]));
        assert_eq!(uuid(&[7]).len(), 36);
        assert_eq!(hex(&[7], 40).len(), 40);
        assert_ne!(of_name("ns1"), of_name("ns2"));
    }
}
