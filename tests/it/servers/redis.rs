//! Redis: passwords, users, TLS, lists, channels, ports.

use std::net::TcpListener;

use tokio::net::TcpStream;

use super::tls;
use crate::support::authority::Authority;
use crate::support::eventually;
use crate::support::redis::{Builder, Client, Redis, Reply};

async fn client(redis: &Redis) -> Client<TcpStream> {
    Client::over(TcpStream::connect(redis.address()).await.unwrap())
}

fn ok() -> Reply {
    Reply::Status("OK".to_owned())
}

#[track_caller]
fn refused(reply: &Reply, code: &str) {
    assert!(
        matches!(reply, Reply::Error(text) if text.starts_with(code)),
        "{reply:?}"
    );
}

#[tokio::test]
async fn lists_are_read_back_byte_by_byte_and_in_order() {
    let redis = Redis::start().await;
    let mut client = client(&redis).await;
    let document = "{\"text\":\"a\\nb \u{e4}\"}\r\n$5";
    assert_eq!(
        client.ask(&["RPUSH", "ecsbeat", document, ""]).await.unwrap(),
        Reply::Integer(2)
    );
    client.ask(&["RPUSH", "ecsbeat", "last"]).await.unwrap();
    let expected: [&[u8]; 3] = [document.as_bytes(), b"", b"last"];
    assert_eq!(redis.list("ecsbeat").await, expected);
    assert_eq!(redis.keys().await, ["ecsbeat"]);
    assert!(redis.list("nothing").await.is_empty());
}

#[tokio::test]
async fn channels_are_recorded() {
    let redis = Redis::start().await;
    let subscription = redis.subscribe("events").await;
    let mut client = client(&redis).await;
    for message in ["1", "2"] {
        let receivers = client.ask(&["PUBLISH", "events", message]).await.unwrap();
        assert_eq!(receivers.integer(), 1);
    }
    client.ask(&["PUBLISH", "others", "3"]).await.unwrap();
    eventually("messages arrive", || subscription.messages().len() == 2).await;
    assert_eq!(subscription.messages(), [b"1", b"2"]);
}

#[tokio::test]
async fn passwords_and_users_are_asked_for() {
    let redis = Builder::new()
        .password("CANARY-default")
        .user("beat on >CANARY-beat ~ecsbeat +rpush +ping")
        .start()
        .await;
    let mut client = client(&redis).await;
    refused(&client.ask(&["PING"]).await.unwrap(), "NOAUTH");
    refused(&client.ask(&["AUTH", "wrong"]).await.unwrap(), "WRONGPASS");
    assert_eq!(client.ask(&["AUTH", "CANARY-default"]).await.unwrap(), ok());
    assert_eq!(
        client.ask(&["RPUSH", "other", "1"]).await.unwrap(),
        Reply::Integer(1)
    );
    assert_eq!(client.ask(&["AUTH", "beat", "CANARY-beat"]).await.unwrap(), ok());
    assert_eq!(
        client.ask(&["RPUSH", "ecsbeat", "1"]).await.unwrap(),
        Reply::Integer(1)
    );
    refused(&client.ask(&["RPUSH", "other", "2"]).await.unwrap(), "NOPERM");
    refused(&client.ask(&["INFO"]).await.unwrap(), "NOPERM");
    assert_eq!(redis.keys().await, ["ecsbeat", "other"]);
}

#[tokio::test]
async fn tls_has_a_certificate_of_the_authority_and_asks_for_one() {
    let (own, clients) = (Authority::new("redis"), Authority::new("clients"));
    let redis = Builder::new()
        .tls(&own)
        .client_certificates(&clients)
        .start()
        .await;
    let name = redis.address().ip().to_string();
    let connect = || async { TcpStream::connect(redis.address()).await.unwrap() };

    let pair = clients.issue("beat", &[]);
    let mut client = Client::over(tls(connect().await, &name, &own, Some(&pair)).await.unwrap());
    assert_eq!(
        client.ask(&["RPUSH", "ecsbeat", "1"]).await.unwrap(),
        Reply::Integer(1)
    );
    assert_eq!(redis.list("ecsbeat").await, [b"1"]);

    let stranger = Authority::new("stranger").issue("beat", &[]);
    for pair in [None, Some(&stranger)] {
        let mut client = Client::over(tls(connect().await, &name, &own, pair).await.unwrap());
        client.ask(&["PING"]).await.unwrap_err();
    }
    let error = tls(connect().await, &name, &clients, Some(&pair))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let error = tls(connect().await, "127.0.0.1", &own, Some(&pair))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    // No plain port beside it.
    Client::over(connect().await).ask(&["PING"]).await.unwrap_err();
}

#[tokio::test]
async fn without_client_certificates_tls_asks_for_none() {
    let authority = Authority::new("redis");
    let redis = Builder::new()
        .tls(&authority)
        .password("CANARY-default")
        .start()
        .await;
    let stream = TcpStream::connect(redis.address()).await.unwrap();
    let name = redis.address().ip().to_string();
    let mut client = Client::over(tls(stream, &name, &authority, None).await.unwrap());
    refused(&client.ask(&["PING"]).await.unwrap(), "NOAUTH");
    assert_eq!(client.ask(&["AUTH", "CANARY-default"]).await.unwrap(), ok());
}

#[tokio::test]
async fn another_port_is_taken_where_the_first_one_is_not_free() {
    let builder = Builder::new();
    let taken = TcpListener::bind((builder.ip(), 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let redis = builder.first_port(port).start().await;
    assert_ne!(redis.address().port(), port);
    assert_eq!(
        client(&redis).await.ask(&["PING"]).await.unwrap(),
        Reply::Status("PONG".to_owned())
    );
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let mut redis = Redis::start().await;
    let address = redis.address();
    let mut before = client(&redis).await;
    for number in 0..100 {
        before
            .ask(&["RPUSH", "ecsbeat", &number.to_string()])
            .await
            .unwrap();
    }
    redis.kill();
    before.ask(&["PING"]).await.unwrap_err();
    TcpStream::connect(address).await.unwrap_err();
    redis.restart().await;
    assert_eq!(redis.address(), address);
    let expected: Vec<Vec<u8>> = (0..100).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(redis.list("ecsbeat").await, expected);
}

#[tokio::test]
async fn a_full_server_and_a_replica_refuse_what_is_written() {
    let redis = Redis::start().await;
    let mut client = client(&redis).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    refused(&client.ask(&["RPUSH", "ecsbeat", "1"]).await.unwrap(), "OOM");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    refused(&client.ask(&["RPUSH", "ecsbeat", "1"]).await.unwrap(), "READONLY");
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(
        client.ask(&["RPUSH", "ecsbeat", "1"]).await.unwrap(),
        Reply::Integer(1)
    );
}
