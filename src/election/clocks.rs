//! Whether time has jumped: the process was paused, the machine slept, or the time of day was set.
//!
//! Owns the comparison of two readings of the three clocks. A pause that no clock shows (a hypervisor that hides it)
//! is not seen here; what is sent after one of those is made harmless by ids and fencing.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A gap between two readings that is no matter of scheduling any more.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// By how much the clock that counts sleep may outrun the other one.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// By how much the time of day may leave the others: slewing by NTP stays far below.
const LARGEST_STEP: Duration = Duration::from_secs(1);

/// The clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Readings {
    /// `CLOCK_BOOTTIME`
    pub(super) boot: Duration,
    /// `CLOCK_MONOTONIC`
    pub(super) monotonic: Duration,
    /// `CLOCK_REALTIME`
    pub(super) real: Duration,
}

/// Every [`Jump::kind`].
pub(super) const KINDS: [&str; 4] = ["paused", "suspended", "set_forward", "set_back"];

/// How time has jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump {
    /// One of [`KINDS`].
    pub(super) kind: &'static str,
    /// By how much.
    pub(super) by: Duration,
}

impl Readings {
    pub(super) fn take() -> Self {
        let read = |clock| {
            let time = clock_gettime(clock);
            // Both parts are never negative for these clocks.
            Duration::new(
                u64::try_from(time.tv_sec).unwrap_or(0),
                u32::try_from(time.tv_nsec).unwrap_or(0),
            )
        };
        Self {
            boot: read(ClockId::Boottime),
            monotonic: read(ClockId::Monotonic),
            real: read(ClockId::Realtime),
        }
    }

    /// What happened between an earlier reading and this one; the gravest, if several.
    pub(super) fn since(self, before: Self) -> Option<Jump> {
        let boot = self.boot.saturating_sub(before.boot);
        let monotonic = self.monotonic.saturating_sub(before.monotonic);
        let slept = boot.saturating_sub(monotonic);
        if slept > LONGEST_SLEEP {
            return Some(Jump {
                kind: "suspended",
                by: slept,
            });
        }
        if boot > LONGEST_GAP {
            return Some(Jump {
                kind: "paused",
                by: boot,
            });
        }
        let expected = before.real + boot;
        let (kind, by) = if self.real >= expected {
            ("set_forward", self.real.saturating_sub(expected))
        } else {
            ("set_back", expected.saturating_sub(self.real))
        };
        (by > LARGEST_STEP).then_some(Jump { kind, by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(boot: u64, monotonic: u64, real: u64) -> Readings {
        Readings {
            boot: Duration::from_millis(boot),
            monotonic: Duration::from_millis(monotonic),
            real: Duration::from_millis(real),
        }
    }

    #[test]
    fn each_kind_of_jump_is_told_and_ordinary_time_is_not() {
        let start = readings(10_000, 9_000, 1_000_000);
        let kind = |boot, monotonic, real| readings(boot, monotonic, real).since(start).map(|jump| jump.kind);
        assert_eq!(kind(10_100, 9_100, 1_000_100), None);
        assert_eq!(kind(10_900, 9_900, 1_001_000), None);
        assert_eq!(kind(15_000, 14_000, 1_005_000), Some("paused"));
        assert_eq!(kind(15_000, 9_100, 1_005_000), Some("suspended"));
        assert_eq!(kind(10_100, 9_100, 4_600_100), Some("set_forward"));
        assert_eq!(kind(10_100, 9_100, 900_000), Some("set_back"));
        assert!(Readings::take().since(Readings::take()).is_none());
    }
}
