//! The top of the file: which sections there are, the general settings, `path.*`, and the keys of Beats that
//! have no meaning here.
//!
//! Owns no section's content.

use std::path::PathBuf;
use std::time::Duration;

use super::load::Environment;
use super::section::Section;
use super::{Config, Paths, ecsbeat, ha, http, logging, output, output_kafka, processors, queue, template};
use crate::keystore::FILE;

/// Reads the whole configuration. Where something is wrong the value is a stand-in, and a problem is told.
pub(super) fn read(root: &Section<'_>, environment: Environment) -> Config {
    let path = root.section("path", |path| {
        let directory = |key| PathBuf::from(path.text(key).unwrap_or_default());
        Paths {
            home: directory("home"),
            config: directory("config"),
            data: directory("data"),
            logs: directory("logs"),
        }
    });
    let keystore = root.section("keystore", |section| {
        section.not_in_this_version("password", ": its password is empty, as in Beats");
        let file = section.some_text("path").unwrap_or_else(|| FILE.to_owned());
        path.data.join(file)
    });
    let (ecsbeat, old_shutdown_timeout) = root.section("ecsbeat", |section| ecsbeat::read(section, &path));
    let mut outputs = root.section("output", |section| output::read(section, &path));
    let queue = queue::read(root, &outputs);
    let template = root.section("setup", |setup| {
        setup.without_effect("kibana", "ecsbeat does not talk to Kibana");
        setup.without_effect("dashboards", "dashboards are imported in Kibana");
        setup.without_effect("ilm", "the index is the one of output.elasticsearch.index");
        setup.without_effect("dsl", "set the lifecycle in setup.template.settings");
        setup.section("template", |section| template::read(section, &outputs))
    });
    let logging = root.section("logging", |section| logging::read(section, &path, environment));
    let http = root.section("http", http::read);
    let own_name = host_name();
    let ha = root.section("ha", |section| ha::read(section, &own_name));
    if ha.is_some() {
        ha::check(root, &ecsbeat, &outputs.enabled, &http);
    }
    foreign(root);

    let host_name = root.some_text("hostname").unwrap_or(own_name);
    let name = root.some_text("name").unwrap_or(host_name);
    let fencing = outputs.fencing.take();
    output_kafka::settle(root, &mut outputs.enabled, fencing, &name, ha.as_ref());
    let fields = root.field("fields").and_then(|field| {
        if let serde_json::Value::Object(map) = field.json() {
            return Some(map.into_iter().collect());
        }
        field.expected("a mapping");
        None
    });
    let shutdown_timeout = match (root.maybe_duration("shutdown_timeout"), old_shutdown_timeout) {
        (Some(_), Some(_)) => {
            root.problem(
                "shutdown_timeout",
                "given twice, the other is ecsbeat.shutdown_timeout",
            );
            Duration::ZERO
        }
        (Some(timeout), None) | (None, Some(timeout)) => timeout,
        (None, None) => Duration::from_secs(10),
    };
    Config {
        name,
        tags: root.texts("tags").unwrap_or_default(),
        fields: fields.unwrap_or_default(),
        fields_under_root: root.flag("fields_under_root", false),
        max_procs: root
            .number::<usize>("max_procs", 0..=1024)
            .filter(|count| *count > 0),
        path,
        keystore,
        ecsbeat,
        processors: processors::read(root),
        queue,
        outputs: outputs.enabled,
        template,
        http,
        logging,
        shutdown_timeout,
        ha,
        warnings: Vec::new(),
        redacted_yaml: String::new(),
        hash: String::new(),
    }
}

/// Keys of Beats that ecsbeat deliberately does not have.
fn foreign(root: &Section<'_>) {
    root.without_effect("cloud", "set output.elasticsearch.hosts and its credentials");
    root.without_effect("monitoring", "scrape http /stats or /metrics");
    root.without_effect("xpack", "scrape http /stats or /metrics");
    root.without_effect(
        "seccomp",
        "confine the process with systemd or the container runtime",
    );
    root.without_effect("instrumentation", "there is no APM agent");
    root.without_effect("management", "there is no central management");
    root.without_effect("features", "there are no feature flags");
    root.without_effect("timestamp", "timestamps have milliseconds");
    root.without_effect("geoip", "it was removed from Beats in version 5");
    root.without_effect("refresh_topology_freq", "there is no topology");
    root.without_effect("ignore_outgoing", "there is no topology");
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
