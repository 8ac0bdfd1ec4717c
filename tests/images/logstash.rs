//! Logstash: that its beats input takes every event, and that its pipeline has what it needs to store each once.
//!
//! Owns the pipeline. Its input is that of `deploy/examples/logstash-pipeline.conf`, so that what is shown there is
//! known to work; its output posts every event to [`Recorder`]. A Logstash that a variable names has to have the
//! filter and the output of [`PIPELINE`], with the address of the recorder.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use testcontainers::core::{Host, IntoContainerPort as _};
use testcontainers::{CopyTargetOptions, ImageExt as _};
use tokio::task::JoinSet;

use crate::elasticsearch::events_total;
use crate::engine::Engine;
use crate::image::{Image, address, ready, start};
use crate::recorder::Recorder;
use crate::rest::Rest;
use crate::service::{Held, Service, Test};
use crate::support::lumberjack::Lumberjack;
use crate::support::process::{Home, customers};
use crate::support::still::{counted, expected, world};

/// The beats input.
const PORT: u16 = 5044;
/// Logstash's own API.
const API: u16 = 9600;
/// Where the recorder of a Logstash that a variable names listens.
const RECORDER: &str = "ECSBEAT_TEST_LOGSTASH_RECORDER";
/// The pipeline that is shown to users.
const SHOWN: &str = include_str!("../../deploy/examples/logstash-pipeline.conf");
/// What is done with every event instead of storing it: what the shown pipeline makes of `@metadata`, which no output
/// gives out by itself, goes where it can be seen.
const PIPELINE: &str = r#"
filter {
  mutate {
    add_field => {
      "[recorded][id]" => "%{[@metadata][_id]}"
      "[recorded][index]" => "%{[@metadata][beat]}-%{+yyyy.MM.dd}"
    }
  }
}

output {
  http {
    url => "http://RECORDER/"
    http_method => "post"
    format => "json_batch"
  }
}
"#;

/// Logstash.
pub(crate) struct Logstash;

/// One that runs, and what comes out of it.
pub(crate) struct Server {
    /// `host:port`
    beats: String,
    recorder: Arc<Recorder>,
    _held: Held,
}

impl Service for Logstash {
    const NAME: &'static str = "logstash";
    const IMAGE: &'static str = "docker.elastic.co/logstash/logstash:9.2.0";
    const TESTS: &'static [Test<Server>] = &[
        Test {
            name: "every_type_with_its_id",
            body: |server| every_type(server).boxed(),
        },
        Test {
            name: "small_windows",
            body: |server| small_windows(server).boxed(),
        },
    ];
    type Server = Server;

    async fn stand_in() -> anyhow::Result<Server> {
        let recorder = Arc::new(Recorder::start("127.0.0.1:0").await?);
        let lumberjack = Lumberjack::start().await;
        let beats = lumberjack.address().to_string();
        let url = format!("http://{}", recorder.address());
        let mut piping = JoinSet::new();
        piping.spawn(pipe(lumberjack, url));
        Ok(Server {
            beats,
            recorder,
            _held: Box::new(piping),
        })
    }

    async fn at(url: &str) -> anyhow::Result<Server> {
        let beats = url.strip_prefix("tcp://").context("write tcp://host:port")?;
        let recorder = std::env::var(RECORDER);
        let recorder =
            recorder.with_context(|| format!("{RECORDER} has to say where it posts to, as address:port"))?;
        Ok(Server {
            beats: beats.trim_end_matches('/').to_owned(),
            recorder: Arc::new(Recorder::start(&recorder).await?),
            _held: Box::new(()),
        })
    }

    async fn contained(engine: &Engine, image: &Image) -> anyhow::Result<Server> {
        let recorder = Recorder::start("0.0.0.0:0").await?;
        let host = "host.docker.internal";
        let target = format!("{host}:{}", recorder.address().port());
        let (input, _) = SHOWN
            .split_once("\noutput {")
            .context("the shown pipeline has no output")?;
        let pipeline = format!("{input}{}", PIPELINE.replace("RECORDER", &target));
        let place = CopyTargetOptions::new("/usr/share/logstash/pipeline/logstash.conf").with_mode(0o644);
        let request = image
            .request(engine, &[PORT, API])
            .with_host(host, Host::HostGateway)
            .with_copy_to(place, pipeline.into_bytes())
            .with_env_var("XPACK_MONITORING_ENABLED", "false")
            .with_env_var("LS_JAVA_OPTS", "-Xms512m -Xmx512m");
        let container = start(request).await?;
        let beats = ready(&container, async || {
            let api = format!("http://{}", address(&container, API.tcp()).await?);
            let path = "/_node/stats/pipelines/main";
            Rest::new(&api, Box::new(()))?
                .told(Method::GET, path, &Value::Null)
                .await?;
            address(&container, PORT.tcp()).await
        })
        .await?;
        Ok(Server {
            beats,
            recorder: Arc::new(recorder),
            _held: Box::new(container),
        })
    }

    async fn clean(_: &Server) {}
}

/// What the pipeline does, with everything that arrives.
async fn pipe(lumberjack: Lumberjack, url: String) {
    let http = Rest::new(&url, Box::new(())).unwrap();
    let mut done = 0;
    loop {
        let events = lumberjack.events().split_off(done);
        for event in &events {
            let mut event: Value = serde_json::from_slice(event).unwrap();
            let metadata = event.as_object_mut().unwrap().remove("@metadata").unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let day = text(&event["@timestamp"])[..10].replace('-', ".");
            let index = format!("{}-{day}", text(&metadata["beat"]));
            event["recorded"] = json!({ "id": metadata["_id"], "index": index });
            http.told(Method::POST, "/", &event).await.unwrap();
        }
        done += events.len();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

// === what is tried ===

/// Every type comes out as often as there was something to tell, and under the id and the index that it has to have.
async fn arrives(server: &Server, run: &str, settings: &str) {
    let (sim, home) = (world().await, Home::new());
    let run = format!("{run}-{}-{:08x}", std::process::id(), fastrand::u32(..));
    home.configure(&format!(
        "fields: {{run: {run}}}\necsbeat:\n{}output.logstash:\n  hosts: ['{}']\n  index: shown\n{settings}",
        customers(&sim, &home),
        server.beats
    ));
    let ended = home.run(&["--once"]).await;
    ended.expect(0);
    let acked = usize::try_from(events_total(&ended, "acked")).unwrap();
    let events = server.recorder.events(&run, acked).await;
    assert_eq!(events.len(), acked);
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    let (counts, ids) = counted(&sim, texts.iter().map(String::as_str));
    assert_eq!(counts, expected(&sim), "{}", ended.stderr);
    let recorded: BTreeSet<String> = (events.iter())
        .map(|event| event["recorded"]["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(recorded, ids, "[@metadata][_id] is event.id");
    for event in &events {
        let day = &event["@timestamp"].as_str().unwrap()[..10];
        let index = format!("shown-{}", day.replace('-', "."));
        assert_eq!(event["recorded"]["index"], index, "{event}");
        assert_eq!(event["tags"], Value::Null, "the pipeline has complained: {event}");
    }
}

async fn every_type(server: Arc<Server>) -> Option<String> {
    arrives(&server, "types", "").await;
    None
}

/// The same in windows of a few events, several of them in flight, uncompressed.
async fn small_windows(server: Arc<Server>) -> Option<String> {
    let settings = "  bulk_max_size: 7\n  pipelining: 4\n  compression_level: 0\n  slow_start: true\n";
    arrives(&server, "windows", settings).await;
    None
}
