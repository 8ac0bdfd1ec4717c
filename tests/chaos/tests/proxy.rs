//! Each fault, seen from both sides.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on"
)]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaos::{Chaos, Fault, Identity, Rule};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server that answers every line with `ok: ` and that line, and records what came over each connection.
struct Upstream {
    address: SocketAddr,
    record: Arc<Mutex<Vec<Received>>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Received {
    bytes: Vec<u8>,
    /// How it ended, once it has.
    end: Option<Result<(), ErrorKind>>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Mutex::new(Vec::new()));
        let recording = Arc::clone(&record);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let record = Arc::clone(&recording);
                let number = {
                    let mut record = record.lock().unwrap();
                    record.push(Received::default());
                    record.len() - 1
                };
                connections.spawn(serve(stream, number, record));
            }
        });
        Self {
            address,
            record,
            _tasks: tasks,
        }
    }

    fn received(&self) -> Vec<Received> {
        self.record.lock().unwrap().clone()
    }

    /// What came over a connection, as text.
    fn text(&self, connection: usize) -> String {
        String::from_utf8(self.received()[connection].bytes.clone()).unwrap()
    }

    async fn ended(&self, connection: usize) -> Result<(), ErrorKind> {
        eventually(|| self.received().get(connection)?.end).await
    }
}

async fn serve(mut stream: TcpStream, number: usize, record: Arc<Mutex<Vec<Received>>>) {
    let (mut line, mut byte) = (Vec::new(), [0]);
    let end = loop {
        match stream.read(&mut byte).await {
            Ok(0) => break Ok(()),
            Err(error) => break Err(error.kind()),
            Ok(_) => {}
        }
        record.lock().unwrap()[number].bytes.push(byte[0]);
        line.push(byte[0]);
        if byte == *b"\n" {
            let answer = [b"ok: ", &line[..]].concat();
            line.clear();
            if let Err(error) = stream.write_all(&answer).await {
                break Err(error.kind());
            }
        }
    };
    record.lock().unwrap()[number].end = Some(end);
}

async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it never happens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn world() -> (Upstream, Chaos) {
    let upstream = Upstream::start().await;
    let chaos = Chaos::start(upstream.address).await.unwrap();
    (upstream, chaos)
}

async fn connect(chaos: &Chaos) -> TcpStream {
    TcpStream::connect(chaos.address()).await.unwrap()
}

/// Sends a line and takes the answer.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, line: &str) -> Result<String, ErrorKind> {
    let sent = stream.write_all(format!("{line}\n").as_bytes()).await;
    sent.map_err(|error| error.kind())?;
    answer(stream).await
}

/// The rest of a line, or how the connection ended.
async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<String, ErrorKind> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    loop {
        match stream.read(&mut byte).await {
            Ok(0) => return Err(ErrorKind::UnexpectedEof),
            Err(error) => return Err(error.kind()),
            Ok(_) if byte == *b"\n" => return Ok(String::from_utf8(text).unwrap()),
            Ok(_) => text.push(byte[0]),
        }
    }
}

const RESET: Result<String, ErrorKind> = Err(ErrorKind::ConnectionReset);

fn ok(line: &str) -> Result<String, ErrorKind> {
    Ok(format!("ok: {line}"))
}

#[tokio::test]
async fn everything_passes_and_is_counted() {
    let (upstream, chaos) = world().await;
    let mut first = connect(&chaos).await;
    let mut second = connect(&chaos).await;
    assert_eq!(ask(&mut first, "one").await, ok("one"));
    assert_eq!(ask(&mut second, "two").await, ok("two"));
    first.shutdown().await.unwrap();
    assert_eq!(answer(&mut first).await, Err(ErrorKind::UnexpectedEof));
    eventually(|| (chaos.counts().open == 1).then_some(())).await;
    assert_eq!(ask(&mut second, "three").await, ok("three"));
    let counts = chaos.counts();
    assert_eq!((counts.connections, counts.most_open), (2, 2));
    assert_eq!((counts.to_upstream, counts.to_clients), (14, 26));
    assert_eq!(upstream.text(0), "one\n");
    assert_eq!(upstream.ended(0).await, Ok(()));
    drop(second);
    assert_eq!(upstream.ended(1).await, Ok(()));
}

