//! How each host is reached, step by step, for `test output`.
//!
//! Owns the tree of steps: a connection of its own, with TLS, as far as the first thing that fails; then the very
//! request a run begins with. Sends no event and changes nothing there.

use hyper_util::client::proxy::matcher::Matcher;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use url::Url;

use super::super::BuildError;
use super::super::dial::Dialer;
use super::super::steps::Steps;
use super::client::{Client, uses_environment};
use super::{Deadline, setup};
use crate::config::{ElasticsearchOutput, HostPort, Socks};
use crate::election::Permit;

const SECTION: &str = "output.elasticsearch";

/// Whom the first connection goes to.
enum Way {
    Direct,
    Socks(Socks),
    /// A proxy that is told the host with the request.
    Proxy(Url),
}

/// Tries every host once.
pub(in crate::output) async fn test(
    config: &ElasticsearchOutput,
    permit: &Permit,
    steps: &mut Steps,
) -> Result<(), BuildError> {
    let client = Client::new(config, &Counter::default())?;
    let environment = uses_environment(config).then(Matcher::from_system);
    for (host, url) in config.hosts.iter().enumerate() {
        let deadline = Deadline {
            at: Instant::now() + config.timeout.min(permit.budget()),
            permit: permit.clone(),
        };
        let way = Way::to(url, config.proxy_url.as_ref(), environment.as_ref());
        steps.enter(&format!("elasticsearch: {}", client.name(host)));
        steps.ok("parse url");
        if connect(config, url, &way, &deadline, steps).await? {
            talk(&client, host, &deadline, steps).await;
        }
        steps.leave();
    }
    Ok(())
}

/// Whether a connection could be made.
async fn connect(
    config: &ElasticsearchOutput,
    url: &Url,
    way: &Way,
    deadline: &Deadline,
    steps: &mut Steps,
) -> Result<bool, BuildError> {
    let secure = url.scheme() == "https";
    let proxy = match way {
        Way::Direct => None,
        Way::Socks(socks) => Some(socks),
        Way::Proxy(proxy) => {
            let reached = connect_to_proxy(config, proxy, deadline, steps).await?;
            if reached && secure {
                steps.fact("TLS", &"through the proxy, with the next step");
            } else if reached {
                steps.warn("TLS", "secure connection disabled");
            }
            return Ok(reached);
        }
    };
    let dialer = Dialer::new(SECTION, &config.ssl, secure, proxy)?;
    Ok(dialer
        .dial(&address(url), secure, deadline.at, steps)
        .await
        .is_ok())
}

async fn connect_to_proxy(
    config: &ElasticsearchOutput,
    proxy: &Url,
    deadline: &Deadline,
    steps: &mut Steps,
) -> Result<bool, BuildError> {
    let (secure, address) = (proxy.scheme() == "https", address(proxy));
    let dialer = Dialer::new(SECTION, &config.ssl, secure, None)?;
    steps.enter(&format!("proxy: {}://{address}", proxy.scheme()));
    let reached = dialer.dial(&address, secure, deadline.at, steps).await;
    steps.leave();
    Ok(reached.is_ok())
}

async fn talk(client: &Client, host: usize, deadline: &Deadline, steps: &mut Steps) {
    let greeted = setup::greet(client, host, deadline).await;
    match steps.result("talk to server", greeted) {
        Ok(Some(version)) => steps.fact("version", &version),
        Ok(None) => steps.warn("version", "its user or API key may not ask for it"),
        Err(_) => {}
    }
}

impl Way {
    fn to(url: &Url, configured: Option<&Url>, environment: Option<&Matcher>) -> Self {
        let proxy = configured.cloned().or_else(|| of_environment(environment?, url));
        match proxy {
            None => Self::Direct,
            Some(proxy) => match Socks::of(&proxy, proxy.scheme() == "socks5") {
                Some(socks) => Self::Socks(socks),
                None => Self::Proxy(proxy),
            },
        }
    }
}

/// The proxy that HTTP(S)_PROXY and `NO_PROXY` say, found as the client itself finds it.
fn of_environment(environment: &Matcher, url: &Url) -> Option<Url> {
    let found = environment.intercept(&url.as_str().parse().ok()?)?;
    let mut proxy = Url::parse(&found.uri().to_string()).ok()?;
    if let Some((username, password)) = found.raw_auth() {
        proxy.set_username(username).ok()?;
        proxy.set_password(Some(password)).ok()?;
    }
    Some(proxy)
}

fn address(url: &Url) -> HostPort {
    HostPort {
        host: url
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned(),
        port: url.port_or_known_default().unwrap_or(1080),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(configured: Option<&str>, environment: Option<&str>) -> String {
        let url = Url::parse("http://es:9200/").unwrap();
        let configured = configured.map(|proxy| Url::parse(proxy).unwrap());
        let environment = environment.map(|proxy| Matcher::builder().all(proxy).build());
        match Way::to(&url, configured.as_ref(), environment.as_ref()) {
            Way::Direct => "direct".to_owned(),
            Way::Proxy(proxy) => format!("{} {}", proxy.scheme(), address(&proxy)),
            Way::Socks(socks) => {
                let password = socks.password.map(|password| password.expose().to_owned());
                let (at, user, local) = (socks.at, socks.username, socks.local_resolver);
                format!("socks {at} {user:?} {password:?} {local}")
            }
        }
    }

    #[test]
    fn the_way_is_that_of_the_settings_or_else_of_the_environment() {
        assert_eq!(way(None, None), "direct");
        assert_eq!(way(Some("http://p"), Some("http://q:1")), "http p:80");
        assert_eq!(way(None, Some("q:3128")), "http q:3128");
        assert_eq!(way(None, Some("https://[::1]:9")), "https [::1]:9");
        assert_eq!(
            way(Some("socks5://me:p%40ss@p"), None),
            "socks p:1080 Some(\"me\") Some(\"p@ss\") true"
        );
        assert_eq!(
            way(None, Some("socks5h://me:p%40ss@q:9")),
            "socks q:9 Some(\"me\") Some(\"p@ss\") false"
        );
        assert_eq!(way(None, Some("socks4://q")), "socks4 q:1080");
    }
}
