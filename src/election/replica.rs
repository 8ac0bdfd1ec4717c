//! Runs one replica: the loop that carries out what the state machine decides.
//!
//! Owns the loop, its thread and its channels. The thread has a runtime of its own, so that neither busy workers nor
//! a stuck output starve the renewals. It decides nothing by itself, and never waits for the work: tenures go out on
//! a channel, their end comes back on another.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::gate::Tenure;
use super::gatekeeper::{Gatekeeper, Watch};
use super::lease_file::{LeaseFile, Legacy};
use super::machine::{Effect, Fatal, Input, Machine, Now, Settings};
use super::notes::Notes;
use super::order::{Done, Refused, Slip};
use crate::clock::Clock;
use crate::dcs::{Answer, Dcs, DcsError, Hint};
use crate::heartbeat::Heartbeat;
use crate::status::{State, Status};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics_ha::WhyLabels;

/// The loop comes round at least so often.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// The loop does not come round more often than this without news.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// What a request may take beyond its budget before it counts as forgotten.
const FORGOTTEN: Duration = Duration::from_secs(2);
/// News of keys that may wait.
const HINTS: usize = 64;

/// What a replica needs.
#[derive(Debug)]
pub struct Equipment<D> {
    /// Who it is, and its timers.
    pub settings: Settings,
    /// The store.
    pub dcs: Arc<D>,
    /// Tells the time.
    pub clock: Clock,
    /// Where it tells how it fares.
    pub status: Arc<Status>,
    /// Stamped by the loop.
    pub heartbeat: Heartbeat,
    /// Counted here.
    pub metrics: Metrics,
    /// Operators' orders.
    pub orders: mpsc::Receiver<Slip>,
}

/// The work's end of a replica.
#[derive(Debug)]
pub struct Seat {
    /// Tenures, as they are won. For each of them [`Seat::ended`] is to be called, whatever became of it.
    tenures: mpsc::UnboundedReceiver<Tenure>,
    inputs: mpsc::UnboundedSender<Input>,
    outcome: oneshot::Receiver<Result<(), ReplicaError>>,
}

/// Tells the replica what the work finds.
#[derive(Debug, Clone)]
pub struct Report(mpsc::UnboundedSender<Input>);

/// Why a replica has ended that was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// It must not go on.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The system refused a thread or a runtime.
    #[error("the election cannot run: {0}")]
    System(#[from] std::io::Error),
    /// The loop broke off.
    #[error("the election ended unexpectedly; this is a defect, please report it with the log")]
    Died,
}

impl Seat {
    /// The next tenure; `None` when the replica has ended. It may be over already.
    pub async fn tenure(&mut self) -> Option<Tenure> {
        self.tenures.recv().await
    }

    /// Every task that worked under a tenure has ended.
    pub fn ended(&self, tenure: &Tenure) {
        // Nobody is there any more when the process ends.
        let _ = self.inputs.send(Input::Ended { term: tenure.term() });
    }

    /// Gives back what is held and ends.
    pub fn stop(&self) {
        let _ = self.inputs.send(Input::Stop);
    }

    /// For those who find out something that the election must know.
    pub fn report(&self) -> Report {
        Report(self.inputs.clone())
    }

    /// Waits until the replica has ended.
    pub async fn outcome(&mut self) -> Result<(), ReplicaError> {
        (&mut self.outcome).await.unwrap_or(Err(ReplicaError::Died))
    }
}

impl Report {
    /// A fenced write under this term was refused.
    pub fn fenced(&self, term: u64) {
        let _ = self.0.send(Input::Fenced { term });
    }

    /// What this instance sees of outputs and VDCs.
    pub fn probed(&self, probe: crate::cluster::Probe) {
        let _ = self.0.send(Input::Probed(probe));
    }
}

