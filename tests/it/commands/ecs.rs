//! `test ecs` against the simulator, word by word: the texts are in `tests/data/test-ecs`. `UPDATE_GOLDEN=1` writes them
//! anew.

use ecs_sim::{Auth, Config, Fault, FaultRule, Latency, Port, Profile, Sim};
use rustix::process::Signal;

use crate::support::golden;
use crate::support::process::{Ended, Home, PASSWORD, SOON, customers_with, eventually};

async fn world(config: Config) -> Sim {
    Sim::start(Config {
        vdcs: 2,
        nodes_per_vdc: 2,
        ..config
    })
    .await
    .unwrap()
}

fn home_with(sim: &Sim, password: &str, more: &str) -> Home {
    let home = Home::new();
    let more = format!("reqtimeout: 5s\n    s3_port: {}{more}", sim.ping_port().unwrap());
    home.configure(&format!(
        "ecsbeat:\n{}output.console: {{}}\n",
        customers_with(sim, &home, password, &more)
    ));
    home
}

async fn tried(sim: &Sim) -> Ended {
    home_with(sim, PASSWORD, "").run(&["test", "ecs"]).await
}

/// What the simulator chose for this run.
fn levelled(sim: &Sim, text: &str) -> String {
    let port = |port: u16| format!("{port}");
    let ports = [
        (port(sim.mgmt_port()), "PORT"),
        (port(sim.diag_port().unwrap()), "DIAGNOSTICS"),
        (port(sim.ping_port().unwrap()), "OBJECTS"),
    ];
    let replaced: Vec<(&str, &str)> = ports.iter().map(|(port, name)| (port.as_str(), *name)).collect();
    golden::levelled(text, &replaced, &[("certificate valid until: ", "DATE")])
}

