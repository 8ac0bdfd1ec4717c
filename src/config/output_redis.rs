//! `output.redis.*`.
//!
//! Owns its keys and defaults, and what a URL in `hosts` overrules. Reaches nobody.

use std::time::Duration;

use url::Url;

use super::codec::{self, Codec, Framing};
use super::field::Field;
use super::output_network::{self, Defaults, Network};
use super::section::Section;
use super::url_option::{self, UserInfo};
use super::{HostPort, Secret, SelectorRule, address, selectors};

/// `output.redis`, §3.5 of the Beats conventions; also what speaks its protocol, such as Valkey.
#[derive(Debug, Clone)]
pub struct RedisOutput {
    /// The servers, each with what it asks for.
    pub hosts: Vec<RedisHost>,
    /// What `key` names.
    pub datatype: RedisType,
    /// List or channel of an event, a format string.
    pub key: String,
    /// Rules tried before `key`.
    pub keys: Vec<SelectorRule>,
    /// `@metadata.beat` of each event.
    pub index: String,
    /// How events are written.
    pub codec: Codec,
    /// Entries of a list from which on nothing is pushed to it; `None` = never mind.
    pub max_list_len: Option<u64>,
    /// Connections, retries, proxy, TLS.
    pub network: Network,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisHost {
    /// Where it answers.
    pub at: HostPort,
    /// Whether TLS is spoken: by the URL's scheme, or by `ssl` where there is none.
    pub tls: bool,
    /// The ACL user; `None` = the server's default one.
    pub username: Option<String>,
    /// Its password; `None` = nobody logs in.
    pub password: Option<Secret>,
    /// Number of the database.
    pub db: u32,
}

/// `datatype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisType {
    /// `RPUSH` to a list.
    List,
    /// `PUBLISH` on a channel: whoever does not listen at that moment gets nothing.
    Channel,
}

const TYPES: [(&str, RedisType); 2] = [("list", RedisType::List), ("channel", RedisType::Channel)];
/// Port of Redis.
const PORT: u16 = 6379;
/// Highest database; servers have 16 unless told.
const MAX_DB: u32 = 1_000_000;

/// What a host's entry says of itself.
struct Entry {
    at: HostPort,
    /// `rediss://` or `redis://`.
    tls: Option<bool>,
    user: Option<UserInfo>,
    db: Option<u32>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>) -> RedisOutput {
    let network = output_network::read(
        section,
        Defaults {
            loadbalance: true,
            bulk_max_size: 2048,
            timeout: Duration::from_secs(5),
        },
    );
    let index = section.some_text("index");
    let key = section.some_text("key");
    let keys = selectors::rules(section, "keys", "key");
    if index.is_some() && key.is_none() {
        section.warning(
            "index",
            "as the name of the list or channel is deprecated, use key",
        );
    }
    if index.as_ref().is_some_and(|index| index.contains("%{")) {
        section.problem("index", "must be a plain name; a format string goes into key");
    }
    let index = index.unwrap_or_else(|| "ecsbeat".to_owned());
    let output = RedisOutput {
        hosts: hosts(section, network.ssl.enabled == Some(true)),
        datatype: section.one_of("datatype", &TYPES).unwrap_or(RedisType::List),
        key: key.unwrap_or_else(|| index.clone()),
        keys,
        // As Beats has it: names of indices are lower-case.
        index: index.to_lowercase(),
        codec: codec::read(section, Framing::Messages, None),
        max_list_len: section
            .number("max_list_len", 0..=i64::MAX)
            .filter(|length| *length > 0),
        network,
    };
    selectors::check_format(section, "key", &output.key);
    if output.max_list_len.is_some() && output.datatype == RedisType::Channel {
        section.problem(
            "max_list_len",
            "is for lists: a channel keeps nothing; leave it out",
        );
    }
    foreign(section);
    output
}

fn hosts(section: &Section<'_>, tls: bool) -> Vec<RedisHost> {
    let username = section.some_text("username");
    let password = section.some_secret("password");
    let db = section.number("db", 0..=i64::from(MAX_DB)).unwrap_or(0);
    let items = section
        .field("hosts")
        .and_then(|field| field.items())
        .unwrap_or_default();
    if items.is_empty() {
        section.missing("hosts", "at least one, such as [\"localhost:6379\"]");
    }
    let mut hosts: Vec<RedisHost> = Vec::new();
    for item in &items {
        let Some(entry) = item.parsed("a host such as redis1:6379 or rediss://redis1:6379", parse) else {
            continue;
        };
        let (own_user, own_password) = entry.user.map_or((None, None), |user| {
            (Some(user.username).filter(|name| !name.is_empty()), user.password)
        });
        let host = RedisHost {
            at: entry.at,
            tls: entry.tls.unwrap_or(tls),
            username: own_user.or_else(|| username.clone()),
            password: own_password.or_else(|| password.clone()),
            db: entry.db.unwrap_or(db),
        };
        check(item, &host, &hosts);
        hosts.push(host);
    }
    hosts
}

