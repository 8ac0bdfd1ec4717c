//! How long the output's thread may go on with what it was asked for.
//!
//! Owns the end of it: the budget, the permit, and whether anybody still waits. librdkafka's calls cannot be
//! interrupted, so each is given a slice only and this is asked in between.

use std::time::{Duration, Instant};

use crate::output::writer::Leave;

/// The longest a call may block before it is looked whether to go on.
const SLICE: Duration = Duration::from_millis(100);

/// The time of one order.
#[derive(Debug, Clone)]
pub(super) struct Time {
    leave: Leave,
    until: Instant,
    budget: Duration,
}

impl Time {
    pub(super) fn new(leave: Leave, budget: Duration) -> Self {
        Self {
            leave,
            until: Instant::now() + budget,
            budget,
        }
    }

    /// Nothing may be sent any more: nobody waits for it, or the tenure is over.
    pub(super) fn is_revoked(&self) -> bool {
        self.leave.is_over()
    }

    /// Revoked, or the budget is used up.
    pub(super) fn is_over(&self) -> bool {
        self.is_revoked() || self.left().is_zero()
    }

    /// What the next call may take.
    pub(super) fn slice(&self) -> Duration {
        self.at_most(SLICE)
    }

    /// As [`Time::slice`], for a call that begins anew each time and would come to nothing in so short a time.
    pub(super) fn at_most(&self, limit: Duration) -> Duration {
        self.left().min(limit)
    }

    /// For messages.
    pub(super) fn budget(&self) -> Duration {
        self.budget
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
