//! The listener and its thread.
//!
//! Owns [`bind`], [`Bound`] and [`ServerHandle`]: the address is taken early, so that a taken port is told before
//! anything else starts; answering happens on a thread with a runtime of its own, so that a pipeline that is busy
//! or stuck starves nobody who asks. Everything a client can make us hold is bounded: connections, headers, body,
//! and the time for each of them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::body::Reply;
use super::stream::{Deadline, Guarded};
use super::throughput::{self, Throughput};
use super::{Endpoints, router, security};
use crate::config;
use crate::telemetry::repeat::OncePer;

/// Connections at one time; more are closed as they come.
const MAX_CONNECTIONS: usize = 256;
/// Headers of one request.
const MAX_HEADERS: usize = 64;
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// From the end of a request's head to the last byte of its answer; an order's answer gets what it may take on top.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long connections may go on after the stop.
const GRACE: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, as when there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// `http.host` is something else than a name or an address.
    #[error("http.host: '{0}' is not supported; give a host name or an address, and the port in http.port")]
    Host(String),
    /// Another process has it.
    #[error(
        "http: {address} is in use by another process; stop that one or choose another http.port (0 = any free one)"
    )]
    InUse {
        /// Host and port.
        address: String,
    },
    /// Not allowed to have it.
    #[error(
        "http: not allowed to listen on {address}; ports below 1024 need a privilege, choose another http.port"
    )]
    Denied {
        /// Host and port.
        address: String,
    },
    /// Not an address of this machine, or none at all.
    #[error(
        "http: cannot listen on {address}: {source}; check that http.host is a name or address of this machine"
    )]
    Other {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The server could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `http.ssl` is set, but the listener was given no certificate: better no answer than one in plain text.
    #[error("http.ssl is set, but the server has no TLS set-up")]
    NoTls,
    /// The thread or its runtime could not be made.
    #[error("cannot start the thread of the HTTP server: {0}")]
    Start(io::Error),
    /// The thread ended without being asked to.
    #[error("the HTTP server ended unexpectedly")]
    Ended,
}

/// A listener that does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    wants_tls: bool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    head_time: Duration,
    request_time: Duration,
}

/// Takes the address. Only where `http.enabled` is set.
pub fn bind(config: &config::Http) -> Result<Bound, BindError> {
    let host = config.host.trim_matches(['[', ']']);
    if host.contains('/') {
        return Err(BindError::Host(config.host.clone()));
    }
    let listener = TcpListener::bind((host, config.port)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    let (listener, address) = listener.map_err(|source| {
        let address = if host.contains(':') {
            format!("[{host}]:{}", config.port)
        } else {
            format!("{host}:{}", config.port)
        };
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::PermissionDenied => BindError::Denied { address },
            _ => BindError::Other { address, source },
        }
    })?;
    Ok(Bound {
        listener,
        address,
        limits: Limits {
            connections: MAX_CONNECTIONS,
            head_time: config.timeout,
            request_time: REQUEST_TIME,
        },
        wants_tls: config.ssl.as_ref().is_some_and(|ssl| ssl.enabled != Some(false)),
        tls: None,
    })
}

impl Bound {
    /// Where it listens: the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves HTTPS with this set-up.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        self.tls = tls;
        self
    }

    /// Answers until `cancel`, on a thread of its own.
    pub fn serve(
        self,
        endpoints: Arc<Endpoints>,
        cancel: CancellationToken,
    ) -> Result<ServerHandle, ServeError> {
        if self.wants_tls && self.tls.is_none() {
            return Err(ServeError::NoTls);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServeError::Start)?;
        let throughput = Arc::new(Throughput::default());
        let server = Server {
            router: router(Arc::clone(&endpoints), Arc::clone(&throughput)),
            endpoints,
            throughput,
            limits: self.limits,
            tls: self.tls.map(TlsAcceptor::from),
            cancel: cancel.clone(),
        };
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                // A panic lets go of the sender, which tells the same as an error.
                let result = runtime.block_on(server.run(self.listener));
                let _ignored_without_listener = ended.send(result);
            })
            .map_err(ServeError::Start)?;
        Ok(ServerHandle {
            cancel,
            end,
            thread: Some(thread),
        })
    }
}

