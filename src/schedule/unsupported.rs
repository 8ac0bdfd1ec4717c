//! Targets whose release of ECS lacks the API of a command.
//!
//! Owns when such a target is asked again: less and less often, and at once when a node of the VDC runs another release.
//! It sends nothing and tells nobody.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::collect::Target;
use crate::ecs::EcsError;

/// A target is asked at least so often; a command with a longer interval at each tick.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// The releases of a unit's nodes.
pub(super) type Releases = BTreeSet<String>;

/// What is known of the targets of one unit.
#[derive(Debug)]
pub(super) struct Unsupported {
    interval: Duration,
    targets: HashMap<Target, Lack>,
}

#[derive(Debug)]
struct Lack {
    error: EcsError,
    /// Answers in a row that said so.
    times: u32,
    until: Instant,
    releases: Releases,
}

impl Unsupported {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            targets: HashMap::new(),
        }
    }

    /// What a target answered, where it is left alone for now.
    pub(super) fn rests(&self, target: &Target, releases: &Releases) -> Option<&EcsError> {
        let lack = self.targets.get(target)?;
        (Instant::now() < lack.until && lack.releases == *releases).then_some(&lack.error)
    }

    /// Takes note of how a poll of a target ended.
    pub(super) fn polled(&mut self, target: &Target, errors: &[EcsError], releases: Releases) {
        let Some(error) = errors.first().filter(|_| is_lack(errors)) else {
            // Any other error says nothing about the API; it is asked at the next tick, as any target.
            self.targets.remove(target);
            return;
        };
        let times = self.targets.get(target).map_or(0, |lack| lack.times);
        let longest = LONGEST_REST.max(self.interval);
        let rest = self.interval.saturating_mul(1 << times.min(16)).min(longest);
        let lack = Lack {
            error: error.clone(),
            times: times + 1,
            // Ticks are not to the millisecond: half an interval early is still before the one that is meant.
            until: Instant::now() + rest.saturating_sub(self.interval / 2),
            releases,
        };
        self.targets.insert(target.clone(), lack);
    }

    /// Forgets targets that are no more.
    pub(super) fn keep(&mut self, targets: &[Target]) {
        self.targets.retain(|target, _| targets.contains(target));
    }
}

/// Whether a poll failed for want of the API and for no other reason.
pub(super) fn is_lack(errors: &[EcsError]) -> bool {
    let lacks = |error: &EcsError| matches!(error, EcsError::Unsupported { .. });
    !errors.is_empty() && errors.iter().all(lacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn lack() -> Vec<EcsError> {
        vec![EcsError::Unsupported {
            node: "n".to_owned(),
            status: 404,
            path: "/x".to_owned(),
            said: "no".to_owned(),
        }]
    }

    fn releases(names: &[&str]) -> Releases {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// The minutes in which a target that always answers so is asked.
    async fn asked(unsupported: &mut Unsupported, minutes: u32) -> Vec<u32> {
        let old = releases(&["3.8"]);
        let mut asked = Vec::new();
        for minute in 0..minutes {
            if unsupported.rests(&Target::Whole, &old).is_none() {
                asked.push(minute);
                unsupported.polled(&Target::Whole, &lack(), old.clone());
            }
            tokio::time::advance(MINUTE).await;
        }
        asked
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_less_and_less_often() {
        let mut unsupported = Unsupported::new(MINUTE);
        assert_eq!(
            asked(&mut unsupported, 400).await,
            [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_is_polled_seldom_is_asked_at_each_tick() {
        let mut unsupported = Unsupported::new(2 * LONGEST_REST);
        for _ in 0..5 {
            assert!(unsupported.rests(&Target::Whole, &Releases::new()).is_none());
            unsupported.polled(&Target::Whole, &lack(), Releases::new());
            tokio::time::advance(2 * LONGEST_REST).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_release_is_asked_at_once_and_a_good_answer_forgets_all() {
        let mut unsupported = Unsupported::new(MINUTE);
        let (old, mixed) = (releases(&["3.8"]), releases(&["3.8", "4.1"]));
        asked(&mut unsupported, 10).await;
        assert_eq!(unsupported.rests(&Target::Whole, &old), lack().first());
        assert!(unsupported.rests(&Target::Whole, &mixed).is_none());
        unsupported.polled(&Target::Whole, &[], mixed);
        assert!(unsupported.rests(&Target::Whole, &old).is_none());
        unsupported.polled(&Target::Whole, &lack(), old.clone());
        tokio::time::advance(MINUTE).await;
        assert!(
            unsupported.rests(&Target::Whole, &old).is_none(),
            "a single 404 costs nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn targets_are_told_apart_and_forgotten() {
        let node = |id: &str| Target::Node(id.to_owned());
        let mut unsupported = Unsupported::new(MINUTE);
        unsupported.polled(&node("a"), &lack(), Releases::new());
        unsupported.polled(&node("b"), &[EcsError::Stopped], Releases::new());
        assert!(unsupported.rests(&node("a"), &Releases::new()).is_some());
        assert!(unsupported.rests(&node("b"), &Releases::new()).is_none());
        unsupported.keep(&[node("b")]);
        assert!(unsupported.rests(&node("a"), &Releases::new()).is_none());
    }

    #[test]
    fn one_other_error_is_enough_to_ask_again() {
        assert!(is_lack(&lack()) && !is_lack(&[]));
        let mut errors = lack();
        errors.push(EcsError::Stopped);
        assert!(!is_lack(&errors));
    }
}
