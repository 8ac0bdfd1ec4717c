//! What each health endpoint answers.
//!
//! Owns the rules as one pure function, [`judge`], over [`Facts`]: every path, every state, in one table that the
//! tests hold against the promise made to users. It reads no clock and no snapshot.

use std::time::Duration;

use crate::heartbeat;
use crate::status::State;

/// A question that is answered with 200 or 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// `/leader`
    Leader,
    /// `/standby`
    Standby,
    /// `/health`
    Health,
    /// `/liveness`
    Liveness,
    /// `/readiness`
    Readiness,
}

/// All that the answers depend on, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// As the engine told it; [`Facts::state`] is what holds now.
    pub(super) told: State,
    /// Runs with etcd.
    pub(super) ha_enabled: bool,
    /// What is left of this instance's own tenure; `None` = it has none.
    pub(super) lease_remaining: Option<Duration>,
    /// etcd answered last time.
    pub(super) dcs_reachable: bool,
    /// Why this instance may not lead.
    pub(super) barred: Option<&'static str>,
    /// Nobody races for the lease.
    pub(super) paused: bool,
    /// An output fails.
    pub(super) output_down: bool,
    /// A VDC fails altogether.
    pub(super) ecs_down: bool,
    /// Age of the main loop's last sign of life.
    pub(super) heartbeat_age: Duration,
    /// `ha.ttl`
    pub(super) ttl: Duration,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// 200 or 503.
    pub(super) ok: bool,
    /// Words out of a closed set: why not, and what is wrong even so.
    pub(super) reasons: Vec<&'static str>,
}

impl Facts {
    /// The state at this moment: a leader whose tenure is over is none, even if its engine has not noticed yet.
    pub(super) fn state(&self) -> State {
        self.told.held(self.lease_remaining)
    }

    /// Whether this instance holds a live tenure, or needs none.
    pub(super) fn leads(&self) -> bool {
        self.state().leads()
    }

    /// Whether it works, or ends its work within a tenure that is still its own; its output and ECS matter then. A
    /// standby that is stopped drains too, and has nothing to end.
    pub(super) fn works(&self) -> bool {
        let holds = || !self.ha_enabled || self.lease_remaining.is_some_and(|left| !left.is_zero());
        self.leads() || self.state() == State::Draining && holds()
    }

    fn waits(&self) -> bool {
        matches!(self.state(), State::Standby | State::Candidate)
    }

    fn stalled(&self) -> bool {
        self.heartbeat_age >= heartbeat::patience(self.state(), self.ttl)
    }

    /// What is wrong, whoever asks.
    fn troubles(&self) -> Vec<&'static str> {
        let waits = self.waits();
        [
            (self.ha_enabled && !self.dcs_reachable, "dcs_unreachable"),
            (waits && self.barred.is_some(), self.barred.unwrap_or_default()),
            (self.works() && self.output_down, "output_down"),
            (self.works() && self.ecs_down, "ecs_down"),
            (self.stalled(), "loop_stalled"),
        ]
        .into_iter()
        .filter_map(|(wrong, word)| wrong.then_some(word))
        .collect()
    }
}

/// Answers `check`. `strict` makes a failing output or VDC count in [`Check::Health`].
pub(super) fn judge(check: Check, strict: bool, facts: &Facts) -> Verdict {
    let state = facts.state();
    let may_take_over = facts.waits() && facts.dcs_reachable && facts.barred.is_none();
    let ok = match check {
        Check::Leader => facts.leads(),
        Check::Standby => may_take_over,
        Check::Readiness => facts.leads() || may_take_over,
        Check::Health => {
            let fit = facts.leads() || state == State::Draining || facts.waits() && facts.dcs_reachable;
            fit && !(strict && facts.works() && (facts.output_down || facts.ecs_down))
        }
        // A restart of a paused cluster's leader would leave it without one.
        Check::Liveness => facts.paused || !facts.stalled(),
    };
    let mut reasons = Vec::new();
    if !ok {
        reasons.extend(why_not(check, state, facts));
    }
    reasons.extend(facts.troubles());
    Verdict { ok, reasons }
}

