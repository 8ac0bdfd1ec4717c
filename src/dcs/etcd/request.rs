//! One request to one member.
//!
//! Owns the translation of [`Request`] and [`Response`] to etcd's calls and back. One try, no time limit, no judgement
//! of errors. Reads are linearizable, which is etcd's default: never ask for a serializable one here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{
    Client, Compare as EtcdCompare, CompareOp, Error, GetOptions, PutOptions, SortOrder, SortTarget,
    Txn as EtcdTxn, TxnOp, TxnOpResponse,
};

use super::failure::Failure;
use super::keys::Base;
use crate::dcs::{Compare, KeyValue, LeaseId, Operation, Request, Response, TimeLeft, Txn};

/// The longest answer that is read: far above what a cluster keeps, and above gRPC's own 4 MiB.
pub(super) const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The times that leases were granted for. They never change, and the crate does not show the one in the answer to a
/// renewal.
#[derive(Debug, Default)]
pub(super) struct Granted(Mutex<HashMap<LeaseId, Duration>>);

impl Granted {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<LeaseId, Duration>) -> T) -> T {
        // Nothing can panic under this lock.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The word for a request in metrics.
pub(super) fn word(request: &Request) -> &'static str {
    match request {
        Request::Grant { .. } => "grant",
        Request::Renew(_) => "renew",
        Request::Revoke(_) => "revoke",
        Request::TimeLeft(_) => "time_left",
        Request::Txn(_) => "txn",
    }
}

/// Whether somebody can tell that the request was done. A lease that nobody knows of ends by itself.
pub(super) fn leaves_traces(request: &Request) -> bool {
    let writes = |steps: &[Operation]| {
        steps
            .iter()
            .any(|step| matches!(step, Operation::Put { .. } | Operation::Delete(_)))
    };
    match request {
        Request::Grant { .. } | Request::Renew(_) | Request::TimeLeft(_) => false,
        Request::Revoke(_) => true,
        Request::Txn(txn) => writes(&txn.then) || writes(&txn.or_else),
    }
}

/// Does it.
pub(super) async fn perform(
    client: &Client,
    base: &Base,
    granted: &Granted,
    request: &Request,
) -> Result<Response, Failure> {
    let done = match request {
        Request::Grant { ttl } => grant(client, granted, *ttl).await,
        Request::Renew(lease) => renew(client, granted, *lease).await,
        Request::Revoke(lease) => revoke(client, granted, *lease).await,
        Request::TimeLeft(lease) => time_left(client, *lease).await,
        Request::Txn(txn) => transact(client, base, txn).await,
    };
    done.map_err(|error| Failure::of(&error))
}

async fn grant(client: &Client, granted: &Granted, ttl: Duration) -> Result<Response, Error> {
    let whole = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    let seconds = i64::try_from(whole).unwrap_or(i64::MAX);
    let answer = client.lease_client().grant(seconds, None).await?;
    let (lease, ttl) = (answer.id(), seconds_of(answer.ttl()));
    granted.with(|leases| leases.insert(lease, ttl));
    Ok(Response::Granted { lease, ttl })
}

/// A stream of its own each time: one round trip that answers or fails, with nothing left behind that could hang.
async fn renew(client: &Client, granted: &Granted, lease: LeaseId) -> Result<Response, Error> {
    let gone = || {
        granted.with(|leases| leases.remove(&lease));
        Ok(Response::Renewed(None))
    };
    let (mut keeper, mut stream) = match client.lease_client().keep_alive(lease).await {
        Ok(opened) => opened,
        // The crate's words for an answer with no time left. Its other errors of this kind are of the connection.
        Err(Error::LeaseKeepAliveError(text)) if text == "lease not found" => return gone(),
        Err(error) if Failure::of(&error) == Failure::LeaseGone => return gone(),
        Err(error) => return Err(error),
    };
    if let Some(ttl) = granted.with(|leases| leases.get(&lease).copied()) {
        return Ok(Response::Renewed(Some(ttl)));
    }
    // A lease of an earlier process: only a second answer shows its time.
    keeper.keep_alive().await?;
    match stream.message().await? {
        Some(answer) if answer.ttl() > 0 => {
            let ttl = seconds_of(answer.ttl());
            granted.with(|leases| leases.insert(lease, ttl));
            Ok(Response::Renewed(Some(ttl)))
        }
        Some(_) => gone(),
        None => Err(Error::LeaseKeepAliveError(
            "the stream ended before the answer".to_owned(),
        )),
    }
}

