//! Asks every replica, all the time, whether it leads, as load balancers do.
//!
//! Owns the tasks that ask, what they write down, and the newest view of each replica. Also watches itself: where
//! the harness does not get the processor, what it measures is worth little, and the recording says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::record::{Micros, Probe, Span, What};
use crate::recorder::{Recorder, micros};
use crate::wire::Connection;

/// Between questions to one replica.
const EVERY: Duration = Duration::from_millis(20);
/// An answer that takes longer is given up.
const LIMIT: Duration = Duration::from_millis(400);
/// `/health` is asked once for so many questions about `/leader`.
const HEALTH: u32 = 10;
/// A harness that is so late has not measured.
const STALLED: Duration = Duration::from_millis(75);

/// The last answers of a replica.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// Of `/leader`; 0 = no answer.
    pub(crate) leader: u16,
    /// The term it told.
    pub(crate) term: u64,
    /// When the answer came.
    pub(crate) at: Micros,
    /// Of `/health`.
    pub(crate) health: u16,
}

/// What is known of all replicas.
#[derive(Debug, Default)]
pub(crate) struct Views {
    replicas: Vec<View>,
    /// When each term was first told with 200.
    terms: BTreeMap<u64, Micros>,
}

/// Asks until it is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    views: Arc<Mutex<Views>>,
    tasks: JoinSet<()>,
}

impl Views {
    /// The replica that leads, by what it said last, and its term.
    pub(crate) fn leader(&self) -> Option<(usize, u64)> {
        let leading = self.replicas.iter().enumerate();
        leading
            .filter(|(_, view)| view.leader == 200)
            .max_by_key(|(_, view)| view.term)
            .map(|(number, view)| (number, view.term))
    }

    /// The newest term that anybody led in.
    pub(crate) fn newest(&self) -> u64 {
        self.terms.last_key_value().map_or(0, |(term, _)| *term)
    }

    /// When a term after `term` was first told.
    pub(crate) fn after(&self, term: u64) -> Option<Micros> {
        let newer = self.terms.range(term + 1..);
        newer.map(|(_, at)| *at).min()
    }

    pub(crate) fn replica(&self, number: usize) -> View {
        self.replicas.get(number).cloned().unwrap_or_default()
    }
}

impl Prober {
    /// Begins to ask replicas of these names at these addresses.
    pub(crate) fn start(recorder: &Recorder, replicas: &[(String, SocketAddr)]) -> Self {
        let views = Arc::new(Mutex::new(Views {
            replicas: vec![View::default(); replicas.len()],
            terms: BTreeMap::new(),
        }));
        let mut tasks = JoinSet::new();
        for (number, (name, address)) in replicas.iter().enumerate() {
            let asking = Asking {
                recorder: recorder.clone(),
                views: Arc::clone(&views),
                number,
                name: name.clone(),
                connection: Connection::new(*address),
                leader: Run::default(),
                health: Run::default(),
            };
            tasks.spawn(asking.run());
        }
        tasks.spawn(watch_ourselves(recorder.clone()));
        Self { views, tasks }
    }

    /// Looks at what is known.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Views) -> T) -> T {
        look(&self.views.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops asking; the last answers are in the recording afterwards.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// One replica's questions.
struct Asking {
    recorder: Recorder,
    views: Arc<Mutex<Views>>,
    number: usize,
    name: String,
    connection: Connection,
    leader: Run,
    health: Run,
}

/// Equal answers in a row.
#[derive(Default)]
struct Run {
    last: Option<Probe>,
    /// The last one is in the recording.
    written: bool,
}

impl Run {
    /// Writes down the first answer of a run, and the last when the next run begins.
    fn answered(&mut self, recorder: &Recorder, probe: Probe) {
        let same = self.last.as_ref().is_some_and(|last| {
            (last.status, last.term, &last.state) == (probe.status, probe.term, &probe.state)
        });
        if !same {
            self.close(recorder);
            recorder.note_at(probe.got, What::Probe(probe.clone()));
        }
        self.written = !same;
        self.last = Some(probe);
    }

    fn close(&mut self, recorder: &Recorder) {
        if let Some(last) = self.last.take().filter(|_| !self.written) {
            recorder.note_at(last.got, What::Probe(last));
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.leader.close(&self.recorder);
        self.health.close(&self.recorder);
    }
}

impl Asking {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0_u32;
        loop {
            ticks.tick().await;
            let probe = self.ask("/leader").await;
            self.seen(&probe);
            self.leader.answered(&self.recorder, probe);
            count = count.wrapping_add(1);
            if count.is_multiple_of(HEALTH) {
                let probe = self.ask("/health").await;
                let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
                views.replicas[self.number].health = probe.status;
                drop(views);
                self.health.answered(&self.recorder, probe);
            }
        }
    }

    async fn ask(&mut self, path: &str) -> Probe {
        let sent = self.recorder.now();
        let reply = self.connection.get(path, LIMIT).await;
        let got = self.recorder.now();
        let (status, body) = match reply {
            Ok(reply) => (reply.status, reply.json()),
            Err(_) => (0, Value::Null),
        };
        Probe {
            replica: self.name.clone(),
            path: path.to_owned(),
            sent,
            got,
            status,
            term: body["term"].as_u64(),
            state: body["state"].as_str().unwrap_or_default().to_owned(),
        }
    }

    fn seen(&self, probe: &Probe) {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let term = probe.term.unwrap_or(0);
        if probe.status == 200 {
            views.terms.entry(term).or_insert(probe.got);
        }
        let view = &mut views.replicas[self.number];
        (view.leader, view.term, view.at) = (probe.status, term, probe.got);
    }
}

async fn watch_ourselves(recorder: Recorder) {
    loop {
        let from = recorder.now();
        tokio::time::sleep(EVERY).await;
        let to = recorder.now();
        if to - from > micros(EVERY + STALLED) {
            let why = format!("the harness was {} ms late", (to - from) / 1000);
            recorder.note(What::Stall(Span { from, to, why }));
        }
    }
}
