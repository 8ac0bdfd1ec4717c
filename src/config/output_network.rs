//! What the sections of all network outputs have in common: hosts, connections, retries, proxy, TLS.
//!
//! Owns their reading and defaults, as Beats has them. Reaches nobody.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::section::Section;
use super::{HostPort, Paths, Secret, Ssl, address, output, ssl, url_option};

const SECOND: Duration = Duration::from_secs(1);

/// How servers are reached and how much is sent to them at once.
#[derive(Debug, Clone)]
pub struct Network {
    /// Connections per host.
    pub workers: usize,
    /// Use all hosts at once, or one at random until it fails.
    pub loadbalance: bool,
    /// Most events sent at once; 0 = no limit but the batch.
    pub bulk_max_size: usize,
    /// Times a failed publish is repeated; `None` = for ever.
    pub max_retries: Option<u32>,
    /// Pauses between failed tries.
    pub backoff: BackoffConfig,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// `proxy_url`: `None` = connections are direct.
    pub proxy: Option<Socks>,
    /// TLS, where it is on.
    pub ssl: Ssl,
}

/// `backoff.init`, `backoff.max`.
#[derive(Debug, Clone, Copy)]
pub struct BackoffConfig {
    /// First pause.
    pub init: Duration,
    /// Longest pause.
    pub max: Duration,
}

/// A SOCKS5 proxy (RFC 1928, with the user and password of RFC 1929).
#[derive(Debug, Clone)]
pub struct Socks {
    /// The proxy itself.
    pub at: HostPort,
    /// The user, where the proxy wants one.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// `proxy_use_local_resolver`: names are resolved here and not at the proxy.
    pub local_resolver: bool,
}

/// What differs between outputs where the user says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub(super) loadbalance: bool,
    pub(super) bulk_max_size: usize,
    pub(super) timeout: Duration,
}

/// Reads what all network outputs have, but for `hosts`.
pub(super) fn read(section: &Section<'_>, defaults: Defaults) -> Network {
    Network {
        workers: workers(section),
        loadbalance: section.flag("loadbalance", defaults.loadbalance),
        bulk_max_size: output::bulk_max_size(section, defaults.bulk_max_size),
        max_retries: max_retries(section),
        backoff: backoff(section),
        timeout: section.positive_duration("timeout", defaults.timeout),
        proxy: socks(section),
        ssl: section.section("ssl", ssl::read),
    }
}

/// `hosts`: at least one `host` or `host:port`, none twice. `example` is shown where there is none.
pub(super) fn hosts(section: &Section<'_>, port: u16, example: &str) -> Vec<HostPort> {
    let items = section
        .field("hosts")
        .and_then(|field| field.items())
        .unwrap_or_default();
    if items.is_empty() {
        section.missing("hosts", &format!("at least one, such as [\"{example}\"]"));
    }
    let mut hosts = Vec::new();
    for item in items {
        let parsed = item.parsed("a host such as server:1234", |text| {
            address::parse(text, port).map_err(|error| error.to_string())
        });
        let Some(host) = parsed else { continue };
        if hosts.contains(&host) {
            item.problem("is in the list twice");
        } else {
            hosts.push(host);
        }
    }
    hosts
}

/// `worker`, or `workers` as newer Beats call it.
pub(super) fn workers(section: &Section<'_>) -> usize {
    let worker = section.alias("worker").and_then(|field| field.number(1..=256));
    let workers = section.number("workers", 1..=256);
    if worker.is_some() && workers.is_some() {
        section.problem("worker", "is another name of workers: give one of them");
    }
    workers.or(worker).unwrap_or(1)
}

/// `max_retries`. Beats' default of 3 loses events; only a number that was asked for counts.
pub(super) fn max_retries(section: &Section<'_>) -> Option<u32> {
    section
        .field("max_retries")
        .and_then(|field| field.number::<i64>(-1..=1_000_000))
        .and_then(|retries| u32::try_from(retries).ok().filter(|retries| *retries > 0))
}

/// `backoff.*`.
pub(super) fn backoff(section: &Section<'_>) -> BackoffConfig {
    section.section("backoff", |backoff| {
        let init = backoff.positive_duration("init", SECOND);
        let max = backoff.positive_duration("max", 60 * SECOND);
        if init > max {
            let [init, max] = [init, max].map(super::duration::show);
            backoff.problem("init", format!("must not be longer than max: {init} > {max}"));
        }
        BackoffConfig { init, max }
    })
}

fn socks(section: &Section<'_>) -> Option<Socks> {
    let local_resolver = section.flag("proxy_use_local_resolver", false);
    let url = url_option::proxy(section, "proxy_url")?;
    let socks = Socks::of(&url, local_resolver);
    if socks.is_none() {
        section.problem(
            "proxy_url",
            "must be a SOCKS5 proxy, socks5://[user:password@]host:1080: there is no HTTP to this output",
        );
    }
    socks
}

impl Socks {
    /// Out of a URL with the scheme `socks5` or `socks5h`; `None` = it has another one.
    pub fn of(url: &Url, local_resolver: bool) -> Option<Self> {
        if !matches!(url.scheme(), "socks5" | "socks5h") {
            return None;
        }
        let user = url_option::user(url);
        Some(Self {
            at: HostPort {
                host: url.host_str()?.trim_matches(['[', ']']).to_owned(),
                port: url.port().unwrap_or(1080),
            },
            username: user.as_ref().map(|user| user.username.clone()),
            password: user.and_then(|user| user.password),
            local_resolver,
        })
    }
}

/// `dead_letter_file.path`, below `path.data` where it is relative.
pub(super) fn dead_letter_file(section: &Section<'_>, paths: &Paths) -> Option<PathBuf> {
    let path = section.section("dead_letter_file", |section| given(section, "path"))?;
    Some(paths.data.join(path))
}

/// The one key of a section that says where dead letters go: must be there if the section is, an empty one counts as no
/// section.
pub(super) fn given(section: &Section<'_>, key: &'static str) -> Option<String> {
    if section.is_present() && section.field(key).is_none() {
        section.missing(key, "where refused documents go");
    }
    section.some_text(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socks_proxy_with_and_without_a_user() {
        let read = |url: &str| Socks::of(&Url::parse(url).unwrap(), false);
        let socks = read("socks5://me:p%40ss@proxy").unwrap();
        assert_eq!(socks.at.to_string(), "proxy:1080");
        assert_eq!(socks.username.as_deref(), Some("me"));
        assert_eq!(socks.password.unwrap().expose(), "p@ss");
        let socks = read("socks5h://[::1]:9").unwrap();
        assert_eq!(socks.at.to_string(), "[::1]:9");
        assert_eq!(socks.username, None);
        assert!(read("http://proxy:3128").is_none());
    }
}
