//! Clients and servers made by this module, talking to each other over a socket.

use std::net::Ipv4Addr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::config::Secret;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ca::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `localhost` in its years, signed by `ca`, as PEM with its key.
fn issue(ca: &Ca, from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, ca).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn sha256(der: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, der)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

fn serving(chain: &str, key: &str) -> Ssl {
    Ssl {
        certificate: Some(chain.to_owned()),
        key: Some(Secret::new(key)),
        ..Ssl::default()
    }
}

fn trusting(ca: &str) -> Ssl {
    Ssl {
        certificate_authorities: vec![ca.to_owned()],
        ..Ssl::default()
    }
}

/// Connects a client with `client` settings to a server with `server` settings as `name`, and exchanges a byte.
async fn talk(server: &Ssl, client: &Ssl, name: &str) -> Result<(), String> {
    let acceptor = TlsAcceptor::from(Arc::new(server_config(server).unwrap()));
    let connector = TlsConnector::from(Arc::new(client_config(client).unwrap()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let _ = stream.write_all(b"!").await;
            let _ = stream.shutdown().await;
        }
    };
    let connect = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let describe = |error: std::io::Error| {
            let advice = advice(&error);
            format!("{error}: {}", advice.unwrap_or("no advice"))
        };
        let mut stream = connector.connect(name, stream).await.map_err(describe)?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(describe)?;
        Ok(())
    };
    tokio::join!(serve, connect).1
}

async fn refused(server: &Ssl, client: &Ssl, name: &str, wanted: &str) {
    let error = talk(server, client, name)
        .await
        .expect_err("the connection must fail");
    assert!(error.contains(wanted), "{error} does not say {wanted}");
}

#[tokio::test]
async fn full_and_strict_check_chain_and_name() {
    let ca = ca("root");
    let (chain, key) = issue(&ca, 2001, 2060);
    let server = serving(&chain, &key);
    for mode in [VerificationMode::Full, VerificationMode::Strict] {
        let client = Ssl {
            verification_mode: mode,
            ..trusting(&ca.pem())
        };
        talk(&server, &client, "localhost").await.unwrap();
        refused(&server, &client, "elsewhere", "is for another name").await;
        refused(&server, &client, "127.0.0.1", "is for another name").await;
        let other = Ssl {
            verification_mode: mode,
            ..trusting(&self::ca("other").pem())
        };
        refused(&server, &other, "localhost", "authority is not trusted").await;
    }
}

#[tokio::test]
async fn a_common_name_is_no_name() {
    let ca = ca("root");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "localhost");
    let chain = params.signed_by(&key, &ca).unwrap().pem();
    let server = serving(&chain, &key.serialize_pem());
    let trusting = |mode| Ssl {
        verification_mode: mode,
        ..trusting(&ca.pem())
    };
    for mode in [VerificationMode::Full, VerificationMode::Strict] {
        refused(&server, &trusting(mode), "localhost", "is for another name").await;
    }
    let client = trusting(VerificationMode::Certificate);
    talk(&server, &client, "localhost").await.unwrap();
}

#[tokio::test]
async fn certificate_mode_checks_the_chain_only() {
    let ca = ca("root");
    let (chain, key) = issue(&ca, 2001, 2060);
    let server = serving(&chain, &key);
    let client = Ssl {
        verification_mode: VerificationMode::Certificate,
        ..trusting(&ca.pem())
    };
    talk(&server, &client, "elsewhere").await.unwrap();
    let other = Ssl {
        verification_mode: VerificationMode::Certificate,
        ..trusting(&self::ca("other").pem())
    };
    refused(&server, &other, "localhost", "authority is not trusted").await;
    let (chain, key) = issue(&ca, 2001, 2002);
    refused(&serving(&chain, &key), &client, "localhost", "has expired").await;
}