async fn revoke(client: &Client, granted: &Granted, lease: LeaseId) -> Result<Response, Error> {
    match client.lease_client().revoke(lease).await {
        Ok(_) => {}
        Err(error) if Failure::of(&error) == Failure::LeaseGone => {}
        Err(error) => return Err(error),
    }
    granted.with(|leases| leases.remove(&lease));
    Ok(Response::Revoked)
}

async fn time_left(client: &Client, lease: LeaseId) -> Result<Response, Error> {
    let answer = match client.lease_client().time_to_live(lease, None).await {
        Ok(answer) => answer,
        Err(error) if Failure::of(&error) == Failure::LeaseGone => return Ok(Response::TimeLeft(None)),
        Err(error) => return Err(error),
    };
    // -1 = there is no such lease; also what a lease has left that is over and not yet revoked.
    let left = (answer.ttl() >= 0).then(|| TimeLeft {
        left: seconds_of(answer.ttl()),
        granted: seconds_of(answer.granted_ttl()),
    });
    Ok(Response::TimeLeft(left))
}

async fn transact(client: &Client, base: &Base, txn: &Txn) -> Result<Response, Error> {
    let conditions: Vec<EtcdCompare> = txn.when.iter().map(|one| condition(base, one)).collect();
    let steps = |steps: &[Operation]| -> Vec<TxnOp> { steps.iter().map(|one| step(base, one)).collect() };
    let asked = EtcdTxn::new()
        .when(conditions)
        .and_then(steps(&txn.then))
        .or_else(steps(&txn.or_else));
    let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
    let answer = kv.txn(asked).await?;
    let Some(header) = answer.header() else {
        return Err(Error::Internal("an answer without a revision".to_owned()));
    };
    Ok(Response::Txn {
        succeeded: answer.succeeded(),
        revision: header.revision(),
        results: answer
            .op_responses()
            .into_iter()
            .map(|result| found(base, result))
            .collect(),
    })
}

fn condition(base: &Base, compare: &Compare) -> EtcdCompare {
    match compare {
        Compare::CreateRevision(key, revision) => {
            EtcdCompare::create_revision(base.whole(key), CompareOp::Equal, *revision)
        }
        Compare::ModRevision(key, revision) => {
            EtcdCompare::mod_revision(base.whole(key), CompareOp::Equal, *revision)
        }
        Compare::Lease(key, lease) => EtcdCompare::lease(base.whole(key), CompareOp::Equal, *lease),
    }
}

fn step(base: &Base, operation: &Operation) -> TxnOp {
    let below = || GetOptions::new().with_prefix();
    match operation {
        Operation::Put { key, value, lease } => TxnOp::put(
            base.whole(key),
            value.clone(),
            Some(PutOptions::new().with_lease(*lease)),
        ),
        Operation::Delete(key) => TxnOp::delete(base.whole(key), None),
        Operation::Get(key) => TxnOp::get(base.whole(key), None),
        Operation::List(prefix) => TxnOp::get(
            base.whole(prefix),
            Some(below().with_sort(SortTarget::Key, SortOrder::Ascend)),
        ),
        Operation::Last(prefix) => TxnOp::get(
            base.whole(prefix),
            Some(
                below()
                    .with_sort(SortTarget::Key, SortOrder::Descend)
                    .with_limit(1),
            ),
        ),
    }
}

fn found(base: &Base, result: TxnOpResponse) -> Vec<KeyValue> {
    let TxnOpResponse::Get(mut answer) = result else {
        return Vec::new();
    };
    let found = answer.take_kvs().into_iter().map(|kv| {
        let (create_revision, mod_revision, lease) = (kv.create_revision(), kv.mod_revision(), kv.lease());
        let (key, value) = kv.into_key_value();
        KeyValue {
            key: base.relative(&key),
            value,
            create_revision,
            mod_revision,
            lease,
        }
    });
    found.collect()
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
