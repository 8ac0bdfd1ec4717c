//! A consumer that reads all along.
//!
//! Owns [`Reader`]: brokers of tests forget the oldest messages after some megabytes, and what they forgot cannot be
//! read at the end. It remembers everything; aborted transactions are not for it to tell.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

/// How long it waits for a message before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Reads one topic from its beginning.
pub(crate) struct Reader {
    payloads: Arc<Mutex<Vec<Vec<u8>>>>,
    ends: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Begins to read these partitions.
    pub(crate) fn start(addresses: &str, topic: &str, partitions: i32) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", addresses)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        let payloads = Arc::new(Mutex::new(Vec::new()));
        let (kept, ends) = (Arc::clone(&payloads), CancellationToken::new());
        let end = ends.clone();
        let thread = std::thread::spawn(move || {
            while !end.is_cancelled() {
                // Errors of connections mend themselves.
                if let Some(Ok(message)) = consumer.poll(LOOK) {
                    let payload = message.payload().expect("messages of ours have a value");
                    kept.lock().unwrap().push(payload.to_vec());
                }
            }
        });
        Self {
            payloads,
            ends,
            thread: Some(thread),
        }
    }

    /// Every value so far.
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        self.payloads.lock().unwrap().clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ends.cancel();
        let thread = self.thread.take().expect("it ends once");
        assert!(
            thread.join().is_ok() || std::thread::panicking(),
            "the reader panicked"
        );
    }
}
