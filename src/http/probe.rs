//! `ecsbeat health`: one question to a running instance.
//!
//! Owns the smallest HTTP client that can tell 200 from anything else, for container health checks in an image
//! without curl. HTTP/1.1 only, with TLS or without, one connection, one time limit over everything, and never more of an
//! answer than it needs. It prints nothing, and believes nobody that `tls::instance` does not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::config::Http;
use crate::tls::{self, TlsError};

/// From the first packet to the last byte.
const TIME: Duration = Duration::from_secs(3);
/// Bytes of an answer that are looked at.
const MAX_ANSWER: u64 = 64 * 1024;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// It answered 200.
    pub healthy: bool,
    /// For people, without a line break.
    pub line: String,
}

/// There was no answer.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("is not a URL: {0}")]
    Url(#[from] url::ParseError),
    #[error("only http:// and https:// can be asked")]
    Scheme,
    #[error("http.port is 0, any free one: the log of the instance names it, give it with --url")]
    Port,
    #[error("http.{0}")]
    Tls(#[from] TlsError),
    #[error("{source}{}", advice(.source))]
    Io {
        #[from]
        source: std::io::Error,
    },
    #[error("no answer within {} s", TIME.as_secs())]
    Time,
    #[error("the answer is not HTTP")]
    NotHttp,
}

/// What to do about TLS that did not come about.
fn advice(error: &std::io::Error) -> String {
    tls::advice(error).map_or_else(String::new, |advice| format!("; {advice}"))
}

/// Asks `/health`, or `/leader`, at `url`, or where `http` says that this machine's instance answers; a URL with a path
/// of its own is asked as it is. Whether `http` is switched on is not looked at: the instance may have been told so by
/// a flag.
pub async fn probe(url: Option<&str>, leader: bool, http: &Http) -> Probed {
    let own = http.own_url();
    let text = url.unwrap_or(&own);
    let url = match target(text, leader) {
        Ok(url) => url,
        Err(error) => {
            return Probed {
                healthy: false,
                line: format!("{text}: {error}"),
            };
        }
    };
    let asked = timeout(TIME, ask(&url, http)).await;
    let (healthy, said) = match asked.unwrap_or(Err(ProbeError::Time)) {
        Ok((200, said)) => (true, format!("200 {said}")),
        Ok((status, said)) => (false, format!("{status} {said}")),
        Err(error) => (false, error.to_string()),
    };
    // What others send is shown on one line whatever they send.
    let said: String = said
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Probed {
        healthy,
        line: format!("{}: {}", shown(&url), said.trim_end()),
    }
}

fn target(text: &str, leader: bool) -> Result<Url, ProbeError> {
    let mut url = Url::parse(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ProbeError::Scheme);
    }
    if url.port() == Some(0) {
        return Err(ProbeError::Port);
    }
    if url.path() == "/" {
        url.set_path(if leader { "/leader" } else { "/health" });
    }
    Ok(url)
}

