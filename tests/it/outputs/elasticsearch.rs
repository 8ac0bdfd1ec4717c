//! Elasticsearch: the fake of the simulator.

use std::net::SocketAddr;

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};

use super::memory;
use super::receiver::{Own, Reach, Receiver};
use super::table::{self, Until};

struct Elasticsearch(Bulk);

impl Receiver for Elasticsearch {
    const NAME: &'static str = "elasticsearch";
    const RECOGNIZES: bool = true;
    const CARRIES_EVENTS: &'static str = "/_bulk";
    const OWN: &'static [Own] = &[
        Own {
            name: "503",
            until: Until::Errors(3),
            repeats: false,
        },
        Own {
            name: "429 for every second document",
            until: Until::Accepted(20),
            repeats: false,
        },
        Own {
            name: "no answer",
            until: Until::Errors(2),
            repeats: false,
        },
    ];

    async fn start() -> Option<Self> {
        Some(Self(Bulk::start(bulk::Config::for_tests()).await.unwrap()))
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.0.address())
    }

    fn config(&self, reach: &Reach) -> String {
        let (scheme, ssl) = match &reach.authority {
            Some(file) => (
                "https",
                format!("ssl.certificate_authorities: ['{}'], ", file.display()),
            ),
            None => ("http", String::new()),
        };
        format!(
            "output.elasticsearch: {{hosts: ['{scheme}://{}'], {ssl}timeout: 2s, \
             backoff: {{init: 100ms, max: 400ms}}}}",
            reach.at
        )
    }

    async fn documents(&self) -> Vec<Vec<u8>> {
        let documents = self.0.documents();
        documents
            .iter()
            .map(|document| document.source.to_vec())
            .collect()
    }

    async fn recognized(&self) -> usize {
        usize::try_from(self.0.conflicts()).unwrap()
    }

    async fn strike(&mut self, own: &str) {
        self.0.set(BulkRule::always(match own {
            "503" => BulkFault::Status {
                status: 503,
                retry_after: None,
            },
            "429 for every second document" => BulkFault::RejectItems {
                every: 2,
                status: 429,
            },
            _ => BulkFault::Hang,
        }));
    }

    async fn undo(&mut self, _own: &str) {
        self.0.clear_faults();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_happens_on_the_way() {
    table::network::<Elasticsearch>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_happens_to_tls() {
    table::tls::<Elasticsearch>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_its_address_changes() {
    table::moved::<Elasticsearch>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_holds_no_more_than_the_queue_and_is_made_up_for() {
    memory::outage::<Elasticsearch>().await;
}
