//! A client of Redis, of its own, so that what arrived is not read by the code that wrote it.
//!
//! Owns the protocol (RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec/>) as far as
//! administrators' commands need it. Answers that break it fail the test.

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream,
};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Integer(i64),
    /// `None` where there is nothing.
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client<S>(BufStream<S>);

impl Reply {
    /// The strings of a list.
    #[track_caller]
    pub(crate) fn list(self) -> Vec<Vec<u8>> {
        let Self::Array(items) = self else {
            panic!("no list: {self:?}");
        };
        let bulk = |item| match item {
            Self::Bulk(Some(bytes)) => bytes,
            other => panic!("no string: {other:?}"),
        };
        items.into_iter().map(bulk).collect()
    }

    #[track_caller]
    pub(crate) fn integer(&self) -> i64 {
        let Self::Integer(number) = self else {
            panic!("no number: {self:?}");
        };
        *number
    }

    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self(BufStream::new(stream))
    }

    /// Sends a command and takes its answer.
    pub(crate) async fn ask(&mut self, command: &[&str]) -> std::io::Result<Reply> {
        self.0
            .write_all(format!("*{}\r\n", command.len()).as_bytes())
            .await?;
        for part in command {
            let part = format!("${}\r\n{part}\r\n", part.len());
            self.0.write_all(part.as_bytes()).await?;
        }
        self.0.flush().await?;
        self.next().await
    }

    /// The next answer, or the next message of a subscription.
    pub(crate) async fn next(&mut self) -> std::io::Result<Reply> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.strip_suffix("\r\n").expect("a line ends with CR LF");
        let (kind, rest) = line.split_at(1);
        let count = || rest.parse::<i64>().expect("a number");
        Ok(match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(count()),
            "$" => match usize::try_from(count()) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.0.read_exact(&mut bytes).await?;
                    assert!(bytes.ends_with(b"\r\n"), "a string of {length} bytes goes on");
                    bytes.truncate(length);
                    Reply::Bulk(Some(bytes))
                }
                Err(_) => Reply::Bulk(None),
            },
            "*" => {
                let mut items = Vec::new();
                for _ in 0..count() {
                    items.push(Box::pin(self.next()).await?);
                }
                Reply::Array(items)
            }
            other => panic!("{other:?} begins no answer: {line:?}"),
        })
    }
}
