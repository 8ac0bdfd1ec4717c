//! Makes a schedule that fails as small as it gets.
//!
//! Owns the search: leaves out faults, replicas and bad weather as long as the same invariant is broken.

use std::time::Duration;

use super::invariants::Failure;
use super::schedule::{Schedule, Weather};

/// Runs that a search may cost.
const MOST_RUNS: usize = 600;

/// A smaller schedule that `run` fails in the same way, and that failure.
pub(super) fn shrink(
    schedule: &Schedule,
    failure: &Failure,
    run: impl Fn(&Schedule) -> Result<(), Failure>,
) -> (Schedule, Failure) {
    let mut best = (schedule.clone(), failure.clone());
    let mut runs = 0;
    loop {
        let smaller = candidates(&best.0).into_iter().find_map(|candidate| {
            if runs >= MOST_RUNS {
                return None;
            }
            runs += 1;
            let found = run(&candidate).err()?;
            (found.invariant == failure.invariant).then_some((candidate, found))
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Schedules that are a little smaller, the boldest first.
fn candidates(schedule: &Schedule) -> Vec<Schedule> {
    let mut all = Vec::new();
    let mut change = |change: &dyn Fn(&mut Schedule)| {
        let mut smaller = schedule.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    let count = schedule.faults.len();
    if count > 3 {
        change(&|smaller| drop(smaller.faults.drain(..count / 2)));
        change(&|smaller| smaller.faults.truncate(count / 2));
    }
    for index in (0..count).rev() {
        change(&|smaller| _ = smaller.faults.remove(index));
    }
    if schedule.hosts.len() > 1 {
        change(&|smaller| _ = smaller.hosts.pop());
    }
    let weather = schedule.weather;
    if !weather.is_fine() {
        change(&|smaller| smaller.weather = Weather::default());
        let parts: [fn(&mut Weather); 5] = [
            |weather| weather.request_lost = 0,
            |weather| weather.answer_lost = 0,
            |weather| weather.late = 0,
            |weather| weather.hint_lost = 0,
            |weather| weather.slow = 0,
        ];
        for part in parts {
            let mut better = weather;
            part(&mut better);
            if better != weather {
                change(&|smaller| smaller.weather = better);
            }
        }
    }
    if schedule.etcd_ppm != 0 {
        change(&|smaller| smaller.etcd_ppm = 0);
    }
    for index in 0..schedule.hosts.len() {
        let plan = &schedule.hosts[index];
        if plan.ppm != 0 {
            change(&|smaller| smaller.hosts[index].ppm = 0);
        }
        if plan.priority != 1 {
            change(&|smaller| smaller.hosts[index].priority = 1);
        }
        if plan.config != 0 {
            change(&|smaller| smaller.hosts[index].config = 0);
        }
    }
    let timers = &schedule.timers;
    if !timers.lock_delay.is_zero() {
        change(&|smaller| smaller.timers.lock_delay = Duration::ZERO);
    }
    if timers.yield_after.is_some() {
        change(&|smaller| smaller.timers.yield_after = None);
    }
    if timers.refuse_mismatch {
        change(&|smaller| smaller.timers.refuse_mismatch = false);
    }
    all
}
