//! The real binary with Redis behind it: what the simulator's journal holds is in the list, whatever fails in between.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chaos::{Chaos, Fault, Rule};
use ecs_sim::Sim;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::support::process::{Home, Process, Reply, SOON, customers, eventually, get};
use crate::support::redis::{Builder, Redis};
use crate::support::windowed::{COMMANDS, Row, busy, complete, doubled, exactly_once, rows, truth};

const LIST: &str = "ecsbeat";

struct World {
    sim: Sim,
    redis: Redis,
    home: Home,
}

impl World {
    async fn new(redis: Redis) -> Self {
        let sim = Sim::start(busy()).await.unwrap();
        Self {
            sim,
            redis,
            home: Home::new(),
        }
    }

    /// Starts with these settings of the output (in flow style), and waits until something has arrived.
    async fn start(&self, settings: &str) -> (Process, SocketAddr, i64) {
        self.home.configure(&format!(
            "ecsbeat:\n{COMMANDS}{}queue.mem: {{flush.timeout: 100ms}}\nhttp: {{enabled: true, port: 0}}\n\
             output.redis: {{timeout: 5s, backoff: {{init: 100ms, max: 400ms}}, {settings}}}\n",
            customers(&self.sim, &self.home),
        ));
        let from = self.sim.now() + 1;
        let mut process = self.home.start(&[]);
        let address = process.http().await;
        eventually("documents arrive", SOON, || {
            (self.documents().len() > 20).then_some(())
        })
        .await;
        (process, address, from)
    }

    fn documents(&self) -> Vec<Vec<u8>> {
        now(self.redis.list(LIST))
    }

    fn rows(&self) -> Vec<Row> {
        rows(self.documents().iter().map(Vec::as_slice))
    }

    /// Waits until everything up to now has arrived.
    async fn complete(&self, from: i64) -> Vec<Row> {
        complete(&self.sim, from, self.sim.now(), SOON, || self.rows()).await
    }
}

/// The result of an answer that comes soon, for conditions that are looked at.
fn now<T>(answer: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| Handle::current().block_on(answer))
}

/// Nothing is there that never was, and what is there twice has one id. Gives how many are there more than once.
#[track_caller]
fn repeated(sim: &Sim, rows: &[Row]) -> usize {
    let doubled = doubled(rows);
    for (urn, ids) in &doubled {
        assert!(
            ids.iter().all(|id| *id == ids[0]),
            "{urn} has several ids: {ids:?}"
        );
    }
    let truth = truth(sim, 0, sim.now() + 1);
    let strange: Vec<&Row> = rows.iter().filter(|row| !truth.contains(&row.urn)).collect();
    assert!(strange.is_empty(), "never happened: {strange:?}");
    doubled.len()
}

fn acked(metrics: &Reply) -> f64 {
    let sample = metrics.metric("ecsbeat_output_acked_events_total{output=\"redis\"}");
    sample.unwrap_or_default()
}

