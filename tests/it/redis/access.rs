//! Passwords, users, TLS, proxies: who gets in, and what is said to whoever does not.

use ecsbeat::output::{SinkError, test};
use ecsbeat::steps::Steps;

use super::{configured, deliver, events, numbers, output, permit, refused};
use crate::support::authority::Authority;
use crate::support::redis::{Builder, Redis};
use crate::support::socks::Socks;

/// Refused for good, with advice, and no secret shown.
async fn denied(settings: &str, words: &str) {
    let error = refused(&mut output(settings), &events(0..1)).await;
    let text = error.to_string();
    assert!(matches!(error, SinkError::Denied(_)), "{text}");
    assert!(text.contains(words), "{words} is not in {text}");
    assert!(!text.contains("CANARY"), "{text}");
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let redis = Builder::new().password("CANARY-right").start().await;
    let at = redis.address();
    deliver(
        &mut output(&format!("hosts: ['{at}'], password: CANARY-right")),
        &events(0..1),
    )
    .await;
    // That of the URL wins.
    let url = format!("hosts: ['redis://:CANARY-right@{at}'], password: CANARY-wrong");
    deliver(&mut output(&url), &events(1..2)).await;
    assert_eq!(numbers(&redis.list("ecsbeat").await), [0, 1]);
    denied(
        &format!("hosts: ['{at}'], password: CANARY-wrong"),
        "AUTH: WRONGPASS: check username and password",
    )
    .await;
    denied(
        &format!("hosts: ['{at}']"),
        "NOAUTH Authentication required: it wants a login",
    )
    .await;
    let open = Redis::start().await;
    denied(
        &format!("hosts: ['{}'], password: CANARY", open.address()),
        "leave password out",
    )
    .await;
}

/// No more rights than pushing takes.
#[tokio::test]
async fn a_user_needs_the_right_to_push_and_no_other() {
    let redis = Builder::new()
        .password("CANARY-default")
        .user("beat on >CANARY-beat ~ecsbeat* +rpush")
        .start()
        .await;
    let at = redis.address();
    let login = format!("hosts: ['{at}'], username: beat, password: CANARY-beat");
    deliver(&mut output(&login), &events(0..2)).await;
    deliver(
        &mut output(&format!(
            "hosts: ['redis://beat:CANARY-beat@{at}'], key: ecsbeat2"
        )),
        &events(2..3),
    )
    .await;
    assert_eq!(numbers(&redis.list("ecsbeat").await), [0, 1]);
    denied(&format!("{login}, key: other"), "RPUSH to \"other\": NOPERM").await;
    denied(
        &format!("{login}, datatype: channel"),
        "PUBLISH to \"ecsbeat\": NOPERM",
    )
    .await;
    denied(
        &format!("{login}, max_list_len: 9"),
        "LLEN of \"ecsbeat\": NOPERM",
    )
    .await;
    denied(
        &format!("hosts: ['{at}'], username: nobody, password: CANARY-beat"),
        "WRONGPASS",
    )
    .await;
}

/// Certificates as settings.
fn ssl(authority: &Authority, client: Option<&crate::support::authority::Pair>) -> String {
    let quoted = |pem: &str| serde_json::Value::from(pem).to_string();
    let mut text = format!("ssl.certificate_authorities: [{}]", quoted(&authority.pem()));
    if let Some(pair) = client {
        text += &format!(
            ", ssl.certificate: {}, ssl.key: {}",
            quoted(&pair.certificate),
            quoted(&pair.key)
        );
    }
    text
}

