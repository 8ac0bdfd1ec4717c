//! How an output fares, over all its connections.
//!
//! Owns the combination: an output works while one of its connections does, and tells the error of one that does
//! not. Each connection knows for itself when it began to fail, so that a host that is down does not make the log
//! say in turn that the output fails and that it works again. Only publishers wait here, never a reader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::status::OutputStatus;

/// The health of one output.
#[derive(Debug, Clone)]
pub struct Health {
    slot: Arc<ArcSwap<OutputStatus>>,
    connections: Arc<Mutex<Connections>>,
}

#[derive(Debug, Default)]
struct Connections {
    count: usize,
    /// Whether any of them has been tried.
    tried: bool,
    /// By the connection's number.
    failing: BTreeMap<usize, Failure>,
}

#[derive(Debug)]
struct Failure {
    text: String,
    since: Timestamp,
    /// A batch failed: that the server can be reached proves nothing then.
    of_batch: bool,
}

/// One connection's part in it. Publishers that share a connection have clones of it, so that what happens to it is
/// told once.
#[derive(Debug, Clone)]
pub struct Connection {
    health: Health,
    number: usize,
}

/// What a failure is to those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The connection worked before, or failed for another reason.
    New,
    /// It fails as before.
    Known,
}

impl Health {
    /// The health of an output without connections yet, shown in `slot`.
    pub fn new(slot: Arc<ArcSwap<OutputStatus>>) -> Self {
        Self {
            slot,
            connections: Arc::default(),
        }
    }

    /// One more connection.
    pub fn connection(&self) -> Connection {
        let mut connections = self.lock();
        let number = connections.count;
        connections.count += 1;
        Connection {
            health: self.clone(),
            number,
        }
    }

    /// Whether a connection works, or none has failed yet.
    pub fn works(&self) -> bool {
        let connections = self.lock();
        connections.failing.len() < connections.count
    }

    fn show(&self, connections: &Connections, acked: Option<Timestamp>) {
        let first = connections.failing.values().min_by_key(|failure| failure.since);
        self.slot.store(Arc::new(OutputStatus {
            up: connections
                .tried
                .then_some(connections.failing.len() < connections.count),
            last_ack: acked.or(self.slot.load().last_ack),
            last_error: first.map(|failure| failure.text.clone()),
            failing_since: first.map(|failure| failure.since),
        }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Its server was reached. Gives since when it had not been, if so. A connection whose batches fail goes on failing:
    /// servers that are full, or lack a right, are reached all the time.
    pub fn reached(&self) -> Option<Timestamp> {
        let is_of_batch = {
            let connections = self.health.lock();
            let failure = connections.failing.get(&self.number);
            failure.is_some_and(|failure| failure.of_batch)
        };
        if is_of_batch { None } else { self.worked(None) }
    }

    /// It worked; `acked` is when it acknowledged something. Gives since when it had been failing, if it had.
    pub fn worked(&self, acked: Option<Timestamp>) -> Option<Timestamp> {
        let mut connections = self.health.lock();
        connections.tried = true;
        let failed = connections.failing.remove(&self.number);
        self.health.show(&connections, acked);
        failed.map(|failure| failure.since)
    }

    /// It failed at `now`: a batch (`of_batch`), or to reach its server.
    pub fn failed(&self, text: &str, of_batch: bool, now: Timestamp) -> News {
        let mut connections = self.health.lock();
        connections.tried = true;
        let before = connections.failing.get(&self.number);
        let news = match before {
            Some(known) if known.text == text => News::Known,
            _ => News::New,
        };
        let failure = Failure {
            text: text.to_owned(),
            since: before.map_or(now, |before| before.since),
            of_batch: of_batch || before.is_some_and(|before| before.of_batch),
        };
        connections.failing.insert(self.number, failure);
        self.health.show(&connections, None);
        news
    }

    /// Whether the output as a whole works.
    pub fn output_works(&self) -> bool {
        self.health.works()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_output_works_while_one_connection_does() {
        let slot: Arc<ArcSwap<OutputStatus>> = Arc::default();
        let health = Health::new(Arc::clone(&slot));
        let (first, second) = (health.connection(), health.connection());
        assert_eq!(slot.load().up, None);
        assert_eq!(first.failed("refused", false, at(1)), News::New);
        assert_eq!(second.worked(Some(at(2))), None);
        for second_try in 3..9 {
            assert_eq!(
                first.failed("refused", false, at(second_try)),
                News::Known,
                "told once"
            );
            assert_eq!(second.worked(Some(at(second_try))), None, "never failed");
        }
        let now = slot.load_full();
        assert_eq!(
            (now.up, now.failing_since, now.last_ack),
            (Some(true), Some(at(1)), Some(at(8)))
        );
        assert_eq!(now.last_error.as_deref(), Some("refused"));
        assert_eq!(second.failed("reset", false, at(10)), News::New);
        assert_eq!(slot.load().up, Some(false));
        assert!(!first.output_works());
        assert_eq!(first.worked(None), Some(at(1)));
        assert_eq!(second.worked(None), Some(at(10)));
        let now = slot.load_full();
        assert_eq!(
            (now.up, now.failing_since, &now.last_error),
            (Some(true), None, &None)
        );
    }

    #[test]
    fn of_a_connection_that_is_shared_everything_is_told_once() {
        let health = Health::new(Arc::default());
        let one = health.connection();
        let other = one.clone();
        assert_eq!(one.failed("reset", false, at(1)), News::New);
        assert_eq!(other.failed("reset", false, at(1)), News::Known);
        assert!(!other.output_works(), "there is one connection, and it fails");
        assert_eq!(other.worked(None), Some(at(1)));
        assert_eq!(one.worked(None), None);
    }

    #[test]
    fn whose_batches_fail_does_not_work_for_being_reached() {
        let slot: Arc<ArcSwap<OutputStatus>> = Arc::default();
        let connection = Health::new(Arc::clone(&slot)).connection();
        connection.failed("refused", false, at(1));
        assert_eq!(connection.reached(), Some(at(1)));
        assert_eq!(connection.failed("full", true, at(2)), News::New);
        assert_eq!(connection.reached(), None);
        assert_eq!(connection.failed("refused", false, at(3)), News::New);
        assert_eq!(connection.reached(), None, "the batch has still to be accepted");
        let now = slot.load_full();
        assert_eq!((now.up, now.failing_since), (Some(false), Some(at(2))));
        assert_eq!(
            connection.failed("refused", true, at(4)),
            News::Known,
            "told once"
        );
        assert_eq!(connection.worked(Some(at(5))), Some(at(2)));
        assert_eq!(slot.load().up, Some(true));
    }
}
