//! News of keys: what is told, and that it goes on whatever happens to members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ecsbeat::cluster::{CHECKPOINTS, CONFIG, LEADER, SWITCHOVER, history_key, member_key};
use ecsbeat::dcs::etcd::EtcdStore;
use ecsbeat::dcs::{Dcs as _, Hint, Request, Response};
use ecsbeat::telemetry::metrics::Metrics;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{always, ask, delete, grant, put, store, txn, with_metrics, write};
use crate::support::etcd::{Builder, Etcd, every};
use crate::support::eventually;
use crate::support::process::SOON;

/// A watch that runs.
pub(super) struct Watching {
    hints: mpsc::Receiver<Hint>,
    tasks: JoinSet<()>,
}

impl Watching {
    pub(super) fn start(store: EtcdStore) -> Self {
        Self::of(Arc::new(store))
    }

    /// Of a store that is asked as well.
    pub(super) fn of(store: Arc<EtcdStore>) -> Self {
        let (sender, hints) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { store.watch(sender).await });
        Self { hints, tasks }
    }

    async fn next(&mut self) -> Hint {
        let hint = timeout(SOON, self.hints.recv()).await;
        hint.expect("no hint comes").expect("the watch has ended")
    }

    /// Whether something is told to have changed by now.
    pub(super) fn has_changed(&mut self) -> bool {
        self.hints.try_recv().is_ok_and(|hint| hint == Hint::Changed)
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&mut self) {
        while self.next().await != Hint::Changed {}
    }

    /// Waits until these keys are told to be deleted, together.
    pub(super) async fn deleted(&mut self, keys: &[&str]) {
        loop {
            if let Hint::Deleted(mut found) = self.next().await {
                found.sort();
                assert_eq!(found, keys);
                return;
            }
        }
    }

    /// The watch must end by itself when nobody listens.
    async fn end(mut self) {
        drop(self.hints);
        let ended = timeout(SOON, self.tasks.join_next()).await;
        ended.expect("it goes on").expect("there is one").unwrap();
    }
}

#[tokio::test]
async fn keys_of_one_lease_are_deleted_together() {
    for binary in every() {
        let etcd = Builder::new(1).binary(&binary).start().await;
        let store = store(&etcd.config());
        let mut watching = Watching::start(super::store(&etcd.config()));
        assert_eq!(
            watching.next().await,
            Hint::Changed,
            "there may have been something before"
        );
        let lease = grant(&store, 10).await;
        let both = vec![put("leader", "a", lease), put("members/a", "a", lease)];
        txn(&store, always(both)).await;
        assert_eq!(watching.next().await, Hint::Changed);
        assert_eq!(ask(&store, Request::Revoke(lease)).await, Ok(Response::Revoked));
        watching.deleted(&["leader", "members/a"]).await;
        watching.end().await;
    }
}

#[tokio::test]
async fn every_key_but_checkpoints_is_watched() {
    let etcd = Etcd::start(1).await;
    let store = store(&etcd.config());
    let checkpoint = format!("{CHECKPOINTS}zulu");
    let (history, member) = (history_key(u64::MAX), member_key("zulu"));
    let watched = [CONFIG, &history, LEADER, &member, SWITCHOVER];
    for key in watched {
        write(&store, key, "x").await;
    }
    let mut watching = Watching::start(super::store(&etcd.config()));
    assert_eq!(watching.next().await, Hint::Changed);
    for key in watched {
        write(&store, &checkpoint, "x").await;
        txn(&store, always(vec![delete(&checkpoint)])).await;
        txn(&store, always(vec![delete(key)])).await;
        assert_eq!(watching.next().await, Hint::Deleted(vec![key.to_owned()]));
    }
    watching.end().await;
}

/// Deletes something now and then until it is told: the watch may be on its way to another member.
async fn sees_a_deletion(watching: &mut Watching, store: &EtcdStore) {
    watching.changed().await;
    write(store, "leader", "a").await;
    txn(store, always(vec![delete("leader")])).await;
    watching.deleted(&["leader"]).await;
}

#[tokio::test]
async fn it_goes_on_at_another_member_when_its_own_dies_or_freezes() {
    for freeze in [false, true] {
        let mut etcd = Etcd::start(3).await;
        let mut watching = Watching::start(store(&etcd.config_for(&[0, 1, 2])));
        assert_eq!(watching.next().await, Hint::Changed);
        if freeze {
            etcd.freeze(0);
        } else {
            etcd.kill(0);
        }
        let begin = Instant::now();
        let store = store(&etcd.config_for(&[1, 2]));
        sees_a_deletion(&mut watching, &store).await;
        // HTTP/2 by itself would need thirteen seconds to find out.
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        watching.end().await;
    }
}

/// Such a member answers questions, but hears of nothing.
#[tokio::test]
async fn a_member_without_the_others_is_left() {
    let mut etcd = Etcd::start(3).await;
    let metrics = Metrics::new();
    let mut watching = Watching::start(with_metrics(&etcd.config_for(&[0]), metrics.clone()));
    assert_eq!(watching.next().await, Hint::Changed);
    etcd.kill(1);
    etcd.kill(2);
    eventually("the watch is opened in vain", || {
        let text = metrics.prometheus().unwrap();
        text.contains("ecsbeat_dcs_requests_total{op=\"watch\",result=\"error\"")
    })
    .await;
    etcd.restart(1).await;
    sees_a_deletion(&mut watching, &store(&etcd.config_for(&[0, 1]))).await;
    watching.end().await;
}

#[tokio::test]
async fn it_goes_on_when_the_cluster_comes_back() {
    let mut etcd = Etcd::start(1).await;
    let mut watching = Watching::start(store(&etcd.config()));
    assert_eq!(watching.next().await, Hint::Changed);
    etcd.restart(0).await;
    sees_a_deletion(&mut watching, &store(&etcd.config())).await;
    etcd.freeze(0);
    // Longer than it takes to find out.
    let quiet = timeout(Duration::from_secs(4), watching.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    etcd.thaw(0);
    sees_a_deletion(&mut watching, &store(&etcd.config())).await;
    watching.end().await;
}

#[tokio::test]
async fn it_ends_when_nobody_listens_also_where_nobody_answers() {
    let mut etcd = Etcd::start(1).await;
    etcd.kill(0);
    Watching::start(store(&etcd.config())).end().await;
}

/// What is not taken for a while is not lost, and the watch is not taken for dead meanwhile.
#[tokio::test]
async fn a_slow_listener_gets_everything() {
    let etcd = Etcd::start(1).await;
    let store = store(&etcd.config());
    let mut watching = Watching::start(super::store(&etcd.config()));
    assert_eq!(watching.next().await, Hint::Changed);
    let keys: Vec<String> = (0..30).map(|number| format!("members/{number:02}")).collect();
    for key in &keys {
        write(&store, key, "x").await;
        txn(&store, always(vec![delete(key)])).await;
    }
    for key in &keys {
        watching.deleted(&[key]).await;
    }
    watching.end().await;
}
