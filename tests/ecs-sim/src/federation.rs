//! The state that all ports share: topology, tokens, faults, clock, counts. Owns no task and no socket; must
//! never be locked while something is awaited.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use crate::api::root_password;
use crate::auth::{TOKEN_MARK, Tokens};
use crate::clock::Clock;
use crate::config::Config;
use crate::fault::Faults;
use crate::gauges::Gauges;
use crate::journal::{Kind, Log};
use crate::pki::Authority;
use crate::request_log::RequestLog;
use crate::topology::{Change, Topology};

/// All that the simulator knows.
pub(crate) struct Federation {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) started: Instant,
    pub(crate) authority: Authority,
    pub(crate) topology: RwLock<Topology>,
    pub(crate) tokens: Vec<Tokens>,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    pub(crate) traffic: Vec<Traffic>,
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    begin_minute: AtomicI64,
}

/// Counts of one VDC.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// TLS handshakes that came to an end.
    pub(crate) handshakes: AtomicU64,
    /// Those of them that resumed a session.
    pub(crate) resumed: AtomicU64,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
}

// === impl Federation ===

impl Federation {
    pub(crate) fn new(config: Config) -> anyhow::Result<Self> {
        let clock = Clock::new(config.clock_start);
        let begin = clock.now().div_euclid(60) - config.journal.history_mins;
        Ok(Self {
            started: Instant::now(),
            authority: Authority::new(config.name.as_deref())?,
            topology: RwLock::new(Topology::new(&config)),
            tokens: (0..config.vdcs)
                .map(|vdc| Tokens::new(config.seed, vdc, config.auth.clone()))
                .collect(),
            faults: Faults::new(config.seed),
            log: RequestLog::new(config.request_log),
            traffic: (0..config.vdcs).map(|_| Traffic::default()).collect(),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            begin_minute: AtomicI64::new(begin),
            clock,
            config,
        })
    }

    /// Changes the topology and tells the ports.
    pub(crate) fn apply(&self, change: &Change) -> Result<(), String> {
        self.topology.write().apply(change)?;
        self.faults.notify();
        Ok(())
    }

    pub(crate) fn journal(&self, vdc: usize, kind: Kind) -> Log {
        Log {
            seed: self.config.seed,
            vdc,
            kind,
            rules: self.config.journal.clone(),
            begin: self.begin_minute.load(Ordering::Relaxed),
        }
    }

    /// Texts that must never turn up in what a client writes.
    pub(crate) fn canaries(&self) -> Vec<String> {
        let mut canaries: Vec<String> = self
            .config
            .users
            .iter()
            .map(|user| user.password.clone())
            .collect();
        canaries.extend(self.topology.read().vdcs.iter().map(|vdc| vdc.secret.clone()));
        canaries.push(root_password().to_owned());
        canaries.push(TOKEN_MARK.to_owned());
        canaries
    }

    /// Epoch seconds of the first row of the logs.
    pub(crate) fn begin(&self) -> i64 {
        self.begin_minute.load(Ordering::Relaxed) * 60
    }

    pub(crate) fn gauges(&self, huge: bool) -> Gauges {
        Gauges {
            seed: self.config.seed,
            huge,
        }
    }
}

// === impl Traffic ===

impl Traffic {
    /// Counts a request in; returns how many there are now.
    pub(crate) fn enter(&self) -> usize {
        let now = self.in_flight.fetch_add(1, Ordering::AcqRel) + 1;
        self.peak.fetch_max(now, Ordering::AcqRel);
        now
    }

    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Acquire)
    }

    /// Begins the peak anew.
    pub(crate) fn reset_peak(&self) {
        self.peak.store(self.in_flight(), Ordering::Release);
    }
}
