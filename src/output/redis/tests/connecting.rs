//! What is said before the first event, and connections that end.

use super::*;
use crate::config::Secret;
use crate::output::redis::test;
use crate::steps::Steps;
use crate::steps::tests::Told;

/// A host that is logged in to.
fn with_login(server: &Server, username: Option<&str>, db: u32) -> RedisOutput {
    let mut host = server.host();
    host.username = username.map(str::to_owned);
    host.password = Some(Secret::new("CANARY"));
    host.db = db;
    config(vec![host])
}

#[tokio::test]
async fn user_password_and_database_come_before_the_first_event() {
    for (username, db, expected) in [
        (None, 0, vec![vec!["AUTH", "CANARY"], vec!["PING"]]),
        (
            Some("beat"),
            3,
            vec![vec!["AUTH", "beat", "CANARY"], vec!["SELECT", "3"], vec!["PING"]],
        ),
    ] {
        let server = Server::healthy().await;
        let mut sink = sink(&with_login(&server, username, db));
        sink.connect(&permit(LONG)).await.unwrap();
        let asked: Vec<_> = server.asked().into_iter().map(|(_, command)| command).collect();
        assert_eq!(asked, expected);
        let shown = format!("{sink:?} {:?}", with_login(&server, username, db));
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[tokio::test]
async fn a_refused_login_says_what_to_do_and_not_the_password() {
    for (reply, words) in [
        (
            "-WRONGPASS invalid username-password pair or user is disabled.",
            "check username and password",
        ),
        ("-ERR invalid password", "check username and password"),
        (
            "-ERR Client sent AUTH, but no password is set",
            "leave password out",
        ),
        (
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure?",
            "leave password out",
        ),
        (
            "-ERR wrong number of arguments for 'auth' command",
            "leave username out",
        ),
        (
            "-ERR unknown command 'AUTH', with args beginning with: 'CANARY'",
            "takes AUTH at all",
        ),
        ("-ERR odd: CANARY", "takes AUTH at all"),
        ("-DENIED Redis is running in protected mode", "protected-mode no"),
        ("-ERR max number of clients reached", "maxclients"),
    ] {
        let server = Server::start(move |_, command| match command[0].as_str() {
            "AUTH" => line(reply),
            _ => line("-NOAUTH Authentication required."),
        })
        .await;
        let error = sink(&with_login(&server, None, 0))
            .connect(&permit(LONG))
            .await
            .unwrap_err();
        let text = error.to_string();
        let is_busy = matches!(error, SinkError::Busy { .. });
        assert!(
            matches!(error, SinkError::Denied(_)) || (is_busy && reply.contains("clients")),
            "{text}"
        );
        assert!(
            text.starts_with(&format!("{}: AUTH: ", server.at)) && text.contains(words),
            "{reply}: {text}"
        );
        assert!(!text.contains("CANARY"), "{text}");
    }
}

#[tokio::test]
async fn what_else_is_refused_before_the_first_event() {
    for (command, reply, words) in [
        ("SELECT", "-ERR DB index is out of range", "check db"),
        ("PING", "-NOAUTH Authentication required.", "set password"),
        ("PING", "HTTP/1.1 400 Bad Request", "check host and port"),
        ("PING", ">1\r\n+x", "check host and port"),
        ("PING", "+PONG\r\n+PONG", "more than it had been asked"),
    ] {
        let server = Server::start(move |_, asked| {
            if asked[0] == command {
                line(reply)
            } else {
                healthy(asked)
            }
        })
        .await;
        let mut host = server.host();
        host.db = 16;
        let text = sink(&config(vec![host]))
            .connect(&permit(LONG))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with(&server.at.to_string()) && text.contains(words),
            "{reply}: {text}"
        );
    }
}

#[tokio::test]
async fn a_user_who_may_not_ping_is_welcome() {
    let server = Server::start(|_, command| match command[0].as_str() {
        "PING" => line("-NOPERM User beat has no permissions to run the 'ping' command"),
        _ => healthy(command),
    })
    .await;
    assert_eq!(
        publish(&mut server.sink(), &events(1)).await.unwrap(),
        [Outcome::Acked]
    );
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced_without_a_word() {
    let mut server = Server::healthy().await;
    let mut sink = server.sink();
    publish(&mut sink, &events(1)).await.unwrap();
    server.close_all(1).await;
    // The end is on its way to this process.
    until(|| !sink.connection.as_mut().unwrap().is_open()).await;
    let outcomes = sink.publish(&permit(LONG), &events(1)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked]);
    let connections: Vec<usize> = server.asked().into_iter().map(|(number, _)| number).collect();
    assert_eq!(connections, [0, 0, 1, 1]);
}

#[tokio::test]
async fn a_connection_on_which_something_was_said_unasked_is_replaced() {
    let server = Server::start(|connection, command| match (connection, command[0].as_str()) {
        // Whatever the second reply is for, it must not be taken for that of the next event.
        (0, "RPUSH") => line(":1\r\n-OOM command not allowed"),
        _ => healthy(command),
    })
    .await;
    let mut sink = server.sink();
    match publish(&mut sink, &events(1)).await {
        Ok(outcomes) => {
            assert_eq!(outcomes, [Outcome::Acked]);
            until(|| !sink.connection.as_mut().unwrap().is_open()).await;
        }
        // They arrived together.
        Err(SinkError::BrokenOff { outcomes, cause }) => {
            assert_eq!(outcomes, [Outcome::Acked]);
            assert!(
                matches!(&*cause, SinkError::Protocol(text) if text.ends_with("answered more than it had been asked")),
                "{cause:?}"
            );
            assert!(sink.connection.is_none());
        }
        Err(error) => panic!("{error}"),
    }
    let outcomes = sink.publish(&permit(LONG), &events(1)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked]);
    assert_eq!(server.asked().last().unwrap().0, 1);
}

