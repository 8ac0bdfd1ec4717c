//! One answer of a node: its kind by status, and its body as it arrives.
//!
//! Owns the classification of statuses, the size limit, and the time budget: only waiting for the node counts
//! against `reqtimeout`, so that a slow output cannot make an answer look late.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use tokio::time::Instant;

use super::error::{EcsError, ServiceError, said};
use super::trace::Tracing;
use crate::decode::DecodeError;

/// Most bytes read of an error answer.
const ERROR_BODY: usize = 64 * 1024;

/// A good answer whose body is still coming in.
#[derive(Debug)]
pub struct Answer {
    response: reqwest::Response,
    node: String,
    path: String,
    budget: Budget,
    limit: u64,
    received: u64,
    took: Duration,
    trace: Tracing,
}

impl Answer {
    pub(super) fn new(
        response: reqwest::Response,
        node: &str,
        path: &str,
        budget: Budget,
        limit: u64,
        trace: Tracing,
    ) -> Self {
        let took = budget.whole.saturating_sub(budget.left);
        Self {
            response,
            node: node.to_owned(),
            path: path.to_owned(),
            budget,
            limit,
            received: 0,
            took,
            trace,
        }
    }

    /// `host:port` of the node that answers.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// From the request to the head of the answer.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Bytes of body so far, after decompression.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EcsError> {
        let chunk = self.budget.spend(&self.node, self.response.chunk()).await;
        let chunk = chunk
            .and_then(|chunk| chunk.map_err(|error| transport(&self.node, &error)))
            .inspect_err(|error| self.trace.failed(error))?;
        if let Some(bytes) = &chunk {
            self.trace.body(bytes);
            self.received += bytes.len() as u64;
            if self.received > self.limit {
                return Err(EcsError::TooLarge {
                    node: self.node.clone(),
                    path: self.path.clone(),
                    limit: self.limit,
                });
            }
        }
        Ok(chunk)
    }

    /// The whole body, for short answers.
    pub async fn whole(&mut self) -> Result<Vec<u8>, EcsError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The error for a body that cannot be read.
    pub fn broken(&self, error: DecodeError) -> EcsError {
        EcsError::Decode {
            node: self.node.clone(),
            path: self.path.clone(),
            error,
        }
    }
}

/// What is left of `reqtimeout`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    whole: Duration,
    left: Duration,
}

impl Budget {
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, left: whole }
    }

    /// Waits for `future`, at most as long as there is time left.
    pub(super) async fn spend<F: Future>(&mut self, node: &str, future: F) -> Result<F::Output, EcsError> {
        let start = Instant::now();
        let result = tokio::time::timeout(self.left, future).await;
        self.left = self.left.saturating_sub(start.elapsed());
        result.map_err(|_| EcsError::Timeout {
            node: node.to_owned(),
            after: self.whole,
        })
    }
}

/// Sends `request` and gives the head of its answer.
pub(super) async fn sent(
    http: &reqwest::Client,
    request: reqwest::Request,
    node: &str,
    budget: &mut Budget,
    trace: &mut Tracing,
) -> Result<reqwest::Response, EcsError> {
    let response = budget.spend(node, http.execute(request)).await;
    let response = response.and_then(|response| response.map_err(|error| transport(node, &error)));
    response
        .inspect(|response| trace.answered(response))
        .inspect_err(|error| trace.failed(error))
}

/// What a status means for the caller.
pub(super) enum Verdict {
    /// 2xx.
    Good(reqwest::Response),
    /// The token is not valid (any more).
    TokenRefused(String),
    /// Anything else.
    Failed(EcsError),
}