/// The URL without the user and password that somebody may have put there.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), url.path())
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The status and what the answer says about it.
async fn ask(url: &Url, http: &Http) -> Result<(u16, String), ProbeError> {
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = match url.host() {
        Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await?,
        Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await?,
        Some(Host::Domain(name)) => TcpStream::connect((name, port)).await?,
        None => return Err(url::ParseError::EmptyHost.into()),
    };
    if url.scheme() == "http" {
        return talk(stream, url).await;
    }
    let name = match url.host() {
        Some(Host::Ipv4(address)) => ServerName::from(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => ServerName::from(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            ServerName::try_from(name.to_owned()).map_err(|_| url::ParseError::InvalidDomainCharacter)?
        }
        None => return Err(url::ParseError::EmptyHost.into()),
    };
    let connector = TlsConnector::from(Arc::new(tls::instance(url, http)?));
    talk(connector.connect(name, stream).await?, url).await
}

/// The question and its answer on a connection.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    url: &Url,
) -> Result<(u16, String), ProbeError> {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let request = format!(
        "GET {}{query} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
        url.path(),
        authority(url)
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.take(MAX_ANSWER).read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let Some(status) = status(&text) else {
        // The connection's own error says more than half an answer.
        read?;
        return Err(ProbeError::NotHttp);
    };
    Ok((status, words(&text)))
}

fn status(answer: &str) -> Option<u16> {
    let (line, _) = answer.split_once("\r\n")?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.get(..3)?.parse().ok()?;
    version.starts_with("HTTP/1.").then_some(code)
}

/// The state, the reasons and who leads instead, in one of our answers; empty for those of others.
fn words(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let state = body["state"].as_str().unwrap_or_default();
    let reasons: Vec<_> = body["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    let why = if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    };
    let who = match (body["is_self"].as_bool(), body["leader"]["name"].as_str()) {
        (Some(false), Some(name)) => format!(", {name} leads"),
        _ => String::new(),
    };
    format!("{state}{why}{who}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::super::tests::{endpoints, http_config, replica};
    use super::*;
    use crate::status::State;

    #[tokio::test]
    async fn tells_a_healthy_instance_from_one_that_starts() {
        let endpoints = endpoints();
        let status = Arc::clone(&endpoints.status);
        let bound = super::super::bind(&http_config()).unwrap();
        let url = format!("http://{}", bound.local_addr());
        let server = bound
            .serve(Arc::new(endpoints), CancellationToken::new())
            .unwrap();
        let http = Http::default();
        let ask = |leader| probe(Some(&url), leader, &http);
        assert_eq!(
            ask(false).await,
            Probed {
                healthy: false,
                line: format!("{url}/health: 503 starting (starting)"),
            }
        );
        status.enter(State::Single, jiff::Timestamp::now());
        for (leader, path) in [(false, "/health"), (true, "/leader")] {
            assert_eq!(
                ask(leader).await,
                Probed {
                    healthy: true,
                    line: format!("{url}{path}: 200 single"),
                }
            );
        }
        let own = probe(Some(&format!("{url}/standby?x=1")), true, &http).await;
        assert_eq!(own.line, format!("{url}/standby: 503 single (not_standby)"));
        let wish = probe(Some(&format!("{url}/health?activecode=204")), false, &http).await;
        assert!(!wish.healthy, "{wish:?}");
        server.stop().await.unwrap();
        let gone = ask(false).await;
        assert!(
            !gone.healthy && gone.line.to_lowercase().contains("refused"),
            "{gone:?}"
        );
    }

    #[tokio::test]
    async fn a_standby_is_healthy_and_does_not_lead_and_the_leader_does() {
        for (state, leader, path, healthy, said) in [
            (
                State::Standby,
                false,
                "/health",
                true,
                "200 standby, node-b leads",
            ),
            (
                State::Standby,
                true,
                "/leader",
                false,
                "503 standby (not_leader), node-b leads",
            ),
            (State::Leader, false, "/health", true, "200 leader"),
            (State::Leader, true, "/leader", true, "200 leader"),
            (
                State::Draining,
                false,
                "/health",
                true,
                "200 draining, node-a leads",
            ),
            (
                State::Draining,
                true,
                "/leader",
                false,
                "503 draining (draining), node-a leads",
            ),
            (
                State::Lost,
                false,
                "/health",
                false,
                "503 lost (lost), node-b leads",
            ),
            // Codes by wish are for load balancers; here only 200 is well.
            (
                State::Standby,
                false,
                "/health?standbycode=429",
                false,
                "429 standby, node-b leads",
            ),
        ] {
            let bound = super::super::bind(&http_config()).unwrap();
            let url = format!("http://{}", bound.local_addr());
            let server = bound
                .serve(Arc::new(replica(state)), CancellationToken::new())
                .unwrap();
            // A path of its own is asked as it is.
            let asked = if path.contains('?') {
                format!("{url}{path}")
            } else {
                url.clone()
            };
            let probed = probe(Some(&asked), leader, &Http::default()).await;
            let shown = path.split('?').next().unwrap();
            assert_eq!(
                probed,
                Probed {
                    healthy,
                    line: format!("{url}{shown}: {said}"),
                }
            );
            server.stop().await.unwrap();
        }
    }

    #[tokio::test]
    async fn nonsense_and_what_cannot_be_known_are_told() {
        let any_port = Http {
            port: 0,
            ..Http::default()
        };
        for (url, said) in [
            (Some("ftp://localhost:1"), "only http:// and https://"),
            (Some("localhost"), "not a URL"),
            (None, "http.port is 0"),
        ] {
            let probed = probe(url, false, &any_port).await;
            assert!(!probed.healthy && probed.line.contains(said), "{probed:?}");
        }
    }

    /// What the probe says about a server that answers with this and closes.
    async fn answered(answer: &'static [u8]) -> Probed {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://user:pass@127.0.0.1:{}/x",
            listener.local_addr().unwrap().port()
        );
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            assert!(
                request.starts_with("GET /x HTTP/1.1\r\nHost: 127.0.0.1:"),
                "{request}"
            );
            stream.write_all(answer).await.unwrap();
        };
        let http = Http::default();
        tokio::join!(probe(Some(&url), false, &http), serve).0
    }

    #[tokio::test]
    async fn foreign_answers_are_one_harmless_line() {
        for (answer, healthy, end) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], true, ": 200"),
            (
                b"HTTP/1.0 429 Whatever\r\n\r\n{\"state\":\"a\\nb\"}",
                false,
                ": 429 a b",
            ),
            (b"HTTP/2 200\r\n\r\n", false, "not HTTP"),
            (b"HTTP/1.1 20\r\n\r\n", false, "not HTTP"),
            (b"SSH-2.0-x\r\n", false, "not HTTP"),
            (b"", false, "not HTTP"),
        ] {
            let probed = answered(answer).await;
            assert_eq!(probed.healthy, healthy, "{probed:?}");
            assert!(probed.line.ends_with(end), "{probed:?}");
            assert!(!probed.line.contains("pass"), "{probed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_three_seconds_and_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let probed = probe(Some(&url), false, &Http::default()).await;
        assert!(
            !probed.healthy && probed.line.ends_with("no answer within 3 s"),
            "{probed:?}"
        );
    }
}
