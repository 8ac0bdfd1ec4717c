//! One batch: what is sent, what the answers mean, and how long they are waited for.

use std::io::Write;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::election::solo;
use crate::output::DropReason;

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_window_and_its_acknowledgement_counts_for_all_of_it() {
    for compression_level in [0, 3] {
        let mut rig = Setup {
            compression_level,
            ..Setup::default()
        }
        .rig();
        let mut peer = rig.connect().await;
        let mut size = 0;
        for count in [3, 1] {
            let batch = events(count);
            let (outcomes, window) = tokio::join!(rig.publish(&batch), async {
                let window = peer.window_of(count).await;
                peer.ack(u32::try_from(count).unwrap()).await;
                window
            });
            assert_eq!(outcomes.unwrap(), vec![Outcome::Acked; count]);
            assert_eq!(ids(&window), ids_of(&batch));
            assert_eq!(window.compressed, compression_level > 0);
            let encoder = Encoder::new("ecsbeat", compression_level);
            size += encoder.window(batch.iter()).unwrap().len();
        }
        assert_eq!(rig.written.get(), size as u64);
        assert_eq!(rig.read.get(), 2 * 6, "an acknowledgement has six bytes");
        assert!(rig.no_other_peer());
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_gives_the_server_its_time_anew() {
    let mut rig = Setup::default().rig();
    let mut peer = rig.connect().await;
    let batch = events(5);
    let start = Instant::now();
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        peer.window().await;
        for sequence in [0, 2, 0, 0, 2, 4, 5] {
            sleep(29 * SECOND).await;
            peer.ack(sequence).await;
        }
    });
    assert_eq!(outcomes.unwrap(), vec![Outcome::Acked; 5]);
    assert_eq!(start.elapsed(), 7 * 29 * SECOND);
    assert_eq!(rig.read.get(), 7 * 6, "signs of life too");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_when_its_time_is_over() {
    let mut rig = Setup::default().rig();
    let mut peer = rig.connect().await;
    let batch = events(2);
    let start = Instant::now();
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        peer.window().await;
        peer.end().await;
    });
    let error = outcomes.unwrap_err();
    assert!(
        matches!(&error, SinkError::Unanswered(text) if text.starts_with("host0:5044: no acknow")),
        "{error}"
    );
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_before_the_silence_is_not_sent_again() {
    let mut rig = Setup::default().rig();
    let mut peer = rig.connect().await;
    let batch = events(5);
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        peer.window().await;
        peer.ack(1).await;
        peer.ack(3).await;
        peer.ack(2).await;
        peer.end().await;
    });
    let (outcomes, cause) = broken_off(outcomes);
    assert_eq!(outcomes, head(3, 5));
    assert!(matches!(&cause, SinkError::Unanswered(_)), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_connection_leaves_the_rest_to_be_sent_again() {
    let mut rig = Setup::default().rig();
    for accepted in [0, 2] {
        let mut peer = rig.connect().await;
        let batch = events(3);
        let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
            peer.window().await;
            if accepted > 0 {
                peer.ack(accepted).await;
            }
            // Half an answer is none.
            peer.say(b"2A\0\0").await;
            drop(peer);
        });
        let error = if accepted == 0 {
            outcomes.unwrap_err()
        } else {
            let (outcomes, cause) = broken_off(outcomes);
            assert_eq!(outcomes, head(2, 3));
            cause
        };
        assert!(
            matches!(&error, SinkError::Unanswered(text) if text.contains("it closed the connection")),
            "{error}"
        );
        assert!(error.is_of_answer());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_ends_the_connection() {
    for (answer, told) in [
        (&b"2A\0\0\0\x04"[..], "it acknowledged 4 of 3 events"),
        (b"2A\xff\xff\xff\xff", "of 3 events"),
        (b"1A\0\0\0\x03", "it sent 1A"),
        (b"HTTP/1.1 400 Bad Request\r\n", "it sent HTTP/1"),
        (b"\x15\x03\x01\0\x02\x02\x0a", "ssl.enabled"),
    ] {
        let mut rig = Setup::default().rig();
        let mut peer = rig.connect().await;
        let batch = events(3);
        let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
            peer.window().await;
            peer.say(answer).await;
            peer.end().await;
        });
        let error = outcomes.unwrap_err();
        assert!(
            matches!(&error, SinkError::Protocol(text) if text.contains(told)),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_object_is_refused_and_holds_up_nothing() {
    let mut rig = Setup::default().rig();
    let mut peer = rig.connect().await;
    let batch = [event("[1]"), event("{}"), event(""), event(r#"{"a":1}"#)];
    let (outcomes, window) = tokio::join!(rig.publish(&batch), async {
        let window = peer.window_of(2).await;
        peer.ack(1).await;
        drop(peer);
        window
    });
    assert_eq!(ids(&window), [batch[1].id.to_string(), batch[3].id.to_string()]);
    let (outcomes, _) = broken_off(outcomes);
    let refused = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::Rejected {
                reason: DropReason::Refused,
                ..
            }
        )
    };
    assert!(refused(&outcomes[0]) && refused(&outcomes[2]), "{outcomes:?}");
    assert_eq!([&outcomes[1], &outcomes[3]], [&Outcome::Acked, &AGAIN]);
    // Nothing is sent for a batch of which nothing can be.
    let outcomes = rig.publish(&batch[..1]).await.unwrap();
    assert!(refused(&outcomes[0]) && rig.no_other_peer());
}

#[tokio::test(start_paused = true)]
async fn slow_start_limits_the_windows_of_a_batch() {
    let mut rig = Setup {
        window: WindowSize::new(true, 100),
        ..Setup::default()
    }
    .rig();
    let mut peer = rig.connect().await;
    let batch = events(60);
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        for count in [10, 15, 23] {
            peer.window_of(count).await;
            peer.ack(u32::try_from(count).unwrap()).await;
        }
        peer.window_of(12).await;
        peer.ack(7).await;
        drop(peer);
    });
    let (outcomes, _) = broken_off(outcomes);
    assert_eq!(outcomes, head(10 + 15 + 23 + 7, 60));
    // Half of the 35 that would have been next.
    let mut peer = rig.connect().await;
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        for count in [17, 26, 17] {
            peer.window_of(count).await;
            peer.ack(u32::try_from(count).unwrap()).await;
        }
    });
    assert_eq!(outcomes.unwrap(), vec![Outcome::Acked; 60]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_a_window_may_be_goes_in_several() {
    let mut rig = Setup::default().rig();
    let mut peer = rig.connect().await;
    let batch: Vec<_> = std::iter::repeat_n(event("{}"), 10_001).collect();
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        for count in [10_000, 1] {
            peer.window_of(count).await;
            peer.ack(u32::try_from(count).unwrap()).await;
        }
    });
    assert_eq!(outcomes.unwrap(), vec![Outcome::Acked; 10_001]);
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_written_once_the_tenure_is_over() {
    let room = 100 << 10;
    let mut rig = Setup {
        room,
        compression_level: 0,
        hosts: 3,
        ..Setup::default()
    }
    .rig();
    let mut peer = rig.connect().await;
    let over = CancellationToken::new();
    let permit = solo("test", over.clone()).permit(PATIENCE).await.unwrap();
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20));
    let batch = [event(&long)];
    let (outcomes, arrived) = tokio::join!(rig.lanes[0].publish(&permit, &batch), async {
        let mut first = [0; 10];
        peer.stream.read_exact(&mut first).await.unwrap();
        over.cancel();
        first.len() + peer.end().await
    });
    let error = outcomes.unwrap_err();
    assert!(
        matches!(&error, SinkError::Transport(text) if text.contains("the tenure is over")),
        "{error}"
    );
    assert_eq!(arrived, room, "what was on its way, and not a byte more");
    // It was not the server's fault: the same one is used again, but not under this permit.
    rig.lanes[0].shared.connection.connect(&permit).await.unwrap_err();
    assert!(rig.no_other_peer());
    let host = peer.host;
    assert_eq!(rig.connect().await.host, host);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_is_left() {
    let mut rig = Setup {
        room: 100,
        ..Setup::default()
    }
    .rig();
    let peer = rig.connect().await;
    let start = Instant::now();
    let error = rig.publish(&events(100)).await.unwrap_err();
    assert!(
        error.to_string().contains("it has taken nothing for 30s"),
        "{error}"
    );
    assert_eq!(start.elapsed(), PATIENCE);
    drop(peer);
}

/// What is logged, for looking at it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_get_on_is_told_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let told = || {
        String::from_utf8_lossy(&log.0.lock().unwrap())
            .matches("issues/16657")
            .count()
    };
    let mut rig = Setup::default().rig();
    let mut peer = rig.connect().await;
    let batch = events(4);
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        peer.window().await;
        for sequence in [1, 2, 3] {
            for _ in 0..29 {
                sleep(10 * SECOND).await;
                peer.ack(0).await;
            }
            peer.ack(sequence).await;
        }
        for alive in 1..=100 {
            sleep(10 * SECOND).await;
            peer.ack(0).await;
            // The other end reads it when its turn comes.
            tokio::task::yield_now().await;
            assert_eq!(told(), usize::from(alive >= 30), "after {alive} times 10 s");
        }
        peer.ack(4).await;
    });
    assert_eq!(outcomes.unwrap(), vec![Outcome::Acked; 4]);
    assert_eq!(told(), 1);
}
