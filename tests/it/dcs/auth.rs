//! Users, passwords, tokens.

use std::time::{Duration, Instant};

use ecsbeat::clock::Clock;
use ecsbeat::config;
use ecsbeat::dcs::etcd::EtcdStore;
use ecsbeat::dcs::{DcsError, Request, Response};
use ecsbeat::telemetry::metrics::Metrics;
use etcd_client::{Client, Permission};

use super::faults::none_fails;
use super::watch::Watching;
use super::{PROBE, always, ask, get, grant, put, read, store, txn, with_metrics, write};
use crate::support::etcd::{Builder, Etcd, with_user};

const ROOT: Option<(&str, &str)> = Some(("root", "CANARY-root"));
/// Of the user `ecsbeat`.
pub(crate) const PASSWORD: &str = "CANARY-ecsbeat";

/// Users, and a role for one cluster; authentication is not switched on yet.
async fn add_users(administrator: &mut Client) {
    let (root, password) = ROOT.unwrap();
    administrator.user_add(root, password, None).await.unwrap();
    administrator.user_grant_role(root, "root").await.unwrap();
    administrator.role_add("replica").await.unwrap();
    let allowed = Permission::read_write("/ecsbeat/prod/").with_prefix();
    administrator
        .role_grant_permission("replica", allowed)
        .await
        .unwrap();
    administrator.user_add("ecsbeat", PASSWORD, None).await.unwrap();
    administrator.user_grant_role("ecsbeat", "replica").await.unwrap();
}

/// A cluster that asks for users; `ecsbeat` may read and write what belongs to the cluster `prod`.
pub(crate) async fn protected(builder: Builder) -> Etcd {
    // A login is made to be slow: on a busy machine it would take longer than one try may.
    let etcd = builder.argument("--bcrypt-cost=4").start().await;
    let mut administrator = etcd.administrator(None).await;
    // There from the start in newer releases.
    let _ = administrator.role_add("root").await;
    add_users(&mut administrator).await;
    administrator.auth_enable().await.unwrap();
    etcd
}

fn user(etcd: &Etcd) -> config::Etcd {
    with_user(etcd.config(), "ecsbeat", PASSWORD)
}

/// Tokens that hold what was true when they were made, for `ttl`.
fn signed_tokens(ttl: &str) -> Builder {
    Builder::new(1)
        .file("key", "a key of the tests that signs tokens")
        .argument(format!(
            "--auth-token=jwt,priv-key={{dir}}/key,sign-method=HS256,ttl={ttl}"
        ))
}