#[tokio::test]
async fn none_accepts_whatever_is_shown() {
    let ca = ca("root");
    let (chain, key) = issue(&ca, 2001, 2002);
    let client = Ssl {
        verification_mode: VerificationMode::None,
        ..Ssl::default()
    };
    talk(&serving(&chain, &key), &client, "elsewhere").await.unwrap();
}

#[tokio::test]
async fn dates_are_checked() {
    let ca = ca("root");
    let (chain, key) = issue(&ca, 2001, 2002);
    let client = trusting(&ca.pem());
    refused(&serving(&chain, &key), &client, "localhost", "has expired").await;
    let (chain, key) = issue(&ca, 2090, 2091);
    refused(&serving(&chain, &key), &client, "localhost", "not valid yet").await;
}

#[tokio::test]
async fn a_fingerprint_trusts_the_ca_in_the_chain_and_no_other() {
    let (ca, other) = (ca("root"), ca("other"));
    let (leaf, key) = issue(&ca, 2001, 2060);
    let server = serving(&format!("{leaf}{}", ca.pem()), &key);
    let client = |fingerprint: String| Ssl {
        ca_trusted_fingerprint: Some(fingerprint),
        ..trusting(&other.pem())
    };
    let right = client(sha256(ca.der()));
    talk(&server, &right, "localhost").await.unwrap();
    refused(&server, &right, "elsewhere", "is for another name").await;
    let wrong = client(sha256(other.der()));
    refused(&server, &wrong, "localhost", "authority is not trusted").await;
    // The CA must be presented: a leaf alone proves nothing about it.
    refused(
        &serving(&leaf, &key),
        &right,
        "localhost",
        "authority is not trusted",
    )
    .await;
    // A CA that anybody can append to a chain must also have signed it.
    let (leaf, key) = issue(&other, 2001, 2060);
    let forged = serving(&format!("{leaf}{}", ca.pem()), &key);
    let client = Ssl {
        ca_trusted_fingerprint: Some(sha256(ca.der())),
        ..trusting(&self::ca("third").pem())
    };
    refused(&forged, &client, "localhost", "authority is not trusted").await;
}

#[tokio::test]
async fn a_listed_self_signed_certificate_is_trusted_but_must_be_in_date_and_of_that_name() {
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa] {
        let make = |until| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.is_ca = is_ca;
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            (params.self_signed(&key).unwrap(), key.serialize_pem())
        };
        let (certificate, key) = make(2060);
        let server = serving(&certificate.pem(), &key);
        let client = trusting(&certificate.pem());
        talk(&server, &client, "localhost").await.unwrap();
        refused(&server, &client, "elsewhere", "is for another name").await;
        let by_fingerprint = Ssl {
            ca_trusted_fingerprint: Some(sha256(certificate.der())),
            ..trusting(&ca("other").pem())
        };
        talk(&server, &by_fingerprint, "localhost").await.unwrap();
        let (old, key) = make(2002);
        let server = serving(&old.pem(), &key);
        refused(&server, &trusting(&old.pem()), "localhost", "has expired").await;
    }
}

