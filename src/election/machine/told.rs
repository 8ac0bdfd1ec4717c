//! What the machine tells about itself and the cluster.
//!
//! Owns the translation of its inner phases into the states that endpoints, metrics and other members see.

use std::sync::Arc;

use super::asking::Purpose;
use super::{Machine, Now, Phase, race};
use crate::cluster::{LeaderRecord, MemberRecord, Probe, SCHEMA};
use crate::status::{Cluster, Leader, Leadership, State};

impl Machine {
    /// The state, as others know it.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Joining if self.was_lost => State::Lost,
            Phase::Joining if self.joined_before => State::Standby,
            Phase::Joining => State::Starting,
            Phase::Following => match &self.asking {
                Some((_, Purpose::Race)) => State::Candidate,
                _ => State::Standby,
            },
            Phase::Settling { .. } => State::Candidate,
            Phase::Leading { .. } => State::Leader,
            Phase::Draining { .. }
            | Phase::Closing { .. }
            | Phase::Releasing { .. }
            | Phase::Leaving { .. } => State::Draining,
            Phase::Lost { .. } => State::Lost,
            Phase::Gone => State::Stopped,
        }
    }

    /// Who leads, as far as is known.
    pub fn leadership(&self) -> Leadership {
        let held = self.view.leader.as_ref();
        let record = held.and_then(|held| held.record.as_ref());
        let me = &self.settings.me;
        Leadership {
            term: held.map_or(0, |held| held.term),
            leader: record.map(|record| Leader {
                name: Arc::from(&*record.instance),
                address: Arc::from(&*record.address),
                since: record.since,
            }),
            deadline: self.holds().map(|_| self.deadline()),
            dcs_reachable: self.reachable,
            dcs_last_seen: self.last_seen,
            barred: self.why_barred(),
            paused: self.view.paused,
            config_mismatch: record.is_some_and(|record| record.config_hash != me.config_hash),
        }
    }

    /// The cluster, as of the last look.
    pub fn cluster(&self) -> Cluster {
        Cluster {
            members: self.view.members.clone(),
            history: self.history.clone(),
            switchover: self.view.switchover.clone(),
            seen: self.seen,
        }
    }

    /// Why this instance may not lead.
    pub(super) fn why_barred(&self) -> Option<&'static str> {
        if self.regressed {
            return Some("term_regressed");
        }
        // Whom the history names as a later leader is unknown here: nothing can be said against this instance then.
        let newest = |former: &&LeaderRecord| {
            let last = self.view.last.as_ref();
            last.is_none_or(|last| last.to == former.instance)
        };
        race::barred(&self.settings, &self.view, self.former.as_ref().filter(newest))
    }

    /// This instance's member record as it should be now.
    pub(super) fn member_record(&self) -> MemberRecord {
        let me = &self.settings.me;
        let state = match self.state() {
            // It becomes one by being written.
            State::Starting | State::Candidate => State::Standby,
            state => state,
        };
        MemberRecord {
            schema: SCHEMA,
            instance: me.instance.clone(),
            incarnation: me.incarnation.clone(),
            address: me.address.clone(),
            state: state.as_str().to_owned(),
            version: me.version.clone(),
            config_hash: me.config_hash.clone(),
            identity_hash: me.identity_hash.clone(),
            priority: me.priority,
            ttl_ms: u64::try_from(self.settings.ttl.as_millis()).unwrap_or(u64::MAX),
            since: me.since,
            probe: self.probe,
        }
    }

    /// This instance has looked at the world.
    pub(super) fn probed(&mut self, now: Now, probe: Probe) {
        let sees = probe.output && probe.ecs;
        if sees {
            self.blind_since = None;
        } else {
            self.blind_since.get_or_insert(now.boot);
        }
        // Others need to know what has changed, not that nothing has.
        let same = |known: Probe| known.output == probe.output && known.ecs == probe.ecs;
        if !self.probe.is_some_and(same) {
            self.probe = Some(probe);
        }
    }
}
