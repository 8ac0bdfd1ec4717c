//! Several batches in flight: whose acknowledgements are whose, and what one that fails means for the others.

use std::pin::pin;
use std::task::Poll;

use futures_util::poll;
use tokio::time::sleep;

use super::*;

fn pipelined() -> Rig {
    Setup {
        pipelining: 3,
        ..Setup::default()
    }
    .rig()
}

#[tokio::test(start_paused = true)]
async fn the_windows_are_written_before_the_first_is_acknowledged_and_answered_in_their_order() {
    let mut rig = pipelined();
    let mut peer = rig.connect().await;
    let batches = [events(5), events(2), events(4)];
    let lane = |number: usize| {
        let (lane, batch) = (&rig.lanes[number], &batches[number]);
        async move { lane.publish(&permit(PATIENCE), batch).await.unwrap() }
    };
    let (first, second, third) = (lane(0), lane(1), lane(2));
    let (mut first, mut second, mut third) = (pin!(first), pin!(second), pin!(third));
    // Whoever asks first writes first; the answers are waited for in any order.
    for (number, lane) in [(0, &mut first), (1, &mut second), (2, &mut third)] {
        assert!(poll!(lane).is_pending());
        assert_eq!(
            peer.window_of(batches[number].len()).await.events.len(),
            batches[number].len()
        );
    }
    peer.ack(2).await;
    assert!(
        poll!(&mut second).is_pending(),
        "2 is the number of its events, but not its turn"
    );
    assert!(poll!(&mut third).is_pending());
    assert!(poll!(&mut first).is_pending());
    peer.ack(5).await;
    peer.ack(0).await;
    peer.ack(2).await;
    assert!(poll!(&mut third).is_pending());
    assert!(
        poll!(&mut second).is_pending(),
        "the one before has not read its answer"
    );
    assert_eq!(poll!(&mut first), Poll::Ready(vec![Outcome::Acked; 5]));
    assert_eq!(poll!(&mut second), Poll::Ready(vec![Outcome::Acked; 2]));
    assert!(poll!(&mut third).is_pending());
    peer.ack(4).await;
    assert_eq!(third.await, vec![Outcome::Acked; 4]);
    assert!(rig.peers.try_recv().is_err(), "another connection");
}

#[tokio::test(start_paused = true)]
async fn many_batches_over_one_connection_each_get_their_own_answers() {
    let mut rig = pipelined();
    let mut peer = rig.connect().await;
    let batches: Vec<_> = (1..=60).map(events).collect();
    let publish = |number: usize| {
        let (lane, batches) = (&rig.lanes[number], &batches);
        async move {
            for batch in batches.iter().skip(number).step_by(3) {
                let outcomes = lane.publish(&permit(PATIENCE), batch).await.unwrap();
                assert_eq!(outcomes, vec![Outcome::Acked; batch.len()]);
            }
        }
    };
    let serve = async {
        for _ in 0..batches.len() {
            let count = u32::try_from(peer.window().await.events.len()).unwrap();
            for sequence in [0, count / 2, count] {
                peer.ack(sequence).await;
                sleep(SECOND).await;
            }
        }
    };
    tokio::join!(publish(0), publish(1), publish(2), serve);
    assert!(rig.no_other_peer());
}