#[tokio::test]
async fn versions_are_kept_to() {
    let ca = ca("root");
    let (chain, key) = issue(&ca, 2001, 2060);
    let only = |ssl: Ssl, tls12, tls13| Ssl { tls12, tls13, ..ssl };
    for (tls12, tls13) in [(true, false), (false, true)] {
        let server = only(serving(&chain, &key), tls12, tls13);
        talk(&server, &trusting(&ca.pem()), "localhost").await.unwrap();
        talk(&server, &only(trusting(&ca.pem()), tls12, tls13), "localhost")
            .await
            .unwrap();
        let other = only(trusting(&ca.pem()), !tls12, !tls13);
        refused(&server, &other, "localhost", "no TLS version or cipher in common").await;
    }
    let error = client_config(&only(Ssl::default(), false, false)).unwrap_err();
    assert!(
        error.to_string().starts_with("ssl.supported_protocols: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_listener_with_authorities_demands_a_client_certificate() {
    let (ca, clients) = (ca("root"), ca("clients"));
    let (chain, key) = issue(&ca, 2001, 2060);
    let server = Ssl {
        certificate_authorities: vec![clients.pem()],
        ..serving(&chain, &key)
    };
    refused(
        &server,
        &trusting(&ca.pem()),
        "localhost",
        "refuses our client certificate",
    )
    .await;
    let (chain, key) = issue(&clients, 2001, 2060);
    let client = Ssl {
        certificate: Some(chain),
        key: Some(Secret::new(key)),
        ..trusting(&ca.pem())
    };
    talk(&server, &client, "localhost").await.unwrap();
}

#[test]
fn files_work_as_inline_pem_does() {
    let directory = tempfile::tempdir().unwrap();
    let ca = ca("root");
    let (chain, key) = issue(&ca, 2001, 2060);
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ssl = Ssl {
        certificate_authorities: vec![file("ca.pem", &ca.pem())],
        certificate: Some(file("cert.pem", &chain)),
        key: Some(Secret::new(file("key.pem", &key))),
        ..Ssl::default()
    };
    client_config(&ssl).unwrap();
    server_config(&ssl).unwrap();
}

#[test]
fn errors_name_the_setting_and_the_file_but_never_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty.pem");
    std::fs::write(&path, "nothing here").unwrap();
    let path = path.to_str().unwrap().to_owned();
    let (chain, key) = issue(&ca("root"), 2001, 2060);
    let (_, other_key) = issue(&ca("root"), 2001, 2060);
    let inline_secret = "-----BEGIN PRIVATE KEY-----\nTOPSECRET*\n-----END PRIVATE KEY-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let cases: [(Ssl, &[&str]); 9] = [
        (
            trusting("/nowhere/ca.pem"),
            &[
                "ssl.certificate_authorities[0]",
                "/nowhere/ca.pem",
                "No such file",
            ],
        ),
        (
            trusting(&path),
            &["ssl.certificate_authorities[0]", &path, "holds no certificate"],
        ),
        (
            Ssl {
                key: None,
                ..serving(&chain, &key)
            },
            &["ssl.key: must be set"],
        ),
        (
            Ssl {
                certificate: None,
                ..serving(&chain, &key)
            },
            &["ssl.certificate: must be set"],
        ),
        (
            serving(&chain, inline_secret),
            &["ssl.key", "inline PEM", "holds no private key"],
        ),
        (
            serving(&chain, encrypted),
            &["ssl.key", "passphrase", "openssl pkey"],
        ),
        (
            serving(&chain, &other_key),
            &["ssl.key", "cannot be used with ssl.certificate"],
        ),
        (
            Ssl {
                ca_trusted_fingerprint: Some("abc".to_owned()),
                ..trusting(&chain)
            },
            &["ssl.ca_trusted_fingerprint", "64 digits"],
        ),
        (
            trusting("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            &["ssl.certificate_authorities[0]", "inline PEM"],
        ),
    ];
    for (ssl, wanted) in cases {
        let error = client_config(&ssl).unwrap_err().to_string();
        for part in wanted {
            assert!(error.contains(part), "{error} does not say {part}");
        }
        assert!(!error.contains("TOPSECRET"), "{error}");
    }
    let error = server_config(&Ssl::default()).unwrap_err().to_string();
    assert!(error.starts_with("ssl.certificate: must be set"), "{error}");
}

#[test]
fn a_chain_expires_with_the_first_of_it() {
    let ca = ca("root");
    let (early, key) = issue(&ca, 2001, 2040);
    let (late, _) = issue(&ca, 2001, 2060);
    let at = |year: &str| format!("{year}-01-01T00:00:00Z").parse().ok();
    assert_eq!(expiry(&serving(&late, &key)), at("2060"));
    assert_eq!(expiry(&serving(&(late + &early), &key)), at("2040"));
    assert_eq!(expiry(&serving("/nonexistent", &key)), None);
    assert_eq!(expiry(&Ssl::default()), None);
}
