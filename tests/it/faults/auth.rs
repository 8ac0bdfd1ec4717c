//! Items 1, 2 and 4: logging in, the life of tokens, answers to a login that are no token.

use std::time::Duration;

use ecs_sim::{Fault, FaultRule};
use ecsbeat::app::Outcome;
use ecsbeat::clock::Clock;

use crate::support::{Builder, Rig, eventually, jump, text};

const MINUTE: Duration = Duration::from_secs(60);

/// One VDC, polled by one command.
fn one() -> Builder {
    Rig::build().sim(|sim| sim.vdcs = 1).commands(&["localzone"])
}

fn simulated() -> Clock {
    Clock::simulated(jiff::Timestamp::now())
}

#[tokio::test]
async fn item_01_login_by_basic_gives_the_token_of_every_request() {
    let mut rig = Rig::build().start().await;
    rig.fresh("localzone", &[0, 1]).await;
    eventually("nodes of both", || {
        rig.values("nodes", "ecs-vdc-cfgname").len() == 2
    })
    .await;
    assert_eq!(rig.stop().await, Outcome::Well);
    for vdc in 0..2 {
        let counts = rig.sim.token_counts(vdc);
        assert_eq!((counts.issued, counts.live, counts.bad_logins), (1, 0, 0));
    }
    let mut others = rig.sim.requests();
    others.retain(|request| request.path != "/login");
    assert!(others.len() > 8);
    for request in others {
        assert_eq!(
            (request.user.as_deref(), request.status),
            (Some("monitor"), 200),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn item_01_wrong_password_is_tried_so_rarely_that_it_locks_nothing() {
    let mut rig = one()
        .sim(|sim| sim.auth.lockout_after = Some(8))
        .password("CANARY-wrong")
        .command_entries("  - {type: localzone, interval: 60s}\n  - {type: nodes, interval: 60s}")
        .clock(simulated)
        .start()
        .await;
    let told = |rig: &Rig| rig.failures("localzone").len() + rig.failures("nodes").len();
    for minute in 0..60 {
        eventually("both commands fail", || told(&rig) >= 2 * (minute + 1)).await;
        jump(MINUTE).await;
    }
    // At 0, 1, 3, 7, 15 and 31 minutes, for all commands and the inventory together.
    let counts = rig.sim.token_counts(0);
    assert!((2..=7).contains(&counts.bad_logins), "{counts:?}");
    assert!(!rig.sim.is_locked("monitor", 0));
    assert_eq!(
        rig.error_codes("localzone"),
        ["bad_credentials".to_owned()].into()
    );
    let told = &rig.failures("localzone")[0];
    assert!(
        text(told, "error.message").contains("check username and password"),
        "{told}"
    );
    rig.stop().await;
    assert_eq!(
        rig.sim.token_counts(0).bad_logins,
        counts.bad_logins,
        "no login at the end"
    );
}

#[tokio::test]
async fn item_01_locked_account_is_told_and_recovers_when_unlocked() {
    let mut rig = one()
        .sim(|sim| sim.auth.lockout_after = Some(1))
        .password("CANARY-wrong")
        .clock(simulated)
        .start()
        .await;
    eventually("a failure", || !rig.failures("localzone").is_empty()).await;
    assert!(rig.sim.is_locked("monitor", 0));
    rig.stop().await;
    rig.set_password("CANARY-password-monitor");
    rig.run();
    eventually("told as locked", || {
        let failures = rig.failures("localzone");
        failures
            .iter()
            .any(|event| text(event, "error.message").contains("account is locked (code"))
    })
    .await;
    assert!(rig.events("localzone").is_empty());
    rig.sim.unlock();
    jump(2 * MINUTE).await;
    rig.fresh("localzone", &[]).await;
    assert_eq!(rig.sim.token_counts(0).bad_logins, 2);
    rig.stop().await;
    assert_eq!(rig.sim.token_counts(0).live, 0);
}

/// How many requests were refused because of their token; logging out is none of them.
fn refused(rig: &Rig) -> usize {
    let mut asked = rig.sim.requests();
    asked.retain(|request| matches!(request.status, 302 | 401) && request.path != "/logout");
    asked.len()
}

/// Runs with tokens that ECS lets expire after two seconds, and gives how many logins the polls took.
async fn expiring(redirects: bool, idle: bool) -> (Rig, usize) {
    let mut rig = one()
        .sim(|sim| {
            sim.auth.expired_redirects = redirects;
            if idle {
                sim.auth.idle_secs = 1;
            } else {
                sim.auth.absolute_secs = 2;
            }
        })
        .command_entries("  - {type: localzone, interval: 2s}")
        .start()
        .await;
    eventually("three logins", || rig.sim.token_counts(0).issued >= 3).await;
    rig.fresh("localzone", &[]).await;
    rig.stop().await;
    let logins = rig.asked("/login").len();
    (rig, logins)
}

#[tokio::test]
async fn item_02_expired_token_redirect_is_renewed_once() {
    let (rig, logins) = expiring(true, false).await;
    let refused = refused(&rig);
    assert!(refused >= 2);
    // A token that all share is given up where two nodes refuse it: two refusals cost one login and one repetition,
    // and no poll is lost.
    assert_eq!(refused, 2 * (logins - 1));
    assert_eq!(rig.failures("localzone").len(), 0);
    assert_eq!(rig.sim.token_counts(0).live, 0);
}

#[tokio::test]
async fn item_02_expired_token_401_is_renewed_once() {
    let (rig, logins) = expiring(false, false).await;
    let refused = refused(&rig);
    assert!(refused >= 2);
    assert_eq!(refused, 2 * (logins - 1));
    assert_eq!(rig.failures("localzone").len(), 0);
    assert_eq!(rig.sim.token_counts(0).bad_logins, 0);
}

#[tokio::test]
async fn item_02_idle_token_is_renewed_once() {
    let (rig, logins) = expiring(true, true).await;
    let refused = refused(&rig);
    assert_eq!(refused, 2 * (logins - 1));
    assert_eq!(rig.failures("localzone").len(), 0);
}

#[tokio::test]
async fn item_02_tokens_are_renewed_before_they_expire() {
    let mut rig = one()
        .sim(|sim| sim.auth.absolute_secs = 4)
        .customer("tokenexpiry: 1s")
        .start()
        .await;
    eventually("renewed", || rig.sim.token_counts(0).issued >= 4).await;
    rig.stop().await;
    let requests = rig.sim.requests();
    assert!(
        requests.iter().all(|request| request.status == 200),
        "no request with a dead token"
    );
    let counts = rig.sim.token_counts(0);
    assert!(counts.peak <= 2, "{counts:?}");
    assert_eq!(counts.live, 0);
    // Every token was logged out by itself, and never all of the account's.
    let logouts = rig.asked("/logout");
    assert_eq!(logouts.len() as u64, counts.issued);
    assert!(logouts.iter().all(|request| request.query.is_empty()));
}

#[tokio::test]
async fn item_02_revoked_tokens_during_traffic_cost_one_login_each() {
    let kinds = [
        "localzone",
        "nodes",
        "storagepools",
        "replicationgroups",
        "disks",
        "processes",
        "latestalert",
    ];
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 1)
        .commands(&kinds)
        .customer("reqtimeout: 10s")
        .settings("ecsbeat.max_in_flight: 8")
        .start()
        .await;
    // Some of the requests in flight learn late that the token is dead, when there is a fresh one already.
    for (path, ms) in [("/dashboard/zones", 100), ("/dashboard/nodes", 600)] {
        rig.sim
            .faults()
            .set(FaultRule::everywhere(Fault::Latency { ms, p99_ms: 0 }).on_path(path));
    }
    for _ in 0..3 {
        rig.fresh("localzone", &[]).await;
        eventually("traffic", || rig.sim.in_flight(0) >= 6).await;
        rig.sim.revoke_tokens(None);
    }
    rig.fresh("localzone", &[]).await;
    for kind in kinds {
        assert_eq!(rig.failures(kind).len(), 0, "{kind}");
    }
    rig.stop().await;
    let counts = rig.sim.token_counts(0);
    // A late refusal of the dead token must not end the fresh one.
    assert_eq!((counts.issued, counts.live, counts.bad_logins), (4, 0, 0));
    let refused = refused(&rig);
    assert!(refused > 3, "several requests met the dead token: {refused}");
}

#[tokio::test]
async fn item_02_one_node_that_cannot_decode_the_token_does_not_end_it() {
    let rig = one().prepare().await;
    rig.sim.faults().set(
        FaultRule::everywhere(Fault::TokenGarbled)
            .on_path("/dashboard")
            .times(1),
    );
    let mut rig = rig;
    rig.run();
    rig.fresh("localzone", &[]).await;
    assert_eq!(rig.failures("localzone").len(), 0);
    assert_eq!(rig.sim.token_counts(0).issued, 1);
    rig.stop().await;
    assert_eq!(
        rig.sim.token_counts(0).live,
        0,
        "the refused token is logged out too"
    );
}

#[tokio::test]
async fn item_02_node_that_refuses_every_token_makes_no_login_storm() {
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 1)
        .commands(&["localzone", "nodes", "disks", "storagepools"])
        .prepare()
        .await;
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::TokenGarbled).on_node(0, 0));
    rig.run();
    for _ in 0..2 {
        rig.fresh("disks", &[]).await;
    }
    let counts = rig.sim.token_counts(0);
    assert!(counts.issued <= 4 && counts.live <= 2, "{counts:?}");
    assert_eq!(rig.failures("localzone").len(), 0, "another node serves");
    rig.stop().await;
    let counts = rig.sim.token_counts(0);
    assert_eq!(counts.live, 0, "{counts:?}");
}

