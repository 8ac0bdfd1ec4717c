//! A replica: a host with its clock, and the processes that run on it one after the other.
//!
//! Owns what the election's loop does in the product: it brings the machine the time and its inputs, and carries out
//! its effects.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::application::Application;
use super::dice::{Use, dice, millis};
use super::invariants::Failure;
use super::network::Asked;
use super::schedule::Plan;
use super::world::{Event, World};
use crate::cluster::Probe;
use crate::dcs::LeaseId;
use crate::dcs::model::Drift;
use crate::election::machine::{Effect, Input, Machine, Me, Note, Now, Settings};

/// The most that a machine may be told within a second.
const MOST_A_SECOND: u32 = 300;

/// Where processes of one name run.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) plan: Plan,
    pub(super) clock: Drift,
    /// What the time of day is off by, seconds.
    pub(super) jumped: i64,
    pub(super) process: Option<usize>,
    /// How many processes there were.
    pub(super) starts: u64,
    /// The lease and the term that the next process knows of.
    pub(super) remembered: (Option<LeaseId>, u64),
    /// Runs under another host's name.
    pub(super) twin: bool,
    /// How long it stays down once its process has stopped.
    pub(super) down: Option<Duration>,
    /// Cut off from etcd until then.
    pub(super) cut_until: Duration,
    /// How, and whether what is sent meanwhile arrives afterwards.
    pub(super) cut: Option<(super::schedule::Cut, bool)>,
}

impl Host {
    /// The host of the schedule's `index`th replica.
    pub(super) fn new(index: usize, plan: &Plan) -> Self {
        Self {
            name: ["a", "b", "c", "d", "e"]
                .get(index)
                .map_or("z", |name| *name)
                .to_owned(),
            plan: plan.clone(),
            clock: Drift::new(plan.offset, plan.ppm),
            jumped: 0,
            process: None,
            starts: 0,
            remembered: (None, 0),
            twin: false,
            down: None,
            cut_until: Duration::ZERO,
            cut: None,
        }
    }
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) host: usize,
    pub(super) machine: Machine,
    pub(super) incarnation: String,
    /// The same for the same process of a smaller schedule.
    pub(super) uid: u64,
    pub(super) alive: bool,
    pub(super) paused: bool,
    /// What became due during a pause.
    pub(super) missed: Vec<Event>,
    pub(super) asked: BTreeMap<u64, Asked>,
    /// The last ticket that was no renewal: the machine waits for no other.
    pub(super) question: u64,
    pub(super) work: Option<Application>,
    /// Orders that wait for an answer, and since when.
    pub(super) slips: BTreeMap<u64, Duration>,
    /// Since when it is to stop, and for how long it was paused since.
    pub(super) stopping: Option<(Duration, Duration)>,
    /// Leases that it has given back, or is about to.
    pub(super) given_back: BTreeSet<LeaseId>,
    /// The revision of etcd that it was last told of.
    pub(super) told: i64,
    /// Local time since which its tenure is in doubt, by what it was told.
    pub(super) doubt: Option<Duration>,
    /// A race was not answered, and nothing was read since.
    pub(super) blind: bool,
    /// How often it lost a tenure.
    pub(super) losses: u32,
    turn: u64,
    wake_at: Duration,
    /// Times in a row that the machine wanted to be woken at once.
    spins: u32,
    /// The second, and how often it was told something in it.
    told_in: (u64, u32),
}

