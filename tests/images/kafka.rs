//! Kafka: that its brokers take every event once, by themselves and in transactions, and shut out a leader that was
//! replaced.
//!
//! Owns the topics, one for each test, which are removed from brokers that stay. What arrived is read back with kcat,
//! which goes by what is committed.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::FutureExt as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, Producer as _};
use serde_json::Value;
use testcontainers::ImageExt as _;
use testcontainers::core::IntoContainerPort as _;

use crate::elasticsearch::events_total;
use crate::engine::Engine;
use crate::image::{Image, ready, start};
use crate::service::{Held, Service, Test};
use crate::support::kafka::{Brokers, Read, front, read};
use crate::support::process::{Home, SOON, customers, get};
use crate::support::still::{counted, expected, world};
use crate::verdict::say;

/// Of clients, in the container.
const PORT: u16 = 9092;
/// One question to brokers.
const ANSWER: Duration = Duration::from_secs(5);
/// What brokers have committed.
const ACKED: &str = "ecsbeat_output_acked_events_total{output=\"kafka\"}";
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);
/// A broker that is asked to shut somebody out has to have answered by then.
const TAKEN: Duration = Duration::from_secs(30);

/// Kafka.
pub(crate) struct Kafka;

/// Brokers that run.
pub(crate) struct Server {
    /// `host:port`, with commas between them.
    brokers: String,
    topics: Mutex<Vec<String>>,
    _held: Held,
}

impl Server {
    fn new(brokers: String, held: Held) -> Self {
        Self {
            brokers,
            topics: Mutex::default(),
            _held: held,
        }
    }

    /// A topic that nobody else has. Brokers make it when it is written to.
    fn topic(&self, test: &str) -> String {
        let topic = format!("ecsbeat-{test}-{}-{:08x}", std::process::id(), fastrand::u32(..));
        self.topics.lock().unwrap().push(topic.clone());
        topic
    }

    /// For `output.kafka.hosts`.
    fn hosts(&self) -> String {
        let hosts: Vec<String> = self.brokers.split(',').map(|host| format!("'{host}'")).collect();
        hosts.join(", ")
    }
}

