//! Who may poll and publish.
//!
//! Owns [`Tenure`] (the right to work, with a term and an end) and [`Permit`] (the right to one send, bounded
//! in time). Leadership is a value, never a flag: whatever polls, publishes or writes a checkpoint takes a
//! permit as an argument, so no code path can do so without a live tenure. Nothing here publishes anything.

pub mod order;
mod solo;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use solo::solo;

/// The right to work, from winning it until it is cancelled.
#[derive(Debug, Clone)]
pub struct Tenure {
    instance: Arc<str>,
    term: u64,
    cancel: CancellationToken,
}

/// The right to one send.
#[derive(Debug, Clone)]
pub struct Permit {
    term: u64,
    budget: Duration,
}

/// The tenure is over, or ends before the asked time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenure is over")]
pub struct NoTenure;

impl Tenure {
    /// The name of the instance that holds it.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The fencing token: grows with every change of leader; 0 for a single node.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// A permit for something that takes at most `budget`. Refused when the tenure is over.
    pub fn permit(&self, budget: Duration) -> Result<Permit, NoTenure> {
        if self.cancel.is_cancelled() {
            return Err(NoTenure);
        }
        Ok(Permit {
            term: self.term,
            budget,
        })
    }

    /// Ends when the tenure does. Work stops at once then, without a flush.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }
}

impl Permit {
    /// The term under which it was given.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The longest the send may take.
    pub fn budget(&self) -> Duration {
        self.budget
    }
}
