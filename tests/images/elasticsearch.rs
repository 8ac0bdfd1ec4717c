//! Elasticsearch and OpenSearch: that they take the template, and every event once.
//!
//! Owns what is tried on either, and how their images are started. What they hold is read back over their API.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::bail;
use ecs_sim::Sim;
use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use futures_util::FutureExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use testcontainers::ImageExt as _;
use testcontainers::core::IntoContainerPort as _;

use crate::engine::Engine;
use crate::image::{Container, Image, address, ready, start};
use crate::rest::{Hit, Rest};
use crate::service::{Service, Test};
use crate::support::process::{Ended, Home, customers};
use crate::support::still::{counted, expected, world};
use crate::verdict::say;

const PORT: u16 = 9200;
/// The superuser of Elasticsearch.
const USER: &str = "elastic";
/// What the stand-in refuses as a conflict of types. It is no part of a dead letter, where quotes are escaped.
const DISPUTED: &str = r#"{"within":"dispute"}"#;

/// What is tried on both.
const BOTH: [Test<Rest>; 4] = [
    Test {
        name: "template_and_every_type",
        body: |rest| every_type(rest).boxed(),
    },
    Test {
        name: "second_run_is_conflicts_only",
        body: |rest| second_run(rest).boxed(),
    },
    Test {
        name: "data_stream",
        body: |rest| data_stream(rest).boxed(),
    },
    Test {
        name: "dead_letters",
        body: |rest| dead_letters(rest).boxed(),
    },
];

/// Elasticsearch.
pub(crate) struct Elasticsearch;

/// OpenSearch.
pub(crate) struct OpenSearch;

impl Service for Elasticsearch {
    const NAME: &'static str = "elasticsearch";
    const IMAGE: &'static str = "docker.elastic.co/elasticsearch/elasticsearch:9.2.0";
    const TESTS: &'static [Test<Rest>] = &{
        let [every_type, second_run, data_stream, dead_letters] = BOTH;
        let accounts = Test {
            name: "accounts",
            body: |rest| accounts(rest).boxed(),
        };
        [every_type, second_run, data_stream, dead_letters, accounts]
    };
    type Server = Rest;

    async fn stand_in() -> anyhow::Result<Rest> {
        fake(bulk::Config {
            account: Some(format!("{USER}:CANARY-stand-in")),
            ..bulk::Config::for_tests()
        })
        .await
    }

    async fn at(url: &str) -> anyhow::Result<Rest> {
        let rest = Rest::new(url, Box::new(()))?;
        greeted(&rest).await?;
        Ok(rest)
    }

    async fn contained(engine: &Engine, image: &Image) -> anyhow::Result<Rest> {
        let password = format!("test-{:016x}", fastrand::u64(..));
        let request = image
            .request(engine, &[PORT])
            .with_env_var("discovery.type", "single-node")
            .with_env_var("xpack.security.enabled", "true")
            .with_env_var("xpack.security.http.ssl.enabled", "false")
            .with_env_var("ELASTIC_PASSWORD", &password)
            // A disk that is nearly full is no matter here.
            .with_env_var("cluster.routing.allocation.disk.threshold_enabled", "false")
            .with_env_var("ES_JAVA_OPTS", "-Xms512m -Xmx512m");
        up(start(request).await?, &format!("{USER}:{password}@")).await
    }

    async fn clean(server: &Rest) {
        clean(server).await;
    }
}

impl Service for OpenSearch {
    const NAME: &'static str = "opensearch";
    const IMAGE: &'static str = "opensearchproject/opensearch:3.2.0";
    const TESTS: &'static [Test<Rest>] = &BOTH;
    type Server = Rest;

    async fn stand_in() -> anyhow::Result<Rest> {
        fake(bulk::Config {
            opensearch: true,
            version: "3.2.0".to_owned(),
            ..bulk::Config::for_tests()
        })
        .await
    }

    async fn at(url: &str) -> anyhow::Result<Rest> {
        Elasticsearch::at(url).await
    }

    async fn contained(engine: &Engine, image: &Image) -> anyhow::Result<Rest> {
        let request = image
            .request(engine, &[PORT])
            .with_env_var("discovery.type", "single-node")
            .with_env_var("DISABLE_SECURITY_PLUGIN", "true")
            .with_env_var("DISABLE_INSTALL_DEMO_CONFIG", "true")
            .with_env_var("cluster.routing.allocation.disk.threshold_enabled", "false")
            .with_env_var("OPENSEARCH_JAVA_OPTS", "-Xms512m -Xmx512m");
        up(start(request).await?, "").await
    }

    async fn clean(server: &Rest) {
        clean(server).await;
    }
}

/// The fake of this repository.
async fn fake(config: bulk::Config) -> anyhow::Result<Rest> {
    let account = config
        .account
        .clone()
        .map_or_else(String::new, |account| account + "@");
    let bulk = Bulk::start(config).await?;
    // It derives no types from documents.
    bulk.set(BulkRule::always(BulkFault::MappingError {
        marker: DISPUTED.to_owned(),
    }));
    let url = format!("http://{account}{}", bulk.address());
    Rest::new(&url, Box::new(bulk))
}

