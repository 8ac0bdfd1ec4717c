//! Logging in and out.
//!
//! Owns the two requests and the telling apart of their failures. When to use them is the session's business.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::LOCATION;

use super::answer::{Budget, error_body, header, login_page, sent, transport};
use super::client::{Client, url};
use super::error::{EcsError, ServiceError, said};
use crate::config::{HostPort, Secret};

/// The header with the token, in requests and in the answer to a login.
pub(super) const TOKEN_HEADER: &str = "X-SDS-AUTH-TOKEN";
/// A logout is a courtesy: it may not hold up a stop.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(3);

impl Client {
    /// Logs in at one node after the other, at most as often as a query is tried.
    pub(super) async fn login(&self) -> Result<Secret, EcsError> {
        let mut tried = Vec::new();
        loop {
            let Some(node) = self.pool.choose(0, &tried) else {
                return Err(EcsError::Stopped);
            };
            self.metrics.logins.inc();
            let error = match self.login_at(&node).await {
                Ok(token) => {
                    self.pool.succeeded(&node);
                    tracing::debug!(customer = %self.customer, vdc = %self.name, node = %node, "logged in");
                    return Ok(token);
                }
                Err(error) => error,
            };
            self.metrics.login_errors.inc();
            if error.blames_node() {
                self.pool.failed(&node);
            }
            tried.push(node);
            if error.retry() == super::Retry::Never || tried.len() >= self.max_attempts as usize {
                return Err(error);
            }
        }
    }

    async fn login_at(&self, node: &HostPort) -> Result<Secret, EcsError> {
        let mut node = node.clone();
        let mut redirected = false;
        loop {
            let name = node.to_string();
            let mut budget = Budget::new(self.request_timeout);
            let request = self
                .http
                .get(url("https", &node, "/login")?)
                .header("Accept", "application/json")
                .basic_auth(&self.username, Some(self.password.expose()))
                .build()
                .map_err(|error| transport(&name, &error))?;
            let mut trace = self.trace(&name, &request, None);
            let response = sent(&self.http, request, &name, &mut budget, &mut trace).await?;
            let status = response.status();
            if status.is_success() {
                let token = header(response.headers(), TOKEN_HEADER).filter(|token| !token.is_empty());
                // Read to the end, so that the connection can be used again.
                let _ = budget.spend(&name, error_body(response, &mut trace)).await;
                return token.map(Secret::new).ok_or_else(|| EcsError::Server {
                    node: name,
                    status: status.as_u16(),
                    path: "/login".to_owned(),
                    said: format!("the answer has no {TOKEN_HEADER} header"),
                    retryable: true,
                    retry_after: None,
                });
            }
            if status.is_redirection() {
                let location = header(response.headers(), LOCATION.as_str()).unwrap_or_default();
                // Credentials go nowhere but to configured nodes.
                match url::Url::parse(&location) {
                    Ok(to)
                        if !redirected
                            && login_page(to.path())
                            && to.scheme() == "https"
                            && to.port_or_known_default() == Some(node.port)
                            && to.host_str().is_some_and(|host| self.pool.knows(bare(host))) =>
                    {
                        redirected = true;
                        bare(to.host_str().unwrap_or_default()).clone_into(&mut node.host);
                        continue;
                    }
                    _ => {
                        return Err(EcsError::Redirect {
                            node: name,
                            status: status.as_u16(),
                            path: "/login".to_owned(),
                            location,
                        });
                    }
                }
            }
            let body = budget
                .spend(&name, error_body(response, &mut trace))
                .await
                .unwrap_or_default();
            return Err(self.refused(name, status, &body));
        }
    }

    fn refused(&self, node: String, status: StatusCode, body: &[u8]) -> EcsError {
        let service = ServiceError::parse(body);
        let said = said(body, service.as_ref());
        let user = self.username.clone();
        match status {
            StatusCode::UNAUTHORIZED if service.as_ref().is_some_and(ServiceError::is_token_limit) => {
                EcsError::TokenLimit { node, user, said }
            }
            StatusCode::UNAUTHORIZED => EcsError::BadCredentials { node, user, said },
            StatusCode::FORBIDDEN if service.as_ref().is_some_and(|error| error.code.is_some()) => {
                // A locked account or a password that must be changed: trying again would not help either.
                EcsError::BadCredentials { node, user, said }
            }
            StatusCode::FORBIDDEN => EcsError::HostRejected { node, said },
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => EcsError::Server {
                node,
                status: status.as_u16(),
                path: "/login".to_owned(),
                said,
                retryable: true,
                retry_after: None,
            },
            _ => EcsError::BadRequest {
                node,
                status: status.as_u16(),
                path: "/login".to_owned(),
                said,
            },
        }
    }

    /// Begins no login any more, and waits a little for the one that is going on. To be called before what uses this
    /// client is cut off.
    pub async fn close(&self) {
        if tokio::time::timeout(LOGOUT_TIMEOUT, self.session.close())
            .await
            .is_err()
        {
            tracing::warn!(customer = %self.customer, vdc = %self.name, "a login was not answered at the stop; its token is left to expire");
        }
    }

    /// Logs out every token, at the end of all work.
    pub async fn logout(&self) {
        while let Some(leaving) = self.session.take_any() {
            self.logout_token(leaving.text()).await;
            leaving.gone();
        }
    }

    /// Logs out tokens that were given up and that nobody uses any more.
    pub(super) async fn logout_unused(&self) {
        while let Some(leaving) = self.session.take_unused() {
            self.logout_token(leaving.text()).await;
            leaving.gone();
        }
    }

    async fn logout_token(&self, token: &str) {
        let mut tried = Vec::new();
        while let Some(node) = self.pool.choose(0, &tried)
            && tried.len() < 2
        {
            let Ok(url) = url("https", &node, "/logout") else {
                return;
            };
            let request = self
                .http
                .get(url)
                .header(TOKEN_HEADER, token)
                .header("Accept", "application/json")
                .build();
            let Ok(request) = request else {
                return;
            };
            let name = node.to_string();
            let mut trace = self.trace(&name, &request, Some(token));
            let mut budget = Budget::new(LOGOUT_TIMEOUT);
            match sent(&self.http, request, &name, &mut budget, &mut trace).await {
                // Refused, or sent to the login page: it was out already.
                Ok(response) if is_out(response.status()) => return,
                Ok(response) => {
                    tracing::debug!(vdc = %self.name, node = %node, status = response.status().as_u16(), "logout failed");
                }
                Err(EcsError::Timeout { .. }) => {
                    tracing::debug!(vdc = %self.name, node = %node, "logout not answered");
                }
                Err(error) => tracing::debug!(vdc = %self.name, node = %node, %error, "logout failed"),
            }
            tried.push(node);
        }
    }
}

/// Whether the answer to a logout says that the token is no more.
fn is_out(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection() || status == StatusCode::UNAUTHORIZED
}

/// An IPv6 host without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
