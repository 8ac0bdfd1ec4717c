//! `rate_limit`: lets so many events through in a span.
//!
//! Owns the buckets, one for each combination of values. A bucket holds as many events as the limit has, is full at
//! first and fills evenly; the account is kept in whole numbers, so that no event is lost or won by rounding. The
//! number of buckets is bounded.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::document::Document;
use crate::clock::Clock;
use crate::condition::Fields as _;
use crate::config;
use crate::event::EventId;

/// Buckets kept at once. Values beyond have one bucket together until others are full again.
const MOST_BUCKETS: usize = 1 << 16;
/// How often full buckets are looked for, where there is no room for a new one.
const SWEEP: Duration = Duration::from_secs(1);

/// A limit and how much of it is used.
#[derive(Debug)]
pub(super) struct RateLimit {
    events: u128,
    /// Nanoseconds.
    per: u128,
    fields: Vec<String>,
    clock: Clock,
    buckets: Mutex<Buckets>,
}

/// When each bucket is full again, in parts of a nanosecond: as many as `events`.
#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<EventId, u128>,
    /// That of the values there is no room for.
    others: u128,
    /// When full buckets were looked for last.
    swept: Option<Duration>,
}

// === impl RateLimit ===

impl RateLimit {
    pub(super) fn new(config: &config::RateLimit, clock: Clock) -> Self {
        Self {
            events: u128::from(config.events),
            per: config.per.as_nanos(),
            fields: config.fields.clone(),
            clock,
            buckets: Mutex::default(),
        }
    }

    /// Whether the event passes; it counts then.
    pub(super) fn lets_through(&self, document: &Document<'_>) -> bool {
        self.takes(self.key(document), self.clock.since_boot())
    }

    /// The combination of values; a field that is missing is an empty text, as in Beats.
    fn key(&self, document: &Document<'_>) -> EventId {
        let values: Vec<String> = self
            .fields
            .iter()
            .map(|field| {
                let found = document.find(field);
                match found.map(crate::json::Found::scalar) {
                    Some(Some(value)) => value.into_owned(),
                    Some(None) => document
                        .get(field)
                        .map(|value| value.to_json())
                        .unwrap_or_default(),
                    None => String::new(),
                }
            })
            .collect();
        EventId::of(values.iter().map(String::as_bytes))
    }

    fn takes(&self, key: EventId, now: Duration) -> bool {
        // Whoever panicked under this lock left a count behind, nothing worse.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let scaled = now.as_nanos().saturating_mul(self.events);
        let full_at = buckets.of(key, now, scaled);
        // An event takes a span's length of filling; the bucket holds `events` of them.
        let after = (*full_at).max(scaled).saturating_add(self.per);
        let passes = after - scaled <= self.per.saturating_mul(self.events);
        if passes {
            *full_at = after;
        }
        passes
    }
}

// === impl Buckets ===

impl Buckets {
    /// The bucket of a key. `scaled` is `now` in the unit of buckets.
    fn of(&mut self, key: EventId, now: Duration, scaled: u128) -> &mut u128 {
        let is_full = self.full_at.len() >= MOST_BUCKETS;
        let is_time = self.swept.is_none_or(|swept| now.saturating_sub(swept) >= SWEEP);
        if is_full && is_time && !self.full_at.contains_key(&key) {
            // One that is full is as good as none.
            self.full_at.retain(|_, full_at| *full_at > scaled);
            self.swept = Some(now);
        }
        let has_room = self.full_at.len() < MOST_BUCKETS;
        match self.full_at.entry(key) {
            Entry::Occupied(bucket) => bucket.into_mut(),
            Entry::Vacant(place) if has_room => place.insert(0),
            Entry::Vacant(_) => &mut self.others,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::processor::samples::{chain_of, config, run};

    fn limit(events: u32, per: Duration) -> RateLimit {
        let config = config::RateLimit {
            events,
            per,
            fields: Vec::new(),
        };
        RateLimit::new(&config, Clock::system())
    }

    fn key(name: &str) -> EventId {
        EventId::of([name.as_bytes()])
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_begins_full_and_fills_evenly() {
        let limit = limit(3, SECOND);
        let start = Duration::from_secs(1000);
        let passed =
            |at: Duration, tries: usize| (0..tries).filter(|_| limit.takes(key("a"), start + at)).count();
        assert_eq!(passed(Duration::ZERO, 10), 3);
        assert_eq!(passed(Duration::from_millis(333), 1), 0);
        assert_eq!(passed(Duration::from_millis(334), 10), 1);
        assert_eq!(passed(Duration::from_millis(667), 10), 1);
        assert_eq!(passed(SECOND, 10), 1, "three in the second after the first three");
        assert_eq!(passed(SECOND * 100, 10), 3, "no more than full");
        assert_eq!(
            passed(Duration::ZERO, 1),
            0,
            "a clock that goes back gives nothing"
        );
    }

    #[test]
    fn nothing_is_lost_or_won_by_rounding() {
        // A third of a second is no whole number of nanoseconds.
        let limit = limit(3, SECOND);
        let mut passed = 0;
        for step in 0..30_000_u64 {
            passed += u64::from(limit.takes(key("a"), Duration::from_millis(step * 10)));
        }
        assert_eq!(passed, 3 + 300 * 3 - 1, "the last of them is due at the very end");
    }

    #[test]
    fn values_have_buckets_of_their_own_and_there_is_a_bound() {
        let limit = limit(1, SECOND);
        let mut passed = BTreeSet::new();
        for number in 0..MOST_BUCKETS + 10 {
            if limit.takes(key(&number.to_string()), SECOND) {
                passed.insert(number);
            }
            assert!(!limit.takes(key(&number.to_string()), SECOND), "{number}");
        }
        // Those beyond share one.
        assert_eq!(passed, (0..=MOST_BUCKETS).collect());
        let held = || limit.buckets.lock().unwrap().full_at.len();
        assert_eq!(held(), MOST_BUCKETS);
        assert!(limit.takes(key("new"), SECOND * 3));
        assert_eq!(held(), 1, "full ones are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_by_the_clock_and_the_values_of_an_event() {
        let config = config("  - rate_limit: {limit: 2/m, fields: [vdc, o]}", "");
        let chain = chain_of(&config, "nodes", Clock::simulated(Timestamp::UNIX_EPOCH));
        let passes = |document: &str| run(&chain, document).0.is_some();
        let a = r#"{"vdc":"a","o":{"x":1}}"#;
        assert!(passes(a) && passes(a) && !passes(a));
        assert!(passes(r#"{"vdc":"b","o":{"x":1}}"#) && passes(r#"{"vdc":"a","o":{"x":2}}"#));
        assert!(passes("{}") && passes(r#"{"vdc":"","o":""}"#) && !passes("{}"));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(!passes(a));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(passes(a) && !passes(a));
    }
}
