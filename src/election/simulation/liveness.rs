//! What must come true once nothing fails any more.
//!
//! Owns I7: every replica ends up leading or standing by, exactly one leads if anybody may, everybody knows who, and
//! nothing is left over.

use std::time::Duration;

use super::invariants::Failure;
use super::world::{Event, World};
use crate::cluster::{CONFIG, ConfigRecord, LEADER, MemberRecord, SWITCHOVER, member_key};
use crate::status::State;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(250);

impl World<'_> {
    /// Looks whether all is well, and has been for long enough.
    pub(super) fn judge(&mut self) -> Result<(), Failure> {
        match self.unwell() {
            None => {
                let since = *self.well_since.get_or_insert(self.now);
                let timers = &self.schedule.timers;
                if self.now >= since + 2 * timers.loop_wait + timers.lock_delay + Duration::from_secs(1) {
                    self.finish();
                    return Ok(());
                }
            }
            Some(reason) => {
                self.well_since = None;
                if self.now > self.quiet_at + self.patience() {
                    return Err(self.failure("I7 all is well in the end", reason));
                }
            }
        }
        self.after(LOOK, Event::Judge);
        Ok(())
    }

    /// How long it may take until all is well.
    fn patience(&self) -> Duration {
        let timers = &self.schedule.timers;
        // The last lease was renewed at the last moment, etcd's raft leader changed, the work of the old term ends
        // late, a name has to come free, and a process that found it taken starts again.
        let leases = timers.ttl * 4 + timers.drain_timeout + timers.lock_delay;
        let losses = self.processes.iter().map(|process| process.losses).max();
        let held_back = 1 << losses.unwrap_or(0).saturating_sub(1).min(6);
        leases + Duration::from_secs(15 + held_back)
    }

    /// What is not as it should be.
    fn unwell(&self) -> Option<String> {
        let mut leading = Vec::new();
        let mut eligible = false;
        for host in &self.hosts[..self.schedule.hosts.len()] {
            let Some(process) = host.process.map(|process| &self.processes[process]) else {
                return Some(format!("{} is down", host.name));
            };
            let name = &process.incarnation;
            let state = process.machine.state();
            let open = process
                .work
                .as_ref()
                .is_some_and(|work| work.is_open(host.clock.shows(self.now)) && !work.doubted);
            eligible |= host.plan.priority > 0;
            match (state, open) {
                (State::Leader, true) => leading.push(process),
                (State::Standby, false) => {}
                _ => return Some(format!("{name} is {}, its gate is open: {open}", state.as_str())),
            }
            let key = self.etcd.key(&member_key(&host.name));
            let record: Option<MemberRecord> = key.and_then(|key| serde_json::from_slice(&key.value).ok());
            let Some((key, record)) = key.zip(record) else {
                return Some(format!("{name} is no member"));
            };
            if record.incarnation != process.incarnation || self.etcd.expires(key.lease).is_none() {
                return Some(format!(
                    "{name}'s member key is {record:?} on lease {}",
                    key.lease
                ));
            }
            if record.state != state.as_str() {
                return Some(format!("{name} is {} and tells {}", state.as_str(), record.state));
            }
        }
        let paused = self
            .record::<ConfigRecord>(CONFIG)
            .is_some_and(|config| config.pause);
        match &leading[..] {
            [] if eligible && !paused => return Some("nobody leads".to_owned()),
            [] => return None,
            [_] => {}
            more => return Some(format!("{} lead", more.len())),
        }
        let work = leading.first()?.work.as_ref()?;
        if !work.delivery.is_at_work() {
            return Some("the leader has not read the checkpoints".to_owned());
        }
        let term = work.term;
        if self.etcd.key(SWITCHOVER).is_some() {
            return Some("a switchover is left over".to_owned());
        }
        if self.ledger.history.keys().next_back() != Some(&term) {
            return Some(format!("term {term} is not in the history"));
        }
        if self.etcd.key(LEADER)?.create_revision.unsigned_abs() != term {
            return Some(format!("term {term} is not etcd's"));
        }
        for host in &self.hosts[..self.schedule.hosts.len()] {
            let process = &self.processes[host.process?];
            let name = &process.incarnation;
            let known = process.machine.leadership();
            if known.term != term || known.leader.is_none() || !known.dcs_reachable {
                return Some(format!(
                    "{name} does not know the leader of term {term}: {known:?}"
                ));
            }
            if let Some((slip, since)) = process.slips.first_key_value() {
                return Some(format!("{name} has not answered order {slip} of {since:?}"));
            }
        }
        None
    }
}
