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
    /// Error and since when, by the connection's number.
    failing: BTreeMap<usize, (String, Timestamp)>,
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
        let first = connections.failing.values().min_by_key(|(_, since)| *since);
        self.slot.store(Arc::new(OutputStatus {
            up: connections
                .tried
                .then_some(connections.failing.len() < connections.count),
            last_ack: acked.or(self.slot.load().last_ack),
            last_error: first.map(|(text, _)| text.clone()),
            failing_since: first.map(|(_, since)| *since),
        }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// It worked; `acked` is when it acknowledged something. Gives since when it had been failing, if it had.
    pub fn worked(&self, acked: Option<Timestamp>) -> Option<Timestamp> {
        let mut connections = self.health.lock();
        connections.tried = true;
        let failed = connections.failing.remove(&self.number);
        self.health.show(&connections, acked);
        failed.map(|(_, since)| since)
    }

    /// It failed at `now`.
    pub fn failed(&self, text: &str, now: Timestamp) -> News {
        let mut connections = self.health.lock();
        connections.tried = true;
        let before = connections.failing.get(&self.number);
        let news = match before {
            Some((known, _)) if known == text => News::Known,
            _ => News::New,
        };
        let since = before.map_or(now, |(_, since)| *since);
        connections.failing.insert(self.number, (text.to_owned(), since));
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
        assert_eq!(first.failed("refused", at(1)), News::New);
        assert_eq!(second.worked(Some(at(2))), None);
        for second_try in 3..9 {
            assert_eq!(first.failed("refused", at(second_try)), News::Known, "told once");
            assert_eq!(second.worked(Some(at(second_try))), None, "never failed");
        }
        let now = slot.load_full();
        assert_eq!(
            (now.up, now.failing_since, now.last_ack),
            (Some(true), Some(at(1)), Some(at(8)))
        );
        assert_eq!(now.last_error.as_deref(), Some("refused"));
        assert_eq!(second.failed("reset", at(10)), News::New);
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
        assert_eq!(one.failed("reset", at(1)), News::New);
        assert_eq!(other.failed("reset", at(1)), News::Known);
        assert!(!other.output_works(), "there is one connection, and it fails");
        assert_eq!(other.worked(None), Some(at(1)));
        assert_eq!(one.worked(None), None);
    }
}
