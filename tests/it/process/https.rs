//! HTTP endpoints over TLS: whom they answer, and that nobody is answered without.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::servers::tls;
use crate::support::authority::{Authority, Pair};
use crate::support::process::{Ended, Home, Process, SOON};

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
    // The year 4096 is what rcgen gives where nothing is said.
    let metrics = ask(address, &own, None, "GET /metrics HTTP/1.1\r\n")
        .await
        .unwrap();
    let expiry =
        "ecsbeat_certificate_not_after_timestamp_seconds{setting=\"http.ssl.certificate\"} 67090118400";
    assert!(metrics.lines().any(|line| line.starts_with(expiry)), "{metrics}");
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

/// Asks with the configuration `text` from a folder of its own.
async fn asked_with(text: &str, arguments: &[&str]) -> Ended {
    let home = Home::new();
    home.configure(text);
    home.run(arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_status_know_the_own_endpoint_by_its_certificate_and_believe_no_other() {
    let own = Authority::new("own");
    let home = Home::new();
    let (mut process, address) = start(&home, &own, "").await;
    process.logged("ecsbeat start running.").await;
    let port = format!("http.port={}", address.port());
    let url = format!("https://{address}");

    // As a container's health check asks: no argument says where, the configuration does. The certificate is not for
    // this address, and nothing else says that its authority is to be trusted.
    let ended = home.run(&["health", "-E", &port]).await;
    ended.expect(0);
    assert_eq!(ended.stdout, format!("{url}/health: 200 single\n"));
    home.run(&["health", "--leader", "--url", &url]).await.expect(0);
    let status = home.run(&["status", "-E", &port]).await;
    status.expect(0);

    // What has nothing to do with the question may be unfinished, or not there for the one who asks.
    let path = |name: &str| home.path().join(name).display().to_string();
    let ssl = |certificate: &str| {
        format!(
            "ecsbeat.customers: [{{}}]\nunknown: true\nhttp:\n  auth.token: '${{NOT_THERE}}'\n  host: 127.0.0.1\n  \
             ssl: {{certificate: '{certificate}', key: '/nonexistent/http.key'}}\n"
        )
    };
    let other = home.write("other.pem", &own.issue(NAME, &[NAME, "127.0.0.1"]).certificate);
    asked_with(&ssl(&path("http.pem")), &["health", "-E", &port])
        .await
        .expect(0);

    // Another certificate is not believed, not even one of the same authority, nor one where nothing is known.
    for configuration in [ssl(&other.display().to_string()), String::new()] {
        let ended = asked_with(&configuration, &["health", "--url", &url]).await;
        ended.expect(1);
        assert!(
            ended.stdout.contains("UnknownIssuer") || ended.stdout.contains("no CA certificates"),
            "{}",
            ended.stdout
        );
    }
    // With that authority behind it in the file it is a renewed one.
    let chain = std::fs::read_to_string(&other).unwrap() + &own.pem();
    let renewed = home.write("renewed.pem", &chain);
    asked_with(&ssl(&renewed.display().to_string()), &["health", "--url", &url])
        .await
        .expect(0);

    // What cannot be asked is told by its setting.
    let ended = asked_with(&ssl("/nonexistent/http.pem"), &["health", "-E", &port]).await;
    ended.expect(1);
    assert!(
        ended.stdout.contains("http.ssl.certificate") && ended.stdout.contains("/nonexistent/http.pem"),
        "{}",
        ended.stdout
    );
    let ended = asked_with("http.port: many\n", &["health"]).await;
    ended.expect(78);
    assert!(ended.stderr.contains("http.port"), "{}", ended.stderr);
    process.stopped().await.expect(0);
    home.run(&["health", "-E", &port]).await.expect(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_clients_must_show_a_certificate_health_shows_the_own_one() {
    let (own, clients) = (Authority::new("own"), Authority::new("clients"));
    for (accepted, code) in [(&own, 0), (&clients, 1)] {
        let home = Home::new();
        let ca = home.write("clients.pem", &accepted.pem());
        let setting = format!("certificate_authorities: ['{}']", ca.display());
        let (mut process, address) = start(&home, &own, &setting).await;
        process.logged("ecsbeat start running.").await;
        let port = format!("http.port={}", address.port());
        let ended = home.run(&["health", "-E", &port]).await;
        ended.expect(code);
        let refused = "it refuses our client certificate";
        assert_eq!(ended.stdout.contains(refused), code == 1, "{}", ended.stdout);
        process.stopped().await.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_configuration_health_asks_the_port_of_beats_over_http() {
    let home = Home::new();
    let ended = home.run(&["health", "-E", "http.host=127.0.0.9"]).await;
    assert!(
        ended.stdout.starts_with("http://127.0.0.9:5066/health: "),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    let ended = home.run(&["health", "-c", "nonexistent.yml"]).await;
    ended.expect(78);
    assert!(ended.stderr.contains("nonexistent.yml"), "{}", ended.stderr);
}
