//! The receiver's ids and its recording.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::History;
use crate::receiver::Receiver;
use crate::record::*;
use crate::recorder::{Recorder, Watch};
use crate::wire;

const SOON: Duration = Duration::from_secs(20);

struct Rig {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
    recorder: Recorder,
    receiver: Receiver,
}

impl Rig {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording.jsonl");
        let recorder = Recorder::create(&path, Watch::start()).unwrap();
        recorder.note(What::Setup(Setup {
            cluster: "test".into(),
            seed: 1,
            epoch: recorder.watch().epoch(),
            ttl: 5_000_000,
            gauges: Vec::new(),
            bounds: Default::default(),
        }));
        let key_of = |document: &Value| document["id"].as_str().unwrap_or_default().to_owned();
        let receiver = Receiver::start(recorder.clone(), key_of).await.unwrap();
        Self {
            _directory: directory,
            path,
            recorder,
            receiver,
        }
    }

    async fn bulk(&self, headers: &str, body: &str, limit: Duration) -> std::io::Result<wire::Reply> {
        wire::ask(self.receiver.address(), "POST", "/_bulk", headers, body, limit).await
    }

    fn history(&self) -> History {
        self.recorder.finish().unwrap();
        History::read(&self.path).unwrap()
    }
}

fn event(id: &str, urn: &str) -> String {
    let action = json!({"create": {"_index": "i", "_id": id}});
    let document = json!({
        "@timestamp": "1970-01-01T00:10:00.500Z", "id": urn, "ecs-event-type": "alert", "ecs-vdc-cfgname": "v",
        "event": {"outcome": "success"}, "ecsbeat": {"instance": "a", "term": 7, "tick": "1970-01-01T00:10:01Z"},
    });
    format!("{action}\n{document}\n")
}

#[tokio::test]
async fn ids_are_honoured_and_every_arrival_is_recorded() {
    let rig = Rig::start().await;
    let reply = wire::ask(rig.receiver.address(), "GET", "/", "", "", SOON)
        .await
        .unwrap();
    assert_eq!(reply.json()["version"]["number"], "8.17.0");
    let body = event("1", "urn:1") + &event("2", "urn:2") + &event("1", "urn:1");
    let reply = rig.bulk("", &body, SOON).await.unwrap().json();
    let statuses: Vec<&Value> = (0..3)
        .map(|number| &reply["items"][number]["create"]["status"])
        .collect();
    assert_eq!(statuses, [201, 201, 409]);
    assert_eq!(reply["errors"], true);
    assert!(
        rig.receiver
            .look(|progress| progress.has("alert", "urn:2") && !progress.has("alert", "urn:3"))
    );
    assert!(rig.receiver.look(|progress| progress.reached("alert", 7, 600)));
    assert!(!rig.receiver.look(|progress| progress.reached("alert", 8, 600)));
    assert!(!rig.receiver.look(|progress| progress.reached("alert", 7, 601)));
    let history = rig.history();
    let (at, send) = history.sends().next().unwrap();
    assert_eq!(send.items.len(), 3);
    let want = Item {
        id: "1".into(),
        index: "i".into(),
        term: Some(7),
        replica: "a".into(),
        kind: "alert".into(),
        vdc: "v".into(),
        tick: Some(601),
        key: "urn:1".into(),
        time: Some(600),
        failure: false,
        stored: true,
    };
    assert_eq!(send.items[0], want);
    assert!(!send.items[2].stored);
    assert!(history.answered(send.number).unwrap() >= at);
}

#[tokio::test]
async fn a_slow_answer_is_stored_at_once_and_may_be_given_up() {
    let rig = Rig::start().await;
    rig.receiver.slow(Duration::from_secs(600));
    let given_up = rig
        .bulk("", &event("1", "urn:1"), Duration::from_millis(200))
        .await;
    assert_eq!(given_up.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert!(rig.receiver.look(|progress| progress.has("alert", "urn:1")));
    // Whoever still waits gets his answer when the delay is lifted.
    let body = event("2", "urn:2");
    let (answer, ()) = tokio::join!(rig.bulk("", &body, SOON), async {
        while !rig.receiver.look(|progress| progress.has("alert", "urn:2")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.receiver.slow(Duration::ZERO);
    });
    assert_eq!(answer.unwrap().status, 200);
    let answers = loop {
        let history = rig.history();
        let noted = |number| {
            history
                .lines()
                .iter()
                .any(|line| matches!(&line.what, What::Answer(answer) if answer.number == number))
        };
        if noted(0) && noted(1) {
            break (history.answered(0), history.answered(1));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(answers.0.is_none() && answers.1.is_some(), "{answers:?}");
}

#[tokio::test]
async fn compressed_bodies_are_read_and_broken_ones_refused() {
    let rig = Rig::start().await;
    assert_eq!(rig.bulk("", "nonsense\n", SOON).await.unwrap().status, 400);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(event("1", "urn:1").as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let mut stream = tokio::net::TcpStream::connect(rig.receiver.address())
        .await
        .unwrap();
    let head = format!(
        "POST /_bulk HTTP/1.0\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&packed).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"status\":201"), "{answer}");
}

#[tokio::test]
async fn one_connection_asks_again_and_again() {
    let rig = Rig::start().await;
    let mut connection = wire::Connection::new(rig.receiver.address());
    for _ in 0..3 {
        let reply = connection.get("/", SOON).await.unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["name"], "torture");
    }
}
