//! One of several replicas: work whenever this one holds the lease, checkpoints in etcd.
//!
//! Owns what happens between the election and the work: a tenure begins with reading the checkpoints, ends in order
//! when it is handed over and at once when it is lost, and its end is told as soon as every task has ended, whatever
//! the way. Who leads is not decided here.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::work::{Clients, Work};
use super::{App, AppError, Outcome, http_ended};
use crate::checkpoint::{FencedError, FencedStore, Store};
use crate::config::{Config, Ha};
use crate::dcs::etcd::EtcdStore;
use crate::election::Tenure;
use crate::election::machine::{Me, Settings};
use crate::election::order::Slip;
use crate::election::replica::{self, Equipment, Report, Seat};
use crate::http::ServerHandle;
use crate::version;

/// How much later than the one before it each replica races for the lease: many round trips to etcd, so that two rarely
/// race at once, and little enough that one which holds back does not hold up the others.
const RACE_DELAY: Duration = Duration::from_millis(100);

/// Of the time of a handover, what is left to the checkpoints of what was delivered in it, a quarter at most. When it is
/// over the gate closes, and what is not in etcd by then comes again.
const LAST_CHECKPOINTS: Duration = Duration::from_secs(1);

/// How a tenure's work ended.
enum End {
    /// It was handed over or lost.
    Over,
    /// A part of the process ended that must not.
    Died(&'static str),
}

impl App {
    /// Stands by and leads by turns until `stop`.
    pub(super) async fn run_replica(
        &self,
        ha: &Ha,
        orders: mpsc::Receiver<Slip>,
        stop: CancellationToken,
        companions: &mut JoinSet<()>,
        http: &mut Option<ServerHandle>,
    ) -> Result<Outcome, AppError> {
        let store = || {
            EtcdStore::new(
                &ha.etcd,
                &ha.cluster,
                ha.loop_wait,
                self.clock.clone(),
                self.metrics.clone(),
            )
        };
        // Connections belong to the runtime that opened them, and the election has one of its own.
        let checkpoints = Arc::new(store()?);
        let equipment = Equipment {
            settings: self.settings(ha),
            dcs: Arc::new(store()?),
            clock: self.clock.clone(),
            status: Arc::clone(&self.status),
            heartbeat: self.heartbeat.clone(),
            metrics: self.metrics.clone(),
            orders,
        };
        self.metrics.ha.priority.tell(Some(i64::from(ha.priority)));
        let mut seat = replica::start(equipment, &self.config.path.data)?;
        let report = seat.report();
        let beside = async {
            let survey = self.survey(&checkpoints, ha.retry_timeout);
            match ha.yield_after {
                Some(after) => tokio::join!(survey, self.look_around(after, report)).0,
                None => survey.await,
            }
        };
        // Where a part of the process ends that must not, the process ends, and the one after it revokes the lease.
        tokio::select! {
            result = self.take_turns(ha, &checkpoints, &mut seat, stop) => result,
            () = beside => Err(AppError::Died("the survey")),
            _ = companions.join_next() => Err(AppError::Died("a background task")),
            () = http_ended(http) => Err(AppError::Died("the HTTP server")),
        }
    }

