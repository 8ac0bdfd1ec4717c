//! `test output` of the real binary, word by word: the texts are in `tests/data/test-output`. `UPDATE_GOLDEN=1` writes
//! them anew.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;

use ecs_sim::bulk::{Bulk, BulkFault, BulkRule, Config};
use rdkafka::types::RDKafkaRespErr;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::golden;
use crate::support::kafka::Brokers;
use crate::support::process::{Ended, Home, Process, SOON};
use crate::support::redis::{self, Reply};
use crate::support::terminal::{On, Terminal};

const SETTINGS: &str = "\
ecsbeat.customers: [{customername: one, username: u, password: p, vdcs: [{vdcname: v, nodes: [10.1.83.51]}]}]
";

/// A directory with this output configured, and whatever the environment says cleared away.
fn home(output: &str) -> Home {
    let home = Home::new();
    home.configure(&format!("{SETTINGS}output.{output}"));
    home
}

async fn tried(output: &str) -> Ended {
    home(output).run(&["test", "output"]).await
}

/// What differs from run to run.
fn levelled(text: &str, replaced: &[(&str, &str)]) -> String {
    // These words are the system's or librdkafka's own.
    let cut = [
        ("certificate valid until: ", "DATE"),
        ("free space: ", "SIZE"),
        ("cluster id: ", "ID"),
        ("Connection refused (after ", "TIMES"),
        ("failed to lookup address information: ", "REASON"),
    ];
    golden::levelled(text, replaced, &cut)
}

#[track_caller]
fn check(name: &str, ended: &Ended, code: i32, replaced: &[(&str, &str)]) {
    golden::golden(
        &format!("test-output/{name}"),
        &levelled(&ended.expect(code).stdout, replaced),
    );
    assert!(!ended.stdout.contains("CANARY"), "{}", ended.stdout);
}

