//! Replicas of one cluster, and all that they need: etcd, a federation, a receiver.
//!
//! Owns [`Cluster`] (the surroundings, and what an administrator sees in etcd) and [`Replica`] (one process of the real
//! binary, as others see it: by its endpoints and its log). The timers are the shortest that are allowed. Everything is
//! waited for by looking, with a limit, and killed when dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ecs_sim::Sim;
use ecs_sim::bulk::{self, Bulk, Document};
use etcd_client::{DeleteOptions, GetOptions, KeyValue};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::etcd::Etcd;
use super::process::{Ended, Home, Process, Reply, SOON, customers, send};
use super::windowed::{COMMANDS, busy};

/// `ha.ttl`
pub(crate) const TTL: Duration = Duration::from_secs(5);
/// `ha.loop_wait`
pub(crate) const LOOP_WAIT: Duration = Duration::from_secs(1);
/// A lease lives at least so long after its holder's last sign of life: `ttl`, less `loop_wait` and what a renewal may
/// take on a busy machine. Who takes over before has not waited for its end.
pub(crate) const SURELY_ALIVE: Duration = Duration::from_millis(3500);
/// A dead holder's lease is surely over by then, and another leads.
pub(crate) const SURELY_OVER: Duration = Duration::from_secs(8);
/// What operators must show.
const TOKEN: &str = "CANARY-operator";
/// Where the cluster's keys are.
const PREFIX: &str = "/ecsbeat/prod/";
/// An order is answered when it has been carried out.
const ORDER: Duration = Duration::from_secs(30);

/// Waits until `look` finds something, and fails with `what` when `limit` is over.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Looks for so long, again and again; `look` fails the test where something is not as it must be all the time.
pub(crate) async fn throughout(span: Duration, mut look: impl AsyncFnMut()) {
    let begin = Instant::now();
    while begin.elapsed() < span {
        look().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What differs from the ordinary.
pub(crate) struct Setup {
    /// One member without users and TLS unless given.
    pub(crate) etcd: Option<Etcd>,
    /// Further settings of `ha.etcd`, each line indented by four.
    pub(crate) access: String,
    pub(crate) sim: ecs_sim::Config,
    /// `ecsbeat.*` but for the customers.
    pub(crate) commands: String,
    /// Further settings, whole lines.
    pub(crate) settings: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            etcd: None,
            access: String::new(),
            sim: busy(),
            commands: format!("{COMMANDS}  - {{type: localzone, interval: 1s}}\n"),
            settings: String::new(),
        }
    }
}

/// What the replicas share.
pub(crate) struct Cluster {
    pub(crate) etcd: Etcd,
    pub(crate) sim: Sim,
    pub(crate) bulk: Bulk,
    pub(crate) home: Home,
    hosts: AtomicUsize,
}

impl Cluster {
    /// The ordinary surroundings, without a replica yet.
    pub(crate) async fn new() -> Self {
        Self::of(Setup::default()).await
    }

    pub(crate) async fn of(setup: Setup) -> Self {
        let etcd = match setup.etcd {
            Some(etcd) => etcd,
            None => Etcd::start(1).await,
        };
        let sim = Sim::start(setup.sim).await.unwrap();
        let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
        let home = Home::new();
        home.configure(&format!(
            "ecsbeat:\n{}{}\
             queue.mem.flush.timeout: 50ms\n\
             output.elasticsearch: {{hosts: ['{}'], backoff: {{init: 100ms, max: 500ms}}}}\n\
             http: {{enabled: true, host: 127.0.0.1, port: 0, auth.token: {TOKEN}}}\n\
             logging.metrics.enabled: false\n\
             ha:\n  cluster: prod\n  ttl: 5s\n  loop_wait: 1s\n  retry_timeout: 1s\n  safety_margin: 1s\n  \
             drain_timeout: 2s\n  etcd:\n    hosts: ['{}']\n{}{}",
            setup.commands,
            customers(&sim, &home),
            bulk.url(),
            etcd.url(0),
            setup.access,
            setup.settings,
        ));
        Self {
            etcd,
            sim,
            bulk,
            home,
            hosts: AtomicUsize::new(0),
        }
    }

