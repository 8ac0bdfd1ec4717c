//! Connections to servers: of outputs that speak a protocol of their own, and of everybody whose steps are told.
//!
//! Owns the path from `host:port` to a stream: names resolved anew each time, a SOCKS5 proxy where one is set, TLS as
//! everywhere else. Sends nothing of its own; keeps no connection.

mod way;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_socks::tcp::Socks5Stream;
use tokio_util::either::Either;

use crate::config::{HostPort, Socks, Ssl, VerificationMode};
use crate::steps::Steps;
use crate::tls::{self, TlsError};
pub(crate) use way::{Way, address};

/// A connection, with TLS or without.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// There is no connection. The text names the host and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DialError(String);

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: Option<TlsConnector>,
    verified: bool,
    proxy: Option<Socks>,
}

/// The proxy's password stays out.
impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("tls", &self.tls.is_some())
            .field("proxy", &self.proxy.as_ref().map(|proxy| proxy.at.to_string()))
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Reads the TLS files, where `tls` says that at least one host needs them.
    pub(crate) fn new(ssl: &Ssl, tls: bool, proxy: Option<&Socks>) -> Result<Self, TlsError> {
        let config = tls.then(|| tls::client_config(ssl)).transpose()?;
        Ok(Self {
            tls: config.map(|config| TlsConnector::from(Arc::new(config))),
            verified: ssl.verification_mode != VerificationMode::None,
            proxy: proxy.cloned(),
        })
    }

    /// Connects to `host` until `deadline`, with TLS if `secure`. The error names the host and what to do.
    pub(crate) async fn dial(
        &self,
        host: &HostPort,
        secure: bool,
        deadline: Instant,
        steps: &mut Steps,
    ) -> Result<Stream, DialError> {
        steps.enter("connection");
        let connected = self.connect(host, deadline, steps).await;
        steps.leave();
        let tcp = connected.map_err(|error| DialError(format!("{host}: {error}")))?;
        // Batches are written whole: waiting for more would only delay their end.
        let _ = tcp.set_nodelay(true);
        match &self.tls {
            Some(tls) if secure => {
                steps.enter("TLS");
                let secured = self.secure(tls, host, tcp, deadline, steps).await;
                steps.leave();
                secured.map(|stream| Either::Right(Box::new(stream)))
            }
            _ if !secure => {
                steps.warn("TLS", "secure connection disabled");
                Ok(Either::Left(tcp))
            }
            _ => Err(DialError(format!("{host}: no TLS was prepared for it"))),
        }
    }

    /// Whether somebody takes connections there. Tells no steps.
    pub(crate) async fn knock(&self, host: &HostPort, deadline: Instant) -> Result<(), DialError> {
        match self.connect(host, deadline, &mut Steps::untold()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(DialError(error)),
        }
    }

    async fn connect(
        &self,
        host: &HostPort,
        deadline: Instant,
        steps: &mut Steps,
    ) -> Result<TcpStream, String> {
        steps.ok("parse host");
        let Some(proxy) = &self.proxy else {
            let addresses = resolve(host, deadline, steps).await?;
            let dialed = first_of(&addresses, deadline).await;
            return steps.result("dial up", dialed);
        };
        let target = if proxy.local_resolver {
            let addresses = resolve(host, deadline, steps).await?;
            let first = addresses.first().ok_or("the name has no address")?;
            first.ip().to_string()
        } else {
            steps.fact("dns lookup", &"left to the proxy");
            host.host.clone()
        };
        let tunnel = tunnel(proxy, (&target, host.port), deadline).await;
        steps.result(&format!("dial up through {}", proxy.at), tunnel)
    }

    async fn secure(
        &self,
        tls: &TlsConnector,
        host: &HostPort,
        tcp: TcpStream,
        deadline: Instant,
        steps: &mut Steps,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let security = "server's certificate chain verification is";
        if self.verified {
            steps.fact("security", &format_args!("{security} enabled"));
        } else {
            steps.warn("security", &format!("{security} disabled"));
        }
        let shaken = match ServerName::try_from(host.host.clone()) {
            Err(_) => Err("this cannot be the name of a TLS server".to_owned()),
            Ok(name) => match timeout_at(deadline, tls.connect(name, tcp)).await {
                Err(_) => Err("no TLS connection in time".to_owned()),
                Ok(result) => result.map_err(|error| refused(&error)),
            },
        };
        let stream = steps
            .result("handshake", shaken)
            .map_err(|error| DialError(format!("{host}: TLS: {error}")))?;
        summary(&stream, steps);
        Ok(stream)
    }
}