async fn server(config: Config) -> (Bulk, String) {
    let bulk = Bulk::start(config).await.unwrap();
    let port = bulk.address().port().to_string();
    (bulk, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_and_every_host_once_however_many_workers() {
    let (first, one) = server(Config::for_tests()).await;
    let (second, two) = server(Config {
        opensearch: true,
        version: "2.19.0".to_owned(),
        ..Config::for_tests()
    })
    .await;
    let output = format!(
        "elasticsearch: {{hosts: ['{}', '{}'], workers: 3}}\n",
        first.url(),
        second.url()
    );
    let ended = tried(&output).await;
    check("plain", &ended, 0, &[(&one, "PORT"), (&two, "PORT-2")]);
    assert!(first.is_empty() && second.is_empty(), "nothing is sent");
    let changed = [&first, &second].iter().any(|bulk| !bulk.resources().is_empty());
    assert!(!changed, "nothing is changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_tells_its_version() {
    let redis = redis::Builder::new().password("CANARY-redis").start().await;
    let at = redis.address().to_string();
    let Reply::Bulk(Some(info)) = redis.command(&["INFO", "server"]).await else {
        panic!("INFO is a text")
    };
    let info = String::from_utf8(info).unwrap();
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap();
    let ended = tried(&format!("redis: {{hosts: ['redis://:CANARY-redis@{at}']}}\n")).await;
    let ip = redis.address().ip().to_string();
    check(
        "redis",
        &ended,
        0,
        &[(&at, "ADDRESS"), (&ip, "IP"), (version, "VERSION")],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_tells_of_its_cluster_and_its_topic() {
    let brokers = Brokers::start(1).topic("ecs", 3);
    let at = brokers.addresses();
    let port = at.rsplit(':').next().unwrap();
    let ended = tried(&format!("kafka: {{hosts: ['{at}'], topic: ecs}}\n")).await;
    check("kafka", &ended, 0, &[(port, "PORT")]);
    brokers.topic_error("ecs", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    let ended = tried(&format!("kafka: {{hosts: ['{at}'], topic: ecs}}\n")).await;
    check("kafka-no-topic", &ended, 0, &[(port, "PORT")]);
    drop(brokers);
    let ended = tried(&format!("kafka: {{hosts: ['{at}'], topic: ecs, timeout: 2s}}\n")).await;
    check("kafka-refused", &ended, 1, &[(port, "PORT")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_private_authority_and_with_another_one() {
    let tls = || Config {
        tls: true,
        ..Config::for_tests()
    };
    let (bulk, port) = server(tls()).await;
    let other = rcgen::generate_simple_self_signed(["other".to_owned()])
        .unwrap()
        .cert
        .pem();
    for (name, code, authority, more) in [
        ("tls", 0, bulk.ca_pem().unwrap(), ""),
        ("tls-wrong-authority", 1, &*other, ""),
        ("tls-unverified", 0, &*other, ", verification_mode: none"),
    ] {
        let home = Home::new();
        let ca = home.write("ca.pem", authority);
        home.configure(&format!(
            "{SETTINGS}output.elasticsearch:\n  hosts: ['{}']\n  ssl: {{certificate_authorities: ['{}']{more}}}\n",
            bulk.url(),
            ca.display()
        ));
        let ended = home.run(&["test", "output"]).await;
        check(name, &ended, code, &[(&port, "PORT")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_at_its_step() {
    let (bulk, port) = server(Config {
        account: Some("elastic:right".to_owned()),
        ..Config::for_tests()
    })
    .await;
    let hosts = format!("hosts: ['{}']", bulk.url());
    let account = "username: elastic, password: CANARY-wrong";
    let ended = tried(&format!("elasticsearch: {{{hosts}, {account}}}\n")).await;
    check("wrong-password", &ended, 1, &[(&port, "PORT")]);

    bulk.set(BulkRule::always(BulkFault::Refuse));
    let ended = tried(&format!("elasticsearch: {{{hosts}}}\n")).await;
    check("refused", &ended, 1, &[(&port, "PORT")]);

    let ended = tried("elasticsearch.hosts: ['http://no-such-host.invalid:9200']\n").await;
    check("name-not-found", &ended, 1, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logstash_is_reached_and_hears_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let output = format!("logstash.hosts: ['{host}']\n");
    let (heard, ended) = tokio::join!(
        async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            connection.read_to_end(&mut bytes).await.unwrap();
            bytes
        },
        tried(&output)
    );
    check("logstash", &ended, 0, &[(&host, "HOST")]);
    assert!(heard.is_empty(), "{heard:?}");
}

/// An HTTP proxy that leads everything to one server.
struct Forwarder {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Forwarder {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(Self::forward(client, server));
            }
        });
        Self { address, _task: task }
    }

    async fn forward(client: TcpStream, server: SocketAddr) {
        let mut client = BufReader::new(client);
        let mut line = String::new();
        let read = client.read_line(&mut line).await;
        // Whoever only looks whether the proxy is there sends nothing.
        if !read.is_ok_and(|count| count > 0) {
            return;
        }
        let mut server = TcpStream::connect(server).await.unwrap();
        let mut words = line.split(' ');
        match (words.next().unwrap(), words.next().unwrap()) {
            ("CONNECT", _) => {
                while line.trim() != "" {
                    line.clear();
                    client.read_line(&mut line).await.unwrap();
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            }
            (method, url) => {
                assert!(
                    url.starts_with("http://es.invalid:9200/"),
                    "not for a proxy: {line}"
                );
                let path = url.trim_start_matches("http://es.invalid:9200");
                server
                    .write_all(format!("{method} {path} HTTP/1.1\r\n").as_bytes())
                    .await
                    .unwrap();
            }
        }
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_proxies_of_the_settings_and_of_the_environment() {
    let (bulk, _) = server(Config::for_tests()).await;
    let proxy = Forwarder::to(bulk.address()).await;
    let at = proxy.address.to_string();
    let replaced = [(at.as_str(), "PROXY")];
    let hosts = "hosts: ['http://es.invalid:9200']";
    let ended = tried(&format!(
        "elasticsearch: {{{hosts}, proxy_url: 'http://me:CANARY@{at}'}}\n"
    ))
    .await;
    check("proxy", &ended, 0, &replaced);
    let home = home(&format!("elasticsearch: {{{hosts}}}\n"));
    let with_environment = |name: &str, value: &str| {
        let mut command = home.command(&["test", "output"]);
        command.env(name, value);
        Process::spawn(command)
    };
    let ended = with_environment("http_proxy", &at).ended(SOON).await;
    check("proxy", &ended, 0, &replaced);

    let (tls, port) = server(Config {
        tls: true,
        ..Config::for_tests()
    })
    .await;
    let proxy = Forwarder::to(tls.address()).await;
    let at = proxy.address.to_string();
    let secure = Home::new();
    let ca = secure.write("ca.pem", tls.ca_pem().unwrap());
    secure.configure(&format!(
        "{SETTINGS}output.elasticsearch:\n  hosts: ['{}']\n  proxy_url: 'http://{at}'\n  \
         ssl.certificate_authorities: ['{}']\n",
        tls.url(),
        ca.display()
    ));
    let ended = secure.run(&["test", "output"]).await;
    check("proxy-tunnel", &ended, 0, &[(&at, "PROXY"), (&port, "PORT")]);

    bulk.set(BulkRule::always(BulkFault::Refuse));
    let refusing = bulk.address().to_string();
    let ended = with_environment("HTTP_PROXY", &format!("http://me:CANARY@{refusing}"))
        .ended(SOON)
        .await;
    check("proxy-refused", &ended, 1, &[(&refusing, "PROXY")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_the_console() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap().to_owned();
    let try_path = |path: String| async move { tried(&format!("file: {{path: '{path}'}}\n")).await };
    let levelled = [(root.as_str(), "/ROOT")];
    check("file", &try_path(root.clone()).await, 0, &levelled);
    check(
        "file-directory-missing",
        &try_path(format!("{root}/a/b")).await,
        0,
        &levelled,
    );
    let left: Vec<_> = fs::read_dir(&root).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    fs::write(directory.path().join("taken"), "").unwrap();
    check(
        "file-no-directory",
        &try_path(format!("{root}/taken/below")).await,
        1,
        &levelled,
    );
    // Nobody writes there, not even root.
    symlink("/proc", directory.path().join("elsewhere")).unwrap();
    let ended = try_path(format!("{root}/elsewhere")).await;
    assert!(
        ended
            .expect(1)
            .stdout
            .contains("  write... ERROR cannot write in "),
        "{}",
        ended.stdout
    );

    let ended = tried("console.pretty: true\n").await;
    check("console", &ended, 0, &[]);
    let ended = tried(&format!("console: ~\noutput.file.path: '{root}/taken'\n")).await;
    check("two", &ended, 1, &levelled);
}

/// What the command prints on a terminal.
async fn on_a_terminal(home: &Home, environment: &[(&str, &str)]) -> String {
    let mut command = home.command(&["test", "output"]);
    command.envs(environment.iter().copied());
    let (status, text) = Terminal::start(command, On::Stdout).ended().await;
    assert!(status.success(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_are_for_terminals_that_want_them() {
    let home = home("console: ~\n");
    let plain = "console...\r\n  standard output... OK\r\n";
    let colour = plain.replace("OK", "\x1b[32mOK\x1b[0m");
    assert_eq!(on_a_terminal(&home, &[("TERM", "xterm")]).await, colour);
    assert_eq!(on_a_terminal(&home, &[("NO_COLOR", "1")]).await, plain);
    assert_eq!(on_a_terminal(&home, &[("TERM", "dumb")]).await, plain);
}
