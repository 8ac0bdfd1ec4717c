//! The store over real etcd clusters.
//!
//! Owns what these tests share: a store, the usual requests, and what came of them.

/// Users, passwords, tokens.
pub(crate) mod auth;
/// Members that die or hang.
mod faults;
/// Leases.
mod leases;
/// What members say of themselves.
mod survey;
/// TLS, and certificates of clients.
pub(crate) mod tls;
/// Reads and writes under conditions.
mod txn;
/// News of keys.
mod watch;

use std::time::Duration;

use ecsbeat::clock::Clock;
use ecsbeat::config;
use ecsbeat::dcs::etcd::EtcdStore;
use ecsbeat::dcs::{Compare, Dcs as _, DcsError, KeyValue, LeaseId, Operation, Request, Response, Txn};
use ecsbeat::telemetry::metrics::Metrics;

/// As in the default settings.
const BUDGET: Duration = Duration::from_secs(3);
/// How often a quiet watch is asked whether it is alive.
const PROBE: Duration = Duration::from_millis(500);

fn store(etcd: &config::Etcd) -> EtcdStore {
    with_metrics(etcd, Metrics::new())
}

fn with_metrics(etcd: &config::Etcd, metrics: Metrics) -> EtcdStore {
    EtcdStore::new(etcd, "prod", PROBE, Clock::system(), metrics).unwrap()
}

async fn ask(store: &EtcdStore, request: Request) -> Result<Response, DcsError> {
    store.ask(request, BUDGET).await.result
}

async fn grant(store: &EtcdStore, seconds: u64) -> LeaseId {
    let ttl = Duration::from_secs(seconds);
    match ask(store, Request::Grant { ttl }).await {
        Ok(Response::Granted { lease, .. }) => lease,
        other => panic!("{other:?}"),
    }
}

fn put(key: &str, value: &str, lease: LeaseId) -> Operation {
    Operation::Put {
        key: key.to_owned(),
        value: value.as_bytes().to_vec(),
        lease,
    }
}

fn delete(key: &str) -> Operation {
    Operation::Delete(key.to_owned())
}

fn get(key: &str) -> Operation {
    Operation::Get(key.to_owned())
}

fn absent(key: &str) -> Compare {
    Compare::CreateRevision(key.to_owned(), 0)
}

/// What is done whatever holds.
fn always(then: Vec<Operation>) -> Request {
    Request::Txn(Txn {
        then,
        ..Txn::default()
    })
}

/// Success, revision, and what was read.
async fn txn(store: &EtcdStore, request: Request) -> (bool, i64, Vec<Vec<KeyValue>>) {
    match ask(store, request).await {
        Ok(Response::Txn {
            succeeded,
            revision,
            results,
        }) => (succeeded, revision, results),
        other => panic!("{other:?}"),
    }
}

async fn write(store: &EtcdStore, key: &str, value: &str) -> i64 {
    txn(store, always(vec![put(key, value, 0)])).await.1
}

/// The values of a key: none or one.
async fn read(store: &EtcdStore, key: &str) -> Vec<String> {
    let (_, _, results) = txn(store, always(vec![get(key)])).await;
    let [found] = &results[..] else {
        panic!("{results:?}")
    };
    found
        .iter()
        .map(|kv| String::from_utf8(kv.value.clone()).unwrap())
        .collect()
}