/// What was agreed upon.
fn summary(stream: &TlsStream<TcpStream>, steps: &mut Steps) {
    let (_, session) = stream.get_ref();
    if let Some(version) = session.protocol_version().and_then(|version| version.as_str()) {
        steps.fact("TLS version", &version.replace('_', "."));
    }
    if let Some(suite) = session
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
    {
        steps.fact("cipher suite", &suite);
    }
    if let Some(chain) = session.peer_certificates() {
        steps.fact("certificates presented", &chain.len());
        if let Some(certificate) = chain.first() {
            if let Some(subject) = tls::subject(certificate) {
                steps.fact("certificate subject", &subject);
            }
            if let Some(until) = tls::valid_until(certificate) {
                steps.fact("certificate valid until", &until);
            }
        }
    }
}

/// Why a handshake failed, and what to do.
fn refused(error: &io::Error) -> String {
    match tls::advice(error) {
        Some(advice) => format!("{error}: {advice}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it hung up during the handshake: perhaps it speaks no TLS on this port, or refuses us".to_owned()
        }
        None => error.to_string(),
    }
}

async fn resolve(host: &HostPort, deadline: Instant, steps: &mut Steps) -> Result<Vec<SocketAddr>, String> {
    let looked_up = match timeout_at(deadline, tokio::net::lookup_host((&*host.host, host.port))).await {
        Err(_) => Err("the name was not resolved in time".to_owned()),
        Ok(Err(error)) => Err(format!("the name cannot be resolved: {error}")),
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            if found.is_empty() {
                Err("the name has no address".to_owned())
            } else {
                Ok(found)
            }
        }
    };
    let addresses = steps.result("dns lookup", looked_up)?;
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    steps.fact("addresses", &shown.join(", "));
    Ok(addresses)
}

/// Tries the addresses one after the other; each gets its share of the time, so that one that swallows everything
/// leaves some for the others.
async fn first_of(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, String> {
    let mut errors: Vec<String> = Vec::new();
    for (position, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let ones_left = u32::try_from(addresses.len() - position).unwrap_or(1);
        let until = Instant::now() + left / ones_left.max(1);
        let error = match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {:?}", rounded(left / ones_left.max(1))),
        };
        errors.push(if addresses.len() > 1 {
            format!("{}: {error}", address.ip())
        } else {
            error
        });
    }
    Err(errors.join("; "))
}

fn rounded(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A connection to `target` through the proxy.
async fn tunnel(proxy: &Socks, target: (&str, u16), deadline: Instant) -> Result<TcpStream, String> {
    let at = (&*proxy.at.host, proxy.at.port);
    let tcp = match timeout_at(deadline, TcpStream::connect(at)).await {
        Err(_) => return Err("the proxy was not reached in time".to_owned()),
        Ok(Err(error)) => return Err(format!("the proxy cannot be reached: {error}")),
        Ok(Ok(tcp)) => tcp,
    };
    let ask = async {
        match &proxy.username {
            None => Socks5Stream::connect_with_socket(tcp, target).await,
            Some(username) => {
                let password = proxy.password.as_ref().map_or("", |password| password.expose());
                Socks5Stream::connect_with_password_and_socket(tcp, target, username, password).await
            }
        }
    };
    match timeout_at(deadline, ask).await {
        Err(_) => Err("the proxy made no connection in time".to_owned()),
        Ok(Err(error)) => Err(format!("the proxy made no connection: {error}")),
        Ok(Ok(stream)) => Ok(stream.into_inner()),
    }
}

#[cfg(test)]
mod tests;