/// The word for a refusal that the state alone explains.
fn why_not(check: Check, state: State, facts: &Facts) -> Option<&'static str> {
    if check == Check::Liveness {
        return None;
    }
    match state {
        State::Starting => Some("starting"),
        State::Lost if facts.told == State::Leader => Some("lease_expired"),
        State::Lost => Some("lost"),
        State::Stopped => Some("stopped"),
        State::Draining if check != Check::Health => Some("draining"),
        State::Standby | State::Candidate if check == Check::Leader => Some("not_leader"),
        State::Leader | State::Single if check == Check::Standby => Some("not_standby"),
        State::Draining | State::Standby | State::Candidate | State::Leader | State::Single => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    const STATES: [State; 8] = [
        State::Starting,
        State::Standby,
        State::Candidate,
        State::Leader,
        State::Draining,
        State::Lost,
        State::Single,
        State::Stopped,
    ];

    /// Everything is well.
    fn well(state: State) -> Facts {
        Facts {
            told: state,
            ha_enabled: state != State::Single,
            lease_remaining: matches!(state, State::Leader | State::Draining).then_some(TTL),
            dcs_reachable: true,
            barred: None,
            paused: false,
            output_down: false,
            ecs_down: false,
            heartbeat_age: Duration::ZERO,
            ttl: TTL,
        }
    }

    fn table(check: Check, facts: impl Fn(State) -> Facts) -> String {
        STATES
            .iter()
            .map(|state| {
                if judge(check, false, &facts(*state)).ok {
                    '+'
                } else {
                    '-'
                }
            })
            .collect()
    }

    #[test]
    fn every_path_in_every_state() {
        //                starting standby candidate leader draining lost single stopped
        for (check, want) in [
            (Check::Leader, "---+--+-"),
            (Check::Standby, "-++-----"),
            (Check::Health, "-++++-+-"),
            (Check::Readiness, "-+++--+-"),
            (Check::Liveness, "++++++++"),
        ] {
            assert_eq!(table(check, well), want, "{check:?}");
        }
    }

    #[test]
    fn every_path_without_etcd() {
        let facts = |state| Facts {
            dcs_reachable: false,
            ..well(state)
        };
        for (check, want) in [
            (Check::Leader, "---+--+-"),
            (Check::Standby, "--------"),
            (Check::Health, "---++-+-"),
            (Check::Readiness, "---+--+-"),
            (Check::Liveness, "++++++++"),
        ] {
            assert_eq!(table(check, facts), want, "{check:?}");
        }
    }

    #[test]
    fn every_path_where_the_instance_may_not_lead() {
        let facts = |state| Facts {
            barred: Some("nofailover"),
            ..well(state)
        };
        for (check, want) in [
            (Check::Leader, "---+--+-"),
            (Check::Standby, "--------"),
            (Check::Health, "-++++-+-"),
            (Check::Readiness, "---+--+-"),
            (Check::Liveness, "++++++++"),
        ] {
            assert_eq!(table(check, facts), want, "{check:?}");
        }
    }

    #[test]
    fn a_leader_past_its_deadline_is_none() {
        for left in [None, Some(Duration::ZERO)] {
            let facts = Facts {
                lease_remaining: left,
                ..well(State::Leader)
            };
            assert_eq!(facts.state(), State::Lost);
            for check in [Check::Leader, Check::Standby, Check::Health, Check::Readiness] {
                let verdict = judge(check, false, &facts);
                assert_eq!((verdict.ok, verdict.reasons), (false, vec!["lease_expired"]));
            }
        }
        let last = Facts {
            lease_remaining: Some(Duration::from_millis(1)),
            ..well(State::Leader)
        };
        assert!(judge(Check::Leader, false, &last).ok);
    }

    #[test]
    fn a_stalled_loop_is_dead_after_one_ttl_as_leader_and_two_otherwise() {
        for state in STATES {
            let patience = if state == State::Leader { TTL } else { TTL * 2 };
            let mut facts = well(state);
            facts.heartbeat_age = patience.saturating_sub(Duration::from_millis(1));
            assert!(judge(Check::Liveness, false, &facts).ok, "{state:?}");
            facts.heartbeat_age = patience;
            let verdict = judge(Check::Liveness, false, &facts);
            assert_eq!(
                (verdict.ok, verdict.reasons),
                (false, vec!["loop_stalled"]),
                "{state:?}"
            );
            facts.paused = true;
            let verdict = judge(Check::Liveness, false, &facts);
            assert_eq!(
                (verdict.ok, verdict.reasons),
                (true, vec!["loop_stalled"]),
                "{state:?}"
            );
        }
    }

    #[test]
    fn a_failing_output_or_vdc_is_told_and_counts_only_when_strict() {
        for (output_down, ecs_down, word) in [(true, false, "output_down"), (false, true, "ecs_down")] {
            for state in [State::Leader, State::Single, State::Draining] {
                let facts = Facts {
                    output_down,
                    ecs_down,
                    ..well(state)
                };
                let lenient = judge(Check::Health, false, &facts);
                assert_eq!((lenient.ok, lenient.reasons), (true, vec![word]), "{state:?}");
                let strict = judge(Check::Health, true, &facts);
                assert_eq!((strict.ok, strict.reasons), (false, vec![word]), "{state:?}");
            }
            // Its last words on the output are of no interest while it waits, or is stopped meanwhile.
            for (state, lease_remaining) in [(State::Standby, None), (State::Draining, Some(Duration::ZERO))]
            {
                let facts = Facts {
                    lease_remaining,
                    output_down,
                    ecs_down,
                    ..well(state)
                };
                let strict = judge(Check::Health, true, &facts);
                assert_eq!((strict.ok, strict.reasons), (true, vec![]));
            }
        }
    }

    #[test]
    fn every_refusal_has_a_reason_and_health_has_none_when_all_is_well() {
        for state in STATES {
            for check in [Check::Leader, Check::Standby, Check::Health, Check::Readiness] {
                for (dcs_reachable, barred) in [(true, None), (false, None), (true, Some("schema_too_new"))] {
                    let facts = Facts {
                        dcs_reachable,
                        barred,
                        ..well(state)
                    };
                    let verdict = judge(check, false, &facts);
                    assert!(
                        verdict.ok || !verdict.reasons.is_empty(),
                        "{check:?} {state:?} {facts:?}"
                    );
                    assert!(!verdict.reasons.contains(&""), "{verdict:?}");
                }
                let verdict = judge(check, false, &well(state));
                assert_eq!(verdict.ok, verdict.reasons.is_empty(), "{check:?} {state:?}");
            }
        }
    }

    #[test]
    fn the_words_of_a_refusal() {
        for (check, state, want) in [
            (Check::Leader, State::Standby, "not_leader"),
            (Check::Leader, State::Draining, "draining"),
            (Check::Standby, State::Single, "not_standby"),
            (Check::Health, State::Starting, "starting"),
            (Check::Health, State::Lost, "lost"),
            (Check::Readiness, State::Draining, "draining"),
            (Check::Health, State::Stopped, "stopped"),
        ] {
            assert_eq!(judge(check, false, &well(state)).reasons, [want]);
        }
    }
}