/// Sorts an answer by its status, reading the body of those that are errors.
pub(super) async fn judge(
    response: reqwest::Response,
    node: &str,
    path: &str,
    budget: &mut Budget,
    trace: &mut Tracing,
) -> Verdict {
    let status = response.status();
    if status.is_success() {
        return Verdict::Good(response);
    }
    if status.is_redirection() {
        let location = header(response.headers(), LOCATION.as_str()).unwrap_or_default();
        // An expired token is answered with a redirect to the login page.
        if location.is_empty() || login_page(&location) {
            return Verdict::TokenRefused(format!("{} to {location:?}", status.as_u16()));
        }
        return Verdict::Failed(EcsError::Redirect {
            node: node.to_owned(),
            status: status.as_u16(),
            path: path.to_owned(),
            location,
        });
    }
    let retry_after = retry_after(response.headers());
    // Where the body cannot be had, the status alone tells enough.
    let body = budget
        .spend(node, error_body(response, trace))
        .await
        .unwrap_or_default();
    let service = ServiceError::parse(&body);
    let said = said(&body, service.as_ref());
    let failed = |error| Verdict::Failed(error);
    let (node, path) = (node.to_owned(), path.to_owned());
    match status {
        StatusCode::UNAUTHORIZED => Verdict::TokenRefused(said),
        // nginx: a plain request on the TLS port. Old proxies in front of ECS used it for lost sessions.
        _ if status.as_u16() == 497 => Verdict::TokenRefused(said),
        StatusCode::FORBIDDEN if service.as_ref().is_some_and(|error| error.code.is_some()) => {
            failed(EcsError::Forbidden { node, said })
        }
        StatusCode::FORBIDDEN => failed(EcsError::HostRejected { node, said }),
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::GONE
        | StatusCode::NOT_IMPLEMENTED => failed(EcsError::Unsupported {
            node,
            status: status.as_u16(),
            path,
            said,
        }),
        // ECS reports missing roles of some APIs with 500.
        _ if status.is_server_error() && service.as_ref().is_some_and(|error| error.code == Some(6401)) => {
            failed(EcsError::Forbidden { node, said })
        }
        // Could not decode the token: somebody else's, or of before a restart.
        _ if status.is_server_error() && matches!(service.as_ref().and_then(|e| e.code), Some(10001)) => {
            Verdict::TokenRefused(said)
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => failed(EcsError::Server {
            node,
            status: status.as_u16(),
            path,
            said,
            retryable: true,
            retry_after,
        }),
        _ if status.is_server_error() => failed(EcsError::Server {
            node,
            status: status.as_u16(),
            path,
            said,
            retryable: service.is_none_or(|error| error.retryable != Some(false)),
            retry_after,
        }),
        _ => failed(EcsError::BadRequest {
            node,
            status: status.as_u16(),
            path,
            said,
        }),
    }
}

/// Up to 64 KiB of an error's body; what cannot be read is left out.
pub(super) async fn error_body(mut response: reqwest::Response, trace: &mut Tracing) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        trace.body(&chunk);
        let room = ERROR_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ERROR_BODY {
            break;
        }
    }
    body
}

/// Whether a redirect leads to the login page.
pub(super) fn login_page(location: &str) -> bool {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/').ends_with("/login")
}

pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// `Retry-After` in seconds; a date is not used by ECS, and a pause of our own serves as well.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    header(headers, RETRY_AFTER.as_str())?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// The error for a failed exchange, with all its causes and without the URL (it may hold a query).
pub(super) fn transport(node: &str, error: &reqwest::Error) -> EcsError {
    let mut message = String::new();
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            if !message.is_empty() {
                message.push_str(": ");
            }
            message.push_str(&text);
        }
        source = cause.source();
    }
    if message.is_empty() {
        message = if error.is_timeout() {
            "timed out".to_owned()
        } else {
            "the connection broke".to_owned()
        };
    }
    EcsError::Transport {
        node: node.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::login_page;

    #[test]
    fn knows_the_login_page() {
        for yes in [
            "/login",
            "https://10.0.0.1:4443/login?service=x",
            "/login/",
            "https://n/mgmt/login",
        ] {
            assert!(login_page(yes), "{yes}");
        }
        for no in ["", "/", "/loginx", "/x?to=/login"] {
            assert!(!login_page(no), "{no}");
        }
    }
}
