//! Lumberjack: what is read, what is refused, and how it is answered. Frames are written out byte by byte here.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::eventually;
use crate::support::lumberjack::{Answer, End, Lumberjack};

async fn connect(server: &Lumberjack) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

fn window(count: u32) -> Vec<u8> {
    [b"2W", &count.to_be_bytes()[..]].concat()
}

fn event(sequence: u32, document: &str) -> Vec<u8> {
    let length = u32::try_from(document.len()).unwrap();
    [
        b"2J",
        &sequence.to_be_bytes()[..],
        &length.to_be_bytes()[..],
        document.as_bytes(),
    ]
    .concat()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(3));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [b"2C", &length.to_be_bytes()[..], payload].concat()
}

/// A batch of events `{"n":1}` and so on.
fn batch(count: u32) -> Vec<u8> {
    let mut bytes = window(count);
    bytes.extend(events(1..=count));
    bytes
}

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let numbers = numbers.into_iter();
    numbers
        .flat_map(|number| event(number, &document(number)))
        .collect()
}

fn document(number: u32) -> String {
    format!("{{\"n\":{number}}}")
}

fn documents(numbers: impl IntoIterator<Item = u32>) -> Vec<Vec<u8>> {
    numbers
        .into_iter()
        .map(|number| document(number).into_bytes())
        .collect()
}

/// Everything that comes until so many acknowledgements have.
async fn acks(stream: &mut TcpStream, count: usize) -> Vec<u32> {
    let mut acks = Vec::new();
    for _ in 0..count {
        let mut frame = [0; 6];
        stream.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame[..2], b"2A");
        acks.push(u32::from_be_bytes(frame[2..].try_into().unwrap()));
    }
    acks
}

/// How a connection ends on which nothing more is to come.
async fn end(stream: &mut TcpStream) -> Result<(), std::io::ErrorKind> {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(0) => Ok(()),
        Ok(_) => panic!("an answer goes on: {byte:?}"),
        Err(error) => Err(error.kind()),
    }
}

const RESET: Result<(), std::io::ErrorKind> = Err(std::io::ErrorKind::ConnectionReset);

#[tokio::test]
async fn bare_and_compressed_batches_are_recorded_as_they_came() {
    let server = Lumberjack::start().await;
    let mut stream = connect(&server).await;
    // The whole of it, so that nothing is taken from the functions above.
    stream
        .write_all(b"2W\0\0\0\x012J\0\0\0\x01\0\0\0\x07{\"a\":1}")
        .await
        .unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"2A\0\0\0\x01");

    let odd = "{ \"text\": \"\u{e4}\\n\", \"text\": 2 }";
    let plain = [event(1, odd), event(2, "{}")].concat();
    // Two batches at once.
    let two = [window(2), frame(&zlib(&plain)), batch(3)].concat();
    stream.write_all(&two).await.unwrap();
    assert_eq!(acks(&mut stream, 2).await, [2, 3]);

    let batches = server.batches();
    let compressed: Vec<usize> = batches.iter().map(|batch| batch.compressed).collect();
    assert_eq!(compressed, [0, 1, 0]);
    assert_eq!(batches[1].events, [odd.as_bytes(), b"{}"]);
    assert_eq!(server.events().len(), 6);
    assert_eq!(server.events()[3..], documents(1..=3));
    assert!(server.violations().is_empty());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_rules_are_kept() {
    let server = Lumberjack::start().await;
    let one = event(1, "{}");
    let nested = frame(&zlib(&frame(&zlib(&one))));
    let garbage = frame(&[zlib(&one), b"more".to_vec()].concat());
    let torn = zlib(&one);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (window(0), "a window of 0 events"),
        (window(10_001), "a window of 10001 events"),
        (b"1W\0\0\0\x01".to_vec(), "begins with '1', not with '2'"),
        (one.clone(), "begins with 'J', not with a window"),
        ([window(1), window(1)].concat(), "'W' after 0 of 1 events"),
        ([window(1), b"2A".to_vec()].concat(), "'A' after 0 of 1 events"),
        ([window(1), b"2\0".to_vec()].concat(), "the byte 0 after 0"),
        ([window(1), event(0, "{}")].concat(), "sequence 0, not 1"),
        (
            [window(2), one.clone(), one.clone()].concat(),
            "sequence 1, not 2",
        ),
        (
            [window(2), one.clone(), event(3, "{}")].concat(),
            "sequence 3, not 2",
        ),
        ([window(1), event(1, "")].concat(), "a length of 0 bytes"),
        ([window(1), event(1, "[]")].concat(), "is no JSON object"),
        ([window(1), event(1, "{")].concat(), "is no JSON: EOF"),
        (
            [window(1), event(1, "{}{}")].concat(),
            "is no JSON: trailing characters",
        ),
        (
            [window(1), b"2C\xff\xff\xff\xff".to_vec()].concat(),
            "a length of 4294967295 bytes",
        ),
        ([window(1), frame(b"text")].concat(), "is no zlib stream"),
        (
            [window(1), frame(&torn[..torn.len() - 5])].concat(),
            "is no zlib stream",
        ),
        ([window(1), frame(&zlib(b""))].concat(), "holds nothing"),
        ([window(1), nested].concat(), "a compressed frame in a compressed"),
        (
            [window(1), frame(&zlib(&window(1)))].concat(),
            "'W' in a compressed frame",
        ),
        ([window(1), garbage].concat(), "bytes ends after"),
        (
            [window(1), frame(&zlib(&one[..5]))].concat(),
            "in the midst of an event",
        ),
        (
            [window(1), frame(&zlib(&events(1..=2)))].concat(),
            "event 2 of a window of 1",
        ),
    ];
    let count = cases.len();
    for (number, (bytes, words)) in cases.into_iter().enumerate() {
        let mut stream = connect(&server).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(end(&mut stream).await, RESET, "{words}");
        let violations = server.violations();
        assert_eq!(violations.len(), number + 1, "{words}");
        assert!(
            violations[number].contains(words),
            "{}: {words}",
            violations[number]
        );
    }
    assert_eq!(server.violations().len(), count);
    assert!(server.batches().is_empty(), "nothing of them is processed");
    assert_eq!(server.connections(), count);
    eventually("all are gone", || server.open() == 0).await;
}

