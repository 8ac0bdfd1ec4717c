//! Greeting, template, hosts, credentials.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::Secret;
use crate::output::BuildError;

#[tokio::test]
async fn loads_the_template_where_there_is_none() {
    let server = Server::start(healthy).await;
    let mut sink = sink(&config(&[&server.url]));
    connect(&mut sink).await.unwrap();
    let asked = server.asked();
    let lines: Vec<String> = asked
        .iter()
        .map(|asked| format!("{} {}", asked.method, asked.uri))
        .collect();
    assert_eq!(
        lines,
        [
            "GET /",
            "HEAD /_index_template/ecsbeat",
            "PUT /_index_template/ecsbeat"
        ]
    );
    let body: Value = serde_json::from_str(&asked[2].text()).unwrap();
    assert_eq!(body, super::super::index_template(&template()));
    assert_eq!(asked[2].header("content-type"), "application/json");
    assert!(asked[0].header("user-agent").starts_with("ecsbeat/"));
}

#[tokio::test]
async fn leaves_a_template_that_is_there_unless_told_to_overwrite_it_which_happens_once() {
    let exists = |asked: &Asked| match asked.method {
        Method::HEAD => (200, Vec::new(), String::new()),
        _ => healthy(asked),
    };
    let server = Server::start(exists).await;
    let puts = |server: &Server| {
        server
            .asked()
            .iter()
            .filter(|asked| asked.method == Method::PUT)
            .count()
    };
    connect(&mut sink(&config(&[&server.url]))).await.unwrap();
    assert_eq!(puts(&server), 0);
    let overwriting = Template {
        overwrite: true,
        ..template()
    };
    let mut sinks = Elasticsearch::new(
        &config(&[&server.url]),
        &overwriting,
        &Counter::default(),
        &Counter::default(),
    )
    .unwrap();
    connect(&mut sinks[0]).await.unwrap();
    connect(&mut sinks[0]).await.unwrap();
    assert_eq!(puts(&server), 1);
    let disabled = Template {
        enabled: false,
        ..template()
    };
    let before = server.asked().len();
    let mut sinks = Elasticsearch::new(
        &config(&[&server.url]),
        &disabled,
        &Counter::default(),
        &Counter::default(),
    )
    .unwrap();
    connect(&mut sinks[0]).await.unwrap();
    assert_eq!(server.asked().len(), before + 1, "only the greeting");
}

