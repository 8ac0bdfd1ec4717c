//! One line for an error that happens over and over.
//!
//! Owns [`OncePer`], asked at the place that logs: "may I, and how many did I swallow?". It decides for one key
//! at a time and never logs by itself. Bounded: it forgets the keys that have been quiet longest.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys remembered at once.
const MAX_KEYS: usize = 1024;

/// Lets one of several equal messages through per pause.
#[derive(Debug)]
pub struct OncePer<K> {
    pause: Duration,
    seen: Mutex<HashMap<K, Seen>>,
}

#[derive(Debug)]
struct Seen {
    passed: Instant,
    suppressed: u64,
}

impl<K: Hash + Eq + Clone> OncePer<K> {
    /// A gate that opens once per `pause` for each key.
    pub fn new(pause: Duration) -> Self {
        Self {
            pause,
            seen: Mutex::default(),
        }
    }

    /// `Some(n)`: say it now, and that it happened `n` more times since it was last said. `None`: keep quiet.
    pub fn pass(&self, key: &K) -> Option<u64> {
        self.pass_at(key, Instant::now())
    }

    fn pass_at(&self, key: &K, now: Instant) -> Option<u64> {
        // Whoever panicked under this lock left a count behind, nothing worse.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.get_mut(key) {
            if now.saturating_duration_since(known.passed) < self.pause {
                known.suppressed = known.suppressed.saturating_add(1);
                return None;
            }
            known.passed = now;
            return Some(std::mem::take(&mut known.suppressed));
        }
        if seen.len() >= MAX_KEYS {
            let oldest = seen.iter().min_by_key(|(_, known)| known.passed);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                seen.remove(&oldest);
            }
        }
        seen.insert(
            key.clone(),
            Seen {
                passed: now,
                suppressed: 0,
            },
        );
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    #[test]
    fn says_it_once_per_pause_and_how_often_it_kept_quiet() {
        let gate = OncePer::new(PAUSE);
        let start = Instant::now();
        assert_eq!(gate.pass_at(&"refused", start), Some(0));
        assert_eq!(gate.pass_at(&"refused", start + PAUSE / 2), None);
        assert_eq!(gate.pass_at(&"refused", start + PAUSE.mul_f32(0.99)), None);
        assert_eq!(gate.pass_at(&"refused", start + PAUSE), Some(2));
        assert_eq!(gate.pass_at(&"refused", start + PAUSE.mul_f32(1.5)), None);
        assert_eq!(gate.pass_at(&"refused", start + PAUSE * 2), Some(1));
        assert_eq!(gate.pass_at(&"refused", start + PAUSE * 3), Some(0));
    }

    #[test]
    fn keys_do_not_silence_each_other() {
        let gate = OncePer::new(PAUSE);
        let start = Instant::now();
        assert_eq!(gate.pass_at(&"a", start), Some(0));
        assert_eq!(gate.pass_at(&"b", start), Some(0));
    }

    #[test]
    fn remembers_a_bounded_number_of_keys() {
        let gate = OncePer::new(PAUSE);
        let start = Instant::now();
        for key in 0..MAX_KEYS * 2 {
            let at = start + Duration::from_millis(key as u64);
            assert_eq!(gate.pass_at(&key, at), Some(0));
        }
        assert_eq!(gate.seen.lock().unwrap().len(), MAX_KEYS);
        // The newest is still known, the oldest is forgotten.
        assert_eq!(gate.pass_at(&(MAX_KEYS * 2 - 1), start + PAUSE / 2), None);
        assert_eq!(gate.pass_at(&0, start + PAUSE / 2), Some(0));
    }
}