#[track_caller]
fn check(name: &str, sim: &Sim, ended: &Ended, code: i32) {
    let text = levelled(sim, &ended.expect(code).stdout);
    golden::golden(&format!("test-ecs/{name}"), &text);
    for canary in sim.canaries() {
        assert!(!ended.stdout.contains(&canary) && !ended.stderr.contains(&canary));
    }
    assert_eq!(golden::without_progress(&ended.stderr, "test ecs"), "");
    for vdc in 0..sim.vdcs() {
        assert_eq!(sim.token_counts(vdc).live, 0, "every token is logged out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vdc_and_node_is_tried_once() {
    let sim = world(Config::for_tests()).await;
    let ended = tried(&sim).await;
    check("well", &sim, &ended, 0);
    for vdc in 0..2 {
        assert_eq!(sim.token_counts(vdc).issued, 3, "the VDC, and each of its nodes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_refused_is_not_tried_at_every_node() {
    let sim = world(Config::for_tests()).await;
    let ended = home_with(&sim, "wrong-one", "").run(&["test", "ecs"]).await;
    check("wrong-password", &sim, &ended, 1);
    assert!(!ended.stdout.contains("wrong-one"));
    assert_eq!(
        (sim.token_counts(0).bad_logins, sim.token_counts(1).bad_logins),
        (1, 1)
    );

    let sim = world(Config {
        auth: Auth {
            lockout_after: Some(0),
            ..Auth::default()
        },
        ..Config::for_tests()
    })
    .await;
    check("locked", &sim, &tried(&sim).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_a_role_is_told_which() {
    let sim = world(Config::for_tests()).await;
    let home = home_with(&sim, "CANARY-password-nobody", "");
    let text = std::fs::read_to_string(home.path().join("ecsbeat.yml")).unwrap();
    home.configure(&text.replace("username: monitor", "username: nobody"));
    check("no-role", &sim, &home.run(&["test", "ecs"]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_is_told_at_every_node() {
    let sim = world(Config::for_tests()).await;
    let home = home_with(&sim, PASSWORD, "");
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    home.write("ecs-ca.pem", &other.cert.pem());
    check("wrong-authority", &sim, &home.run(&["test", "ecs"]).await, 1);
    assert_eq!(sim.requests().len(), 0, "no password was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_down_is_told_and_the_others_are_tried() {
    let sim = world(Config::for_tests()).await;
    sim.vdc(0).node(1).down().unwrap();
    check("node-down", &sim, &tried(&sim).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_and_releases_that_differ_are_worth_a_word() {
    let sim = world(Config::for_tests()).await;
    // Half a minute more, so that a slow machine makes no other number of it.
    sim.faults()
        .set(FaultRule::everywhere(Fault::DateSkew { secs: 7230 }).on_vdc(1));
    sim.vdc(0).node(1).upgrade(Profile::V3_6).unwrap();
    let ended = tried(&sim).await;
    let text = ended.stdout.clone();
    let skews: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("clock... WARN 2h "))
        .collect();
    assert_eq!(skews.len(), 2, "{text}");
    let mut levelled = Ended {
        stdout: String::new(),
        ..ended
    };
    for line in text.lines() {
        let end = " ahead of ours";
        levelled
            .stdout
            .push_str(&match (line.find("WARN 2h "), line.find(end)) {
                (Some(from), Some(to)) => format!("{}WARN TIME{}", &line[..from], &line[to..]),
                _ => line.to_owned(),
            });
        levelled.stdout.push('\n');
    }
    check("clock", &sim, &levelled, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_that_are_closed_are_told() {
    let sim = world(Config::for_tests()).await;
    let refused = |port| FaultRule::everywhere(Fault::Refused).on_node(0, 0).on_port(port);
    sim.faults().set(refused(Port::Diag));
    sim.faults().set(refused(Port::Ping));
    check("ports", &sim, &tried(&sim).await, 1);
    // Where no directory tables are polled, nobody needs the port.
    let home = home_with(&sim, PASSWORD, "");
    let text = std::fs::read_to_string(home.path().join("ecsbeat.yml")).unwrap();
    home.configure(&format!(
        "{text}ecsbeat.commands: [{{type: nodes, uri: /vdc/nodes.json, level: vdc}}]\n"
    ));
    let ended = home.run(&["test", "ecs"]).await;
    assert!(!ended.expect(0).stdout.contains("port"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_are_tried_at_once_within_bounds_and_told_in_their_order() {
    let sim = Sim::start(Config {
        vdcs: 1,
        nodes_per_vdc: 24,
        latency: Latency { ms: 20, p99_ms: 0 },
        auth: Auth {
            tokens_per_user: 4,
            ..Auth::default()
        },
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let slow = FaultRule::everywhere(Fault::Latency { ms: 300, p99_ms: 0 });
    sim.faults().set(slow.on_node(0, 0));
    let ended = tried(&sim).await;
    let told: Vec<String> = ended
        .expect(0)
        .stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("node: ")?.strip_suffix("..."))
        .map(str::to_owned)
        .collect();
    let configured: Vec<String> = sim.vdc(0).nodes().iter().map(|node| node.mgmt_host()).collect();
    assert_eq!(told, configured);
    assert!(sim.token_counts(0).peak <= 4, "{:?}", sim.token_counts(0));
    assert!(sim.max_in_flight(0) > 1, "they were tried one by one");
    assert!(ended.stdout.ends_with("tried: 1 VDC, 24 nodes: no errors\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_breaks_it_off_and_leaves_no_token_behind() {
    let sim = world(Config::for_tests()).await;
    sim.faults()
        .set(FaultRule::everywhere(Fault::Hang).on_path("/vdc/nodes"));
    let home = home_with(&sim, PASSWORD, "");
    let mut process = home.start(&["test", "ecs"]);
    eventually("a request hangs", SOON, || (sim.in_flight(0) > 0).then_some(())).await;
    process.signal(Signal::INT);
    let ended = process.ended(SOON).await;
    ended.expect(1);
    let stderr = golden::without_progress(&ended.stderr, "test ecs");
    assert_eq!(stderr, "Exiting: broken off by a signal\n");
    assert_eq!((sim.token_counts(0).live, sim.token_counts(1).live), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_with_too_many_tokens_is_not_asked_for_more_at_every_node() {
    let sim = world(Config {
        auth: Auth {
            tokens_per_user: 0,
            ..Auth::default()
        },
        ..Config::for_tests()
    })
    .await;
    let ended = tried(&sim).await;
    ended.expect(1);
    let count = |part: &str| ended.stdout.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("log in as monitor... ERROR"), 2, "{}", ended.stdout);
    assert_eq!(
        count("log in... WARN not tried, so that the account is not locked"),
        4,
        "{}",
        ended.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_the_configuration_lacks_is_named() {
    let sim = world(Config::for_tests()).await;
    let home = home_with(&sim, PASSWORD, "");
    let left_out = sim.vdc(0).node(1).mgmt_host();
    let text = std::fs::read_to_string(home.path().join("ecsbeat.yml")).unwrap();
    home.configure(&text.replace(&format!(", {{host: '{left_out}'}}"), ""));
    let ended = home.run(&["test", "ecs"]).await;
    let address = left_out.split(':').next().unwrap();
    let want = format!("not configured: {address}\n");
    assert_eq!(
        ended.expect(0).stdout.matches(&want).count(),
        1,
        "{}",
        ended.stdout
    );
    assert_eq!(
        ended.stdout.matches("not configured").count(),
        1,
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.ends_with("tried: 2 VDCs, 3 nodes: no errors\n"),
        "{}",
        ended.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_fails_is_asked_once() {
    let sim = world(Config::for_tests()).await;
    let failing = Fault::Status {
        codes: vec![503],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    };
    sim.faults()
        .set(FaultRule::everywhere(failing).on_node(0, 1).on_path("/login"));
    let ended = tried(&sim).await;
    ended.expect(1);
    let logins = sim.requests().into_iter();
    let logins = logins.filter(|asked| (asked.vdc, asked.node) == (0, 1) && asked.path.starts_with("/login"));
    // By the VDC as a whole at most once more.
    assert!((1..=2).contains(&logins.count()), "{}", ended.stdout);
}
