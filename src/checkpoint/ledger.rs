//! What is written to etcd when, so that no checkpoint is lost, doubled or written by a deposed leader.
//!
//! Owns the protocol of one term, as a pure state: which values wait, which transaction comes next, what an answer
//! means. Every transaction compares the leader key's create-revision with the term and each checkpoint's own
//! mod-revision with what is known of it; a value whose write was not answered is found out by the next try, whose
//! conditions fail then and which reads instead. It does no I/O and reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record;
use super::{Checkpoint, Stream};
use crate::cluster::{CHECKPOINTS, LEADER};
use crate::dcs::{Compare, DcsError, KeyValue, Operation, Response, Txn};
use crate::election::controls;

/// Streams in one transaction; etcd takes 128 operations, and one is for the leader key.
const MOST_STREAMS: usize = 100;
/// Bytes in one transaction; etcd takes 1.5 MiB.
const MOST_BYTES: usize = 1 << 20;
/// Each stream is written at most so often.
const REST: Duration = Duration::from_secs(1);
/// The pause after a failed try.
const PAUSE: Duration = Duration::from_millis(100);

/// The checkpoints of one term.
#[derive(Debug)]
pub struct Ledger {
    term: u64,
    entries: BTreeMap<String, Entry>,
    /// Keys and numbers of what is being written.
    in_flight: Option<Vec<(String, u64)>>,
    rest_until: Duration,
    damaged: bool,
}

#[derive(Debug, Default)]
struct Entry {
    /// The newest value.
    checkpoint: Checkpoint,
    /// Its number in this term; 0 = as it was found.
    seq: u64,
    /// The number of what lies in etcd.
    stored: u64,
    /// Its mod-revision; 0 = there is nothing.
    revision: i64,
    written: Option<Duration>,
    bytes: usize,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// So many values are written.
    Written(usize),
    /// Written by a try before, whose answer was lost; or not yet: to be tried again.
    Again,
    /// Nobody answered, or etcd refused; to be tried again.
    Failed(String),
    /// Another leads: nothing more may be written.
    Fenced,
    /// Somebody else has written this stream within this very term.
    Foreign(String),
}

impl Ledger {
    /// The ledger of a term, before [`Ledger::take_over`].
    pub fn new(term: u64) -> Self {
        Self {
            term,
            entries: BTreeMap::new(),
            in_flight: None,
            rest_until: Duration::ZERO,
            damaged: false,
        }
    }

    /// The transaction that reads what earlier terms have left; where this term is over it reads the leader instead.
    pub fn inventory(&self) -> Txn {
        Txn {
            when: self.fence(),
            then: vec![Operation::List(CHECKPOINTS.to_owned())],
            or_else: vec![Operation::Get(LEADER.to_owned())],
        }
    }

    /// Takes over what [`Ledger::inventory`] has read. `None`: this term is over. Otherwise what could not be read,
    /// with the reasons.
    pub fn take_over(&mut self, response: Response) -> Option<Vec<(String, String)>> {
        let Response::Txn {
            succeeded: true,
            results,
            ..
        } = response
        else {
            return None;
        };
        let mut complaints = Vec::new();
        for key in results.into_iter().flatten() {
            let checkpoint = record::decode(&key.value).unwrap_or_else(|why| {
                complaints.push((key.key.clone(), why));
                Checkpoint::default()
            });
            let entry = Entry {
                checkpoint,
                revision: key.mod_revision,
                bytes: key.value.len(),
                ..Entry::default()
            };
            self.entries.insert(key.key, entry);
        }
        self.damaged = !complaints.is_empty();
        Some(complaints)
    }

    /// Whether something could not be read.
    pub fn is_after_damage(&self) -> bool {
        self.damaged
    }

    /// The newest checkpoint of a stream.
    pub fn get(&self, stream: &Stream) -> Option<Checkpoint> {
        let entry = self.entries.get(&key(stream))?;
        (entry.checkpoint != Checkpoint::default()).then(|| entry.checkpoint.clone())
    }

