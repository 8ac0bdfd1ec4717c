//! What operators ask for.

use std::time::{Duration, Instant};

use ecs_sim::bulk::{BulkFault, BulkRule};
use serde_json::{Value, json};

use super::windows::each_once;
use crate::support::cluster::{Cluster, Replica, SURELY_ALIVE, SURELY_OVER, throughout, until};
use crate::support::process::{Reply, SOON, ask};
use crate::support::windowed::{complete, exactly_once, rows_of};

/// The order was carried out; gives to whom the leadership went.
#[track_caller]
fn switched(reply: &Reply, from: &str) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body = reply.json();
    assert_eq!(
        (&body["status"], &body["from"]),
        (&"switched".into(), &from.into())
    );
    println!("nobody led for {} ms", body["gap_ms"]);
    let gap = Duration::from_millis(body["gap_ms"].as_u64().unwrap());
    assert!(gap < SURELY_ALIVE, "it waited for the lease: {body}");
    body["to"].as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(reply: &Reply, status: u16, reasons: &[&str]) {
    let body = reply.json();
    assert_eq!(reply.status, status, "{body}");
    assert!(body["error"].as_str().unwrap().contains(' '), "{body}");
    let wanted = if reasons.is_empty() {
        Value::Null
    } else {
        json!(reasons)
    };
    assert_eq!(body["reasons"], wanted, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_goes_to_its_candidate_without_a_gap_or_a_double() {
    let cluster = Cluster::new().await;
    let (a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let c = cluster.standby("c").await;
    let from = cluster.begun().await;
    // Whoever takes the order, the leader obeys.
    let reply = b.switchover("a", Some("c")).await;
    assert_eq!(switched(&reply, "a"), "c");
    let second = c.leads().await.unwrap();
    assert!(second > first);
    a.stood_by().await;
    b.stood_by().await;
    cluster.delivers(second).await;
    let last = c.last_term(second).await;
    assert_eq!(
        [&last["from"], &last["to"], &last["reason"]],
        ["a", "c", "switchover"],
        "{last}"
    );
    assert!(
        cluster.key("switchover").await.is_none(),
        "it is carried out, and gone"
    );
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    assert_eq!(cluster.bulk.repeated(), []);
    each_once(&cluster);
    assert_eq!(a.lines("ecsbeat version").len(), 1, "nobody was restarted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_without_a_candidate_goes_to_another() {
    let cluster = Cluster::new().await;
    let (a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let reply = a.switchover("a", None).await;
    assert_eq!(switched(&reply, "a"), "b");
    assert!(b.leads().await.unwrap() > first);
    a.stood_by().await;
    // And back.
    let reply = a.switchover("b", None).await;
    assert_eq!(switched(&reply, "b"), "a");
    let third = a.leads().await.unwrap();
    assert_eq!(a.last_term(third).await["reason"], "switchover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_steps_down_and_nobody_else_can() {
    let cluster = Cluster::new().await;
    let (a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    refused(&b.order("/step-down", &json!({})).await, 412, &["not_leader"]);
    assert_eq!(a.leads().await, Some(first));
    let reply = a.order("/step-down", &json!({})).await;
    assert_eq!(switched(&reply, "a"), "b");
    assert!(b.leads().await.unwrap() > first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_that_cannot_be_done_is_refused_with_the_reason() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    refused(&a.switchover("a", None).await, 412, &["no_candidate"]);
    refused(&a.order("/step-down", &json!({})).await, 412, &["no_candidate"]);
    let z = cluster.start_with("z", &["ha.priority=0"]).await;
    until("z is a member", SOON, async || cluster.key("members/z").await).await;
    refused(&z.switchover("a", None).await, 412, &["no_candidate"]);
    refused(
        &z.switchover("a", Some("z")).await,
        412,
        &["candidate_never_leads"],
    );
    let b = cluster.standby("b").await;
    for replica in [&a, &b] {
        refused(&replica.switchover("b", None).await, 412, &["leader_mismatch"]);
        refused(
            &replica.switchover("a", Some("x")).await,
            412,
            &["candidate_unknown"],
        );
        refused(&replica.switchover("a", Some("a")).await, 400, &[]);
        refused(&replica.order("/switchover", &json!({})).await, 400, &[]);
        for path in ["/switchover", "/step-down", "/pause", "/resume"] {
            let reply = ask(replica.http, "POST", path, "").await.unwrap();
            refused(&reply, 401, &[]);
        }
    }
    assert_eq!(a.leads().await, Some(term), "nothing came of any of them");
    assert!(cluster.key("switchover").await.is_none());
}

/// A leader whose output hangs takes `drain_timeout` to hand over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_switchover_is_refused_while_one_is_under_way() {
    let cluster = Cluster::new().await;
    let (a, _) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    cluster.bulk.set(BulkRule::always(BulkFault::Hang));
    until("a bulk hangs", SOON, async || {
        (cluster.bulk.requests().last()?.status == 0).then_some(())
    })
    .await;
    let second = async {
        until("the switchover is under way", SOON, async || {
            let body = b.get("/cluster").await.json();
            (body["switchover"]["leader"] == "a").then_some(())
        })
        .await;
        assert_eq!(a.state().await, "draining");
        assert_eq!(a.codes().await, [503, 503, 200, 503, 200]);
        (
            b.switchover("a", None).await,
            a.order("/step-down", &json!({})).await,
        )
    };
    let (first, (second, step_down)) = tokio::join!(b.switchover("a", None), second);
    refused(&second, 409, &[]);
    refused(&step_down, 412, &["not_leader"]);
    assert_eq!(switched(&first, "a"), "b");
    let told = a.lines("not everything was delivered before the handover");
    assert_eq!(told.len(), 1, "{told:?}");
    cluster.bulk.clear_faults();
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
}

async fn paused(replicas: &[&Replica], pause: bool) {
    for replica in replicas {
        until(
            &format!("{} knows: paused is {pause}", replica.name),
            SOON,
            async || (replica.get("/cluster").await.json()["pause"] == pause).then_some(()),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_paused_nobody_takes_over_and_after_the_end_of_the_pause_somebody_does() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let reply = b.order("/pause", &json!({})).await;
    assert_eq!((reply.status, &reply.json()["status"]), (200, &"paused".into()));
    paused(&[&a, &b], true).await;
    assert_eq!(a.leads().await, Some(first), "the leader goes on");
    cluster.delivers(first).await;
    refused(&b.switchover("a", None).await, 412, &["paused"]);
    a.kill().await;
    let begin = Instant::now();
    let unlocked = async || {
        assert_eq!(b.leads().await, None, "nobody takes over");
        let body = b.get("/cluster").await.json();
        (body["cluster_unlocked"] == true).then_some(())
    };
    until("nobody leads", SURELY_OVER, unlocked).await;
    assert!(begin.elapsed() > SURELY_ALIVE, "{:?}", begin.elapsed());
    // Ten times what a takeover takes.
    throughout(Duration::from_secs(2), async || {
        assert!(unlocked().await.is_some());
        assert_eq!(b.codes().await, [503, 200, 200, 200, 200]);
    })
    .await;
    assert!(cluster.key("leader").await.is_none());
    let reply = b.order("/resume", &json!({})).await;
    assert_eq!((reply.status, &reply.json()["status"]), (200, &"resumed".into()));
    let second = b.led().await;
    assert!(second > first);
    assert_eq!(b.last_term(second).await["reason"], "expired");
    for words in ["the cluster is paused", "the cluster is resumed"] {
        assert_eq!(b.lines(words).len(), 1, "{words}");
    }
}

/// `ecsbeat COMMAND --url …` as an operator types it; gives what it printed.
async fn typed(cluster: &Cluster, replica: &Replica, words: &[&str], code: i32) -> String {
    let url = format!("http://{}", replica.http);
    let mut arguments = words.to_vec();
    arguments.extend(["--url", &url]);
    let ended = cluster.home.run(&arguments).await;
    ended.expect(code);
    format!("{}{}", ended.stdout, ended.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_gives_the_same_orders_by_commands() {
    let cluster = Cluster::new().await;
    let (a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let status = typed(&cluster, &b, &["status"], 0).await;
    assert!(status.contains(&format!(": a leads, term {first}\n")), "{status}");
    let row = |name: &str, status: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name} ")));
        let cells = line.unwrap_or_else(|| panic!("{status}")).split_whitespace();
        cells.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("a", &status)[1..4], ["leader", "leader", "ok"], "{status}");
    assert_eq!(row("b", &status)[1..4], ["replica", "standby", "ok"], "{status}");
    let json = typed(&cluster, &b, &["status", "--json"], 0).await;
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap()["leader"]["name"],
        "a"
    );

    let said = typed(&cluster, &b, &["switchover", "--candidate", "nobody"], 1).await;
    assert!(
        said.starts_with("not done: ") && said.contains("nobody"),
        "{said}"
    );
    let said = typed(&cluster, &b, &["switchover", "--leader", "b"], 1).await;
    assert!(said.starts_with("not done: "), "{said}");
    let said = typed(&cluster, &b, &["switchover", "--candidate", "b"], 0).await;
    assert!(
        said.starts_with("b leads now, in place of a; nobody led for "),
        "{said}"
    );
    let second = b.leads().await.unwrap();

    assert!(typed(&cluster, &a, &["pause"], 0).await.starts_with("paused"));
    let status = typed(&cluster, &b, &["status"], 0).await;
    assert!(status.contains("; PAUSED: nobody takes over\n"), "{status}");
    assert_eq!(typed(&cluster, &a, &["resume"], 0).await, "resumed\n");

    // It goes to the leader, whoever was asked.
    let said = typed(&cluster, &a, &["step-down"], 0).await;
    assert!(said.starts_with("a leads now, in place of b"), "{said}");
    assert!(a.leads().await.unwrap() > second);

    let said = typed(&cluster, &a, &["-E", "http.auth.token=CANARY-wrong", "pause"], 1).await;
    assert!(
        said.contains("the token is missing or wrong") && !said.contains("CANARY"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_answers_the_commands_say_what_to_do() {
    let home = crate::support::process::Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    // Without a configuration.
    let ended = home.run(&["status", "--url", &url]).await;
    ended.expect(1);
    assert!(
        ended
            .stderr
            .contains(&format!("Exiting: {url}/cluster does not answer")),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("http.enabled"), "{}", ended.stderr);
}