#[tokio::test]
async fn a_closed_port_refuses_and_opens_again() {
    let (upstream, chaos) = world().await;
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, "one").await, ok("one"));
    chaos.set(Fault::Refuse);
    assert_eq!(answer(&mut client).await, RESET);
    assert_eq!(upstream.ended(0).await, Err(ErrorKind::ConnectionReset));
    let refused = TcpStream::connect(chaos.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    chaos.pass();
    let begin = Instant::now();
    let mut client = loop {
        match TcpStream::connect(chaos.address()).await {
            Ok(client) => break client,
            Err(_) => assert!(begin.elapsed() < Duration::from_secs(30), "it stays closed"),
        }
    };
    assert_eq!(ask(&mut client, "two").await, ok("two"));
}

#[tokio::test]
async fn a_request_is_cut_off_at_its_byte() {
    let (upstream, chaos) = world().await;
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, "before").await, ok("before"));
    chaos.set(Fault::ResetAfter { bytes: 5 });
    // A request that ends sooner is answered.
    assert_eq!(ask(&mut client, "123").await, ok("123"));
    assert_eq!(ask(&mut client, "4567890").await, RESET);
    assert_eq!(upstream.ended(0).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(upstream.text(0), "before\n123\n4");
    assert_eq!(chaos.struck(), 1);
    // Counted anew on the next connection, and of one byte of many.
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, &"x".repeat(100_000)).await, RESET);
    assert_eq!(upstream.ended(1).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(upstream.text(1), "xxxxx");
    assert_eq!(chaos.struck(), 2);
    assert_eq!(chaos.counts().to_upstream, 11, "of those that were not cut off");
}

#[tokio::test]
async fn the_second_connection_is_cut_off_once() {
    let (upstream, chaos) = world().await;
    chaos.set(Rule::from(Fault::ResetAfter { bytes: 0 }).skip(1).times(1));
    let mut clients = Vec::new();
    for expected in [ok("a"), RESET, ok("a")] {
        let mut client = connect(&chaos).await;
        assert_eq!(ask(&mut client, "a").await, expected);
        clients.push(client);
    }
    assert_eq!(ask(&mut clients[2], "b").await, ok("b"));
    assert_eq!(upstream.text(1), "");
    assert_eq!(chaos.struck(), 1);
}

#[tokio::test]
async fn a_connection_that_was_let_pass_is_not_looked_at_again() {
    let (_upstream, chaos) = world().await;
    chaos.set(Rule::from(Fault::ResetAfter { bytes: 0 }).skip(1));
    let mut first = connect(&chaos).await;
    assert_eq!(ask(&mut first, "a").await, ok("a"));
    assert_eq!(ask(&mut first, "b").await, ok("b"));
    assert_eq!(ask(&mut connect(&chaos).await, "a").await, RESET);
}

#[tokio::test]
async fn an_answer_is_lost_and_its_request_is_not() {
    let (upstream, chaos) = world().await;
    chaos.set(Rule::from(Fault::lose_answer("put")).skip(1).times(1));
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, "get").await, ok("get"));
    assert_eq!(ask(&mut client, "put 1").await, ok("put 1"), "skipped");
    assert_eq!(ask(&mut client, "get").await, ok("get"));
    // Two requests at once: both arrive, though the first answer is lost already.
    assert_eq!(ask(&mut client, "put 2\nput 3").await, RESET);
    assert_eq!(
        upstream.ended(0).await,
        Ok(()),
        "for the upstream it ends in order"
    );
    assert_eq!(upstream.text(0), "get\nput 1\nget\nput 2\nput 3\n");
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, "put 4").await, ok("put 4"));
    assert_eq!(chaos.struck(), 1);
    eventually(|| (chaos.counts().open == 1).then_some(())).await;
}

