//! The real binary against servers that record what they process: nothing with a window is lost, whatever they answer,
//! and what is sent twice has the same id both times.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chaos::{Chaos, Fault, Identity};
use ecs_sim::Sim;
use serde_json::Value;

use crate::support::authority::Authority;
use crate::support::lumberjack::{Answer, End, Lumberjack};
use crate::support::process::{Home, Process, SOON, customers, eventually, get};
use crate::support::socks::Socks;
use crate::support::windowed::{COMMANDS, busy, complete, exactly_once, rows};

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(20);

struct World {
    sim: Sim,
    servers: Vec<Lumberjack>,
    home: Home,
}

impl World {
    /// With so many servers, of which nobody knows yet.
    async fn new(servers: usize) -> Self {
        let mut world = Self {
            sim: Sim::start(busy()).await.unwrap(),
            servers: Vec::new(),
            home: Home::new(),
        };
        for _ in 0..servers {
            world.servers.push(Lumberjack::start().await);
        }
        world
    }

    /// Starts the binary with these hosts and further settings of the output, and waits until something has arrived.
    /// Gives the time from which everything has to arrive.
    async fn start(&self, hosts: &[String], settings: &str) -> (Process, i64) {
        self.home.configure(&format!(
            "ecsbeat:\n{COMMANDS}{}queue.mem: {{flush.timeout: 100ms}}\nhttp: {{enabled: true, port: \
             0}}\noutput.logstash:\n  hosts: {hosts:?}\n  timeout: 2s\n  backoff: {{init: 100ms, max: \
             400ms}}\n{settings}",
            customers(&self.sim, &self.home),
        ));
        let from = self.sim.now() + 1;
        let process = self.home.start(&[]);
        self.arrive(20).await;
        (process, from)
    }

    fn hosts(&self) -> Vec<String> {
        self.servers
            .iter()
            .map(|server| server.address().to_string())
            .collect()
    }

    /// What the servers have processed.
    fn documents(&self) -> Vec<Vec<u8>> {
        self.servers.iter().flat_map(Lumberjack::events).collect()
    }

    /// Waits until so many more documents have arrived.
    async fn arrive(&self, more: usize) {
        let before = self.documents().len();
        eventually("documents arrive", SOON, || {
            (self.documents().len() >= before + more).then_some(())
        })
        .await;
    }

