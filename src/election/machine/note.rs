//! What the machine tells people.
//!
//! Owns [`Note`], for the log and the metrics, and [`Fatal`], the reasons for which a process must end. Nothing acts on
//! a note.

use std::time::Duration;

use crate::cluster::Reason;
use crate::dcs::LeaseId;

/// Why the process must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Another process lives under this name.
    #[error(
        "instance name already in use: ha.instance {instance:?} is held by another process (incarnation {incarnation}, {address}); give every replica a name of its own"
    )]
    NameInUse {
        /// The name.
        instance: String,
        /// The other one.
        incarnation: String,
        /// Where the other one answers.
        address: String,
    },
}

/// What is worth telling.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// The instance is a member.
    Joined(LeaseId),
    /// Its name is held by another process, perhaps its own predecessor.
    NameHeld {
        /// The other one.
        incarnation: String,
        /// How long that is waited for.
        patience: Duration,
    },
    /// It won.
    Acquired {
        /// The term.
        term: u64,
        /// Its lease.
        lease: LeaseId,
        /// Who led before.
        from: Option<String>,
        /// Why that ended.
        reason: Reason,
        /// How long nobody led.
        gap: Option<Duration>,
    },
    /// It gave up its leadership.
    Released {
        /// The term.
        term: u64,
        /// Why.
        reason: Reason,
    },
    /// It lost its leadership.
    Lost {
        /// The term.
        term: u64,
        /// How.
        why: Loss,
        /// Time since the last acknowledged renewal was sent.
        since_ack: Duration,
    },
    /// The lease was renewed.
    Renewed {
        /// From sending to the answer.
        took: Duration,
    },
    /// The lease was not renewed.
    RenewalFailed {
        /// Why.
        error: String,
        /// What is left until the deadline.
        left: Duration,
    },
    /// Another request failed.
    Failed {
        /// What it was for.
        what: &'static str,
        /// Why.
        error: String,
    },
    /// The term came out lower than one that was known: etcd was restored from an older snapshot.
    TermRegressed {
        /// What came out.
        term: u64,
        /// What was known.
        known: u64,
    },
    /// The leader key is gone, and nobody knows yet whether its holder has heard.
    Vacant {
        /// The leader's term.
        term: u64,
        /// Time until its gate is closed for certain.
        wait: Duration,
    },
    /// A change of leader that cannot be done was taken back.
    SwitchoverDropped {
        /// Who was to lead.
        candidate: Option<String>,
    },
}

/// How a leadership was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// No renewal was acknowledged in time.
    Deadline,
    /// The lease is gone.
    LeaseGone,
    /// The leader key is gone, or another's.
    Deposed,
    /// A fenced write was refused.
    Fenced,
    /// The election's own loop was stuck.
    Stalled,
}

impl Loss {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "lease_expired",
            Self::LeaseGone => "lease_gone",
            Self::Deposed => "deposed",
            Self::Fenced => "fenced",
            Self::Stalled => "stalled",
        }
    }
}