#[tokio::test(start_paused = true)]
async fn a_failure_fails_all_that_is_outstanding_and_the_next_connection_is_shared_again() {
    let mut rig = pipelined();
    let mut peer = rig.connect().await;
    let batch = events(4);
    let lane = |number: usize| rig.lanes[number].send(&batch);
    let (first, second, third, ()) = tokio::join!(lane(0), lane(1), lane(2), async {
        for _ in 0..3 {
            peer.window().await;
        }
        peer.ack(4).await;
        peer.ack(3).await;
        peer.say(b"2X").await;
        peer.end().await;
    });
    assert_eq!(first.unwrap(), vec![Outcome::Acked; 4]);
    let (outcomes, cause) = broken_off(second);
    assert_eq!(outcomes, head(3, 4));
    let third = third.unwrap_err();
    assert_eq!(
        third.to_string(),
        cause.to_string(),
        "one cause, told in the same words"
    );

    let mut peer = rig.connect().await;
    for lane in &rig.lanes {
        lane.shared.connection.connect(&permit(PATIENCE)).await.unwrap();
    }
    let lane = |number: usize| rig.lanes[number].send(&batch);
    let (first, second, ()) = tokio::join!(lane(1), lane(2), async {
        for _ in 0..2 {
            peer.window().await;
        }
        peer.ack(4).await;
        peer.ack(4).await;
    });
    assert_eq!((first.unwrap(), second.unwrap()), (head(4, 4), head(4, 4)));
    assert!(rig.no_other_peer());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_ends_the_connection_for_all() {
    // Of three that wait for their answers, each in turn is dropped.
    for dropped in 0..3 {
        let mut rig = pipelined();
        let mut peer = rig.connect().await;
        let batch = events(2);
        let start = Instant::now();
        let mut lanes: Vec<_> = (0..3)
            .map(|number| Box::pin(rig.lanes[number].send(&batch)))
            .collect();
        for lane in &mut lanes {
            assert!(poll!(lane).is_pending());
            peer.window().await;
        }
        drop(lanes.remove(dropped));
        for lane in lanes {
            let error = lane.await.unwrap_err();
            assert!(error.to_string().contains("given up"), "{error}");
        }
        peer.end().await;
        assert_eq!(
            start.elapsed(),
            Duration::ZERO,
            "nobody waits for what cannot come"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_while_it_writes_ends_the_connection_for_all() {
    let mut rig = Setup {
        pipelining: 2,
        room: 2000,
        compression_level: 0,
        ..Setup::default()
    }
    .rig();
    let mut peer = rig.connect().await;
    let (small, large) = (events(2), events(100));
    let mut first = Box::pin(rig.lanes[0].send(&small));
    assert!(poll!(&mut first).is_pending());
    let mut second = Box::pin(rig.lanes[1].send(&large));
    assert!(poll!(&mut second).is_pending());
    drop(second);
    first.await.unwrap_err();
    peer.window_of(2).await;
    let rest = peer.end().await;
    assert!(rest < 2000, "{rest} bytes of the second window");
    // Its half cannot be taken for the beginning of another.
    assert!(!peer.decoder.is_between_windows() || rest > 0);
    let mut peer = rig.connect().await;
    let (outcomes, ()) = tokio::join!(rig.publish(&small), async {
        peer.window_of(2).await;
        peer.ack(2).await;
    });
    assert_eq!(outcomes.unwrap(), head(2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_with_a_batch_need_not_take_the_next() {
    let mut rig = Setup {
        pipelining: 2,
        room: 2000,
        compression_level: 0,
        ..Setup::default()
    }
    .rig();
    let mut peer = rig.connect().await;
    let (small, large) = (events(2), events(100));
    let lane = |number: usize, batch| rig.lanes[number].send(batch);
    let (first, second, ()) = tokio::join!(lane(0, &small), lane(1, &large), async {
        let mut some = [0; 6];
        peer.stream.read_exact(&mut some).await.unwrap();
        peer.decoder.feed(&some);
        for _ in 0..10 {
            sleep(20 * SECOND).await;
            peer.ack(0).await;
        }
        peer.window_of(2).await;
        peer.ack(2).await;
        peer.window_of(100).await;
        peer.ack(100).await;
    });
    assert_eq!((first.unwrap(), second.unwrap()), (head(2, 2), head(100, 100)));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_sent_behind_another_gets_the_time_that_that_one_took_in_addition() {
    let mut rig = pipelined();
    let mut peer = rig.connect().await;
    let batch = events(2);
    let start = Instant::now();
    let lane = |number: usize| rig.lanes[number].send(&batch);
    let (first, second, third, ()) = tokio::join!(lane(0), lane(1), lane(2), async {
        for _ in 0..3 {
            peer.window().await;
        }
        for sequence in [0, 0, 0, 2] {
            sleep(25 * SECOND).await;
            peer.ack(sequence).await;
        }
        // No sign of life, as from Logstash.
        sleep(100 * SECOND + 29 * SECOND).await;
        peer.ack(1).await;
        // Once there was one, it is as always.
        sleep(29 * SECOND).await;
        peer.ack(2).await;
        peer.end().await;
    });
    assert_eq!((first.unwrap(), second.unwrap()), (head(2, 2), head(2, 2)));
    third.unwrap_err();
    let ahead = 129 * SECOND + 29 * SECOND;
    assert_eq!(start.elapsed(), 100 * SECOND + ahead + PATIENCE + ahead);

    // One that was not behind another has no such claim.
    let mut peer = rig.connect().await;
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        peer.window().await;
        for sequence in [0, 2] {
            sleep(25 * SECOND).await;
            peer.ack(sequence).await;
        }
    });
    assert_eq!(outcomes.unwrap(), head(2, 2));
    let start = Instant::now();
    rig.publish(&batch).await.unwrap_err();
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn the_last_one_closes_the_connection() {
    let mut rig = pipelined();
    let mut peer = rig.connect().await;
    let batch = events(1);
    rig.lanes[1].close().await;
    rig.lanes[0].close().await;
    let (outcomes, ()) = tokio::join!(rig.lanes[2].send(&batch), async {
        peer.window().await;
        peer.ack(1).await;
    });
    assert_eq!(outcomes.unwrap(), head(1, 1));
    let ((), rest) = tokio::join!(rig.lanes[2].close(), peer.end());
    assert_eq!(rest, 0);
}