#[tokio::test]
async fn greets_every_supported_server_and_no_other() {
    for (status, body, want) in [
        (200, r#"{"version":{"number":"7.17.29"}}"#, None),
        (200, r#"{"version":{"number":"9.1.0-SNAPSHOT"}}"#, None),
        (
            200,
            r#"{"version":{"number":"2.19.0","distribution":"opensearch"}}"#,
            None,
        ),
        (403, "{}", None),
        (200, r#"{"version":{"number":"6.8.23"}}"#, Some("too old")),
        (200, r#"{"version":{"number":"7.7.1"}}"#, Some("too old")),
        (200, "<html>", Some("not as Elasticsearch")),
        (200, "{}", Some("not as Elasticsearch")),
        (401, "{}", Some("check username and password")),
        (404, "", Some("check host, port and path")),
        (302, "", Some("redirects")),
        (503, "", Some("answered 503")),
    ] {
        let server = Server::start(move |asked| match asked.uri.path() {
            "/" => (status, Vec::new(), body.to_owned()),
            _ => healthy(asked),
        })
        .await;
        let connected = connect(&mut sink(&config(&[&server.url]))).await;
        match (connected, want) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => {
                let text = error.to_string();
                assert!(
                    text.contains(part) && text.contains(server.url.trim_end_matches('/')),
                    "{text}"
                );
                assert_eq!(matches!(error, SinkError::Denied(_)), status == 401);
                assert_eq!(matches!(error, SinkError::Busy { .. }), status == 503);
            }
            (connected, want) => panic!("{status} {body}: {connected:?}, wanted {want:?}"),
        }
    }
}

#[tokio::test]
async fn a_user_without_the_right_to_templates_is_told_what_to_do() {
    for method in [Method::HEAD, Method::PUT] {
        let denied = method.clone();
        let server = Server::start(move |asked| {
            if asked.method == denied {
                reply(403, &json!({}))
            } else {
                healthy(asked)
            }
        })
        .await;
        let error = connect(&mut sink(&config(&[&server.url]))).await.unwrap_err();
        assert!(
            matches!(&error, SinkError::Denied(text) if text.contains("setup.template.enabled")),
            "{method}: {error:?}"
        );
    }
    let server = Server::start(|asked| match asked.method {
        Method::PUT => reply(
            400,
            &json!({"error": {"type": "illegal", "reason": "no such setting"}}),
        ),
        _ => healthy(asked),
    })
    .await;
    let error = connect(&mut sink(&config(&[&server.url]))).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Protocol(text) if text.contains("no such setting")),
        "{error:?}"
    );
}

#[tokio::test]
async fn credentials_headers_base_path_and_parameters_are_sent() {
    let server = Server::bulks(|asked| items(asked, |_| 201)).await;
    let base = format!("{}base/path", server.url);
    let basic = ElasticsearchOutput {
        username: Some("elastic".to_owned()),
        password: Some(Secret::new("pa:ss")),
        headers: vec![("X-Tenant".to_owned(), "t1".to_owned())],
        parameters: vec![("routing".to_owned(), "a b".to_owned())],
        ..config(&[&base])
    };
    publish(&mut sink(&basic), &[event("{}")]).await.unwrap();
    let api_key = ElasticsearchOutput {
        api_key: Some(Secret::new("id:key")),
        ..config(&[&base])
    };
    publish(&mut sink(&api_key), &[event("{}")]).await.unwrap();
    let asked = server.bulks_asked();
    assert_eq!(asked[0].uri.path(), "/base/path/_bulk");
    let query = asked[0].uri.query().unwrap();
    assert!(
        query.starts_with("filter_path=errors%2Citems.*._id%2Citems.*.status%2C"),
        "{query}"
    );
    assert!(query.ends_with("&routing=a+b"), "{query}");
    assert_eq!(asked[0].header("authorization"), "Basic ZWxhc3RpYzpwYTpzcw==");
    assert_eq!(asked[0].header("x-tenant"), "t1");
    assert_eq!(asked[0].header("content-type"), "application/x-ndjson");
    assert_eq!(asked[1].header("authorization"), "ApiKey aWQ6a2V5");
}

#[tokio::test]
async fn with_load_balancing_each_connection_keeps_its_host_until_it_fails() {
    let servers = [
        Server::bulks(|asked| items(asked, |_| 201)).await,
        Server::bulks(|_| reply(503, &json!({}))).await,
    ];
    let config = ElasticsearchOutput {
        workers: 2,
        ..config(&[&servers[0].url, &servers[1].url])
    };
    let mut sinks = sinks(&config);
    assert_eq!(sinks.len(), 4);
    let hosts: Vec<usize> = sinks.iter().map(|sink| sink.host.now()).collect();
    assert_eq!(hosts, [0, 1, 0, 1]);
    publish(&mut sinks[0], &[event("{}")]).await.unwrap();
    assert_eq!(sinks[0].host.now(), 0);
    publish(&mut sinks[1], &[event("{}")]).await.unwrap_err();
    assert_eq!(sinks[1].host.now(), 0);
    publish(&mut sinks[1], &[event("{}")]).await.unwrap();
    assert_eq!(sinks[3].host.now(), 1, "the other connection has not failed");
}

/// Lets so much time pass for what waits for it. Nothing must be under way.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn after_each_host_was_down_once_each_has_its_connections_again() {
    let down = Arc::new(Mutex::new(None));
    let servers = [0, 1].map(|number| {
        let down = Arc::clone(&down);
        Server::start(move |asked| {
            if *down.lock().unwrap() == Some(number) {
                reply(503, &json!({}))
            } else if asked.is_bulk() {
                items(asked, |_| 201)
            } else {
                healthy(asked)
            }
        })
    });
    let [first, second] = servers;
    let servers = [first.await, second.await];
    let mut sinks = sinks(&config(&[&servers[0].url, &servers[1].url]));
    let hosts = |sinks: &[Elasticsearch]| sinks.iter().map(|sink| sink.host.now()).collect::<Vec<_>>();
    for failing in [0, 1] {
        *down.lock().unwrap() = Some(failing);
        publish(&mut sinks[failing], &[event("{}")]).await.unwrap_err();
        let asked = servers[failing].asked().len();
        for _ in 0..3 {
            for sink in &mut sinks {
                connect(sink).await.unwrap();
                publish(sink, &[event("{}")]).await.unwrap();
            }
        }
        assert_eq!(hosts(&sinks), [1 - failing, 1 - failing]);
        assert_eq!(servers[failing].asked().len(), asked, "no look for it so soon");
        // It is still down at the first look, which costs no batch.
        for is_back in [false, true] {
            pass(Duration::from_secs(31)).await;
            if is_back {
                *down.lock().unwrap() = None;
            }
            for sink in &mut sinks {
                publish(sink, &[event("{}")]).await.unwrap();
            }
        }
        assert_eq!(hosts(&sinks), [0, 1]);
    }
}

