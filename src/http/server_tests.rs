//! The server on a real socket: what it bounds, and that it answers while all else hangs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::super::tests::{endpoints, http_config};
use super::*;
use crate::election::order::{Desk, Done, Order};
use crate::status::State;

/// A server on a free port, with a short time for a request's head.
fn start(limits: impl FnOnce(&mut Limits)) -> (SocketAddr, ServerHandle) {
    serve(endpoints(), limits)
}

fn serve(endpoints: Endpoints, limits: impl FnOnce(&mut Limits)) -> (SocketAddr, ServerHandle) {
    let mut config = http_config();
    config.timeout = Duration::from_millis(300);
    let mut bound = bind(&config).unwrap();
    limits(&mut bound.limits);
    endpoints.status.enter(State::Single, jiff::Timestamp::now());
    let address = bound.local_addr();
    let handle = bound
        .serve(Arc::new(endpoints), CancellationToken::new())
        .unwrap();
    (address, handle)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// Everything until the other side closes. A reset counts as closing.
fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(answer).unwrap()
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    read_all(&mut stream)
}

fn stop(handle: ServerHandle) -> Result<(), ServeError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(handle.stop())
}

#[test]
fn answers_get_with_and_head_without_a_body() {
    let (address, handle) = start(|_| {});
    let get = ask(
        address,
        "GET /leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
    assert!(
        get.ends_with('}') && get.contains("\"state\":\"single\""),
        "{get}"
    );
    for method in ["HEAD", "OPTIONS"] {
        let answer = ask(
            address,
            &format!("{method} /leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
    stop(handle).unwrap();
    assert!(
        TcpStream::connect(address).is_err(),
        "still listening after the stop"
    );
}

#[test]
fn several_requests_share_a_connection_and_an_idle_one_ends() {
    let (address, _handle) = start(|_| {});
    let mut stream = connect(address);
    for _ in 0..2 {
        stream
            .write_all(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        while !head.ends_with(b"\r\n\r\n") {
            head.copy_within(1.., 0);
            stream.read_exact(&mut head[14..]).unwrap();
        }
    }
    let idle = Instant::now();
    assert_eq!(read_all(&mut stream), "");
    assert!(idle.elapsed() < Duration::from_secs(2), "{:?}", idle.elapsed());
}

#[test]
fn a_head_that_drips_in_is_cut_off() {
    let (address, _handle) = start(|_| {});
    let mut stream = connect(address);
    let begin = Instant::now();
    let mut dripped = 0;
    // Each byte comes in time; the whole does not.
    while begin.elapsed() < Duration::from_secs(3) {
        if stream.write_all(b"G").is_err() {
            break;
        }
        dripped += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!((3..30).contains(&dripped), "{dripped} bytes were taken");
}

#[test]
fn a_body_that_drips_in_is_cut_off() {
    let (address, _handle) = start(|limits| limits.request_time = Duration::from_millis(200));
    let answer = ask(
        address,
        "POST /pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken\r\nContent-Length: 10\r\n\r\nhalf",
    );
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn the_body_of_one_who_may_give_no_orders_is_not_waited_for() {
    let (address, _handle) = start(|limits| limits.request_time = Duration::from_secs(60));
    let answer = ask(
        address,
        "POST /pause HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
    );
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn an_order_may_take_longer_than_other_requests_and_others_are_answered_meanwhile() {
    let (desk, mut orders) = Desk::new();
    let mut endpoints = endpoints();
    endpoints.desk = Some(desk);
    endpoints.patience = Duration::from_secs(30);
    let (address, _handle) = serve(endpoints, |limits| {
        limits.head_time = Duration::from_secs(1);
        limits.request_time = Duration::from_secs(1);
    });
    let mut operator = connect(address);
    operator
        .write_all(
            b"POST /switchover HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken\r\nConnection: close\r\n\
              Content-Length: 19\r\n\r\n{\"leader\":\"node-a\"}",
        )
        .unwrap();
    let (order, slip) = orders.blocking_recv().unwrap();
    assert!(matches!(order, Order::Switchover { leader, .. } if leader == "node-a"));
    let begin = Instant::now();
    let mut answered = 0;
    while begin.elapsed() < Duration::from_millis(1500) {
        let answer = ask(
            address,
            "HEAD /liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answered += 1;
    }
    assert!(answered > 0);
    slip.send(Ok(Done::Paused)).unwrap();
    let answer = read_all(&mut operator);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("{\"status\":\"paused\"}"), "{answer}");
}

#[test]
fn large_heads_and_bodies_are_refused() {
    let (address, _handle) = start(|_| {});
    let many: String = (0..MAX_HEADERS)
        .flat_map(|n| format!("X-{n}: y\r\n").into_bytes())
        .map(char::from)
        .collect();
    let answer = ask(address, &format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let long = "y".repeat(MAX_HEAD + 1);
    let answer = ask(
        address,
        &format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
    );
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    let answer = ask(
        address,
        "POST /pause HTTP/1.1\r\nHost: x\r\nContent-Length: 16385\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // The same without saying so before.
    let chunk = format!("4001\r\n{}\r\n0\r\n\r\n", "y".repeat(0x4001));
    let answer = ask(
        address,
        &format!(
            "POST /pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn connections_beyond_the_bound_are_closed_and_room_comes_back() {
    let (address, _handle) = start(|limits| {
        limits.connections = 2;
        limits.head_time = Duration::from_secs(30);
    });
    let held = [connect(address), connect(address)];
    let begin = Instant::now();
    assert_eq!(read_all(&mut connect(address)), "");
    assert!(begin.elapsed() < Duration::from_secs(2), "waited for a place");
    for stream in held {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    let answered = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let mut stream = connect(address);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .is_ok()
            && read_all(&mut stream).starts_with("HTTP/1.1 200")
    });
    assert!(answered, "no place came free");
}

#[test]
fn answers_while_the_runtime_of_its_caller_is_blocked() {
    let caller = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    caller.block_on(async {
        let (address, handle) = start(|_| {});
        // Nothing is awaited from here to the answer: this runtime stands still.
        let answer = ask(
            address,
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        handle.stop().await.unwrap();
    });
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_holds_on() {
    let (address, handle) = start(|limits| limits.head_time = Duration::from_secs(30));
    let mut held = connect(address);
    held.write_all(b"GET / HT").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    stop(handle).unwrap();
    assert!(begin.elapsed() < GRACE * 2, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_an_error() {
    for word in [None, Some(Ok(()))] {
        let (ended, end) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            if let Some(word) = word {
                ended.send(word).unwrap();
            }
        });
        let mut handle = ServerHandle {
            cancel: CancellationToken::new(),
            end,
            thread: Some(thread),
        };
        assert!(matches!(handle.ended().await, Err(ServeError::Ended)));
        // It was told; asked again, there is nothing more to tell.
        assert!(handle.ended().await.is_ok());
    }
}

#[test]
fn never_answers_in_plain_text_where_tls_was_asked_for() {
    let mut config = http_config();
    config.ssl = Some(config::Ssl::default());
    let bound = bind(&config).unwrap();
    let served = bound.serve(Arc::new(endpoints()), CancellationToken::new());
    assert!(matches!(served, Err(ServeError::NoTls)));
}

#[test]
fn a_taken_port_and_a_wrong_host_are_told_with_what_to_do() {
    let mut config = http_config();
    let taken = bind(&config).unwrap();
    config.port = taken.local_addr().port();
    let error = bind(&config).unwrap_err().to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{}", config.port)) && error.contains("http.port"),
        "{error}"
    );
    config.host = "192.0.2.1".to_owned();
    let error = bind(&config).unwrap_err().to_string();
    assert!(
        error.contains("192.0.2.1") && error.contains("http.host"),
        "{error}"
    );
    config.host = "unix:///run/ecsbeat.sock".to_owned();
    assert!(matches!(bind(&config), Err(BindError::Host(_))));
}
