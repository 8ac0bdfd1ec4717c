//! What the real binary told, and its events.
//!
//! Owns [`told`]: `/metrics` of a leader, a standby, a leader for whom much goes wrong, and a single node, and events of
//! all types, failures among them. Gathered once for all tests of a process.

use std::collections::{BTreeMap, BTreeSet};

use ecs_sim::bulk::{BulkFault, BulkRule};
use ecs_sim::{Config, Profile, Sim};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::support::authority::Authority;
use crate::support::cluster::{Cluster, Setup, until};
use crate::support::process::{Home, PASSWORD, SOON, customers, customers_with, get};
use crate::support::still::world;
use crate::support::windowed::COMMANDS;

/// What drops events, fails on them, and goes at what must stay: each is counted by a series of its own.
const PROCESSORS: &str = r"
processors:
  - drop_event.when.equals: {serviceType: Authentication}
  - drop_fields.fields: ['/^@/']
  - convert: {fields: [{from: description, type: long}]}
";

/// A family of series, as it was announced.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    /// The names of the labels, `le` of a histogram left out.
    pub(super) labels: BTreeSet<String>,
}

/// All that was told.
pub(super) struct Told {
    /// `/metrics`, by what the instance was doing.
    pub(super) metrics: Vec<(&'static str, String)>,
    /// Events of all types.
    pub(super) events: Vec<Value>,
    /// What `export template` prints.
    pub(super) template: Value,
}

static TOLD: OnceCell<Told> = OnceCell::const_new();

/// What the real binary told.
pub(super) async fn told() -> &'static Told {
    TOLD.get_or_init(gather).await
}

impl Told {
    /// Every family that was there at one time.
    pub(super) fn families(&self) -> BTreeMap<String, Family> {
        let mut all: BTreeMap<String, Family> = BTreeMap::new();
        for (_, text) in &self.metrics {
            for (name, family) in families(text) {
                let known = all.entry(name).or_default();
                known.kind = family.kind;
                known.labels.extend(family.labels);
            }
        }
        all
    }

    /// Every name that an expression can ask for, and the labels there.
    pub(super) fn samples(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut samples = BTreeMap::new();
        for (name, family) in self.families() {
            if family.kind == "histogram" {
                let mut with_le = family.labels.clone();
                with_le.insert("le".to_owned());
                samples.insert(format!("{name}_bucket"), with_le);
                samples.insert(format!("{name}_sum"), family.labels.clone());
                samples.insert(format!("{name}_count"), family.labels);
            } else {
                samples.insert(name, family.labels);
            }
        }
        samples
    }
}

/// The families in an answer of `/metrics`. Every sample must belong to the one that was announced last.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            name.clone_into(&mut current);
            let family = Family {
                kind: kind.to_owned(),
                ..Family::default()
            };
            assert!(all.insert(current.clone(), family).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let (name, labels) = sample(line);
            let family = all.get_mut(&current).unwrap();
            let rest = name
                .strip_prefix(&current)
                .unwrap_or_else(|| panic!("{line} under {current}"));
            let parts: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(parts.contains(&rest), "{line} under {current}");
            family.labels.extend(
                labels
                    .into_iter()
                    .filter(|label| family.kind != "histogram" || label != "le"),
            );
        }
    }
    all
}

/// Name and names of the labels in `name{label="value",…} number`.
fn sample(line: &str) -> (&str, Vec<String>) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    rest = rest.strip_prefix('{').unwrap_or_default();
    while let Some((label, after)) = rest.split_once("=\"") {
        labels.push(label.trim_start_matches(',').to_owned());
        // To the quote that no backslash stands before.
        let mut escaped = false;
        let quote = after.find(|c: char| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        rest = &after[quote.unwrap() + 1..];
    }
    (name, labels)
}

