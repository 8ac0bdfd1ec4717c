//! A batch as one transaction: all of it, or nothing.
//!
//! Owns the calls of a transaction, each in slices, and the sorting of their errors. A transaction is only committed
//! when every message of it has arrived; a producer that another one has shut out is told apart from all other errors.

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use rdkafka::util::Timeout;

use super::client::Client;
use super::time::Time;
use super::verdict;

/// Why a step of a transaction did not succeed.
#[derive(Debug)]
pub(super) enum Hitch {
    /// The time is over; librdkafka still works on it.
    Unanswered,
    /// The transaction has to be aborted; then the next one may be begun.
    Abort(Code, String),
    /// The client is of no use any more.
    Broken(Code, String),
    /// Another producer has begun under the same id.
    TakenOver(String),
}

/// Begins to be the producer of this id: whoever was it before is shut out, and what it left open is aborted.
pub(super) fn init(client: &Client, time: &Time) -> Result<(), Hitch> {
    step(client, time, |slice| client.producer().init_transactions(slice))
}

pub(super) fn begin(client: &Client) -> Result<(), Hitch> {
    client
        .producer()
        .begin_transaction()
        .map_err(|error| sorted(client, &error))
}

/// Everything that was sent counts now. [`Hitch::Unanswered`]: to be asked for again.
pub(super) fn commit(client: &Client, time: &Time) -> Result<(), Hitch> {
    step(client, time, |slice| client.producer().commit_transaction(slice))
}

/// Nothing that was sent counts.
pub(super) fn abort(client: &Client, time: &Time) -> Result<(), Hitch> {
    step(client, time, |slice| client.producer().abort_transaction(slice))
}

/// Repeats a call that goes on where it was, until it is done or time is over.
fn step(client: &Client, time: &Time, call: impl Fn(Timeout) -> KafkaResult<()>) -> Result<(), Hitch> {
    loop {
        if time.is_over() {
            return Err(Hitch::Unanswered);
        }
        let slice = time.slice();
        let Err(error) = call(Timeout::After(slice)) else {
            client.context().calm();
            return Ok(());
        };
        // Reports and errors of connections are only heard when they are asked for.
        client.serve(std::time::Duration::from_millis(1));
        if !goes_on(&error) {
            return Err(sorted(client, &error));
        }
        if client.context().denied().is_some() {
            return Err(Hitch::Unanswered);
        }
    }
}

/// Whether the call is to be repeated.
fn goes_on(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => {
            !error.is_fatal() && !error.txn_requires_abort() && error.is_retriable()
        }
        KafkaError::Flush(code) => *code == Code::OperationTimedOut,
        _ => false,
    }
}

fn sorted(client: &Client, error: &KafkaError) -> Hitch {
    let (code, text) = match client.fatal() {
        Some((code, text)) => (code, text),
        None => match error {
            KafkaError::Transaction(error) => (error.code(), error.string()),
            error => (
                error.rdkafka_error_code().unwrap_or(Code::Fail),
                error.to_string(),
            ),
        },
    };
    if verdict::is_taken_over(code) {
        return Hitch::TakenOver(text);
    }
    match error {
        KafkaError::Transaction(error) if error.txn_requires_abort() => Hitch::Abort(code, text),
        _ => Hitch::Broken(code, text),
    }
}
