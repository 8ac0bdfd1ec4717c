//! `ha.etcd.*`: the store that replicas agree through.
//!
//! Owns [`Etcd`]: which hosts there are, and that their scheme, the TLS settings and the credentials fit together.
//! Connects to nothing.

use url::Url;

use super::section::Section;
use super::url_option::{self, Defaults};
use super::{Secret, Ssl, ssl};

/// Port of etcd's clients.
const PORT: u16 = 2379;
/// Where keys are unless told.
const PREFIX: &str = "/ecsbeat";
/// Keys are read often; a longer prefix is a slip.
const MAX_PREFIX: usize = 256;

/// `ha.etcd.*`
#[derive(Debug, Clone)]
pub struct Etcd {
    /// `hosts`: base URLs, `http://` or `https://`, port 2379 unless given. Never empty, no doubles.
    pub hosts: Vec<Url>,
    /// `prefix`: begins with a slash and does not end with one.
    pub prefix: String,
    /// `username`
    pub username: Option<String>,
    /// `password`
    pub password: Option<Secret>,
    /// `ssl.*`, for `https://` hosts.
    pub ssl: Ssl,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>) -> Etcd {
    let ssl = section.section("ssl", ssl::read);
    let etcd = Etcd {
        hosts: hosts(section, ssl.enabled),
        prefix: prefix(section).unwrap_or_else(|| PREFIX.to_owned()),
        username: section.some_text("username"),
        password: section.some_secret("password"),
        ssl,
    };
    match (&etcd.username, &etcd.password) {
        (Some(_), None) => section.missing("password", "the password of username"),
        (None, Some(_)) => section.missing("username", "the user that the password belongs to"),
        _ => {}
    }
    etcd
}

/// `tls`: what `ssl.enabled` says; `None` = there is no `ssl`.
fn hosts(section: &Section<'_>, tls: Option<bool>) -> Vec<Url> {
    let defaults = Defaults {
        scheme: if tls == Some(true) { "https" } else { "http" },
        port: PORT,
        path: "",
    };
    let items = section
        .field("hosts")
        .and_then(|field| field.items())
        .unwrap_or_default();
    if items.is_empty() {
        section.missing("hosts", "the members of etcd, such as [etcd1, etcd2, etcd3]");
    }
    let mut hosts: Vec<Url> = Vec::new();
    for item in items {
        let parsed = item.parsed("a host such as etcd1:2379 or a URL", |text| host(text, defaults));
        let Some(url) = parsed else { continue };
        match (url.scheme(), tls) {
            ("http", Some(true)) => item.problem(format!(
                "is http://, but {} asks for TLS: write https://, or leave ssl out",
                section.path_of("ssl")
            )),
            ("https", Some(false)) => item.problem(format!(
                "is https://, but {} is false: write http://, or leave ssl.enabled out",
                section.path_of("ssl.enabled")
            )),
            _ => {}
        }
        let same = |other: &Url| {
            (other.host_str(), other.port_or_known_default()) == (url.host_str(), url.port_or_known_default())
        };
        if hosts.iter().any(same) {
            item.problem("is in the list twice");
        } else {
            hosts.push(url);
        }
    }
    hosts
}

fn host(text: &str, defaults: Defaults<'_>) -> Result<Url, String> {
    if text.contains(['?', '#']) {
        return Err("it must not have a query or a fragment".to_owned());
    }
    let (url, user) = url_option::base_url(text, defaults)?;
    if user.is_some() {
        return Err("user and password go into username and password".to_owned());
    }
    if url.path() != "/" {
        return Err("it must not have a path: where keys begin is prefix".to_owned());
    }
    if url.port() == Some(0) {
        return Err("the port must be a number from 1 to 65535".to_owned());
    }
    Ok(url)
}

/// With a slash before it and none behind it; `None` if it is absent, empty or wrong.
fn prefix(section: &Section<'_>) -> Option<String> {
    let field = section.field("prefix")?;
    let prefix = field.parsed("a prefix of keys such as /ecsbeat", |text| {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.split('/').any(str::is_empty) {
            return Err("between slashes there must be a name".to_owned());
        }
        if inner.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("it must not have spaces".to_owned());
        }
        if inner.len() > MAX_PREFIX {
            return Err(format!("it is longer than {MAX_PREFIX} bytes"));
        }
        Ok(Some(format!("/{inner}")))
    });
    prefix?
}
