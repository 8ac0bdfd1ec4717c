//! `ha.*`: replicas of which one leads.
//!
//! Owns [`Ha`], and what the section means for the others: an output or a listener that only makes sense on a
//! single host is told. The timers are [`super::timers`]', the store is [`super::etcd`]'s, the hashes are
//! [`super::hashes`]'. A section that asks for high availability is never passed over in silence: each replica would
//! believe to be the only one.

use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

use super::etcd::{self, Etcd};
use super::section::Section;
use super::timers::{self, Timers};
use super::{Ecsbeat, Http, OutputConfig};

/// A name that is part of a key in etcd is not longer.
const MAX_NAME: usize = 64;
/// Why `once` and replicas exclude each other.
pub(super) const NOT_ONCE: &str = "a replica that runs once would wait for leadership and might never get it; set \
                                   ha.enabled: false for this run";

/// `ha.*`, where it is enabled.
#[derive(Debug, Clone)]
pub struct Ha {
    /// `cluster`: replicas with the same name and the same etcd form one cluster.
    pub cluster: String,
    /// `instance`: unique within the cluster; the host name unless set.
    pub instance: String,
    /// `advertise`: base URL of this instance's endpoints as others reach them; `None` = the first address that is
    /// not loopback, with the port that is listened on.
    pub advertise: Option<Url>,
    /// `ttl` of the lease, whole seconds, at least 5 s.
    pub ttl: Duration,
    /// `loop_wait`: time between renewals, and between looks at the cluster.
    pub loop_wait: Duration,
    /// `retry_timeout`: budget of one request to etcd, all endpoints tried.
    pub retry_timeout: Duration,
    /// `safety_margin`: the gate closes so long before the lease can end.
    pub safety_margin: Duration,
    /// `drain_timeout`: how long an orderly handover waits for what is under way.
    pub drain_timeout: Duration,
    /// `lock_delay`: pause between winning and working.
    pub lock_delay: Duration,
    /// `priority`: the higher is preferred; 0 never leads.
    pub priority: u32,
    /// `config_mismatch: refuse`: an instance whose configuration differs from the leader's may not lead.
    pub refuse_mismatch: bool,
    /// `yield_after`: a leader that is blind for so long gives way to a standby that is not; `None` = never.
    pub yield_after: Option<Duration>,
    /// `etcd.*`
    pub etcd: Etcd,
    /// Hash of the effective configuration but for what belongs to one host; secrets went in as keyed hashes.
    pub config_hash: String,
    /// Hash of what makes the ids of events and the names of streams.
    pub identity_hash: String,
}

/// Words of Patroni, and ours.
const PATRONI: [(&str, &str); 9] = [
    ("name", "ha.instance"),
    ("scope", "ha.cluster"),
    ("namespace", "ha.etcd.prefix"),
    ("etcd3", "ha.etcd"),
    ("hosts", "ha.etcd.hosts"),
    ("prefix", "ha.etcd.prefix"),
    ("connect_address", "ha.advertise"),
    ("failover_priority", "ha.priority"),
    ("nofailover", "ha.priority: 0"),
];

/// Reads the section; `None` where it is absent or switched off. The hashes are still to be made: they need the whole
/// configuration.
pub(super) fn read(section: &Section<'_>, host_name: &str) -> Option<Ha> {
    if section.flag("enabled", section.is_present()) {
        return Some(values(section, host_name));
    }
    section.reader().switched_off(|| values(section, host_name));
    None
}

fn values(section: &Section<'_>, host_name: &str) -> Ha {
    for (theirs, ours) in PATRONI {
        section.misnamed(theirs, ours);
    }
    let Timers {
        ttl,
        loop_wait,
        retry_timeout,
        safety_margin,
        drain_timeout,
    } = timers::read(section);
    Ha {
        cluster: name(section, "cluster").unwrap_or_else(|| "default".to_owned()),
        instance: instance(section, host_name),
        advertise: advertise(section),
        ttl,
        loop_wait,
        retry_timeout,
        safety_margin,
        drain_timeout,
        lock_delay: section.duration("lock_delay", Duration::ZERO),
        priority: section.number("priority", 0..=1_000_000).unwrap_or(1),
        refuse_mismatch: section
            .one_of("config_mismatch", &[("warn", false), ("refuse", true)])
            .unwrap_or(false),
        yield_after: section
            .maybe_duration("yield_after")
            .filter(|after| !after.is_zero()),
        etcd: section.section("etcd", etcd::read),
        config_hash: String::new(),
        identity_hash: String::new(),
    }
}

