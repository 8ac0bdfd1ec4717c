//! An answer and the manner in which its bytes go out, well or badly. Must never touch a socket itself.

use std::any::Any;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

/// An answer.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// All headers but those of the framing, which the writer adds.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
    pub(crate) manner: Manner,
    /// Kept until the last byte is out, then dropped: counts of what is in flight end there.
    pub(crate) held: Option<Box<dyn Any + Send + Sync>>,
}

/// The bytes of an answer.
pub(crate) enum Body {
    /// As they are.
    Whole(Bytes),
    /// `head`, then `filling` times the letter x, then `tail`; made while it is sent.
    Inflated { head: Bytes, filling: u64, tail: Bytes },
}

/// How the bytes go out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// Send nothing.
    pub(crate) silence: Option<Silence>,
    /// Spread the headers over this time.
    pub(crate) slow_headers: Option<Duration>,
    pub(crate) framing: Framing,
    pub(crate) break_off: Option<BreakOff>,
    pub(crate) dribble: Option<Dribble>,
    /// Close after this answer.
    pub(crate) close: bool,
    /// Say so in a header.
    pub(crate) announce_close: bool,
    pub(crate) header_case: HeaderCase,
}

/// What happens instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing, until the peer gives up.
    Hang,
    /// The connection is reset.
    Reset,
}

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    #[default]
    Length,
    Chunked,
    UntilClose,
}

/// Where an answer ends before its end: after this share of its body, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BreakOff {
    pub(crate) percent: u8,
    /// With a reset instead of an orderly close.
    pub(crate) reset: bool,
}

/// A body sent in small pieces with pauses between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dribble {
    pub(crate) bytes: usize,
    pub(crate) pause: Duration,
}

/// How header names are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum HeaderCase {
    #[default]
    AsIs,
    Lower,
    Upper,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut headers = Vec::with_capacity(4);
        if !content_type.is_empty() {
            headers.push(("Content-Type", content_type.to_owned()));
        }
        Self {
            status,
            headers,
            body: Body::Whole(body),
            ..Self::default()
        }
    }

    /// Replaces a header, or removes it when `value` is `None`.
    pub(crate) fn set_header(&mut self, name: &'static str, value: Option<String>) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            self.headers.push((name, value));
        }
    }

    /// The text of the status line and the headers.
    pub(super) fn head(&self, keep_alive: bool) -> String {
        let mut head = String::with_capacity(256);
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let mut line = |name: &str, value: &str| {
            match self.manner.header_case {
                HeaderCase::AsIs => head.push_str(name),
                HeaderCase::Lower => head.push_str(&name.to_ascii_lowercase()),
                HeaderCase::Upper => head.push_str(&name.to_ascii_uppercase()),
            }
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        for (name, value) in &self.headers {
            line(name, value);
        }
        match self.manner.framing {
            Framing::Length => line("Content-Length", &self.body.length().to_string()),
            Framing::Chunked => line("Transfer-Encoding", "chunked"),
            Framing::UntilClose => {}
        }
        if !keep_alive && self.manner.announce_close {
            line("Connection", "close");
        }
        head.push_str("\r\n");
        head
    }
}

// === impl Body ===

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Body {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Inflated { head, filling, tail } => head.len() as u64 + filling + tail.len() as u64,
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        409 => "Conflict",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_length_and_close() {
        let mut reply = Reply::new(503, "text/plain", "down");
        reply.manner.announce_close = true;
        let head = reply.head(false);
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(head.contains("Content-Length: 4\r\n") && head.contains("Connection: close\r\n"));
        reply.manner.header_case = HeaderCase::Lower;
        assert!(reply.head(true).contains("\r\ncontent-length: 4\r\n"));
        reply.set_header("content-type", None);
        assert!(!reply.head(true).contains("text/plain"));
    }
}
