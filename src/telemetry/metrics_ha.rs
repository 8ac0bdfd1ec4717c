//! The series of the cluster: who leads, how the lease fares, what etcd says.
//!
//! Owns [`HaMetrics`]. What follows from [`Status`] is not kept up to date by anybody: [`HaMetrics::observe`] takes it
//! when somebody is about to read, with the rules and the clock that `/leader` answers by, so that the two can never
//! disagree. The rest is counted where it happens. On a single node there is the state, and that it leads; what has no
//! meaning there is absent or zero. No label of unbounded number: instances are never one.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::identity::Identity;
use super::known::Known;
use crate::status::Status;

/// Seconds that a request to etcd, or a turn of the loop, may take.
const BRIEF: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Seconds that nobody leads: from an orderly handover to an etcd that is away.
const GAP: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0,
];

/// Labels of a change of state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransitionLabels {
    /// [`crate::status::State::as_str`]
    pub from: &'static str,
    /// [`crate::status::State::as_str`]
    pub to: &'static str,
    /// A word out of a closed set.
    pub reason: &'static str,
}

/// Label of what went well or did not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabels {
    /// `ok`, or a word out of a closed set.
    pub result: &'static str,
}

/// Label of a change of leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabels {
    /// [`crate::cluster::Reason::as_str`]
    pub reason: &'static str,
}

/// Label of a permit that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WhyLabels {
    /// A word out of a closed set.
    pub why: &'static str,
}

/// Label of a clock that jumped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// A word out of a closed set.
    pub kind: &'static str,
}

/// Label of one etcd server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndpointLabels {
    /// Its URL, as configured.
    pub endpoint: String,
}

/// Label by which the dashboards of Kubernetes tell elections apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LockLabels {
    /// `ha.cluster`
    name: String,
}

/// What an etcd server says of itself.
#[derive(Debug, Clone, Copy)]
pub struct EtcdFigures {
    /// Bytes of its database on disk.
    pub size: u64,
    /// Bytes of them in use: what compaction has not freed.
    pub in_use: u64,
    /// Bytes that it may take.
    pub quota: u64,
    /// Errors and alarms.
    pub alarms: u64,
}

/// Every series of the cluster.
#[derive(Debug, Clone)]
pub struct HaMetrics {
    state: Gauge,
    is_leader: Gauge,
    master_status: Family<LockLabels, Gauge>,
    term: Known,
    lease_remaining: Known<f64>,
    cluster_unlocked: Known,
    members: Known,
    config_mismatch: Known,
    is_paused: Known,
    dcs_last_seen: Known<f64>,
    /// `ha.priority`
    pub priority: Known,
    /// Changes of this instance's state.
    pub transitions: Family<TransitionLabels, Counter>,
    /// Renewals of the lease.
    pub renewals: Family<ResultLabels, Counter>,
    /// How long a renewal took, seconds.
    pub renew_duration: Histogram,
    /// When the lease was last renewed, seconds since 1970.
    pub last_renew: Known<f64>,
    /// Permits that were refused.
    pub gate_denied: Family<WhyLabels, Counter>,
    /// Writes that etcd refused because another term has begun.
    pub fenced_writes: Counter,
    /// Jumps of a clock.
    pub clock_jumps: Family<KindLabels, Counter>,
    /// How long nobody led before this instance did, seconds.
    pub failover_gap: Family<CauseLabels, Histogram>,
    /// How long a turn of the election's loop took, its wait not included, seconds.
    pub loop_duration: Histogram,
    /// Whether a server answered when it was asked how it is.
    etcd_up: Family<EndpointLabels, Gauge>,
    etcd_db_size: Family<EndpointLabels, Gauge>,
    etcd_db_in_use: Family<EndpointLabels, Gauge>,
    etcd_db_quota: Family<EndpointLabels, Gauge>,
    etcd_alarms: Family<EndpointLabels, Gauge>,
    /// 1 while a server is of a release with known defects of leases.
    pub etcd_version_outdated: Known,
    checkpoint_commits: Family<ResultLabels, Counter>,
    /// Bytes that the checkpoints take in etcd.
    pub checkpoint_bytes: Known,
}