impl World<'_> {
    /// A process starts on a host, unless one runs there.
    pub(super) fn start(&mut self, index: usize) -> Result<(), Failure> {
        let name = self.hosts[index].name.clone();
        if self.hosts[index].process.is_some() {
            return Ok(());
        }
        let host = &mut self.hosts[index];
        host.starts += 1;
        let incarnation = if host.twin {
            format!("{name}{}'{}", host.starts, index)
        } else {
            format!("{name}{}", host.starts)
        };
        let timers = &self.schedule.timers;
        let boot = host.clock.shows(self.now);
        let (predecessor, reigned) = if host.plan.remembers {
            host.remembered
        } else {
            (None, 0)
        };
        let settings = Settings {
            me: Me {
                instance: name.clone(),
                incarnation: incarnation.clone(),
                address: format!("http://{name}:5066"),
                version: "1".to_owned(),
                config_hash: format!("c{}", host.plan.config),
                identity_hash: "i".to_owned(),
                priority: host.plan.priority,
                since: Timestamp::UNIX_EPOCH,
            },
            ttl: timers.ttl,
            loop_wait: timers.loop_wait,
            retry_timeout: timers.retry_timeout,
            safety_margin: timers.safety_margin,
            drain_timeout: timers.drain_timeout,
            lock_delay: timers.lock_delay,
            race_delay: Duration::from_millis(200),
            refuse_mismatch: timers.refuse_mismatch,
            yield_after: timers.yield_after,
            predecessor,
            last_term: reigned,
            reigned,
        };
        let uid = host.starts + 1000 * (index as u64 + 1);
        let yields = timers.yield_after.is_some();
        host.process = Some(self.processes.len());
        self.processes.push(Process {
            host: index,
            machine: Machine::new(settings),
            incarnation,
            uid,
            alive: true,
            paused: false,
            missed: Vec::new(),
            asked: BTreeMap::new(),
            question: 0,
            work: None,
            slips: BTreeMap::new(),
            stopping: None,
            given_back: BTreeSet::new(),
            told: 0,
            doubt: None,
            blind: false,
            losses: 0,
            turn: 0,
            wake_at: Duration::MAX,
            spins: 0,
            told_in: (0, 0),
        });
        let process = self.processes.len() - 1;
        self.note(process, || {
            format!("starts, lease of predecessor {predecessor:?}, clock {boot:?}")
        });
        if yields {
            let input = Input::Probed(sight(true));
            self.after(Duration::from_millis(500), Event::Tell { process, input });
        }
        self.tell(process, Input::Time)
    }

    /// What the process's clocks show.
    pub(super) fn clocks(&self, index: usize) -> Now {
        let host = &self.hosts[self.processes[index].host];
        let wall = SignedDuration::try_from(self.now).unwrap_or(SignedDuration::ZERO)
            + SignedDuration::from_secs(1_700_000_000 + host.jumped);
        Now {
            boot: host.clock.shows(self.now),
            wall: Timestamp::UNIX_EPOCH.checked_add(wall).unwrap_or(Timestamp::MAX),
        }
    }

    /// The time has come for which the machine asked last.
    pub(super) fn wake(&mut self, index: usize, turn: u64) -> Result<(), Failure> {
        if self.processes[index].turn == turn {
            self.processes[index].wake_at = Duration::MAX;
            return self.tell(index, Input::Time);
        }
        Ok(())
    }

    /// The machine is told something, and what it decides is done.
    pub(super) fn tell(&mut self, index: usize, input: Input) -> Result<(), Failure> {
        if !self.processes[index].alive {
            return Ok(());
        }
        let now = self.clocks(index);
        if !matches!(input, Input::Time) {
            self.note(index, || format!("<- {}", super::trace::input(&input)));
        }
        self.before(index, &input);
        let woke = matches!(input, Input::Woke);
        let process = &mut self.processes[index];
        let effects = process.machine.handle(now, input);
        if woke && process.machine.leadership().deadline.is_some() {
            process.doubt = Some(now.boot);
        }
        let second = self.now.as_secs();
        process.told_in = match process.told_in {
            (known, count) if known == second => (known, count + 1),
            _ => (second, 1),
        };
        if process.told_in.1 > MOST_A_SECOND {
            let text = format!(
                "{} is busy: told {MOST_A_SECOND} times in a second",
                process.incarnation
            );
            return Err(self.failure("I7 no busy loop", text));
        }
        for effect in effects {
            self.carry_out(index, now, effect)?;
        }
        self.sleep(index, now)
    }

    /// Sees to it that the machine is woken when it wants to be.
    fn sleep(&mut self, index: usize, now: Now) -> Result<(), Failure> {
        let seed = self.schedule.seed;
        let process = &mut self.processes[index];
        if !process.alive {
            return Ok(());
        }
        let at = process.machine.wake_at();
        process.spins = if at <= now.boot { process.spins + 1 } else { 0 };
        if process.spins > 5 {
            let text = format!(
                "{} wants to be woken at {at:?}, which is past at {:?}, again and again",
                process.incarnation, now.boot
            );
            return Err(self.failure("I7 no busy loop", text));
        }
        if at == process.wake_at {
            return Ok(());
        }
        process.wake_at = at;
        process.turn += 1;
        if at == Duration::MAX {
            return Ok(());
        }
        let turn = process.turn;
        let late = millis(&mut dice(seed, Use::Wake, [process.uid, turn, 0]), 0, 2);
        let due = self.hosts[process.host].clock.when(at).max(self.now) + late;
        self.at(due, Event::Wake { process: index, turn });
        Ok(())
    }

    fn carry_out(&mut self, index: usize, now: Now, effect: Effect) -> Result<(), Failure> {
        if !matches!(
            effect,
            Effect::Remember { .. } | Effect::Note(Note::Renewed { .. })
        ) {
            self.note(index, || format!("-> {}", super::trace::effect(&effect)));
        }
        let process = &mut self.processes[index];
        let work = process.work.as_mut();
        match effect {
            Effect::Ask {
                ticket,
                request,
                budget,
            } => {
                self.asks(index, ticket, &request)?;
                self.ask(index, ticket, Rc::new(request), now.boot + budget)?;
            }
            Effect::Lead { term, deadline } => self.lead(index, term, deadline)?,
            Effect::Extend { deadline } => {
                if let Some(work) = work {
                    work.deadline = work.deadline.max(deadline);
                }
            }
            Effect::Doubt => {
                if let Some(work) = work {
                    work.doubted = true;
                }
            }
            Effect::Trust => {
                if let Some(work) = work {
                    work.doubted = false;
                }
            }
            Effect::Drain => self.drain(index),
            Effect::Close => self.close(index),
            Effect::Remember { lease, term } => {
                self.hosts[process.host].remembered = (lease, term);
            }
            Effect::Answer { slip, result } => self.order_answered(index, slip, &result)?,
            Effect::Note(note) => self.noted(index, &note)?,
            Effect::Halt(fatal) => self.halted(index, fatal.as_ref())?,
        }
        Ok(())
    }

    /// The process is no more. What it has sent may still arrive.
    pub(super) fn gone(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.alive = false;
        process.work = None;
        process.missed.clear();
        process.asked.clear();
        self.hosts[process.host].process = None;
    }
}

/// What a probe finds.
pub(super) fn sight(sees: bool) -> Probe {
    Probe {
        output: sees,
        ecs: sees,
        at: Timestamp::UNIX_EPOCH,
    }
}
