//! One connection to a Redis server.
//!
//! Owns the exchange of commands for replies, in RESP2 as the redis crate packs and reads it, over a stream of `dial`;
//! and what is said before the first event. The permit is looked at whenever bytes are about to go out. A connection
//! that was left in the middle of an exchange is never used again: its replies would be taken for those of others.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use prometheus_client::metrics::counter::Counter;
use redis::{Cmd, Parser, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout_at;

use super::super::SinkError;
use super::{Deadline, refusal};
use crate::config::{HostPort, RedisHost};
use crate::dial::Stream;
use crate::election::{NoTenure, Permit};
use crate::tls;

/// Most bytes written between two looks at the permit.
const PIECE: usize = 64 << 10;
/// Bytes read at once.
const READ: usize = 16 << 10;
/// Most bytes of an answer: some for each reply, and some for a long one. A reply to a command of ours has at most a
/// few hundred.
const MAX_ANSWER: usize = 1 << 20;
const MAX_REPLY: usize = 1 << 10;

/// Commands that go out behind each other.
#[derive(Default)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

/// What came back for them.
pub(super) struct Exchange {
    /// In the order of the commands; fewer where it broke off.
    pub(super) replies: Vec<Value>,
    /// Why there are not as many replies as commands.
    pub(super) broken: Option<SinkError>,
}

/// Why an exchange broke off.
enum Broken {
    NoTenure,
    Unwritten(io::Error),
    Late,
    HungUp,
    Unread(io::Error),
    NotRedis,
    TooLong,
    Unasked,
}

/// What bytes go over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// A connection to one host.
pub(super) struct Connection<S = Stream> {
    stream: S,
    host: usize,
    name: String,
    /// No command is without its reply.
    in_order: bool,
    written: Counter,
    read: Counter,
}

impl Commands {
    pub(super) fn push(&mut self, command: &Cmd) {
        command.write_packed_command(&mut self.bytes);
        self.count += 1;
    }

    /// All of them as they go out.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<S: Wire> Connection<S> {
    /// `counters` are of bytes written and read.
    pub(super) fn new(stream: S, host: usize, at: &HostPort, counters: (&Counter, &Counter)) -> Self {
        let (written, read) = counters;
        Self {
            stream,
            host,
            name: at.to_string(),
            in_order: true,
            written: written.clone(),
            read: read.clone(),
        }
    }

    /// How messages call its host.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it goes to the host of this number.
    pub(super) fn is_to(&self, host: usize) -> bool {
        self.host == host
    }

    /// Whether the last exchange ended as it should.
    pub(super) fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// Whether the server has neither hung up nor said anything since the last exchange.
    pub(super) fn is_open(&mut self) -> bool {
        let mut unasked = [0];
        self.in_order && self.stream.read(&mut unasked).now_or_never().is_none()
    }

    /// Logs in, chooses the database, and sees whether it is a Redis that answers.
    pub(super) async fn greet(&mut self, host: &RedisHost, deadline: &Deadline) -> Result<(), SinkError> {
        let mut commands = Commands::default();
        let mut asked = Vec::new();
        if let Some(password) = &host.password {
            let mut login = redis::cmd("AUTH");
            login.arg(host.username.as_deref()).arg(password.expose());
            commands.push(&login);
            asked.push("AUTH");
        }
        if host.db != 0 {
            commands.push(redis::cmd("SELECT").arg(host.db));
            asked.push("SELECT");
        }
        commands.push(&redis::cmd("PING"));
        asked.push("PING");
        let mut replies = Vec::new();
        let ended = self.run(&commands, deadline, &mut replies).await;
        let answered = replies.len();
        for (command, reply) in asked.into_iter().zip(replies) {
            let Value::ServerError(error) = reply else {
                continue;
            };
            match command {
                "AUTH" => return Err(refusal::of_login(&self.name, &error)),
                // A user who may only push is welcome.
                "PING" if error.code() == "NOPERM" => {}
                _ => return Err(refusal::of(&self.name, command, &error)),
            }
        }
        ended.map_err(|broken| {
            let is_cut = matches!(
                broken,
                Broken::Unwritten(_) | Broken::Late | Broken::HungUp | Broken::Unread(_)
            );
            let error = self.told(broken, answered, &commands, deadline);
            if is_cut && answered == 0 && !host.tls {
                let hint = "if it wants TLS, write rediss:// in output.redis.hosts";
                SinkError::Unanswered(format!("{error}; {hint}"))
            } else {
                error
            }
        })
    }

    /// What the server says of its version.
    pub(super) async fn version(&mut self, deadline: &Deadline) -> Result<String, SinkError> {
        let mut commands = Commands::default();
        commands.push(redis::cmd("INFO").arg("server"));
        let exchange = self.exchange(&commands, deadline).await;
        let unknown = || {
            SinkError::Protocol(format!(
                "{}: INFO does not tell the version of a Redis",
                self.name
            ))
        };
        match exchange.replies.into_iter().next() {
            Some(Value::BulkString(text)) => version_in(&text).ok_or_else(unknown),
            Some(Value::ServerError(error)) => Err(refusal::of(&self.name, "INFO", &error)),
            _ => Err(exchange.broken.unwrap_or_else(unknown)),
        }
    }

    /// Sends the commands and takes their replies, until `deadline`.
    pub(super) async fn exchange(&mut self, commands: &Commands, deadline: &Deadline) -> Exchange {
        let mut replies = Vec::with_capacity(commands.count);
        let ended = self.run(commands, deadline, &mut replies).await;
        let broken = ended.err();
        Exchange {
            broken: broken.map(|broken| self.told(broken, replies.len(), commands, deadline)),
            replies,
        }
    }

    /// Reading begins before everything is written, so that neither side waits for the other, and what the server says
    /// before it hangs up is heard.
    async fn run(
        &mut self,
        commands: &Commands,
        deadline: &Deadline,
        replies: &mut Vec<Value>,
    ) -> Result<(), Broken> {
        self.in_order = false;
        let ended = {
            let (reader, writer) = tokio::io::split(&mut self.stream);
            let mut writer = Permitted {
                inner: writer,
                permit: &deadline.permit,
                written: &self.written,
            };
            let write = async {
                writer.write_all(&commands.bytes).await?;
                writer.flush().await
            };
            let read = read_replies(reader, commands.count, replies, &self.read);
            timeout_at(deadline.at, both(write, read)).await
        };
        ended.unwrap_or(Err(Broken::Late))?;
        self.in_order = true;
        Ok(())
    }

    fn told(&self, broken: Broken, answered: usize, commands: &Commands, deadline: &Deadline) -> SinkError {
        let (name, time) = (&self.name, deadline.time);
        match broken {
            Broken::Late if answered == 0 => {
                SinkError::Unanswered(format!("{name}: no answer within {time:?}"))
            }
            Broken::Late => SinkError::Unanswered(format!(
                "{name}: {answered} of {} commands answered within {time:?}",
                commands.count
            )),
            Broken::NoTenure => SinkError::Unanswered(format!("{name}: not sent: {NoTenure}")),
            Broken::HungUp => SinkError::Unanswered(format!("{name}: it hung up before it had answered")),
            Broken::Unwritten(error) => SinkError::Transport(format!("{name}: {}", explained(&error))),
            Broken::Unread(error) => SinkError::Unanswered(format!("{name}: {}", explained(&error))),
            Broken::NotRedis => SinkError::Protocol(format!(
                "{name}: it answers, but not as Redis does: check host and port in output.redis.hosts, and whether it \
                 wants TLS (rediss://)"
            )),
            Broken::TooLong => SinkError::Protocol(format!(
                "{name}: its answer is too long for one of Redis: check host and port in output.redis.hosts"
            )),
            Broken::Unasked => {
                SinkError::Protocol(format!("{name}: it answered more than it had been asked"))
            }
        }
    }

    /// Says goodbye, where TLS has a word for it.
    pub(super) async fn close(mut self, within: Duration) {
        let _ = tokio::time::timeout(within, self.stream.shutdown()).await;
    }
}

/// Writes and reads until all is read. What cannot be written any more may be explained by what there is to read.
async fn both(
    write: impl Future<Output = io::Result<()>>,
    read: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Broken> {
    let (mut write, mut read) = (pin!(write), pin!(read));
    let written = tokio::select! {
        biased;
        written = &mut write => written,
        read = &mut read => {
            read?;
            return write.await.map_err(unwritten);
        }
    };
    let Err(error) = written else {
        return read.await;
    };
    match unwritten(error) {
        Broken::NoTenure => Err(Broken::NoTenure),
        broken => Err(match read.await {
            Ok(()) | Err(Broken::HungUp | Broken::Unread(_)) => broken,
            Err(explained) => explained,
        }),
    }
}

fn explained(error: &io::Error) -> String {
    match tls::advice(error) {
        Some(advice) => format!("{error}: {advice}"),
        None => error.to_string(),
    }
}

fn unwritten(error: io::Error) -> Broken {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(NoTenure) => Broken::NoTenure,
        None => Broken::Unwritten(error),
    }
}

/// Appends `count` replies to `replies`, one by one, so that those are there that came before an error.
async fn read_replies(
    mut reader: impl AsyncRead + Unpin,
    count: usize,
    replies: &mut Vec<Value>,
    counter: &Counter,
) -> Result<(), Broken> {
    let mut parser = Parser::new();
    let mut arrived = Arrived::default();
    let mut left = MAX_ANSWER + count.saturating_mul(MAX_REPLY);
    while replies.len() < count {
        match parser.parse_value(&mut arrived) {
            // RESP2 has none of these, and they are no reply to a command.
            Ok(Value::Push { .. } | Value::Attribute { .. }) => return Err(Broken::NotRedis),
            Ok(reply) => replies.push(reply),
            Err(error) if error.is_io_error() => {
                let read = arrived.more(&mut reader).await.map_err(|error| {
                    // With TLS a server that hangs up without a word.
                    match error.kind() {
                        io::ErrorKind::UnexpectedEof => Broken::HungUp,
                        _ => Broken::Unread(error),
                    }
                })?;
                if read == 0 {
                    return Err(Broken::HungUp);
                }
                counter.inc_by(read as u64);
                left = left.checked_sub(read).ok_or(Broken::TooLong)?;
            }
            Err(_) => return Err(Broken::NotRedis),
        }
    }
    if arrived.is_empty() {
        Ok(())
    } else {
        Err(Broken::Unasked)
    }
}

/// What has arrived and is not parsed yet. The parser gets it line by line, since what it has taken cannot be had back:
/// no reply ends within a line. It is told to come again when there is nothing left.
#[derive(Default)]
struct Arrived {
    bytes: Vec<u8>,
    parsed: usize,
}

impl Arrived {
    fn is_empty(&self) -> bool {
        self.parsed == self.bytes.len()
    }

    /// Waits for more; 0 = the other side has hung up.
    async fn more(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.bytes.drain(..self.parsed);
        self.parsed = 0;
        self.bytes.reserve(READ);
        reader.read_buf(&mut self.bytes).await
    }
}

impl io::Read for Arrived {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.get(self.parsed..).unwrap_or_default();
        let line = memchr::memchr(b'\n', left).map_or(left.len(), |end| end + 1);
        let count = line.min(buffer.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..count].copy_from_slice(&left[..count]);
        self.parsed += count;
        Ok(count)
    }
}

/// Lets bytes out in pieces, each only while the permit holds: a process that was paused in the middle of a batch must
/// not send the rest.
struct Permitted<'a, W> {
    inner: W,
    permit: &'a Permit,
    written: &'a Counter,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Permitted<'_, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.permit.check().map_err(io::Error::other)?;
        let piece = &bytes[..bytes.len().min(PIECE)];
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, piece))?;
        self.written.inc_by(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.permit.check().map_err(io::Error::other)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The version in the answer to `INFO server`; Valkey names that of the Redis it stands in for beside its own.
fn version_in(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim_end().strip_prefix(name))?;
        Some(line.trim().chars().take(40).collect::<String>())
    };
    match value("valkey_version:") {
        Some(version) => Some(format!("{version} (Valkey)")),
        None => value("redis_version:"),
    }
}
