//! Several servers, with and without load balancing.

use ecsbeat::output::{Outcome, Sink as _, SinkError};

use super::{deliver, events, numbers, outputs, permit, refused};
use crate::support::redis::Redis;

#[tokio::test]
async fn all_hosts_are_used_at_once() {
    let (first, second) = (Redis::start().await, Redis::start().await);
    let settings = format!(
        "hosts: ['{}', '{}'], workers: 2",
        first.address(),
        second.address()
    );
    let mut outputs = outputs(&settings);
    assert_eq!(outputs.len(), 4);
    for (number, output) in outputs.iter_mut().enumerate() {
        deliver(output, &events(number..number + 1)).await;
    }
    assert_eq!(numbers(&first.list("ecsbeat").await), [0, 2]);
    assert_eq!(numbers(&second.list("ecsbeat").await), [1, 3]);
}

#[tokio::test]
async fn without_load_balancing_one_is_used_until_it_fails() {
    let mut servers = [Redis::start().await, Redis::start().await];
    let [first, second] = servers.each_ref().map(Redis::address);
    let mut outputs = outputs(&format!(
        "hosts: ['{first}', '{second}'], workers: 2, loadbalance: false"
    ));
    assert_eq!(outputs.len(), 2);
    for (number, output) in outputs.iter_mut().enumerate() {
        deliver(output, &events(number..number + 1)).await;
    }
    let used = usize::from(!servers[1].keys().await.is_empty());
    assert!(servers[1 - used].keys().await.is_empty());
    servers[used].kill();
    let error = outputs[0]
        .publish(&permit().await, &events(2..3))
        .await
        .unwrap_err();
    // Whether the end of the connection was seen before the batch went out, or behind it.
    let (SinkError::Transport(text) | SinkError::Unanswered(text)) = &error else {
        panic!("{error:?}")
    };
    assert!(text.starts_with(&servers[used].address().to_string()), "{text}");
    // The other connection follows, without having failed.
    for (number, output) in outputs.iter_mut().enumerate() {
        let batch = events(2 + number..3 + number);
        let outcomes = output.publish(&permit().await, &batch).await.unwrap();
        assert_eq!(outcomes, [Outcome::Acked]);
    }
    assert_eq!(numbers(&servers[1 - used].list("ecsbeat").await), [2, 3]);
    servers[used].restart().await;
    assert_eq!(numbers(&servers[used].list("ecsbeat").await), [0, 1]);
}

#[tokio::test]
async fn a_connection_whose_host_is_down_goes_on_with_the_next() {
    let (mut first, second) = (Redis::start().await, Redis::start().await);
    let mut outputs = outputs(&format!("hosts: ['{}', '{}']", first.address(), second.address()));
    deliver(&mut outputs[0], &events(0..1)).await;
    first.kill();
    let error = refused(&mut outputs[0], &events(1..2)).await;
    assert!(
        error.to_string().starts_with(&first.address().to_string()),
        "{error}"
    );
    deliver(&mut outputs[0], &events(1..2)).await;
    assert_eq!(numbers(&second.list("ecsbeat").await), [1]);
}
