//! A small HTTP/1.1 server of its own: faults need a hand on every byte and on the socket, which frameworks
//! rightly keep to themselves. It must never know what is served.

mod connection;
mod reply;
mod request;

use std::future::Future;

pub(crate) use connection::{Limits, Wire, accept_all, serve};
pub(crate) use reply::{Body, BreakOff, Dribble, Framing, HeaderCase, Manner, Reply, Silence};
pub(crate) use request::Request;

/// What answers the requests of a connection.
pub(crate) trait Service: Send + Sync {
    /// Answers one request. Dropped midway when the connection is cut from the simulator's side.
    fn call(&self, request: Request) -> impl Future<Output = Reply> + Send;
}
