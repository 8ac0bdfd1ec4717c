//! What the service manager is told, where there is one that wants to know (systemd with `Type=notify`).
//!
//! Owns the thread that tells it: that the work has begun, who this instance is, that it stops and how long that may
//! take, and signs of life. Those follow the rule of `/liveness` and nothing else, from a thread of its own, so that a
//! busy or stuck pipeline is not taken for a stuck main loop. A manager that does not listen holds up nothing.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::heartbeat::{Heartbeat, patience};
use crate::status::{State, Status};

/// Set by a service manager that listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// Longest time between two looks at what there is to tell.
const PERIOD: Duration = Duration::from_secs(1);
/// The same before the work has begun.
const EAGER: Duration = Duration::from_millis(20);
/// So long a start may go wrong. A replica that still waits for etcd by then has started, too.
const START: Duration = Duration::from_secs(3);

/// What is told is made of this.
#[derive(Debug)]
pub(super) struct Vitals {
    pub(super) instance: Arc<str>,
    pub(super) status: Arc<Status>,
    /// Stamped by the main loop.
    pub(super) heartbeat: Heartbeat,
    /// How long that may be silent; see [`patience`].
    pub(super) ttl: Duration,
    pub(super) clock: Clock,
}

/// The thread's other end; the thread ends with it.
#[derive(Debug)]
pub(super) struct Service {
    stopping: Sender<()>,
}

impl Service {
    /// Tells when the work has begun; `None` where nobody wants to know. A stop may take `longest_stop`.
    pub(super) fn start(vitals: Vitals, longest_stop: Duration) -> Option<Self> {
        std::env::var_os(SOCKET)?;
        let watchdog = sd_notify::watchdog_enabled();
        let (stopping, word) = mpsc::channel();
        let thread = std::thread::Builder::new().name("service".to_owned());
        let started = thread.spawn(move || tell(&vitals, watchdog, longest_stop, &word));
        match started {
            Ok(_ends_with_its_sender) => Some(Self { stopping }),
            Err(error) => {
                tracing::error!(%error, "the service manager cannot be told that ecsbeat has started");
                None
            }
        }
    }

    /// Tells that the work is being ended, once `stop` is cancelled. Does not end by itself.
    pub(super) async fn accompany(self, stop: CancellationToken) {
        stop.cancelled().await;
        let _only_without_thread = self.stopping.send(());
        std::future::pending::<()>().await;
    }
}

/// Tells what there is to tell until the other end of `word` is gone.
fn tell(vitals: &Vitals, watchdog: Option<Duration>, longest_stop: Duration, word: &Receiver<()>) {
    // A third, so that two of three may be late.
    let period = watchdog.map_or(PERIOD, |limit| (limit / 3).min(PERIOD));
    let begin = Instant::now();
    let mut ready = false;
    let mut said = String::new();
    let mut line = Line::default();
    loop {
        let (state, text) = vitals.look();
        if !ready && (state != State::Starting || begin.elapsed() >= START) {
            ready = true;
            line.say(&[NotifyState::Ready]);
        }
        if ready && text != said {
            line.say(&[NotifyState::Status(&text)]);
            said = text;
        }
        if ready && watchdog.is_some() && vitals.alive(state) {
            line.say(&[NotifyState::Watchdog]);
        }
        match word.recv_timeout(if ready { period } else { EAGER }) {
            Ok(()) => {
                // It counts only where it is more than the unit's own time.
                let longest = u32::try_from(longest_stop.as_micros()).unwrap_or(u32::MAX);
                line.say(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(longest)]);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The line to the manager. That it is dead is told once.
#[derive(Debug, Default)]
struct Line {
    dead: bool,
}

impl Line {
    fn say(&mut self, news: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(news)
            && !self.dead
        {
            self.dead = true;
            tracing::warn!(%error, "the service manager that {SOCKET} names does not listen");
        }
    }
}

impl Vitals {
    /// The state at this moment, and a line about it for people.
    fn look(&self) -> (State, String) {
        // In this order: whoever sees the state of a leader sees a deadline at least as new.
        let (told, _) = self.status.state();
        let leadership = self.status.leadership();
        let since_boot = self.clock.since_boot();
        let state = told.held(leadership.remaining(since_boot));
        let text = match leadership.leader_at(&self.instance, since_boot) {
            _ if state == State::Leader => format!("leader in term {}", leadership.term),
            Some(leader) if *leader.name != *self.instance => {
                format!(
                    "{}; {} leads in term {}",
                    state.as_str(),
                    leader.name,
                    leadership.term
                )
            }
            _ => state.as_str().to_owned(),
        };
        (state, text)
    }

    /// Whether `/liveness` would be answered with 200.
    fn alive(&self, state: State) -> bool {
        // A restart of a paused cluster's leader would leave it without one.
        self.status.leadership().paused || self.heartbeat.age() < patience(state, self.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Leader, Leadership};

    fn vitals(ttl: Duration) -> Vitals {
        let clock = Clock::system();
        Vitals {
            instance: Arc::from("node-a"),
            status: Arc::new(Status::new(clock.now())),
            heartbeat: Heartbeat::new(),
            ttl,
            clock,
        }
    }

    #[test]
    fn a_silent_main_loop_is_not_alive_but_in_a_pause() {
        let hour = Duration::from_secs(3600);
        assert!(vitals(hour).alive(State::Leader));
        let vitals = vitals(Duration::ZERO);
        for state in [State::Leader, State::Standby, State::Single, State::Starting] {
            assert!(!vitals.alive(state), "{state:?}");
        }
        vitals.status.tell_leadership(Leadership {
            paused: true,
            ..Leadership::default()
        });
        assert!(vitals.alive(State::Leader));
    }

    #[test]
    fn people_are_told_who_it_is_and_who_leads() {
        let vitals = vitals(Duration::from_secs(10));
        let now = vitals.clock.now();
        let text = |state| {
            vitals.status.enter(state, now);
            vitals.look().1
        };
        assert_eq!(text(State::Starting), "starting");
        assert_eq!(text(State::Single), "single");
        let lead = |name: &str, left| {
            vitals.status.tell_leadership(Leadership {
                term: 7,
                leader: Some(Leader {
                    name: Arc::from(name),
                    address: Arc::from(""),
                    since: now,
                }),
                deadline: Some(vitals.clock.since_boot() + left),
                ..Leadership::default()
            });
        };
        lead("node-b", Duration::ZERO);
        assert_eq!(text(State::Standby), "standby; node-b leads in term 7");
        lead("node-a", Duration::from_secs(3600));
        assert_eq!(text(State::Leader), "leader in term 7");
        // Its tenure is over, whatever it believes.
        lead("node-a", Duration::ZERO);
        assert_eq!(text(State::Leader), "lost");
    }
}
