//! Item 7, certificates: which ones are believed in which mode, and that nothing is said to the others.

use std::sync::{Arc, Mutex};

use ecs_sim::{Fault, FaultRule, Port};
use ecsbeat::app::Outcome;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::support::bench::{Bench, failures, of, small};

const CAPACITY: &str = "{type: capacity}";

fn mgmt(fault: Fault) -> FaultRule {
    FaultRule::everywhere(fault).on_port(Port::Mgmt)
}

fn authority(bench: &Bench) -> String {
    format!(
        "certificate_authorities: [{:?}]",
        bench.path("ca.pem").display().to_string()
    )
}

async fn with_fault(fault: Fault) -> Bench {
    let bench = Bench::new(small()).await;
    bench.sim.faults().set(mgmt(fault));
    bench
}

/// A certificate that is no good is told with its reason, and neither password nor request goes out.
async fn is_refused(fault: Fault, word: &str) {
    let bench = with_fault(fault).await;
    refused(&bench, word).await;
}

async fn refused(bench: &Bench, word: &str) {
    assert_eq!(bench.once(&[CAPACITY]).await, Outcome::Incomplete);
    let told = failures(&bench.events());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.to_lowercase().contains(word), "{}", told[0].1);
    assert_eq!(bench.sim.requests().len(), 0, "nothing is said to a stranger");
}

async fn believed(bench: &Bench) {
    assert_eq!(
        bench.once(&[CAPACITY]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    assert_eq!(of(&bench.events(), "capacity").len(), 1);
}

#[tokio::test]
async fn item_07_an_expired_certificate_is_refused() {
    is_refused(Fault::CertExpired, "expired").await;
}

#[tokio::test]
async fn item_07_a_certificate_for_another_name_is_refused() {
    is_refused(Fault::CertOtherName, "not valid for").await;
}

#[tokio::test]
async fn item_07_a_self_signed_certificate_is_refused() {
    is_refused(Fault::CertSelfSigned, "issuer").await;
}

#[tokio::test]
async fn item_07_a_certificate_of_an_unknown_authority_is_refused() {
    is_refused(Fault::CertOtherAuthority, "issuer").await;
}

#[tokio::test]
async fn item_07_mode_none_believes_every_certificate() {
    for fault in [
        Fault::CertExpired,
        Fault::CertOtherName,
        Fault::CertSelfSigned,
        Fault::CertOtherAuthority,
    ] {
        let mut bench = with_fault(fault).await;
        bench.customer("ssl", "{verification_mode: none}");
        believed(&bench).await;
    }
}

#[tokio::test]
async fn item_07_mode_certificate_looks_over_the_name_and_nothing_else() {
    let mut bench = with_fault(Fault::CertOtherName).await;
    let ssl = format!("{{verification_mode: certificate, {}}}", authority(&bench));
    bench.customer("ssl", &ssl);
    believed(&bench).await;
    for (fault, word) in [
        (Fault::CertExpired, "expired"),
        (Fault::CertOtherAuthority, "issuer"),
    ] {
        let mut bench = with_fault(fault).await;
        let ssl = format!("{{verification_mode: certificate, {}}}", authority(&bench));
        bench.customer("ssl", &ssl);
        refused(&bench, word).await;
    }
}

#[tokio::test]
async fn item_07_a_fingerprint_believes_the_one_certificate() {
    let mut bench = with_fault(Fault::CertSelfSigned).await;
    let hex = fingerprint(&bench.sim.vdc(0).node(0).mgmt_host()).await;
    // The other node has a certificate of its own.
    bench.customer(
        "vdcs",
        &format!(
            "[{{vdcname: VDC1, nodes: [{:?}]}}]",
            bench.sim.vdc(0).node(0).mgmt_host()
        ),
    );
    bench.customer("ssl", &format!("{{ca_trusted_fingerprint: {hex:?}}}"));
    believed(&bench).await;
    let other = if hex.starts_with('0') { "1" } else { "0" };
    bench.customer(
        "ssl",
        &format!("{{ca_trusted_fingerprint: \"{other}{}\"}}", &hex[1..]),
    );
    bench.sim.clear_requests();
    let events = bench.events_of(&[CAPACITY]).await;
    assert_eq!(of(&events, "capacity").len(), 0);
    assert_eq!(bench.sim.requests().len(), 0);
}

#[tokio::test]
async fn item_07_a_fingerprint_does_not_bring_an_expired_certificate_back() {
    let mut bench = with_fault(Fault::CertExpired).await;
    let host = bench.sim.vdc(0).node(0).mgmt_host();
    let hex = fingerprint(&host).await;
    bench.customer("vdcs", &format!("[{{vdcname: VDC1, nodes: [{host:?}]}}]"));
    bench.customer("ssl", &format!("{{ca_trusted_fingerprint: {hex:?}}}"));
    refused(&bench, "expired").await;
}

#[tokio::test]
async fn item_07_tls_1_2_alone_is_spoken() {
    let mut bench = with_fault(Fault::Tls12Only).await;
    believed(&bench).await;
    let ssl = format!("{{supported_protocols: [TLSv1.3], {}}}", authority(&bench));
    bench.customer("ssl", &ssl);
    let events = bench.events_of(&[CAPACITY]).await;
    assert_eq!(failures(&events).len(), 1, "asked for 1.3 only");
}

#[tokio::test]
async fn item_07_each_node_is_judged_by_its_own_certificate() {
    let config = ecs_sim::Config {
        nodes_per_vdc: 3,
        ..small()
    };
    let bench = Bench::new(config).await;
    bench.sim.faults().set(mgmt(Fault::CertExpired).on_node(0, 0));
    bench.sim.faults().set(mgmt(Fault::CertSelfSigned).on_node(0, 1));
    believed(&bench).await;
    let asked = bench.sim.requests();
    assert!(
        !asked.is_empty() && asked.iter().all(|request| request.node == 2),
        "only the good one is asked"
    );
}

/// SHA-256 of the certificate that a server shows, in hex.
async fn fingerprint(host: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &shown_by(host).await);
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"))
}

/// The certificate that a server shows.
async fn shown_by(host: &str) -> Vec<u8> {
    #[derive(Debug, Default)]
    struct Look(Mutex<Vec<u8>>);
    impl ServerCertVerifier for Look {
        fn verify_server_cert(
            &self,
            server: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            *self.0.lock().unwrap() = server.to_vec();
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
    let look = Arc::new(Look::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(look.clone())
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
    tls.connect(name, stream).await.unwrap();
    look.0.lock().unwrap().clone()
}
