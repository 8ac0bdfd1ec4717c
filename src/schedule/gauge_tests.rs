//! Tests of [`super`]: the books of ticks and targets.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::collect::{Context, Processing};
use crate::config::{self, Command, Customer, Ecsbeat, HostPort, Level, Method, Secret, Ssl, Vdc};
use crate::document::Identity;
use crate::ecs::Client;
use crate::election::solo;
use crate::pipeline::queue::{Line, queue};
use crate::processor::{Host, Processors, Surroundings};
use crate::telemetry::metrics::Metrics;

const NOON: &str = "2026-03-02T12:00:00Z";

/// A unit that nobody answers, and the line of its events.
pub(in crate::schedule) fn unit(level: Level) -> (Arc<Unit>, Line) {
    let vdc = Vdc {
        name: "VDC1".to_owned(),
        username: "monitor".to_owned(),
        password: Secret::new("x"),
        nodes: vec![HostPort {
            host: "127.0.0.1".to_owned(),
            port: 1,
        }],
        diagnostics_port: 1,
        s3_port: 1,
    };
    let customer = Customer {
        name: "EMC".to_owned(),
        token_expiry: Duration::from_secs(3500),
        request_timeout: Duration::from_secs(1),
        block_duration: Duration::ZERO,
        refresh_interval: Duration::ZERO,
        ssl: Ssl::default(),
        proxy_url: None,
        vdcs: vec![vdc.clone()],
    };
    let settings = Ecsbeat {
        once: false,
        max_in_flight: 1,
        max_attempts: 1,
        max_response_size: 1 << 20,
        error_events: true,
        max_catch_up: Duration::from_secs(3600),
        start_jitter: Duration::ZERO,
        trace: None,
        customers: Vec::new(),
        commands: Vec::new(),
    };
    let metrics = Metrics::new();
    let limits = config::Queue {
        events: 10,
        max_bytes: 1 << 20,
        flush_min_events: 1,
        flush_timeout: Duration::ZERO,
    };
    let (queue, mut lines) = queue(&limits, 1, &metrics);
    let context = Context {
        identity: Identity {
            agent_id: String::new(),
            ephemeral_id: String::new(),
            name: "host1".to_owned(),
            instance: "host1".to_owned(),
            cluster: None,
            tags: Vec::new(),
            fields: BTreeMap::new(),
            fields_under_root: false,
        },
        clock: Clock::simulated(NOON.parse().unwrap()),
        queue,
        tenure: solo("host1", CancellationToken::new()),
        processing: Processing::new(Processors::new(
            &[],
            &[],
            &Surroundings {
                clock: Clock::simulated(NOON.parse().unwrap()),
                host: Host::default,
            },
        )),
        error_events: true,
        metrics: metrics.clone(),
    };
    let command = Command {
        kind: "disks".to_owned(),
        uri: "/dashboard/nodes/%s/disks".to_owned(),
        level,
        interval: Duration::from_secs(60),
        method: Method::Get,
        body: None,
        headers: Vec::new(),
        window: None,
        paginate: None,
        batch: None,
        records: None,
        key: Vec::new(),
        time_field: None,
        processors: Vec::new(),
    };
    let http = Client::http(&settings, &customer).unwrap();
    let client = Arc::new(Client::new(http, &settings, &customer, &vdc, &metrics));
    let unit = Unit::new(Arc::new(context), command, vec![client]);
    (Arc::new(unit), lines.remove(0))
}

fn due() -> Due {
    Due {
        tick: NOON.parse().unwrap(),
        missed: 0,
    }
}

async fn next(polls: &mut Polls) -> Option<(u64, Open)> {
    let ended = polls.tasks.join_next_with_id().await.unwrap();
    polls.book(ended)
}

#[tokio::test]
async fn a_poll_that_panics_is_a_failed_one_and_its_target_is_polled_again() {
    let (unit, mut line) = unit(Level::Vdc);
    let mut polls = Polls::new(unit);
    polls.number = 1;
    polls.open.insert(1, Open::new(due().tick, 1));
    let task = polls.tasks.spawn(async { panic!("index out of bounds") });
    polls.running.insert(task.id(), (1, Target::Whole));

    assert!(next(&mut polls).await.is_none(), "the failure is told first");
    let (number, open) = next(&mut polls).await.unwrap();
    assert_eq!(number, 1);
    assert_eq!(
        open.errors,
        [EcsError::Panicked("index out of bounds".to_owned())]
    );
    let event = line.recv().await.unwrap();
    assert_eq!(event.field("error.code").as_deref(), Some("panicked"));
    assert!(polls.open.is_empty() && polls.running.is_empty());

    assert_eq!(polls.begin(due(), &[]), 0);
    assert_eq!(polls.running.len(), 1);
}

#[tokio::test]
async fn a_tick_that_misses_a_target_counts_and_no_target_is_polled_twice_at_a_time() {
    let (unit, mut line) = unit(Level::Node);
    let mut polls = Polls::new(unit);
    // No inventory: that is told once, however long the queue takes to take it.
    assert_eq!(polls.begin(due(), &[]), 0);
    assert_eq!(polls.begin(due(), &[]), 1);
    assert_eq!((polls.running.len(), polls.open.len()), (1, 1));
    assert!(next(&mut polls).await.is_some());
    let event = line.recv().await.unwrap();
    assert_eq!(event.field("error.code").as_deref(), Some("no_inventory"));
}

/// What a release answers that lacks an API.
pub(in crate::schedule) fn lack() -> EcsError {
    EcsError::Unsupported {
        node: "n".to_owned(),
        status: 404,
        path: "/x".to_owned(),
        said: "no".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_lacks_the_api_is_left_out_without_a_miss_and_asked_again_later() {
    let (unit, _line) = unit(Level::Vdc);
    let mut polls = Polls::new(unit);
    polls.number = 1;
    polls.open.insert(1, Open::new(due().tick, 1));
    let task = polls.tasks.spawn(async {
        Polled {
            harvest: Harvest::default(),
            errors: vec![lack()],
        }
    });
    polls.running.insert(task.id(), (1, Target::Whole));
    let (_, open) = next(&mut polls).await.unwrap();
    assert_eq!(open.errors, [lack()]);

    assert_eq!(polls.begin(due(), &[]), 0, "that is no tick that was missed");
    assert!(polls.running.is_empty() && polls.open.is_empty());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(polls.begin(due(), &[]), 0);
    assert_eq!(polls.running.len(), 1);
}
