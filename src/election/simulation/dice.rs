//! Chance that can be repeated.
//!
//! Owns how random draws hang on the seed: by what they are for, not by the order in which they are made, so that
//! leaving out one fault does not change the fate of everything after it.

use std::time::Duration;

use fastrand::Rng;

/// What draws are for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    Schedule,
    Attempt,
    Hint,
    Work,
    Pause,
    Wake,
    Fault,
    Output,
}

/// The dice for one purpose.
pub(super) fn dice(seed: u64, purpose: Use, parts: [u64; 3]) -> Rng {
    let mut state = mixed(seed ^ (purpose as u64) << 56);
    for part in parts {
        state = mixed(state ^ part);
    }
    Rng::with_seed(state)
}

/// A step of splitmix64.
fn mixed(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// True `percent` times in a hundred.
pub(super) fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

/// A time between two.
pub(super) fn between(rng: &mut Rng, from: Duration, to: Duration) -> Duration {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.u64(micros(from)..=micros(to).max(micros(from))))
}

/// A time between two, in milliseconds.
pub(super) fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    between(rng, Duration::from_millis(from), Duration::from_millis(to))
}
