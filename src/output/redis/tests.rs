//! The output against a server in this process, which answers as told and keeps what it was asked.

mod connecting;
mod exchange;
mod lists;
mod replies;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Redis;
use crate::config::{BackoffConfig, Codec, HostPort, Network, RedisHost, RedisOutput, RedisType, Ssl};
use crate::event::Event;
use crate::output::samples::{event, permit};
use crate::output::{Outcome, Sink, SinkError};

/// Far longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// What the server does about a command.
#[derive(Debug, Clone)]
enum Answer {
    /// Sends this as it is.
    Bytes(String),
    /// Says nothing, and reads on.
    Silence,
    /// Closes the connection.
    HangUp,
}

/// A line of RESP.
fn line(text: &str) -> Answer {
    Answer::Bytes(format!("{text}\r\n"))
}

/// Commands, each with the number of its connection.
type Asked = Vec<(usize, Vec<String>)>;

/// What a healthy server says.
fn healthy(command: &[String]) -> Answer {
    match command[0].as_str() {
        "PING" => line("+PONG"),
        "AUTH" | "SELECT" => line("+OK"),
        "LLEN" => line(":0"),
        "INFO" => {
            let text = "# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n";
            line(&format!("${}\r\n{text}", text.len()))
        }
        _ => line(":1"),
    }
}

/// One command of a connection: an array of strings.
async fn next_command<S>(stream: &mut BufStream<S>) -> Option<Vec<String>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut number = async |sign: char| {
        let mut line = String::new();
        let count = stream.read_line(&mut line).await.ok().filter(|count| *count > 0);
        count?;
        let number = line.trim_end().strip_prefix(sign).expect("RESP of a client");
        let number: usize = number.parse().unwrap();
        if sign == '*' {
            return Some((number, String::new()));
        }
        let mut text = vec![0; number + 2];
        stream.read_exact(&mut text).await.ok()?;
        text.truncate(number);
        Some((number, String::from_utf8(text).unwrap()))
    };
    let (count, _) = number('*').await?;
    let mut command = Vec::new();
    for _ in 0..count {
        command.push(number('$').await?.1);
    }
    Some(command)
}

/// Answers the commands of one connection until it ends.
async fn serve<S>(stream: S, mut answer: impl FnMut(Vec<String>) -> Answer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufStream::new(stream);
    while let Some(command) = next_command(&mut stream).await {
        match answer(command) {
            Answer::Bytes(bytes) => {
                if stream.write_all(bytes.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Answer::Silence => {}
            Answer::HangUp => return,
        }
    }
}

/// A server that answers until it is dropped.
struct Server {
    at: HostPort,
    asked: Arc<Mutex<Asked>>,
    /// Connections that have ended.
    ended: watch::Receiver<usize>,
    closing: watch::Sender<()>,
    _task: JoinSet<()>,
}

impl Server {
    /// `answer` is told the number of the connection, from 0, and the command.
    async fn start(answer: impl Fn(usize, &[String]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = HostPort {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let asked: Arc<Mutex<Asked>> = Arc::default();
        let (ending, ended) = watch::channel(0);
        let closing = watch::Sender::new(());
        let (seen, answer, ending) = (Arc::clone(&asked), Arc::new(answer), Arc::new(ending));
        let orders = closing.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, answer, ending) = (Arc::clone(&seen), Arc::clone(&answer), Arc::clone(&ending));
                let mut order = orders.subscribe();
                connections.spawn(async move {
                    let served = serve(stream, |command| {
                        let said = answer(number, &command);
                        seen.lock().unwrap().push((number, command));
                        said
                    });
                    tokio::select! {
                        () = served => {}
                        _ = order.changed() => {}
                    }
                    ending.send_modify(|ended| *ended += 1);
                });
            }
        });
        Self {
            at,
            asked,
            ended,
            closing,
            _task: task,
        }
    }

    /// A server that is well.
    async fn healthy() -> Self {
        Self::start(|_, command| healthy(command)).await
    }

    /// A server that says this to whatever is pushed or published, and is well otherwise.
    async fn saying(text: &'static str) -> Self {
        Self::start(move |_, command| match command[0].as_str() {
            "RPUSH" | "PUBLISH" => line(text),
            _ => healthy(command),
        })
        .await
    }

    /// Closes all connections, in order.
    async fn close_all(&mut self, count: usize) {
        self.closing.send(()).unwrap();
        self.ended.wait_for(|ended| *ended >= count).await.unwrap();
    }

    fn asked(&self) -> Asked {
        self.asked.lock().unwrap().clone()
    }

    /// The first words of all commands.
    fn verbs(&self) -> Vec<String> {
        let asked = self.asked();
        asked.into_iter().map(|(_, command)| command[0].clone()).collect()
    }

    fn host(&self) -> RedisHost {
        RedisHost {
            at: self.at.clone(),
            tls: false,
            username: None,
            password: None,
            db: 0,
        }
    }

    fn config(&self) -> RedisOutput {
        config(vec![self.host()])
    }

    /// A sink for it.
    fn sink(&self) -> Redis {
        sink(&self.config())
    }
}

fn config(hosts: Vec<RedisHost>) -> RedisOutput {
    RedisOutput {
        hosts,
        datatype: RedisType::List,
        key: "ecsbeat".to_owned(),
        keys: Vec::new(),
        index: "ecsbeat".to_owned(),
        codec: Codec::default(),
        max_list_len: None,
        network: Network {
            workers: 1,
            loadbalance: true,
            bulk_max_size: 2048,
            max_retries: None,
            backoff: BackoffConfig {
                init: Duration::from_secs(1),
                max: LONG,
            },
            timeout: LONG,
            proxy: None,
            ssl: Ssl::default(),
        },
    }
}

fn sink(config: &RedisOutput) -> Redis {
    let mut sinks = Redis::new(config, &Counter::default(), &Counter::default()).unwrap();
    assert_eq!(sinks.len(), 1);
    sinks.remove(0)
}

/// Waits until something that is on its way has arrived.
async fn until(mut arrived: impl FnMut() -> bool) {
    let waited = async {
        while !arrived() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, waited).await.unwrap();
}

/// Connects and publishes once.
async fn publish(sink: &mut Redis, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
    sink.connect(&permit(LONG)).await.unwrap();
    sink.publish(&permit(LONG), batch).await
}

/// So many events, each with its number.
fn events(count: usize) -> Vec<Event> {
    (0..count)
        .map(|number| event(&format!("{{\"n\":{number}}}")))
        .collect()
}
