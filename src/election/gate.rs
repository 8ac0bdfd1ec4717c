//! The gate: what may be sent passes it, and it closes by the clock.
//!
//! Owns [`Tenure`] (the right to work) and [`Permit`] (the right to one send). The gate closes at the deadline by
//! itself: whoever asks reads the clock, so that neither a stuck task nor a paused process keeps it open. The clock
//! is `CLOCK_BOOTTIME`, which also runs while the machine sleeps. Once anybody has found it closed it never opens again,
//! whatever comes of a renewal that was on its way: part of the work has stopped by then. A new term has a gate of its
//! own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::controls;
use crate::clock::Clock;
use crate::telemetry::metrics_ha::WhyLabels;

/// The right to work, from winning it until it is cancelled or its deadline passes.
#[derive(Debug, Clone)]
pub struct Tenure(Arc<Gate>);

/// The right to one send.
#[derive(Debug, Clone)]
pub struct Permit {
    gate: Arc<Gate>,
    budget: Duration,
}

#[derive(Debug)]
struct Gate {
    instance: Arc<str>,
    term: u64,
    clock: Clock,
    /// Nanoseconds since boot; [`NEVER`] for a single node.
    deadline: AtomicU64,
    /// The clocks jumped: nothing may be sent until etcd has said that the term still holds.
    doubted: AtomicBool,
    trusted: Notify,
    drain: CancellationToken,
    cancel: CancellationToken,
    /// Refusals; `None` = a single node.
    denied: Option<Family<WhyLabels, Counter>>,
}

const NEVER: u64 = u64::MAX;
/// Why a permit is refused, in metrics.
const REFUSALS: [&str; 3] = ["closed", "doubted", "expired"];

/// The tenure is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenure is over")]
pub struct NoTenure;

impl Tenure {
    /// The tenure of a term, until `deadline` (time since boot) unless it is extended.
    pub(super) fn new(
        instance: &Arc<str>,
        term: u64,
        deadline: Duration,
        clock: Clock,
        denied: Family<WhyLabels, Counter>,
    ) -> Self {
        // There from the start, at zero: what appears with its first refusal would not be seen to have grown.
        for why in REFUSALS {
            drop(denied.get_or_create(&WhyLabels { why }));
        }
        let cancel = CancellationToken::new();
        Self::build(instance, term, nanos(deadline), clock, cancel, Some(denied))
    }

    /// The tenure of a single node: without a deadline, over when `cancel` is.
    pub(super) fn endless(instance: &Arc<str>, clock: Clock, cancel: CancellationToken) -> Self {
        Self::build(instance, 0, NEVER, clock, cancel, None)
    }

    fn build(
        instance: &Arc<str>,
        term: u64,
        deadline: u64,
        clock: Clock,
        cancel: CancellationToken,
        denied: Option<Family<WhyLabels, Counter>>,
    ) -> Self {
        Self(Arc::new(Gate {
            instance: Arc::clone(instance),
            term,
            clock,
            deadline: AtomicU64::new(deadline),
            doubted: AtomicBool::new(false),
            trusted: Notify::new(),
            drain: CancellationToken::new(),
            cancel,
            denied,
        }))
    }

    /// The name of the instance that holds it.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// The fencing token: grows with every change of leader; 0 for a single node.
    pub fn term(&self) -> u64 {
        self.0.term
    }

    /// A permit for something that takes at most `most`; its budget is cut at the deadline. While the tenure is in
    /// doubt it is waited for. Refused when the tenure is over.
    pub async fn permit(&self, most: Duration) -> Result<Permit, NoTenure> {
        loop {
            let trusted = self.0.trusted.notified();
            tokio::pin!(trusted);
            trusted.as_mut().enable();
            let left = self.0.left();
            if left.is_zero() {
                self.0.deny();
                return Err(NoTenure);
            }
            if !self.0.is_doubted() {
                return Ok(Permit {
                    gate: Arc::clone(&self.0),
                    budget: most.min(left),
                });
            }
            tokio::select! {
                () = trusted => {}
                () = self.0.cancel.cancelled() => return Err(NoTenure),
            }
        }
    }

    /// Whether the tenure holds at this moment.
    pub fn is_live(&self) -> bool {
        !self.0.left().is_zero()
    }

    /// Ends when the tenure does. Work stops at once then, without a flush.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Ends when the work is to end in order: no new ticks, what is under way is finished.
    pub fn draining(&self) -> &CancellationToken {
        &self.0.drain
    }

    /// Time since boot at which it ends; `None` = never by itself.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.0.deadline.load(Ordering::Acquire) {
            NEVER => None,
            deadline => Some(Duration::from_nanos(deadline)),
        }
    }

    /// Moves the deadline. Never back: what was proven stays proven.
    pub(super) fn extend(&self, deadline: Duration) {
        self.0.deadline.fetch_max(nanos(deadline), Ordering::AcqRel);
    }

    /// Nothing may be sent until [`Tenure::trust`].
    pub(super) fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Release);
    }

    /// etcd has said that the term holds.
    pub(super) fn trust(&self) {
        self.0.doubted.store(false, Ordering::Release);
        self.0.trusted.notify_waiters();
    }

    /// The work is to end in order.
    pub(super) fn drain(&self) {
        self.0.drain.cancel();
    }

    /// Closes the gate for good.
    pub(super) fn close(&self) {
        self.0.cancel.cancel();
    }
}

