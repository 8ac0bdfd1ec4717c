//! Items 3 and 5: the cap on tokens, roles, accepted hosts.

use std::time::Duration;

use ecs_sim::{Fault, FaultRule};
use ecsbeat::clock::Clock;

use crate::support::{Rig, eventually, jump, text};

fn simulated() -> Clock {
    Clock::simulated(jiff::Timestamp::now())
}

#[tokio::test]
async fn item_03_token_cap_is_told_apart_from_a_wrong_password() {
    let mut rig = Rig::build()
        .sim(|sim| {
            sim.vdcs = 1;
            sim.auth.tokens_per_user = 0;
        })
        .clock(simulated)
        .commands(&["localzone"])
        .start()
        .await;
    rig.fresh_failures("localzone").await;
    assert_eq!(rig.error_codes("localzone"), ["token_limit".to_owned()].into());
    let told = &rig.failures("localzone")[0];
    assert!(
        text(told, "error.message").contains("has reached its limit of tokens"),
        "{told}"
    );
    let tries = rig.asked("/login").len();
    rig.fresh_failures("localzone").await;
    assert_eq!(rig.asked("/login").len(), tries, "no login while the cap is hit");
    jump(Duration::from_secs(61)).await;
    eventually("tried again later", || rig.asked("/login").len() > tries).await;
    assert_eq!(rig.sim.token_counts(0).bad_logins, 0);
    rig.stop().await;
    assert!(
        rig.asked("/logout").is_empty(),
        "other tools of the account are not evicted"
    );
}

#[tokio::test]
async fn item_03_one_token_is_enough_however_many_requests() {
    let mut rig = Rig::build()
        .sim(|sim| {
            sim.vdcs = 1;
            sim.auth.tokens_per_user = 1;
        })
        .commands(&[
            "localzone",
            "nodes",
            "disks",
            "processes",
            "latestalert",
            "storagepools",
        ])
        .start()
        .await;
    rig.fresh("disks", &[]).await;
    let counts = rig.sim.token_counts(0);
    assert_eq!((counts.issued, counts.peak), (1, 1));
    rig.stop().await;
    assert_eq!(rig.sim.token_counts(0).live, 0);
}

#[tokio::test]
async fn item_03_stop_right_after_the_start_leaves_no_token() {
    for ms in [0, 5, 20, 60] {
        let mut rig = Rig::build().sim(|sim| sim.vdcs = 1).prepare().await;
        rig.sim.faults().set(
            FaultRule::everywhere(Fault::Dribble {
                bytes: 5,
                pause_ms: 20,
            })
            .on_path("/login"),
        );
        rig.run();
        eventually("a login", || rig.sim.token_counts(0).issued == 1).await;
        // The moment of the stop differs, the result must not.
        tokio::time::sleep(Duration::from_millis(ms)).await;
        rig.stop().await;
        assert_eq!(rig.sim.token_counts(0).live, 0, "stopped {ms} ms after the login");
    }
}

#[tokio::test]
async fn item_05_missing_role_is_told_without_logging_in_again() {
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 1)
        .user("nobody")
        .commands(&["localzone", "auditevent"])
        .start()
        .await;
    rig.fresh_failures("localzone").await;
    eventually("windows fail too", || !rig.failures("auditevent").is_empty()).await;
    assert_eq!(rig.error_codes("localzone"), ["forbidden".to_owned()].into());
    let told = &rig.failures("localzone")[0];
    assert!(text(told, "error.message").contains("1026"), "{told}");
    assert!(text(told, "error.message").contains("SYSTEM_MONITOR"), "{told}");
    rig.stop().await;
    assert_eq!(rig.sim.token_counts(0).issued, 1);
    // Asked once for each failure, never again at once.
    let asked = rig.asked("/dashboard/zones/localzone").len();
    assert_eq!(asked, rig.failures("localzone").len());
}

#[tokio::test]
async fn item_05_role_refused_with_500_is_not_retried() {
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 1)
        .user("nobody")
        .command_entries(
            "  - {type: flux, level: vdc, interval: 1s, method: POST, uri: /flux/api/external/v2/query, \
             body: '{\"query\":\"from(bucket:\\\"monitoring_main\\\")\"}'}",
        )
        .start()
        .await;
    rig.fresh_failures("flux").await;
    rig.stop().await;
    assert_eq!(rig.error_codes("flux"), ["forbidden".to_owned()].into());
    let asked = rig.asked("/flux");
    assert!(asked.iter().all(|request| request.status == 500));
    assert_eq!(asked.len(), rig.failures("flux").len());
    assert_eq!(rig.sim.token_counts(0).issued, 1);
}

#[tokio::test]
async fn item_05_host_that_is_not_accepted_is_not_told_as_a_missing_role() {
    let mut rig = Rig::build()
        .sim(|sim| {
            sim.vdcs = 1;
            sim.accepted_hosts = vec!["ecs.example.net".to_owned()];
        })
        .hosts(|sim, vdc| sim.vdc(vdc).front_host().into_iter().collect())
        .commands(&["localzone"])
        .start()
        .await;
    eventually("told", || rig.error_codes("localzone").contains("host_rejected")).await;
    let failures = rig.failures("localzone");
    let told = failures
        .iter()
        .find(|event| text(event, "error.code") == "host_rejected")
        .unwrap();
    assert!(
        text(told, "error.message").contains("/acceptedservernames"),
        "{told}"
    );
    assert!(!text(told, "error.message").contains("SYSTEM_MONITOR"), "{told}");
    assert_eq!(rig.sim.token_counts(0).bad_logins, 0);
    rig.stop().await;
}
