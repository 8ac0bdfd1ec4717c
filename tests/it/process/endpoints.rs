//! The endpoints and the commands of the real binary, while everything is well and while everything hangs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use ecs_sim::{Fault, FaultRule, Sim};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::{Home, PASSWORD, Process, SOON, ask, customers_with, eventually, get};
use crate::support::windowed::{COMMANDS, busy};

const PATHS: [&str; 14] = [
    "/health",
    "/leader",
    "/primary",
    "/standby",
    "/replica",
    "/liveness",
    "/readiness",
    "/cluster",
    "/history",
    "/commands",
    "/metrics",
    "/",
    "/stats",
    "/state",
];

struct World {
    sim: Sim,
    bulk: Bulk,
    home: Home,
}

impl World {
    async fn new(settings: &str) -> Self {
        let sim = Sim::start(busy()).await.unwrap();
        let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
        let home = Home::new();
        home.configure(&format!(
            "ecsbeat:\n{COMMANDS}{}http: {{enabled: true, port: 0, auth.token: CANARY-token}}\n\
             queue.mem.flush.timeout: 100ms\noutput.elasticsearch:\n  hosts: ['{}']\n  username: elastic\n  \
             password: CANARY-elastic\n  backoff: {{init: 100ms, max: 400ms}}\n{settings}",
            customers_with(&sim, &home, PASSWORD, "reqtimeout: 60s"),
            bulk.url()
        ));
        Self { sim, bulk, home }
    }

    async fn start(&self) -> (Process, SocketAddr) {
        let mut process = self.home.start(&[]);
        let address = process.http().await;
        eventually("documents arrive", SOON, || (self.bulk.len() > 20).then_some(())).await;
        (process, address)
    }

    async fn health(&self, address: SocketAddr, more: &[&str]) -> i32 {
        let url = format!("http://{address}");
        let arguments = [&["health", "--url", &url], more].concat();
        self.home.run(&arguments).await.code()
    }
}

