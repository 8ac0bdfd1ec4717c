//! Many replicas in one deterministic world: the election under every fault that can be drawn.
//!
//! Owns [`simulate`]: one run of a seed over the model of etcd, in which real machines decide and the invariants of
//! the design are checked at every step. A run that breaks one is made smaller and told line by line. Here are no
//! tasks, no sockets and no clocks, so that the same seed gives the same run, and a minute takes a millisecond.
//!
//! `ECSBEAT_SEED=<seed>` prints the run of a seed; `ECSBEAT_SCHEDULES=<count>` sets how many are run.

mod application;
mod checkpoints;
mod dice;
mod faults;
mod fencing;
mod invariants;
mod liveness;
mod network;
mod replica;
mod schedule;
mod shrink;
mod tests;
mod trace;
mod world;

use self::invariants::Failure;
use self::schedule::Schedule;
use self::trace::Trace;
use self::world::World;

/// Runs the schedule of a seed.
fn simulate(seed: u64) -> Result<(), Failure> {
    run(&Schedule::draw(seed))
}

/// Runs a schedule.
fn run(schedule: &Schedule) -> Result<(), Failure> {
    World::new(schedule, Trace::default()).run()
}

/// What went wrong with a schedule, in the smallest run that shows it, line by line.
fn explain(schedule: &Schedule, failure: &Failure) -> String {
    let (schedule, failure) = shrink::shrink(schedule, failure, run);
    format!("{}\n{}", told(&schedule), tell(&failure))
}

/// A run, line by line, and how it ended.
fn told(schedule: &Schedule) -> String {
    let mut world = World::new(schedule, Trace::kept());
    let end = match world.run() {
        Ok(()) => "all is well".to_owned(),
        Err(failure) => tell(&failure),
    };
    format!("{schedule:#?}\n{}{end}", world.trace.text())
}

fn tell(failure: &Failure) -> String {
    format!(
        "{:.4}: broken: {}: {}",
        failure.at.as_secs_f64(),
        failure.invariant,
        failure.detail
    )
}
