//! The real store: an etcd cluster, through one client a member.
//!
//! Owns [`EtcdStore`] and the order in which members are asked. The crate's own balancer is not used: it goes on
//! sending a share of the requests to a member that is down. Every wait has an end here, those of the crate have none
//! where a stream is read. Never tries longer than it was given, and decides nothing about leases.

mod connect;
mod failure;
mod keys;
mod member;
mod request;
mod survey;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Answer, Dcs, DcsError, Hint, Request, Response};
use crate::clock::Clock;
use crate::config::Etcd;
use crate::telemetry::metrics::{DcsLabels, DcsOpLabels, Metrics};
use crate::tls::TlsError;
use connect::Connector;
use failure::Failure;
use keys::Base;
use member::Member;
use request::Granted;

pub use survey::{MemberState, Survey, Surveyed, Warning};

/// The longest and the shortest try of one member, the rest of the budget permitting.
const LONGEST_TRY: Duration = Duration::from_secs(1);
const SHORTEST_TRY: Duration = Duration::from_millis(100);
/// A round over all members that failed faster than this is followed by a pause.
const FAST_ROUND: Duration = Duration::from_millis(100);
/// The shortest such pause; the longest is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

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
    base: Base,
    granted: Granted,
    probe_every: Duration,
    clock: Clock,
    metrics: Metrics,
}

impl EtcdStore {
    /// The store of `cluster`. Reads the certificates, reaches nobody. A watch that has been quiet for `probe_every`
    /// is asked whether it is alive.
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

    /// One member, with a second login where it no longer knows the first. `attempt` tells how far it came, even
    /// when time runs out.
    async fn attempt(
        &self,
        member: &Member,
        request: &Request,
        attempt: &mut Attempt,
    ) -> Result<Response, Failure> {
        let mut again = false;
        loop {
            let client = member.client().await?;
            attempt.client = Some(Arc::clone(&client));
            attempt.sent = self.clock.since_boot();
            attempt.doubt = true;
            let done = request::perform(&client, &self.base, &self.granted, request).await;
            attempt.doubt = matches!(done, Err(Failure::Unanswered(_)));
            match done {
                Err(Failure::Stale { text, anonymous }) => {
                    member.discard(&client);
                    if again {
                        return Err(refused_login(text, anonymous));
                    }
                    again = true;
                }
                done => return done,
            }
        }
    }
}

/// How far one try came.
struct Attempt {
    /// Just before the request went out last.
    sent: Duration,
    /// What it went out with.
    client: Option<Arc<Client>>,
    /// It may have been done without an answer.
    doubt: bool,
}

/// A new login did not help.
fn refused_login(text: String, anonymous: bool) -> Failure {
    if anonymous {
        Failure::Refused(format!(
            "{text}: it wants to know who asks; set ha.etcd.username and ha.etcd.password"
        ))
    } else {
        // Somebody changes users at this very moment; another member or another try will do.
        Failure::Unanswered(text)
    }
}

impl Dcs for EtcdStore {
    async fn ask(&self, request: Request, budget: Duration) -> Answer {
        let end = Instant::now() + budget;
        let longest = (budget / 2).clamp(SHORTEST_TRY, LONGEST_TRY);
        let op = request::word(&request);
        let mut errors: Vec<Option<String>> = vec![None; self.members.len()];
        // An earlier try that may have been done, or may still be.
        let mut doubt = false;
        let mut round = Instant::now();
        let mut index = self.last_index();
        let mut tries = 0;
        loop {
            let Some(member) = self.members.get(index) else {
                index = 0;
                continue;
            };
            let limit = longest.min(end.saturating_duration_since(Instant::now()));
            let begin = Instant::now();
            let mut attempt = Attempt {
                sent: self.clock.since_boot(),
                client: None,
                doubt: false,
            };
            let outcome = match timeout(limit, self.attempt(member, &request, &mut attempt)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Late(limit)),
            };
            self.count(op, member, begin.elapsed(), &outcome);
            let answer = |result| Answer {
                sent: attempt.sent,
                endpoint: Arc::clone(&member.name),
                result,
            };
            let said = match outcome {
                Ok(response) => {
                    self.last.store(index, Ordering::Relaxed);
                    return answer(Ok(response));
                }
                Err(failure @ (Failure::Refused(_) | Failure::LeaseGone)) => {
                    self.last.store(index, Ordering::Relaxed);
                    let said = format!("{}: {}", member.name, failure.text());
                    return answer(Err(if doubt && request::leaves_traces(&request) {
                        // Nothing was done this time, but perhaps by the try before.
                        DcsError::Unanswered(format!("{said}; an earlier try was not answered"))
                    } else if failure == Failure::LeaseGone {
                        DcsError::NoLease
                    } else {
                        DcsError::Refused(said)
                    }));
                }
                Err(failure) => failure,
            };
            doubt |= attempt.doubt;
            if let (Failure::Late(_), Some(client), true) = (&said, &attempt.client, limit == longest) {
                // Perhaps only this connection is dead: what was sent into a black hole is repeated ever more rarely,
                // also when the hole has closed.
                member.discard(client);
            }
            if let Some(error) = errors.get_mut(index) {
                *error = Some(format!("{}: {}", member.name, said.text()));
            }
            index = (index + 1) % self.members.len();
            tries += 1;
            if tries % self.members.len() == 0 {
                if round.elapsed() < FAST_ROUND {
                    let pause = PAUSE + PAUSE.mul_f64(fastrand::f64());
                    sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
                }
                round = Instant::now();
            }
            if Instant::now() >= end {
                let errors: Vec<String> = errors.into_iter().flatten().collect();
                return answer(Err(DcsError::Unanswered(errors.join("; "))));
            }
        }
    }

    async fn watch(&self, hints: mpsc::Sender<Hint>) {
        watch::run(self, &hints).await;
    }
}
