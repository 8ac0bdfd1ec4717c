//! What can go wrong between us and ECS, and whether asking again may help.
//!
//! Owns [`EcsError`] and the reading of ECS's error bodies. Every message names the node and what it said, and
//! none holds a token or password.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::decode::{DecodeError, Quote};

/// The body of an ECS error answer. `code` is ECS's own, not the HTTP status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServiceError {
    /// 1013, 4000, 6401, …
    pub(super) code: Option<i64>,
    /// General text for the code.
    pub(super) description: String,
    /// The only place that tells causes apart.
    pub(super) details: String,
    /// `Some(false)`: asking again is of no use, even for a 5xx.
    pub(super) retryable: Option<bool>,
}

/// Why a query gave nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EcsError {
    /// No connection, broken connection, TLS failure.
    #[error("{node}: {message}")]
    Transport {
        /// `host:port`
        node: String,
        /// Cause, down to the operating system's word.
        message: String,
    },
    /// No answer, or not all of it, within `reqtimeout`.
    #[error("{node}: no complete answer within {}s (reqtimeout)", .after.as_secs_f64())]
    Timeout {
        /// `host:port`
        node: String,
        /// The budget that was used up.
        after: Duration,
    },
    /// The login was refused: user or password are wrong, or the account is locked.
    #[error(
        "{node}: login refused for user {user:?}: {said}; check username and password, and whether the account is locked"
    )]
    BadCredentials {
        /// `host:port`
        node: String,
        /// The user name.
        user: String,
        /// ECS's words.
        said: String,
    },
    /// The user has too many tokens; ECS says so with 401, like a wrong password.
    #[error(
        "{node}: user {user:?} has reached its limit of tokens: {said}; they expire by themselves, or log the user out with /logout?force=true"
    )]
    TokenLimit {
        /// `host:port`
        node: String,
        /// The user name.
        user: String,
        /// ECS's words.
        said: String,
    },
    /// A login failed a short while ago; no new one is tried yet, so as not to lock the account.
    #[error("not logged in, next try in {}s: {because}", .wait.as_secs())]
    LoginPause {
        /// Time until the next try.
        wait: Duration,
        /// The error of the last try.
        because: String,
        /// Its reason.
        reason: &'static str,
    },
    /// The token was refused, and a fresh one too.
    #[error("{node}: the token was refused: {said}")]
    Unauthorized {
        /// `host:port`
        node: String,
        /// ECS's words.
        said: String,
    },
    /// The user's roles do not suffice.
    #[error("{node}: not permitted: {said}; the user needs the role SYSTEM_MONITOR or SYSTEM_ADMIN")]
    Forbidden {
        /// `host:port`
        node: String,
        /// ECS's words.
        said: String,
    },
    /// 403 without a word about roles: ECS 3.8.0 refuses host names that it was not told.
    #[error(
        "{node}: 403 that is not about roles: {said}; ECS may not accept this host name: use the node's address, or add the name under /acceptedservernames"
    )]
    HostRejected {
        /// `host:port`
        node: String,
        /// The first bytes of the answer.
        said: String,
    },
    /// 404, 405, 410 or 501: this version or node has no such API.
    #[error(
        "{node}: {status} for {path}: {said}; this release has no such API, or the uri of the command is wrong"
    )]
    Unsupported {
        /// `host:port`
        node: String,
        /// 404, 405, 410, 501
        status: u16,
        /// What was asked.
        path: String,
        /// ECS's words.
        said: String,
    },
    /// Another 4xx: the query is wrong.
    #[error("{node}: {status} for {path}: {said}")]
    BadRequest {
        /// `host:port`
        node: String,
        /// The HTTP status.
        status: u16,
        /// What was asked.
        path: String,
        /// ECS's words.
        said: String,
    },
    /// 408, 429 and 5xx.
    #[error("{node}: {status} for {path}: {said}")]
    Server {
        /// `host:port`
        node: String,
        /// The HTTP status.
        status: u16,
        /// What was asked.
        path: String,
        /// ECS's words.
        said: String,
        /// Whether asking again may help.
        retryable: bool,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A redirect to somewhere unexpected.
    #[error("{node}: {status} redirects {path} to {location:?}, which is not followed")]
    Redirect {
        /// `host:port`
        node: String,
        /// The HTTP status.
        status: u16,
        /// What was asked.
        path: String,
        /// Where to.
        location: String,
    },
    /// The answer is larger than `max_response_size`.
    #[error("{node}: the answer to {path} is larger than {limit} bytes (ecsbeat.max_response_size)")]
    TooLarge {
        /// `host:port`
        node: String,
        /// What was asked.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// The answer is not what was asked for.
    #[error("{node}: answer to {path}: {error}")]
    Decode {
        /// `host:port`
        node: String,
        /// What was asked.
        path: String,
        /// What is wrong.
        error: DecodeError,
    },
    /// The inventory (nodes of the VDC) has not been read yet.
    #[error("the nodes of the VDC are not known yet: {0}")]
    NoInventory(String),
    /// Pages go round in a circle.
    #[error("{path}: the page marker {marker:?} came twice")]
    MarkerLoop {
        /// What was asked.
        path: String,
        /// The marker.
        marker: String,
    },
    /// The poll came to an end that must not be.
    #[error("the poll broke off: {0}; this is a defect, please report it with the log")]
    Panicked(String),
    /// The queue was closed or the tenure is over: the poll was given up.
    #[error("stopped")]
    Stopped,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again, after at least this long.
    After(Duration),
    /// It would fail again.
    Never,
}

impl EcsError {
    /// Whether another attempt may help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } | Self::Unauthorized { .. } => {
                Retry::After(Duration::ZERO)
            }
            Self::Server {
                retryable: true,
                retry_after,
                ..
            } => Retry::After(retry_after.unwrap_or(Duration::ZERO)),
            Self::Decode { error, .. } if error.may_pass() => Retry::After(Duration::ZERO),
            // Another request's login failed just now, on another node's account.
            Self::LoginPause { wait, .. } if *wait <= Duration::from_secs(2) => Retry::After(*wait),
            _ => Retry::Never,
        }
    }

    /// Whether the node, rather than the query, is at fault.
    pub fn blames_node(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } | Self::Unauthorized { .. } => true,
            Self::Server {
                status, retryable, ..
            } => *status >= 500 && *retryable,
            _ => false,
        }
    }

    /// A word out of a closed set, for metrics and `error.code`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Transport { .. } => "transport",
            Self::Timeout { .. } => "timeout",
            Self::BadCredentials { .. } => "bad_credentials",
            Self::TokenLimit { .. } => "token_limit",
            // Why nobody is logged in, and not that it was another command that found out.
            Self::LoginPause { reason, .. } => reason,
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::HostRejected { .. } => "host_rejected",
            Self::Unsupported { .. } => "unsupported",
            Self::BadRequest { .. } => "bad_request",
            Self::Server { status: 429, .. } => "too_many_requests",
            Self::Server { .. } => "server",
            Self::Redirect { .. } => "redirect",
            Self::TooLarge { .. } => "too_large",
            Self::Decode { .. } => "decode",
            Self::NoInventory(_) => "no_inventory",
            Self::MarkerLoop { .. } => "marker_loop",
            Self::Panicked(_) => "panicked",
            Self::Stopped => "stopped",
        }
    }
}