fn dropped(metrics: &Reply) -> bool {
    metrics.sum("ecsbeat_output_dropped_events_total") > 0.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_in_the_list_once() {
    let world = World::new(Builder::new().password("CANARY-redis").start().await).await;
    let host = format!("hosts: ['redis://:CANARY-redis@{}']", world.redis.address());
    let (mut process, address, from) = world.start(&host).await;
    world.complete(from).await;
    let metrics = get(address, "/metrics").await;
    let sample = |name: &str| metrics.metric(&format!("ecsbeat_output_{name}{{output=\"redis\"}}"));
    assert!(sample("acked_events_total").unwrap() >= 20.0, "{}", metrics.body);
    assert!(sample("write_bytes_total").unwrap() > 10_000.0);
    assert_eq!(sample("up"), Some(1.0));
    let ended = process.stopped().await;
    ended.expect(0);
    exactly_once(&world.sim, &world.rows());
    for document in world.documents() {
        let json: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(json["@metadata"]["_id"], json["event"]["id"]);
    }
    assert!(!ended.stderr.contains("CANARY-redis"), "{}", ended.stderr);
}

/// One that only ever listens gets what is published while it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_to_the_channel_hears_everything() {
    let world = World::new(Redis::start().await).await;
    let heard = world.redis.subscribe(LIST).await;
    world.home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}queue.mem: {{flush.timeout: 100ms}}\noutput.redis: {{hosts: ['{}'], datatype: channel}}\n",
        customers(&world.sim, &world.home),
        world.redis.address()
    ));
    let from = world.sim.now() + 1;
    let mut process = world.home.start(&[]);
    let rows = || rows(heard.messages().iter().map(Vec::as_slice));
    eventually("messages arrive", SOON, || (rows().len() > 20).then_some(())).await;
    complete(&world.sim, from, world.sim.now(), SOON, rows).await;
    process.stopped().await.expect(0);
    exactly_once(&world.sim, &rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_gets_everything() {
    let mut world = World::new(Redis::start().await).await;
    let host = format!("hosts: ['{}'], bulk_max_size: 10", world.redis.address());
    let (mut process, address, from) = world.start(&host).await;
    for _ in 0..2 {
        world.redis.kill();
        eventually("the failure is told", SOON, || {
            process.stderr().contains("the output fails").then_some(())
        })
        .await;
        let since = world.sim.now();
        eventually("there is more to deliver", SOON, || {
            (world.sim.now() > since + 2).then_some(())
        })
        .await;
        let health = get(address, "/health").await;
        assert!(health.body.contains("output_down"), "{}", health.body);
        world.redis.restart().await;
        world.complete(from).await;
    }
    assert!(!dropped(&get(address, "/metrics").await));
    process.stopped().await.expect(0);
    let rows = world.rows();
    let repeated = repeated(&world.sim, &rows);
    println!("{} rows, {repeated} of them repeated", rows.len());
    // A batch in flight at each kill.
    assert!(repeated <= 2 * 10, "{repeated}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_repeat_their_batch_under_the_same_ids() {
    let world = World::new(Redis::start().await).await;
    let proxy = Chaos::start(world.redis.address()).await.unwrap();
    let host = format!("hosts: ['{}'], bulk_max_size: 10", proxy.address());
    let (mut process, address, from) = world.start(&host).await;
    proxy.set(Rule::from(Fault::lose_answer("RPUSH")).times(3));
    eventually("answers are lost", SOON, || (proxy.struck() == 3).then_some(())).await;
    proxy.pass();
    world.complete(from).await;
    assert!(!dropped(&get(address, "/metrics").await));
    process.stopped().await.expect(0);
    let rows = world.rows();
    let repeated = repeated(&world.sim, &rows);
    println!("{} rows, {repeated} of them repeated", rows.len());
    assert!((1..=3 * 10).contains(&repeated), "{repeated}");
}

/// A server that closes connections which are idle is no reason to say anything. Only where it closes one at the very
/// moment in which a batch is on its way does anybody have to know: nobody can tell then before it is too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_closed_while_idle_are_replaced_without_noise() {
    let world = World::new(Redis::start().await).await;
    let proxy = Chaos::start(world.redis.address()).await.unwrap();
    let (mut process, address, from) = world.start(&format!("hosts: ['{}']", proxy.address())).await;
    let errors = async || {
        let metrics = get(address, "/metrics").await;
        let of = |kind| metrics.metric(&format!("ecsbeat_output_{kind}_errors_total{{output=\"redis\"}}"));
        of("write").unwrap_or_default() + of("read").unwrap_or_default()
    };
    let (mut silent, mut closed) = (0, 0);
    while silent < 5 && closed < 10 {
        let (before, told) = (proxy.counts().connections, errors().await);
        eventually("the connection is closed while it is idle", SOON, || {
            let counts = proxy.counts();
            let closed = counts.open == 0 || counts.connections > before;
            // One that was busy is not closed.
            closed.then_some(()).or_else(|| {
                proxy.close_idle();
                None
            })
        })
        .await;
        eventually("another takes its place", SOON, || {
            (proxy.counts().connections > before).then_some(())
        })
        .await;
        closed += 1;
        silent += u32::from(errors().await <= told);
    }
    world.complete(from).await;
    let ended = process.stopped().await;
    ended.expect(0);
    exactly_once(&world.sim, &world.rows());
    assert_eq!(silent, 5, "of {closed}: {}", ended.stderr);
    let noise = ended.stderr.contains("the output fails");
    assert!(closed > silent || !noise, "{}", ended.stderr);
    assert!(proxy.counts().connections > 5, "{:?}", proxy.counts());
}

/// A reader that stops: the list stays short, polling waits, and everything comes when it reads again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_behind_slows_polling_down_and_misses_nothing() {
    let world = World::new(Redis::start().await).await;
    let settings = format!(
        "hosts: ['{}'], max_list_len: 60, bulk_max_size: 20",
        world.redis.address()
    );
    let (mut process, address, from) = world.start(&settings).await;
    let line = process.logged("max_list_len is 60").await;
    assert!(
        line.contains("\"log.level\":\"error\"") && line.contains("the output fails"),
        "{line}"
    );
    let mut read = BTreeMap::new();
    for _ in 0..3 {
        // It may still be called down when the list has just been read.
        let length = eventually("the list is full and the output held up", SOON, || {
            let health = now(get(address, "/health"));
            let length = world.documents().len();
            (health.body.contains("output_down") && length >= 60).then_some(length)
        })
        .await;
        assert!(length < 80, "a batch more at most: {length}");
        // It may be full again before anybody sees the output up.
        let accepted = acked(&get(address, "/metrics").await);
        take(&world.redis, &mut read).await;
        eventually("the output goes on", SOON, || {
            (acked(&now(get(address, "/metrics"))) > accepted).then_some(())
        })
        .await;
    }
    println!(
        "told {} times",
        process.stderr().matches("the output fails").count()
    );
    let to = world.sim.now();
    eventually("everything has been read", SOON, || {
        now(take(&world.redis, &mut read));
        truth(&world.sim, from, to)
            .iter()
            .all(|urn| read.contains_key(urn))
            .then_some(())
    })
    .await;
    assert!(!dropped(&get(address, "/metrics").await));
    process.stopped().await.expect(0);
}

