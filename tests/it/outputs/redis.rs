//! Redis: a real server.

use std::net::SocketAddr;

use super::memory;
use super::receiver::{Own, Reach, Receiver};
use super::table::{self, Until};
use crate::support::redis::Redis as Server;

const LIST: &str = "ecsbeat";

pub(crate) struct Redis(Server);

const KILLED: &str = "killed, and back";
const FULL: &str = "out of memory";
const READ_ONLY: &str = "not enough replicas";
const PAUSED: &str = "no answer";

/// Longer than anybody waits, in milliseconds.
const LONG: &str = "3600000";

impl Receiver for Redis {
    const NAME: &'static str = "redis";
    const CARRIES_EVENTS: &'static str = "RPUSH";
    const OWN: &'static [Own] = &[
        Own {
            name: KILLED,
            until: Until::Errors(2),
            repeats: true,
        },
        Own {
            name: FULL,
            until: Until::Errors(2),
            repeats: false,
        },
        Own {
            name: READ_ONLY,
            until: Until::Errors(2),
            repeats: false,
        },
        Own {
            name: PAUSED,
            until: Until::Errors(2),
            repeats: true,
        },
    ];

    async fn start() -> Option<Self> {
        Some(Self(Server::start().await))
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.0.address())
    }

    fn config(&self, reach: &Reach) -> String {
        let (scheme, ssl) = match &reach.authority {
            Some(file) => (
                "rediss",
                format!("ssl: {{certificate_authorities: ['{}']}}, ", file.display()),
            ),
            None => ("redis", String::new()),
        };
        format!(
            "output.redis: {{hosts: ['{scheme}://{}'], key: {LIST}, {ssl}timeout: 2s, \
             backoff: {{init: 100ms, max: 400ms}}}}",
            reach.at
        )
    }

    async fn documents(&self) -> Vec<Vec<u8>> {
        self.0.list(LIST).await
    }

    async fn strike(&mut self, own: &str) {
        match own {
            KILLED => self.0.kill(),
            FULL => self.set("maxmemory", "1").await,
            READ_ONLY => self.set("min-replicas-to-write", "1").await,
            PAUSED => {
                self.0.command(&["CLIENT", "PAUSE", LONG, "WRITE"]).await;
            }
            other => panic!("{other:?} is nothing that it knows"),
        }
    }

    async fn undo(&mut self, own: &str) {
        match own {
            KILLED => self.0.restart().await,
            FULL => self.set("maxmemory", "0").await,
            READ_ONLY => self.set("min-replicas-to-write", "0").await,
            _ => {
                self.0.command(&["CLIENT", "UNPAUSE"]).await;
            }
        }
    }
}

impl Redis {
    async fn set(&self, setting: &str, value: &str) {
        self.0.command(&["CONFIG", "SET", setting, value]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_happens_on_the_way() {
    table::network::<Redis>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_happens_to_tls() {
    table::tls::<Redis>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_its_address_changes() {
    table::moved::<Redis>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_holds_no_more_than_the_queue_and_is_made_up_for() {
    memory::outage::<Redis>().await;
}
