//! Seeds in bulk, on every processor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::schedule::Schedule;
use super::{explain, run, simulate, told};

/// Schedules of an ordinary test run. A release build does a hundred times as many in the same time.
const SCHEDULES: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_the_invariants_hold() {
    if let Some(seed) = number("ECSBEAT_SEED") {
        let schedule = Schedule::draw(seed);
        match run(&schedule) {
            Ok(()) => println!("{}", told(&schedule)),
            Err(failure) => panic!("seed {seed}\n{}", explain(&schedule, &failure)),
        }
        return;
    }
    let count = number("ECSBEAT_SCHEDULES").unwrap_or(SCHEDULES);
    let first = number("ECSBEAT_FIRST_SEED").unwrap_or(0);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = first + next.fetch_add(1, Ordering::Relaxed);
                    let mut failures = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if seed >= first + count || failures.len() >= 20 {
                        return;
                    }
                    drop(failures);
                    if let Err(failure) = simulate(seed) {
                        failures = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push((seed, failure));
                    }
                }
            });
        }
    });
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{count} schedules in {took:.1} s, {:.0} a second",
        count as f64 / took
    );
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some((seed, failure)) = failed.iter().min_by_key(|(seed, _)| *seed) else {
        return;
    };
    let all: Vec<String> = failed
        .iter()
        .map(|(seed, failure)| format!("  {seed}: {}", failure.invariant))
        .collect();
    let text = explain(&Schedule::draw(*seed), failure);
    panic!(
        "seed {seed} (ECSBEAT_SEED={seed} shows it)\n{text}\nfailed:\n{}",
        all.join("\n")
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let schedule = Schedule::draw(seed);
        assert_eq!(told(&schedule), told(&schedule), "seed {seed}");
    }
}

/// What no process can prevent is seen here, so a gate that leaks would be seen too.
#[test]
fn a_pause_between_check_and_send_is_found_and_made_small() {
    let leaks = |seed| {
        let mut schedule = Schedule::draw(seed);
        schedule.gap = true;
        let failure = run(&schedule).err()?;
        Some((schedule, failure))
    };
    let (schedule, failure) = (0..200).find_map(leaks).unwrap();
    assert_eq!(failure.invariant, "I3 no send without an open gate");
    let (small, same) = super::shrink::shrink(&schedule, &failure, run);
    assert_eq!(same.invariant, failure.invariant);
    assert!(small.faults.len() <= 2, "{small:?}");
    let text = explain(&small, &same);
    assert!(text.contains("lead") && text.contains("broken: I3"), "{text}");
}
