//! `ha.*`: known, checked, and refused where it is switched on.
//!
//! Several replicas with one configuration would each believe to be the only one, so a section that asks for
//! high availability must never be passed over in silence.

use std::time::Duration;

use super::section::Section;
use super::ssl;

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
