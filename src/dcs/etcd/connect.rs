//! Connections to one member of etcd.
//!
//! Owns the way from a URL and the `ssl.*` settings to a channel: TCP, TLS as everywhere else in the process, HTTP/2.
//! A channel connects when it is first used and again when the connection is lost. Knows nothing of requests.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use url::Url;

use super::EtcdError;
use super::hangup::{Heard, Listened};
use crate::config::Ssl;
use crate::tls;

/// Longest wait for a TCP connection, and for a TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a connection in use is pinged. The server takes more than one ping in 5 s for an attack.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// How one member is reached.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<Tls>,
    endpoint: Endpoint,
    heard: Heard,
}

#[derive(Debug, Clone)]
struct Tls {
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
}

/// No connection came about, so no request was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    #[error("no TCP connection within {CONNECT_TIMEOUT:?}")]
    Late,
    #[error("{0}")]
    Tcp(#[source] io::Error),
    #[error("no TLS connection within {CONNECT_TIMEOUT:?}")]
    TlsLate,
    #[error("it hung up during the TLS handshake: perhaps it speaks http:// on this port, or refuses us")]
    TlsHungUp,
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("what answers there does not speak HTTP/2, so it is no etcd: check the port in ha.etcd.hosts")]
    NoHttp2,
}

/// TLS of every connection to etcd, read once. `None` where no host needs it.
pub(super) fn tls_config(
    hosts: &[Url],
    ssl: &Ssl,
) -> Result<Option<Arc<rustls::ClientConfig>>, tls::TlsError> {
    if !hosts.iter().any(|host| host.scheme() == "https") {
        return Ok(None);
    }
    let mut config = tls::client_config(ssl)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(Arc::new(config)))
}

impl Connector {
    /// Checks the URL. Connects to nobody.
    pub(super) fn new(url: &Url, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<Self, EtcdError> {
        let wrong = |problem: &str| EtcdError::Host {
            host: format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
            problem: problem.to_owned(),
        };
        let host = url
            .host_str()
            .ok_or_else(|| wrong("there is no host in it: write http://HOST:2379"))?;
        let port = url
            .port_or_known_default()
            .ok_or_else(|| wrong("there is no port in it: write http://HOST:2379"))?;
        let tls = match (url.scheme(), tls) {
            ("http", _) => None,
            ("https", Some(config)) => Some(Tls {
                config: Arc::clone(config),
                name: ServerName::try_from(bare(host).to_owned())
                    .map_err(|_| wrong("this cannot be the name of a TLS server"))?,
            }),
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let uri = |scheme: &str| {
            format!("{scheme}://{host}:{port}")
                .parse::<Uri>()
                .map_err(|error| wrong(&error.to_string()))
        };
        // The channel sees plain HTTP in any case: TLS is done below it. The origin is what requests say, and proxies
        // may look at it.
        let endpoint = Endpoint::from(uri("http")?)
            .origin(uri(url.scheme())?)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            // Pings on a connection without a request count as an attack too.
            .keep_alive_while_idle(false);
        Ok(Self {
            host: bare(host).to_owned(),
            port,
            tls,
            endpoint,
            heard: Heard::default(),
        })
    }

    /// As messages and metrics call it.
    pub(super) fn name(url: &Url) -> Arc<str> {
        let host = url.host_str().unwrap_or_default();
        match url.port_or_known_default() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()).into(),
            None => format!("{}://{host}", url.scheme()).into(),
        }
    }

    /// A channel with a connection of its own, once it is used. Must be called within a runtime.
    pub(super) fn channel(&self) -> Channel {
        let connector = self.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move { connector.connect().await.map(TokioIo::new) }
        });
        self.endpoint.connect_with_connector_lazy(connect)
    }

    /// Why the last connection broke, as far as it has not been asked for.
    pub(super) fn heard(&self) -> Option<String> {
        self.heard.take()
    }

    async fn connect(&self) -> Result<Box<dyn Io>, Unreachable> {
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect((&*self.host, self.port)))
            .await
            .map_err(|_| Unreachable::Late)?
            .map_err(Unreachable::Tcp)?;
        tcp.set_nodelay(true).map_err(Unreachable::Tcp)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(Listened::new(tcp, &self.heard, true)));
        };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream = timeout(CONNECT_TIMEOUT, connector.connect(tls.name.clone(), tcp))
            .await
            .map_err(|_| Unreachable::TlsLate)?
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Unreachable::TlsHungUp,
                _ => Unreachable::Tls(error),
            })?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(b"h2") {
            return Err(Unreachable::NoHttp2);
        }
        Ok(Box::new(Listened::new(stream, &self.heard, false)))
    }
}

/// Without the brackets of an IPv6 address in a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(url: &str) -> Result<Connector, EtcdError> {
        let tls = Arc::new(tls::refuse_all().unwrap());
        Connector::new(&url.parse().unwrap(), Some(&tls))
    }

    #[test]
    fn hosts_are_taken_apart() {
        for (url, host, port, name) in [
            ("http://etcd1:2379", "etcd1", 2379, "http://etcd1:2379"),
            (
                "https://etcd1.example.com:443",
                "etcd1.example.com",
                443,
                "https://etcd1.example.com:443",
            ),
            (
                "http://[2001:db8::1]:2379",
                "2001:db8::1",
                2379,
                "http://[2001:db8::1]:2379",
            ),
            (
                "https://10.0.0.1:2379/",
                "10.0.0.1",
                2379,
                "https://10.0.0.1:2379",
            ),
        ] {
            let connector = connector(url).unwrap();
            assert_eq!((connector.host.as_str(), connector.port), (host, port), "{url}");
            assert_eq!(connector.tls.is_some(), url.starts_with("https"), "{url}");
            assert_eq!(&*Connector::name(&url.parse().unwrap()), name);
        }
    }

    #[test]
    fn other_schemes_are_refused_without_what_may_be_a_password() {
        let error = connector("ftp://user:secret@etcd1:2379").unwrap_err().to_string();
        assert_eq!(
            error,
            "ha.etcd.hosts: ftp://etcd1: it must begin with http:// or https://"
        );
    }

    #[test]
    fn files_of_certificates_are_not_opened_for_plain_hosts() {
        let ssl = Ssl {
            certificate_authorities: vec!["/does/not/exist.pem".to_owned()],
            ..Ssl::default()
        };
        let hosts = |url: &str| vec![url.parse::<Url>().unwrap()];
        assert!(tls_config(&hosts("http://etcd1:2379"), &ssl).unwrap().is_none());
        let error = tls_config(&hosts("https://etcd1:2379"), &ssl).unwrap_err();
        assert!(error.to_string().contains("/does/not/exist.pem"), "{error}");
    }
}