#[tokio::test]
async fn an_answer_is_replaced_and_nothing_follows() {
    let (upstream, chaos) = world().await;
    chaos.set(Fault::garbage("put", "\0\u{1}no\n"));
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, "get").await, ok("get"));
    assert_eq!(ask(&mut client, "put").await, Ok("\0\u{1}no".to_owned()));
    client.write_all(b"get\n").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(answer(&mut client).await, Err(ErrorKind::UnexpectedEof));
    assert_eq!(upstream.text(0), "get\nput\nget\n");
    assert_eq!(chaos.counts().to_clients, 8);
}

#[tokio::test]
async fn pieces_make_up_the_whole() {
    let (upstream, chaos) = world().await;
    chaos.set(Fault::Pieces { bytes: 1 });
    let mut client = connect(&chaos).await;
    let long = "0123456789".repeat(100);
    assert_eq!(ask(&mut client, &long).await, ok(&long));
    assert_eq!(upstream.text(0), format!("{long}\n"));
}

#[tokio::test]
async fn a_half_open_time_swallows_everything_and_resets_who_lost_something() {
    let (upstream, chaos) = world().await;
    let mut sender = connect(&chaos).await;
    let mut quiet = connect(&chaos).await;
    let mut leaver = connect(&chaos).await;
    for client in [&mut sender, &mut quiet, &mut leaver] {
        assert_eq!(ask(client, "before").await, ok("before"));
    }
    chaos.set(Fault::HalfOpen);
    sender.write_all(b"lost\n").await.unwrap();
    drop(leaver);
    let mut late = connect(&chaos).await;
    late.write_all(b"lost too\n").await.unwrap();
    eventually(|| (chaos.struck() == 2 && chaos.counts().connections == 4).then_some(())).await;
    let ends: Vec<_> = upstream
        .received()
        .into_iter()
        .map(|received| received.end)
        .collect();
    assert_eq!(
        ends,
        [None, None, None],
        "not even the end of the one that left is told"
    );
    chaos.pass();
    assert_eq!(answer(&mut sender).await, RESET);
    assert_eq!(answer(&mut late).await, RESET);
    assert_eq!(ask(&mut quiet, "after").await, ok("after"));
    for lost in [0, 2] {
        assert_eq!(upstream.ended(lost).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(upstream.text(lost), "before\n");
    }
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn idle_connections_are_closed_and_others_are_not() {
    let (upstream, chaos) = world().await;
    let mut idle = connect(&chaos).await;
    assert_eq!(ask(&mut idle, "one").await, ok("one"));
    let mut waiting = connect(&chaos).await;
    waiting.write_all(b"tw").await.unwrap();
    eventually(|| (upstream.received().get(1)?.bytes.len() == 2).then_some(())).await;
    chaos.close_idle();
    assert_eq!(answer(&mut idle).await, Err(ErrorKind::UnexpectedEof));
    assert_eq!(upstream.ended(0).await, Ok(()));
    assert_eq!(ask(&mut waiting, "o").await, ok("two"));
    // It was not idle at that time, and was not told to end later.
    assert_eq!(ask(&mut waiting, "three").await, ok("three"));
}

#[tokio::test]
async fn every_connection_is_reset_once() {
    let (upstream, chaos) = world().await;
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, "one").await, ok("one"));
    chaos.reset_all();
    assert_eq!(answer(&mut client).await, RESET);
    assert_eq!(upstream.ended(0).await, Err(ErrorKind::ConnectionReset));
    let mut client = connect(&chaos).await;
    assert_eq!(ask(&mut client, "two").await, ok("two"));
}