impl ServiceError {
    /// Reads an error body: JSON, or XML with the same names. `None` where it is neither.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        match body.trim_ascii_start().first()? {
            b'{' => Self::from_json(body),
            b'<' => Self::from_xml(body),
            _ => None,
        }
    }

    fn from_json(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            code: Option<Value>,
            #[serde(default)]
            description: Option<String>,
            #[serde(default)]
            details: Option<String>,
            retryable: Option<Value>,
            /// Flux answers `{"error": "…"}`.
            #[serde(default)]
            error: Option<Value>,
        }
        let body: Body = serde_json::from_slice(body).ok()?;
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        if body.code.is_none() && body.description.is_none() && body.details.is_none() && body.error.is_none()
        {
            return None;
        }
        let details = body.details.or(body.error.map(text)).unwrap_or_default();
        // Flux answers 500 to a query that does not compile, which it will not do the next time either.
        let hopeless = details.contains("failed to compile").then_some(false);
        Some(Self {
            code: body.code.and_then(|code| text(code).parse().ok()),
            description: body.description.unwrap_or_default(),
            details,
            retryable: body
                .retryable
                .and_then(|flag| text(flag).parse().ok())
                .or(hopeless),
        })
    }

    fn from_xml(body: &[u8]) -> Option<Self> {
        use quick_xml::events::Event as Xml;
        let mut reader = quick_xml::Reader::from_reader(body);
        reader.config_mut().trim_text(true);
        let mut error = Self::default();
        let mut path: Vec<String> = Vec::new();
        loop {
            match reader.read_event().ok()? {
                Xml::Start(start) => path.push(start.local_name().as_ref().to_owned()),
                Xml::End(_) => {
                    path.pop();
                }
                Xml::Text(text) if path.first().is_some_and(|root| root == "error") => {
                    match path.get(1).map(String::as_str) {
                        Some("code") => error.code = text.parse().ok(),
                        Some("description") => text.trim().clone_into(&mut error.description),
                        Some("details") => text.trim().clone_into(&mut error.details),
                        Some("retryable") => error.retryable = text.parse().ok(),
                        _ => {}
                    }
                }
                Xml::Eof => break,
                _ => {}
            }
        }
        (error != Self::default()).then_some(error)
    }

    /// Whether a refused login is about the number of tokens and not about the password.
    pub(super) fn is_token_limit(&self) -> bool {
        let text = format!("{} {}", self.description, self.details).to_ascii_lowercase();
        text.contains("token")
            && ["max", "limit", "exceed", "too many"]
                .iter()
                .any(|word| text.contains(word))
    }
}

