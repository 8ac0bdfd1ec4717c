//! Exchanges over a pipe: what no socket does twice in the same way.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use redis::Value;
use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::election::{Permit, solo};
use crate::output::redis::Deadline;
use crate::output::redis::connection::{Commands, Connection, Exchange};

fn connection(stream: DuplexStream) -> Connection<DuplexStream> {
    let at = HostPort {
        host: "pipe".to_owned(),
        port: 6379,
    };
    let counters = (&Counter::default(), &Counter::default());
    Connection::new(stream, 0, &at, counters)
}

fn deadline(permit: Permit) -> Deadline {
    Deadline {
        at: Instant::now() + permit.budget(),
        time: permit.budget(),
        permit,
    }
}

/// So many commands of so many bytes.
fn commands(count: usize, bytes: usize) -> Commands {
    let mut commands = Commands::default();
    for _ in 0..count {
        commands.push(redis::cmd("RPUSH").arg("ecsbeat").arg("x".repeat(bytes)));
    }
    commands
}

fn broken(exchange: Exchange) -> String {
    exchange.broken.unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn replies_that_came_before_the_time_was_over_count() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut left = 3;
    let server = serve(theirs, move |_| {
        left -= 1;
        if left < 0 { Answer::Silence } else { line(":1") }
    });
    let mut connection = connection(ours);
    let begin = Instant::now();
    let (commands, deadline) = (commands(5, 10), deadline(permit(LONG)));
    let exchange = tokio::select! {
        exchange = connection.exchange(&commands, &deadline) => exchange,
        () = server => panic!("the server has ended"),
    };
    assert_eq!(begin.elapsed(), LONG);
    assert_eq!(exchange.replies, [Value::Int(1), Value::Int(1), Value::Int(1)]);
    assert_eq!(broken(exchange), "pipe:6379: 3 of 5 commands answered within 60s");
    assert!(!connection.is_in_order() && !connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_costs_the_time_of_one_send() {
    let (ours, theirs) = tokio::io::duplex(64);
    let mut connection = connection(ours);
    let exchange = connection
        .exchange(&commands(5, 100), &deadline(permit(LONG)))
        .await;
    assert_eq!(broken(exchange), "pipe:6379: no answer within 60s");
    drop(theirs);
}

/// Neither side may wait for the other: the server reads no further than it can answer.
#[tokio::test(start_paused = true)]
async fn replies_are_read_while_commands_are_still_written() {
    for room in [1, 2, 7, 64] {
        let (ours, theirs) = tokio::io::duplex(room);
        let mut connection = connection(ours);
        let mut number = 0;
        let server = serve(theirs, move |_| {
            number += 1;
            line(&format!(":{number}"))
        });
        let (commands, deadline) = (commands(300, 20), deadline(permit(LONG)));
        let exchange = tokio::select! {
            exchange = connection.exchange(&commands, &deadline) => exchange,
            () = server => panic!("the server has ended"),
        };
        assert!(exchange.broken.is_none(), "{}", broken(exchange));
        assert_eq!(exchange.replies, (1..=300).map(Value::Int).collect::<Vec<_>>());
        assert!(connection.is_in_order());
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_tenure_nothing_more_goes_out() {
    let cancel = CancellationToken::new();
    let tenure = solo("test", cancel.clone());
    let permit = tenure.permit(LONG).await.unwrap();
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    let mut connection = connection(ours);
    let (commands, deadline) = (commands(100, 1 << 10), deadline(permit));
    let mut taken = vec![0; 1 << 10];
    let exchange = {
        let mut exchange = Box::pin(connection.exchange(&commands, &deadline));
        assert!((&mut exchange).now_or_never().is_none(), "the pipe is full");
        cancel.cancel();
        theirs.read_exact(&mut taken).await.unwrap();
        exchange.await
    };
    assert_eq!(broken(exchange), "pipe:6379: not sent: the tenure is over");
    drop(connection);
    assert_eq!(
        theirs.read(&mut taken).await.unwrap(),
        0,
        "there was room, and nothing came"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_before_it_hangs_up_is_heard() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut connection = connection(ours);
    theirs
        .write_all(b"-ERR Protocol error: invalid bulk length\r\n")
        .await
        .unwrap();
    drop(theirs);
    let exchange = connection
        .exchange(&commands(3, 100), &deadline(permit(LONG)))
        .await;
    assert!(
        matches!(&exchange.replies[..], [Value::ServerError(error)] if error.code() == "ERR"),
        "{:?}",
        exchange.replies
    );
    assert!(broken(exchange).starts_with("pipe:6379: "));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let mut connection = connection(ours);
    let (commands, deadline) = (commands(1, 1), deadline(permit(LONG)));
    let endless = async {
        // More than is read, and then nothing more.
        for _ in 0..4 << 10 {
            if theirs.write_all(&[b'+'; 1 << 10]).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    let exchange = tokio::select! {
        exchange = connection.exchange(&commands, &deadline) => exchange,
        () = endless => panic!("it was not kept waiting"),
    };
    assert!(broken(exchange).contains("too long"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any bytes at all, in pieces of any size.
    #[test]
    fn whatever_is_answered_nothing_panics(
        answer in prop::collection::vec(
            prop_oneof![
                Just(b"+OK\r\n".to_vec()), Just(b":1\r\n".to_vec()), Just(b"-ERR x\r\n".to_vec()),
                Just(b"*9223372036854775807\r\n".to_vec()), Just(b"$9223372036854775807\r\n".to_vec()),
                Just(b"%-1\r\n".to_vec()), Just(b"|1\r\n".to_vec()), Just(b"*-1\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..6), Just(b"\r\n".to_vec()), Just(b"*1\r\n".repeat(200)),
            ],
            0..12
        ),
        room in 1_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(room);
            let mut connection = connection(ours);
            let (commands, deadline) = (commands(4, 1), deadline(permit(LONG)));
            let answering = async {
                let _ = theirs.write_all(&answer.concat()).await;
                let _ = theirs.shutdown().await;
                let _ = tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await;
            };
            let (exchange, ()) = tokio::join!(
                async {
                    let exchange = connection.exchange(&commands, &deadline).await;
                    drop(connection);
                    exchange
                },
                answering
            );
            assert!(exchange.replies.len() <= 4);
            assert!(exchange.replies.len() == 4 || exchange.broken.is_some());
        });
    }
}
