//! The state machine of one replica: what it does when, to lead alone or to stand by.
//!
//! Owns every decision of the election, as a pure function of the time and what it is told ([`Machine::handle`]): it
//! opens no socket, reads no clock and starts no task, so that tests can run it through any order of events. Two lanes
//! of requests are in flight at most: renewals of the lease, which nothing may hold up, and everything else in order.
//! It must never let a tenure begin while it cannot prove that its lease lives.

mod answers;
mod asking;
mod lead;
mod note;
mod orders;
mod race;
#[cfg(test)]
mod tests;
mod told;
mod vacancy;
mod view;

use std::time::Duration;

use jiff::Timestamp;

use self::asking::Purpose;
pub use self::note::{Fatal, Loss, Note};
use self::orders::Slip;
use self::race::Losses;
use self::vacancy::Measured;
use self::view::View;
use super::controls;
use super::order::{Done, Order, Refused};
use crate::cluster::{HistoryRecord, LeaderRecord, MemberRecord, Probe, Reason};
use crate::dcs::{DcsError, Hint, LeaseId, Request, Response};

/// The pause after a request that failed at once.
const PAUSE: Duration = Duration::from_millis(100);
/// How much longer than its `ttl` a lease may live at most, for whoever waits for its end.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);

/// What one replica goes by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who it is.
    pub me: Me,
    /// `ha.ttl`
    pub ttl: Duration,
    /// `ha.loop_wait`
    pub loop_wait: Duration,
    /// `ha.retry_timeout`
    pub retry_timeout: Duration,
    /// `ha.safety_margin`
    pub safety_margin: Duration,
    /// `ha.drain_timeout`
    pub drain_timeout: Duration,
    /// `ha.lock_delay`
    pub lock_delay: Duration,
    /// How much later than the one before it each replica races.
    pub race_delay: Duration,
    /// `ha.config_mismatch: refuse`
    pub refuse_mismatch: bool,
    /// `ha.yield_after`
    pub yield_after: Option<Duration>,
    /// The lease of a predecessor that is known to be dead: revoked first.
    pub predecessor: Option<LeaseId>,
    /// The highest term this instance ever knew in this etcd.
    pub last_term: u64,
    /// The last term in which a process before this one led that is known to be dead; 0 = none is known.
    pub reigned: u64,
}

/// Who a replica is.
#[derive(Debug, Clone)]
pub struct Me {
    /// `ha.instance`
    pub instance: String,
    /// New with every start.
    pub incarnation: String,
    /// Where its endpoints answer.
    pub address: String,
    /// Its release.
    pub version: String,
    /// See [`MemberRecord::config_hash`].
    pub config_hash: String,
    /// See [`MemberRecord::identity_hash`].
    pub identity_hash: String,
    /// `ha.priority`
    pub priority: u32,
    /// When it started.
    pub since: Timestamp,
}

/// The time.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since boot: what decisions go by.
    pub boot: Duration,
    /// Of day: for records only.
    pub wall: Timestamp,
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The time of [`Machine::wake_at`] has come.
    Time,
    /// The answer to [`Effect::Ask`].
    Answered {
        /// Of the question.
        ticket: u64,
        /// When the attempt that was answered was sent, since boot.
        sent: Duration,
        /// What came of it.
        result: Result<Response, DcsError>,
    },
    /// News of keys.
    Hint(Hint),
    /// The clocks jumped: the process or the machine was paused, or the time was set.
    Woke,
    /// A fenced write outside the election was refused: somebody else leads.
    Fenced {
        /// The term it was tried under.
        term: u64,
    },
    /// The work of a term has ended, every task of it.
    Ended {
        /// Which.
        term: u64,
    },
    /// The loop was stuck for longer than the lease allows.
    Stalled,
    /// An operator asks for something.
    Order {
        /// For the answer.
        slip: u64,
        /// What.
        order: Order,
    },
    /// What this instance sees of outputs and VDCs.
    Probed(Probe),
    /// The process is to stop.
    Stop,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the store.
    Ask {
        /// Comes back with the answer.
        ticket: u64,
        /// What.
        request: Request,
        /// How long it may take.
        budget: Duration,
    },
    /// A tenure begins.
    Lead {
        /// Its term.
        term: u64,
        /// Since boot.
        deadline: Duration,
    },
    /// The tenure lasts longer.
    Extend {
        /// Since boot.
        deadline: Duration,
    },
    /// Nothing may be sent until [`Effect::Trust`].
    Doubt,
    /// The tenure is as good as before.
    Trust,
    /// The work is to end in order.
    Drain,
    /// The tenure is over: the gate closes at once.
    Close,
    /// The lease that the next process on this machine may revoke; `None` = there is none any more.
    Remember {
        /// The lease.
        lease: Option<LeaseId>,
        /// The last term in which this instance led; 0 = in none.
        term: u64,
    },
    /// The answer to an order.
    Answer {
        /// Which.
        slip: u64,
        /// What came of it.
        result: Result<Done, Refused>,
    },
    /// For the log and the metrics.
    Note(Note),
    /// The machine has ended; `Some` = the process must not go on.
    Halt(Option<Fatal>),
}

