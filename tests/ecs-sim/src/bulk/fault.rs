//! What can go wrong with the fake Elasticsearch, and how often. Must never hold its lock while a fault acts.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BulkFault {
    /// The port is closed. Lasts as long as the rule does.
    Refuse,
    /// The whole request gets this status.
    Status {
        /// The status, such as 503, 429 or 401.
        status: u16,
        /// Value of `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Every so-many-th item gets a status, 429 when left out.
    RejectItems {
        /// 1 for all, 2 for every second.
        every: usize,
        /// The status of these items.
        #[serde(default = "too_many")]
        status: u16,
    },
    /// Documents with this text get 400, `mapper_parsing_exception`.
    MappingError {
        /// The text.
        marker: String,
    },
    /// Bodies (as sent) above this get 413.
    TooLarge {
        /// Bytes.
        bytes: usize,
    },
    /// The request is carried out, and the connection closed without an answer.
    LostAnswer,
    /// The answer takes this much longer.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// The request is read and never answered; nothing is carried out.
    Hang,
    /// The items of the answer come in reverse.
    ReorderedItems,
    /// The answer has one item fewer than the request.
    MissingItem,
    /// The request is carried out, the answer is no JSON.
    WrongJson,
    /// The request is carried out, the connection reset amid the answer.
    ResetMidAnswer,
}

/// A fault and how often it strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkRule {
    /// What happens.
    pub fault: BulkFault,
    /// After how many requests it is over; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How many requests pass before it strikes.
    #[serde(default)]
    pub skip: u32,
    /// Strike other requests than bulks too, such as `GET /`.
    #[serde(default)]
    pub all: bool,
}

/// The faults in force.
#[derive(Debug)]
pub(crate) struct Rules {
    armed: Mutex<Vec<Armed>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Armed {
    rule: BulkRule,
    matched: u32,
    struck: u32,
}

fn too_many() -> u16 {
    429
}

// === impl BulkRule ===

impl BulkRule {
    /// Strikes every bulk request.
    pub fn always(fault: BulkFault) -> Self {
        Self {
            fault,
            times: None,
            skip: 0,
            all: false,
        }
    }

    /// Over after `times` requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets `skip` requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Strikes other requests than bulks too.
    #[must_use]
    pub fn on_all(mut self) -> Self {
        self.all = true;
        self
    }
}

// === impl Rules ===

impl Rules {
    pub(crate) fn new() -> Self {
        Self {
            armed: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn set(&self, rule: BulkRule) {
        self.armed.lock().push(Armed {
            rule,
            matched: 0,
            struck: 0,
        });
        self.changes.send_modify(|generation| *generation += 1);
    }

    pub(crate) fn clear(&self) {
        self.armed.lock().clear();
        self.changes.send_modify(|generation| *generation += 1);
    }

    pub(crate) fn list(&self) -> Vec<BulkRule> {
        self.armed.lock().iter().map(|armed| armed.rule.clone()).collect()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.armed
            .lock()
            .iter()
            .any(|armed| armed.rule.fault == BulkFault::Refuse)
    }

    /// The faults that strike a request.
    pub(crate) fn strike(&self, is_bulk: bool) -> Vec<BulkFault> {
        let mut armed = self.armed.lock();
        armed
            .iter_mut()
            .filter(|armed| is_bulk || armed.rule.all)
            .filter_map(|armed| {
                armed.matched = armed.matched.saturating_add(1);
                let over = armed.rule.times.is_some_and(|times| armed.struck >= times);
                if armed.matched <= armed.rule.skip || over {
                    return None;
                }
                armed.struck += 1;
                Some(armed.rule.fault.clone())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_bulks_as_often_as_they_say() {
        let rules = Rules::new();
        rules.set(BulkRule::always(BulkFault::LostAnswer).skip(1).times(1));
        let struck: Vec<_> = (0..3).map(|_| rules.strike(true).len()).collect();
        assert_eq!(struck, [0, 1, 0]);
        rules.clear();
        rules.set(BulkRule::always(BulkFault::Status {
            status: 503,
            retry_after: None,
        }));
        assert!(rules.strike(false).is_empty());
        rules.set(BulkRule::always(BulkFault::Refuse));
        assert!(rules.is_refusing());
    }

    #[test]
    fn rules_read_from_json() {
        let rule: BulkRule =
            serde_json::from_str(r#"{"fault":{"kind":"reject_items","every":3},"times":2}"#).unwrap();
        assert_eq!(
            rule.fault,
            BulkFault::RejectItems {
                every: 3,
                status: 429
            }
        );
    }
}
