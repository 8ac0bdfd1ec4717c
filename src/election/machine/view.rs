//! What the cluster's keys say.
//!
//! Owns the one read by which an instance sees them all at one revision ([`reads`]) and its interpretation ([`View`]).
//! A record of a newer schema, or one that cannot be read, is told apart from one that is not there.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cluster::{
    CONFIG, ConfigRecord, HISTORY, HistoryRecord, LEADER, LeaderRecord, MEMBERS, MemberRecord, SCHEMA,
    SWITCHOVER, SwitchoverRecord, TERM, TermRecord,
};
use crate::dcs::{KeyValue, LeaseId, Operation};

/// The keys, as of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) leader: Option<Held>,
    pub(super) members: Vec<MemberRecord>,
    pub(super) switchover: Option<SwitchoverRecord>,
    /// 0 = there is none.
    pub(super) switchover_revision: i64,
    pub(super) paused: bool,
    /// 0 = there is none.
    pub(super) config_revision: i64,
    /// The newest term; 0 = there was none, or an older release led in it.
    pub(super) term: u64,
    /// For how long its leader's lease was granted.
    pub(super) term_ttl: Duration,
    /// The newest term's, or an older one's.
    pub(super) last: Option<HistoryRecord>,
    /// When that was last written.
    pub(super) last_revision: i64,
    /// The member key of this instance: its mod-revision and lease; (0, 0) = it is not there.
    pub(super) own: (i64, LeaseId),
    /// Something was written by a release that this one does not understand.
    pub(super) too_new: bool,
}

/// The leader key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The create-revision.
    pub(super) term: u64,
    pub(super) lease: LeaseId,
    /// `None` = it cannot be read.
    pub(super) record: Option<LeaderRecord>,
}

/// The steps that read the view, in the order that [`View::read`] expects.
pub(super) fn reads() -> Vec<Operation> {
    vec![
        Operation::Get(LEADER.to_owned()),
        Operation::List(MEMBERS.to_owned()),
        Operation::Get(SWITCHOVER.to_owned()),
        Operation::Get(CONFIG.to_owned()),
        Operation::Last(HISTORY.to_owned()),
        Operation::Get(TERM.to_owned()),
    ]
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

impl View {
    /// What the answers to [`reads`] say; they are the last ones of `results`. `None`: there are too few.
    pub(super) fn read(results: &[Vec<KeyValue>], own_key: &str) -> Option<Self> {
        let from = results.len().checked_sub(6)?;
        let [leader, members, switchover, config, last, term] = results.get(from..)? else {
            return None;
        };
        let mut view = Self::default();
        if let Some(key) = leader.first() {
            view.leader = Some(Held {
                term: u64::try_from(key.create_revision).unwrap_or_default(),
                lease: key.lease,
                record: view.parse(key),
            });
        }
        for key in members {
            if key.key == own_key {
                view.own = (key.mod_revision, key.lease);
            }
            if let Some(member) = view.parse(key) {
                view.members.push(member);
            }
        }
        if let Some(key) = switchover.first() {
            view.switchover_revision = key.mod_revision;
            view.switchover = view.parse(key);
        }
        if let Some(key) = config.first() {
            view.config_revision = key.mod_revision;
            view.paused = view.parse::<ConfigRecord>(key).is_some_and(|config| config.pause);
        }
        if let Some(record) = term.first().and_then(|key| view.parse::<TermRecord>(key)) {
            view.term_ttl = Duration::from_millis(record.ttl_ms);
        }
        let term = term.first().map_or(0, |key| key.mod_revision);
        view.term = u64::try_from(term).unwrap_or_default();
        view.last_revision = last.first().map_or(0, |key| key.mod_revision);
        view.last = last.first().and_then(|key| view.parse(key));
        Some(view)
    }

    fn parse<T: DeserializeOwned>(&mut self, key: &KeyValue) -> Option<T> {
        if let Ok(record) = serde_json::from_slice::<Schema>(&key.value)
            && record.schema > SCHEMA
        {
            self.too_new = true;
            return None;
        }
        serde_json::from_slice(&key.value).ok()
    }

    /// The member of that name.
    pub(super) fn member(&self, instance: &str) -> Option<&MemberRecord> {
        self.members.iter().find(|member| member.instance == instance)
    }

    /// Keys are gone; a hint that may be late, so only what it surely means is taken from it.
    pub(super) fn forget(&mut self, keys: &[String]) {
        for key in keys {
            if key == LEADER {
                self.leader = None;
            } else if let Some(instance) = key.strip_prefix(MEMBERS) {
                self.members.retain(|member| member.instance != instance);
            }
        }
    }
}

/// The history, as one list of keys.
pub(super) fn history(keys: &[KeyValue]) -> Vec<HistoryRecord> {
    keys.iter()
        .filter_map(|key| serde_json::from_slice(&key.value).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
            create_revision: 5,
            mod_revision: 6,
            lease: 7,
        }
    }

    #[test]
    fn a_newer_schema_and_rubbish_are_not_nothing() {
        let leader = vec![key(LEADER, r#"{"schema":2,"boss":"x"}"#)];
        let config = vec![key(CONFIG, r#"{"schema":1,"pause":true,"later":1}"#)];
        let results = [
            vec![],
            leader,
            vec![],
            vec![],
            config,
            vec![],
            vec![key(TERM, "{}")],
        ];
        let view = View::read(&results, "members/a").unwrap();
        let held = view.leader.unwrap();
        assert_eq!((held.term, held.lease, held.record), (5, 7, None));
        assert!(view.too_new && view.paused);
        assert_eq!(view.term, 6);
        let rubbish = [vec![key(LEADER, "{")], vec![], vec![], vec![], vec![], vec![]];
        let view = View::read(&rubbish, "members/a").unwrap();
        assert!(view.leader.is_some() && !view.too_new && !view.paused);
        assert_eq!(View::read(&rubbish[1..], "members/a"), None);
    }
}
