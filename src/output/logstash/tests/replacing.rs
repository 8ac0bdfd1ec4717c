//! Connections that are made anew: before a batch where the old one cannot be used, and after failures.

use futures_util::poll;
use tokio::time::{advance, sleep};

use super::*;

/// Sends a batch over `peer`.
async fn round(rig: &Rig, peer: &mut Peer) {
    let batch = events(2);
    let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
        peer.window_of(2).await;
        peer.ack(2).await;
    });
    assert_eq!(outcomes.unwrap(), head(2, 2));
}

/// Sends a batch over a connection that must be a new one, and gives its other end.
async fn round_over_another(rig: &mut Rig) -> Peer {
    let batch = events(2);
    let lane = rig.lanes.remove(0);
    let (outcomes, peer) = tokio::join!(lane.send(&batch), async {
        let mut peer = rig.peers.recv().await.unwrap();
        peer.window_of(2).await;
        peer.ack(2).await;
        peer
    });
    assert_eq!(outcomes.unwrap(), head(2, 2));
    rig.lanes.insert(0, lane);
    peer
}

#[tokio::test(start_paused = true)]
async fn one_that_the_server_has_closed_is_replaced_before_anything_is_written() {
    let mut rig = Setup {
        hosts: 5,
        ..Setup::default()
    }
    .rig();
    let mut peer = rig.connect().await;
    let host = peer.host;
    for _ in 0..10 {
        round(&rig, &mut peer).await;
        drop(peer);
        peer = round_over_another(&mut rig).await;
        assert_eq!(peer.host, host, "it did nothing wrong");
    }
    assert!(rig.no_other_peer());
}

