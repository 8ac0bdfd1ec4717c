//! Who races for the leader key, and when.
//!
//! Owns the order among those who could lead: the former leader first, then by priority and name, each a little
//! later than the one before; the pauses after losses; and why an instance may not lead at all. Correctness never
//! depends on any of it: whoever races, only one wins.

use std::collections::VecDeque;
use std::time::Duration;

use super::view::View;
use super::{Machine, Me, Now, Phase, Settings};
use crate::cluster::{LeaderRecord, Reason};

/// Losses older than this are forgotten.
const MEMORY: Duration = Duration::from_secs(600);
/// The longest pause after losses.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Losses of this instance's tenures, for the damping of flapping.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses(VecDeque<Duration>);

impl Losses {
    /// A tenure was lost, not handed over.
    pub(super) fn add(&mut self, now: Duration) {
        self.0.push_back(now);
    }

    /// Until when this instance holds back: after the first loss in ten minutes not at all, then for 2 s, 4 s and
    /// so on.
    pub(super) fn held_back_until(&mut self, now: Duration) -> Duration {
        while self.0.front().is_some_and(|at| *at + MEMORY < now) {
            self.0.pop_front();
        }
        let Some(last) = self.0.back() else {
            return Duration::ZERO;
        };
        // Six doublings are more than the longest pause.
        let doublings = u32::try_from(self.0.len().saturating_sub(1).min(6)).unwrap_or(6);
        if doublings == 0 {
            return Duration::ZERO;
        }
        *last + (Duration::from_secs(1) * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }
}

impl Machine {
    /// When this instance may race; `None` = not as things stand.
    pub(super) fn race_at(&mut self, now: Now) -> Option<Duration> {
        let free = self.phase == Phase::Following
            && self.registered
            && !self.dirty
            && !self.stopping
            && self.view.leader.is_none()
            && now.boot < self.deadline();
        if !free || self.why_barred().is_some() {
            return None;
        }
        let vacant = self.free_at(self.vacant_since?);
        let me = &self.settings.me;
        // Who gave it up on purpose has no claim to it.
        let given_up = self.view.switchover.is_some()
            || self
                .view
                .last
                .as_ref()
                .filter(|last| last.term == self.newest_term())
                .and_then(|last| last.ending)
                .is_some_and(Reason::is_orderly);
        let rank = rank(me, &self.view, self.former.as_ref(), given_up);
        let turn = vacant + self.settings.race_delay * rank.min(100);
        let at = match &self.view.switchover {
            Some(order) if order.candidate.as_ref() == Some(&me.instance) => return Some(vacant),
            _ if self.view.paused => return None,
            Some(order) if order.leader == me.instance || order.candidate.is_some() => {
                turn + self.settings.loop_wait
            }
            _ => turn,
        };
        if others_could(me, &self.view) {
            return Some(at.max(self.losses.held_back_until(now.boot)));
        }
        Some(at)
    }
}

/// Why this instance may not lead, as things stand; `None` = it may.
pub(super) fn barred(
    settings: &Settings,
    view: &View,
    former: Option<&LeaderRecord>,
) -> Option<&'static str> {
    let me = &settings.me;
    if me.priority == 0 {
        return Some("nofailover");
    }
    if view.too_new {
        return Some("schema_too_new");
    }
    let leader = view.leader.as_ref().and_then(|held| held.record.as_ref());
    let reference = leader.or(former)?;
    if reference.incarnation == me.incarnation {
        return None;
    }
    let differs = |theirs: &str, mine: &str, of: fn(&crate::cluster::MemberRecord) -> &str| {
        theirs != mine
            && (leader.is_some()
                || view
                    .members
                    .iter()
                    .any(|member| member.priority > 0 && of(member) == theirs))
    };
    if differs(&reference.identity_hash, &me.identity_hash, |member| {
        &member.identity_hash
    }) {
        return Some("identity_mismatch");
    }
    if settings.refuse_mismatch
        && differs(&reference.config_hash, &me.config_hash, |member| {
            &member.config_hash
        })
    {
        return Some("config_mismatch");
    }
    None
}

/// The place of this instance among those who could lead; 0 races at once. The former leader is the first, unless it
/// has given up on purpose: then nobody waits for it.
fn rank(me: &Me, view: &View, former: Option<&LeaderRecord>, given_up: bool) -> u32 {
    let is_former = |incarnation: &str| former.is_some_and(|former| former.incarnation == incarnation);
    if is_former(&me.incarnation) && !given_up {
        return 0;
    }
    let mine = (std::cmp::Reverse(me.priority), &me.instance);
    let before = view
        .members
        .iter()
        .filter(|member| member.priority > 0 && member.incarnation != me.incarnation)
        .filter(|member| {
            if is_former(&member.incarnation) {
                !given_up
            } else {
                (std::cmp::Reverse(member.priority), &member.instance) < mine
            }
        })
        .count();
    u32::try_from(before).unwrap_or(u32::MAX)
}

/// Whether anybody else could lead.
pub(super) fn others_could(me: &Me, view: &View) -> bool {
    view.members
        .iter()
        .any(|member| member.priority > 0 && member.incarnation != me.incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_costs_nothing_and_further_ones_ever_more() {
        let at = Duration::from_secs;
        let mut losses = Losses::default();
        losses.add(at(100));
        assert_eq!(losses.held_back_until(at(100)), Duration::ZERO);
        losses.add(at(110));
        assert_eq!(losses.held_back_until(at(110)), at(112));
        losses.add(at(120));
        assert_eq!(losses.held_back_until(at(120)), at(124));
        for _ in 0..40 {
            losses.add(at(130));
        }
        assert_eq!(losses.held_back_until(at(130)), at(190));
        assert_eq!(losses.held_back_until(at(731)), Duration::ZERO);
    }
}
