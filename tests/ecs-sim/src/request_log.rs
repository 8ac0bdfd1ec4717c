//! What was asked, when, over which connection, and what was answered. Bounded: the oldest entries go first.
//! Must never keep a password or a token.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use crate::fault::Port;

const MAX_BODY: usize = 256 * 1024;

/// A request and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedRequest {
    /// Counts up over the whole federation, in the order of arrival.
    pub number: u64,
    /// When it arrived, epoch milliseconds of the simulator's clock.
    pub at_ms: i64,
    /// When it arrived, milliseconds since the simulator started, by a clock that nobody moves.
    pub since_start_ms: u64,
    /// How long the answer took, in milliseconds.
    pub took_ms: u64,
    /// Number of the VDC.
    pub vdc: usize,
    /// Number of the node in its VDC.
    pub node: usize,
    /// The port.
    pub port: Port,
    /// The method.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The query as sent.
    pub query: String,
    /// The headers; `authorization`, cookies and tokens are redacted.
    pub headers: Vec<(String, String)>,
    /// Length of the body in bytes.
    pub body_length: usize,
    /// The body, cut after 256 KiB.
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
    /// Status answered; 0 when no answer was begun.
    pub status: u16,
    /// Name of the account that the token belongs to.
    pub user: Option<String>,
    /// Number of the connection.
    pub connection: u64,
    /// How many requests that connection had carried, this one included.
    pub nth_on_connection: u32,
}

fn as_text<S: serde::Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

/// The log.
#[derive(Debug)]
pub(crate) struct RequestLog {
    capacity: usize,
    entries: Mutex<VecDeque<LoggedRequest>>,
}

/// Headers as the log shows them.
pub(crate) fn redacted(headers: &[(String, String)]) -> Vec<(String, String)> {
    let is_secret = |name: &str| {
        ["authorization", "cookie", "x-sds-auth-token"]
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret))
    };
    let shown = headers.iter().map(|(name, value)| {
        let value = if is_secret(name) { "redacted" } else { value };
        (name.clone(), value.to_owned())
    });
    shown.collect()
}

/// A body as the log keeps it.
pub(crate) fn kept(body: &Bytes) -> Bytes {
    if body.len() > MAX_BODY {
        Bytes::copy_from_slice(&body[..MAX_BODY])
    } else {
        body.clone()
    }
}

// === impl RequestLog ===

impl RequestLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, entry: LoggedRequest) {
        let mut entries = self.entries.lock();
        if entries.len() >= self.capacity {
            entries.pop_front();
        }
        if self.capacity > 0 {
            entries.push_back(entry);
        }
    }

    /// All entries in the order of arrival.
    pub(crate) fn entries(&self) -> Vec<LoggedRequest> {
        let mut entries: Vec<_> = self.entries.lock().iter().cloned().collect();
        entries.sort_by_key(|entry| entry.number);
        entries
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_kept() {
        let headers = [
            ("Authorization".to_owned(), "Basic x".to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
        ];
        assert_eq!(redacted(&headers)[0].1, "redacted");
        assert_eq!(redacted(&headers)[1].1, "*/*");
        assert_eq!(kept(&Bytes::from(vec![0; MAX_BODY + 1])).len(), MAX_BODY);
    }
}
