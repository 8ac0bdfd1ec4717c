//! Watches over the gate from a thread of its own.
//!
//! Owns what must happen even when every task of the process is stuck: the gate is closed at its deadline, also when
//! the election's loop hangs; a jump of the clocks puts the tenure in doubt; and work that does not end after its gate
//! was closed is ended by ending the process. It takes no lock that anything slow holds, and does no I/O but logging.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::clocks::{KINDS, Readings};
use super::controls;
use super::gate::Tenure;
use super::machine::Input;
use crate::clock::Clock;
use crate::heartbeat::Heartbeat;
use crate::telemetry::metrics_ha::{HaMetrics, KindLabels};

/// Between the last line of a process that ends itself and its end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// The thread's other end.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    kept: Arc<Mutex<Vec<Kept>>>,
    over: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Kept {
    tenure: Tenure,
    /// How long its work has had since the gate was found closed, without the time in which nobody ran.
    closed: Option<Duration>,
}

/// What the thread goes by.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) clock: Clock,
    /// Stamped by the election's loop.
    pub(super) heartbeat: Heartbeat,
    /// How long the loop may be silent, and how long work may take to end.
    pub(super) ttl: Duration,
    /// Where jumps and stalls are told.
    pub(super) news: mpsc::UnboundedSender<Input>,
    pub(super) metrics: HaMetrics,
}

impl Gatekeeper {
    /// Starts the thread. It ends when this value is gone.
    pub(super) fn start(watch: Watch) -> std::io::Result<Self> {
        let kept: Arc<Mutex<Vec<Kept>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (shared, ended) = (Arc::clone(&kept), Arc::clone(&over));
        // There from the start, at zero: what appears with its first jump would not be seen to have grown.
        for kind in KINDS {
            drop(watch.metrics.clock_jumps.get_or_create(&KindLabels { kind }));
        }
        std::thread::Builder::new()
            .name("gatekeeper".to_owned())
            .spawn(move || {
                let mut before = Readings::take();
                while !ended.load(Ordering::Relaxed) {
                    before = look(&watch, &shared, before);
                    std::thread::sleep(pause(&watch, &shared));
                }
            })?;
        Ok(Self { kept, over })
    }

    /// Watches over one more tenure, until [`Gatekeeper::ended`].
    pub(super) fn keep(&self, tenure: Tenure) {
        let kept = Kept { tenure, closed: None };
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(kept);
    }

    /// The work of a term has ended.
    pub(super) fn ended(&self, term: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.tenure.term() != term);
    }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn look(watch: &Watch, kept: &Mutex<Vec<Kept>>, before: Readings) -> Readings {
    let readings = Readings::take();
    let jump = readings.since(before);
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let now = watch.clock.since_boot();
    let stalled = watch.heartbeat.age() > watch.ttl;
    for kept in kept.iter_mut() {
        let tenure = &kept.tenure;
        if jump.is_some() {
            tenure.doubt();
        }
        if controls::gate_is_off() {
            continue;
        }
        let expired = tenure.deadline().is_some_and(|deadline| now >= deadline);
        if (expired || stalled) && !tenure.cancelled().is_cancelled() {
            tenure.close();
        }
        if tenure.cancelled().is_cancelled() {
            let ran = readings.boot.saturating_sub(before.boot).min(2 * PERIOD);
            let closed = kept.closed.map_or(Duration::ZERO, |closed| closed + ran);
            kept.closed = Some(closed);
            if outlasts(closed, watch.ttl) {
                // Somebody else may lead by now, and whatever still runs here must not go on.
                tracing::error!(
                    term = tenure.term(),
                    "the work did not end after the tenure was lost, aborting the process"
                );
                // Lines are written by a thread of their own, which gets a moment for this one.
                std::thread::sleep(LAST_WORDS);
                std::process::abort();
            }
        }
    }
    drop(kept);
    if let Some(jump) = jump {
        let kind = KindLabels { kind: jump.kind };
        watch.metrics.clock_jumps.get_or_create(&kind).inc();
        tracing::warn!(
            kind = jump.kind,
            delta_ms = jump.by.as_millis(),
            "clock jump detected"
        );
        // Nobody listens any more when the process ends.
        let _ = watch.news.send(Input::Woke);
    }
    if stalled {
        let _ = watch.news.send(Input::Stalled);
    }
    readings
}

