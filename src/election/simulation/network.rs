//! The network between replicas and etcd, and the attempts to get through it.
//!
//! Owns what the product's client does (one attempt after the other until one is answered or the budget is used up,
//! with the time at which each was sent) and what may become of an attempt: lost on the way there, lost on the way
//! back, done long after it was given up. The watch tells as much as it happens to.

use std::rc::Rc;
use std::time::Duration;

use super::dice::{Use, between, chance, dice, millis};
use super::invariants::Failure;
use super::schedule::{Cut, Weather};
use super::world::{Event, World};
use crate::cluster::{CHECKPOINTS, LEADER};
use crate::dcs::{DcsError, Hint, Request, Response};
use crate::election::machine::Input;

/// Endpoints that are tried before a failure at once counts as one of all.
const ENDPOINTS: u32 = 3;

/// Requests in flight at most: one in each lane, and those that were given up for something more urgent, which a stop
/// in the middle of a loss makes two.
const MOST_ASKED: usize = 4;

/// Tickets from here on are those of the checkpoints, which have a lane of their own.
pub(super) const LANE: u64 = 1 << 63;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Rc<Request>,
    /// Local time.
    until: Duration,
    /// Which one is under way.
    attempt: u32,
}

impl World<'_> {
    /// A request goes out.
    pub(super) fn ask(
        &mut self,
        index: usize,
        ticket: u64,
        request: Rc<Request>,
        until: Duration,
    ) -> Result<(), Failure> {
        let asked = Asked {
            request,
            until,
            attempt: 0,
        };
        let process = &mut self.processes[index];
        process.asked.insert(ticket, asked);
        let waiting = process.asked.range(..LANE).count();
        if waiting > MOST_ASKED {
            let text = format!("{} waits for {waiting} answers", process.incarnation);
            return Err(self.failure("two lanes", text));
        }
        self.attempt(index, ticket);
        Ok(())
    }

    fn weather(&self) -> Weather {
        if self.is_quiet() {
            Weather::default()
        } else {
            self.schedule.weather
        }
    }

    /// What cuts the host off at this time.
    fn cut(&self, host: usize) -> Option<(Cut, bool)> {
        let host = &self.hosts[host];
        host.cut.filter(|_| self.now < host.cut_until)
    }

    fn attempt(&mut self, index: usize, ticket: u64) {
        let process = &self.processes[index];
        let Some(asked) = process.asked.get(&ticket) else {
            return;
        };
        let (attempt, request) = (asked.attempt, Rc::clone(&asked.request));
        let host = process.host;
        let mut rng = dice(
            self.schedule.seed,
            Use::Attempt,
            [process.uid, ticket, u64::from(attempt)],
        );
        let clock = self.hosts[host].clock;
        let sent = clock.shows(self.now);
        let most = (self.schedule.timers.retry_timeout / 2).min(Duration::from_secs(1));
        let patience = most.min(asked.until.saturating_sub(sent));
        let give_up = Event::GiveUp {
            process: index,
            ticket,
            attempt,
        };
        self.at(clock.when(sent + patience), give_up);

        let weather = self.weather();
        let leg = |rng: &mut fastrand::Rng| {
            if chance(rng, weather.slow) {
                millis(rng, 1, 900)
            } else {
                millis(rng, 0, 3)
            }
        };
        let mut there = leg(&mut rng);
        let mut back = Some(leg(&mut rng));
        if chance(&mut rng, weather.answer_lost) {
            back = None;
        }
        let lost = chance(&mut rng, weather.request_lost);
        if chance(&mut rng, weather.late) {
            there = between(&mut rng, most, self.schedule.timers.ttl * 2);
            if self.now + there > self.quiet_at {
                return;
            }
        }
        match self.cut(host) {
            Some((Cut::Both | Cut::Requests, true)) => {
                there = self.hosts[host].cut_until.saturating_sub(self.now) + millis(&mut rng, 0, 500);
            }
            Some((Cut::Both | Cut::Requests, false)) => return,
            _ if lost => return,
            _ => {}
        }
        let arrive = Event::Arrive {
            process: index,
            ticket,
            attempt,
            sent,
            back,
            request,
        };
        self.after(there, arrive);
    }

    /// A request reaches etcd.
    pub(super) fn arrive(
        &mut self,
        index: usize,
        (ticket, attempt, sent): (u64, u32, Duration),
        back: Option<Duration>,
        request: &Request,
    ) -> Result<(), Failure> {
        let result = if self.now < self.etcd_down_until {
            let mut rng = dice(self.schedule.seed, Use::Attempt, [ticket, u64::from(attempt), 7]);
            if chance(&mut rng, 50) {
                return Ok(());
            }
            Err(DcsError::Unanswered("connection refused".to_owned()))
        } else {
            self.before_applied(index, request)?;
            let leader = self.etcd.key(LEADER).map(|key| key.create_revision);
            let result = self.etcd.apply(self.now, request);
            self.applied(index, request, leader, &result)?;
            result
        };
        let cut = self.cut(self.processes[index].host);
        if matches!(cut, Some((Cut::Both | Cut::Answers, _))) {
            return Ok(());
        }
        if let Some(back) = back {
            let revision = self.etcd.revision();
            let event = Event::Back {
                process: index,
                ticket,
                attempt,
                sent,
                revision,
                result,
            };
            self.after(back, event);
        }
        Ok(())
    }

    /// An answer reaches the process, which may have given it up.
    pub(super) fn back(
        &mut self,
        index: usize,
        (ticket, attempt, sent): (u64, u32, Duration),
        revision: i64,
        result: Result<Response, DcsError>,
    ) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let Some(asked) = process
            .asked
            .get_mut(&ticket)
            .filter(|asked| asked.attempt == attempt)
        else {
            return Ok(());
        };
        if matches!(result, Err(DcsError::Unanswered(_))) && attempt + 1 < ENDPOINTS {
            asked.attempt += 1;
            self.attempt(index, ticket);
            return Ok(());
        }
        self.answered(index, ticket, sent, Some(revision), result)
    }

    /// An attempt was not answered in time.
    pub(super) fn give_up(&mut self, index: usize, ticket: u64, attempt: u32) -> Result<(), Failure> {
        let boot = self.clocks(index).boot;
        let process = &mut self.processes[index];
        let Some(asked) = process
            .asked
            .get_mut(&ticket)
            .filter(|asked| asked.attempt == attempt)
        else {
            return Ok(());
        };
        if boot < asked.until {
            asked.attempt += 1;
            self.attempt(index, ticket);
            return Ok(());
        }
        let error = DcsError::Unanswered("no answer in time".to_owned());
        self.answered(index, ticket, boot, None, Err(error))
    }

    fn answered(
        &mut self,
        index: usize,
        ticket: u64,
        sent: Duration,
        revision: Option<i64>,
        result: Result<Response, DcsError>,
    ) -> Result<(), Failure> {
        let Some(asked) = self.processes[index].asked.remove(&ticket) else {
            return Ok(());
        };
        if ticket >= LANE {
            return self.committed(index, ticket, result);
        }
        self.learns(index, (ticket, &asked.request), sent, revision, &result);
        self.tell(index, Input::Answered { ticket, sent, result })
    }

    /// Lets watches tell what has happened in etcd.
    pub(super) fn hint(&mut self, from: usize) {
        for number in from..self.etcd.happened().len() {
            let happened = &self.etcd.happened()[number];
            let watched = |key: &&String| !key.starts_with(CHECKPOINTS);
            let deleted: Vec<String> = happened.deleted.iter().filter(watched).cloned().collect();
            let revision = happened.revision.unsigned_abs();
            let put = happened.put.iter().any(|key| watched(&key));
            if deleted.is_empty() && !put {
                continue;
            }
            let mixed = !deleted.is_empty() && put;
            for index in 0..self.processes.len() {
                let process = &self.processes[index];
                let mut rng = dice(self.schedule.seed, Use::Hint, [process.uid, revision, 0]);
                let weather = self.weather();
                if !process.alive || chance(&mut rng, weather.hint_lost) || self.cut(process.host).is_some() {
                    continue;
                }
                let wait = if chance(&mut rng, weather.slow) {
                    millis(&mut rng, 1, 4000)
                } else {
                    millis(&mut rng, 0, 3)
                };
                let hint = if deleted.is_empty() || (mixed && chance(&mut rng, 50)) {
                    Hint::Changed
                } else {
                    Hint::Deleted(deleted.clone())
                };
                let input = Input::Hint(hint);
                self.after(
                    wait,
                    Event::Tell {
                        process: index,
                        input,
                    },
                );
            }
        }
    }

    /// A watch is connected again, sometimes without anybody noticing that it was not.
    pub(super) fn healed(&mut self, host: usize) {
        if let Some(process) = self.hosts[host].process {
            let uid = self.processes[process].uid;
            let mut rng = dice(self.schedule.seed, Use::Hint, [uid, self.now.as_secs(), 1]);
            if chance(&mut rng, 80) {
                let input = Input::Hint(Hint::Changed);
                self.after(millis(&mut rng, 0, 1000), Event::Tell { process, input });
            }
        }
    }
}