fn check(item: &Field<'_>, host: &RedisHost, before: &[RedisHost]) {
    if host.username.is_some() && host.password.is_none() {
        item.problem("has a user but no password: set password, or write redis://user:password@host");
    }
    if before
        .iter()
        .any(|other| (&other.at, other.db) == (&host.at, host.db))
    {
        item.problem("is in the list twice");
    }
}

/// `host`, `host:port`, or `redis[s]://[[user]:password@]host[:port][/db]`. No text of a URL may be in the error.
fn parse(text: &str) -> Result<Entry, String> {
    let text = text.trim();
    let Some((scheme, _)) = text.split_once("://") else {
        let at = address::parse(text, PORT).map_err(|error| match error {
            address::AddressError::Url => "a database goes into db, or into a redis:// URL".to_owned(),
            error => error.to_string(),
        })?;
        return Ok(Entry {
            at,
            tls: None,
            user: None,
            db: None,
        });
    };
    let tls = match &*scheme.to_ascii_lowercase() {
        "redis" => false,
        "rediss" => true,
        _ => return Err("the scheme must be redis or rediss".to_owned()),
    };
    let escape = "; in a user or password, write / ? # @ as %2F %3F %23 %40";
    let url = Url::parse(text).map_err(|error| format!("{error}{escape}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("it must not have a query or a fragment{escape}"));
    }
    let host = url.host_str().unwrap_or_default();
    let mut at = address::parse(host, PORT).map_err(|error| format!("{error}{escape}"))?;
    match url.port() {
        Some(0) => return Err(address::AddressError::Port.to_string()),
        Some(port) => at.port = port,
        None => {}
    }
    let db = match url.path().trim_matches('/') {
        "" => None,
        path => Some(database(path).ok_or_else(|| {
            format!("behind the host only the number of a database, 0 to {MAX_DB}, is expected")
        })?),
    };
    Ok(Entry {
        at,
        tls: Some(tls),
        user: url_option::user(&url),
        db,
    })
}

fn database(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|db| digits && *db <= MAX_DB)
}

/// Options of Beats that this output does not have, or no longer.
fn foreign(section: &Section<'_>) {
    section.not_in_this_version("port", ": write it behind the host in hosts");
    section.without_effect("save_topology", "there is no topology");
    section.without_effect("topology_expire", "there is no topology");
    section.without_effect("host_topology", "there is no topology");
    section.without_effect("password_topology", "there is no topology");
    section.without_effect("db_topology", "there is no topology");
    section.without_effect("reconnect_interval", "see backoff");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Entry {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn hosts_are_names_addresses_or_urls() {
        for (text, at, tls, db) in [
            ("Redis1", "redis1:6379", None, None),
            ("redis1:7000", "redis1:7000", None, None),
            ("::1", "[::1]:6379", None, None),
            ("redis://redis1", "redis1:6379", Some(false), None),
            ("rediss://redis1:6380/", "redis1:6380", Some(true), None),
            ("rediss://Redis1/12", "redis1:6379", Some(true), Some(12)),
            (" redis://[::1]:7/0 ", "[::1]:7", Some(false), Some(0)),
        ] {
            let entry = read(text);
            assert_eq!(
                (&*entry.at.to_string(), entry.tls, entry.db, entry.user),
                (at, tls, db, None),
                "{text}"
            );
        }
    }

    #[test]
    fn urls_hold_user_and_password() {
        let user = |text| {
            let user = read(text).user.unwrap();
            (
                user.username,
                user.password.map(|secret| secret.expose().to_owned()),
            )
        };
        let pair = |name: &str, secret: &str| (name.to_owned(), Some(secret.to_owned()));
        assert_eq!(user("redis://:pw@h:1/2"), pair("", "pw"));
        assert_eq!(user("rediss://me:p%40s%2Fs@h"), pair("me", "p@s/s"));
        assert_eq!(user("redis://me@h"), ("me".to_owned(), None));
    }

    #[test]
    fn the_rest_is_refused_without_showing_it() {
        for text in [
            "",
            "http://h",
            "unix:///run/CANARY.sock",
            "redis://",
            "redis://:CANARY@",
            "redis://h/CANARY",
            "redis://h/+1",
            "redis://h/1000001",
            "redis://h:0",
            "redis://h?password=CANARY",
            "redis://:CAN/ARY@h:6379",
            "redis://:CAN#ARY@h:6379",
            "user:CANARY@h",
            "h/1",
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(!error.contains("CAN"), "{text}: {error}");
        }
    }
}