/// What an error answer says, for people: ECS's own words, else the first bytes.
pub(super) fn said(body: &[u8], service: Option<&ServiceError>) -> String {
    match service {
        Some(error) => {
            let words: Vec<&str> = [error.description.as_str(), error.details.as_str()]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            match error.code {
                Some(code) => format!("{} (code {code})", words.join(": ")),
                None => words.join(": "),
            }
        }
        None if body.trim_ascii().is_empty() => "no body".to_owned(),
        None => Quote::of(body).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_json_and_xml_errors_alike() {
        let json = br#"{"code":4000,"description":"Invalid","details":"max tokens exceeded for this user","retryable":false}"#;
        let xml = b"<?xml version=\"1.0\"?><error><code>4000</code><description>Invalid</description><details>max tokens exceeded for this user</details><retryable>false</retryable></error>";
        let error = ServiceError::parse(json).unwrap();
        assert_eq!(Some(&error), ServiceError::parse(xml).as_ref());
        assert!(error.is_token_limit());
        assert_eq!((error.code, error.retryable), (Some(4000), Some(false)));
        assert_eq!(
            said(json, Some(&error)),
            "Invalid: max tokens exceeded for this user (code 4000)"
        );
    }

    #[test]
    fn tolerates_odd_bodies() {
        assert_eq!(
            ServiceError::parse(br#"{"code":"1013","description":null}"#)
                .unwrap()
                .code,
            Some(1013)
        );
        assert_eq!(
            ServiceError::parse(br#"{"error":"failed to compile query"}"#)
                .unwrap()
                .details,
            "failed to compile query"
        );
        for none in [
            &b""[..],
            b"hello",
            b"{}",
            b"<html><body>502</body></html>",
            b"<a",
            b"{",
        ] {
            assert_eq!(
                ServiceError::parse(none),
                None,
                "{}",
                String::from_utf8_lossy(none)
            );
        }
        assert!(
            !ServiceError::parse(br#"{"code":4000,"details":"bad password"}"#)
                .unwrap()
                .is_token_limit()
        );
    }
}