#[tokio::test]
async fn without_load_balancing_all_connections_use_one_host_and_change_it_together() {
    let servers = [
        Server::bulks(|_| reply(503, &json!({}))).await,
        Server::bulks(|_| reply(503, &json!({}))).await,
        Server::bulks(|_| reply(503, &json!({}))).await,
    ];
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    let config = ElasticsearchOutput {
        loadbalance: false,
        workers: 2,
        ..config(&urls)
    };
    let mut sinks = sinks(&config);
    for _ in 0..20 {
        let before = sinks[0].host.now();
        assert_eq!(sinks[1].host.now(), before);
        publish(&mut sinks[0], &[event("{}")]).await.unwrap_err();
        assert_ne!(sinks[0].host.now(), before);
        assert_eq!(sinks[1].host.now(), sinks[0].host.now());
    }
    // A connection that fails late on a host that was left already does not push the others away again.
    let now = sinks[0].host.now();
    sinks[1].host.leave((now + 1) % 3);
    assert_eq!(sinks[0].host.now(), now);
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_an_error_without_secrets() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("http://user:hunter2@127.0.0.1:{port}/");
    let config = ElasticsearchOutput {
        username: Some("user".to_owned()),
        password: Some(Secret::new("hunter2")),
        parameters: vec![("token".to_owned(), "hunter2".to_owned())],
        ..config(&[&url])
    };
    let mut sink = sink(&config);
    for error in [
        connect(&mut sink).await.unwrap_err(),
        publish(&mut sink, &[event("{}")]).await.unwrap_err(),
    ] {
        let text = format!("{error} {error:?} {sink:?}");
        assert!(
            matches!(&error, SinkError::Transport(text) if text.contains("refused")),
            "{text}"
        );
        assert!(text.contains(&format!("http://127.0.0.1:{port}")), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_no_more_than_the_budget() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut sink = sink(&config(&[&url]));
    let begin = std::time::Instant::now();
    let short = permit(Duration::from_millis(100));
    let error = sink.publish(&short, &[event("{}")]).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Unanswered(text) if text.contains("no answer within")),
        "{error:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let build = |config: &ElasticsearchOutput| -> BuildError {
        Elasticsearch::new(config, &template(), &Counter::default(), &Counter::default()).unwrap_err()
    };
    let good = || config(&["https://localhost:9200"]);
    let cases = [
        (
            ElasticsearchOutput {
                hosts: Vec::new(),
                ..good()
            },
            "output.elasticsearch.hosts: ",
        ),
        (
            ElasticsearchOutput {
                index: "%{x}".to_owned(),
                ..good()
            },
            "output.elasticsearch.index: at character 3",
        ),
        (
            ElasticsearchOutput {
                pipeline: Some("%{x}".to_owned()),
                ..good()
            },
            "output.elasticsearch.pipeline: at",
        ),
        (
            ElasticsearchOutput {
                headers: vec![("a b".to_owned(), String::new())],
                ..good()
            },
            "output.elasticsearch.headers.a b: ",
        ),
        (
            ElasticsearchOutput {
                ssl: Ssl {
                    certificate_authorities: vec!["/nowhere".to_owned()],
                    ..Ssl::default()
                },
                ..good()
            },
            "output.elasticsearch.ssl.certificate_authorities[0]: cannot read /nowhere",
        ),
        (
            ElasticsearchOutput {
                non_indexable: NonIndexable::DeadLetterIndex("%{".to_owned()),
                ..good()
            },
            "output.elasticsearch.non_indexable_policy.dead_letter_index.index: ",
        ),
    ];
    for (config, start) in cases {
        let text = build(&config).to_string();
        assert!(text.starts_with(start), "{text}");
    }
}

/// A server that speaks TLS with a certificate of its own for `localhost`, and greets each connection once.
async fn tls_server() -> (String, String, JoinSet<()>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let ssl = Ssl {
        certificate: Some(certificate.pem()),
        key: Some(Secret::new(key.serialize_pem())),
        ..Ssl::default()
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(crate::tls::server_config(&ssl).unwrap()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = r#"{"version":{"number":"9.0.0"}}"#;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (format!("https://localhost:{port}"), certificate.pem(), task)
}

#[tokio::test]
async fn https_works_with_the_ssl_settings_and_failures_say_what_to_do() {
    let untemplated = Template {
        enabled: false,
        ..template()
    };
    let build = |url: &str, ssl: Ssl| {
        let config = ElasticsearchOutput {
            ssl,
            ..config(&[url])
        };
        Elasticsearch::new(&config, &untemplated, &Counter::default(), &Counter::default())
            .unwrap()
            .remove(0)
    };
    let (url, certificate, _task) = tls_server().await;
    let trusting = Ssl {
        certificate_authorities: vec![certificate],
        ..Ssl::default()
    };
    connect(&mut build(&url, trusting.clone())).await.unwrap();
    let fingerprint = Ssl {
        ca_trusted_fingerprint: Some("00".repeat(32)),
        ..Ssl::default()
    };
    let plain = Server::start(healthy).await;
    let plain_url = plain.url.replace("http://", "https://");
    for (mut sink, advice) in [
        (build(&url, fingerprint), "authority is not trusted"),
        (
            build(&url.replace("localhost", "127.0.0.1"), trusting.clone()),
            "is for another name",
        ),
        (build(&plain_url, trusting), "does not speak TLS"),
    ] {
        let error = connect(&mut sink).await.unwrap_err();
        assert!(
            matches!(&error, SinkError::Transport(text) if text.contains(advice)),
            "{error:?}"
        );
    }
}
