//! Items 1 to 5 and 19: login, tokens, roles, hosts, canaries.

use std::time::Duration;

use ecs_sim::{Auth, Config, Fault, FaultRule, Profile, Sim};

use crate::client::{PASSWORD, Session, http, login, parse};

async fn start(auth: Auth) -> Sim {
    Sim::start(Config {
        auth,
        ..Config::for_tests()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn login_speaks_xml_unless_asked_for_json() {
    let sim = start(Auth::default()).await;
    let (http, host) = (http(&sim), sim.vdc(0).node(0).mgmt_host());
    let answer = login(&http, &host, "monitor", PASSWORD).await;
    assert!(answer.headers().contains_key("X-SDS-AUTH-TOKEN"));
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("<loggedIn><user>monitor</user></loggedIn>")
    );
    let asked = http
        .get(format!("https://{host}/login"))
        .basic_auth("monitor", Some(PASSWORD));
    let answer = asked.header("Accept", "application/json").send().await.unwrap();
    assert_eq!(parse(answer).await["user"], "monitor");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_wrong_password_gets_401_and_locks_the_account_in_the_end() {
    let sim = start(Auth {
        lockout_after: Some(2),
        ..Auth::default()
    })
    .await;
    let (http, host) = (http(&sim), sim.vdc(0).node(0).mgmt_host());
    for _ in 0..2 {
        let answer = login(&http, &host, "monitor", "wrong").await;
        assert_eq!(answer.status(), 401);
        assert!(answer.text().await.unwrap().contains("<code>4000</code>"));
    }
    assert_eq!(login(&http, &host, "monitor", PASSWORD).await.status(), 401);
    assert!(sim.is_locked("monitor", 0) && !sim.is_locked("monitor", 1));
    sim.unlock();
    assert_eq!(login(&http, &host, "monitor", PASSWORD).await.status(), 200);
    assert_eq!(sim.token_counts(0).bad_logins, 3);
    sim.shutdown().await;
}

#[tokio::test]
async fn dead_tokens_are_redirected_or_refused() {
    for redirects in [true, false] {
        let auth = Auth {
            absolute_secs: 100,
            idle_secs: 10,
            expired_redirects: redirects,
            ..Auth::default()
        };
        let sim = start(auth).await;
        let session = Session::open(&sim).await;
        assert_eq!(session.status("/user/whoami").await, 200);
        sim.advance_clock(Duration::from_secs(11));
        let answer = session.get("/user/whoami").await;
        if redirects {
            assert_eq!(answer.status(), 302);
            assert!(answer.headers()["location"].to_str().unwrap().ends_with("/login"));
        } else {
            assert_eq!(answer.status(), 401);
        }
        let session = Session::open(&sim).await;
        sim.revoke_tokens(None);
        assert_ne!(session.status("/vdc/nodes").await, 200);
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn the_cap_on_tokens_answers_401_and_logout_frees_one() {
    let sim = start(Auth {
        tokens_per_user: 2,
        ..Auth::default()
    })
    .await;
    let (first, second) = (Session::open(&sim).await, Session::open(&sim).await);
    let answer = login(&first.http, &first.host, "monitor", PASSWORD).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.text().await.unwrap().contains("max tokens exceeded"));
    let text = first.get("/logout").await.text().await.unwrap();
    assert!(text.contains("<LoggedOut><user>monitor</user></LoggedOut>"));
    assert_eq!(sim.live_tokens("monitor", 0), 1);
    assert_eq!(
        login(&first.http, &first.host, "monitor", PASSWORD)
            .await
            .status(),
        200
    );
    assert_eq!(second.status("/logout?force=true").await, 200);
    assert_eq!(sim.live_tokens("monitor", 0), 0);
    assert_eq!(sim.token_counts(0).peak, 2);
    sim.shutdown().await;
}

#[tokio::test]
async fn login_goes_wrong_as_often_as_told() {
    let sim = start(Auth::default()).await;
    let (http, host) = (http(&sim), sim.vdc(0).node(0).mgmt_host());
    sim.faults().set(
        FaultRule::everywhere(Fault::LoginError)
            .on_path("/login")
            .times(2),
    );
    sim.faults().set(
        FaultRule::everywhere(Fault::LoginWithoutToken)
            .on_path("/login")
            .skip(2)
            .times(1),
    );
    for _ in 0..2 {
        let answer = login(&http, &host, "monitor", PASSWORD).await;
        assert_eq!(answer.status(), 500);
        assert!(answer.text().await.unwrap().contains("could not generate token"));
    }
    let answer = login(&http, &host, "monitor", PASSWORD).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers().contains_key("x-sds-auth-token")
        ),
        (200, false)
    );
    assert!(
        login(&http, &host, "monitor", PASSWORD)
            .await
            .headers()
            .contains_key("x-sds-auth-token")
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_token_is_good_in_its_vdc_only() {
    let sim = start(Auth::default()).await;
    let mut session = Session::open(&sim).await;
    session.host = sim.vdc(0).node(3).mgmt_host();
    assert_eq!(session.status("/vdc/nodes").await, 200);
    session.host = sim.vdc(1).node(0).mgmt_host();
    let answer = session.get("/vdc/nodes.json").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(parse(answer).await["code"], 10001);
    sim.shutdown().await;
    let sim = start(Auth {
        federation_wide: true,
        ..Auth::default()
    })
    .await;
    let mut session = Session::open(&sim).await;
    session.host = sim.vdc(1).node(0).mgmt_host();
    assert_eq!(session.status("/vdc/nodes").await, 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn without_a_role_only_alerts_are_shown() {
    let sim = start(Auth::default()).await;
    let session = Session::at(&sim, &sim.vdc(0).node(0).mgmt_host(), "nobody").await;
    let answer = session.get("/vdc/nodes.json").await;
    assert_eq!(answer.status(), 403);
    assert_eq!(parse(answer).await["code"], 1026);
    assert_eq!(session.status("/vdc/alerts.json").await, 200);
    let answer = session
        .post("/flux/api/external/v2/query", r#"{"query":"from(bucket:\"x\")"}"#)
        .await;
    assert_eq!(answer.status(), 500);
    let error = parse(answer).await;
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&6401.into(), &false.into())
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_host_that_is_not_accepted_gets_403() {
    let config = Config {
        profile: Profile::V3_8_0,
        accepted_hosts: vec!["ecs.example.net".to_owned()],
        ..Config::for_tests()
    };
    let sim = Sim::start(config).await.unwrap();
    let http = http(&sim);
    let host = sim.vdc(0).node(0).mgmt_host();
    assert_eq!(login(&http, &host, "monitor", PASSWORD).await.status(), 200);
    let asked = http
        .get(format!("https://{host}/login"))
        .basic_auth("monitor", Some(PASSWORD));
    assert_eq!(
        asked
            .header("Host", "alias.example.net")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn canaries_are_in_the_answers_and_not_in_the_log() {
    let sim = start(Auth::default()).await;
    let session = Session::open(&sim).await;
    let canaries = sim.canaries();
    let local = session
        .get("/object/vdcs/vdc/local.json")
        .await
        .text()
        .await
        .unwrap();
    assert!(canaries.iter().any(|canary| local.contains(canary.as_str())));
    let namespaces = session.get("/object/namespaces.json").await.text().await.unwrap();
    assert!(canaries.iter().any(|canary| namespaces.contains(canary.as_str())));
    assert!(
        canaries
            .iter()
            .any(|canary| session.token.starts_with(canary.as_str()))
    );
    let log = format!("{:?}", sim.requests());
    assert!(canaries.iter().all(|canary| !log.contains(canary.as_str())));
    assert_eq!(sim.requests()[0].path, "/login");
    sim.shutdown().await;
}
