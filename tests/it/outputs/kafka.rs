//! Kafka: a broker of librdkafka's mock cluster.

use std::net::SocketAddr;

use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use super::memory;
use super::receiver::{Own, Reach, Receiver};
use super::table::{self, Until};
use crate::support::kafka::Brokers;
use crate::support::kafka::front::{Builder, Deed, Front};
use crate::support::kafka::reader::Reader;

const TOPIC: &str = "ecsbeat-events";
const PARTITIONS: i32 = 3;

/// It tells clients where to go, so something must put the proxy's address into what it says.
pub(crate) struct Kafka {
    reader: Reader,
    front: Front,
    brokers: Brokers,
}

const CUT: &str = "written, then cut";
const REPLICAS: &str = "not enough replicas";
const MOVED: &str = "the broker does not lead the partition";
const DENIED: &str = "the right to write is taken away";

/// More than the brokers are asked meanwhile.
const OFTEN: usize = 100_000;

impl Receiver for Kafka {
    const NAME: &'static str = "kafka";
    // Requests that write name the topic, and so do those that ask where it is.
    const CARRIES_EVENTS: &'static str = TOPIC;
    const OWN: &'static [Own] = &[
        Own {
            name: CUT,
            until: Until::Accepted(40),
            // By the same producer: the broker recognizes it.
            repeats: false,
        },
        Own {
            name: REPLICAS,
            until: Until::Errors(2),
            repeats: false,
        },
        Own {
            name: MOVED,
            until: Until::Errors(2),
            repeats: false,
        },
        Own {
            name: DENIED,
            until: Until::Errors(2),
            repeats: false,
        },
    ];

    async fn start() -> Option<Self> {
        let brokers = Brokers::start(1).topic(TOPIC, PARTITIONS);
        Some(Self {
            reader: Reader::start(&brokers.addresses(), TOPIC, PARTITIONS),
            front: Builder::default().before(&brokers.addresses()).await,
            brokers,
        })
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.front.addresses().parse().unwrap())
    }

    fn behind(&self, host: &str, port: u16) {
        self.front.behind(host, port);
    }

    fn config(&self, reach: &Reach) -> String {
        let ssl = match &reach.authority {
            Some(file) => format!(
                "ssl: {{enabled: true, certificate_authorities: ['{}']}}, ",
                file.display()
            ),
            None => String::new(),
        };
        format!(
            "output.kafka: {{hosts: ['{}'], topic: {TOPIC}, {ssl}timeout: 2s, backoff: {{init: 100ms, max: 400ms}}}}",
            reach.at
        )
    }

    async fn documents(&self) -> Vec<Vec<u8>> {
        self.reader.payloads()
    }

    async fn recognized(&self) -> usize {
        self.front.recognised()
    }

    async fn strike(&mut self, own: &str) {
        let code = match own {
            CUT => return self.front.once(Api::Produce, Deed::Cut),
            REPLICAS => Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            MOVED => Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            DENIED => Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            other => panic!("{other:?} is nothing that it knows"),
        };
        self.brokers.fail(Api::Produce, &vec![code; OFTEN]);
    }

    async fn undo(&mut self, _own: &str) {
        self.brokers.heal(Api::Produce);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_happens_on_the_way() {
    table::network::<Kafka>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_happens_to_tls() {
    table::tls::<Kafka>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_its_address_changes() {
    table::moved::<Kafka>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_holds_no_more_than_the_queue_and_is_made_up_for() {
    memory::outage::<Kafka>().await;
}
