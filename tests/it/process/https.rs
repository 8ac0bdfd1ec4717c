//! HTTP endpoints over TLS: whom they answer, and that nobody is answered without.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::servers::tls;
use crate::support::authority::{Authority, Pair};
use crate::support::process::{Home, Process, SOON};

const NAME: &str = "node-a.example";

/// ecsbeat that serves HTTPS, with more settings of `http.ssl`, and where it answers.
async fn start(home: &Home, authority: &Authority, ssl: &str) -> (Process, SocketAddr) {
    let pair = authority.issue(NAME, &[NAME]);
    let certificate = home.write("http.pem", &pair.certificate);
    let key = home.write("http.key", &pair.key);
    home.configure(&format!(
        "ecsbeat.error_events: false\n\
         ecsbeat.customers: [{{customername: c, username: u, password: p, vdcs: [{{vdcname: v, nodes: [{{host: \
         '127.0.0.1:1'}}]}}]}}]\n\
         output.console: {{}}\n\
         http:\n  enabled: true\n  host: 127.0.0.1\n  port: 0\n  timeout: 1s\n  auth.token: CANARY-token\n  ssl:\n    \
         certificate: '{}'\n    key: '{}'\n    {ssl}\n",
        certificate.display(),
        key.display(),
    ));
    let mut process = home.start(&[]);
    let address = process.http().await;
    (process, address)
}

/// Asks over TLS: the answer, whole.
async fn ask(
    address: SocketAddr,
    authority: &Authority,
    pair: Option<&Pair>,
    request: &str,
) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = tls(stream, NAME, authority, pair).await?;
    let request = format!("{request}Host: {NAME}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_answered_over_tls_alone() {
    let (own, stranger) = (Authority::new("own"), Authority::new("stranger"));
    let home = Home::new();
    let (mut process, address) = start(&home, &own, "").await;
    process.logged("ecsbeat start running.").await;

    let answer = ask(address, &own, None, "GET /leader HTTP/1.1\r\n")
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with('}'), "the answer is whole: {answer}");
    // Orders, with the token and without; a single node takes none.
    for (token, status) in [
        ("CANARY-token", 501),
        ("CANARY-token2", 401),
        ("CANARY-toke", 401),
        ("", 401),
    ] {
        let order = format!("POST /pause HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n");
        let answer = ask(address, &own, None, &order).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{token}: {answer}"
        );
        assert!(!answer.contains("CANARY"), "{answer}");
    }
    let error = ask(address, &stranger, None, "GET /leader HTTP/1.1\r\n")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");

    // Who speaks without TLS gets no HTTP.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /leader HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _reset_counts_as_an_end = plain.read_to_end(&mut answer).await;
    assert!(!answer.windows(5).any(|part| part == b"HTTP/"), "{answer:?}");

    // Who says nothing is not waited for longer than for the head of a request.
    let begin = Instant::now();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let ended = tokio::time::timeout(SOON, silent.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "still open");
    assert!(
        begin.elapsed() >= Duration::from_millis(900),
        "http.timeout is 1s"
    );
    process.stopped().await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_must_show_a_certificate_are_refused_without() {
    let (own, clients) = (Authority::new("own"), Authority::new("clients"));
    let home = Home::new();
    let ca = home.write("clients.pem", &clients.pem());
    let setting = format!("certificate_authorities: ['{}']", ca.display());
    let (mut process, address) = start(&home, &own, &setting).await;
    let known = clients.issue("prometheus", &[]);
    let answer = ask(address, &own, Some(&known), "GET /metrics HTTP/1.1\r\n")
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let unknown = own.issue("prometheus", &[]);
    for pair in [None, Some(&unknown)] {
        let answer = ask(address, &own, pair, "GET /metrics HTTP/1.1\r\n").await;
        // In TLS 1.3 the refusal comes in place of the answer.
        assert!(answer.as_ref().map_or(true, String::is_empty), "{answer:?}");
    }
    process.stopped().await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_cannot_be_read_is_told_by_its_setting() {
    let home = Home::new();
    let pair = Authority::new("own").issue(NAME, &[NAME]);
    let certificate = home.write("http.pem", &pair.certificate);
    home.configure(&format!(
        "ecsbeat.customers: [{{customername: c, username: u, password: p, vdcs: [{{vdcname: v, nodes: [{{host: h}}]}}]}}]\n\
         output.console: {{}}\n\
         http: {{enabled: true, port: 0, ssl.certificate: '{}', ssl.key: /nonexistent/http.key}}\n",
        certificate.display(),
    ));
    let ended = home.run(&[]).await;
    assert_ne!(ended.code(), 0);
    assert!(
        ended.stderr.contains("http.ssl.key") && ended.stderr.contains("/nonexistent/http.key"),
        "{}",
        ended.stderr
    );
}
