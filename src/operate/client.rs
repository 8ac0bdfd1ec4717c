//! Questions and orders to one running instance, over HTTP.
//!
//! Owns the address and the token it takes them from, the time limits, and the words for what can go wrong on the way.
//! Tries once: an order that was not answered may have been carried out, so it is not repeated on its own.

use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::Value;

use super::OperateError;
use crate::config::Http;
use crate::tls;

/// For what is answered from memory.
const TIME: Duration = Duration::from_secs(5);
/// For what is shown beside other things, and left out where it does not come.
const MOMENT: Duration = Duration::from_secs(2);
/// For an order: the instance itself gives up first and says what is known.
const PATIENCE: Duration = Duration::from_secs(90);
/// Most bytes of an answer.
const MOST: usize = 16 << 20;

/// Asks one instance.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    own: Http,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: u16,
    /// `Null` where it is no JSON.
    pub(super) body: Value,
}

impl Client {
    /// Asks at `url`, or where the configuration says that an instance on this machine answers.
    pub(super) fn new(url: Option<&str>, http: &Http) -> Result<Self, OperateError> {
        let base = match url {
            Some(url) => parsed(url)?,
            None => own(http)?,
        };
        Self::asking(base, http)
    }

    fn asking(base: Url, http: &Http) -> Result<Self, OperateError> {
        let tls =
            tls::instance(&base, http).map_err(|error| OperateError::Target(format!("http.{error}")))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ecsbeat/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(TIME)
            .no_proxy()
            .build()
            .map_err(|error| OperateError::Target(error.without_url().to_string()))?;
        Ok(Self {
            http: client,
            base,
            own: http.clone(),
        })
    }

    /// The same at another instance, which is believed for reasons of its own.
    pub(super) fn at(&self, url: &str) -> Result<Self, OperateError> {
        Self::asking(parsed(url)?, &self.own)
    }

    /// The JSON at `path`; any status but 200 is an error.
    pub(super) async fn get(&self, path: &str) -> Result<Value, OperateError> {
        let said = self.send(Method::GET, path, None, TIME).await?;
        if said.status != 200 || said.body.is_null() {
            return Err(OperateError::NotOurs {
                at: format!("{}{path}", self.shown()),
                status: said.status,
            });
        }
        Ok(said.body)
    }

    /// What is at `path`, whatever the status, or an error within a moment.
    pub(super) async fn glance(&self, path: &str) -> Result<Said, OperateError> {
        self.send(Method::GET, path, None, MOMENT).await
    }

    /// Gives an order.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Said, OperateError> {
        self.send(Method::POST, path, Some(body), PATIENCE).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Said, OperateError> {
        let mut url = self.base.clone();
        url.set_path(path);
        let mut request = self.http.request(method, url).timeout(limit);
        request = request.header("Accept", "application/json");
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
            if let Some(token) = &self.own.token {
                // A token out of a file often has a line break at its end.
                request = request.bearer_auth(token.expose().trim());
            }
        }
        let failed = |error: reqwest::Error| OperateError::Unanswered {
            at: format!("{}{path}", self.shown()),
            error: error.without_url(),
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST {
                let at = format!("{}{path}", self.shown());
                return Err(OperateError::NotOurs { at, status });
            }
        }
        Ok(Said {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        })
    }

    /// Without the user and password that somebody may have put there.
    fn shown(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self
            .base
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{host}{port}", self.base.scheme())
    }
}

fn parsed(text: &str) -> Result<Url, OperateError> {
    // The text may hold a password.
    let url = Url::parse(text)
        .map_err(|error| OperateError::Target(format!("--url: {error}; write http://host:5066")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        let message = "--url: must begin with http:// or https:// and name a host";
        return Err(OperateError::Target(message.to_owned()));
    }
    Ok(url)
}

/// Where this machine's instance answers.
fn own(http: &Http) -> Result<Url, OperateError> {
    if !http.enabled {
        let message = "http.enabled is off in this configuration, so that nobody answers: switch it on, or name an \
                       instance with --url";
        return Err(OperateError::Target(message.to_owned()));
    }
    Url::parse(&http.own_url())
        .map_err(|error| OperateError::Target(format!("http.host and http.port make no URL: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(host: &str) -> Http {
        Http {
            enabled: true,
            host: host.to_owned(),
            port: 5066,
            ssl: None,
            token: None,
            timeout: TIME,
        }
    }

    #[test]
    fn the_own_instance_is_asked_where_it_listens() {
        for (host, url) in [
            ("localhost", "http://localhost:5066/"),
            ("0.0.0.0", "http://127.0.0.1:5066/"),
            ("::", "http://[::1]:5066/"),
            ("fe80::1", "http://[fe80::1]:5066/"),
            ("10.0.0.7", "http://10.0.0.7:5066/"),
        ] {
            assert_eq!(own(&http(host)).unwrap().as_str(), url);
        }
        let off = Http {
            enabled: false,
            ..http("localhost")
        };
        let error = own(&off).unwrap_err().to_string();
        assert!(
            error.contains("http.enabled") && error.contains("--url"),
            "{error}"
        );
    }

    #[test]
    fn nonsense_is_refused_and_passwords_are_not_shown() {
        for text in ["localhost", "ftp://a", "http://", "http://user:CANARY@[x"] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains("--url") && !error.contains("CANARY"), "{error}");
        }
        let client = Client::new(Some("http://user:CANARY@node-a:5066/x?y"), &http("localhost")).unwrap();
        assert_eq!(client.shown(), "http://node-a:5066");
    }
}
