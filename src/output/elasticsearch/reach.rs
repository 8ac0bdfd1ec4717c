//! How each host is reached, step by step, for `test output`.
//!
//! Owns the tree of steps: a connection of its own, with TLS, as far as the first thing that fails; then the very
//! request a run begins with. Sends no event and changes nothing there.

use hyper_util::client::proxy::matcher::Matcher;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use url::Url;

use super::super::BuildError;
use super::client::{Client, uses_environment};
use super::{Deadline, setup};
use crate::config::ElasticsearchOutput;
use crate::dial::{Way, address};
use crate::election::Permit;
use crate::steps::Steps;

const SECTION: &str = "output.elasticsearch";

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
        let way = way(url, config.proxy_url.as_ref(), environment.as_ref());
        steps.enter(&format!("elasticsearch: {}", client.name(host)));
        steps.ok("parse url");
        let secure = url.scheme() == "https";
        let reached = way
            .try_to(&address(url), secure, &config.ssl, deadline.at, steps)
            .await;
        if reached.map_err(BuildError::tls(SECTION))? {
            talk(&client, host, &deadline, steps).await;
        }
        steps.leave();
    }
    Ok(())
}

async fn talk(client: &Client, host: usize, deadline: &Deadline, steps: &mut Steps) {
    let greeted = setup::greet(client, host, deadline).await;
    match steps.result("talk to server", greeted) {
        Ok(Some(version)) => steps.fact("version", &version),
        Ok(None) => steps.warn("version", "its user or API key may not ask for it"),
        Err(_) => {}
    }
}

/// The way of the settings, or else of the environment.
fn way(url: &Url, configured: Option<&Url>, environment: Option<&Matcher>) -> Way {
    let of_environment = || of_environment(environment?, url);
    let proxy = configured.cloned().or_else(of_environment);
    Way::through(proxy.as_ref())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(configured: Option<&str>, environment: Option<&str>) -> String {
        let url = Url::parse("http://es:9200/").unwrap();
        let configured = configured.map(|proxy| Url::parse(proxy).unwrap());
        let environment = environment.map(|proxy| Matcher::builder().all(proxy).build());
        match way(&url, configured.as_ref(), environment.as_ref()) {
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
        assert_eq!(told(None, None), "direct");
        assert_eq!(told(Some("http://p"), Some("http://q:1")), "http p:80");
        assert_eq!(told(None, Some("q:3128")), "http q:3128");
        assert_eq!(told(None, Some("https://[::1]:9")), "https [::1]:9");
        assert_eq!(
            told(Some("socks5://me:p%40ss@p"), None),
            "socks p:1080 Some(\"me\") Some(\"p@ss\") true"
        );
        assert_eq!(
            told(None, Some("socks5h://me:p%40ss@q:9")),
            "socks q:9 Some(\"me\") Some(\"p@ss\") false"
        );
        assert_eq!(told(None, Some("socks4://q")), "socks4 q:1080");
    }
}