    /// Works whenever there is a tenure, until the replica has ended.
    async fn take_turns(
        &self,
        ha: &Ha,
        checkpoints: &Arc<EtcdStore>,
        seat: &mut Seat,
        stop: CancellationToken,
    ) -> Result<Outcome, AppError> {
        let mut leaving: JoinSet<()> = JoinSet::new();
        let mut died = None;
        let mut stopping = false;
        loop {
            let tenure = tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    seat.stop();
                    continue;
                }
                tenure = seat.tenure() => tenure,
                Some(_) = leaving.join_next() => continue,
            };
            let Some(tenure) = tenure else { break };
            self.metrics.leader.set(1);
            let served = self
                .serve_tenure(ha, checkpoints, seat, &tenure, &stop, &mut stopping)
                .await;
            self.metrics.leader.set(0);
            self.status.forget_units();
            self.status.forget_outputs();
            self.metrics.forget_work();
            // The next leader waits for nothing but this.
            seat.ended(&tenure);
            match served {
                Ok((end, clients)) => {
                    if let Some(clients) = clients {
                        leaving.spawn(async move { clients.log_out(Instant::now()).await });
                    }
                    if let End::Died(part) = end {
                        died = Some(AppError::Died(part));
                    }
                }
                Err(error) => died = Some(error),
            }
            if died.is_some() && !stopping {
                stopping = true;
                seat.stop();
            }
        }
        let outcome = seat.outcome().await;
        while leaving.join_next().await.is_some() {}
        outcome?;
        died.map_or(Ok(Outcome::Well), Err)
    }

    /// The work of one tenure, from its beginning to its end.
    async fn serve_tenure(
        &self,
        ha: &Ha,
        dcs: &Arc<EtcdStore>,
        seat: &Seat,
        tenure: &Tenure,
        stop: &CancellationToken,
        stopping: &mut bool,
    ) -> Result<(End, Option<Clients>), AppError> {
        let report = seat.report();
        let fenced = match FencedStore::take_over(&**dcs, tenure, ha.retry_timeout).await {
            Ok(store) => store,
            Err(error) => {
                self.tell_fenced(&report, tenure, &error);
                return Ok((End::Over, None));
            }
        };
        let store = Store::Fenced(fenced.clone());
        let mut work = Work::begin(self, tenure, &store)?;
        let mut committing = JoinSet::new();
        {
            let (fenced, dcs, tenure) = (fenced.clone(), Arc::clone(dcs), tenure.clone());
            let (clock, budget, metrics) = (self.clock.clone(), ha.retry_timeout, self.metrics.ha.clone());
            committing.spawn(async move { fenced.commit(&*dcs, &tenure, &clock, budget, &metrics).await });
        }
        let end = loop {
            tokio::select! {
                biased;
                () = tenure.cancelled().cancelled() => break None,
                () = tenure.draining().cancelled() => break Some(End::Over),
                // The machine answers with a drain.
                () = stop.cancelled(), if !*stopping => {
                    *stopping = true;
                    seat.stop();
                }
                Some(ended) = committing.join_next() => match ended {
                    Ok(error) => {
                        self.tell_fenced(&report, tenure, &error);
                        // Without checkpoints nothing may go on, and the election decides what follows.
                        tenure.cancelled().cancelled().await;
                        break None;
                    }
                    Err(_) => break Some(End::Died("the writer of checkpoints")),
                },
                part = work.ended() => break Some(End::Died(part.unwrap_or("a worker"))),
            }
        };
        let Some(end) = end else {
            // Lost: at once, and nothing is flushed.
            let clients = work.drop_everything().await;
            committing.shutdown().await;
            return Ok((End::Over, Some(clients)));
        };
        let most = ha.drain_timeout.min(self.config.shutdown_timeout);
        let deadline = Instant::now() + most.saturating_sub((most / 4).min(LAST_CHECKPOINTS));
        let drained = tokio::select! {
            biased;
            () = tenure.cancelled().cancelled() => false,
            finished = async {
                let finished = work.finish(deadline).await;
                // What is acknowledged is not polled again by the next leader.
                let written = tokio::time::timeout_at(deadline.max(Instant::now() + ha.retry_timeout), store.flush());
                finished & written.await.is_ok()
            } => finished,
        };
        if !drained {
            tracing::warn!(
                term = tenure.term(),
                queued = self.metrics.queue_events.get(),
                "not everything was delivered before the handover; the next leader polls it again"
            );
        }
        let clients = work.drop_everything().await;
        committing.shutdown().await;
        Ok((end, Some(clients)))
    }

    /// A refused write means that another leads, whatever the watch has told so far.
    fn tell_fenced(&self, report: &Report, tenure: &Tenure, error: &FencedError) {
        if *error == FencedError::Over {
            return;
        }
        self.metrics.ha.fenced_writes.inc();
        tracing::error!(term = tenure.term(), %error, "checkpoints cannot be written, giving up this term");
        report.fenced(tenure.term());
    }

    fn settings(&self, ha: &Ha) -> Settings {
        Settings {
            me: Me {
                instance: ha.instance.clone(),
                incarnation: self.identity.ephemeral_id.to_string(),
                address: self.identity.address.to_string(),
                version: version::VERSION.to_owned(),
                config_hash: ha.config_hash.clone(),
                identity_hash: ha.identity_hash.clone(),
                priority: ha.priority,
                since: self.clock.now(),
            },
            ttl: ha.ttl,
            loop_wait: ha.loop_wait,
            retry_timeout: ha.retry_timeout,
            safety_margin: ha.safety_margin,
            drain_timeout: ha.drain_timeout,
            lock_delay: ha.lock_delay,
            race_delay: RACE_DELAY,
            refuse_mismatch: ha.refuse_mismatch,
            yield_after: ha.yield_after,
            predecessor: None,
            last_term: 0,
            reigned: 0,
        }
    }
}

/// Where others reach this instance's endpoints: `ha.advertise`, or the address they listen on, or, where that is
/// every address, the one this machine goes out by.
pub(super) fn advertised(config: &Config, bound: Option<SocketAddr>) -> String {
    if let Some(url) = config.ha.as_ref().and_then(|ha| ha.advertise.as_ref()) {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let Some(mut address) = bound else {
        return String::new();
    };
    if address.ip().is_unspecified()
        && let Some(outward) = outward()
    {
        address.set_ip(outward);
    }
    let tls = config
        .http
        .ssl
        .as_ref()
        .is_some_and(|ssl| ssl.enabled != Some(false));
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// The address of the default route's interface. Connecting a datagram socket sends nothing.
fn outward() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address for documentation: nothing is ever there.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}