/// Waits until the server in a container is up.
async fn up(container: Container, account: &str) -> anyhow::Result<Rest> {
    let url = ready(&container, async || {
        let url = format!("http://{account}{}", address(&container, PORT.tcp()).await?);
        greeted(&Rest::new(&url, Box::new(()))?).await?;
        Ok(url)
    })
    .await?;
    Rest::new(&url, Box::new(container))
}

/// Fails unless the server answers as one that is up.
async fn greeted(rest: &Rest) -> anyhow::Result<()> {
    let greeting = rest.told(Method::GET, "/", &Value::Null).await?;
    let health = rest.told(Method::GET, "/_cluster/health", &Value::Null).await?;
    match (greeting["version"]["number"].as_str(), health["status"].as_str()) {
        (Some(_), Some("green" | "yellow")) => Ok(()),
        _ => bail!("it answers, but is not ready: {greeting} {health}"),
    }
}

async fn clean(rest: &Rest) {
    if let Err(error) = rest.clean().await {
        say(&format!(
            "images: not everything was removed from the server: {error:#}"
        ));
    }
}

// === what is tried ===

/// Runs ecsbeat once against a federation whose clock stands still; `more` are further settings of the output, `rest`
/// of everything.
async fn once(sim: &Sim, home: &Home, name: &str, output: &str, commands: &str, more: &str) -> Ended {
    home.configure(&format!(
        "ecsbeat:\n{}{commands}setup.template.name: {name}\n{more}output.elasticsearch:\n{output}",
        customers(sim, home)
    ));
    let ended = home.run(&["--once"]).await;
    ended.expect(0);
    ended
}

fn events(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.source.to_string()).collect()
}

/// How often something happened to events, by the last account that ecsbeat gave.
#[track_caller]
pub(crate) fn events_total(ended: &Ended, what: &str) -> u64 {
    let line = ended.stderr.lines().find(|line| line.contains("Total metrics"));
    let line: Value = serde_json::from_str(line.unwrap()).unwrap();
    let metrics = &line["monitoring"]["metrics"]["libbeat"]["output"]["events"];
    metrics[what].as_u64().unwrap_or_default()
}

/// Every type is there, as often as there was something to tell, each under its own id and nothing of it left out.
#[track_caller]
fn complete(sim: &Sim, hits: &[Hit], ended: &Ended) {
    let events = events(hits);
    let (counts, ids) = counted(sim, events.iter().map(String::as_str));
    assert_eq!(counts, expected(sim), "{}", ended.stderr);
    let stored: BTreeSet<String> = hits.iter().map(|hit| hit.id.clone()).collect();
    assert_eq!(stored, ids, "_id is event.id");
    for hit in hits {
        assert_eq!((hit.version, &*hit.ignored), (1, &[][..]), "{}", hit.source);
    }
    assert_eq!(events_total(ended, "acked"), hits.len() as u64);
    assert_eq!(events_total(ended, "dropped"), 0);
}

/// The template is taken, and makes the index of every event of every type.
async fn every_type(rest: Arc<Rest>) -> Option<String> {
    let (sim, home, name) = (world().await, Home::new(), rest.name("types"));
    let output = format!("{}  index: '{name}-%{{+yyyy.MM.dd}}'\n", rest.output());
    let ended = once(&sim, &home, &name, &output, "", "").await;
    let hits = rest.documents(&format!("{name}-*")).await;
    complete(&sim, &hits, &ended);
    for hit in &hits {
        let day = &hit.source["@timestamp"].as_str().unwrap()[..10];
        assert_eq!(hit.index, format!("{name}-{}", day.replace('-', ".")));
    }
    let mapping = format!("/{name}-*/_mapping");
    let mapping = rest.told(Method::GET, &mapping, &Value::Null).await.unwrap();
    for (index, mapping) in mapping.as_object().unwrap() {
        let kind = |path: &str| {
            let path = path.replace('.', "/properties/");
            mapping
                .pointer(&format!("/mappings/properties/{path}/type"))
                .cloned()
        };
        for (field, expected) in [
            ("@timestamp", "date"),
            ("observer.ip", "ip"),
            ("ecsbeat.term", "long"),
            ("event.id", "keyword"),
            ("error.message", "text"),
        ] {
            assert_eq!(
                kind(field),
                Some(json!(expected)),
                "{field} of {index}: {mapping}"
            );
        }
    }
    None
}

/// Somebody else who polls the same windows adds nothing: every id is taken.
async fn second_run(rest: Arc<Rest>) -> Option<String> {
    let (sim, name) = (world().await, rest.name("twice"));
    let output = format!("{}  index: '{name}-%{{+yyyy.MM.dd}}'\n", rest.output());
    let windows = "  commands: [{type: auditevent}, {type: alert}]\n";
    let first = once(&sim, &Home::new(), &name, &output, windows, "").await;
    let before = rest.documents(&format!("{name}-*")).await;
    assert!(!before.is_empty(), "{}", first.stderr);
    assert_eq!(events_total(&first, "duplicates"), 0);
    let second = once(&sim, &Home::new(), &name, &output, windows, "").await;
    let after = rest.documents(&format!("{name}-*")).await;
    let told = |hits: &[Hit]| -> BTreeSet<(String, String, u64, String)> {
        let hits = hits.iter();
        hits.map(|hit| {
            (
                hit.index.clone(),
                hit.id.clone(),
                hit.version,
                hit.source.to_string(),
            )
        })
        .collect()
    };
    assert_eq!(told(&before), told(&after));
    assert_eq!(events_total(&second, "acked"), 0);
    assert_eq!(events_total(&second, "duplicates"), before.len() as u64);
    None
}

