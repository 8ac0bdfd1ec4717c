//! The model as a [`Dcs`], for tests of what speaks to one.
//!
//! Owns the way to it under Tokio's paused clock: how long a request takes, whether it arrives, whether its answer
//! does, and the news of keys. Every store of one model shares its state, and has a network of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::{Happened, Model};
use crate::clock::Clock;
use crate::dcs::{Answer, Dcs, DcsError, Hint, Request};

/// How the network of one store fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Network {
    /// Everything arrives.
    #[default]
    Up,
    /// What is asked is done, its answer is lost.
    AnswersLost,
    /// Nothing arrives.
    Down,
}

#[derive(Debug)]
struct Shared {
    model: Mutex<Model>,
    start: Instant,
    changed: Notify,
}

/// The model, seen by one replica.
#[derive(Debug, Clone)]
pub(crate) struct ModelStore {
    shared: Arc<Shared>,
    network: Arc<Mutex<Network>>,
    clock: Clock,
    latency: Duration,
}

impl ModelStore {
    /// A store with a model of its own. Answers take twice `latency`. Must be called within a runtime.
    pub(crate) fn new(clock: Clock, latency: Duration) -> Self {
        let shared = Shared {
            model: Mutex::new(Model::new(0)),
            start: Instant::now(),
            changed: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
            network: Arc::default(),
            clock,
            latency,
        }
    }

    /// Another replica's store of the same model.
    pub(crate) fn another(&self, clock: Clock) -> Self {
        Self {
            network: Arc::default(),
            clock,
            ..self.clone()
        }
    }

    /// Changes what arrives.
    pub(crate) fn set_network(&self, network: Network) {
        *lock(&self.network) = network;
        self.shared.changed.notify_waiters();
    }

    /// Does something to the model, past the network, as an administrator would.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Model, Duration) -> T) -> T {
        let now = self.shared.start.elapsed();
        let result = {
            let mut model = lock(&self.shared.model);
            model.tick(now);
            act(&mut model, now)
        };
        self.shared.changed.notify_waiters();
        result
    }

    fn network(&self) -> Network {
        *lock(&self.network)
    }

    async fn answer(&self, request: &Request) -> Result<crate::dcs::Response, DcsError> {
        tokio::time::sleep(self.latency).await;
        if self.network() == Network::Down {
            std::future::pending::<()>().await;
        }
        let result = self.with(|model, now| model.apply(now, request));
        tokio::time::sleep(self.latency).await;
        if self.network() != Network::Up {
            std::future::pending::<()>().await;
        }
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a watch tells of a revision; nothing of checkpoints.
fn hint(happened: &Happened) -> Option<Hint> {
    let watched = |key: &&String| !key.starts_with("checkpoint/");
    let deleted: Vec<String> = happened.deleted.iter().filter(watched).cloned().collect();
    if !deleted.is_empty() {
        return Some(Hint::Deleted(deleted));
    }
    happened
        .put
        .iter()
        .any(|key| watched(&key))
        .then_some(Hint::Changed)
}

impl Dcs for ModelStore {
    async fn ask(&self, request: Request, budget: Duration) -> Answer {
        let sent = self.clock.since_boot();
        let result = match tokio::time::timeout(budget, self.answer(&request)).await {
            Ok(result) => result,
            Err(_) => Err(DcsError::Unanswered(format!("no answer within {budget:?}"))),
        };
        Answer {
            sent,
            endpoint: "http://model:2379".into(),
            result,
        }
    }

    async fn watch(&self, hints: mpsc::Sender<Hint>) {
        let mut told = self.with(|model, _| model.happened().len());
        let mut connected = true;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let up = self.network() == Network::Up;
            let (news, count, next) = {
                let now = self.shared.start.elapsed();
                let mut model = lock(&self.shared.model);
                model.tick(now);
                let happened = model.happened();
                let news: Vec<Hint> = happened[told..].iter().filter_map(hint).collect();
                (news, happened.len(), model.next_tick())
            };
            if up {
                told = count;
                let missed = (!connected).then_some(Hint::Changed);
                for hint in missed.into_iter().chain(news) {
                    if hints.send(hint).await.is_err() {
                        return;
                    }
                }
            }
            connected = up;
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(self.shared.start + next) => {}
                () = hints.closed() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::dcs::{Operation, Response, Txn};

    const SECOND: Duration = Duration::from_secs(1);

    fn put(key: &str, lease: i64) -> Request {
        let put = Operation::Put {
            key: key.to_owned(),
            value: Vec::new(),
            lease,
        };
        Request::Txn(Txn {
            then: vec![put],
            ..Txn::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn requests_take_their_time_and_are_lost_with_the_network() {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let store = ModelStore::new(clock.clone(), Duration::from_millis(5));
        let sent = clock.since_boot();
        let answer = store.ask(put("a", 0), SECOND).await;
        assert!(answer.result.is_ok());
        assert_eq!(answer.sent, sent);
        assert_eq!(clock.since_boot(), sent + Duration::from_millis(10));
        for (network, revision) in [(Network::AnswersLost, 3), (Network::Down, 3)] {
            store.set_network(network);
            let answer = store.ask(put("a", 0), SECOND).await;
            assert!(matches!(answer.result, Err(DcsError::Unanswered(_))));
            assert_eq!(store.with(|model, _| model.revision()), revision);
        }
        let other = store.another(clock);
        assert!(other.ask(put("b", 0), SECOND).await.result.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_tells_of_puts_and_of_leases_that_run_out() {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let store = ModelStore::new(clock.clone(), Duration::ZERO);
        let (sender, mut hints) = mpsc::channel(16);
        let granted = store.ask(Request::Grant { ttl: 5 * SECOND }, SECOND).await.result;
        let Ok(Response::Granted { lease, .. }) = granted else {
            panic!("{granted:?}")
        };
        let test = async {
            // The watch has begun once it has told something.
            loop {
                store
                    .with(|model, now| model.apply(now, &put("leader", lease)))
                    .unwrap();
                tokio::task::yield_now().await;
                if hints.try_recv().is_ok() {
                    break;
                }
            }
            store
                .with(|model, now| model.apply(now, &put("checkpoint/x", 0)))
                .unwrap();
            let since = clock.since_boot();
            loop {
                match hints.recv().await {
                    Some(Hint::Deleted(keys)) => break assert_eq!(keys, ["leader"]),
                    Some(Hint::Changed) => {}
                    None => panic!("the watch has ended"),
                }
            }
            let took = clock.since_boot().saturating_sub(since);
            assert!(
                took >= 5 * SECOND && took <= Duration::from_millis(5500),
                "{took:?}"
            );
            store.set_network(Network::Down);
            store
                .with(|model, now| model.apply(now, &put("leader", 0)))
                .unwrap();
            tokio::time::sleep(SECOND).await;
            assert!(hints.try_recv().is_err());
            store.set_network(Network::Up);
            assert_eq!(hints.recv().await, Some(Hint::Changed));
        };
        tokio::select! {
            () = store.watch(sender) => panic!("the watch has ended"),
            () = test => {}
        }
    }
}