/// Whether work has gone on for too long after its gate was closed. A process that was paused gets the rest of its
/// time when it runs again.
fn outlasts(closed: Duration, ttl: Duration) -> bool {
    closed > ttl
}

/// Time until the next look: not later than the next deadline.
fn pause(watch: &Watch, kept: &Mutex<Vec<Kept>>) -> Duration {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let now = watch.clock.since_boot();
    kept.iter()
        .filter(|kept| !kept.tenure.cancelled().is_cancelled())
        .filter_map(|kept| Some(kept.tenure.deadline()?.saturating_sub(now)))
        .min()
        .map_or(PERIOD, |left| left.clamp(Duration::from_millis(1), PERIOD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> (Watch, mpsc::UnboundedReceiver<Input>) {
        let (news, heard) = mpsc::unbounded_channel();
        let watch = Watch {
            clock: Clock::system(),
            heartbeat: Heartbeat::new(),
            ttl: Duration::from_secs(5),
            news,
            metrics: crate::telemetry::metrics::Metrics::new().ha,
        };
        (watch, heard)
    }

    fn kept(watch: &Watch, left: Duration) -> (Tenure, Mutex<Vec<Kept>>) {
        let deadline = watch.clock.since_boot() + left;
        let tenure = Tenure::new(
            &"a".into(),
            3,
            deadline,
            watch.clock.clone(),
            watch.metrics.gate_denied.clone(),
        );
        let kept = Kept {
            tenure: tenure.clone(),
            closed: None,
        };
        (tenure, Mutex::new(vec![kept]))
    }

    #[test]
    fn a_deadline_closes_the_gate_though_every_task_is_stuck() {
        let (watch, _heard) = watch();
        let (tenure, kept) = kept(&watch, Duration::ZERO);
        look(&watch, &kept, Readings::take());
        assert!(tenure.cancelled().is_cancelled());
    }

    #[test]
    fn a_jump_puts_the_tenure_in_doubt_and_is_told() {
        let (watch, mut heard) = watch();
        let (tenure, kept) = kept(&watch, Duration::from_secs(5));
        let permit = futures_util::FutureExt::now_or_never(tenure.permit(Duration::from_secs(1)));
        let permit = permit.unwrap().unwrap();
        let mut before = Readings::take();
        before.boot = before.boot.saturating_sub(Duration::from_secs(3));
        look(&watch, &kept, before);
        assert!(permit.check().is_err() && !tenure.cancelled().is_cancelled());
        assert!(matches!(heard.try_recv(), Ok(Input::Woke)));
    }

    #[test]
    fn work_gets_its_time_to_end_although_the_process_was_paused() {
        let (watch, _heard) = watch();
        let (tenure, kept) = kept(&watch, Duration::from_secs(5));
        tenure.close();
        look(&watch, &kept, Readings::take());
        // A minute in which nothing ran.
        let mut before = Readings::take();
        before.boot = before.boot.saturating_sub(Duration::from_secs(60));
        look(&watch, &kept, before);
        let closed = kept.lock().unwrap()[0].closed.unwrap();
        assert!(closed <= 2 * PERIOD && !outlasts(closed, watch.ttl), "{closed:?}");
        assert!(outlasts(watch.ttl + PERIOD, watch.ttl));
    }

    #[test]
    fn the_thread_looks_before_the_deadline_and_rests_otherwise() {
        let (watch, _heard) = watch();
        let (_, near) = kept(&watch, Duration::from_millis(20));
        assert!(pause(&watch, &near) <= Duration::from_millis(20));
        assert_eq!(pause(&watch, &Mutex::default()), PERIOD);
    }
}