    /// As a pipeline that takes the first of each id stores them. The same id must have come with the same document.
    fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        Self::distinct(&self.documents())
    }

    /// Whether none has come twice, of those that are there at one moment.
    fn has_none_twice(&self) -> bool {
        let documents = self.documents();
        Self::distinct(&documents).len() == documents.len()
    }

    fn distinct(documents: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
        let mut stored: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for document in documents {
            let json: Value = serde_json::from_slice(document).unwrap();
            let metadata = &json["@metadata"];
            assert_eq!(metadata["beat"], "ecsbeat");
            assert_eq!(metadata["type"], "_doc");
            assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(metadata["_id"], json["event"]["id"]);
            let id = metadata["_id"].as_str().unwrap().to_owned();
            let first = stored.entry(id).or_insert_with(|| document.clone());
            assert_eq!(first, document, "one id, two documents");
        }
        stored
    }

    /// Stops the binary, and looks at all that arrived.
    async fn finish(&self, mut process: Process, from: i64) {
        let to = self.sim.now();
        let arrived = || {
            let stored = self.stored();
            rows(stored.values().map(Vec::as_slice))
        };
        complete(&self.sim, from, to, SOON, arrived).await;
        process.stopped().await.expect(0);
        exactly_once(&self.sim, &arrived());
        for server in &self.servers {
            assert_eq!(server.violations(), [""; 0]);
            eventually("connections end with the process", SOON, || {
                (server.open() == 0).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_come_bit_by_bit_are_waited_for_and_nothing_is_sent_twice() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    server.next([Answer::Whole, Answer::Partial { every: 1 }]);
    server.always(Answer::KeepAlive { times: 3 });
    let (mut process, from) = world.start(&world.hosts(), "").await;
    server.always(Answer::Partial { every: 2 });
    world.arrive(20).await;
    server.always(Answer::Whole);
    world.arrive(20).await;
    let metrics = get(process.http().await, "/metrics").await;
    for name in ["acked_events", "write_bytes"] {
        let metric = format!("ecsbeat_output_{name}_total{{output=\"logstash\"}}");
        assert!(metrics.metric(&metric).unwrap() > 20.0, "{metric}");
    }
    assert!(world.has_none_twice());
    let batches = server.batches();
    assert!(
        batches
            .iter()
            .all(|batch| batch.compressed == 1 && batch.connection == 0)
    );
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_between_batches_cost_nothing() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    server.always(Answer::Last(End::Close));
    let (process, from) = world
        .start(&world.hosts(), "  pipelining: 0\n  compression_level: 0\n")
        .await;
    server.always(Answer::Last(End::Reset));
    world.arrive(20).await;
    server.always(Answer::Whole);
    for end in [End::Close, End::Reset] {
        eventually("a connection is idle", SOON, || (server.idle() > 0).then_some(())).await;
        server.end_idle(end);
        world.arrive(1).await;
    }
    assert!(server.connections() > 3, "{}", server.connections());
    assert!(server.batches().iter().all(|batch| batch.compressed == 0));
    assert!(world.has_none_twice(), "nothing was sent twice");
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_before_a_reset_is_not_sent_again() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    let (mut process, from) = world.start(&world.hosts(), "").await;
    for events in [1, 0, 2, 1] {
        server.next([Answer::Torn { events }]);
        world.arrive(20).await;
    }
    process
        .logged("the output fails; events are kept and sent again")
        .await;
    process.logged("the output works again").await;
    assert!(world.has_none_twice(), "nothing was processed twice");
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_acknowledged_is_sent_again_under_the_same_ids() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    // With several batches in flight the acknowledgement of the next one would be taken for the one that is missing.
    let (mut process, from) = world.start(&world.hosts(), "  pipelining: 0\n").await;
    for answer in [Answer::Never, Answer::Lost, Answer::TooMany] {
        server.next([answer]);
        world.arrive(20).await;
    }
    process
        .logged("no acknowledgement and no sign of life within 2s")
        .await;
    process.logged("it acknowledged").await;
    assert!(world.documents().len() > world.stored().len());
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_is_used_until_it_is_gone() {
    let world = World::new(2).await;
    let mut fronts = Vec::new();
    for server in &world.servers {
        fronts.push(Chaos::start(server.address()).await.unwrap());
    }
    let hosts: Vec<String> = fronts.iter().map(|front| front.address().to_string()).collect();
    let (process, from) = world.start(&hosts, "").await;
    let used = usize::from(world.servers[0].connections() == 0);
    for used in [used, 1 - used] {
        assert!(!world.servers[used].batches().is_empty());
        assert_eq!(world.servers[1 - used].open(), 0);
        fronts[used].set(Fault::Refuse);
        let other = &world.servers[1 - used];
        let before = other.batches().len();
        eventually("the other host has events", SOON, || {
            (other.batches().len() > before).then_some(())
        })
        .await;
        fronts[used].pass();
    }
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_hosts_are_used_at_once_where_that_is_asked_for() {
    let world = World::new(3).await;
    let (process, from) = world
        .start(
            &world.hosts(),
            "  loadbalance: true\n  worker: 2\n  slow_start: true\n",
        )
        .await;
    for (number, server) in world.servers.iter().enumerate() {
        eventually(&format!("both workers use host {number}"), SOON, || {
            (!server.events().is_empty() && server.connections() == 2).then_some(())
        })
        .await;
    }
    assert!(world.has_none_twice());
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_client_certificate_and_connections_that_break() {
    let world = World::new(1).await;
    let front = Chaos::start(world.servers[0].address()).await.unwrap();
    let authority = Authority::new("logstash");
    let own = authority.issue("logstash", &["127.0.0.1"]);
    let identity = Identity::new(&own.certificate, &own.key, Some(&authority.pem())).unwrap();
    front.show(Some(identity));
    let client = authority.issue("ecsbeat", &["ecsbeat"]);
    let ca = world.home.write("logstash-ca.pem", &authority.pem());
    let certificate = world.home.write("ecsbeat.pem", &client.certificate);
    let key = world.home.write("ecsbeat-key.pem", &client.key);
    let ssl = format!(
        "  ssl: {{certificate_authorities: {}, certificate: {}, key: {}}}\n",
        ca.display(),
        certificate.display(),
        key.display()
    );
    let (mut process, from) = world.start(&[front.address().to_string()], &ssl).await;
    front.close_idle();
    world.arrive(20).await;
    front.reset_all();
    world.arrive(20).await;
    for fault in [
        Fault::ResetAfter { bytes: 1000 },
        Fault::lose_answer(""),
        Fault::garbage("", "HTTP/1.1 400 Bad Request\r\n\r\n"),
        Fault::Hangup,
        Fault::Pieces { bytes: 7 },
    ] {
        let lasting = matches!(fault, Fault::Pieces { .. });
        front.set(fault.clone());
        if fault == Fault::Hangup {
            // It strikes new connections only.
            front.reset_all();
        }
        if !lasting {
            eventually(&format!("{fault:?} strikes"), SOON, || {
                (front.struck() > 0).then_some(())
            })
            .await;
            front.pass();
        }
        world.arrive(20).await;
    }
    process
        .logged("instead of an acknowledgement: check host and port")
        .await;
    front.pass();
    world.finish(process, from).await;
}

/// The proxy alone knows the server's name, so nothing arrives in any other way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_socks_proxy_that_resolves_names() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    let proxy = Socks::start("me", "ChangeMe", "logstash.invalid", server.address()).await;
    let hosts = [format!("logstash.invalid:{}", server.address().port())];
    let settings = format!(
        "  pipelining: 0\n  proxy_url: 'socks5://me:ChangeMe@{}'\n",
        proxy.address()
    );
    let (process, from) = world.start(&hosts, &settings).await;
    // A new connection goes the same way.
    server.next([Answer::Last(End::Close)]);
    eventually("it connects again", SOON, || {
        (server.connections() > 1).then_some(())
    })
    .await;
    world.arrive(20).await;
    assert_eq!(proxy.connections(), server.connections());
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_holds_up_nothing_but_the_events() {
    let world = World::new(1).await;
    let front = Chaos::start(world.servers[0].address()).await.unwrap();
    let (mut process, from) = world.start(&[front.address().to_string()], "").await;
    let address = process.http().await;
    front.set(Fault::Refuse);
    process.logged("the output fails; events are kept").await;
    let start = Instant::now();
    loop {
        let metrics = get(address, "/metrics").await;
        let errors = metrics.metric("ecsbeat_output_write_errors_total{output=\"logstash\"}");
        if errors.is_some_and(|errors| errors >= 5.0) {
            break;
        }
        assert!(start.elapsed() < SOON, "it does not try again: {errors:?}");
        tokio::time::sleep(LOOK).await;
    }
    front.pass();
    process.logged("the output works again").await;
    world.arrive(20).await;
    world.finish(process, from).await;
}