    /// A stream has got so far.
    pub fn put(&mut self, stream: &Stream, checkpoint: Checkpoint) {
        let entry = self.entries.entry(key(stream)).or_default();
        entry.checkpoint = checkpoint;
        entry.seq += 1;
    }

    /// Bytes of all values as they were last encoded or found.
    pub fn bytes(&self) -> usize {
        self.entries.values().map(|entry| entry.bytes).sum()
    }

    /// Whether everything is written.
    pub fn is_clean(&self) -> bool {
        self.entries.values().all(Entry::is_clean)
    }

    /// The next transaction, if one is due. `hurry`: what waits does not wait for its second to pass. The answer goes
    /// to [`Ledger::answered`]; nothing else is given until then.
    pub fn next(&mut self, now: Duration, hurry: bool) -> Option<Txn> {
        if self.in_flight.is_some() || now < self.rest_until {
            return None;
        }
        let mut txn = Txn {
            when: self.fence(),
            then: Vec::new(),
            or_else: vec![Operation::Get(LEADER.to_owned())],
        };
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (key, entry) in &mut self.entries {
            if entry.is_clean() || !(hurry || entry.due(now)) {
                continue;
            }
            let value = record::encode(self.term, entry.seq, &entry.checkpoint);
            if !batch.is_empty() && (batch.len() == MOST_STREAMS || bytes + value.len() > MOST_BYTES) {
                break;
            }
            bytes += value.len();
            entry.bytes = value.len();
            batch.push((key.clone(), entry.seq));
            if !controls::fencing_is_off() {
                txn.when.push(Compare::ModRevision(key.clone(), entry.revision));
            }
            txn.then.push(Operation::Put {
                key: key.clone(),
                value,
                lease: 0,
            });
            txn.or_else.push(Operation::Get(key.clone()));
        }
        if batch.is_empty() {
            return None;
        }
        self.in_flight = Some(batch);
        Some(txn)
    }

    /// When [`Ledger::next`] may have something, if nothing is put before; `None` = only then.
    pub fn wake_at(&self) -> Option<Duration> {
        if self.in_flight.is_some() {
            return None;
        }
        let due = self.entries.values().filter(|entry| !entry.is_clean());
        due.map(|entry| {
            entry
                .written
                .map_or(Duration::ZERO, |at| at + REST)
                .max(self.rest_until)
        })
        .min()
    }

    /// Takes the answer to what [`Ledger::next`] gave.
    pub fn answered(&mut self, now: Duration, result: Result<Response, DcsError>) -> Verdict {
        let Some(batch) = self.in_flight.take() else {
            return Verdict::Again;
        };
        match result {
            Ok(Response::Txn {
                succeeded: true,
                revision,
                ..
            }) => {
                let count = batch.len();
                for (key, seq) in batch {
                    if let Some(entry) = self.entries.get_mut(&key) {
                        entry.stored = seq;
                        entry.revision = revision;
                        entry.written = Some(now);
                    }
                }
                Verdict::Written(count)
            }
            Ok(Response::Txn { results, .. }) => self.refused(&batch, &results),
            Ok(other) => {
                self.rest_until = now + PAUSE;
                Verdict::Failed(format!("an answer to another question: {other:?}"))
            }
            Err(error) => {
                // It may have been done; the next try finds out.
                self.rest_until = now + PAUSE;
                Verdict::Failed(error.to_string())
            }
        }
    }

