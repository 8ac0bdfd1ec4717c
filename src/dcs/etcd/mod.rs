//! The real store: an etcd cluster, through one client a member.
//!
//! Owns [`EtcdStore`] and how it is made. The crate's own balancer is not used: it goes on sending a share of the
//! requests to a member that is down. Every wait has an end here; those of the crate have none where a stream is read.
//! Decides nothing about leases.

mod connect;
mod failure;
mod hangup;
mod keys;
mod member;
mod request;
mod rotation;
mod survey;
mod warning;
mod watch;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::{Answer, Dcs, Hint, Request};
use crate::clock::Clock;
use crate::config::Etcd;
use crate::telemetry::metrics::{DcsLabels, DcsOpLabels, Metrics};
use crate::tls::TlsError;
use connect::Connector;
use failure::Failure;
use keys::Base;
use member::Member;
use request::Granted;

pub use survey::{MemberState, Survey, Surveyed};
pub use warning::Warning;

/// `ha.etcd.*` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// A host.
    #[error("ha.etcd.hosts: {host}: {problem}")]
    Host {
        /// As it was given, without what may be a password.
        host: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// There is none.
    #[error("ha.etcd.hosts: is empty; list the members of the etcd cluster")]
    NoHosts,
    /// Certificates and keys.
    #[error("ha.etcd.{0}")]
    Tls(#[from] TlsError),
}

/// An etcd cluster.
#[derive(Debug)]
pub struct EtcdStore {
    members: Vec<Member>,
    /// The member that answered last: the next request goes there first.
    last: AtomicUsize,
    /// Told with each answer to a request.
    answered: Notify,
    base: Base,
    granted: Granted,
    probe_every: Duration,
    clock: Clock,
    metrics: Metrics,
}

impl EtcdStore {
    /// The store of `cluster`. Reads the certificates, reaches nobody. A watch that has been quiet for `probe_every`
    /// is asked whether it is alive.
    ///
    /// To be used from one runtime: a connection lives on the one that first used it, and is starved or ends with it.
    pub fn new(
        etcd: &Etcd,
        cluster: &str,
        probe_every: Duration,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, EtcdError> {
        let tls = connect::tls_config(&etcd.hosts, &etcd.ssl)?;
        let user = etcd.username.clone().zip(etcd.password.clone());
        let members = etcd
            .hosts
            .iter()
            .map(|url| {
                let connector = Connector::new(url, tls.as_ref())?;
                Ok(Member::new(Connector::name(url), connector, user.clone()))
            })
            .collect::<Result<Vec<_>, EtcdError>>()?;
        if members.is_empty() {
            return Err(EtcdError::NoHosts);
        }
        Ok(Self {
            members,
            last: AtomicUsize::new(0),
            answered: Notify::new(),
            base: Base::new(&etcd.prefix, cluster),
            granted: Granted::default(),
            probe_every,
            clock,
            metrics,
        })
    }

    fn last_index(&self) -> usize {
        self.last.load(Ordering::Relaxed) % self.members.len()
    }

    fn count<T>(&self, op: &'static str, member: &Member, took: Duration, outcome: &Result<T, Failure>) {
        let labels = DcsLabels {
            op,
            result: outcome.as_ref().map_or_else(Failure::word, |_| "ok"),
            endpoint: member.name.to_string(),
        };
        self.metrics.dcs_requests.get_or_create(&labels).inc();
        self.metrics
            .dcs_request_duration
            .get_or_create(&DcsOpLabels { op })
            .observe(took.as_secs_f64());
    }
}

impl Dcs for EtcdStore {
    async fn ask(&self, request: Request, budget: Duration) -> Answer {
        self.try_members(&request, budget).await
    }

    async fn watch(&self, hints: mpsc::Sender<Hint>) {
        watch::run(self, &hints).await;
    }
}
