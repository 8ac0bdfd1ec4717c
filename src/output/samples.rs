//! Events and permits for this folder's tests.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::election::{Permit, solo};
use crate::event::{Event, EventId};
use crate::pipeline::ack::Ack;

/// An event with this document; its id is made of the document.
pub(super) fn event(document: &str) -> Event {
    event_at("2026-03-02T10:41:00Z", document)
}

/// An event of this time.
pub(super) fn event_at(time: &str, document: &str) -> Event {
    Event::new(
        EventId::of([document.as_bytes()]),
        time.parse().unwrap(),
        Arc::from("sample"),
        document.to_owned().into(),
        Ack::none(),
    )
}

/// A permit for this long.
pub(super) fn permit(budget: Duration) -> Permit {
    let tenure = solo("test", tokio_util::sync::CancellationToken::new());
    tenure.permit(budget).now_or_never().unwrap().unwrap()
}