/// Takes all that is in the list; a row that was there before must have the same id.
async fn take(redis: &Redis, read: &mut BTreeMap<String, String>) {
    loop {
        let documents = redis.command(&["LPOP", LIST, "1000"]).await.list();
        if documents.is_empty() {
            return;
        }
        for row in rows(documents.iter().map(Vec::as_slice)) {
            let before = read.insert(row.urn.clone(), row.id.clone());
            assert!(before.is_none(), "{row:?} was read twice");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_at_start_and_in_test_output() {
    let world = World::new(Builder::new().password("CANARY-right").start().await).await;
    world.home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}output.redis: {{hosts: ['redis://:CANARY-wrong@{}']}}\n",
        customers(&world.sim, &world.home),
        world.redis.address()
    ));
    let mut process = world.home.start(&[]);
    let line = process.logged("the output fails").await;
    assert!(
        line.contains("AUTH: WRONGPASS: check username and password"),
        "{line}"
    );
    let ended = process.stopped().await;
    assert!(!ended.stderr.contains("CANARY-wrong"), "{}", ended.stderr);
    let ended = world.home.run(&["test", "output"]).await;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.code() != 0 && said.contains("WRONGPASS") && !said.contains("CANARY"),
        "{said}"
    );
    let exported = world.home.run(&["export", "config"]).await;
    exported.expect(0);
    let host = format!("redis://xxxxx@{}", world.redis.address());
    assert!(exported.stdout.contains(&host), "{}", exported.stdout);
    assert!(!exported.stdout.contains("CANARY"), "{}", exported.stdout);
}