async fn refused(store: &EtcdStore, request: Request) -> String {
    match ask(store, request).await {
        Err(DcsError::Refused(said)) => said,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_may_do_what_its_role_allows() {
    let etcd = protected(Builder::new(1)).await;
    let ours = store(&user(&etcd));
    let lease = grant(&ours, 10).await;
    txn(&ours, always(vec![put("leader", "a", lease)])).await;
    assert_eq!(read(&ours, "leader").await, ["a"]);
    assert!(matches!(
        ask(&ours, Request::Renew(lease)).await,
        Ok(Response::Renewed(Some(_)))
    ));
    assert!(matches!(
        ask(&ours, Request::TimeLeft(lease)).await,
        Ok(Response::TimeLeft(Some(_)))
    ));
    assert_eq!(ask(&ours, Request::Revoke(lease)).await, Ok(Response::Revoked));
    let other = EtcdStore::new(&user(&etcd), "other", PROBE, Clock::system(), Metrics::new()).unwrap();
    let said = refused(&other, always(vec![get("leader")])).await;
    assert!(
        said.contains("permission denied") && said.contains("ha.etcd.username"),
        "{said}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let etcd = protected(Builder::new(1)).await;
    for (name, password) in [("ecsbeat", "CANARY-wrong"), ("nobody", PASSWORD)] {
        let store = store(&with_user(etcd.config(), name, password));
        let said = refused(&store, always(vec![get("leader")])).await;
        assert!(
            said.contains("ha.etcd.username") && said.starts_with(&etcd.url(0)),
            "{said}"
        );
        let survey = store.survey(Duration::from_secs(5)).await;
        assert!(survey.warnings()[0].to_string().contains("ha.etcd.username"));
        for shown in [said, format!("{store:?}"), format!("{survey:?}")] {
            assert!(!shown.contains("CANARY"), "{shown}");
        }
    }
}

#[tokio::test]
async fn no_user_where_one_is_needed_is_told() {
    let etcd = protected(Builder::new(1)).await;
    let store = store(&etcd.config());
    let said = refused(&store, always(vec![get("leader")])).await;
    assert!(said.contains("set ha.etcd.username"), "{said}");
}

/// A token lasts a second here, whatever is done with it.
#[tokio::test]
async fn a_token_that_has_run_out_is_renewed() {
    let etcd = protected(signed_tokens("1s")).await;
    let store = store(&user(&etcd));
    let lease = grant(&store, 60).await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        txn(&store, always(vec![put("leader", "a", lease)])).await;
        let renewed = ask(&store, Request::Renew(lease)).await;
        assert_eq!(renewed, Ok(Response::Renewed(Some(Duration::from_secs(60)))));
    }
}

/// The same, where the first to find out is each kind of request in turn.
#[tokio::test]
async fn a_changed_role_makes_no_request_fail() {
    let etcd = protected(signed_tokens("10m")).await;
    let metrics = Metrics::new();
    let store = with_metrics(&user(&etcd), metrics.clone());
    let lease = grant(&store, 60).await;
    let mut administrator = etcd.administrator(ROOT).await;
    for (number, request) in [
        Request::Renew(lease),
        always(vec![get("leader")]),
        always(vec![put("leader", "a", lease)]),
        Request::Grant {
            ttl: Duration::from_secs(60),
        },
        Request::Revoke(lease),
    ]
    .into_iter()
    .enumerate()
    {
        // Each change makes all tokens old, the administrator's too.
        administrator.role_add(format!("role {number}")).await.unwrap();
        administrator = etcd.administrator(ROOT).await;
        let answer = ask(&store, request.clone()).await;
        assert!(answer.is_ok(), "{request:?}: {answer:?}");
    }
    let text = metrics.prometheus().unwrap();
    assert!(
        !text.contains("result=\"refused\"") && !text.contains("result=\"error\""),
        "a new login is part of the same try\n{text}"
    );
}

/// etcd forgets the plain tokens of a user whose password is set.
#[tokio::test]
async fn a_forgotten_token_is_renewed_and_a_changed_password_told() {
    let etcd = protected(Builder::new(1)).await;
    let store = store(&user(&etcd));
    let lease = grant(&store, 60).await;
    let mut administrator = etcd.administrator(ROOT).await;
    for request in [Request::Renew(lease), always(vec![put("leader", "a", lease)])] {
        administrator
            .user_change_password("ecsbeat", PASSWORD)
            .await
            .unwrap();
        assert!(ask(&store, request).await.is_ok());
    }
    administrator
        .user_change_password("ecsbeat", "CANARY-new")
        .await
        .unwrap();
    let said = refused(&store, always(vec![get("leader")])).await;
    assert!(
        said.contains("ha.etcd.username") && !said.contains("CANARY"),
        "{said}"
    );
}

#[tokio::test]
async fn a_user_is_not_needed_until_authentication_is_switched_on() {
    let etcd = Builder::new(1).argument("--bcrypt-cost=4").start().await;
    let store = store(&user(&etcd));
    write(&store, "leader", "a").await;
    let mut administrator = etcd.administrator(None).await;
    let _ = administrator.role_add("root").await;
    add_users(&mut administrator).await;
    administrator.auth_enable().await.unwrap();
    assert_eq!(read(&store, "leader").await, ["a"]);
    let mut administrator = etcd.administrator(ROOT).await;
    administrator.auth_disable().await.unwrap();
    assert_eq!(read(&store, "leader").await, ["a"]);
}

#[tokio::test]
async fn logins_go_to_another_member_too() {
    let mut etcd = protected(Builder::new(3)).await;
    etcd.freeze(0);
    none_fails(&user(&etcd), Duration::from_secs(3), "member 0 is frozen").await;
    etcd.thaw(0);
}

/// The watch logs in anew as well: its first connection is gone, and so is the validity of its token.
#[tokio::test]
async fn a_watch_outlives_its_token() {
    let mut etcd = protected(signed_tokens("10m")).await;
    let mut watching = Watching::start(store(&user(&etcd)));
    watching.changed().await;
    etcd.administrator(ROOT).await.role_add("another").await.unwrap();
    etcd.restart(0).await;
    watching.changed().await;
    let store = store(&user(&etcd));
    write(&store, "leader", "a").await;
    txn(&store, always(vec![super::delete("leader")])).await;
    watching.deleted(&["leader"]).await;
}
