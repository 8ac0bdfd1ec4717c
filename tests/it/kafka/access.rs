//! TLS and logins.

use std::time::Duration;

use ecsbeat::output::{Outcome, Sink as _, SinkError};
use rdkafka::types::RDKafkaApiKey as Api;

use super::{numbered, numbers, output, permit, permit_for};
use crate::support::authority::Authority;
use crate::support::kafka::Brokers;
use crate::support::kafka::front::{self, Front};

const PASSWORD: &str = "CANARY-kafka-password";

/// Delivers ten events through `front`.
async fn delivers(brokers: &Brokers, front: &Front, settings: &str) {
    let mut output = output(front.addresses(), &format!("topic: ecs\n{settings}"));
    output
        .connect(&permit().await)
        .await
        .unwrap_or_else(|error| panic!("{settings}: {error}"));
    let outcomes = output.publish(&permit().await, &numbered(0..10)).await.unwrap();
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Acked),
        "{settings}"
    );
    output.close().await.unwrap();
    assert_eq!(
        numbers(&brokers.read("ecs").await),
        (0..10).collect::<Vec<_>>(),
        "{settings}"
    );
}

/// The error of a connection that must not come about.
async fn refused(front: &Front, settings: &str) -> SinkError {
    let mut output = output(front.addresses(), &format!("topic: ecs\n{settings}"));
    let error = output.connect(&permit_for(Duration::from_secs(3)).await).await;
    let error = error.unwrap_err();
    assert!(!error.to_string().contains(PASSWORD), "{error}");
    error
}

/// The settings that trust `pem`.
fn trusting(pem: &str) -> String {
    let indented: String = pem.lines().map(|line| format!("      {line}\n")).collect();
    format!("ssl:\n  certificate_authorities:\n    - |\n{indented}")
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let authority = Authority::new("Kafka CA");
    for (alternative, name) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")] {
        let pair = authority.issue("kafka", &[alternative]);
        let brokers = Brokers::start(2).topic("ecs", 4);
        let front = front::Builder::default()
            .tls(&pair)
            .name(name)
            .before(&brokers.addresses())
            .await;
        delivers(&brokers, &front, &trusting(&authority.pem())).await;

        // Nothing of what protects a connection is left out by itself.
        let stranger = trusting(&Authority::new("another CA").pem());
        let error = refused(&front, &stranger).await;
        assert!(matches!(error, SinkError::Transport(_)), "{error:?}");
        assert!(error.to_string().contains("certificate verify failed"), "{error}");
        let error = refused(&front, "ssl.enabled: true").await;
        assert!(error.to_string().contains("certificate verify failed"), "{error}");
        refused(&front, "ssl.enabled: false").await;
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_brokers_that_ask_for_one() {
    let (own, clients) = (Authority::new("Kafka CA"), Authority::new("clients"));
    let brokers = Brokers::start(1).topic("ecs", 4);
    let front = front::Builder::default()
        .tls_among(&own.issue("kafka", &["127.0.0.1"]), &clients)
        .before(&brokers.addresses())
        .await;
    let showing = |authority: &Authority| {
        let pair = authority.issue("beat", &[]);
        let quoted = |pem: &str| serde_json::Value::from(pem).to_string();
        format!(
            "{}  certificate: {}\n  key: {}\n",
            trusting(&own.pem()),
            quoted(&pair.certificate),
            quoted(&pair.key)
        )
    };
    for settings in [trusting(&own.pem()), showing(&own)] {
        let error = refused(&front, &settings).await;
        assert!(matches!(error, SinkError::Transport(_)), "{settings}: {error:?}");
    }
    assert_eq!(front.passed(Api::ApiVersion), 0);
    delivers(&brokers, &front, &showing(&clients)).await;
}

#[tokio::test]
async fn verification_mode_means_what_it_means_elsewhere() {
    let authority = Authority::new("Kafka CA");
    let pair = authority.issue("elsewhere", &["elsewhere.example"]);
    let brokers = Brokers::start(1).topic("ecs", 4);
    let front = front::Builder::default()
        .tls(&pair)
        .before(&brokers.addresses())
        .await;
    let trusted = trusting(&authority.pem());
    let error = refused(&front, &trusted).await;
    assert!(error.to_string().contains("certificate verify failed"), "{error}");
    let error = refused(
        &front,
        &format!(
            "{}  verification_mode: certificate\n",
            trusting(&Authority::new("x").pem())
        ),
    )
    .await;
    assert!(error.to_string().contains("certificate verify failed"), "{error}");
    delivers(
        &brokers,
        &front,
        &format!("{trusted}  verification_mode: certificate\n"),
    )
    .await;
    let brokers = Brokers::start(1).topic("ecs", 4);
    let front = front::Builder::default()
        .tls(&pair)
        .before(&brokers.addresses())
        .await;
    delivers(&brokers, &front, "ssl.verification_mode: none").await;
}

#[tokio::test]
async fn logins_with_and_without_tls() {
    let authority = Authority::new("Kafka CA");
    let pair = authority.issue("kafka", &["127.0.0.1"]);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for tls in [false, true] {
            let brokers = Brokers::start(2).topic("ecs", 4);
            let front = front::Builder::default().user(mechanism, "beat", PASSWORD);
            let front = if tls { front.tls(&pair) } else { front };
            let front = front.before(&brokers.addresses()).await;
            let trust = if tls {
                trusting(&authority.pem())
            } else {
                String::new()
            };
            let login = |password: &str| {
                format!("username: beat\npassword: '{password}'\nsasl.mechanism: {mechanism}\n{trust}")
            };
            delivers(&brokers, &front, &login(PASSWORD)).await;
            assert_eq!(front.logins(), [mechanism.to_owned()].into());
            let error = refused(&front, &login("another")).await;
            assert!(matches!(error, SinkError::Denied(_)), "{mechanism}: {error:?}");
        }
    }
}
