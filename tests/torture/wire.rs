//! Questions over HTTP to replicas and to etcd.
//!
//! Owns a client just large enough for short JSON answers, so that it is known when a question left and its answer
//! came. [`Connection`] keeps its connection from one question to the next, as a load balancer does.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer that is read.
const LONGEST: usize = 1 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks one server again and again.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Reply {
    /// The body; null where it is no JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Asks once.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
    limit: Duration,
) -> Result<Reply> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let length = body.len();
        // Of version 1.0: the answer ends with its connection and comes in no pieces.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        (&mut stream)
            .take(LONGEST as u64)
            .read_to_end(&mut answer)
            .await?;
        let head = head_length(&answer).ok_or_else(|| broken("no head"))?;
        Ok(Reply {
            status: status(&answer)?,
            body: String::from_utf8_lossy(&answer[head..]).into_owned(),
        })
    };
    within(limit, asked).await
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, asked)
        .await
        .map_err(|_| Error::from(ErrorKind::TimedOut))?
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the answer is no HTTP: {what}"))
}

/// Where the body begins.
fn head_length(answer: &[u8]) -> Option<usize> {
    let place = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(place + 4)
}

fn status(answer: &[u8]) -> Result<u16> {
    let digits = answer
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| broken("no status"))
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// GET. After any error the next question takes a new connection.
    pub(crate) async fn get(&mut self, path: &str, limit: Duration) -> Result<Reply> {
        let stream = self.stream.take();
        let address = self.address;
        let asked = async {
            let mut stream = match stream {
                Some(stream) => stream,
                None => TcpStream::connect(address).await?,
            };
            let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::with_capacity(1024);
            let head = loop {
                if let Some(head) = head_length(&answer) {
                    break head;
                }
                if answer.len() > LONGEST || stream.read_buf(&mut answer).await? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            };
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let field = |name: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
            };
            let length: usize = (field("content-length").and_then(|length| length.parse().ok()))
                .filter(|length| *length <= LONGEST)
                .ok_or_else(|| broken("no length"))?;
            let stays = field("connection") != Some("close");
            while answer.len() < head + length {
                if stream.read_buf(&mut answer).await? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            let reply = Reply {
                status: status(&answer)?,
                body: String::from_utf8_lossy(&answer[head..head + length]).into_owned(),
            };
            Ok((reply, stays.then_some(stream)))
        };
        let (reply, stream) = within(limit, asked).await?;
        self.stream = stream;
        Ok(reply)
    }
}
