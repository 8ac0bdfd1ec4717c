//! `output.elasticsearch.*`.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::section::Section;
use super::url_option::{self, Defaults, UserInfo};
use super::{BackoffConfig, Paths, Secret, SelectorRule, Ssl, output, output_network, selectors, ssl};

/// `output.elasticsearch`, §3.2 of the Beats conventions; also OpenSearch.
#[derive(Clone)]
pub struct ElasticsearchOutput {
    /// Base URLs: scheme, host, port and path filled in, user info taken out. The path ends with `/`.
    pub hosts: Vec<url::Url>,
    /// Connections per host.
    pub workers: usize,
    /// Use all hosts at once, or one at random until it fails.
    pub loadbalance: bool,
    /// Basic authentication; never together with `api_key`.
    pub username: Option<String>,
    /// Basic authentication.
    pub password: Option<Secret>,
    /// `id:key`, plain.
    pub api_key: Option<Secret>,
    /// Extra query parameters of bulk requests.
    pub parameters: Vec<(String, String)>,
    /// Extra headers of every request.
    pub headers: Vec<(String, String)>,
    /// Proxy; `None` = `HTTP(S)_PROXY` of the environment unless `proxy_disable`.
    pub proxy_url: Option<url::Url>,
    /// Ignore the environment's proxy.
    pub proxy_disable: bool,
    /// gzip level of bulk bodies, 0..=9, 0 = plain.
    pub compression_level: u32,
    /// Index or data stream, a format string; default `ecsbeat-%{+yyyy.MM.dd}`.
    pub index: String,
    /// Rules tried before `index`.
    pub indices: Vec<SelectorRule>,
    /// Ingest pipeline, a format string.
    pub pipeline: Option<String>,
    /// Rules tried before `pipeline`.
    pub pipelines: Vec<SelectorRule>,
    /// Most events in one bulk; 0 = no limit but the batch.
    pub bulk_max_size: usize,
    /// Times a failed publish is repeated; `None` = for ever.
    pub max_retries: Option<u32>,
    /// Pauses between failed tries.
    pub backoff: BackoffConfig,
    /// Budget of one request.
    pub timeout: Duration,
    /// Idle connections are closed after this.
    pub idle_connection_timeout: Duration,
    /// What becomes of a document that Elasticsearch refuses.
    pub non_indexable: NonIndexable,
    /// TLS; `None` = defaults.
    pub ssl: Ssl,
}

/// `non_indexable_policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NonIndexable {
    /// Counted and logged, without its content.
    Drop,
    /// Sent to this index as `{message, error.type, error.message}`.
    DeadLetterIndex(String),
    /// Appended to this file as NDJSON.
    DeadLetterFile(PathBuf),
}

/// Port of Elasticsearch.
const PORT: u16 = 9200;
const SECOND: Duration = Duration::from_secs(1);

/// What `preset` sets; it overrules the keys it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    bulk_max_size: usize,
    workers: usize,
    /// `queue.mem.events`, `flush.min_events`, `flush.timeout`.
    pub(super) queue: (usize, usize, Duration),
    idle_connection_timeout: Duration,
    /// `backoff.init`, `backoff.max`.
    backoff: Option<(Duration, Duration)>,
}

const PRESETS: [(&str, Option<&Preset>); 5] = [
    ("custom", None),
    (
        "balanced",
        Some(&Preset {
            bulk_max_size: 1600,
            workers: 1,
            queue: (3200, 1600, Duration::from_secs(10)),
            idle_connection_timeout: Duration::from_secs(3),
            backoff: None,
        }),
    ),
    (
        "throughput",
        Some(&Preset {
            bulk_max_size: 1600,
            workers: 4,
            queue: (12_800, 1600, Duration::from_secs(5)),
            idle_connection_timeout: Duration::from_secs(15),
            backoff: None,
        }),
    ),
    (
        "scale",
        Some(&Preset {
            bulk_max_size: 1600,
            workers: 1,
            queue: (3200, 1600, Duration::from_secs(20)),
            idle_connection_timeout: Duration::from_secs(1),
            backoff: Some((Duration::from_secs(5), Duration::from_secs(300))),
        }),
    ),
    (
        "latency",
        Some(&Preset {
            bulk_max_size: 50,
            workers: 1,
            queue: (4100, 2050, Duration::from_secs(1)),
            idle_connection_timeout: Duration::from_secs(60),
            backoff: None,
        }),
    ),
];

