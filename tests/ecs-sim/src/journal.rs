//! Audit events and alerts: a log that is a pure function of seed, VDC and minute, so that a test knows every
//! row that ever was. Must never remember what was asked.

use crate::clock;
use crate::config::Journal;
use crate::seed::{mix, uuid};

/// A row of the log of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// When it happened, epoch seconds.
    pub(crate) at: i64,
    /// From when on the API shows it.
    pub(crate) visible_at: i64,
    /// Decides all other members.
    pub(crate) draw: u64,
}

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Audit,
    Alert,
}

/// A place in the log: minute and number in it. Rows before it have been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) minute: i64,
    pub(crate) number: u32,
}

/// The log of one VDC.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) seed: u64,
    pub(crate) vdc: usize,
    pub(crate) kind: Kind,
    pub(crate) rules: Journal,
    /// The first minute that has rows.
    pub(crate) begin: i64,
}

// === impl Kind ===

impl Kind {
    fn salt(self) -> u64 {
        match self {
            Self::Audit => 0xa0d1,
            Self::Alert => 0xa1e7,
        }
    }
}

// === impl Row ===

impl Row {
    /// The stamp that the API shows.
    pub(crate) fn stamp(&self, kind: Kind) -> String {
        match kind {
            Kind::Audit => clock::minute_stamp(self.at),
            Kind::Alert => clock::second_stamp(self.at),
        }
    }

    pub(crate) fn severity(&self) -> &'static str {
        ["INFO", "WARNING", "ERROR", "CRITICAL"][(self.draw >> 8) as usize % 4]
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.draw.is_multiple_of(7)
    }
}

// === impl Log ===

impl Log {
    /// How many rows a minute has.
    pub(crate) fn count(&self, minute: i64) -> u32 {
        if minute < self.begin {
            return 0;
        }
        let rate = match self.kind {
            Kind::Audit => self.rules.events_per_minute,
            Kind::Alert => self.rules.alerts_per_minute,
        };
        let bursts = i64::from(self.rules.burst_every);
        if bursts > 0 && minute.rem_euclid(bursts) == 0 {
            rate.saturating_mul(10)
        } else {
            rate
        }
    }

    pub(crate) fn row(&self, minute: i64, number: u32) -> Row {
        let parts = [
            self.seed,
            self.kind.salt(),
            self.vdc as u64,
            minute.cast_unsigned(),
            u64::from(number),
        ];
        let draw = mix(&parts);
        let second = i64::from(number) * 60 / i64::from(self.count(minute).max(1));
        let at = minute * 60 + second;
        let is_late =
            self.rules.late_one_in > 0 && (draw >> 20).is_multiple_of(u64::from(self.rules.late_one_in));
        let name = match self.kind {
            Kind::Audit => "Event",
            Kind::Alert => "Alert",
        };
        Row {
            id: format!("urn:storageos:{name}:{}", uuid(&parts)),
            at,
            visible_at: if is_late { at + self.rules.late_secs } else { at },
            draw,
        }
    }

    /// Up to `limit` rows from `start` to `end` (epoch seconds) that can be seen `now` and that `wanted` picks,
    /// from `from` on, and where the next page begins. Audit events are placed by their minute.
    pub(crate) fn page(
        &self,
        window: (i64, i64),
        now: i64,
        from: Option<Place>,
        limit: usize,
        wanted: impl Fn(&Row) -> bool,
    ) -> (Vec<Row>, Option<Place>) {
        let (start, end) = window;
        let mut rows = Vec::new();
        let first = start.div_euclid(60).max(self.begin);
        let last = end.min(now).div_euclid(60);
        let mut place = Place {
            minute: first,
            number: 0,
        }
        .max(from.unwrap_or(Place {
            minute: first,
            number: 0,
        }));
        while place.minute <= last {
            if place.number >= self.count(place.minute) {
                place = Place {
                    minute: place.minute + 1,
                    number: 0,
                };
                continue;
            }
            let row = self.row(place.minute, place.number);
            let stamp = if self.kind == Kind::Audit {
                place.minute * 60
            } else {
                row.at
            };
            let inside = stamp >= start && (stamp < end || (self.rules.inclusive_end && stamp == end));
            if inside && row.visible_at <= now && wanted(&row) {
                if rows.len() == limit {
                    return (rows, Some(place));
                }
                rows.push(row);
            }
            place.number += 1;
        }
        (rows, None)
    }

    /// The newest rows, newest first, going back a day at most.
    pub(crate) fn latest(&self, now: i64, limit: usize, wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        let newest = now.div_euclid(60);
        let mut rows = Vec::new();
        for minute in ((newest - 1440).max(self.begin)..=newest).rev() {
            for number in (0..self.count(minute)).rev() {
                let row = self.row(minute, number);
                if row.visible_at <= now && wanted(&row) {
                    rows.push(row);
                    if rows.len() >= limit {
                        return rows;
                    }
                }
            }
        }
        rows
    }

    /// Every row from `start` to `end`, seen or not.
    pub(crate) fn all(&self, start: i64, end: i64) -> impl Iterator<Item = Row> {
        let minutes = start.div_euclid(60).max(self.begin)..=end.div_euclid(60);
        minutes
            .flat_map(move |minute| (0..self.count(minute)).map(move |number| self.row(minute, number)))
            .filter(move |row| row.at >= start && row.at < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(kind: Kind, rules: Journal) -> Log {
        Log {
            seed: 1,
            vdc: 0,
            kind,
            rules,
            begin: 100,
        }
    }

    #[test]
    fn pages_together_are_the_whole() {
        let log = log(
            Kind::Audit,
            Journal {
                events_per_minute: 7,
                burst_every: 3,
                ..Journal::default()
            },
        );
        let now = 1_000_000;
        let (whole, more) = log.page((0, 110 * 60), now, None, 10_000, |_| true);
        assert_eq!(more, None);
        assert_eq!(whole.len(), 7 * 10 + 9 * 7 * 3);
        let mut pages = Vec::new();
        let mut from = None;
        loop {
            let (rows, next) = log.page((0, 110 * 60), now, from, 5, |_| true);
            pages.extend(rows);
            from = next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(pages, whole);
        assert_eq!(log.all(0, 110 * 60).collect::<Vec<_>>(), whole);
    }

    #[test]
    fn a_late_row_shows_up_later() {
        let log = log(
            Kind::Alert,
            Journal {
                late_one_in: 1,
                late_secs: 90,
                ..Journal::default()
            },
        );
        let seen = |now| log.page((6_000, 6_060), now, None, 10, |_| true).0.len();
        assert_eq!((seen(6_059), seen(6_089), seen(6_090)), (0, 0, 1));
    }

    #[test]
    fn the_end_is_exclusive_unless_told() {
        let mut log = log(Kind::Audit, Journal::default());
        assert_eq!(log.page((6_000, 6_060), 99_999, None, 99, |_| true).0.len(), 3);
        log.rules.inclusive_end = true;
        assert_eq!(log.page((6_000, 6_060), 99_999, None, 99, |_| true).0.len(), 6);
    }

    #[test]
    fn the_latest_come_newest_first() {
        let log = log(
            Kind::Alert,
            Journal {
                alerts_per_minute: 2,
                ..Journal::default()
            },
        );
        let rows = log.latest(110 * 60 + 59, 5, |_| true);
        assert_eq!(
            rows.iter().map(|row| row.at).collect::<Vec<_>>(),
            [6630, 6600, 6570, 6540, 6510]
        );
    }
}
