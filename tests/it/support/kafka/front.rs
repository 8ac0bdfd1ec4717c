//! What stands before brokers: TLS, logins, fencing, messages that are refused, and answers that do not come.
//!
//! Owns [`Front`]: it takes the connections of clients in place of each broker, passes their requests on one after the
//! other, and puts its own addresses into the answers, so that clients come back to it. What the brokers behind it
//! cannot do, it does by Kafka's rules: a producer whose transactional id was initialised anew is refused, and what one
//! producer writes again is not written twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::types::RDKafkaApiKey as Api;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::produce;
use super::sasl::{Login, Users};
use crate::support::authority::{Authority, Pair};

/// `INVALID_PRODUCER_EPOCH`: the answer to a producer that was shut out, up to version 1 of the requests.
const SHUT_OUT: i16 = 47;

/// A name takes the place of the brokers' own in their answers, so it is as long as that.
const LETTERS: usize = "127.0.0.1".len();

/// What is to be done with the next request of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It is passed on when [`Front::release`] is called.
    Hold,
    /// It is passed on, and the connection is cut before the answer.
    Cut,
    /// It is passed on, and the connection stays without an answer, to this and to all that follow.
    Swallow,
}

/// In front of each broker.
pub(crate) struct Front {
    addresses: String,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

/// What differs from just passing on.
#[derive(Default)]
pub(crate) struct Builder {
    tls: Option<TlsAcceptor>,
    users: Option<Users>,
    fencing: bool,
    nameless: bool,
    /// The name that clients are to call instead of 127.0.0.1; as long as that.
    name: Option<&'static str>,
}

/// What producers have written, by their sequence numbers.
#[derive(Default)]
struct Recognised {
    written: BTreeSet<produce::Batch>,
    /// How many batches came again.
    times: usize,
}

/// What messages are refused for.
struct Refusal {
    marks: Vec<String>,
    tells: bool,
}

#[derive(Default)]
struct State {
    tls: Option<TlsAcceptor>,
    users: Option<Users>,
    fencing: bool,
    nameless: bool,
    /// What a broker is called in answers, and what clients are to read.
    renamed: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
    /// The newest producer of each transactional id.
    producers: Mutex<BTreeMap<String, i64>>,
    deeds: Mutex<Vec<(i16, Deed)>>,
    held: Notify,
    released: Notify,
    recognised: Mutex<Recognised>,
    refusal: Mutex<Option<Refusal>>,
    /// How many messages each batch had that was refused.
    refusals: Mutex<Vec<usize>>,
    /// Kinds of the requests that were passed on.
    passed: Mutex<Vec<i16>>,
    logins: Mutex<BTreeSet<String>>,
    open: AtomicUsize,
}

impl Builder {
    /// TLS only, with this certificate.
    #[must_use]
    pub(crate) fn tls(mut self, pair: &Pair) -> Self {
        self.tls = Some(acceptor(pair, None));
        self
    }

    /// TLS only, with this certificate, and only for those who have one of `clients`.
    #[must_use]
    pub(crate) fn tls_among(mut self, pair: &Pair, clients: &Authority) -> Self {
        self.tls = Some(acceptor(pair, Some(clients)));
        self
    }

    /// Nobody gets in who does not log in as this user.
    #[must_use]
    pub(crate) fn user(mut self, mechanism: &'static str, name: &str, password: &str) -> Self {
        self.users = Some(Users::new(mechanism, name, password));
        self
    }

    /// Producers shut each other out.
    #[must_use]
    pub(crate) fn fencing(mut self) -> Self {
        self.fencing = true;
        self
    }

    /// The cluster has no id.
    #[must_use]
    pub(crate) fn nameless(mut self) -> Self {
        self.nameless = true;
        self
    }

    /// Clients are sent to this name, which has nine letters.
    #[must_use]
    pub(crate) fn name(mut self, name: &'static str) -> Self {
        assert_eq!(name.len(), LETTERS, "{name:?}");
        self.name = Some(name);
        self
    }