impl Service for Kafka {
    const NAME: &'static str = "kafka";
    const IMAGE: &'static str = "docker.io/apache/kafka:4.1.0";
    const TESTS: &'static [Test<Server>] = &[
        Test {
            name: "every_type_with_its_id",
            body: |server| every_type(server).boxed(),
        },
        Test {
            name: "in_transactions",
            body: |server| in_transactions(server).boxed(),
        },
        Test {
            name: "a_leader_that_was_replaced",
            body: |server| a_leader_that_was_replaced(server).boxed(),
        },
    ];
    type Server = Server;

    async fn stand_in() -> anyhow::Result<Server> {
        let (told, addresses) = mpsc::channel();
        let (held, ends) = mpsc::channel::<()>();
        // They belong to the thread that made them, and end with what keeps this one waiting.
        std::thread::spawn(move || {
            let brokers = Brokers::start(1);
            let _ = told.send(brokers.addresses());
            let _ = ends.recv();
        });
        let behind = addresses.recv().context("the mock cluster did not start")?;
        let front = front::Builder::default().fencing().before(&behind).await;
        Ok(Server::new(front.addresses().to_owned(), Box::new((front, held))))
    }

    async fn at(url: &str) -> anyhow::Result<Server> {
        let brokers = url
            .strip_prefix("kafka://")
            .context("write kafka://host:port[,host:port]")?;
        let brokers = brokers.trim_end_matches('/').to_owned();
        answers(&brokers).await?;
        Ok(Server::new(brokers, Box::new(())))
    }

    async fn contained(engine: &Engine, image: &Image) -> anyhow::Result<Server> {
        // A broker tells clients where it is, so that has to be known before it starts.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
        let port = free.local_addr().context("the free port")?.port();
        drop(free);
        let brokers = format!("127.0.0.1:{port}");
        let mut request = image.request(engine, &[]).with_mapped_port(port, PORT.tcp());
        // The image takes its own configuration only where no variable changes any of it.
        for (name, value) in [
            ("NODE_ID", "1"),
            ("PROCESS_ROLES", "broker,controller"),
            ("LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("ADVERTISED_LISTENERS", &format!("PLAINTEXT://{brokers}")),
            (
                "LISTENER_SECURITY_PROTOCOL_MAP",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            ),
            ("CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            ("CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
            ("OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
            ("TRANSACTION_STATE_LOG_MIN_ISR", "1"),
            ("GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
            ("NUM_PARTITIONS", "3"),
        ] {
            request = request.with_env_var(format!("KAFKA_{name}"), value);
        }
        let container = start(request).await?;
        ready(&container, async || answers(&brokers).await).await?;
        Ok(Server::new(brokers, Box::new(container)))
    }

    async fn clean(server: &Server) {
        let topics = std::mem::take(&mut *server.topics.lock().unwrap());
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let client: AdminClient<DefaultClientContext> = client(&server.brokers).create().unwrap();
        match client.delete_topics(&names, &AdminOptions::new()).await {
            // One that was not written to is not there.
            Ok(results) => {
                for (topic, code) in results.into_iter().filter_map(Result::err) {
                    say(&format!("images: the topic {topic} stays: {code}"));
                }
            }
            Err(error) => say(&format!("images: the topics {} stay: {error}", names.join(", "))),
        }
    }
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// Whether brokers answer there.
async fn answers(brokers: &str) -> anyhow::Result<()> {
    let consumer: BaseConsumer = client(brokers).create().context("a client")?;
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = consumer.fetch_metadata(None, ANSWER)?;
        anyhow::Ok(metadata.brokers().len())
    });
    if asked.await?? == 0 {
        bail!("it knows of no broker");
    }
    Ok(())
}

// === what is tried ===

/// Every type comes out as often as there was something to tell, once, and with its id for who reads the topic.
async fn arrives(server: &Server, test: &str, settings: &str) {
    let (sim, home) = (world().await, Home::new());
    let topic = server.topic(test);
    home.configure(&format!(
        "ecsbeat:\n{}output.kafka:\n  hosts: [{}]\n  topic: {topic}\n{settings}",
        customers(&sim, &home),
        server.hosts()
    ));
    let ended = home.run(&["--once"]).await;
    ended.expect(0);
    let acked = usize::try_from(events_total(&ended, "acked")).unwrap();
    let messages = read(&server.brokers, &topic).await;
    assert_eq!(messages.len(), acked, "{}", ended.stderr);
    let (counts, ids) = counted(&sim, messages.iter().map(|message| &*message.payload));
    assert_eq!(counts, expected(&sim), "{}", ended.stderr);
    assert_eq!(ids.len(), acked, "nothing is there twice");
    for Read { payload, .. } in &messages {
        let event: Value = serde_json::from_str(payload).unwrap();
        assert_eq!(event["@metadata"]["_id"], event["event"]["id"], "{event}");
    }
}

async fn every_type(server: Arc<Server>) -> Option<String> {
    arrives(&server, "types", "").await;
    None
}

async fn in_transactions(server: Arc<Server>) -> Option<String> {
    let id = format!("ecsbeat-transactions-{:08x}", fastrand::u32(..));
    let settings = format!("  fencing: transactional\n  transactional_id: {id}\n  bulk_max_size: 50\n");
    arrives(&server, "transactions", &settings).await;
    None
}

/// Another one begins a new epoch, as the next leader does: the brokers refuse what the former one still sends, and it
/// says so.
async fn a_leader_that_was_replaced(server: Arc<Server>) -> Option<String> {
    let (sim, home) = (world().await, Home::new());
    let topic = server.topic("replaced");
    let id = format!("ecsbeat-replaced-{:08x}", fastrand::u32(..));
    home.configure(&format!(
        "http: {{enabled: true, port: 0}}\necsbeat:\n  period: 1s\n  start_jitter: 0s\n{}output.kafka:\n  hosts: [{}]\n  topic: {topic}\n  \
         fencing: transactional\n  transactional_id: {id}\n",
        customers(&sim, &home),
        server.hosts()
    ));
    let mut process = home.start(&["-e"]);
    let address = process.http().await;
    let begin = Instant::now();
    while get(address, "/metrics")
        .await
        .metric(ACKED)
        .is_none_or(|acked| acked == 0.0)
    {
        assert!(begin.elapsed() < SOON, "nothing arrives: {}", process.stderr());
        tokio::time::sleep(LOOK).await;
    }
    let config = {
        let mut config = client(&server.brokers);
        config.set("transactional.id", &id);
        config
    };
    let newer = tokio::task::spawn_blocking(move || {
        let newer: BaseProducer = config.create().unwrap();
        newer.init_transactions(TAKEN).unwrap();
        newer
    });
    let newer = newer.await.unwrap();
    // Without `ha` nobody has taken over, but two have one name.
    process.logged("another ecsbeat of this name writes").await;
    process.stopped().await.expect(0);
    drop(newer);
    None
}
