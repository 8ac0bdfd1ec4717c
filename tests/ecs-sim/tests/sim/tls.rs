//! Item 7, as far as it concerns ports, handshakes and certificates.

use std::time::{Duration, Instant};

use ecs_sim::{Config, Fault, FaultRule, Sim};
use tokio::net::TcpStream;

use crate::client::{PASSWORD, http, login};

async fn start() -> Sim {
    Sim::start(Config {
        nodes_per_vdc: 2,
        vdcs: 1,
        ..Config::for_tests()
    })
    .await
    .unwrap()
}

async fn error_under(fault: Fault) -> String {
    let sim = start().await;
    sim.faults().set(FaultRule::everywhere(fault).on_node(0, 0));
    let http = http(&sim);
    let url = format!("https://{}/login", sim.vdc(0).node(0).mgmt_host());
    let error = http
        .get(url)
        .basic_auth("monitor", Some(PASSWORD))
        .send()
        .await
        .unwrap_err();
    // The other node is sound.
    assert_eq!(
        login(&http, &sim.vdc(0).node(1).mgmt_host(), "monitor", PASSWORD)
            .await
            .status(),
        200
    );
    sim.shutdown().await;
    format!("{error:?}")
}

#[tokio::test]
async fn certificates_are_wrong_in_their_own_ways() {
    for (fault, expected) in [
        (Fault::CertExpired, "Expired"),
        (Fault::CertOtherName, "NotValidForName"),
        (Fault::CertSelfSigned, "UnknownIssuer"),
        (Fault::CertOtherAuthority, "UnknownIssuer"),
    ] {
        let error = error_under(fault.clone()).await;
        assert!(
            error.contains(expected) || error.contains("Certificate"),
            "{fault:?}: {error}"
        );
    }
}

#[tokio::test]
async fn handshakes_fail() {
    for fault in [Fault::TlsFailure, Fault::AcceptClose, Fault::AcceptReset] {
        error_under(fault).await;
    }
}

#[tokio::test]
async fn an_old_node_speaks_tls_1_2_only() {
    let sim = start().await;
    sim.faults().set(FaultRule::everywhere(Fault::Tls12Only));
    let host = sim.vdc(0).node(0).mgmt_host();
    assert_eq!(login(&http(&sim), &host, "monitor", PASSWORD).await.status(), 200);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let new_only = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(sim.ca_pem().as_bytes()).unwrap()])
        .tls_version_min(reqwest::tls::Version::TLS_1_3)
        .no_proxy()
        .build()
        .unwrap();
    assert!(
        new_only
            .get(format!("https://{host}/login"))
            .send()
            .await
            .is_err()
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_closed_port_refuses_and_opens_again_at_the_same_address() {
    let sim = start().await;
    let host = sim.vdc(0).node(0).mgmt_host();
    let id = sim
        .faults()
        .set(FaultRule::everywhere(Fault::Refused).on_node(0, 0));
    eventually(|| async { TcpStream::connect(&host).await.is_err() }).await;
    sim.faults().remove(id);
    eventually(|| async { TcpStream::connect(&host).await.is_ok() }).await;
    assert_eq!(login(&http(&sim), &host, "monitor", PASSWORD).await.status(), 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_black_hole_does_not_even_refuse() {
    let sim = start().await;
    let host = sim.vdc(0).node(0).mgmt_host();
    sim.faults()
        .set(FaultRule::everywhere(Fault::Blackhole).on_node(0, 0));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let connecting = TcpStream::connect(&host);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), connecting)
            .await
            .is_err()
    );
    sim.faults().clear();
    eventually(|| async { TcpStream::connect(&host).await.is_ok() }).await;
    sim.shutdown().await;
}

/// Waits until something holds, for five seconds at most.
pub(crate) async fn eventually<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(5), "it never held");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
