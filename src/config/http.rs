//! `http.*`: the listener of health, status and metrics.

use std::time::Duration;

use super::section::Section;
use super::{Secret, Ssl, ssl};

/// The port of Beats.
const PORT: u16 = 5066;

/// `http.*`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Off unless set.
    pub enabled: bool,
    /// Name or address to listen on.
    pub host: String,
    /// 5066 unless set; 0 = any free one, told in the log.
    pub port: u16,
    /// Certificate and key to serve HTTPS with.
    pub ssl: Option<Ssl>,
    /// Token of the endpoints that change something.
    pub token: Option<Secret>,
    /// Longest wait for a request's head.
    pub timeout: Duration,
}

/// As where nothing is configured.
impl Default for Http {
    fn default() -> Self {
        Self {
            enabled: false,
            host: "localhost".to_owned(),
            port: PORT,
            ssl: None,
            token: None,
            timeout: Duration::from_secs(5),
        }
    }
}

impl Http {
    /// Where an instance with this configuration answers, asked on its own machine.
    pub fn own_url(&self) -> String {
        let host = match self.host.as_str() {
            "0.0.0.0" | "" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        let scheme = if self.ssl.is_some() { "https" } else { "http" };
        if host.contains(':') && !host.starts_with('[') {
            format!("{scheme}://[{host}]:{}", self.port)
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>) -> Http {
    let (host, own_port) = host(section);
    let port = section.number("port", 0..=65535);
    let ssl_given = section.field("ssl").is_some();
    let ssl = section.section("ssl", |section| {
        let ssl = ssl::read(section);
        let served = ssl_given && ssl.enabled == Some(true);
        if served && ssl.certificate.is_none() && ssl.key.is_none() {
            section.missing("certificate", "HTTPS needs a certificate and its key");
        }
        served.then_some(ssl)
    });
    // An empty one is none: what changes something is refused then.
    let token = section.section("auth", |auth| auth.some_secret("token"));
    for key in ["pprof", "state_inspector", "named_pipe"] {
        section.without_effect(key, "there is no such endpoint");
    }
    Http {
        enabled: section.flag("enabled", false),
        host,
        port: port.or(own_port).unwrap_or(PORT),
        ssl,
        token,
        timeout: section.positive_duration("timeout", Duration::from_secs(5)),
    }
}

/// `host`, or `http://host:port` as Beats take it.
fn host(section: &Section<'_>) -> (String, Option<u16>) {
    let Some(host) = section.some_text("host") else {
        return ("localhost".to_owned(), None);
    };
    let Some((scheme, rest)) = host.split_once("://") else {
        return (bare(&host), None);
    };
    match scheme {
        "http" | "https" => match url::Url::parse(&format!("http://{rest}")) {
            Ok(url) => (bare(url.host_str().unwrap_or_default()), url.port()),
            Err(error) => {
                section.problem("host", format!("is no valid URL: {error}"));
                (String::new(), None)
            }
        },
        _ => {
            section.problem("host", "not in this version: only TCP, give a name or an address");
            (String::new(), None)
        }
    }
}

/// IPv6 without its brackets.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}