    /// A condition did not hold: finds out which.
    fn refused(&mut self, batch: &[(String, u64)], results: &[Vec<KeyValue>]) -> Verdict {
        let mut found = results.iter().flatten();
        let leads = found
            .next()
            .is_some_and(|key| key.key == LEADER && u64::try_from(key.create_revision) == Ok(self.term));
        if !leads {
            return Verdict::Fenced;
        }
        for key in found {
            let Some(entry) = self.entries.get_mut(&key.key) else {
                continue;
            };
            if entry.revision == key.mod_revision {
                continue;
            }
            match record::author(&key.value) {
                // Our own write, whose answer was lost.
                Some((term, seq)) if term == self.term && seq <= entry.seq => {
                    entry.stored = seq;
                    entry.revision = key.mod_revision;
                }
                _ => return Verdict::Foreign(key.key.clone()),
            }
        }
        // A key that is gone was deleted by an administrator: it is written anew.
        let there: Vec<&str> = results.iter().flatten().map(|key| &*key.key).collect();
        for (key, _) in batch {
            if !there.contains(&key.as_str())
                && let Some(entry) = self.entries.get_mut(key)
            {
                entry.revision = 0;
                entry.stored = 0;
            }
        }
        Verdict::Again
    }

    fn fence(&self) -> Vec<Compare> {
        if controls::fencing_is_off() {
            return Vec::new();
        }
        let term = i64::try_from(self.term).unwrap_or(i64::MAX);
        vec![Compare::CreateRevision(LEADER.to_owned(), term)]
    }
}

impl Entry {
    fn is_clean(&self) -> bool {
        self.seq == self.stored
    }

    fn due(&self, now: Duration) -> bool {
        self.written.is_none_or(|at| now >= at + REST)
    }
}

/// Who wrote a value (term and number), and the checkpoint in it: for those who look at etcd from outside.
#[cfg(test)]
pub(crate) fn read(value: &[u8]) -> (Option<(u64, u64)>, Result<Checkpoint, String>) {
    (record::author(value), record::decode(value))
}