/// A lease that was granted, as far as its end can be proven.
#[derive(Debug, Clone, Copy)]
struct Lease {
    id: LeaseId,
    ttl: Duration,
    /// When the last acknowledged grant or renewal was sent.
    sent: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Gets a lease and becomes a member.
    Joining,
    /// A member that does not lead.
    Following,
    /// Won, and waits for `lock_delay`.
    Settling { term: u64, until: Duration },
    /// Its tenure is open.
    Leading { term: u64 },
    /// Its work ends in order.
    Draining { term: u64, why: Reason, until: Duration },
    /// The gate is closed; what is left of the work is being ended.
    Closing { term: u64, why: Reason },
    /// The work has ended; the key or the lease is given back.
    Releasing { term: u64, why: Reason },
    /// The tenure was lost; `ended` = so has the work.
    Lost { term: u64, ended: bool },
    /// Gives its lease back, for good.
    Leaving { until: Duration },
    /// Has ended.
    Gone,
}

/// One replica.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    phase: Phase,
    lease: Option<Lease>,
    /// Leases of this instance's earlier lives.
    old_leases: Vec<LeaseId>,
    /// The member key is there, on the lease.
    registered: bool,
    /// The member record as it was last written.
    told: Option<MemberRecord>,
    /// Another process that holds this instance's name, and since when.
    clash: Option<(String, Duration)>,
    view: View,
    /// When the view was read; `None` = never yet.
    seen: Option<Duration>,
    last_seen: Option<Timestamp>,
    reachable: bool,
    /// The view may be outdated in what a race depends on.
    dirty: bool,
    /// Since when nobody leads.
    vacant_since: Option<Duration>,
    /// After which term.
    vacant_term: u64,
    /// The last such term that was told of.
    told_vacant: u64,
    /// The highest term in which this process led.
    reigned: u64,
    /// What was read of the leader's lease, and when it is to be read again.
    measured: Option<Measured>,
    measure_at: Option<Duration>,
    /// A term of this instance that is over, which etcd has not been told yet.
    conceding: Option<HistoryRecord>,
    /// The last leader that was seen; this instance, if it led since.
    former: Option<LeaderRecord>,
    losses: Losses,
    last_loss: Option<Loss>,
    history: Vec<HistoryRecord>,
    /// This term's history, until it is written.
    unwritten: Option<HistoryRecord>,
    /// This term's history, once it is written.
    written: Option<HistoryRecord>,
    /// When that was last written; 0 = not yet.
    history_revision: i64,
    /// When the clocks jumped; what was asked before says nothing about the time since.
    doubted: Option<Duration>,
    /// A term came out lower than one that was known.
    regressed: bool,
    was_lost: bool,
    joined_before: bool,
    stopping: bool,
    last_term: u64,
    probe: Option<Probe>,
    blind_since: Option<Duration>,
    yielded_at: Option<Duration>,
    /// When the last answer was asked for that showed the own term.
    confirmed: Duration,
    /// Nothing is written until what is there was seen.
    only_look: bool,
    renewing: Option<u64>,
    renew_at: Duration,
    /// When this instance may race, as far as it knows.
    race_at: Option<Duration>,
    /// When it was last told anything.
    handled_at: Duration,
    asking: Option<(u64, Purpose)>,
    /// The main lane rests until then.
    rest_until: Duration,
    look_at: Duration,
    /// When news of keys last came.
    hinted_at: Option<Duration>,
    /// Until when a process that is to stop tries to give the leadership back in order.
    release_by: Option<Duration>,
    slips: Vec<Slip>,
    tickets: u64,
    effects: Vec<Effect>,
}