    /// Takes a place in front of each of `brokers`.
    pub(crate) async fn before(self, brokers: &str) -> Front {
        let mut places = Vec::new();
        for broker in brokers.split(',') {
            let broker: SocketAddr = broker.parse().unwrap();
            places.push((TcpListener::bind("127.0.0.1:0").await.unwrap(), broker));
        }
        let name = self.name.unwrap_or("127.0.0.1");
        let renamed = places.iter().map(|(listener, broker)| {
            let port = listener.local_addr().unwrap().port();
            (place("127.0.0.1", broker.port()), place(name, port))
        });
        let state = Arc::new(State {
            renamed: Mutex::new(renamed.collect()),
            tls: self.tls,
            users: self.users,
            fencing: self.fencing,
            nameless: self.nameless,
            ..State::default()
        });
        let addresses: Vec<String> = places
            .iter()
            .map(|(listener, _)| format!("{name}:{}", listener.local_addr().unwrap().port()))
            .collect();
        let mut tasks = JoinSet::new();
        for (listener, broker) in places {
            tasks.spawn(accept(listener, broker, Arc::clone(&state)));
        }
        Front {
            addresses: addresses.join(","),
            state,
            _tasks: tasks,
        }
    }
}

/// Shows the certificate of `pair`, and asks for one of `clients`, where that is given.
fn acceptor(pair: &Pair, clients: Option<&Authority>) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder
        .with_single_cert(
            chain.collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// An address as answers have it: the host's letters and the port in four bytes.
fn place(host: &str, port: u16) -> Vec<u8> {
    [host.as_bytes(), &i32::from(port).to_be_bytes()].concat()
}

impl Front {
    pub(crate) fn addresses(&self) -> &str {
        &self.addresses
    }

    /// There is something in front of this again: clients are sent to `host:port` for each broker. The host has nine
    /// letters.
    pub(crate) fn behind(&self, host: &str, port: u16) {
        assert_eq!(host.len(), LETTERS, "{host:?}");
        for (_, ours) in &mut *self.state.renamed.lock().unwrap() {
            *ours = place(host, port);
        }
    }

    /// Does this with the next request of the kind.
    pub(crate) fn once(&self, requests: Api, deed: Deed) {
        self.state.deeds.lock().unwrap().push((key(requests), deed));
    }

    /// Refuses every batch with a message that holds one of these texts, as a broker does that `tells` which messages it
    /// means, or one before 2.4.
    pub(crate) fn refuse(&self, marks: &[&str], tells: bool) {
        *self.state.refusal.lock().unwrap() = Some(Refusal {
            marks: marks.iter().map(|&mark| mark.to_owned()).collect(),
            tells,
        });
    }

    /// How many messages each batch had that was refused.
    pub(crate) fn refusals(&self) -> Vec<usize> {
        self.state.refusals.lock().unwrap().clone()
    }

    /// Waits until a request is held.
    pub(crate) async fn holds(&self) {
        self.state.held.notified().await;
    }

    /// Passes on what is held.
    pub(crate) fn release(&self) {
        self.state.released.notify_one();
    }

    /// How many requests of this kind were passed on.
    pub(crate) fn passed(&self, requests: Api) -> usize {
        let passed = self.state.passed.lock().unwrap();
        passed.iter().filter(|passed| **passed == key(requests)).count()
    }

    /// How many batches were written again by the producer that had written them, and taken once.
    pub(crate) fn recognised(&self) -> usize {
        self.state.recognised.lock().unwrap().times
    }

    /// How many connections there are. One whose request is held does not notice that the client hung up.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// The mechanisms that somebody logged in with.
    pub(crate) fn logins(&self) -> BTreeSet<String> {
        self.state.logins.lock().unwrap().clone()
    }
}

/// The number of a kind of request: <https://kafka.apache.org/protocol#protocol_api_keys>.
pub(super) fn key(api: Api) -> i16 {
    match api {
        Api::Produce => 0,
        Api::Metadata => 3,
        Api::FindCoordinator => 10,
        Api::SaslHandshake => 17,
        Api::ApiVersion => 18,
        Api::InitProducerId => 22,
        Api::AddPartitionsToTxn => 24,
        Api::EndTxn => 26,
        Api::SaslAuthenticate => 36,
        other => panic!("{other:?} is not known here"),
    }
}

async fn accept(listener: TcpListener, broker: SocketAddr, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            state.open.fetch_add(1, Ordering::SeqCst);
            let upstream = TcpStream::connect(broker).await;
            // Whoever hangs up has no more to say.
            let _ = match (&state.tls, upstream) {
                (_, Err(error)) => Err(error),
                (None, Ok(upstream)) => pass(stream, upstream, &state).await,
                (Some(tls), Ok(upstream)) => match tls.clone().accept(stream).await {
                    Ok(stream) => pass(stream, upstream, &state).await,
                    Err(error) => Err(error),
                },
            };
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Passes requests on, one after the other, until somebody hangs up.
async fn pass(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut upstream: TcpStream,
    state: &State,
) -> io::Result<()> {
    let mut login = state.users.as_ref().map(Login::begin);
    loop {
        let request = frame(&mut client).await?;
        let parsed = Request::of(&request);
        if let Some(login) = login.as_mut().filter(|login| !login.is_done())
            && parsed.key != key(Api::ApiVersion)
        {
            let Some(answer) = login.answer(parsed.key, parsed.body()) else {
                return Ok(());
            };
            if login.is_done() {
                state.logins.lock().unwrap().insert(login.mechanism().to_owned());
            }
            answer_with(&mut client, &request, &answer).await?;
            continue;
        }
        if let Some(answer) = state.refused(&parsed) {
            answer_with(&mut client, &request, &answer).await?;
            continue;
        }
        let deed = state.deed(parsed.key);
        if deed == Some(Deed::Hold) {
            state.held.notify_one();
            state.released.notified().await;
            // Meanwhile another producer may have begun.
            if let Some(answer) = state.refused(&parsed) {
                answer_with(&mut client, &request, &answer).await?;
                continue;
            }
        }
        if let Some(answer) = state.unwanted(&parsed) {
            answer_with(&mut client, &request, &answer).await?;
            continue;
        }
        if let Some(answer) = state.recognised(&parsed) {
            answer_with(&mut client, &request, &answer).await?;
            continue;
        }
        state.passed.lock().unwrap().push(parsed.key);
        send(&mut upstream, &request).await?;
        let mut answer = frame(&mut upstream).await?;
        state.learn(&parsed, &answer);
        match deed {
            Some(Deed::Cut) => return Ok(()),
            // Until the client hangs up.
            Some(Deed::Swallow) => loop {
                frame(&mut client).await?;
            },
            Some(Deed::Hold) | None => {}
        }
        if login.is_some() && parsed.key == key(Api::ApiVersion) {
            Login::announce(parsed.version, &mut answer);
        }
        for (theirs, ours) in &*state.renamed.lock().unwrap() {
            replace(&mut answer, theirs, ours);
        }
        if state.nameless && parsed.key == key(Api::Metadata) {
            take_id(&mut answer);
        }
        send(&mut client, &answer).await?;
    }
}

/// Takes the cluster's id out of an answer with compact texts, whose length is one more than said.
fn take_id(answer: &mut Vec<u8>) {
    let start = memchr::memmem::find(answer, b"mockCluster").expect("the mock cluster's id");
    let length = usize::from(answer[start - 1]) - 1;
    answer.splice(start - 1..start + length, [0]);
}

impl State {
    fn deed(&self, key: i16) -> Option<Deed> {
        let mut deeds = self.deeds.lock().unwrap();
        let place = deeds.iter().position(|(of, _)| *of == key)?;
        Some(deeds.remove(place).1)
    }

    /// The answer to a producer that writes what is refused.
    fn unwanted(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        let refusal = self.refusal.lock().unwrap();
        let refusal = refusal.as_ref()?;
        let records = produce::records(request)?;
        let is_bad = |place: &usize| {
            let mut marks = refusal.marks.iter();
            marks.any(|mark| memchr::memmem::find(records[*place], mark.as_bytes()).is_some())
        };
        let bad: Vec<usize> = (0..records.len()).filter(is_bad).collect();
        if bad.is_empty() {
            return None;
        }
        self.refusals.lock().unwrap().push(records.len());
        let named: &[usize] = if refusal.tells { &bad[..] } else { &[] };
        Some(produce::refused(request, named))
    }

    /// The answer to a producer that writes what it has written before, each batch of it.
    fn recognised(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        let batches = produce::batches(request)?;
        let mut recognised = self.recognised.lock().unwrap();
        let known = batches.iter().all(|batch| recognised.written.contains(batch));
        if !known || batches.is_empty() {
            return None;
        }
        recognised.times += batches.len();
        Some(produce::duplicate(request))
    }

    /// Remembers who is the newest producer of an id, and what was written.
    fn learn(&self, request: &Request<'_>, answer: &[u8]) {
        if let Some(batches) = produce::batches(request)
            && produce::is_taken(request, answer)
        {
            self.recognised.lock().unwrap().written.extend(batches);
        }
        if request.key != key(Api::InitProducerId) {
            return;
        }
        // From version 2 on with tagged fields behind the correlation, of which there are none.
        let start = if request.version >= 2 { 5 } else { 4 };
        let error = i16::from_be_bytes(answer[start + 4..start + 6].try_into().unwrap());
        let producer = i64::from_be_bytes(answer[start + 6..start + 14].try_into().unwrap());
        if let (0, Some(id)) = (error, request.transactional_id()) {
            self.producers.lock().unwrap().insert(id, producer);
        }
    }

    /// The answer to a producer that is not the newest of its id.
    fn refused(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        let ends = request.key == key(Api::EndTxn);
        if !self.fencing || !(ends || request.key == key(Api::AddPartitionsToTxn)) {
            return None;
        }
        assert!(
            request.version <= 1,
            "version {} is not known here",
            request.version
        );
        let mut body = Fields(request.body());
        let (id, producer, _epoch) = (body.text(), body.i64(), body.i16());
        if self.producers.lock().unwrap().get(&id) == Some(&producer) {
            return None;
        }
        let mut answer = 0_i32.to_be_bytes().to_vec();
        if ends {
            answer.extend(SHUT_OUT.to_be_bytes());
            return Some(answer);
        }
        // An error for each partition of each topic.
        let topics = body.i32();
        answer.extend(topics.to_be_bytes());
        for _ in 0..topics {
            let name = body.text();
            answer.extend(i16::try_from(name.len()).unwrap().to_be_bytes());
            answer.extend(name.as_bytes());
            let partitions = body.i32();
            answer.extend(partitions.to_be_bytes());
            for _ in 0..partitions {
                answer.extend(body.i32().to_be_bytes());
                answer.extend(SHUT_OUT.to_be_bytes());
            }
        }
        Some(answer)
    }
}

/// The head of a request: <https://kafka.apache.org/protocol#protocol_messages>.
pub(super) struct Request<'r> {
    pub(super) key: i16,
    pub(super) version: i16,
    /// From the client's name on.
    rest: &'r [u8],
}

impl<'r> Request<'r> {
    fn of(request: &'r [u8]) -> Self {
        let mut fields = Fields(request);
        let (key, version, _correlation) = (fields.i16(), fields.i16(), fields.i32());
        Self {
            key,
            version,
            rest: fields.0,
        }
    }

    /// Behind the client's name, in versions without tagged fields.
    pub(super) fn body(&self) -> &'r [u8] {
        let mut fields = Fields(self.rest);
        fields.text();
        fields.0
    }

    /// Of a request to initialise a producer.
    fn transactional_id(&self) -> Option<String> {
        let mut fields = Fields(self.body());
        if self.version < 2 {
            return fields.maybe_text();
        }
        assert_eq!(fields.u8(), 0, "no tagged fields are known");
        match fields.u8() {
            0 => None,
            length => Some(String::from_utf8(fields.bytes(usize::from(length) - 1).to_vec()).unwrap()),
        }
    }
}

/// Reads fields one after the other.
pub(super) struct Fields<'f>(pub(super) &'f [u8]);

impl<'f> Fields<'f> {
    pub(super) fn bytes(&mut self, count: usize) -> &'f [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    fn u8(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub(super) fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes(2).try_into().unwrap())
    }

    pub(super) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes(4).try_into().unwrap())
    }

    pub(super) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.bytes(8).try_into().unwrap())
    }

    pub(super) fn maybe_text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()).ok()?;
        Some(String::from_utf8(self.bytes(length).to_vec()).unwrap())
    }

    pub(super) fn text(&mut self) -> String {
        self.maybe_text().unwrap_or_default()
    }
}

async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await?).unwrap();
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    stream.write_i32(i32::try_from(frame.len()).unwrap()).await?;
    stream.write_all(frame).await?;
    stream.flush().await
}

/// Answers a request by ourselves.
async fn answer_with(
    client: &mut (impl AsyncWrite + Unpin),
    request: &[u8],
    answer: &[u8],
) -> io::Result<()> {
    let correlation = &request[4..8];
    send(client, &[correlation, answer].concat()).await
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let mut start = 0;
    while let Some(found) = memchr::memmem::find(&bytes[start..], from) {
        start += found;
        bytes[start..start + to.len()].copy_from_slice(to);
        start += to.len();
    }
}
