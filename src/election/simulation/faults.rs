//! Faults, orders and administrators at work.
//!
//! Owns what each [`Fault`] does to the world when its time has come.

use std::time::Duration;

use super::dice::{Use, between, chance, dice};
use super::invariants::Failure;
use super::replica::{Host, sight};
use super::schedule::{Fault, Plan, Target, Woke};
use super::world::{Event, World};
use crate::cluster::{LEADER, LeaderRecord, member_key};
use crate::dcs::model::Drift;
use crate::dcs::{Operation, Request, Txn};
use crate::election::machine::{Fatal, Input};
use crate::election::order::Order;

impl World<'_> {
    /// The host whose process has the leader key, in the eyes of etcd.
    pub(super) fn leading_host(&self) -> Option<usize> {
        let key = self.etcd.key(LEADER)?;
        let record: LeaderRecord = serde_json::from_slice(&key.value).ok()?;
        let process = self
            .processes
            .iter()
            .find(|process| process.incarnation == record.incarnation)?;
        Some(process.host)
    }

    fn aim(&self, target: Target) -> Option<usize> {
        match target {
            Target::Host(host) => (host < self.schedule.hosts.len()).then_some(host),
            Target::Leader => self.leading_host(),
        }
    }

    /// The process that a fault hits, if one runs there.
    fn victim(&self, target: Target) -> Option<usize> {
        self.aim(target).and_then(|host| self.hosts[host].process)
    }

    /// The time of a fault has come.
    pub(super) fn fault(&mut self, number: usize) -> Result<(), Failure> {
        let Some((_, fault)) = self.schedule.faults.get(number).cloned() else {
            return Ok(());
        };
        self.remark("fault", || format!("{fault:?}"));
        let order = |world: &mut Self, target, order| {
            if let Some(process) = world.victim(target) {
                let slip = number as u64 + 1;
                world.processes[process].slips.insert(slip, world.now);
                let input = Input::Order { slip, order };
                world.at(world.now, Event::Tell { process, input });
            }
        };
        match fault {
            Fault::Crash { target, down } => {
                if let Some(host) = self.aim(target) {
                    self.crash(host)?;
                    self.restart(host, down);
                }
            }
            Fault::Stop { target, down } => self.stop(target, down),
            Fault::Pause { target, length, woke } => self.pause(target, length, woke),
            Fault::Partition {
                target,
                length,
                cut,
                held,
            } => {
                if let Some(host) = self.aim(target) {
                    self.hosts[host].cut = Some((cut, held));
                    self.hosts[host].cut_until = self.now + length;
                    self.after(length, Event::Healed { host });
                }
            }
            Fault::ChangeRaftLeader { outage, ppm } => {
                if self.now >= self.etcd_down_until {
                    self.etcd.change_leader(self.now, self.now + outage, ppm);
                }
            }
            Fault::EtcdDown { length, ppm } => {
                let until = self.etcd_down_until.max(self.now + length);
                // Nothing runs out while there is no raft leader.
                self.etcd.change_leader(self.now, until, ppm);
                self.etcd_down_until = until;
            }
            Fault::RevokeLease(target) => {
                if let Some(host) = self.aim(target) {
                    let key = member_key(&self.hosts[host].name);
                    if let Some(lease) = self.etcd.key(&key).map(|key| key.lease) {
                        self.administer(&Request::Revoke(lease));
                    }
                }
            }
            Fault::DeleteLeader => self.delete(LEADER.to_owned()),
            Fault::DeleteMember(target) => {
                if let Some(host) = self.aim(target) {
                    self.delete(member_key(&self.hosts[host].name));
                }
            }
            Fault::ClockJump { target, seconds } => {
                if let Some(host) = self.aim(target) {
                    self.hosts[host].jumped += seconds;
                    if let Some(process) = self.hosts[host].process {
                        let input = Input::Woke;
                        self.after(Duration::from_millis(50), Event::Tell { process, input });
                    }
                }
            }
            Fault::Switchover { asked, candidate } => {
                let name = |host: usize| self.hosts[host].name.clone();
                let hosts = self.schedule.hosts.len();
                if let Some(leader) = self.leading_host().map(name) {
                    let candidate = candidate.map(|candidate| name(candidate % hosts));
                    order(self, asked, Order::Switchover { leader, candidate });
                }
            }
            Fault::StepDown(target) => order(self, target, Order::StepDown),
            Fault::PauseCluster(target) => order(self, target, Order::Pause),
            Fault::ResumeCluster(target) => order(self, target, Order::Resume),
            Fault::Twin { of, length } => self.twin(of, length),
            Fault::Stall(target) => {
                if let Some(process) = self.victim(target) {
                    let input = Input::Stalled;
                    self.at(self.now, Event::Tell { process, input });
                }
            }
            Fault::Blind { target, length } => {
                if let Some(process) = self.victim(target) {
                    for (wait, sees) in [(Duration::ZERO, false), (length, true)] {
                        let input = Input::Probed(sight(sees));
                        self.after(wait, Event::Tell { process, input });
                    }
                }
            }
        }
        Ok(())
    }

    /// The host's process dies.
    pub(super) fn crash(&mut self, host: usize) -> Result<(), Failure> {
        if let Some(process) = self.hosts[host].process {
            self.note(process, || "dies".to_owned());
            self.gone(process);
        }
        self.check_gates()
    }

    /// Whoever watches over the process starts it again; nobody does so with a twin.
    fn restart(&mut self, host: usize, down: Duration) {
        if !self.hosts[host].twin {
            self.after(down, Event::Start { host });
        }
    }

    fn stop(&mut self, target: Target, down: Duration) {
        let Some(process) = self.victim(target) else {
            return;
        };
        if self.processes[process].stopping.is_some() {
            return;
        }
        let host = self.processes[process].host;
        self.hosts[host].down = Some(down);
        let input = Input::Stop;
        self.at(self.now, Event::Tell { process, input });
    }

    /// A machine has ended, and its process with it.
    pub(super) fn halted(&mut self, index: usize, fatal: Option<&Fatal>) -> Result<(), Failure> {
        self.check_halt(index, fatal)?;
        let host = self.processes[index].host;
        self.gone(index);
        let down = self.hosts[host].down.take();
        self.restart(host, down.unwrap_or(Duration::from_secs(2)));
        Ok(())
    }

    fn pause(&mut self, target: Target, length: Duration, woke: Woke) {
        let Some(process) = self
            .victim(target)
            .filter(|process| !self.processes[*process].paused)
        else {
            return;
        };
        self.note(process, || "is paused".to_owned());
        self.processes[process].paused = true;
        if let Some((_, paused)) = &mut self.processes[process].stopping {
            *paused += length;
        }
        self.after(length, Event::Resume { process });
        let late = match woke {
            Woke::Never => return,
            Woke::AtOnce => Duration::ZERO,
            Woke::Late(late) => late,
        };
        let input = Input::Woke;
        self.after(length + late, Event::Tell { process, input });
    }

    /// A pause ends: everything that was missed happens now, in an order that nobody promised.
    pub(super) fn resume(&mut self, index: usize) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        process.paused = false;
        let mut missed = std::mem::take(&mut process.missed);
        let mut rng = dice(
            self.schedule.seed,
            Use::Pause,
            [process.uid, self.now.as_secs(), 0],
        );
        if chance(&mut rng, 50) {
            rng.shuffle(&mut missed);
        }
        self.note(index, || format!("goes on, {} events behind", missed.len()));
        for event in missed {
            self.happen(event)?;
            self.check_gates()?;
        }
        Ok(())
    }

    fn delete(&mut self, key: String) {
        let txn = Txn {
            then: vec![Operation::Delete(key)],
            ..Txn::default()
        };
        self.administer(&Request::Txn(txn));
    }

    /// Somebody does something to etcd by hand.
    fn administer(&mut self, request: &Request) {
        if self.now < self.etcd_down_until {
            return;
        }
        self.etcd.tick(self.now);
        self.look_at_etcd();
        let leader = self.etcd.key(LEADER).map(|key| key.create_revision);
        // Without a raft leader it does nothing.
        let _ = self.etcd.apply(self.now, request);
        if let Some(term) = leader
            && self.etcd.key(LEADER).is_none()
        {
            let revision = self.etcd.revision();
            self.ledger.removed.insert(term.unsigned_abs(), revision);
        }
        self.look_at_etcd();
    }

    fn twin(&mut self, of: usize, length: Duration) {
        if of >= self.schedule.hosts.len() {
            return;
        }
        let mut rng = dice(self.schedule.seed, Use::Fault, [of as u64, self.now.as_secs(), 0]);
        let offset = between(&mut rng, Duration::from_secs(10), Duration::from_secs(9000));
        let plan = Plan {
            remembers: false,
            ..self.schedule.hosts[of].clone()
        };
        let host = self.hosts.len();
        self.hosts.push(Host {
            clock: Drift::new(offset, plan.ppm),
            twin: true,
            ..Host::new(of, &plan)
        });
        self.ledger.twins = true;
        self.at(self.now, Event::Start { host });
        self.after(length, Event::TwinEnds { host });
    }
}
