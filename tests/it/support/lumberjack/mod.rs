//! A server of the Lumberjack protocol that records what it is sent, and answers as Logstash does or worse.
//!
//! Owns [`Lumberjack`]. What it counts as processed is recorded before it is acknowledged, as by a Logstash whose
//! queue is on disk; a batch that did not arrive whole, or broke a rule, is not processed. Speaks no TLS.

mod frames;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::WriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use frames::{Batch, Broken};

/// What a batch comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One acknowledgement of all of it.
    Whole,
    /// An acknowledgement after each so many events, then one of the rest.
    Partial { every: usize },
    /// So many signs of life first, then the acknowledgement.
    KeepAlive { times: usize },
    /// Processed and never acknowledged. The connection stays.
    Never,
    /// Processed and not acknowledged: the connection ends with a reset.
    Lost,
    /// So many events are processed and acknowledged, no more. Then the connection ends with a reset.
    Torn { events: usize },
    /// Acknowledged, and the connection ended at once, as if it had been idle for too long.
    Last(End),
    /// Acknowledges an event that there was not.
    TooMany,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Close,
    /// With a reset, as Logstash does it.
    Reset,
}

/// A processed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Processed {
    /// Which connection it came over, by the order of connecting.
    pub(crate) connection: usize,
    /// The documents that were processed, byte by byte as they came.
    pub(crate) events: Vec<Vec<u8>>,
    /// How many compressed frames it came in; 0 for bare events.
    pub(crate) compressed: usize,
}

/// A running server. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Lumberjack {
    address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    answers: Mutex<Answers>,
    record: Mutex<Record>,
    /// How connections that are idle end, each time it is told.
    idle: watch::Sender<End>,
}

#[derive(Debug)]
struct Answers {
    next: VecDeque<Answer>,
    always: Answer,
}

#[derive(Debug, Default)]
struct Record {
    batches: Vec<Processed>,
    violations: Vec<String>,
    broken_off: usize,
    connections: usize,
    /// Connections at this moment.
    open: usize,
    /// Those of them that wait for a batch.
    idle: usize,
}

// === impl Lumberjack ===

impl Lumberjack {
    /// Opens a free port; every batch is acknowledged at once.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answers: Mutex::new(Answers {
                next: VecDeque::new(),
                always: Answer::Whole,
            }),
            record: Mutex::default(),
            idle: watch::Sender::new(End::Close),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What every batch comes to from now on, unless something else was said of it.
    pub(crate) fn always(&self, answer: Answer) {
        self.state.answers.lock().unwrap().always = answer;
    }

    /// What the next batches come to, one each.
    pub(crate) fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.answers.lock().unwrap().next.extend(answers);
    }

    /// Ends every connection that waits for a batch.
    pub(crate) fn end_idle(&self, end: End) {
        self.state.idle.send_replace(end);
    }

    /// Every batch that was processed so far.
    pub(crate) fn batches(&self) -> Vec<Processed> {
        self.state.record.lock().unwrap().batches.clone()
    }

    /// Every document that was processed so far, as often as it was.
    pub(crate) fn events(&self) -> Vec<Vec<u8>> {
        let record = self.state.record.lock().unwrap();
        let batches = record.batches.iter();
        batches.flat_map(|batch| batch.events.iter().cloned()).collect()
    }

    /// The rules that clients broke.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.state.record.lock().unwrap().violations.clone()
    }

    /// How many connections ended in the midst of a batch, or without the acknowledgement that was due.
    pub(crate) fn broken_off(&self) -> usize {
        self.state.record.lock().unwrap().broken_off
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.state.record.lock().unwrap().connections
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.state.record.lock().unwrap().open
    }

    /// How many connections wait for a batch.
    pub(crate) fn idle(&self) -> usize {
        self.state.record.lock().unwrap().idle
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let number = {
                    let mut record = state.record.lock().unwrap();
                    record.connections += 1;
                    record.open += 1;
                    record.connections - 1
                };
                // Told of what is said from here on.
                let idle = state.idle.subscribe();
                connections.spawn(serve(stream, number, Arc::clone(&state), idle));
            },
            Some(served) = connections.join_next() => served.unwrap(),
        }
    }
}

/// A connection, to its end.
async fn serve(mut stream: TcpStream, number: usize, state: Arc<State>, mut idle: watch::Receiver<End>) {
    let _ = stream.set_nodelay(true);
    let end = converse(&mut stream, number, &state, &mut idle).await;
    if end == End::Reset {
        let _ = stream.set_zero_linger();
    }
    drop(stream);
    state.record.lock().unwrap().open -= 1;
}

async fn converse(
    stream: &mut TcpStream,
    number: usize,
    state: &State,
    idle: &mut watch::Receiver<End>,
) -> End {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        // What was told while it was busy is none of its business.
        idle.mark_unchanged();
        state.record.lock().unwrap().idle += 1;
        let ended = tokio::select! {
            first = reader.fill_buf() => first.map_or(true, <[u8]>::is_empty).then_some(End::Close),
            told = idle.changed() => told.ok().map(|()| *idle.borrow()),
        };
        state.record.lock().unwrap().idle -= 1;
        if let Some(end) = ended {
            return end;
        }
        match frames::batch(&mut reader).await {
            Ok(batch) => match state.process(number, batch, &mut writer).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(_) => {
                    state.record.lock().unwrap().broken_off += 1;
                    return End::Close;
                }
            },
            Err(Broken::Off(_)) => {
                state.record.lock().unwrap().broken_off += 1;
                return End::Close;
            }
            Err(Broken::Rule(text)) => {
                state.record.lock().unwrap().violations.push(text);
                return End::Reset;
            }
        }
    }
}

impl State {
    /// Processes a batch and answers; tells whether the connection is to end, and how.
    async fn process(
        &self,
        connection: usize,
        batch: Batch,
        writer: &mut WriteHalf<'_>,
    ) -> std::io::Result<Option<End>> {
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            answers.next.pop_front().unwrap_or(answers.always)
        };
        let mut events = batch.events;
        if let Answer::Torn { events: whole } = answer {
            events.truncate(whole);
        }
        let count = events.len();
        if count > 0 {
            self.record.lock().unwrap().batches.push(Processed {
                connection,
                events,
                compressed: batch.compressed,
            });
        }
        match answer {
            Answer::Whole => acknowledge(writer, count).await?,
            Answer::Partial { every } => {
                for told in (every..count).step_by(every) {
                    acknowledge(writer, told).await?;
                }
                acknowledge(writer, count).await?;
            }
            Answer::KeepAlive { times } => {
                for _ in 0..times {
                    acknowledge(writer, 0).await?;
                }
                acknowledge(writer, count).await?;
            }
            Answer::Never => {}
            Answer::Lost => return Ok(Some(End::Reset)),
            Answer::Torn { .. } => {
                if count > 0 {
                    acknowledge(writer, count).await?;
                }
                return Ok(Some(End::Reset));
            }
            Answer::Last(end) => {
                acknowledge(writer, count).await?;
                return Ok(Some(end));
            }
            Answer::TooMany => acknowledge(writer, count + 1).await?,
        }
        Ok(None)
    }
}

/// Acknowledges the first so many events of a batch; 0 is a sign of life.
async fn acknowledge(writer: &mut WriteHalf<'_>, count: usize) -> std::io::Result<()> {
    let mut frame = *b"2A\0\0\0\0";
    frame[2..].copy_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
    writer.write_all(&frame).await
}