impl Gate {
    /// Time until the gate closes; zero = it is closed.
    fn left(&self) -> Duration {
        if self.cancel.is_cancelled() {
            return Duration::ZERO;
        }
        match self.deadline.load(Ordering::Acquire) {
            NEVER => Duration::MAX,
            _ if controls::gate_is_off() => Duration::MAX,
            deadline => {
                let left = Duration::from_nanos(deadline).saturating_sub(self.clock.since_boot());
                if left.is_zero() {
                    self.cancel.cancel();
                }
                left
            }
        }
    }

    /// Somebody wanted to send and may not.
    fn deny(&self) {
        let deadline = match self.deadline.load(Ordering::Acquire) {
            NEVER => return,
            deadline => Duration::from_nanos(deadline),
        };
        let why = match self.clock.since_boot().checked_sub(deadline) {
            None if self.cancel.is_cancelled() => "closed",
            None => "doubted",
            Some(late) => {
                tracing::warn!(
                    term = self.term,
                    late_by_ms = late.as_millis(),
                    "publish refused: lease deadline passed"
                );
                "expired"
            }
        };
        if let Some(denied) = &self.denied {
            denied.get_or_create(&WhyLabels { why }).inc();
        }
    }

    fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire) && !controls::gate_is_off()
    }
}

impl Permit {
    /// The term under which it was given.
    pub fn term(&self) -> u64 {
        self.gate.term
    }

    /// The longest the send may take, counted from when the permit was given.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// To be asked immediately before bytes go out: the process may have been paused since the permit was given.
    pub fn check(&self) -> Result<(), NoTenure> {
        if self.gate.left().is_zero() || self.gate.is_doubted() {
            self.gate.deny();
            return Err(NoTenure);
        }
        Ok(())
    }
}

fn nanos(time: Duration) -> u64 {
    // 584 years of uptime.
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tenure(left: Duration) -> (Tenure, Clock) {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let deadline = clock.since_boot() + left;
        let tenure = Tenure::new(&"node-a".into(), 7, deadline, clock.clone(), Family::default());
        (tenure, clock)
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_is_cut_at_the_deadline_and_refused_after_it() {
        let (tenure, clock) = tenure(5 * SECOND);
        assert_eq!(tenure.permit(2 * SECOND).await.unwrap().budget(), 2 * SECOND);
        let permit = tenure.permit(90 * SECOND).await.unwrap();
        assert_eq!((permit.budget(), permit.term()), (5 * SECOND, 7));
        tokio::time::advance(Duration::from_nanos(4_999_999_999)).await;
        assert!(permit.check().is_ok() && tenure.is_live());
        tokio::time::advance(Duration::from_nanos(1)).await;
        // Nobody has told the tenure anything: the clock alone closes it.
        assert!(permit.check().is_err() && !tenure.is_live());
        assert!(tenure.permit(SECOND).await.is_err());
        // Somebody has stopped for it by now.
        tenure.extend(clock.since_boot() + SECOND);
        assert!(permit.check().is_err() && tenure.permit(SECOND).await.is_err());
        assert!(tenure.cancelled().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_moved_on_and_never_back() {
        let (tenure, clock) = tenure(5 * SECOND);
        let permit = tenure.permit(SECOND).await.unwrap();
        tenure.extend(clock.since_boot() + 9 * SECOND);
        tenure.extend(clock.since_boot() + SECOND);
        tokio::time::advance(8 * SECOND).await;
        assert!(permit.check().is_ok());
        tenure.close();
        assert!(permit.check().is_err() && tenure.permit(SECOND).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn in_doubt_nothing_is_sent_until_it_is_trusted_again() {
        let (tenure, _) = tenure(9 * SECOND);
        let permit = tenure.permit(SECOND).await.unwrap();
        tenure.doubt();
        assert!(permit.check().is_err());
        let (given, ()) = tokio::join!(tenure.permit(SECOND), async {
            tokio::time::sleep(2 * SECOND).await;
            tenure.trust();
        });
        assert_eq!(given.unwrap().budget(), SECOND);
        tenure.doubt();
        let (given, ()) = tokio::join!(tenure.permit(SECOND), async {
            tokio::time::sleep(SECOND).await;
            tenure.close();
        });
        assert!(given.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_node_has_no_deadline() {
        let cancel = CancellationToken::new();
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let tenure = Tenure::endless(&"node-a".into(), clock, cancel.clone());
        tokio::time::advance(Duration::from_secs(1 << 30)).await;
        let permit = tenure.permit(90 * SECOND).await.unwrap();
        assert_eq!(permit.budget(), 90 * SECOND);
        cancel.cancel();
        assert!(permit.check().is_err() && tenure.permit(SECOND).await.is_err());
    }
}