/// The running server.
#[derive(Debug)]
pub struct ServerHandle {
    cancel: CancellationToken,
    end: oneshot::Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// Waits for its end: an error unless it was cancelled. Cancel-safe.
    pub async fn ended(&mut self) -> Result<(), ServeError> {
        let Some(thread) = self.thread.as_ref() else {
            return Ok(());
        };
        let end = match (&mut self.end).await {
            Ok(Ok(())) if self.cancel.is_cancelled() => Ok(()),
            Ok(Ok(())) | Err(_) => Err(ServeError::Ended),
            Ok(Err(error)) => Err(ServeError::Start(error)),
        };
        // It sent its last word: what is left of the thread takes no time.
        while !thread.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        self.thread = None;
        end
    }

    /// Stops it and waits until its thread is gone.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        self.cancel.cancel();
        self.ended().await
    }
}

struct Server {
    router: Router,
    endpoints: Arc<Endpoints>,
    throughput: Arc<Throughput>,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    cancel: CancellationToken,
}

impl Server {
    async fn run(self, listener: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let gate = OncePer::new(Duration::from_secs(60));
        let mut connections = JoinSet::new();
        let mut sampling = interval(throughput::EVERY);
        sampling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                // Ended connections make room before new ones are looked at.
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(error.message = %error, "a connection of the HTTP server ended abnormally");
                    }
                }
                _ = sampling.tick() => {
                    self.throughput.sample(&self.endpoints.source, self.endpoints.clock.since_boot());
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < self.limits.connections => {
                        connections.spawn(self.connection(stream));
                    }
                    Ok((stream, peer)) => {
                        drop(stream);
                        if let Some(more) = gate.pass(&"connections") {
                            warn!(
                                client.address = %peer, http.connections = self.limits.connections, suppressed = more,
                                "too many HTTP connections, closing new ones"
                            );
                        }
                    }
                    Err(error) => {
                        if let Some(more) = gate.pass(&"accept") {
                            warn!(error.message = %error, suppressed = more, "cannot accept an HTTP connection");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, drained).await.is_err() {
            connections.shutdown().await;
        }
        Ok(())
    }

    /// One connection, from its first byte to its last.
    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + use<> {
        let router = self.router.clone();
        let limits = self.limits;
        let tls = self.tls.clone();
        let cancel = self.cancel.clone();
        async move {
            // Answers are one small packet; waiting for more of them helps nobody.
            let _slower_without = stream.set_nodelay(true);
            match tls {
                None => converse(stream, router, limits, cancel).await,
                Some(tls) => match timeout(limits.head_time, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, router, limits, cancel).await,
                    Ok(Err(error)) => debug!(error.message = %error, "TLS handshake of a client failed"),
                    Err(_) => debug!("TLS handshake of a client took too long"),
                },
            }
        }
    }
}

/// Requests and answers until the client leaves, is too slow, or the server stops.
async fn converse<S>(stream: S, router: Router, limits: Limits, cancel: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Deadline::after(limits.head_time + limits.request_time);
    let stream = TokioIo::new(Guarded::new(stream, deadline.clone()));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        deadline.renew(limits.request_time);
        // A handler that waits for others asks for more time here.
        request.extensions_mut().insert(deadline.clone());
        let answer = router.call(request);
        let deadline = deadline.clone();
        async move {
            let answer: Response = if let Some(answer) = deadline.bound(answer).await {
                answer?
            } else {
                let message = "the request took too long to arrive";
                let mut late = Reply::error(StatusCode::REQUEST_TIMEOUT, message).into_response();
                security::harden(&mut late);
                late
            };
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    // The time for the head also runs between two requests: an idle connection ends with it.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(error.message = %error, "an HTTP connection ended early");
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