#[tokio::test]
async fn item_04_answer_without_token_is_a_failed_login() {
    let mut rig = one().prepare().await;
    rig.sim.faults().set(
        FaultRule::everywhere(Fault::LoginWithoutToken)
            .on_path("/login")
            .times(6),
    );
    rig.run();
    rig.fresh("localzone", &[]).await;
    let sent = rig.asked("/dashboard");
    assert!(
        sent.iter().all(|request| request.status == 200),
        "no request without a token"
    );
    assert!(rig.is_running());
    rig.stop().await;
    assert_eq!(rig.asked("/login").len(), 7);
}

#[tokio::test]
async fn item_04_logins_that_fail_with_500_are_tried_again() {
    let mut rig = one().prepare().await;
    rig.sim.faults().set(
        FaultRule::everywhere(Fault::LoginError)
            .on_path("/login")
            .times(5),
    );
    rig.run();
    rig.fresh("localzone", &[]).await;
    let logins = rig.asked("/login");
    assert_eq!(logins.len(), 6, "five failures and one token");
    rig.stop().await;
    assert_eq!(rig.sim.token_counts(0).bad_logins, 0);
}

#[tokio::test]
async fn item_04_tokens_are_not_shared_between_vdcs() {
    let mut rig = Rig::build().sim(|sim| sim.vdcs = 3).start().await;
    rig.fresh("localzone", &[0, 1, 2]).await;
    rig.stop().await;
    for vdc in 0..3 {
        assert_eq!(rig.sim.token_counts(vdc).issued, 1);
    }
    let refused = rig
        .sim
        .requests()
        .into_iter()
        .find(|request| request.status != 200);
    assert!(refused.is_none(), "{refused:?}");
}