/// The same template makes a data stream, which takes the same events once.
async fn data_stream(rest: Arc<Rest>) -> Option<String> {
    let (sim, name) = (world().await, rest.name("stream"));
    let output = format!("{}  index: '{name}'\n", rest.output());
    let stream = "setup.template.data_stream: true\n";
    let ended = once(&sim, &Home::new(), &name, &output, "", stream).await;
    let path = format!("/_data_stream/{name}");
    let streams = rest.told(Method::GET, &path, &Value::Null).await.unwrap();
    assert_eq!(streams["data_streams"][0]["name"], *name, "{streams}");
    let hits = rest.documents(&name).await;
    complete(&sim, &hits, &ended);
    let windows = "  commands: [{type: auditevent}, {type: alert}]\n";
    let again = once(&sim, &Home::new(), &name, &output, windows, stream).await;
    assert_eq!(rest.documents(&name).await.len(), hits.len());
    assert_eq!(events_total(&again, "acked"), 0);
    assert!(events_total(&again, "duplicates") > 0);
    None
}

/// An object where the index has texts is refused for good: every such event becomes a dead letter, whole.
async fn dead_letters(rest: Arc<Rest>) -> Option<String> {
    let (sim, name, letters) = (world().await, rest.name("disputed"), rest.name("letters"));
    let policy = format!("  non_indexable_policy.dead_letter_index.index: '{letters}'\n");
    let output = format!("{}  index: '{name}'\n{policy}", rest.output());
    let capacity = "  commands: [{type: capacity}]\n";
    once(
        &sim,
        &Home::new(),
        &name,
        &output,
        capacity,
        "fields: {disputed: text}\n",
    )
    .await;
    assert_eq!(rest.documents(&name).await.len(), 1);

    let disputed = format!("fields: {{disputed: {DISPUTED}}}\n");
    let ended = once(&sim, &Home::new(), &name, &output, "", &disputed).await;
    assert_eq!(rest.documents(&name).await.len(), 1, "{}", ended.stderr);
    let hits = rest.documents(&letters).await;
    let messages: Vec<String> = (hits.iter())
        .map(|hit| hit.source["message"].as_str().unwrap().to_owned())
        .collect();
    let (counts, ids) = counted(&sim, messages.iter().map(String::as_str));
    assert_eq!(counts, expected(&sim), "{}", ended.stderr);
    let stored: BTreeSet<String> = hits.iter().map(|hit| hit.id.clone()).collect();
    assert_eq!(stored, ids, "_id is event.id");
    for hit in &hits {
        let kind = hit.source["error"]["type"].as_str().unwrap();
        // Elasticsearch has changed the name in 8.9.
        assert!(
            ["document_parsing_exception", "mapper_parsing_exception"].contains(&kind),
            "{kind}"
        );
    }
    None
}

/// A wrong password is told, and an API key with the privileges that are needed is enough.
async fn accounts(rest: Arc<Rest>) -> Option<String> {
    let (status, _) = rest.ask_as(None, Method::GET, "/", &Value::Null).await.unwrap();
    if status != 401 {
        return Some("its security is off".to_owned());
    }
    let (sim, home, name) = (world().await, Home::new(), rest.name("accounts"));
    let wrong = "CANARY-wrong-password";
    let account = format!("{}  username: {USER}\n  password: {wrong}\n", rest.hosts());
    home.configure(&format!(
        "ecsbeat:\n{}output.elasticsearch:\n{account}",
        customers(&sim, &home)
    ));
    let ended = home.run(&["test", "output"]).await;
    ended.expect(1);
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(told.contains("401") && !told.contains(wrong), "{told}");

    let privileges = json!({
        "cluster": ["monitor", "manage_index_templates"],
        "indices": [{ "names": [format!("{name}*")], "privileges": ["auto_configure", "create_doc"] }],
    });
    let wanted = json!({ "name": name, "expiration": "1h", "role_descriptors": { "ecsbeat": privileges } });
    let key = rest
        .told(Method::POST, "/_security/api_key", &wanted)
        .await
        .unwrap();
    let text = |member: &str| key[member].as_str().unwrap().to_owned();
    let (id, secret) = (text("id"), text("api_key"));
    let output = format!("{}  index: '{name}'\n  api_key: '{id}:{secret}'\n", rest.hosts());
    let ended = once(&sim, &home, &name, &output, "", "").await;
    complete(&sim, &rest.documents(&name).await, &ended);
    assert!(!ended.stderr.contains(&secret), "{}", ended.stderr);
    None
}