#[tokio::test]
async fn the_second_connection_is_hung_up_on() {
    let (upstream, chaos) = world().await;
    chaos.set(Rule::from(Fault::Hangup).skip(1).times(1));
    let mut first = connect(&chaos).await;
    assert_eq!(ask(&mut first, "one").await, ok("one"));
    let mut second = connect(&chaos).await;
    assert_eq!(answer(&mut second).await, RESET);
    assert_eq!(ask(&mut first, "two").await, ok("two"));
    let mut third = connect(&chaos).await;
    assert_eq!(ask(&mut third, "three").await, ok("three"));
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn without_an_upstream_clients_are_reset() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let chaos = Chaos::start(nobody.local_addr().unwrap()).await.unwrap();
    drop(nobody);
    let mut client = connect(&chaos).await;
    assert_eq!(answer(&mut client).await, RESET);
    assert_eq!(chaos.counts().without_upstream, 1);
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (
            params.signed_by(&key, &self.0).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    fn identity(&self, clients: Option<&Self>) -> Identity {
        let (chain, key) = self.issue("chaos.test");
        Identity::new(&chain, &key, clients.map(|clients| clients.0.pem()).as_deref()).unwrap()
    }
}

async fn tls(
    chaos: &Chaos,
    trusted: &Authority,
    shown: Option<(String, String)>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let pem = trusted.0.pem();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from("chaos.test").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, connect(chaos).await)
        .await
}

#[tokio::test]
async fn the_certificate_is_exchanged_while_connections_stay() {
    let (upstream, chaos) = world().await;
    let (old, new) = (Authority::new(), Authority::new());
    chaos.show(Some(old.identity(None)));
    let mut before = tls(&chaos, &old, None).await.unwrap();
    assert_eq!(ask(&mut before, "one").await, ok("one"));
    chaos.show(Some(new.identity(None)));
    assert_eq!(ask(&mut before, "two").await, ok("two"));
    let error = tls(&chaos, &old, None).await.unwrap_err();
    assert!(
        error.to_string().starts_with("invalid peer certificate"),
        "{error}"
    );
    eventually(|| (chaos.counts().failed_handshakes == 1).then_some(())).await;
    let mut after = tls(&chaos, &new, None).await.unwrap();
    assert_eq!(ask(&mut after, "three").await, ok("three"));
    chaos.show(None);
    let mut plain = connect(&chaos).await;
    assert_eq!(ask(&mut plain, "four").await, ok("four"));
    assert_eq!(upstream.text(0), "one\ntwo\n", "the upstream sees no TLS");
    // An orderly end is one for TLS, too; a reset is none.
    chaos.close_idle();
    assert_eq!(after.read(&mut [0]).await.unwrap(), 0);
    let mut last = connect(&chaos).await;
    assert_eq!(ask(&mut last, "five").await, ok("five"));
    chaos.reset_all();
    assert_eq!(answer(&mut last).await, RESET);
}

#[tokio::test]
async fn clients_are_asked_for_a_certificate() {
    let (upstream, chaos) = world().await;
    let (own, clients) = (Authority::new(), Authority::new());
    chaos.show(Some(own.identity(Some(&clients))));
    let mut known = tls(&chaos, &own, Some(clients.issue("beat"))).await.unwrap();
    assert_eq!(ask(&mut known, "one").await, ok("one"));
    for shown in [None, Some(own.issue("beat"))] {
        // In TLS 1.3 the client is done before the server has looked.
        let mut stream = tls(&chaos, &own, shown).await.unwrap();
        ask(&mut stream, "two").await.unwrap_err();
    }
    eventually(|| (chaos.counts().failed_handshakes == 2).then_some(())).await;
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn certificates_that_cannot_be_used_are_told() {
    let authority = Authority::new();
    let (chain, key) = authority.issue("chaos.test");
    let (_, other) = authority.issue("chaos.test");
    for (chain, key, clients, words) in [
        ("", &*key, None, "the certificate"),
        (&*chain, "text", None, "the key"),
        (&*chain, &*other, None, "the certificate and its key"),
        (&*chain, &*key, Some(""), "the authority of clients"),
    ] {
        let error = Identity::new(chain, key, clients).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}