/// Reads the section, and which preset it chose.
pub(super) fn read(section: &Section<'_>, paths: &Paths) -> (ElasticsearchOutput, Option<&'static Preset>) {
    let preset = section.one_of("preset", &PRESETS).flatten();
    let ssl = section.section("ssl", ssl::read);
    let (hosts, user) = hosts(section, ssl.enabled == Some(true));
    let (username, password) = credentials(section, user);
    let mut output = ElasticsearchOutput {
        hosts,
        workers: output_network::workers(section),
        loadbalance: section.flag("loadbalance", true),
        username,
        password,
        api_key: api_key(section),
        parameters: section.secret_pairs("parameters"),
        headers: section.secret_pairs("headers"),
        proxy_url: url_option::proxy(section, "proxy_url"),
        proxy_disable: section.flag("proxy_disable", false),
        compression_level: section.number("compression_level", 0..=9).unwrap_or(1),
        index: section
            .some_text("index")
            .unwrap_or_else(|| "ecsbeat-%{+yyyy.MM.dd}".to_owned()),
        indices: selectors::rules(section, "indices", "index"),
        pipeline: section.some_text("pipeline"),
        pipelines: selectors::rules(section, "pipelines", "pipeline"),
        bulk_max_size: output::bulk_max_size(section, 1600),
        max_retries: output_network::max_retries(section),
        backoff: output_network::backoff(section),
        timeout: section.positive_duration("timeout", 90 * SECOND),
        idle_connection_timeout: section.duration("idle_connection_timeout", 3 * SECOND),
        non_indexable: section.section("non_indexable_policy", |policy| non_indexable(policy, paths)),
        ssl,
    };
    selectors::check_format(section, "index", &output.index);
    if let Some(pipeline) = &output.pipeline {
        selectors::check_format(section, "pipeline", pipeline);
    }
    if output.api_key.is_some() && output.username.is_some() {
        section.problem(
            "api_key",
            "give either api_key or username and password, not both",
        );
    }
    if output.proxy_disable && output.proxy_url.is_some() {
        section.problem("proxy_disable", "switches proxies off, but proxy_url names one");
    }
    if let Some(preset) = preset {
        apply(section, preset, &mut output);
    }
    foreign(section);
    (output, preset)
}

fn apply(section: &Section<'_>, preset: &Preset, output: &mut ElasticsearchOutput) {
    for key in [
        "bulk_max_size",
        "worker",
        "workers",
        "compression_level",
        "idle_connection_timeout",
    ] {
        if section.field(key).is_some() {
            section.warning(key, "is overruled by preset; set preset: custom to use it");
        }
    }
    output.bulk_max_size = preset.bulk_max_size;
    output.workers = preset.workers;
    output.compression_level = 1;
    output.idle_connection_timeout = preset.idle_connection_timeout;
    if let Some((init, max)) = preset.backoff {
        output.backoff = BackoffConfig { init, max };
    }
}

fn hosts(section: &Section<'_>, tls: bool) -> (Vec<Url>, Option<UserInfo>) {
    let protocol = section.one_of("protocol", &[("http", "http"), ("https", "https")]);
    let path = section.some_text("path").unwrap_or_default();
    let defaults = Defaults {
        scheme: protocol.unwrap_or(if tls { "https" } else { "http" }),
        port: PORT,
        path: &path,
    };
    let items = section
        .field("hosts")
        .and_then(|field| field.items())
        .unwrap_or_default();
    if items.is_empty() {
        section.missing("hosts", "at least one, such as [\"http://localhost:9200\"]");
    }
    let mut hosts = Vec::new();
    let mut user: Option<UserInfo> = None;
    for item in items {
        let parsed = item.parsed("a host such as localhost:9200 or a URL", |text| {
            url_option::base_url(text, defaults)
        });
        let Some((url, own)) = parsed else { continue };
        if let Some(own) = own {
            if user.as_ref().is_some_and(|user| *user != own) {
                item.problem("names another user or password than the host before it");
            }
            user = Some(own);
        }
        if hosts.contains(&url) {
            item.problem("is in the list twice");
        } else {
            hosts.push(url);
        }
    }
    (hosts, user)
}

fn credentials(section: &Section<'_>, user: Option<UserInfo>) -> (Option<String>, Option<Secret>) {
    let username = section.some_text("username");
    let password = section.some_secret("password");
    let Some(user) = user else {
        if username.is_none() && password.is_some() {
            section.missing("username", "the user that the password belongs to");
        }
        return (username, password);
    };
    if username
        .as_ref()
        .is_some_and(|username| *username != user.username)
    {
        section.problem("username", "is another user than the one in the URL of hosts");
    }
    (Some(user.username), user.password.or(password))
}

fn api_key(section: &Section<'_>) -> Option<Secret> {
    let key = section.some_secret("api_key")?;
    if !key.expose().contains(':') {
        section.problem(
            "api_key",
            "must be id:api_key, as Elasticsearch gave them and not in base64",
        );
    }
    Some(key)
}

fn non_indexable(policy: &Section<'_>, paths: &Paths) -> NonIndexable {
    let mut chosen = Vec::new();
    if policy.entry("drop").is_some() {
        chosen.push(NonIndexable::Drop);
    }
    let index = policy.section("dead_letter_index", |section| {
        let index = output_network::given(section, "index");
        if let Some(index) = &index {
            selectors::check_format(section, "index", index);
        }
        index
    });
    chosen.extend(index.map(NonIndexable::DeadLetterIndex));
    chosen.extend(output_network::dead_letter_file(policy, paths).map(NonIndexable::DeadLetterFile));
    if chosen.len() > 1 {
        policy.problem("", "choose one of drop, dead_letter_index and dead_letter_file");
    }
    chosen.pop().unwrap_or(NonIndexable::Drop)
}

/// Options of Beats that this output does not have, or no longer.
fn foreign(section: &Section<'_>) {
    section.without_effect("escape_html", "nothing is escaped that JSON does not ask for");
    section.without_effect("allow_older_versions", "every version is talked to");
    section.without_effect("save_topology", "there is no topology");
    section.without_effect("topology_expire", "there is no topology");
    section.without_effect("template", "it is setup.template now");
    section.not_in_this_version("kerberos", ": use username and password or api_key");
    section.not_in_this_version("proxy_headers", "");
}