async fn gather() -> Told {
    let cluster = Cluster::of(Setup {
        commands: format!(
            "{COMMANDS}  - {{type: localzone, interval: 1s}}\n  - {{type: capacity, interval: 1s}}\n"
        ),
        settings: PROCESSORS.to_owned(),
        ..Setup::default()
    })
    .await;
    let mut metrics = Vec::new();
    let (mut a, _) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let of_leader = [
        "ecsbeat_filtered_events_total{",
        "ecsbeat_processor_errors_total{",
        "ecsbeat_processor_protected_fields_total{",
        "ecsbeat_checkpoint_lag_seconds{",
        "ecsbeat_checkpoint_bytes ",
        "ecsbeat_etcd_db_size_bytes{",
        "ecsbeat_ha_last_renew_timestamp_seconds ",
    ];
    metrics.push((
        "leader",
        with("a leader", &of_leader, async || a.get("/metrics").await.body).await,
    ));
    let of_standby = ["ecsbeat_etcd_up{", "ecsbeat_ha_members 2"];
    metrics.push((
        "standby",
        with("a standby", &of_standby, async || b.get("/metrics").await.body).await,
    ));
    let arrived = cluster.bulk.documents();
    let mut events: Vec<Value> = arrived.iter().map(|document| document.json()).collect();

    a.stop().await.expect(0);
    b.led().await;
    cluster.sim.vdc(1).down().unwrap();
    cluster.bulk.set(BulkRule::always(BulkFault::Refuse));
    let of_degraded = [
        "ecsbeat_ha_failover_gap_seconds_count{",
        "ecsbeat_poll_errors_total{",
        "ecsbeat_output_up{output=\"elasticsearch\"} 0",
        "ecsbeat_output_write_errors_total{output=\"elasticsearch\"} ",
    ];
    let degraded = with("a degraded leader", &of_degraded, async || {
        b.get("/metrics").await.body
    })
    .await;
    metrics.push(("degraded", degraded));

    let (sim, home) = (world().await, Home::new());
    home.configure(&format!(
        "ecsbeat:\n{}http: {{enabled: true, host: 127.0.0.1, port: 0}}\noutput.console: {{}}\n",
        customers_with(&sim, &home, PASSWORD, &client_certificate(&home))
    ));
    let mut process = home.start(&[]);
    let address = process.http().await;
    let of_single = [
        "ecsbeat_ha_state 6",
        "ecsbeat_output_up{output=\"console\"} 1",
        "ecsbeat_certificate_not_after_timestamp_seconds{setting=\"ecsbeat.customers[sim].ssl.certificate\"} ",
    ];
    let single = with("a single node", &of_single, async || {
        get(address, "/metrics").await.body
    })
    .await;
    metrics.push(("single", single));
    process.stopped().await.expect(0);

    sim.vdc(1).down().unwrap();
    let other = Home::new();
    other.configure(&format!(
        "ecsbeat:\n{}output.console: {{}}\n",
        customers(&sim, &other)
    ));
    // One VDC of two fails.
    let once = other.run(&["--once"]).await;
    let lines = once.expect(1).stdout.lines();
    events.extend(lines.map(|line| serde_json::from_str::<Value>(line).unwrap()));
    events.extend(of_an_old_release().await);
    let template = other.run(&["export", "template"]).await;
    Told {
        metrics,
        events,
        template: serde_json::from_str(&template.expect(0).stdout).unwrap(),
    }
}

/// The settings of a customer that show a certificate to ECS, which nobody asks for there.
fn client_certificate(home: &Home) -> String {
    let pair = Authority::new("own").issue("ecsbeat", &[]);
    let certificate = home.write("client.pem", &pair.certificate);
    let key = home.write("client.key", &pair.key);
    format!(
        "reqtimeout: 5s\n    ssl.certificate: '{}'\n    ssl.key: '{}'",
        certificate.display(),
        key.display()
    )
}

/// Events of a release that has load and latencies on its dashboards.
async fn of_an_old_release() -> Vec<Value> {
    let sim = Sim::start(Config {
        profile: Profile::V3_1,
        vdcs: 1,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n{}  commands: [{{type: localzone}}, {{type: nodes}}]\noutput.console: {{}}\n",
        customers(&sim, &home)
    ));
    let once = home.run(&["--once"]).await;
    let lines = once.expect(0).stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An answer that has all of these in it, each at the beginning of a line.
async fn with(who: &str, wanted: &[&str], ask: impl AsyncFn() -> String) -> String {
    until(&format!("{wanted:?} of {who}"), SOON, async || {
        let text = ask().await;
        let is_there = |wanted: &&str| text.lines().any(|line| line.starts_with(*wanted));
        wanted.iter().all(is_there).then_some(text)
    })
    .await
}
