//! Tests of [`super`]: every outcome, with an output that does as it is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use arc_swap::ArcSwap;

use super::*;
use crate::election::{Permit, solo};
use crate::event::EventId;
use crate::pipeline::ack::{Outcomes, PollAcks};
use crate::pipeline::health::Health;
use crate::status::OutputStatus;
use crate::telemetry::log::tests::{files, lines};

/// Answers with the scripted results, then accepts everything; remembers what it was sent.
struct Scripted {
    script: VecDeque<Result<Vec<Outcome>, SinkError>>,
    refuse_connections: u32,
    connects: Arc<AtomicUsize>,
    sent: Arc<std::sync::Mutex<Vec<usize>>>,
    status: Arc<ArcSwap<OutputStatus>>,
    /// Whether the output was told to work, at each publish.
    up: Arc<std::sync::Mutex<Vec<Option<bool>>>>,
}

impl Sink for Scripted {
    async fn connect(&mut self, _: &Permit) -> Result<(), SinkError> {
        self.connects.fetch_add(1, Ordering::Relaxed);
        if self.refuse_connections > 0 {
            self.refuse_connections -= 1;
            return Err(SinkError::Transport("refused".into()));
        }
        Ok(())
    }

    async fn publish(&mut self, _: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        self.sent.lock().unwrap().push(batch.len());
        self.up.lock().unwrap().push(self.status.load().up);
        self.script
            .pop_front()
            .unwrap_or_else(|| Ok(vec![Outcome::Acked; batch.len()]))
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

struct Ran {
    outcomes: Outcomes,
    sent: Vec<usize>,
    connects: usize,
    up: Vec<Option<bool>>,
    metrics: String,
    status: Arc<OutputStatus>,
    /// The files of refused events.
    refused: String,
}

async fn run(
    events: usize,
    script: Vec<Result<Vec<Outcome>, SinkError>>,
    refuse_connections: u32,
    max_retries: Option<u32>,
) -> Ran {
    let (sender, line) = mpsc::unbounded_channel();
    let poll = PollAcks::new();
    for number in 0..events {
        let id = EventId::of([&number.to_be_bytes()[..]]);
        sender
            .send(Event::new(
                id,
                Timestamp::UNIX_EPOCH,
                "nodes".into(),
                b"{}"[..].into(),
                poll.issue(),
            ))
            .unwrap();
    }
    drop(sender);
    let sent = Arc::default();
    let connects = Arc::default();
    let status = Arc::new(ArcSwap::default());
    let up = Arc::default();
    let sink = Scripted {
        status: Arc::clone(&status),
        up: Arc::clone(&up),
        script: script.into(),
        refuse_connections,
        connects: Arc::clone(&connects),
        sent: Arc::clone(&sent),
    };
    let policy = Policy {
        name: "test",
        limits: Limits {
            events: 100,
            timeout: Duration::ZERO,
        },
        max_retries,
        backoff: BackoffConfig {
            init: Duration::from_secs(1),
            max: Duration::from_secs(60),
        },
        timeout: Duration::from_secs(90),
    };
    let metrics = Metrics::new();
    let tenure = solo("a", CancellationToken::new());
    let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
    let line = Arc::new(Mutex::new(line));
    let directory = tempfile::tempdir().unwrap();
    let event_data = EventData::start(files(directory.path()), clock.clone(), Counter::default()).unwrap();
    Publisher::new(
        sink,
        policy,
        line,
        tenure,
        clock,
        &metrics,
        Health::new(Arc::clone(&status)).connection(),
    )
    .with_event_data(Some(Arc::new(event_data)))
    .run()
    .await;
    let refused = std::fs::read_dir(directory.path())
        .into_iter()
        .flatten()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let sent = sent.lock().unwrap().clone();
    let up = up.lock().unwrap().clone();
    Ran {
        up,
        outcomes: poll.wait().await,
        sent,
        connects: connects.load(Ordering::Relaxed),
        metrics: metrics.prometheus().unwrap(),
        status: status.load_full(),
        refused,
    }
}

#[test]
fn a_flood_of_refused_events_is_told_by_a_few_ids_and_kept_whole_beside_the_log() {
    let refused = Outcome::Rejected {
        reason: DropReason::Refused,
        message: "document_parsing_exception".into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut ran = None;
    let told = lines(|| {
        let script = vec![Ok(vec![refused; 100])];
        ran = Some(runtime.block_on(run(100, script, 0, None)));
    });
    let dropped: Vec<_> = told
        .iter()
        .filter(|line| line["message"] == "event dropped")
        .collect();
    assert_eq!(dropped.len() as u64, DROPPED_TOLD, "{told:?}");
    assert_eq!(dropped[0]["error.message"], "document_parsing_exception");
    assert!(
        told.iter().all(|line| !line.to_string().contains("{}")),
        "{told:?}"
    );
    let refused = ran.unwrap().refused;
    assert_eq!(refused.lines().count(), 100);
    let first: serde_json::Value = serde_json::from_str(refused.lines().next().unwrap()).unwrap();
    assert_eq!(first["event.original"], "{}");
    assert_eq!(first["event_id"], dropped[0]["event_id"]);
}

fn busy() -> SinkError {
    SinkError::Busy {
        message: "503".into(),
        retry_after: None,
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_connection_and_batch_are_repeated_for_ever() {
    let script = (0..50)
        .map(|_| Err(SinkError::Transport("reset".into())))
        .collect();
    let ran = run(3, script, 20, None).await;
    assert_eq!(
        ran.outcomes,
        Outcomes {
            acked: 3,
            dropped: 0,
            lost: 0
        }
    );
    assert_eq!(ran.sent.len(), 51);
    assert_eq!(ran.status.up, Some(true));
    assert_eq!(ran.status.failing_since, None);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_not_settled_is_sent_again() {
    use Outcome::{Acked, DeadLettered, Duplicate, Rejected, Retry};
    let refused = Rejected {
        reason: DropReason::Refused,
        message: "mapping".into(),
    };
    let script = vec![Ok(vec![
        Acked,
        Duplicate,
        Retry(RetryReason::TooMany),
        refused,
        DeadLettered,
        Retry(RetryReason::Failed),
    ])];
    let ran = run(6, script, 0, None).await;
    assert_eq!(ran.sent, [6, 2]);
    assert_eq!(
        ran.outcomes,
        Outcomes {
            acked: 5,
            dropped: 1,
            lost: 0
        }
    );
    for line in [
        "output_acked_events_total{output=\"test\"} 3",
        "output_duplicate_events_total{output=\"test\"} 1",
        "output_dead_letter_events_total{output=\"test\"} 1",
        "output_toomany_events_total{output=\"test\"} 1",
        "output_dropped_events_total{output=\"test\",reason=\"refused\"} 1",
        "output_active_events{output=\"test\"} 0",
    ] {
        assert!(ran.metrics.contains(line), "{line} in {}", ran.metrics);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_is_halved_without_using_a_retry() {
    let too_large = || Err(SinkError::TooLarge("413".into()));
    let ran = run(4, vec![too_large(), too_large()], 0, Some(1)).await;
    assert_eq!(ran.sent, [4, 2, 1, 1, 2]);
    assert_eq!(
        ran.outcomes,
        Outcomes {
            acked: 4,
            dropped: 0,
            lost: 0
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_single_event_that_is_too_large_does_not_block_those_behind_it() {
    let script = vec![Err(SinkError::TooLarge("413".into()))];
    let ran = run(1, script, 0, None).await;
    assert_eq!(ran.sent, [1]);
    assert_eq!((ran.outcomes.acked, ran.outcomes.dropped), (0, 1));
    assert!(ran.metrics.contains("reason=\"too_large\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_busy_for_no_time_is_not_asked_without_pause() {
    let busy = || {
        Err(SinkError::Busy {
            message: "429".into(),
            retry_after: Some(Duration::ZERO),
        })
    };
    let start = tokio::time::Instant::now();
    run(1, (0..10).map(|_| busy()).collect(), 0, None).await;
    assert!(start.elapsed() > Duration::from_secs(60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_out_of_reach_does_not_hold_up_an_end_with_nothing_to_send() {
    let start = tokio::time::Instant::now();
    let ran = run(0, Vec::new(), u32::MAX, None).await;
    assert_eq!(ran.status.up, Some(false));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_set_max_retries_drops_and_counts() {
    let ran = run(2, vec![Err(busy()), Err(busy()), Err(busy())], 5, Some(2)).await;
    assert_eq!(ran.sent, [2, 2, 2]);
    assert_eq!(
        ran.outcomes,
        Outcomes {
            acked: 0,
            dropped: 2,
            lost: 0
        }
    );
    assert!(ran.metrics.contains("reason=\"max_retries\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_breaks_off_only_the_rest_is_sent_again_over_a_new_connection() {
    use Outcome::{Acked, Rejected, Retry};
    let broken_off = |outcomes| {
        Err(SinkError::BrokenOff {
            outcomes,
            cause: Box::new(SinkError::Transport("reset".into())),
        })
    };
    let refused = Rejected {
        reason: DropReason::Refused,
        message: "not an object".into(),
    };
    let again = || Retry(RetryReason::Failed);
    let start = tokio::time::Instant::now();
    let script = vec![
        broken_off(vec![Acked, Acked, refused, again(), again()]),
        broken_off(vec![Acked, again()]),
    ];
    let ran = run(5, script, 0, None).await;
    assert_eq!((ran.sent, ran.connects), (vec![5, 2, 1], 3));
    assert_eq!((ran.outcomes.acked, ran.outcomes.dropped), (4, 1));
    let paused = start.elapsed();
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(2));
    assert!(
        least <= paused && paused <= most,
        "not twice the first pause: {paused:?}"
    );
    for line in [
        "output_acked_events_total{output=\"test\"} 4",
        "output_failed_events_total{output=\"test\"} 3",
        "output_write_errors_total{output=\"test\"} 2",
    ] {
        assert!(ran.metrics.contains(line), "{line} in {}", ran.metrics);
    }
    assert_eq!(ran.status.up, Some(true));
}

#[tokio::test(start_paused = true)]
async fn what_broke_off_for_too_few_events_acknowledges_none() {
    let script = vec![Err(SinkError::BrokenOff {
        outcomes: vec![Outcome::Acked],
        cause: Box::new(SinkError::Transport("reset".into())),
    })];
    let ran = run(2, script, 0, None).await;
    assert_eq!((ran.sent, ran.outcomes.acked), (vec![2, 2], 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_too_few_events_acknowledges_none() {
    let ran = run(3, vec![Ok(vec![Outcome::Acked; 2])], 0, None).await;
    assert_eq!(ran.sent, [3, 3]);
    assert_eq!(
        ran.outcomes,
        Outcomes {
            acked: 3,
            dropped: 0,
            lost: 0
        }
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_the_way_there_and_what_on_the_way_back_are_counted_apart() {
    let script = vec![
        Err(SinkError::Unanswered("no answer".into())),
        Ok(vec![Outcome::Acked]),
        Err(SinkError::Transport("refused".into())),
        Err(busy()),
        Err(SinkError::TooLarge("413".into())),
    ];
    let ran = run(2, script, 1, None).await;
    assert_eq!(ran.sent, [2, 2, 2, 2, 2, 1, 1]);
    for line in [
        "output_read_errors_total{output=\"test\"} 2",
        "output_write_errors_total{output=\"test\"} 3",
        // Two answers were for the batch, one of them for too few; nothing else took a time.
        "output_write_latency_seconds_count{output=\"test\"} 3",
        // Every event that was handed over ended in one of these ways.
        "output_events_total{output=\"test\"} 12",
        "output_failed_events_total{output=\"test\"} 10",
        "output_acked_events_total{output=\"test\"} 2",
    ] {
        assert!(ran.metrics.contains(line), "{line} in {}", ran.metrics);
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_reached_and_takes_nothing_does_not_work() {
    let script = vec![
        Err(busy()),
        Err(busy()),
        Ok(vec![Outcome::Retry(RetryReason::TooMany)]),
    ];
    let ran = run(1, script, 0, None).await;
    assert_eq!(ran.connects, 3, "each time anew");
    assert_eq!(ran.up, [Some(true), Some(false), Some(false), Some(false)]);
    assert_eq!((ran.status.up, &ran.status.last_error), (Some(true), &None));
    assert!(ran.status.last_ack.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_output_that_puts_every_event_off_does_not_work_after_a_few_answers() {
    let off = || Ok(vec![Outcome::Retry(RetryReason::TooMany); 2]);
    let ran = run(2, vec![off(), off(), off(), off()], 0, None).await;
    let (works, fails) = (Some(true), Some(false));
    assert_eq!(ran.up, [works, works, works, fails, fails]);
    assert_eq!((ran.status.up, &ran.status.last_error), (Some(true), &None));
}

#[tokio::test(start_paused = true)]
async fn an_output_that_refuses_events_for_good_works_and_has_acknowledged_none() {
    let refused = Outcome::Rejected {
        reason: DropReason::Refused,
        message: "mapping".into(),
    };
    let ran = run(1, vec![Ok(vec![refused])], 0, None).await;
    assert_eq!((ran.status.up, ran.status.last_ack), (Some(true), None));
}
