//! One run through everything that goes wrong with ECS, one after the other, while windows are polled.

use std::time::{Duration, Instant};

use ecs_sim::bulk::{self, Bulk};
use ecs_sim::{Config, Fault, FaultRule, Journal, Oddity, Port, Sim};
use rustix::process::Signal;

use crate::support::process::{Home, PASSWORD, SOON, customers_with, eventually};
use crate::support::windowed::{COMMANDS, busy, complete, exactly_once, rows_of};

/// How long each fault lasts.
const EACH: Duration = Duration::from_millis(1200);

fn status(codes: &[u16]) -> Fault {
    Fault::Status {
        codes: codes.to_vec(),
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    }
}

fn faults(sim: &Sim) -> Vec<FaultRule> {
    let everywhere = FaultRule::everywhere;
    let odd = |oddity| everywhere(Fault::Odd { oddity });
    let redirect = |location: String| Fault::Redirect {
        location,
        status: 302,
    };
    let truncate = |chunked, percent| Fault::Truncate { chunked, percent };
    vec![
        everywhere(status(&[503])).on_path("/vdc"),
        everywhere(status(&[503, 200])),
        everywhere(status(&[429])).on_path("/vdc"),
        everywhere(status(&[500])).on_path("/vdc/alerts"),
        everywhere(Fault::Reset).probability(0.7),
        everywhere(Fault::ResetMidBody),
        everywhere(truncate(false, 50)),
        everywhere(truncate(true, 90)),
        everywhere(Fault::Dribble {
            bytes: 200,
            pause_ms: 5,
        }),
        everywhere(Fault::Dribble {
            bytes: 10,
            pause_ms: 500,
        }),
        everywhere(Fault::SlowHeaders { ms: 300 }),
        everywhere(Fault::Latency { ms: 200, p99_ms: 900 }),
        everywhere(Fault::Hang).on_path("/vdc"),
        everywhere(Fault::HtmlPage).on_path("/vdc"),
        everywhere(Fault::EmptyBody).on_path("/vdc"),
        everywhere(Fault::Gzip),
        everywhere(Fault::Chunked),
        everywhere(Fault::UntilClose),
        everywhere(Fault::ContentType {
            value: Some("text/html".to_owned()),
        }),
        everywhere(Fault::ContentType { value: None }),
        everywhere(Fault::CloseAfter {
            requests: 1,
            announce: false,
        }),
        everywhere(redirect(format!(
            "https://{}/login",
            sim.vdc(0).node(0).mgmt_host()
        )))
        .on_path("/vdc"),
        everywhere(redirect("https://127.0.0.1:1/elsewhere".to_owned())).on_path("/vdc"),
        everywhere(Fault::TokenExpired).on_path("/vdc"),
        everywhere(Fault::TokenGarbled).probability(0.5).on_path("/vdc"),
        everywhere(Fault::Forbidden).on_path("/vdc"),
        everywhere(Fault::Governor {
            max: 1,
            delay_ms: None,
        }),
        everywhere(Fault::DateSkew { secs: 3600 }),
        everywhere(Fault::DateSkew { secs: -3600 }),
        odd(Oddity::RepeatedRows),
        odd(Oddity::WrappedAlerts),
        odd(Oddity::SymptomNumber),
        odd(Oddity::EmptyObject),
        odd(Oddity::NullList),
        odd(Oddity::SingleObject),
    ]
}

/// Faults that strike new connections or close ports: all connections end with them, so that there are new ones.
fn of_connections() -> Vec<Fault> {
    vec![
        Fault::Refused,
        Fault::AcceptReset,
        Fault::AcceptClose,
        Fault::AcceptHang,
        Fault::TlsFailure,
        Fault::CertExpired,
        Fault::CertOtherAuthority,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_with_a_window_is_missing_or_doubled_whatever_ecs_does() {
    let sim = Sim::start(Config {
        journal: Journal {
            page_size: 9,
            ..busy().journal
        },
        ..busy()
    })
    .await
    .unwrap();
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}queue.mem.flush.timeout: 100ms\noutput.elasticsearch.hosts: ['{}']\n",
        customers_with(&sim, &home, PASSWORD, "reqtimeout: 1s"),
        bulk.url()
    ));
    let from = sim.now() + 1;
    let mut process = home.start(&[]);
    eventually("documents arrive", SOON, || (bulk.len() > 20).then_some(())).await;

    for rule in faults(&sim) {
        let start = Instant::now();
        sim.faults().set(rule.clone());
        eventually(&format!("{rule:?} strikes"), SOON, || {
            let struck = sim.faults().list().iter().any(|(_, _, struck)| *struck > 0);
            (struck && start.elapsed() >= EACH).then_some(())
        })
        .await;
        sim.faults().clear();
        assert!(process.runs(), "{rule:?}:\n{}", process.stderr());
    }
    for fault in of_connections() {
        let name = format!("{fault:?}");
        sim.faults().set(FaultRule::everywhere(fault).on_port(Port::Mgmt));
        // Connections that are open would not meet it.
        sim.faults().set(FaultRule::everywhere(Fault::CloseAfter {
            requests: 1,
            announce: true,
        }));
        let start = Instant::now();
        eventually("time passes", SOON, || (start.elapsed() >= EACH).then_some(())).await;
        sim.faults().clear();
        assert!(process.runs(), "{name}:\n{}", process.stderr());
    }
    let lasting = || async {
        let start = Instant::now();
        eventually("time passes", SOON, || (start.elapsed() >= EACH).then_some(())).await;
    };
    sim.revoke_tokens(None);
    lasting().await;
    sim.vdc(0).node(0).down().unwrap();
    lasting().await;
    sim.vdc(1).down().unwrap();
    lasting().await;
    sim.vdc(0).node(0).up().unwrap();
    sim.vdc(1).up().unwrap();
    sim.vdc(0).node(1).maintenance().unwrap();
    sim.revoke_tokens(Some(0));
    lasting().await;
    sim.vdc(0).node(1).up().unwrap();

    let to = sim.now();
    let arrived = complete(&sim, from, to, Duration::from_secs(60), || rows_of(&bulk)).await;
    process.signal(Signal::TERM);
    let ended = process.ended(SOON).await;
    ended.expect(0);
    exactly_once(&sim, &rows_of(&bulk));
    // Rows that a failed try has sent are not sent again, so not even Elasticsearch had to tell them apart.
    assert_eq!(bulk.repeated(), []);
    for canary in sim.canaries() {
        assert!(!ended.stderr.contains(&canary), "{canary} is in the log");
    }
    println!("{} rows in {} seconds", arrived.len(), to - from);
}