#[tokio::test]
async fn tls_with_a_private_authority_and_a_client_certificate() {
    let (own, clients) = (Authority::new("redis"), Authority::new("clients"));
    let redis = Builder::new()
        .tls(&own)
        .client_certificates(&clients)
        .password("CANARY-right")
        .start()
        .await;
    let at = redis.address();
    let pair = clients.issue("beat", &[]);
    let host = format!("hosts: ['rediss://:CANARY-right@{at}']");
    deliver(
        &mut output(&format!("{host}, {}", ssl(&own, Some(&pair)))),
        &events(0..1),
    )
    .await;
    // Without a scheme it is `ssl` that says so.
    let plain = format!("hosts: ['{at}'], password: CANARY-right");
    deliver(
        &mut output(&format!("{plain}, {}", ssl(&own, Some(&pair)))),
        &events(1..2),
    )
    .await;
    assert_eq!(numbers(&redis.list("ecsbeat").await), [0, 1]);

    for (settings, words) in [
        (format!("{host}, {}", ssl(&own, None)), "ssl.certificate"),
        (
            format!("{host}, {}", ssl(&clients, Some(&pair))),
            "ssl.certificate_authorities",
        ),
        // `redis://` is without TLS whatever `ssl` says.
        (
            format!(
                "hosts: ['redis://:CANARY-right@{at}'], {}",
                ssl(&own, Some(&pair))
            ),
            "rediss://",
        ),
    ] {
        let error = refused(&mut output(&settings), &events(0..1)).await.to_string();
        assert!(
            error.starts_with(&at.to_string()) && error.contains(words),
            "{words} is not in {error}"
        );
        assert!(!error.contains("CANARY"), "{error}");
    }
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_told() {
    let redis = Redis::start().await;
    let settings = format!(
        "hosts: ['rediss://{}'], ssl.verification_mode: none, timeout: 1s",
        redis.address()
    );
    let error = refused(&mut output(&settings), &events(0..1)).await.to_string();
    assert!(error.contains("TLS"), "{error}");
}

#[tokio::test]
async fn through_a_proxy_that_resolves_names() {
    let redis = Builder::new().password("CANARY-right").start().await;
    let proxy = Socks::start("me", "CANARY-proxy", "redis.invalid", redis.address()).await;
    let settings = |url: &str| {
        format!(
            "hosts: ['redis://:CANARY-right@redis.invalid:{}'], proxy_url: '{url}'",
            redis.address().port()
        )
    };
    let right = settings(&format!("socks5://me:CANARY-proxy@{}", proxy.address()));
    deliver(&mut output(&right), &events(0..3)).await;
    assert_eq!(numbers(&redis.list("ecsbeat").await), [0, 1, 2]);
    assert_eq!(proxy.connections(), 1);
    for (settings, words) in [
        (
            settings(&format!("socks5://me:CANARY-wrong@{}", proxy.address())),
            "the proxy made no connection",
        ),
        (
            format!("{right}, proxy_use_local_resolver: true"),
            "the name cannot be resolved",
        ),
    ] {
        let error = refused(&mut output(&settings), &events(0..1)).await.to_string();
        assert!(error.contains(words) && !error.contains("CANARY"), "{error}");
    }
}

#[tokio::test]
async fn steps_tell_where_it_ends() {
    let authority = Authority::new("redis");
    let redis = Builder::new()
        .tls(&authority)
        .password("CANARY-right")
        .start()
        .await;
    let settings = format!(
        "hosts: ['rediss://:CANARY-right@{}', 'localhost:1']",
        redis.address()
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("steps");
    let mut steps = Steps::told(std::fs::File::create(&path).unwrap(), false);
    let config = configured(&format!(
        "{settings}, {}, ssl.enabled: false",
        ssl(&authority, None)
    ));
    test(&config.outputs[0], &permit().await, &mut steps)
        .await
        .unwrap();
    assert!(steps.have_failed());
    let text = std::fs::read_to_string(path).unwrap();
    for part in [
        format!(
            "redis: {}...\n  connection...\n    parse host... OK\n",
            redis.address()
        ),
        "  TLS...\n    security: server's certificate chain verification is enabled\n    handshake... OK\n"
            .to_owned(),
        "  talk to server... OK\n  version: 7.0.".to_owned(),
        "redis: localhost:1...\n".to_owned(),
        "    dial up... ERROR ".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is not in {text}");
    }
    assert!(!text.contains("CANARY"), "{text}");
    assert!(redis.keys().await.is_empty(), "nothing is pushed");
}
