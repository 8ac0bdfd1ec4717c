//! What the publishers of one connection share.
//!
//! Owns the connection, which is made, replaced and written to by one at a time, and which host it goes to. Windows are
//! acknowledged in the order in which they were written; up to as many are outstanding as there are publishers. Never
//! sends a window twice.

use std::sync::{Arc, Mutex as Plain, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::link::Link;
use super::servers::Dial;
use super::slow_start::WindowSize;
use super::turn::Unacknowledged;
use crate::election::{NoTenure, Permit};
use crate::output::SinkError;
use crate::output::hosts::{Chosen, look_until};

/// How connections are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Longest wait for a connection, for room to write, and for each answer.
    pub(super) timeout: Duration,
    /// Age at which a connection is replaced.
    pub(super) ttl: Option<Duration>,
}

/// One connection, and those that replace it.
pub(super) struct Connection<D: Dial> {
    servers: Arc<D>,
    limits: Limits,
    window: Plain<WindowSize>,
    written: Counter,
    read: Counter,
    slot: Mutex<Slot<D::Stream>>,
}

struct Slot<S> {
    host: Chosen,
    link: Option<Link<S>>,
}

impl<D: Dial> Connection<D> {
    /// Nothing is reached yet; `written` and `read` count bytes.
    pub(super) fn new(
        servers: Arc<D>,
        host: Chosen,
        limits: Limits,
        window: WindowSize,
        (written, read): (&Counter, &Counter),
    ) -> Self {
        Self {
            servers,
            window: Plain::new(window),
            limits,
            written: written.clone(),
            read: read.clone(),
            slot: Mutex::new(Slot { host, link: None }),
        }
    }

    /// Most events of the next window.
    pub(super) fn window_size(&self) -> usize {
        self.with_window(|window| window.now())
    }

    fn with_window<T>(&self, change: impl FnOnce(&mut WindowSize) -> T) -> T {
        change(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects, unless there is a connection that can be used.
    pub(super) async fn connect(&self, permit: &Permit) -> Result<(), SinkError> {
        let mut slot = self.slot.lock().await;
        let link = self.link(&mut slot, permit).await?;
        slot.link = Some(link);
        Ok(())
    }

    /// Sends a window of `count` events once, over a new connection where the old one cannot be used, and waits until
    /// it is acknowledged. Dropped midway it ends the connection, for all who use it.
    pub(super) async fn send(
        &self,
        permit: &Permit,
        window: Vec<u8>,
        count: u32,
    ) -> Result<(), Unacknowledged> {
        let written = async {
            let mut slot = self.slot.lock().await;
            let mut link = self.link(&mut slot, permit).await?;
            match link
                .write(&window, permit, self.limits.timeout, &self.written)
                .await
            {
                Ok(()) => {
                    let turn = link.turn(count);
                    slot.link = Some(link);
                    Ok(turn)
                }
                Err(error) => {
                    self.bury(&mut slot, &link);
                    Err(error)
                }
            }
        };
        let turn = written
            .await
            .map_err(|error| Unacknowledged { accepted: 0, error })?;
        // It is not needed while the answer is waited for.
        drop(window);
        let acknowledged = turn.acknowledged(self.limits.timeout).await;
        if acknowledged.is_ok() {
            self.with_window(|window| window.acknowledged(count as usize));
        } else {
            self.sweep().await;
        }
        acknowledged
    }

    /// A connection that can be used. It is taken out of its slot: whoever is dropped midway ends it.
    async fn link(&self, slot: &mut Slot<D::Stream>, permit: &Permit) -> Result<Link<D::Stream>, SinkError> {
        let home = self.home(slot, permit).await;
        if let Some(mut link) = slot.link.take() {
            if link.is_usable(self.limits.ttl, home.is_none()).await {
                return Ok(link);
            }
            self.bury(slot, &link);
        }
        if let Some(link) = home {
            return Ok(link);
        }
        let host = slot.host.now();
        let server = self.servers.name(host);
        if permit.check().is_err() {
            return Err(SinkError::Transport(format!(
                "{server}: not connected: {NoTenure}"
            )));
        }
        let deadline = Instant::now() + self.limits.timeout.min(permit.budget());
        match self.servers.dial(host, deadline).await {
            Ok(stream) => Ok(Link::new(stream, host, &server, self.read.clone())),
            Err(error) => {
                slot.host.leave(host);
                Err(error)
            }
        }
    }

    /// A new connection to the own host, once that can be reached again.
    async fn home(&self, slot: &mut Slot<D::Stream>, permit: &Permit) -> Option<Link<D::Stream>> {
        permit.check().ok()?;
        let home = slot.host.look_home()?;
        let deadline = Instant::now() + self.limits.timeout.min(permit.budget());
        match self.servers.dial(home, look_until(deadline)).await {
            Ok(stream) => {
                slot.host.come_home();
                let server = self.servers.name(home);
                Some(Link::new(stream, home, &server, self.read.clone()))
            }
            Err(error) => {
                tracing::debug!(output = "logstash", %error, "not back yet");
                None
            }
        }
    }

    /// Closes a connection that is of no use any more, so that the server need not wait for more of it.
    async fn sweep(&self) {
        let mut slot = self.slot.lock().await;
        if let Some(link) = slot.link.take_if(|link| link.life().is_over()) {
            self.bury(&mut slot, &link);
        }
    }

    /// What follows from the end of a connection, once for each.
    fn bury(&self, slot: &mut Slot<D::Stream>, link: &Link<D::Stream>) {
        if link.life().was_ended_by_server() {
            slot.host.leave(link.host());
            self.with_window(WindowSize::failed);
        }
    }

    /// Ends the connection in order.
    pub(super) async fn close(&self) {
        let link = self.slot.lock().await.link.take();
        if let Some(mut link) = link {
            link.close().await;
        }
    }
}
