//! Billing figures: cumulative counts of each namespace as pure functions of the 5-minute mark, so that every
//! window is the difference of two of them. Must never be asked with marks off the 5-minute grid.

use crate::seed::{mix, of_name};

/// Length of a billing bucket in seconds.
pub(crate) const STEP: i64 = 300;
const ORIGIN: i64 = 1_700_000_100;

/// What happened in a namespace (or bucket) between two marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) objects_created: i64,
    pub(crate) objects_deleted: i64,
    pub(crate) bytes: i64,
    pub(crate) ingress: i64,
    pub(crate) egress: i64,
}

/// A bucket among those of its namespace: its number and how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) number: i64,
    pub(crate) count: i64,
}

/// What a namespace (or bucket) holds at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) objects: i64,
    pub(crate) bytes: i64,
}

/// The mark of a grid at or before `seconds`.
pub(crate) fn floor(seconds: i64, grid: i64) -> i64 {
    let grid = grid.max(1);
    seconds.div_euclid(grid) * grid
}

/// Grows by `rate` a step, unevenly; the difference over any steps is more than nothing.
fn cumulative(seed: u64, name: u64, what: u64, rate: i64, mark: i64) -> i64 {
    let step = (mark - ORIGIN).div_euclid(STEP);
    let noise = mix(&[seed, name, what, step.cast_unsigned()]) % rate.max(1).cast_unsigned();
    step * rate + noise.cast_signed()
}

fn rate(seed: u64, name: u64, what: u64, low: i64, high: i64) -> i64 {
    low + (mix(&[seed, name, what, 0x7a7e]) % (high - low).cast_unsigned()).cast_signed()
}

fn totals(seed: u64, name: u64, mark: i64) -> Delta {
    let created = cumulative(seed, name, 1, rate(seed, name, 1, 20, 200), mark);
    let deleted = cumulative(seed, name, 2, rate(seed, name, 2, 2, 20), mark);
    let ingress = cumulative(seed, name, 3, rate(seed, name, 3, 1 << 20, 1 << 28), mark);
    let egress = cumulative(seed, name, 4, rate(seed, name, 4, 1 << 16, 1 << 26), mark);
    // Deletions come unevenly enough that the difference is below zero at times.
    let removed = cumulative(
        seed,
        name,
        5,
        rate(seed, name, 3, 1 << 20, 1 << 28) * 9 / 10,
        mark,
    );
    Delta {
        objects_created: created,
        objects_deleted: deleted,
        bytes: ingress - removed,
        ingress,
        egress,
    }
}

/// What happened to `name` from `start` to `end`.
pub(crate) fn window(seed: u64, name: &str, start: i64, end: i64) -> Delta {
    if end <= start {
        return Delta::default();
    }
    let (before, after) = (
        totals(seed, of_name(name), start),
        totals(seed, of_name(name), end),
    );
    Delta {
        objects_created: after.objects_created - before.objects_created,
        objects_deleted: after.objects_deleted - before.objects_deleted,
        bytes: after.bytes - before.bytes,
        ingress: after.ingress - before.ingress,
        egress: after.egress - before.egress,
    }
}

/// What `name` holds at `mark`.
pub(crate) fn held(seed: u64, name: &str, mark: i64) -> Held {
    let hash = of_name(name);
    let sum = totals(seed, hash, mark);
    let base = (mix(&[seed, hash, 0xba5e]) % (1 << 42)).cast_signed();
    Held {
        objects: 40_000 + sum.objects_created - sum.objects_deleted,
        bytes: (base + sum.bytes).max(0),
    }
}

// === impl Share ===

impl Share {
    /// The bucket's part; the parts of all buckets make up the whole.
    fn of(self, whole: i64) -> i64 {
        let count = self.count.max(1);
        whole / count + if self.number == 0 { whole % count } else { 0 }
    }
}

// === impl Delta ===

impl Delta {
    pub(crate) fn share(self, share: Share) -> Self {
        Self {
            objects_created: share.of(self.objects_created),
            objects_deleted: share.of(self.objects_deleted),
            bytes: share.of(self.bytes),
            ingress: share.of(self.ingress),
            egress: share.of(self.egress),
        }
    }
}

// === impl Held ===

impl Held {
    pub(crate) fn share(self, share: Share) -> Self {
        Self {
            objects: share.of(self.objects),
            bytes: share.of(self.bytes),
        }
    }
}

/// A size in a unit, as text: binary, exact to what ECS prints, or whole when the release rounds.
pub(crate) fn sized(bytes: i64, unit: &str, whole: bool) -> Option<String> {
    let divisor: i64 = match unit {
        "BYTE" => 1,
        "KB" | "KiB" => 1 << 10,
        "MB" | "MiB" => 1 << 20,
        "GB" | "GiB" => 1 << 30,
        _ => return None,
    };
    if whole {
        return Some(((bytes + divisor / 2) / divisor).to_string());
    }
    Some((bytes as f64 / divisor as f64).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_add_up() {
        let whole = window(1, "ns1", ORIGIN, ORIGIN + 10 * STEP);
        let mut sum = Delta::default();
        for step in 0..10 {
            let part = window(1, "ns1", ORIGIN + step * STEP, ORIGIN + (step + 1) * STEP);
            assert!(part.objects_created > 0 && part.ingress > 0);
            sum.objects_created += part.objects_created;
            sum.objects_deleted += part.objects_deleted;
            sum.bytes += part.bytes;
            sum.ingress += part.ingress;
            sum.egress += part.egress;
        }
        assert_eq!(sum, whole);
        assert_eq!(window(1, "ns1", ORIGIN, ORIGIN), Delta::default());
        let before = held(1, "ns1", ORIGIN);
        let after = held(1, "ns1", ORIGIN + 10 * STEP);
        assert_eq!(after.bytes - before.bytes, whole.bytes);
    }

    #[test]
    fn buckets_make_up_their_namespace() {
        let whole = held(1, "ns1", ORIGIN);
        let parts = (0..4).map(|number| whole.share(Share { number, count: 4 }));
        let (objects, bytes) = parts.fold((0, 0), |sum, part| (sum.0 + part.objects, sum.1 + part.bytes));
        assert_eq!((objects, bytes), (whole.objects, whole.bytes));
    }

    #[test]
    fn some_windows_shrink() {
        let negative = (0..200)
            .filter(|step| window(1, "ns1", step * STEP, (step + 1) * STEP).bytes < 0)
            .count();
        assert!(negative > 10, "{negative}");
    }

    #[test]
    fn units_are_binary() {
        assert_eq!(sized(10_000_000, "KB", false).as_deref(), Some("9765.625"));
        assert_eq!(sized(1_617_002_503, "MB", true).as_deref(), Some("1542"));
        assert_eq!(sized(1_617_002_503, "GB", true).as_deref(), Some("2"));
        assert_eq!(sized(1, "TB", false), None);
    }
}