impl Machine {
    /// A replica that has not asked anything yet. [`Machine::handle`] with [`Input::Time`] gets it going.
    pub fn new(settings: Settings) -> Self {
        Self {
            old_leases: settings.predecessor.into_iter().collect(),
            last_term: settings.last_term,
            reigned: settings.reigned,
            settings,
            phase: Phase::Joining,
            lease: None,
            registered: false,
            told: None,
            clash: None,
            view: View::default(),
            seen: None,
            last_seen: None,
            reachable: false,
            dirty: false,
            vacant_since: None,
            vacant_term: 0,
            told_vacant: 0,
            measured: None,
            measure_at: None,
            conceding: None,
            former: None,
            losses: Losses::default(),
            last_loss: None,
            history: Vec::new(),
            unwritten: None,
            written: None,
            history_revision: 0,
            doubted: None,
            regressed: false,
            was_lost: false,
            joined_before: false,
            stopping: false,
            probe: None,
            blind_since: None,
            yielded_at: None,
            confirmed: Duration::ZERO,
            only_look: false,
            renewing: None,
            renew_at: Duration::ZERO,
            race_at: None,
            handled_at: Duration::ZERO,
            asking: None,
            rest_until: Duration::ZERO,
            look_at: Duration::ZERO,
            hinted_at: None,
            release_by: None,
            slips: Vec::new(),
            tickets: 0,
            effects: Vec::new(),
        }
    }