#[tokio::test]
async fn a_batch_that_breaks_off_is_not_processed() {
    let server = Lumberjack::start().await;
    let whole = batch(3);
    for length in [1, 2, 5, 6, 7, 20, whole.len() - 1] {
        let before = server.broken_off();
        let mut stream = connect(&server).await;
        stream.write_all(&whole[..length]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(end(&mut stream).await, Ok(()), "{length}");
        eventually("it is counted", || server.broken_off() == before + 1).await;
    }
    assert!(server.batches().is_empty() && server.violations().is_empty());
    // Byte by byte, but whole.
    let mut stream = connect(&server).await;
    stream.set_nodelay(true).unwrap();
    for byte in whole {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(acks(&mut stream, 1).await, [3]);
    assert_eq!(server.events(), documents(1..=3));
}

#[tokio::test]
async fn it_answers_as_it_is_told() {
    let server = Lumberjack::start().await;
    server.next([
        Answer::Partial { every: 2 },
        Answer::KeepAlive { times: 3 },
        Answer::TooMany,
    ]);
    let mut stream = connect(&server).await;
    stream.write_all(&batch(5)).await.unwrap();
    assert_eq!(acks(&mut stream, 3).await, [2, 4, 5]);
    stream.write_all(&batch(5)).await.unwrap();
    assert_eq!(acks(&mut stream, 4).await, [0, 0, 0, 5]);
    stream.write_all(&batch(5)).await.unwrap();
    assert_eq!(acks(&mut stream, 1).await, [6]);
    stream.write_all(&batch(5)).await.unwrap();
    assert_eq!(acks(&mut stream, 1).await, [5], "as always");
    assert_eq!(server.events().len(), 20);

    server.always(Answer::Lost);
    stream.write_all(&batch(1)).await.unwrap();
    assert_eq!(end(&mut stream).await, RESET);
    assert_eq!(server.events().len(), 21, "processed, though never acknowledged");

    server.always(Answer::Torn { events: 2 });
    let mut stream = connect(&server).await;
    stream.write_all(&batch(5)).await.unwrap();
    assert_eq!(acks(&mut stream, 1).await, [2]);
    assert_eq!(end(&mut stream).await, RESET);
    assert_eq!(server.events().len(), 23);
    assert_eq!(server.batches()[5].events, documents(1..=2));

    server.always(Answer::Torn { events: 0 });
    let mut stream = connect(&server).await;
    stream.write_all(&batch(5)).await.unwrap();
    assert_eq!(end(&mut stream).await, RESET);
    assert_eq!(server.batches().len(), 6);
}

#[tokio::test]
async fn one_that_never_answers_takes_what_comes() {
    let server = Lumberjack::start().await;
    server.always(Answer::Never);
    let mut stream = connect(&server).await;
    stream.write_all(&[batch(1), batch(2)].concat()).await.unwrap();
    eventually("both are processed", || server.batches().len() == 2).await;
    server.always(Answer::Whole);
    stream.write_all(&batch(3)).await.unwrap();
    assert_eq!(
        acks(&mut stream, 1).await,
        [3],
        "the first answer is that of the third batch"
    );
}

#[tokio::test]
async fn idle_connections_end_when_told_and_others_do_not() {
    for (how, expected) in [(End::Close, Ok(())), (End::Reset, RESET)] {
        let server = Lumberjack::start().await;
        let mut idle = connect(&server).await;
        idle.write_all(&batch(1)).await.unwrap();
        acks(&mut idle, 1).await;
        let mut busy = connect(&server).await;
        let whole = batch(1);
        busy.write_all(&whole[..7]).await.unwrap();
        eventually("one waits, one is read", || {
            server.connections() == 2 && server.idle() == 1
        })
        .await;
        server.end_idle(how);
        assert_eq!(end(&mut idle).await, expected);
        busy.write_all(&whole[7..]).await.unwrap();
        assert_eq!(acks(&mut busy, 1).await, [1]);
        eventually("one is left", || server.open() == 1).await;

        server.next([Answer::Last(how)]);
        busy.write_all(&batch(2)).await.unwrap();
        assert_eq!(acks(&mut busy, 1).await, [2]);
        assert_eq!(end(&mut busy).await, expected);
        assert_eq!(server.broken_off(), 0);
        let connections: Vec<usize> = server.batches().iter().map(|batch| batch.connection).collect();
        assert_eq!(connections, [0, 1, 1]);
    }
}