    /// Starts a replica on a host of its own, with further settings, and waits for its endpoints.
    pub(crate) async fn start_with(&self, name: &str, settings: &[&str]) -> Replica {
        let host = self.hosts.fetch_add(1, Ordering::Relaxed);
        let data = self.home.path().join(format!("data-{host}"));
        self.launch(name, data, settings.iter().map(ToString::to_string).collect())
            .await
    }

    /// Starts a replica on a host of its own and waits for its endpoints.
    pub(crate) async fn start(&self, name: &str) -> Replica {
        self.start_with(name, &[]).await
    }

    /// Starts one that leads.
    pub(crate) async fn leader(&self, name: &str) -> (Replica, u64) {
        let replica = self.start(name).await;
        let term = replica.led().await;
        (replica, term)
    }

    /// Starts one that stands by.
    pub(crate) async fn standby(&self, name: &str) -> Replica {
        let replica = self.start(name).await;
        replica.stood_by().await;
        replica
    }

    /// Starts the same again after its process has ended: on the same host, with the same `path.data`.
    pub(crate) async fn again(&self, ended: &Replica) -> Replica {
        self.launch(&ended.name, ended.data.clone(), ended.settings.clone())
            .await
    }

    /// The process of a replica, not waited for.
    pub(crate) fn spawn(&self, name: &str, data: &Path, settings: &[String]) -> Process {
        let mut arguments = vec![
            format!("ha.instance={name}"),
            format!("path.data={}", data.display()),
        ];
        arguments.extend_from_slice(settings);
        let arguments: Vec<&str> = arguments.iter().flat_map(|setting| ["-E", setting]).collect();
        self.home.start(&arguments)
    }

    async fn launch(&self, name: &str, data: PathBuf, settings: Vec<String>) -> Replica {
        let mut process = self.spawn(name, &data, &settings);
        let http = process.http().await;
        Replica {
            name: name.to_owned(),
            data,
            settings,
            process,
            http,
        }
    }

    /// A key of the cluster, as an administrator sees it.
    pub(crate) async fn key(&self, key: &str) -> Option<KeyValue> {
        let mut administrator = self.etcd.administrator(None).await;
        let mut found = administrator.get(format!("{PREFIX}{key}"), None).await.unwrap();
        found.take_kvs().pop()
    }

    /// The keys of the cluster that begin so.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<KeyValue> {
        let mut administrator = self.etcd.administrator(None).await;
        let below = GetOptions::new().with_prefix();
        let found = administrator.get(format!("{PREFIX}{prefix}"), Some(below)).await;
        found.unwrap().take_kvs()
    }

    /// An administrator writes a key.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        let mut administrator = self.etcd.administrator(None).await;
        administrator
            .put(format!("{PREFIX}{key}"), value, None)
            .await
            .unwrap();
    }

    /// An administrator deletes a key, which must be there.
    pub(crate) async fn delete(&self, key: &str) {
        let mut administrator = self.etcd.administrator(None).await;
        let with = DeleteOptions::new();
        let deleted = administrator.delete(format!("{PREFIX}{key}"), Some(with)).await;
        assert_eq!(deleted.unwrap().deleted(), 1, "{key} was not there");
    }

    /// An administrator revokes a lease.
    pub(crate) async fn revoke(&self, lease: i64) {
        self.etcd
            .administrator(None)
            .await
            .lease_revoke(lease)
            .await
            .unwrap();
    }

    /// Waits until every windowed stream has a checkpoint: from here on there must be no gap. Gives the time.
    pub(crate) async fn begun(&self) -> i64 {
        until("every stream has a checkpoint", SOON, async || {
            let keys = self.keys("checkpoint/").await;
            let windowed = keys.iter().filter(|key| until_of(key).is_some()).count();
            (windowed == 4).then_some(())
        })
        .await;
        self.sim.now()
    }

    /// Every document that arrived, those with a known id too, in the order of arrival.
    pub(crate) fn arrivals(&self) -> Vec<Document> {
        let mut arrivals = self.bulk.documents();
        arrivals.extend(self.bulk.refused());
        arrivals.sort_by_key(|document| document.sequence);
        arrivals
    }

    /// Waits until something of this term or a later one has arrived.
    pub(crate) async fn delivers(&self, term: u64) {
        let what = format!("something of term {term} arrives");
        until(&what, SOON, async || {
            let newest = self.bulk.documents().pop()?;
            (term_of(&newest) >= term).then_some(())
        })
        .await;
    }
}

