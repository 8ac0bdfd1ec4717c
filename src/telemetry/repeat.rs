//! One line for an error that happens over and over.
//!
//! Owns [`OncePer`], asked at the place that logs: "may I, and how many did I swallow?", and [`Lasting`], for a trouble
//! that goes on: told when it begins, at growing intervals, and when it is over. They never log by themselves. Bounded:
//! [`OncePer`] forgets the keys that have been quiet longest, [`Lasting`] knows one trouble.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys remembered at once.
const MAX_KEYS: usize = 1024;

/// Time from the first telling of a trouble to the second; it doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest time that a lasting trouble is not told.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Lets one of several equal messages through per pause, or a few.
#[derive(Debug)]
pub struct OncePer<K> {
    most: u64,
    pause: Duration,
    seen: Mutex<HashMap<K, Seen>>,
}

#[derive(Debug)]
struct Seen {
    /// When the first of this pause was let through, and how many were.
    passed: Instant,
    count: u64,
    suppressed: u64,
}

impl<K: Hash + Eq + Clone> OncePer<K> {
    /// A gate that opens once per `pause` for each key.
    pub fn new(pause: Duration) -> Self {
        Self::several(1, pause)
    }

    /// A gate that lets the first `most` of each key through per `pause`.
    pub fn several(most: u64, pause: Duration) -> Self {
        Self {
            most,
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
                if known.count < self.most {
                    known.count += 1;
                    return Some(0);
                }
                known.suppressed = known.suppressed.saturating_add(1);
                return None;
            }
            known.passed = now;
            known.count = 1;
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
                count: 1,
                suppressed: 0,
            },
        );
        Some(0)
    }
}

/// One trouble, which may last or come and go.
#[derive(Debug, Default)]
pub struct Lasting(Mutex<Course>);

#[derive(Debug, Default)]
struct Course {
    /// Whoever reads the log believes that it lasts.
    told: bool,
    /// Since it began, or since it was last said to be over.
    count: u64,
    /// When it was last told, and how long it is left untold after that.
    last: Option<(Instant, Duration)>,
}

impl Lasting {
    /// It happened. `Some(n)`: say it now, and that it happened `n` times since it began. `None`: keep quiet.
    pub fn happened(&self) -> Option<u64> {
        self.happened_at(Instant::now())
    }

    /// It is well. `Some(n)`: say that it is over, after `n` times. `None`: nobody was told.
    pub fn over(&self) -> Option<u64> {
        let mut course = self.course();
        if !std::mem::take(&mut course.told) {
            return None;
        }
        Some(std::mem::take(&mut course.count))
    }

    /// Whether it was told and is not over.
    pub fn is_told(&self) -> bool {
        self.course().told
    }

    fn happened_at(&self, now: Instant) -> Option<u64> {
        let mut course = self.course();
        course.count = course.count.saturating_add(1);
        let pause = match course.last {
            None => FIRST_PAUSE,
            Some((told, pause)) => {
                let quiet = now.saturating_duration_since(told);
                if quiet < pause {
                    return None;
                }
                // Well for long: the next trouble is a new one. One that comes and goes is the old one.
                if !course.told && quiet >= pause.saturating_mul(2) {
                    FIRST_PAUSE
                } else {
                    pause.saturating_mul(2).min(LONGEST_PAUSE)
                }
            }
        };
        course.last = Some((now, pause));
        course.told = true;
        Some(course.count)
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        // Whoever panicked under this lock left a count behind, nothing worse.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn lets_a_few_through_where_it_is_told_to() {
        let gate = OncePer::several(2, PAUSE);
        let start = Instant::now();
        let pass = |at| gate.pass_at(&"refused", at);
        assert_eq!([pass(start), pass(start), pass(start)], [Some(0), Some(0), None]);
        let later = start + PAUSE;
        assert_eq!([pass(later), pass(later), pass(later)], [Some(1), Some(0), None]);
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

    fn told(trouble: &Lasting, start: Instant, seconds: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
        let at = |second| start + Duration::from_secs(second);
        seconds
            .into_iter()
            .filter_map(|second| Some((second, trouble.happened_at(at(second))?)))
            .collect()
    }

    #[test]
    fn a_trouble_is_told_when_it_begins_at_growing_intervals_and_when_it_is_over() {
        let trouble = Lasting::default();
        let start = Instant::now();
        let every_second = told(&trouble, start, 0..20_000);
        let want = [0, 60, 180, 420, 900, 1860, 3780, 7380, 10_980, 14_580, 18_180];
        assert_eq!(every_second, want.map(|second| (second, second + 1)));
        assert!(trouble.is_told());
        assert_eq!(trouble.over(), Some(20_000));
        assert_eq!((trouble.over(), trouble.is_told()), (None, false));
    }

    #[test]
    fn a_trouble_that_comes_and_goes_is_not_told_each_time() {
        let trouble = Lasting::default();
        let start = Instant::now();
        assert_eq!(told(&trouble, start, [0]), [(0, 1)]);
        assert_eq!(trouble.over(), Some(1));
        // Back at once: nobody hears of it, nor of its end.
        assert_eq!(told(&trouble, start, [1, 2]), []);
        assert_eq!(trouble.over(), None);
        assert_eq!(told(&trouble, start, [70]), [(70, 3)]);
        assert_eq!(trouble.over(), Some(3));
        // It came and went for two minutes: now it is left untold for as long.
        assert_eq!(told(&trouble, start, [180]), []);
        // After hours it is something new.
        assert_eq!(told(&trouble, start, [9000, 9059, 9060]), [(9000, 2), (9060, 4)]);
    }
}