    /// Takes what happened; gives what is to be done, in this order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.handled_at = now.boot;
        // The gate has closed by itself at the deadline, whatever has happened since.
        self.keep_deadline(now);
        match input {
            Input::Time => {}
            Input::Answered { ticket, sent, result } => self.answered(now, ticket, sent, result),
            Input::Hint(hint) => self.hinted(now, &hint),
            Input::Woke => self.woke(now),
            Input::Fenced { term } => {
                if self.holds() == Some(term) {
                    self.lose(now, Loss::Fenced);
                }
            }
            Input::Stalled => {
                if self.holds().is_some() {
                    self.lose(now, Loss::Stalled);
                }
            }
            Input::Ended { term } => self.ended(term),
            Input::Order { slip, order } => self.slips.push(Slip::new(slip, order, now.boot)),
            Input::Probed(probe) => self.probed(now, probe),
            Input::Stop => self.stopping = true,
        }
        self.advance(now);
        std::mem::take(&mut self.effects)
    }

    /// When to come back with [`Input::Time`], since boot, if nothing happens before.
    pub fn wake_at(&self) -> Duration {
        let mut at = Vec::new();
        let rests = self.rest_until > self.handled_at;
        if self.asking.is_none() {
            at.extend(rests.then_some(self.rest_until));
            let works = self.holds().is_some() || self.phase == Phase::Following;
            at.extend((works && !rests).then_some(self.look_at));
        }
        if self.renewable().is_some() && self.renewing.is_none() {
            at.push(self.renew_at);
        }
        match self.phase {
            Phase::Settling { until, .. } => {
                at.extend(self.doubted.is_none().then_some(until));
                at.push(self.deadline());
            }
            Phase::Draining { until, .. } => {
                at.push(until);
                at.push(self.deadline());
            }
            Phase::Leading { .. } => at.push(self.deadline()),
            Phase::Leaving { until } => at.push(until),
            Phase::Following if self.asking.is_none() && !rests => {
                at.extend(self.race_at);
                at.extend(self.measure_at.filter(|_| self.view.leader.is_some()));
            }
            _ => {}
        }
        // Once a stop has come so far.
        at.extend(self.release_by.filter(|by| *by > self.handled_at));
        at.into_iter().min().unwrap_or(Duration::MAX)
    }

    /// What follows from the phase and the time.
    fn advance(&mut self, now: Now) {
        self.keep_deadline(now);
        if self.stopping {
            self.stop(now);
        }
        match self.phase {
            Phase::Settling { term, until } if now.boot >= until && self.doubted.is_none() => {
                self.open(term);
            }
            Phase::Draining { term, why, until } if now.boot >= until => {
                self.effects.push(Effect::Close);
                self.phase = Phase::Closing { term, why };
            }
            Phase::Leaving { until } if now.boot >= until || self.lease.is_none() => self.go(),
            _ => {}
        }
        self.renew(now);
        self.ask_next(now);
    }

    /// Loses the tenure when its deadline has passed.
    fn keep_deadline(&mut self, now: Now) {
        if self.holds().is_some() && now.boot >= self.deadline() && !controls::gate_is_off() {
            self.lose(now, Loss::Deadline);
        }
    }

    fn hinted(&mut self, now: Now, hint: &Hint) {
        self.look_at = now.boot;
        self.hinted_at = Some(now.boot);
        // A leader that hears of its own end asks first: the news may be old.
        if let Hint::Deleted(keys) = hint
            && self.holds().is_none()
        {
            let led = self.view.leader.is_some();
            self.view.forget(keys);
            if led && self.view.leader.is_none() {
                self.vacant(now);
            }
        }
    }

    fn woke(&mut self, now: Now) {
        if self.holds().is_some() {
            self.doubted = Some(now.boot);
            self.effects.push(Effect::Doubt);
        }
    }

    /// The process is to stop: everything that can be given back is.
    fn stop(&mut self, now: Now) {
        let works = matches!(
            self.phase,
            Phase::Closing { .. } | Phase::Lost { ended: false, .. }
        );
        // The end of the work has a limit of its own.
        if self.holds().is_none() && !works {
            let most = now.boot + self.settings.retry_timeout / 2;
            self.release_by.get_or_insert(most);
        }
        match self.phase {
            Phase::Joining | Phase::Following | Phase::Lost { ended: true, .. } if !self.owes(now) => {
                self.leave(now);
            }
            Phase::Settling { term, .. } => {
                // What is in flight for the tenure is of no use any more.
                self.asking = None;
                let why = Reason::Graceful;
                self.phase = Phase::Releasing { term, why };
                self.stop(now);
            }
            Phase::Leading { term } => self.drain(now, term, Reason::Graceful),
            // The lease takes the leader key along.
            Phase::Releasing { term, why } if self.is_late(now) => self.released(now, term, why),
            _ => {}
        }
    }

    /// Whether a process that is to stop has used up its time for telling so.
    fn is_late(&self, now: Now) -> bool {
        self.release_by.is_some_and(|by| now.boot >= by)
    }

    /// Whether the others would have to wait if this process went now: it has not said yet that its term is over, or has
    /// perhaps just won one.
    fn owes(&self, now: Now) -> bool {
        let races = matches!(self.asking, Some((_, Purpose::Race)));
        (races || self.conceding.is_some()) && !self.is_late(now)
    }

    /// Gives the lease back, within the time that a stop may take for it.
    fn leave(&mut self, now: Now) {
        // What is in flight cannot do harm: without the lease it fails.
        self.asking = None;
        self.rest_until = Duration::ZERO;
        let begun = self
            .release_by
            .map_or(now.boot, |by| by.saturating_sub(self.settings.retry_timeout / 2));
        let until = begun + self.settings.retry_timeout;
        self.phase = Phase::Leaving { until };
    }

    /// The own term was there when this was asked.
    fn confirm(&mut self, sent: Duration) {
        if sent > self.confirmed {
            self.confirmed = sent;
            let deadline = self.deadline();
            self.effects.push(Effect::Extend { deadline });
        }
    }

    fn go(&mut self) {
        self.phase = Phase::Gone;
        self.effects.push(Effect::Halt(None));
    }

    /// The term whose gate is open, or about to be.
    fn holds(&self) -> Option<u64> {
        match self.phase {
            Phase::Settling { term, .. } | Phase::Leading { term } | Phase::Draining { term, .. } => {
                Some(term)
            }
            _ => None,
        }
    }

    /// When the gate closes. Never later than what the last acknowledged renewal proves.
    fn deadline(&self) -> Duration {
        self.lease.map_or(Duration::ZERO, |lease| {
            // A lease that lives proves nothing where the key was taken from it.
            let proven = match self.holds() {
                Some(_) => lease.sent.min(self.confirmed),
                None => lease.sent,
            };
            (proven + lease.ttl).saturating_sub(self.settings.safety_margin)
        })
    }

    fn note(&mut self, note: Note) {
        self.effects.push(Effect::Note(note));
    }
}