/// The end of the last delivered window in a checkpoint.
pub(crate) fn until_of(checkpoint: &KeyValue) -> Option<String> {
    let value: Value = serde_json::from_slice(checkpoint.value()).ok()?;
    Some(value["until"].as_str()?.to_owned())
}

/// `ecsbeat.term`
pub(crate) fn term_of(document: &Document) -> u64 {
    let json = document.json();
    json["ecsbeat"]["term"]
        .as_u64()
        .unwrap_or_else(|| panic!("no term: {json}"))
}

/// Waits until one of the replicas leads in a term after `term`: which one, and its term.
pub(crate) async fn successor(replicas: &[&Replica], term: u64) -> (usize, u64) {
    until(&format!("somebody leads after term {term}"), SOON, async || {
        for (number, replica) in replicas.iter().enumerate() {
            if let Some(newer) = replica.leads().await.filter(|newer| *newer > term) {
                return Some((number, newer));
            }
        }
        None
    })
    .await
}

/// A running replica.
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    settings: Vec<String>,
}

impl Replica {
    /// GET of an endpoint that must answer.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        super::process::get(self.http, path).await
    }

    /// An order of an operator, and its answer.
    pub(crate) async fn order(&self, path: &str, body: &Value) -> Reply {
        let header = format!("Authorization: Bearer {TOKEN}\r\n");
        send(self.http, "POST", path, &header, &body.to_string(), ORDER)
            .await
            .unwrap()
    }

    /// Orders a change of leader.
    pub(crate) async fn switchover(&self, leader: &str, candidate: Option<&str>) -> Reply {
        let mut body = json!({"leader": leader});
        if let Some(candidate) = candidate {
            body["candidate"] = json!(candidate);
        }
        self.order("/switchover", &body).await
    }

    /// The term that it leads in, at this moment.
    pub(crate) async fn leads(&self) -> Option<u64> {
        let reply = self.get("/leader").await;
        (reply.status == 200).then(|| reply.json()["term"].as_u64().unwrap())
    }

    /// The codes of `/leader /standby /health /readiness /liveness`.
    pub(crate) async fn codes(&self) -> [u16; 5] {
        let mut codes = [0; 5];
        for (code, path) in
            codes
                .iter_mut()
                .zip(["/leader", "/standby", "/health", "/readiness", "/liveness"])
        {
            *code = self.get(path).await.status;
        }
        codes
    }

    /// The state in its answers.
    pub(crate) async fn state(&self) -> String {
        let body = self.get("/health").await.json();
        body["state"].as_str().unwrap().to_owned()
    }

    /// The reasons in the answer of an endpoint.
    pub(crate) async fn reasons(&self, path: &str) -> Vec<String> {
        let body = self.get(path).await.json();
        let reasons = body["reasons"].as_array().unwrap();
        reasons
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    }

    /// What it tells of a term, once it knows it; no other must have followed.
    pub(crate) async fn last_term(&self, term: u64) -> Value {
        until(&format!("the history of term {term}"), SOON, async || {
            let mut body = self.get("/history").await.json();
            let last = body["history"].as_array_mut().unwrap().pop()?;
            (last["term"] == term).then_some(last)
        })
        .await
    }

    /// A sample of its metrics.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        self.get("/metrics").await.metric(name)
    }

    /// Waits until it leads; gives the term.
    pub(crate) async fn led(&self) -> u64 {
        until(&format!("{} leads", self.name), SOON, async || self.leads().await).await
    }

    /// Waits until it stands by.
    pub(crate) async fn stood_by(&self) {
        let ready = async || (self.get("/standby").await.status == 200).then_some(());
        until(&format!("{} stands by", self.name), SOON, ready).await;
    }

    /// The lines of its log with this text.
    pub(crate) fn lines(&self, part: &str) -> Vec<Value> {
        let text = self.process.stderr();
        text.lines()
            .filter(|line| line.contains(part))
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Kills it, as a crash does.
    pub(crate) async fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.ended(SOON).await.expect(-9);
    }

    /// Stops it in order.
    pub(crate) async fn stop(&mut self) -> Ended {
        self.process.signal(Signal::TERM);
        self.process.ended(SOON).await
    }

    /// Stops it amid whatever it does, without its knowledge.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// The end of [`Replica::freeze`].
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }
}