/// Tells what does not go well with replicas elsewhere in the configuration.
pub(super) fn check(root: &Section<'_>, ecsbeat: &Ecsbeat, outputs: &[OutputConfig], http: &Http) {
    if ecsbeat.once {
        root.problem(
            "ecsbeat.once",
            format!("does not go together with ha: {NOT_ONCE}"),
        );
    }
    if !http.enabled {
        root.warning(
            "http.enabled",
            "is off although ha is on: nobody can ask this replica whether it leads (/leader, /health); set it to \
             true, and http.host to an address that others reach",
        );
    } else if is_loopback(&http.host) {
        root.warning(
            "http.host",
            format!(
                "is {:?}, which only this host reaches, although ha is on: nobody else can ask this replica whether \
                 it leads (/leader, /health); set it to 0.0.0.0 or to an address of this host",
                http.host
            ),
        );
    }
    for output in outputs {
        let key = match output {
            OutputConfig::Console(_) => "output.console",
            OutputConfig::File(_) => "output.file",
            OutputConfig::Elasticsearch(_)
            | OutputConfig::Logstash(_)
            | OutputConfig::Kafka(_)
            | OutputConfig::Redis(_) => continue,
        };
        root.warning(
            key,
            "belongs to one host although ha is on: each replica writes what it collected while it led, and a record \
             that is repeated after a change of leader is not recognised",
        );
    }
}

/// A name that can be part of a key; `None` if it is absent, empty or wrong.
fn name(section: &Section<'_>, key: &'static str) -> Option<String> {
    let field = section.field(key)?;
    let name = field.parsed(
        "a name of at most 64 letters (a-z, A-Z), digits, dots, underscores and hyphens",
        |text| {
            if text.is_empty() || is_name(text) {
                Ok(text.to_owned())
            } else {
                Err(String::new())
            }
        },
    )?;
    Some(name).filter(|name| !name.is_empty())
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn instance(section: &Section<'_>, host_name: &str) -> String {
    name(section, "instance").unwrap_or_else(|| {
        if !is_name(host_name) {
            section.missing(
                "instance",
                &format!(
                    "the host name {host_name:?} cannot be used, names have at most {MAX_NAME} letters (a-z, A-Z), \
                     digits, dots, underscores and hyphens"
                ),
            );
        }
        host_name.to_owned()
    })
}

/// The URL that others are told; whoever reads the cluster sees it.
fn advertise(section: &Section<'_>) -> Option<Url> {
    section
        .field("advertise")?
        .parsed("a URL such as http://node-a:5066", |text| {
            let text = text.trim();
            if text.is_empty() {
                return Ok(None);
            }
            let url = Url::parse(text).map_err(|error| error.to_string())?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err("the scheme must be http or https".to_owned());
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err("it is told to everybody and must not have a user or a password".to_owned());
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err("it must not have a query or a fragment".to_owned());
            }
            let unspecified = match url.host() {
                Some(Host::Ipv4(address)) => address.is_unspecified(),
                Some(Host::Ipv6(address)) => address.is_unspecified(),
                Some(Host::Domain(_)) | None => false,
            };
            if unspecified || url.port() == Some(0) {
                return Err("it must be where others reach this host, not what is listened on".to_owned());
            }
            Ok(Some(url))
        })?
}

/// Whether only processes of this host reach a listener there.
fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_keys() {
        for name in ["a", "node-1.example_org", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn loopback_has_many_names() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["0.0.0.0", "::", "node-a", "10.0.0.1", "localhost.example.com"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
