//! What goes wrong, and how often. Must know nothing of connections.

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// The port is closed and its connections are reset. Nobody who asks for a free port gets it meanwhile.
    Refuse,
    /// Connections are accepted and reset at once. Those that are there stay.
    Hangup,
    /// Reset, both ways, when so many bytes of the client have been passed on, counted on each connection from its
    /// first byte under this rule.
    ResetAfter {
        /// Bytes, without those of TLS.
        bytes: u64,
    },
    /// The upstream gets the request and everything sent until it answers; the answer is withheld and the client's
    /// connection reset.
    LoseAnswer {
        /// Strikes answers to requests with this text in their first 4 KiB; to any, where it is empty.
        request: Vec<u8>,
    },
    /// As `LoseAnswer`, but the client gets this instead of the answer and nothing after it; the connection stays.
    Garbage {
        /// As of `LoseAnswer`.
        request: Vec<u8>,
        /// What is sent.
        answer: Vec<u8>,
    },
    /// Everything is passed on in pieces of at most so many bytes, and as many are read at a time.
    Pieces {
        /// At least 1.
        bytes: usize,
    },
    /// Connections stay and new ones are accepted; nothing is passed on, not even an end. Those that lost something
    /// are reset when it is over.
    HalfOpen,
}

/// A fault and how often it strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(crate) fault: Fault,
    pub(crate) times: Option<u32>,
    pub(crate) skip: u32,
}

/// The rule of the moment, and how far it is.
#[derive(Debug)]
pub(crate) struct Armed {
    rule: Rule,
    met: u32,
    struck: u32,
}

// === impl Fault ===

impl Fault {
    /// Loses every answer to requests with this text.
    pub fn lose_answer(request: impl Into<Vec<u8>>) -> Self {
        Self::LoseAnswer {
            request: request.into(),
        }
    }

    /// Puts other bytes in the place of every answer to requests with this text.
    pub fn garbage(request: impl Into<Vec<u8>>, answer: impl Into<Vec<u8>>) -> Self {
        Self::Garbage {
            request: request.into(),
            answer: answer.into(),
        }
    }
}

// === impl Rule ===

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            times: None,
            skip: 0,
        }
    }
}

impl Rule {
    /// Strikes so often, then no more. `Refuse`, `Pieces` and `HalfOpen` last as long as the rule does.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets so many occasions pass first: connections, or answers.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}

// === impl Armed ===

impl Armed {
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            rule,
            met: 0,
            struck: 0,
        }
    }

    /// An occasion to strike; tells whether it does.
    pub(crate) fn strike(&mut self) -> bool {
        self.met = self.met.saturating_add(1);
        let over = self.rule.times.is_some_and(|times| self.struck >= times);
        let strikes = self.met > self.rule.skip && !over;
        self.struck += u32::from(strikes);
        strikes
    }

    pub(crate) fn struck(&self) -> u32 {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_as_often_as_it_says() {
        let mut armed = Armed::new(Rule::from(Fault::Hangup).skip(2).times(1));
        let struck: Vec<bool> = (0..5).map(|_| armed.strike()).collect();
        assert_eq!(struck, [false, false, true, false, false]);
        assert_eq!(armed.struck(), 1);
        let mut always = Armed::new(Fault::Hangup.into());
        assert!((0..5).all(|_| always.strike()));
    }
}
