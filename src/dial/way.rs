//! Whom the first connection to a server goes to: the server, or a proxy.
//!
//! Owns the steps of trying it. Through a proxy that is told the host with the request nothing can be told of the
//! server itself before there is a request.

use tokio::time::Instant;
use url::Url;

use super::Dialer;
use crate::config::{HostPort, Socks, Ssl};
use crate::steps::Steps;
use crate::tls::TlsError;

/// Whom the first connection goes to.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// The server itself.
    Direct,
    /// A SOCKS5 proxy.
    Socks(Socks),
    /// A proxy that is told the host with the request.
    Proxy(Url),
}

impl Way {
    /// Through this proxy, if there is one.
    pub(crate) fn through(proxy: Option<&Url>) -> Self {
        match proxy {
            None => Self::Direct,
            Some(proxy) => match Socks::of(proxy, proxy.scheme() == "socks5") {
                Some(socks) => Self::Socks(socks),
                None => Self::Proxy(proxy.clone()),
            },
        }
    }

    /// Connects as far as can be told without a request, with TLS if `secure`, and lets go. Gives whether that worked.
    pub(crate) async fn try_to(
        &self,
        host: &HostPort,
        secure: bool,
        ssl: &Ssl,
        deadline: Instant,
        steps: &mut Steps,
    ) -> Result<bool, TlsError> {
        let socks = match self {
            Self::Direct => None,
            Self::Socks(socks) => Some(socks),
            Self::Proxy(proxy) => {
                let reached = try_proxy(proxy, ssl, deadline, steps).await?;
                if reached && secure {
                    steps.fact("TLS", &"through the proxy, with the next step");
                } else if reached {
                    steps.warn("TLS", "secure connection disabled");
                }
                return Ok(reached);
            }
        };
        let dialer = Dialer::new(ssl, secure, socks)?;
        Ok(dialer.dial(host, secure, deadline, steps).await.is_ok())
    }
}

async fn try_proxy(proxy: &Url, ssl: &Ssl, deadline: Instant, steps: &mut Steps) -> Result<bool, TlsError> {
    let (secure, at) = (proxy.scheme() == "https", address(proxy));
    let dialer = Dialer::new(ssl, secure, None)?;
    steps.enter(&format!("proxy: {}://{at}", proxy.scheme()));
    let reached = dialer.dial(&at, secure, deadline, steps).await;
    steps.leave();
    Ok(reached.is_ok())
}

/// Where a URL leads to.
pub(crate) fn address(url: &Url) -> HostPort {
    HostPort {
        host: url
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned(),
        port: url.port_or_known_default().unwrap_or(1080),
    }
}
