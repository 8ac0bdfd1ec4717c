//! How far a run of `--once` is.
//!
//! Owns the estimate: each unit counts for one, and one that catches up for the part of its span that is delivered. It
//! looks at the snapshots that everybody may see and slows nobody down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::progress::Reached;
use crate::status::{Status, UnitKey};

/// Shorter spans are no catching up worth a word.
const SHORT: SignedDuration = SignedDuration::from_mins(10);

/// Watches the units of one run.
pub struct Once {
    status: Arc<Status>,
    clock: Clock,
    /// Units of the configuration; not all of them tell of themselves at first.
    units: usize,
    began: Timestamp,
    /// Where each began.
    first: BTreeMap<UnitKey, Timestamp>,
}

impl Once {
    pub(super) fn new(status: Arc<Status>, clock: Clock, units: usize) -> Self {
        let began = clock.now();
        Self {
            status,
            clock,
            units,
            began,
            first: BTreeMap::new(),
        }
    }

    /// How far it is now.
    pub fn look(&mut self) -> Reached {
        let mut ended = 0;
        let mut part = 0.0;
        let mut furthest: Option<(Timestamp, UnitKey)> = None;
        for (key, unit) in self.status.units() {
            if unit.ended {
                ended += 1;
                part += 1.0;
                continue;
            }
            let Some(checkpoint) = unit.checkpoint else {
                continue;
            };
            let first = *self.first.entry(key.clone()).or_insert(checkpoint);
            let span = self.began.duration_since(first).as_secs_f64();
            if span > 0.0 {
                part += (checkpoint.duration_since(first).as_secs_f64() / span).clamp(0.0, 1.0);
            }
            if furthest.as_ref().is_none_or(|(time, _)| checkpoint < *time) {
                furthest = Some((checkpoint, key));
            }
        }
        let units = self.units.max(ended);
        let mut words = format!("{ended} of {units} polled");
        if let Some((checkpoint, key)) = furthest {
            let behind = self.clock.now().duration_since(checkpoint);
            if behind > SHORT {
                let minutes = SignedDuration::from_mins(behind.as_mins());
                // Writing to a string cannot fail.
                let _ = write!(
                    words,
                    ", {} of {}/{} is at {checkpoint:.0}, {minutes:#} behind",
                    key.command, key.customer, key.vdc
                );
            }
        }
        Reached {
            part: Some(part / units.max(1) as f64),
            words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::UnitStatus;

    #[tokio::test(start_paused = true)]
    async fn units_count_for_one_and_those_that_catch_up_for_their_part() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let status = Arc::new(Status::new(now));
        let tell = |command: &str, hour: Option<i64>, ended| {
            let key = UnitKey {
                customer: "EMC".into(),
                vdc: "VDC1".into(),
                command: command.into(),
            };
            status.unit(&key).store(Arc::new(UnitStatus {
                checkpoint: hour.map(|hours| now - SignedDuration::from_hours(hours)),
                ended,
                ..UnitStatus::default()
            }));
        };
        let mut once = Once::new(Arc::clone(&status), Clock::simulated(now), 4);
        assert_eq!(
            once.look(),
            Reached {
                part: Some(0.0),
                words: "0 of 4 polled".to_owned(),
            }
        );
        tell("nodes", None, true);
        tell("disks", None, false);
        tell("auditevent", Some(48), false);
        tell("alert", Some(0), false);
        assert_eq!(
            once.look(),
            Reached {
                part: Some(0.25),
                words: "1 of 4 polled, auditevent of EMC/VDC1 is at 2026-02-28T12:00:00Z, 48h behind"
                    .to_owned(),
            }
        );
        tell("auditevent", Some(12), false);
        let reached = once.look();
        assert_eq!(reached.part, Some((1.0 + 0.75) / 4.0));
        assert!(
            reached.words.ends_with("2026-03-02T00:00:00Z, 12h behind"),
            "{}",
            reached.words
        );
        for command in ["disks", "auditevent", "alert"] {
            tell(command, Some(0), true);
        }
        assert_eq!(
            once.look(),
            Reached {
                part: Some(1.0),
                words: "4 of 4 polled".to_owned(),
            }
        );
    }
}