#[tokio::test]
async fn a_publish_that_is_dropped_midway_takes_its_connection_with_it() {
    let mut server = Server::start(|connection, command| match (connection, command[0].as_str()) {
        (0, "RPUSH") => Answer::Silence,
        _ => healthy(command),
    })
    .await;
    let mut sink = server.sink();
    sink.connect(&permit(LONG)).await.unwrap();
    let batch = events(2);
    let permit = permit(LONG);
    tokio::select! {
        biased;
        result = sink.publish(&permit, &batch) => panic!("{result:?}"),
        () = until(|| server.verbs().len() == 3) => {}
    }
    assert!(sink.connection.is_none());
    server.ended.wait_for(|ended| *ended == 1).await.unwrap();
    let outcomes = sink.publish(&permit, &batch).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);
}

#[tokio::test]
async fn connections_follow_each_other_to_another_host() {
    let (first, second) = (Server::healthy().await, Server::healthy().await);
    let mut config = config(vec![first.host(), second.host()]);
    config.network.loadbalance = false;
    config.network.workers = 2;
    let mut sinks = Redis::new(&config, &Counter::default(), &Counter::default()).unwrap();
    for sink in &mut sinks {
        publish(sink, &events(1)).await.unwrap();
    }
    let host = sinks[0].host.now();
    sinks[0].host.leave(host);
    for sink in &mut sinks {
        sink.publish(&permit(LONG), &events(1)).await.unwrap();
    }
    let [left, chosen] = if host == 0 {
        [&first, &second]
    } else {
        [&second, &first]
    };
    for server in [left, chosen] {
        assert_eq!(server.verbs().iter().filter(|verb| *verb == "RPUSH").count(), 2);
    }
}

#[tokio::test]
async fn after_each_host_was_down_once_each_has_its_connections_again() {
    let down = Arc::new(Mutex::new(None));
    let start = |number| {
        let down = Arc::clone(&down);
        Server::start(move |_, command| {
            if *down.lock().unwrap() == Some(number) {
                return Answer::HangUp;
            }
            healthy(command)
        })
    };
    let servers = [start(0).await, start(1).await];
    let config = config(servers.iter().map(Server::host).collect());
    let mut sinks = Redis::new(&config, &Counter::default(), &Counter::default()).unwrap();
    let hosts = |sinks: &[Redis]| sinks.iter().map(|sink| sink.host.now()).collect::<Vec<_>>();
    for sink in &mut sinks {
        publish(sink, &events(1)).await.unwrap();
    }
    for failing in [0, 1] {
        *down.lock().unwrap() = Some(failing);
        sinks[failing]
            .publish(&permit(LONG), &events(1))
            .await
            .unwrap_err();
        let asked = servers[failing].asked().len();
        for _ in 0..3 {
            for sink in &mut sinks {
                publish(sink, &events(1)).await.unwrap();
            }
        }
        assert_eq!(hosts(&sinks), [1 - failing, 1 - failing]);
        assert_eq!(servers[failing].asked().len(), asked, "no look for it so soon");
        // It is still down at the first look, which costs no batch.
        for is_back in [false, true] {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(31)).await;
            tokio::time::resume();
            if is_back {
                *down.lock().unwrap() = None;
            }
            for sink in &mut sinks {
                sink.publish(&permit(LONG), &events(1)).await.unwrap();
            }
        }
        assert_eq!(hosts(&sinks), [0, 1]);
    }
}

#[tokio::test]
async fn steps_of_all_hosts() {
    let well = Server::healthy().await;
    let without_info = Server::start(|_, command| match command[0].as_str() {
        "INFO" => line("-NOPERM User beat has no permissions to run the 'info' command"),
        _ => healthy(command),
    })
    .await;
    let wrong = Server::start(|_, _| line("-WRONGPASS invalid username-password pair")).await;
    let mut login = wrong.host();
    login.password = Some(Secret::new("CANARY"));
    let told = Told::default();
    let mut steps = Steps::told(told.clone(), false);
    let config = config(vec![well.host(), without_info.host(), login]);
    test(&config, &permit(LONG), &mut steps).await.unwrap();
    assert!(steps.have_failed());
    let connection = "  connection...\n    parse host... OK\n    dns lookup... OK\n    addresses: 127.0.0.1\n    dial \
                      up... OK\n  TLS... WARN secure connection disabled\n";
    let [first, second, third] = [&well, &without_info, &wrong].map(|server| server.at.to_string());
    assert_eq!(
        told.text(),
        format!(
            "redis: {first}...\n{connection}  talk to server... OK\n  version: 7.0.15\nredis: \
             {second}...\n{connection}  talk to server... OK\n  version... WARN {second}: INFO: NOPERM User beat has \
             no permissions to run the 'info' command: grant the user of output.redis this command and this key \
             there\nredis: {third}...\n{connection}  talk to server... ERROR {third}: AUTH: WRONGPASS: check username \
             and password of output.redis, and those in the URL of hosts\n"
        )
    );
    assert!(well.verbs().iter().all(|verb| verb == "PING" || verb == "INFO"));
}