/// Starts a replica on a thread of its own. `data` is the locked directory where its lease is remembered.
pub fn start<D: Dcs>(mut equipment: Equipment<D>, data: &Path) -> Result<Seat, ReplicaError> {
    let file = LeaseFile::new(data);
    let legacy = file.read();
    equipment.settings.predecessor = legacy.lease;
    equipment.settings.reigned = legacy.reigned;
    let (inputs, heard) = mpsc::unbounded_channel();
    let (tenures, given) = mpsc::unbounded_channel();
    let (told, outcome) = oneshot::channel();
    let gatekeeper = Gatekeeper::start(Watch {
        clock: equipment.clock.clone(),
        heartbeat: equipment.heartbeat.clone(),
        ttl: equipment.settings.ttl,
        news: inputs.clone(),
        metrics: equipment.metrics.ha.clone(),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("election".to_owned())
        .spawn(move || {
            let result = runtime.block_on(async {
                Replica::new(equipment, file, tenures, gatekeeper)
                    .run(heard)
                    .await
            });
            // A write of a hung disk must not hold up the end.
            runtime.shutdown_timeout(Duration::from_millis(100));
            let _ = told.send(result);
        })?;
    Ok(Seat {
        tenures: given,
        inputs,
        outcome,
    })
}

struct Replica<D> {
    machine: Machine,
    me: Arc<str>,
    dcs: Arc<D>,
    clock: Clock,
    status: Arc<Status>,
    heartbeat: Heartbeat,
    orders: mpsc::Receiver<Slip>,
    tenures: mpsc::UnboundedSender<Tenure>,
    gatekeeper: Gatekeeper,
    /// The newest tenure, until its work has ended.
    tenure: Option<Tenure>,
    asked: FuturesUnordered<BoxFuture<'static, (u64, Answer)>>,
    slips: HashMap<u64, oneshot::Sender<Result<Done, Refused>>>,
    next_slip: u64,
    memory: Memory,
    notes: Notes,
    denied: Family<WhyLabels, Counter>,
    seen: Option<Duration>,
}

impl<D: Dcs> Replica<D> {
    fn new(
        equipment: Equipment<D>,
        file: LeaseFile,
        tenures: mpsc::UnboundedSender<Tenure>,
        gatekeeper: Gatekeeper,
    ) -> Self {
        Self {
            me: Arc::from(&*equipment.settings.me.instance),
            machine: Machine::new(equipment.settings),
            dcs: equipment.dcs,
            clock: equipment.clock,
            status: equipment.status,
            heartbeat: equipment.heartbeat,
            orders: equipment.orders,
            tenures,
            gatekeeper,
            tenure: None,
            asked: FuturesUnordered::new(),
            slips: HashMap::new(),
            next_slip: 0,
            memory: Memory::new(file),
            denied: equipment.metrics.ha.gate_denied.clone(),
            notes: Notes::new(equipment.metrics.ha),
            seen: None,
        }
    }

    async fn run(mut self, mut heard: mpsc::UnboundedReceiver<Input>) -> Result<(), ReplicaError> {
        let (hints, mut hinted) = mpsc::channel::<Hint>(HINTS);
        let mut watching = JoinSet::new();
        let dcs = Arc::clone(&self.dcs);
        watching.spawn(async move { dcs.watch(hints).await });
        let mut ordered = true;
        let mut input = Input::Time;
        loop {
            self.heartbeat.beat();
            let begun = Instant::now();
            if let Input::Ended { term } = input {
                self.gatekeeper.ended(term);
            }
            let effects = self.machine.handle(self.now(), input);
            for effect in &effects {
                if let Effect::Note(note) = effect {
                    self.notes.tell(note);
                }
            }
            // Endpoints know before anybody else can.
            self.show();
            if let Some(end) = self.carry_out(effects) {
                self.memory.settle().await;
                return end.map_err(ReplicaError::from);
            }
            self.notes.turned(begun.elapsed());
            let wait = self.machine.wake_at().saturating_sub(self.clock.since_boot());
            let wait = wait.clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
            input = tokio::select! {
                biased;
                Some(told) = heard.recv() => told,
                Some((ticket, answer)) = self.asked.next(), if !self.asked.is_empty() => Input::Answered {
                    ticket,
                    sent: answer.sent,
                    result: answer.result,
                },
                Some(hint) = hinted.recv() => Input::Hint(hint),
                _ = watching.join_next() => return Err(ReplicaError::Died),
                slip = self.orders.recv(), if ordered => {
                    ordered = slip.is_some();
                    slip.map_or(Input::Time, |slip| self.take_order(slip))
                }
                () = tokio::time::sleep(wait) => Input::Time,
            };
        }
    }

    fn now(&self) -> Now {
        Now {
            boot: self.clock.since_boot(),
            wall: self.clock.now(),
        }
    }

    fn take_order(&mut self, (order, answer): Slip) -> Input {
        self.next_slip += 1;
        self.slips.insert(self.next_slip, answer);
        self.slips.retain(|_, answer| !answer.is_closed());
        Input::Order {
            slip: self.next_slip,
            order,
        }
    }

    /// Does what the machine has decided; `Some` = the loop ends.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Result<(), Fatal>> {
        let mut end = None;
        for effect in effects {
            match effect {
                Effect::Ask {
                    ticket,
                    request,
                    budget,
                } => {
                    let dcs = Arc::clone(&self.dcs);
                    let sent = self.clock.since_boot();
                    self.asked.push(Box::pin(async move {
                        let answer = tokio::time::timeout(budget + FORGOTTEN, dcs.ask(request, budget)).await;
                        let answer = answer.unwrap_or_else(|_| Answer {
                            sent,
                            endpoint: Arc::from(""),
                            result: Err(DcsError::Unanswered("no answer within its budget".to_owned())),
                        });
                        (ticket, answer)
                    }));
                }
                Effect::Lead { term, deadline } => {
                    let tenure =
                        Tenure::new(&self.me, term, deadline, self.clock.clone(), self.denied.clone());
                    self.gatekeeper.keep(tenure.clone());
                    self.tenure = Some(tenure.clone());
                    let _ = self.tenures.send(tenure);
                }
                Effect::Extend { deadline } => self.with_tenure(|tenure| tenure.extend(deadline)),
                Effect::Doubt => self.with_tenure(Tenure::doubt),
                Effect::Trust => self.with_tenure(Tenure::trust),
                Effect::Drain => self.with_tenure(Tenure::drain),
                Effect::Close => self.with_tenure(Tenure::close),
                Effect::Remember { lease, term } => self.memory.remember(Legacy { lease, reigned: term }),
                Effect::Answer { slip, result } => {
                    if let Some(answer) = self.slips.remove(&slip) {
                        let _ = answer.send(result);
                    }
                }
                Effect::Note(_) => {}
                Effect::Halt(fatal) => end = Some(fatal.map_or(Ok(()), Err)),
            }
        }
        end
    }

    fn with_tenure(&self, act: impl FnOnce(&Tenure)) {
        if let Some(tenure) = &self.tenure {
            act(tenure);
        }
    }

    /// Tells the endpoints how things stand.
    fn show(&mut self) {
        let state = self.machine.state();
        let leadership = self.machine.leadership();
        self.notes.stand(state, &leadership, self.clock.now());
        let leads = state == State::Leader;
        // Who leads is never shown without its deadline.
        if leads {
            self.status.tell_leadership(leadership.clone());
        }
        if self.status.state().0 != state {
            self.status.enter(state, self.clock.now());
        }
        if !leads {
            self.status.tell_leadership(leadership);
        }
        let cluster = self.machine.cluster();
        if cluster.seen != self.seen {
            self.seen = cluster.seen;
            self.status.tell_cluster(cluster);
        }
    }
}

/// Writes what the next process needs to disk, one write after the other and the newest last, without holding up the loop.
struct Memory {
    legacies: Option<mpsc::UnboundedSender<Legacy>>,
    writer: JoinSet<()>,
    /// What was written last; `None` = nothing yet.
    last: Option<Legacy>,
}

impl Memory {
    fn new(file: LeaseFile) -> Self {
        let (legacies, mut given) = mpsc::unbounded_channel::<Legacy>();
        let mut writer = JoinSet::new();
        writer.spawn_blocking(move || {
            while let Some(mut legacy) = given.blocking_recv() {
                while let Ok(newer) = given.try_recv() {
                    legacy = newer;
                }
                if let Err(error) = file.write(legacy) {
                    tracing::warn!(%error, "the lease was not written to path.data; after a crash the takeover waits for its end");
                }
            }
        });
        Self {
            legacies: Some(legacies),
            writer,
            last: None,
        }
    }

    fn remember(&mut self, legacy: Legacy) {
        if self.last != Some(legacy)
            && let Some(legacies) = &self.legacies
        {
            self.last = Some(legacy);
            let _ = legacies.send(legacy);
        }
    }

    /// Waits for the last write, for a short while.
    async fn settle(&mut self) {
        self.legacies = None;
        let _ = tokio::time::timeout(Duration::from_millis(300), self.writer.join_next()).await;
    }
}
