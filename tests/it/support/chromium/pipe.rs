//! The DevTools protocol over two pipes.
//!
//! Owns [`Pipe`]: orders go in and answers come out, each a JSON text that ends with a zero byte. Events are kept for
//! whoever asks later. Knows no order by name.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::process::SOON;

/// Both directions.
pub(super) struct Pipe {
    orders: Mutex<Box<dyn Write + Send>>,
    last: AtomicU64,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    /// Who waits for an answer; `None` = the other side is gone.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Value>>>>,
    events: Mutex<Vec<Value>>,
}

impl Pipe {
    /// Listens on a thread until `answers` ends.
    pub(super) fn new(orders: impl Write + Send + 'static, answers: impl Read + Send + 'static) -> Self {
        let heard = Arc::new(Heard::default());
        *heard.waiting.lock().unwrap() = Some(HashMap::new());
        let listener = Arc::clone(&heard);
        std::thread::spawn(move || listener.listen(answers));
        Self {
            orders: Mutex::new(Box::new(orders)),
            last: AtomicU64::new(0),
            heard,
        }
    }

    /// Gives an order to a session (empty: to the browser) and waits for its result.
    pub(super) async fn call(&self, session: &str, method: &str, parameters: Value) -> Value {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut order = json!({"id": id, "method": method, "params": parameters});
        if !session.is_empty() {
            order["sessionId"] = json!(session);
        }
        let (answer, answered) = oneshot::channel();
        match &mut *self.heard.waiting.lock().unwrap() {
            Some(waiting) => drop(waiting.insert(id, answer)),
            None => panic!("{method}: Chromium has ended"),
        }
        let text = format!("{order}\0");
        self.orders.lock().unwrap().write_all(text.as_bytes()).unwrap();
        let answer = tokio::time::timeout(SOON, answered)
            .await
            .unwrap_or_else(|_| panic!("{method}: no answer within {SOON:?}"))
            .unwrap_or_else(|_| panic!("{method}: Chromium has ended"));
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// What has happened in a session, the oldest first.
    pub(super) fn events(&self, session: &str) -> Vec<Value> {
        let events = self.heard.events.lock().unwrap();
        events
            .iter()
            .filter(|event| event["sessionId"] == session)
            .cloned()
            .collect()
    }
}

impl Heard {
    fn listen(&self, answers: impl Read) {
        let mut answers = BufReader::new(answers);
        let mut text = Vec::new();
        while answers.read_until(0, &mut text).is_ok_and(|count| count > 0) {
            let message: Value = serde_json::from_slice(text.strip_suffix(b"\0").unwrap_or(&text)).unwrap();
            text.clear();
            let waits = message["id"].as_u64().and_then(|id| {
                let mut waiting = self.waiting.lock().unwrap();
                waiting.as_mut()?.remove(&id)
            });
            match waits {
                Some(waits) => drop(waits.send(message)),
                None => self.events.lock().unwrap().push(message),
            }
        }
        // Whoever still waits is told by the end of its channel.
        *self.waiting.lock().unwrap() = None;
    }
}