impl HaMetrics {
    /// All series, registered below `root`, which has no prefix.
    #[expect(clippy::too_many_lines, reason = "one entry for each series")]
    pub(super) fn register(root: &mut Registry) -> Self {
        let master_status = Family::<LockLabels, Gauge>::default();
        // The name that Kubernetes gives it.
        root.register(
            "leader_election_master_status",
            "1 while this instance leads",
            master_status.clone(),
        );
        let registry = root.sub_registry_with_prefix("ecsbeat");
        macro_rules! register {
            ($name:literal, $metric:expr, $help:literal) => {{
                let metric = $metric;
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
            ($name:literal, $unit:expr, $metric:expr, $help:literal) => {{
                let metric = $metric;
                registry.register_with_unit($name, $help, $unit, Clone::clone(&metric));
                metric
            }};
        }
        let new_gap: fn() -> Histogram = || Histogram::new(GAP);
        Self {
            master_status,
            state: register!(
                "ha_state",
                Gauge::default(),
                "0 starting, 1 standby, 2 candidate, 3 leader, 4 draining, 5 lost, 6 single, 7 stopped"
            ),
            is_leader: register!("ha_is_leader", Gauge::default(), "1 while this instance leads"),
            term: register!("ha_term", Known::default(), "Term of the known leader"),
            lease_remaining: register!(
                "ha_lease_remaining",
                Unit::Seconds,
                Known::default(),
                "What is left of the own tenure"
            ),
            cluster_unlocked: register!(
                "ha_cluster_unlocked",
                Known::default(),
                "1 while nobody leads, as far as is known"
            ),
            members: register!("ha_members", Known::default(), "Replicas that are alive"),
            config_mismatch: register!(
                "ha_config_mismatch",
                Known::default(),
                "1 while the configuration differs from the leader's"
            ),
            is_paused: register!("ha_is_paused", Known::default(), "1 while the cluster is paused"),
            dcs_last_seen: register!(
                "dcs_last_seen_timestamp",
                Unit::Seconds,
                Known::default(),
                "When etcd last answered"
            ),
            priority: register!("ha_priority", Known::default(), "ha.priority; 0 never leads"),
            transitions: register!("ha_transitions", Family::default(), "Changes of state"),
            renewals: register!("ha_renewals", Family::default(), "Renewals of the lease"),
            renew_duration: register!(
                "ha_renew_duration",
                Unit::Seconds,
                Histogram::new(BRIEF),
                "How long a renewal took"
            ),
            last_renew: register!(
                "ha_last_renew_timestamp",
                Unit::Seconds,
                Known::default(),
                "When the lease was last renewed"
            ),
            gate_denied: register!("ha_gate_denied", Family::default(), "Permits that were refused"),
            fenced_writes: register!(
                "ha_fenced_writes",
                Counter::default(),
                "Writes that etcd refused because another term has begun"
            ),
            clock_jumps: register!("ha_clock_jumps", Family::default(), "Jumps of a clock"),
            failover_gap: register!(
                "ha_failover_gap",
                Unit::Seconds,
                Family::new_with_constructor(new_gap),
                "How long nobody led before this instance did"
            ),
            loop_duration: register!(
                "ha_loop_duration",
                Unit::Seconds,
                Histogram::new(BRIEF),
                "How long a turn of the election took, its wait not included"
            ),
            etcd_up: register!(
                "etcd_up",
                Family::default(),
                "1 while an etcd server answers when it is asked how it is"
            ),
            etcd_db_size: register!(
                "etcd_db_size",
                Unit::Bytes,
                Family::default(),
                "Size of the database of an etcd server"
            ),
            etcd_db_in_use: register!(
                "etcd_db_in_use",
                Unit::Bytes,
                Family::default(),
                "What of its database an etcd server uses"
            ),
            etcd_db_quota: register!(
                "etcd_db_quota",
                Unit::Bytes,
                Family::default(),
                "What the database of an etcd server may grow to"
            ),
            etcd_alarms: register!(
                "etcd_alarms",
                Family::default(),
                "Errors and alarms that an etcd server tells"
            ),
            etcd_version_outdated: register!(
                "etcd_version_outdated",
                Known::default(),
                "1 while an etcd server is of a release with known defects of leases"
            ),
            checkpoint_commits: register!(
                "checkpoint_commits",
                zeroes(["ok", "failed"]),
                "Writes of checkpoints, and what came of them"
            ),
            checkpoint_bytes: register!(
                "checkpoint",
                Unit::Bytes,
                Known::default(),
                "Bytes that the checkpoints take in etcd"
            ),
        }
    }

    /// An etcd server was asked how it is; `None` = it did not answer, and what it said before may no longer be so.
    pub fn etcd_told(&self, endpoint: &str, told: Option<EtcdFigures>) {
        let labels = EndpointLabels {
            endpoint: endpoint.to_owned(),
        };
        self.etcd_up.get_or_create(&labels).set(i64::from(told.is_some()));
        for (gauge, value) in [
            (&self.etcd_db_size, told.map(|told| told.size)),
            (&self.etcd_db_in_use, told.map(|told| told.in_use)),
            (&self.etcd_db_quota, told.map(|told| told.quota)),
            (&self.etcd_alarms, told.map(|told| told.alarms)),
        ] {
            if let Some(value) = value {
                gauge
                    .get_or_create(&labels)
                    .set(i64::try_from(value).unwrap_or(i64::MAX));
            } else {
                gauge.remove(&labels);
            }
        }
    }

    /// A checkpoint was written, or not: `ok`, or a word out of a closed set.
    pub fn count_checkpoint(&self, result: &'static str) {
        self.checkpoint_commits
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// Takes what the snapshots say at this moment, `since_boot`. For whoever is about to read.
    pub fn observe(&self, status: &Status, identity: &Identity, since_boot: Duration) {
        // State before leadership, as every reader of both.
        let (told, _) = status.state();
        let leadership = status.leadership();
        let remaining = leadership.remaining(since_boot);
        let state = told.held(remaining);
        let leads = i64::from(state.leads());
        self.state.set(state as i64);
        self.is_leader.set(leads);
        let Some(name) = &identity.cluster else {
            return;
        };
        let lock = LockLabels {
            name: name.to_string(),
        };
        self.master_status.get_or_create(&lock).set(leads);
        let unlocked = leadership.leader_at(&identity.instance, since_boot).is_none();
        let cluster = status.cluster();
        let members = i64::try_from(cluster.members.len()).unwrap_or(i64::MAX);
        self.term
            .tell(Some(i64::try_from(leadership.term).unwrap_or(i64::MAX)));
        self.lease_remaining
            .tell(remaining.map(|left| left.as_secs_f64()));
        self.cluster_unlocked.tell(Some(i64::from(unlocked)));
        self.members.tell(cluster.seen.map(|_| members));
        self.config_mismatch
            .tell(Some(i64::from(leadership.config_mismatch)));
        self.is_paused.tell(Some(i64::from(leadership.paused)));
        self.dcs_last_seen.tell(leadership.dcs_last_seen.map(seconds));
    }
}

/// There from the start: what appears with its first failure would not be seen to have grown.
fn zeroes(results: [&'static str; 2]) -> Family<ResultLabels, Counter> {
    let family = Family::default();
    for result in results {
        drop(family.get_or_create(&ResultLabels { result }));
    }
    family
}

/// Seconds since 1970, as Prometheus counts time.
pub fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
