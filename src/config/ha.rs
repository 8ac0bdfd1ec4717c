//! `ha.*`: known, checked, and refused where it is switched on.
//!
//! Several replicas with one configuration would each believe to be the only one, so a section that asks for
//! high availability must never be passed over in silence.

use std::time::Duration;

use super::secret::Secret;
use super::section::Section;
use super::{Ssl, ssl};

/// `ha.*`, where it is enabled.
#[derive(Debug, Clone)]
pub struct Ha {
    /// `cluster`: replicas with the same name and the same etcd form one cluster.
    pub cluster: String,
    /// `instance`: unique within the cluster; the host name unless set.
    pub instance: String,
    /// `advertise`: base URL of this instance's endpoints as others reach them; `None` = the first address that is
    /// not loopback, with the port that is listened on.
    pub advertise: Option<url::Url>,
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

/// `ha.etcd.*`
#[derive(Debug, Clone)]
pub struct Etcd {
    /// `hosts`: base URLs, `http://` or `https://`, port 2379 unless given. Never empty, no doubles.
    pub hosts: Vec<url::Url>,
    /// `prefix`: begins with a slash and does not end with one.
    pub prefix: String,
    /// `username`
    pub username: Option<String>,
    /// `password`
    pub password: Option<Secret>,
    /// `ssl.*`, for `https://` hosts.
    pub ssl: Ssl,
}

/// Reads the section; its values go nowhere yet.
pub(super) fn read(section: &Section<'_>) {
    if section.flag("enabled", section.is_present()) {
        section.problem(
            "enabled",
            "this build runs single-node only: set ha.enabled: false or leave ha out",
        );
        values(section);
    } else {
        section.reader().switched_off(|| values(section));
    }
}

fn values(section: &Section<'_>) {
    for key in ["cluster", "instance", "advertise"] {
        section.text(key);
    }
    for (key, seconds) in [
        ("ttl", 10),
        ("loop_wait", 3),
        ("retry_timeout", 3),
        ("safety_margin", 1),
        ("drain_timeout", 3),
        ("lock_delay", 0),
        ("yield_after", 0),
    ] {
        section.duration(key, Duration::from_secs(seconds));
    }
    section.number::<i64>("priority", 0..=1_000_000);
    section.one_of("config_mismatch", &[("warn", ()), ("refuse", ())]);
    section.section("etcd", |etcd| {
        etcd.texts("hosts");
        etcd.text("prefix");
        etcd.text("username");
        etcd.secret("password");
        etcd.section("ssl", ssl::read);
    });
}