/// The codes of `/health /leader /standby /liveness /readiness`; the state in the bodies must be `state`.
async fn codes(address: SocketAddr, state: &str) -> [u16; 5] {
    let mut codes = [0; 5];
    for (code, path) in codes
        .iter_mut()
        .zip(["/health", "/leader", "/standby", "/liveness", "/readiness"])
    {
        let reply = get(address, path).await;
        assert_eq!(reply.json()["state"], state, "{path}: {}", reply.body);
        *code = reply.status;
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_leads_and_tells_how_it_fares() {
    let world = World::new("").await;
    let (_process, address) = world.start().await;
    assert_eq!(codes(address, "single").await, [200, 200, 503, 200, 200]);
    assert_eq!(
        (
            get(address, "/primary").await.status,
            get(address, "/replica").await.status
        ),
        (200, 503)
    );
    let leader = get(address, "/leader").await.json();
    for key in [
        "instance",
        "cluster",
        "state",
        "role",
        "is_self",
        "ha_enabled",
        "term",
        "leader",
        "lease_remaining_ms",
        "dcs",
        "pause",
        "config_mismatch",
        "reasons",
        "version",
    ] {
        assert!(leader.get(key).is_some(), "{key} is not in {leader}");
    }
    assert_eq!(
        (&leader["is_self"], &leader["ha_enabled"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    assert_eq!(leader["leader"]["address"], format!("http://{address}"));
    assert_eq!(leader["reasons"], Value::Array(Vec::new()));

    let start = Instant::now();
    loop {
        let told = get(address, "/commands").await.json();
        let commands = told["commands"].as_array().unwrap();
        let fine = |command: &Value| {
            command["last_success"].is_string()
                && command["checkpoint"].is_string()
                && command["last_error"].is_null()
                && command["lag_ms"].as_u64().unwrap() < 30_000
        };
        if commands.len() == 4 && commands.iter().all(fine) {
            break;
        }
        assert!(start.elapsed() < SOON, "{told}");
    }
    let metrics = get(address, "/metrics").await;
    assert_eq!(
        (
            metrics.metric("ecsbeat_ha_state"),
            metrics.metric("ecsbeat_leader")
        ),
        (Some(6.0), Some(1.0))
    );
    assert!(
        metrics
            .metric("ecsbeat_output_acked_events_total{output=\"elasticsearch\"}")
            .unwrap()
            > 20.0
    );
    assert_eq!(metrics.metric("ecsbeat_ha_is_leader"), Some(1.0));
    assert_eq!(
        metrics.metric("ecsbeat_ha_cluster_unlocked"),
        None,
        "there is no cluster"
    );
    let cluster = get(address, "/cluster").await.json();
    let members = cluster["members"].as_array().unwrap();
    assert_eq!(members.len(), 1, "{cluster}");
    assert_eq!(
        (&members[0]["role"], &members[0]["is_self"]),
        (&Value::from("leader"), &Value::Bool(true)),
        "{cluster}"
    );
    assert_eq!(members[0]["instance"], leader["instance"]);
    assert!(members[0]["lag_s"].as_u64().unwrap() < 60, "{cluster}");
    assert_eq!(
        get(address, "/history").await.json()["history"],
        Value::Array(Vec::new())
    );
    assert_eq!(get(address, "/").await.json()["beat"], "ecsbeat");
    let stats = get(address, "/stats").await.json();
    assert!(
        stats["libbeat"]["output"]["events"]["acked"].as_u64().unwrap() > 20,
        "{stats}"
    );
    assert!(
        stats["beat"]["memstats"]["rss"].as_u64().unwrap() > 1_000_000,
        "{stats}"
    );
    assert_eq!(
        get(address, "/state").await.json()["output"]["name"],
        "elasticsearch"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_takes_head_and_options_and_changes_need_the_token() {
    let world = World::new("").await;
    let (_process, address) = world.start().await;
    for path in PATHS {
        let head = ask(address, "HEAD", path, "").await.unwrap();
        assert_eq!(
            (head.status, head.body.as_str()),
            (get(address, path).await.status, ""),
            "{path}"
        );
        let options = ask(address, "OPTIONS", path, "").await.unwrap();
        assert_eq!(options.status, head.status, "load balancers ask so too: {path}");
        assert_eq!(
            ask(address, "DELETE", path, "").await.unwrap().status,
            405,
            "{path}"
        );
        assert!(!get(address, path).await.body.contains("CANARY"), "{path}");
    }
    assert_eq!(get(address, "/nothing").await.status, 404);
    for path in ["/switchover", "/pause", "/resume", "/step-down"] {
        assert_eq!(
            ask(address, "POST", path, "").await.unwrap().status,
            401,
            "{path}"
        );
        let token = "Authorization: Bearer CANARY-token\r\n";
        assert_eq!(
            ask(address, "POST", path, token).await.unwrap().status,
            501,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_is_healthy_and_does_not_lead() {
    let world = World::new("shutdown_timeout: 5s\n").await;
    let (mut process, address) = world.start().await;
    assert_eq!(
        (
            world.health(address, &[]).await,
            world.health(address, &["--leader"]).await
        ),
        (0, 0)
    );
    world.bulk.set(BulkRule::always(BulkFault::Refuse));
    process.logged("the output fails").await;
    process.signal(Signal::TERM);
    process.logged("Received signal").await;
    while get(address, "/health").await.json()["state"] == "single" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(codes(address, "draining").await, [200, 503, 503, 200, 503]);
    assert_eq!(
        (
            world.health(address, &[]).await,
            world.health(address, &["--leader"]).await
        ),
        (0, 1)
    );
    process.ended(SOON).await.expect(0);
    assert!(
        ask(address, "GET", "/health", "").await.is_err(),
        "nobody answers any more"
    );
    assert_eq!(world.health(address, &[]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoints_answer_while_ecs_and_the_output_hang() {
    let world = World::new("shutdown_timeout: 3s\n").await;
    let (mut process, address) = world.start().await;
    world.bulk.set(BulkRule::always(BulkFault::Hang).on_all());
    world.sim.faults().set(FaultRule::everywhere(Fault::Hang));
    eventually("ECS hangs", SOON, || {
        (world.sim.in_flight(0) > 0 && world.sim.in_flight(1) > 0).then_some(())
    })
    .await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        for path in PATHS {
            let start = Instant::now();
            let reply = get(address, path).await;
            assert_eq!(
                reply.status == 503,
                path == "/standby" || path == "/replica",
                "{path}: {}",
                reply.body
            );
            slowest = slowest.max(start.elapsed());
        }
    }
    println!("slowest answer {slowest:?}");
    assert_eq!(world.health(address, &[]).await, 0);
    process.signal(Signal::TERM);
    while get(address, "/health").await.json()["state"] == "single" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(codes(address, "draining").await, [200, 503, 503, 200, 503]);
    let ended = process.ended(SOON).await;
    assert!(ended.expect(0).took < Duration::from_secs(4), "{:?}", ended.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_come_in_order_and_are_never_well_before_the_start_or_after_the_end() {
    let world = World::new("").await;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let mut process = world.home.start(&[
        "-E",
        &format!("http.port={}", free.port()),
        "-E",
        "http.host=127.0.0.1",
    ]);
    let order = ["starting", "single", "draining", "stopped"];
    let mut at = 0;
    let mut seen = Vec::new();
    let start = Instant::now();
    while process.runs() {
        assert!(start.elapsed() < SOON, "{seen:?}\n{}", process.stderr());
        if let Ok(reply) = ask(free, "GET", "/health", "").await {
            let state = reply.json()["state"].as_str().unwrap().to_owned();
            let now = order.iter().position(|known| *known == state).unwrap();
            assert!(now >= at, "{state} after {}", order[at]);
            assert_eq!(
                reply.status == 200,
                matches!(now, 1 | 2),
                "{state}: {}",
                reply.status
            );
            at = now;
            if !seen.contains(&state) {
                seen.push(state);
            }
            if at == 1 && world.bulk.len() > 20 {
                process.signal(Signal::TERM);
                at = 2;
            }
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Between the signal and the drain it is single for a moment yet.
        if at == 2 {
            let ended = process.ended(SOON).await;
            ended.expect(0);
            break;
        }
    }
    assert!(seen.contains(&"single".to_owned()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_and_told_holds_no_secret() {
    let world = World::new("").await;
    let version = world.home.run(&["version"]).await;
    assert!(
        version.expect(0).stdout.starts_with("ecsbeat version "),
        "{}",
        version.stdout
    );
    let exported = world.home.run(&["export", "config"]).await;
    let text = &exported.expect(0).stdout;
    assert!(
        text.contains("customername: sim") && text.contains("hosts:"),
        "{text}"
    );
    assert!(!text.contains("CANARY"), "{text}");
    let template = world.home.run(&["export", "template"]).await;
    let template: Value = serde_json::from_str(&template.expect(0).stdout).unwrap();
    assert_eq!(template["index_patterns"], serde_json::json!(["ecsbeat-*"]));
    let invalid = world
        .home
        .run(&["test", "config", "-E", "ecsbeat.max_attempts=none"])
        .await;
    assert!(
        invalid.expect(78).stderr.contains("ecsbeat.max_attempts"),
        "{}",
        invalid.stderr
    );
    let valid = world.home.run(&["test", "config"]).await;
    assert_eq!(valid.expect(0).stdout.lines().last(), Some("Config OK"));
    let missing = world
        .home
        .run(&[
            "test",
            "config",
            "-E",
            "output.elasticsearch.hosts=https://localhost:1",
            "-E",
            "output.elasticsearch.ssl.certificate_authorities=/no/such.pem",
        ])
        .await;
    missing.expect(1);
    assert!(missing.stderr.contains("/no/such.pem"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tests_of_output_and_ecs_tell_what_is_wrong() {
    let world = World::new("").await;
    let output = world.home.run(&["test", "output"]).await;
    assert!(
        output.expect(0).stdout.contains("talk to server... OK"),
        "{}",
        output.stdout
    );
    assert!(world.bulk.is_empty(), "nothing is sent");
    world.bulk.set(
        BulkRule::always(BulkFault::Status {
            status: 401,
            retry_after: None,
        })
        .on_all(),
    );
    let output = world.home.run(&["test", "output"]).await;
    assert!(output.expect(1).stdout.contains("401"), "{}", output.stdout);
    world.bulk.clear_faults();
    world.bulk.set(BulkRule::always(BulkFault::Refuse));
    let output = world.home.run(&["test", "output"]).await;
    assert!(
        output.expect(1).stdout.contains("ERROR") && output.stdout.contains("refused"),
        "{}",
        output.stdout
    );

    let ecs = world.home.run(&["test", "ecs"]).await;
    ecs.expect(0);
    for vdc in 0..world.sim.vdcs() {
        assert!(ecs.stdout.contains(&world.sim.vdc(vdc).id()), "{}", ecs.stdout);
        assert_eq!(world.sim.live_tokens("monitor", vdc), 0, "logged out");
    }
    for node in world.sim.vdc(0).nodes() {
        assert!(ecs.stdout.contains(&node.name()), "{}", ecs.stdout);
    }
    world.sim.vdc(1).down().unwrap();
    let ecs = world.home.run(&["test", "ecs"]).await;
    let text = &ecs.expect(1).stdout;
    assert!(
        text.contains(&world.sim.vdc(0).id()) && text.contains("ERROR"),
        "{text}"
    );
    world.sim.vdc(1).up().unwrap();
    let wrong = world.home.write("wrong.yml", "ecsbeat.customers: []\n");
    let customers = customers_with(&world.sim, &world.home, "CANARY-wrong", "reqtimeout: 5s");
    std::fs::write(&wrong, format!("ecsbeat:\n{customers}")).unwrap();
    let ecs = world
        .home
        .run(&["test", "ecs", "-c", "ecsbeat.yml", "-c", "wrong.yml"])
        .await;
    let text = &ecs.expect(1).stdout;
    assert!(text.contains("monitor") && !text.contains("CANARY"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_over_plain_http_needs_no_certificates_on_the_host() {
    let world = World::new("").await;
    let (_process, address) = world.start().await;
    let url = format!("http://{address}");
    let empty = world.home.write("no-authorities.pem", "");
    let mut command = world.home.command(&["status", "--url", &url]);
    command
        .env("SSL_CERT_FILE", &empty)
        .env("SSL_CERT_DIR", "/nonexistent");
    let ended = Process::spawn(command).ended(SOON).await;
    ended.expect(0);
    assert!(ended.stdout.contains("single"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_windowed_command_that_never_delivered_is_behind_from_where_its_windows_begin() {
    let home = Home::new();
    home.configure(
        "ecsbeat:\n  start_jitter: 0s\n  customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, \
         nodes: [{host: '127.0.0.1:1'}]}]}]\n  commands: [{type: auditevent}, {type: localzone}]\n\
         output.console: {}\nhttp: {enabled: true, port: 0}\n",
    );
    let mut process = home.start(&[]);
    let address = process.http().await;
    let series = |command: &str| {
        format!("ecsbeat_checkpoint_lag_seconds{{customer=\"c\",vdc=\"v\",command=\"{command}\"}}")
    };
    let start = Instant::now();
    let lag = loop {
        let metrics = get(address, "/metrics").await;
        if let Some(lag) = metrics.metric(&series("auditevent")) {
            assert_eq!(metrics.metric(&series("localzone")), None, "it has no windows");
            break lag;
        }
        assert!(start.elapsed() < SOON, "{}", metrics.body);
    };
    // One interval back, and a window's step and lag at the most.
    assert!((60.0..600.0).contains(&lag), "{lag}");
    let told = get(address, "/commands").await.json();
    let commands = told["commands"].as_array().unwrap();
    let audit = commands
        .iter()
        .find(|row| row["command"] == "auditevent")
        .unwrap();
    assert!(audit["lag_ms"].as_u64().unwrap() >= 60_000, "{told}");
    assert!(audit["last_success"].is_null(), "{told}");
    process.signal(Signal::TERM);
    process.ended(SOON).await;
}
