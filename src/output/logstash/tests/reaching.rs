//! The way to real servers: TLS, client certificates, and what `test output` tells.

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::config::{BackoffConfig, HostPort, LogstashOutput, Network, Secret, Ssl};
use crate::output::Sink as _;
use crate::output::logstash::{Logstash, test};
use crate::steps::Steps;
use crate::steps::tests::Told;
use crate::tls;

/// A certificate for `localhost` that stands for itself, with its key.
fn certificate() -> (String, Secret) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (own.cert.pem(), Secret::new(own.signing_key.serialize_pem()))
}

fn config(port: u16, ssl: Ssl) -> LogstashOutput {
    LogstashOutput {
        hosts: vec![HostPort {
            host: "localhost".to_owned(),
            port,
        }],
        network: Network {
            workers: 1,
            loadbalance: false,
            bulk_max_size: 0,
            max_retries: None,
            backoff: BackoffConfig {
                init: SECOND,
                max: SECOND,
            },
            timeout: PATIENCE,
            proxy: None,
            ssl,
        },
        compression_level: 3,
        pipelining: 2,
        ttl: None,
        slow_start: false,
        index: "ecsbeat".to_owned(),
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A server with TLS that wants a certificate of its clients, and what its clients need.
fn mutual() -> (TlsAcceptor, Ssl) {
    let (server, server_key) = certificate();
    let (client, client_key) = certificate();
    let config = tls::server_config(&Ssl {
        certificate: Some(server.clone()),
        key: Some(server_key),
        certificate_authorities: vec![client.clone()],
        ..Ssl::default()
    });
    let ssl = Ssl {
        enabled: Some(true),
        certificate_authorities: vec![server],
        certificate: Some(client),
        key: Some(client_key),
        ..Ssl::default()
    };
    (TlsAcceptor::from(Arc::new(config.unwrap())), ssl)
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
    let (tcp, _) = listener.accept().await.unwrap();
    acceptor.accept(tcp).await
}

async fn tell(config: &LogstashOutput) -> (String, bool) {
    let told = Told::default();
    let mut steps = Steps::told(told.clone(), false);
    test(config, &mut steps).await.unwrap();
    (told.text(), steps.have_failed())
}

#[tokio::test]
async fn batches_go_over_tls_with_a_client_certificate() {
    let (listener, port) = listener().await;
    let (acceptor, ssl) = mutual();
    let mut lanes = Logstash::new(&config(port, ssl), &Counter::default(), &Counter::default()).unwrap();
    let shared: Vec<_> = lanes.iter().map(Logstash::shares_connection).collect();
    assert_eq!(shared, [false, true]);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20));
    let batches = [events(3), vec![event(&long)]];
    let (one, other) = lanes.split_at_mut(1);
    let permit = permit(PATIENCE);
    let publish = async {
        one[0].connect(&permit).await.unwrap();
        tokio::join!(
            one[0].publish(&permit, &batches[0]),
            other[0].publish(&permit, &batches[1])
        )
    };
    let serve = async {
        let mut stream = accept(&listener, &acceptor).await.unwrap();
        let mut decoder = Decoder::default();
        let mut windows = Vec::new();
        while windows.len() < 2 {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            decoder.feed(&bytes[..count]);
            while let Some(window) = decoder.window().unwrap() {
                let count = u32::try_from(window.events.len()).unwrap();
                stream
                    .write_all(&[b"2A", &count.to_be_bytes()[..]].concat())
                    .await
                    .unwrap();
                windows.push(ids(&window));
            }
        }
        (stream, windows)
    };
    let ((first, second), (mut stream, windows)) = tokio::join!(publish, serve);
    assert_eq!((first.unwrap(), second.unwrap()), (head(3, 3), head(1, 1)));
    assert_eq!(windows, [ids_of(&batches[0]), ids_of(&batches[1])]);
    for lane in &mut lanes {
        lane.close().await.unwrap();
    }
    assert_eq!(
        stream.read(&mut [0]).await.unwrap(),
        0,
        "an end in order is no error in TLS"
    );
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_told_with_advice() {
    let (listener, port) = listener().await;
    let (acceptor, ssl) = mutual();
    let ssl = Ssl {
        certificate: None,
        key: None,
        ..ssl
    };
    let config = config(port, ssl);
    let ((told, failed), refused) = tokio::join!(tell(&config), accept(&listener, &acceptor));
    refused.unwrap_err();
    assert!(failed && told.contains("  handshake... OK\n"), "{told}");
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("  talk to server... ERROR localhost:"), "{told}");
    assert!(last.contains("client certificate: see ssl.certificate"), "{told}");

    let lane = &mut Logstash::new(&config, &Counter::default(), &Counter::default()).unwrap()[0];
    let (permit, batch) = (permit(PATIENCE), events(1));
    let (published, _) = tokio::join!(lane.publish(&permit, &batch), accept(&listener, &acceptor));
    let error = published.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("client certificate: see ssl.certificate"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_wants_tls_is_told_with_advice() {
    let (listener, port) = listener().await;
    let (acceptor, _) = mutual();
    let lane = &mut Logstash::new(
        &config(port, Ssl::default()),
        &Counter::default(),
        &Counter::default(),
    )
    .unwrap()[0];
    let (permit, batch) = (permit(PATIENCE), events(1));
    let (published, refused) = tokio::join!(lane.publish(&permit, &batch), accept(&listener, &acceptor));
    refused.unwrap_err();
    let error = published.unwrap_err();
    assert!(error.to_string().contains("ssl.enabled"), "{error}");
}

#[tokio::test]
async fn every_host_is_tested() {
    let (open, port) = listener().await;
    let (closed, gone) = listener().await;
    drop(closed);
    let mut config = config(port, Ssl::default());
    config.hosts.push(HostPort {
        host: "localhost".to_owned(),
        port: gone,
    });
    let ((told, failed), accepted) = tokio::join!(tell(&config), open.accept());
    accepted.unwrap();
    assert!(failed, "{told}");
    let (first, second) = told.split_at(told.rfind("logstash: ").unwrap());
    assert!(first.starts_with(&format!(
        "logstash: localhost:{port}...\n  connection...\n    parse host... OK\n"
    )));
    assert!(
        first.ends_with(
            "    dial up... OK\n  TLS... WARN secure connection disabled\n  talk to server... OK\n"
        ),
        "{first}"
    );
    assert!(
        second.starts_with(&format!("logstash: localhost:{gone}...\n")),
        "{second}"
    );
    assert!(
        second.contains("    dial up... ERROR ") && !second.contains("talk to server"),
        "{second}"
    );
}