fn key(stream: &Stream) -> String {
    format!("{CHECKPOINTS}{}", stream.key())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LEADS: i64 = 7;

    /// Just enough of etcd: one leader key and checkpoints.
    #[derive(Default)]
    struct Etcd {
        leader: i64,
        revision: i64,
        keys: BTreeMap<String, KeyValue>,
    }

    impl Etcd {
        fn new() -> Self {
            Self {
                leader: LEADS,
                revision: LEADS,
                keys: BTreeMap::new(),
            }
        }

        fn apply(&mut self, txn: &Txn) -> Response {
            let succeeded = txn.when.iter().all(|compare| match compare {
                Compare::CreateRevision(key, revision) => key == LEADER && *revision == self.leader,
                Compare::ModRevision(key, revision) => {
                    self.keys.get(key).map_or(0, |key| key.mod_revision) == *revision
                }
                Compare::Lease(..) => false,
            });
            let steps = if succeeded { &txn.then } else { &txn.or_else };
            let before = self.revision;
            let results = steps.iter().map(|step| self.step(step, before)).collect();
            Response::Txn {
                succeeded,
                revision: self.revision,
                results,
            }
        }

        fn step(&mut self, step: &Operation, before: i64) -> Vec<KeyValue> {
            match step {
                Operation::Put { key, value, .. } => {
                    self.revision = before + 1;
                    let created = self
                        .keys
                        .get(key)
                        .map_or(self.revision, |key| key.create_revision);
                    let written = key_value(key, value, created, self.revision);
                    self.keys.insert(key.clone(), written);
                    Vec::new()
                }
                Operation::Get(key) if key == LEADER => {
                    vec![key_value(LEADER, b"{}", self.leader, self.leader)]
                }
                Operation::Get(key) => self.keys.get(key).cloned().into_iter().collect(),
                Operation::List(_) => self.keys.values().cloned().collect(),
                Operation::Delete(_) | Operation::Last(_) => Vec::new(),
            }
        }
    }

    fn key_value(key: &str, value: &[u8], create_revision: i64, mod_revision: i64) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: value.to_vec(),
            create_revision,
            mod_revision,
            lease: 0,
        }
    }

    fn stream(command: &str) -> Stream {
        Stream {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            command: command.into(),
        }
    }

    fn until(second: i64) -> Checkpoint {
        Checkpoint {
            until: Some(Timestamp::from_second(second).unwrap()),
            ..Checkpoint::default()
        }
    }

    fn ledger(etcd: &mut Etcd, term: i64) -> Ledger {
        let mut ledger = Ledger::new(u64::try_from(term).unwrap());
        let inventory = etcd.apply(&ledger.inventory());
        assert_eq!(ledger.take_over(inventory), Some(Vec::new()));
        ledger
    }

    fn lost() -> Result<Response, DcsError> {
        Err(DcsError::Unanswered("reset".to_owned()))
    }

    #[test]
    fn the_next_term_finds_what_this_one_wrote() {
        let mut etcd = Etcd::new();
        let mut first = ledger(&mut etcd, LEADS);
        first.put(&stream("alert"), until(5));
        first.put(&stream("audit"), until(6));
        let txn = first.next(SECOND, false).unwrap();
        assert_eq!(first.next(SECOND, true), None, "one at a time");
        let answer = etcd.apply(&txn);
        assert_eq!(first.answered(SECOND, Ok(answer)), Verdict::Written(2));
        assert!(first.is_clean());
        etcd.leader = 99;
        let second = ledger(&mut etcd, 99);
        assert_eq!(second.get(&stream("alert")), Some(until(5)));
        assert_eq!(second.get(&stream("audit")), Some(until(6)));
        assert_eq!(second.get(&stream("nodes")), None);
        assert!(second.is_clean() && !second.is_after_damage());
    }

    #[test]
    fn a_stream_is_written_once_a_second_unless_there_is_a_hurry() {
        let mut etcd = Etcd::new();
        let mut ledger = ledger(&mut etcd, LEADS);
        ledger.put(&stream("alert"), until(5));
        let txn = ledger.next(10 * SECOND, false).unwrap();
        ledger.answered(10 * SECOND, Ok(etcd.apply(&txn)));
        ledger.put(&stream("alert"), until(6));
        ledger.put(&stream("alert"), until(7));
        let soon = Duration::from_millis(10_500);
        assert_eq!(ledger.next(soon, false), None);
        assert_eq!(ledger.wake_at(), Some(11 * SECOND));
        assert!(ledger.next(soon, true).is_some());
        ledger.in_flight = None;
        let txn = ledger.next(11 * SECOND, false).unwrap();
        assert_eq!(
            ledger.answered(11 * SECOND, Ok(etcd.apply(&txn))),
            Verdict::Written(1)
        );
        assert_eq!(ledger.wake_at(), None);
        assert_eq!(
            record::decode(&etcd.keys["checkpoint/EMC/VDC1/alert"].value),
            Ok(until(7))
        );
    }

    #[test]
    fn a_deposed_leader_writes_nothing() {
        let mut etcd = Etcd::new();
        let mut old = ledger(&mut etcd, LEADS);
        old.put(&stream("alert"), until(5));
        let txn = old.next(SECOND, false).unwrap();
        etcd.leader = 99;
        assert_eq!(old.answered(SECOND, Ok(etcd.apply(&txn))), Verdict::Fenced);
        assert!(etcd.keys.is_empty());
        let mut late = Ledger::new(7);
        let inventory = etcd.apply(&late.inventory());
        assert_eq!(late.take_over(inventory), None);
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_found_whether_it_was_done_or_not() {
        for done in [true, false] {
            let mut etcd = Etcd::new();
            let mut ledger = ledger(&mut etcd, LEADS);
            ledger.put(&stream("alert"), until(5));
            let first = ledger.next(SECOND, false).unwrap();
            if done {
                etcd.apply(&first);
            }
            assert!(matches!(ledger.answered(SECOND, lost()), Verdict::Failed(_)));
            assert_eq!(ledger.next(SECOND, true), None, "a pause");
            // Meanwhile the stream got on.
            ledger.put(&stream("alert"), until(6));
            let second = ledger.next(2 * SECOND, false).unwrap();
            let verdict = ledger.answered(2 * SECOND, Ok(etcd.apply(&second)));
            if done {
                assert_eq!(verdict, Verdict::Again);
                let third = ledger.next(2 * SECOND, false).unwrap();
                assert_eq!(
                    ledger.answered(2 * SECOND, Ok(etcd.apply(&third))),
                    Verdict::Written(1)
                );
            } else {
                assert_eq!(verdict, Verdict::Written(1));
                // The first one arrives after all, and does nothing.
                assert!(matches!(
                    etcd.apply(&first),
                    Response::Txn { succeeded: false, .. }
                ));
            }
            let stored = &etcd.keys["checkpoint/EMC/VDC1/alert"].value;
            assert_eq!(record::decode(stored), Ok(until(6)));
            assert!(ledger.is_clean());
        }
    }

    #[test]
    fn a_deleted_key_is_written_anew_and_a_foreign_one_is_not_touched() {
        let mut etcd = Etcd::new();
        let mut ledger = ledger(&mut etcd, LEADS);
        for command in ["alert", "audit"] {
            ledger.put(&stream(command), until(5));
        }
        let txn = ledger.next(SECOND, false).unwrap();
        ledger.answered(SECOND, Ok(etcd.apply(&txn)));
        etcd.keys.remove("checkpoint/EMC/VDC1/alert");
        ledger.put(&stream("alert"), until(6));
        let txn = ledger.next(3 * SECOND, false).unwrap();
        assert_eq!(ledger.answered(3 * SECOND, Ok(etcd.apply(&txn))), Verdict::Again);
        let txn = ledger.next(3 * SECOND, false).unwrap();
        assert_eq!(
            ledger.answered(3 * SECOND, Ok(etcd.apply(&txn))),
            Verdict::Written(1)
        );
        let foreign = record::encode(1, 1, &until(1));
        etcd.apply(&Txn {
            then: vec![Operation::Put {
                key: "checkpoint/EMC/VDC1/audit".to_owned(),
                value: foreign,
                lease: 0,
            }],
            ..Txn::default()
        });
        ledger.put(&stream("audit"), until(6));
        let txn = ledger.next(9 * SECOND, false).unwrap();
        let verdict = ledger.answered(9 * SECOND, Ok(etcd.apply(&txn)));
        assert_eq!(verdict, Verdict::Foreign("checkpoint/EMC/VDC1/audit".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_told_and_begins_anew() {
        let mut etcd = Etcd::new();
        etcd.keys.insert(
            "checkpoint/EMC/VDC1/alert".to_owned(),
            key_value("checkpoint/EMC/VDC1/alert", b"rubbish", 3, 4),
        );
        let mut ledger = Ledger::new(7);
        let inventory = etcd.apply(&ledger.inventory());
        let complaints = ledger.take_over(inventory).unwrap();
        assert_eq!(complaints.len(), 1);
        assert!(ledger.is_after_damage());
        assert_eq!(ledger.get(&stream("alert")), None);
        ledger.put(&stream("alert"), until(1));
        let txn = ledger.next(SECOND, false).unwrap();
        assert_eq!(ledger.answered(SECOND, Ok(etcd.apply(&txn))), Verdict::Written(1));
    }

    #[test]
    fn a_transaction_holds_what_etcd_takes() {
        let mut etcd = Etcd::new();
        let mut ledger = ledger(&mut etcd, LEADS);
        for number in 0..250 {
            ledger.put(&stream(&format!("c{number}")), until(1));
        }
        let mut written = Vec::new();
        while let Some(txn) = ledger.next(SECOND, false) {
            assert!(txn.when.len() <= 128 && txn.then.len() <= 128 && txn.or_else.len() <= 128);
            written.push(txn.then.len());
            ledger.answered(SECOND, Ok(etcd.apply(&txn)));
        }
        assert_eq!(written, [100, 100, 50]);
    }
}
