//! Logstash: the recording server of the Lumberjack protocol.

use std::net::SocketAddr;

use super::memory;
use super::receiver::{Own, Reach, Receiver};
use super::table::{self, Until};
use crate::support::lumberjack::{Answer, End, Lumberjack};

struct Logstash(Lumberjack);

const PARTIAL: &str = "acknowledged three by three";
const KEEP_ALIVE: &str = "signs of life before it acknowledges";
const NEVER: &str = "taken and never acknowledged";
const LOST: &str = "taken, then reset";
const TORN: &str = "three taken and acknowledged, then reset";
const CLOSED: &str = "closed after each batch";
const RESET: &str = "reset after each batch";
const TOO_MANY: &str = "more acknowledged than sent";

const fn own(name: &'static str, until: Until, repeats: bool) -> Own {
    Own { name, until, repeats }
}

impl Receiver for Logstash {
    const NAME: &'static str = "logstash";
    const OWN: &'static [Own] = &[
        own(PARTIAL, Until::Accepted(40), false),
        own(KEEP_ALIVE, Until::Accepted(40), false),
        own(NEVER, Until::Errors(1), true),
        own(LOST, Until::Errors(2), true),
        // Only what was not acknowledged is sent again.
        own(TORN, Until::Accepted(20), false),
        own(CLOSED, Until::Accepted(60), false),
        own(RESET, Until::Accepted(60), false),
        own(TOO_MANY, Until::Errors(2), true),
    ];

    async fn start() -> Option<Self> {
        Some(Self(Lumberjack::start().await))
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.0.address())
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
            "output.logstash: {{hosts: ['{}'], {ssl}timeout: 2s, backoff: {{init: 100ms, max: 400ms}}}}",
            reach.at
        )
    }

    async fn documents(&self) -> Vec<Vec<u8>> {
        self.0.events()
    }

    async fn violations(&self) -> Vec<String> {
        let mut violations = self.0.violations();
        // A proxy that does not speak TLS hands over the first byte of a handshake.
        violations.retain(|text| !text.contains("begins with the byte 22,"));
        violations
    }

    async fn strike(&mut self, own: &str) {
        self.0.always(match own {
            PARTIAL => Answer::Partial { every: 3 },
            KEEP_ALIVE => Answer::KeepAlive { times: 5 },
            NEVER => Answer::Never,
            LOST => Answer::Lost,
            TORN => Answer::Torn { events: 3 },
            CLOSED => Answer::Last(End::Close),
            RESET => Answer::Last(End::Reset),
            TOO_MANY => Answer::TooMany,
            other => panic!("{other:?} is nothing that it knows"),
        });
    }

    async fn undo(&mut self, _own: &str) {
        self.0.always(Answer::Whole);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_happens_on_the_way() {
    table::network::<Logstash>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_happens_to_tls() {
    table::tls::<Logstash>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_its_address_changes() {
    table::moved::<Logstash>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_holds_no_more_than_the_queue_and_is_made_up_for() {
    memory::outage::<Logstash>().await;
}