#[tokio::test(start_paused = true)]
async fn one_that_says_what_nobody_asked_is_replaced() {
    for said in [&b"2A\0\0\0\x02"[..], b"2X"] {
        let mut rig = Setup::default().rig();
        let mut peer = rig.connect().await;
        round(&rig, &mut peer).await;
        peer.ack(0).await;
        round(&rig, &mut peer).await;
        peer.say(said).await;
        round_over_another(&mut rig).await;
        assert_eq!(peer.end().await, 0, "no second batch");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_idle_for_more_than_half_a_minute_is_replaced_and_ends_in_order() {
    let mut rig = Setup::default().rig();
    let mut peer = rig.connect().await;
    for _ in 0..3 {
        advance(30 * SECOND).await;
        round(&rig, &mut peer).await;
    }
    advance(30 * SECOND + Duration::from_millis(1)).await;
    let mut other = round_over_another(&mut rig).await;
    assert_eq!(peer.end().await, 0);
    round(&rig, &mut other).await;
    // The same before there is anything to send.
    advance(31 * SECOND).await;
    let mut third = rig.connect().await;
    assert_eq!(other.end().await, 0);
    round(&rig, &mut third).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_has_reached_its_ttl_is_replaced_between_batches() {
    let mut rig = Setup {
        ttl: Some(60 * SECOND),
        ..Setup::default()
    }
    .rig();
    let mut peer = rig.connect().await;
    for _ in 0..2 {
        for _ in 0..2 {
            advance(29 * SECOND).await;
            round(&rig, &mut peer).await;
        }
        advance(2 * SECOND).await;
        let other = round_over_another(&mut rig).await;
        assert_eq!(peer.end().await, 0);
        peer = other;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_outstanding_at_the_end_of_the_ttl_is_waited_for() {
    let mut rig = Setup {
        pipelining: 3,
        ttl: Some(60 * SECOND),
        ..Setup::default()
    }
    .rig();
    let mut old = rig.connect().await;
    let batch = events(2);
    let start = Instant::now();
    let lane = |number: usize| rig.lanes[number].send(&batch);
    let (first, second, third, ()) = tokio::join!(
        lane(0),
        lane(1),
        async {
            sleep(61 * SECOND).await;
            let outcomes = lane(2).await;
            assert_eq!(
                start.elapsed(),
                75 * SECOND,
                "before what was outstanding was acknowledged"
            );
            outcomes
        },
        async {
            for _ in 0..2 {
                old.window().await;
            }
            for _ in 0..4 {
                sleep(15 * SECOND).await;
                old.ack(0).await;
            }
            old.ack(2).await;
            sleep(15 * SECOND).await;
            assert!(
                rig.peers.try_recv().is_err(),
                "connected while a batch is outstanding"
            );
            old.ack(2).await;
            assert_eq!(old.end().await, 0);
            let mut new = rig.peers.recv().await.unwrap();
            new.window().await;
            new.ack(2).await;
        }
    );
    for outcomes in [first, second, third] {
        assert_eq!(outcomes.unwrap(), head(2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_while_it_is_waited_for_at_the_end_of_its_ttl_fails_nobody_else() {
    let mut rig = Setup {
        pipelining: 2,
        ttl: Some(SECOND),
        hosts: 2,
        ..Setup::default()
    }
    .rig();
    let mut old = rig.connect().await;
    let host = old.host;
    let batch = events(2);
    let mut first = Box::pin(rig.lanes[0].send(&batch));
    assert!(poll!(&mut first).is_pending());
    advance(2 * SECOND).await;
    let (first, second, ()) = tokio::join!(first, rig.lanes[1].send(&batch), async {
        old.window().await;
        drop(old);
        let mut new = rig.peers.recv().await.unwrap();
        assert_ne!(new.host, host, "the other host's turn");
        new.window().await;
        new.ack(2).await;
    });
    first.unwrap_err();
    assert_eq!(second.unwrap(), head(2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_is_left_for_another() {
    let mut rig = Setup {
        hosts: 2,
        ..Setup::default()
    }
    .rig();
    let mut peer = rig.connect().await;
    for _ in 0..5 {
        let host = peer.host;
        let batch = events(1);
        let (outcomes, ()) = tokio::join!(rig.publish(&batch), async {
            peer.window().await;
            drop(peer);
        });
        outcomes.unwrap_err();
        // The next one cannot be reached, so it is this one's turn again.
        let refused = SinkError::Transport("refused".to_owned());
        rig.servers.errors.lock().unwrap().push_back(refused);
        let error = rig.lanes[0]
            .shared
            .connection
            .connect(&permit(PATIENCE))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "refused");
        peer = rig.connect().await;
        assert_eq!(peer.host, host);
        drop(peer);
        peer = rig.connect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_made_for_a_batch_fails_it_and_the_next_try_works() {
    let mut rig = Setup::default().rig();
    drop(rig.connect().await);
    let refused = SinkError::Transport("refused".to_owned());
    rig.servers.errors.lock().unwrap().push_back(refused);
    let error = rig.publish(&events(2)).await.unwrap_err();
    assert_eq!(error.to_string(), "refused");
    round_over_another(&mut rig).await;
}

#[tokio::test(start_paused = true)]
async fn one_to_another_host_is_replaced_when_the_own_one_is_back() {
    let mut rig = Setup {
        hosts: 3,
        loadbalance: true,
        ..Setup::default()
    }
    .rig();
    let mut home = rig.connect().await;
    assert_eq!(home.host, 0);
    round(&rig, &mut home).await;
    // It goes away, and so does the way to it.
    drop(home);
    let fail = |rig: &Rig| {
        rig.servers
            .errors
            .lock()
            .unwrap()
            .push_back(SinkError::Transport(String::new()));
    };
    fail(&rig);
    rig.publish(&events(1)).await.unwrap_err();
    let mut other = round_over_another(&mut rig).await;
    assert_eq!(other.host, 1);
    for looked in [false, true, false, true] {
        advance(16 * SECOND).await;
        if looked {
            fail(&rig);
        }
        round(&rig, &mut other).await;
        assert!(rig.servers.errors.lock().unwrap().is_empty(), "looked for it");
        assert!(rig.no_other_peer());
    }
    advance(16 * SECOND).await;
    round(&rig, &mut other).await;
    advance(16 * SECOND).await;
    let mut home = round_over_another(&mut rig).await;
    assert_eq!(home.host, 0);
    assert_eq!(other.end().await, 0, "ended in order");
    for _ in 0..4 {
        advance(16 * SECOND).await;
        round(&rig, &mut home).await;
    }
    assert!(rig.no_other_peer());
}
