//! Tests of [`super`]: the bytes themselves, round trips, and what the decoder of the tests refuses.

use std::io::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::decoder::{Decoder, Window};
use super::*;
use crate::output::samples::event;

fn window(level: u32, events: &[Event]) -> Vec<u8> {
    Encoder::new("ecsbeat", level).window(events.iter()).unwrap()
}

/// Everything in `bytes`, fed in the given pieces.
fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Window>, String> {
    let mut decoder = Decoder::default();
    let mut windows = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.feed(piece);
        while let Some(window) = decoder.window()? {
            windows.push(window);
        }
    }
    if decoder.is_between_windows() {
        Ok(windows)
    } else {
        Err("not whole".to_owned())
    }
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(3));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn bare(sequence: u32, document: &str) -> Vec<u8> {
    let length = u32::try_from(document.len()).unwrap();
    [
        b"2J",
        &sequence.to_be_bytes()[..],
        &length.to_be_bytes(),
        document.as_bytes(),
    ]
    .concat()
}

fn packed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [b"2C", &length.to_be_bytes()[..], payload].concat()
}

fn of(count: u32, rest: &[u8]) -> Vec<u8> {
    [b"2W", &count.to_be_bytes()[..], rest].concat()
}

#[test]
fn one_bare_event_byte_by_byte() {
    let one = event(r#"{"a":1}"#);
    let document = format!(
        r#"{{"@metadata":{{"beat":"ecsbeat","type":"_doc","version":"{}","_id":"{}"}},"a":1}}"#,
        env!("CARGO_PKG_VERSION"),
        one.id
    );
    let mut want = vec![0x32, 0x57, 0, 0, 0, 1, 0x32, 0x4a, 0, 0, 0, 1, 0, 0, 0];
    want.push(u8::try_from(document.len()).unwrap());
    want.extend_from_slice(document.as_bytes());
    assert_eq!(window(0, &[one]), want);
}

#[test]
fn the_example_of_the_protocol_is_read_and_its_answer_as_well() {
    let example =
        b"\x32\x57\x00\x00\x00\x01\x32\x4a\x00\x00\x00\x01\x00\x00\x00\x07\x7b\x22\x61\x22\x3a\x31\x7d";
    let want = Window {
        events: vec![br#"{"a":1}"#.to_vec()],
        compressed: false,
    };
    assert_eq!(decode(example, 99).unwrap(), [want]);
    // What stands around a document is nothing but the frame: without @metadata the encoder's bytes are the example's.
    let one = event(r#"{"a":1}"#);
    let ours = window(0, std::slice::from_ref(&one));
    let mut head = Vec::new();
    Metadata::new("ecsbeat").write_head(&mut head, &one);
    let mut stripped = ours[..6 + 10].to_vec();
    stripped.push(b'{');
    stripped.extend_from_slice(&ours[16 + head.len()..]);
    let length = u32::from_be_bytes(ours[12..16].try_into().unwrap());
    let without = length - u32::try_from(head.len()).unwrap() + 1;
    stripped[12..16].copy_from_slice(&without.to_be_bytes());
    assert_eq!(stripped, example);
    assert_eq!(acknowledged(b"\x32\x41\x00\x00\x00\x01"), Ok(Some(1)));
}

#[test]
fn a_compressed_window_is_two_frames() {
    let events = [event(r#"{"a":1}"#), event("{}")];
    let bytes = window(3, &events);
    assert_eq!(&bytes[..8], b"2W\0\0\0\x022C");
    let length = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
    assert_eq!(length as usize, bytes.len() - 12);
    let plain = window(0, &events);
    assert_eq!(bytes[12..], zlib(&plain[6..]));
}

#[test]
fn acknowledgements_that_are_not_whole_or_none() {
    let ack = b"2A\x01\x02\x03\x04";
    for length in 0..ack.len() {
        assert_eq!(acknowledged(&ack[..length]), Ok(None), "{length} bytes");
    }
    assert_eq!(acknowledged(ack), Ok(Some(0x0102_0304)));
    for wrong in [
        &b"H"[..],
        b"\x15",
        b"1A\0\0\0\x01",
        b"1",
        b"2a",
        b"2W\0\0\0\x01",
        b"2A\0\0\0\0\0",
    ] {
        assert_eq!(acknowledged(wrong), Err(NotAnAck), "{wrong:?}");
    }
}

#[test]
fn what_the_protocol_forbids_is_refused() {
    let one = bare(1, "{}");
    let both = [one.clone(), bare(2, "{}")].concat();
    let nested = packed(&zlib(&packed(&zlib(&one))));
    let trailing = packed(&[zlib(&one), b"x".to_vec()].concat());
    let cut = zlib(&both);
    for (what, bytes) in [
        ("another version", b"1W\0\0\0\x01".to_vec()),
        ("an unknown frame", b"2X".to_vec()),
        ("an event of version 1", of(1, b"2D\0\0\0\x01")),
        ("an acknowledgement", b"2A\0\0\0\x01".to_vec()),
        ("no window before", one.clone()),
        ("an empty window", of(0, b"")),
        ("too large a window", of(10_001, b"")),
        ("a window within one", of(2, &of(1, &one))),
        ("a sequence from 0", of(1, &bare(0, "{}"))),
        (
            "a sequence with a gap",
            of(2, &[one.clone(), bare(3, "{}")].concat()),
        ),
        ("more events than told", of(1, &packed(&zlib(&both)))),
        ("fewer events than told", of(3, &packed(&zlib(&both)))),
        ("an empty event", of(1, &bare(1, ""))),
        ("no object", of(1, &bare(1, "[1]"))),
        ("no JSON", of(1, &bare(1, "{\"a\":}"))),
        ("no UTF-8", of(1, b"2J\0\0\0\x01\0\0\0\x09{\"a\":\"\xff\"}")),
        ("a length of gigabytes", of(1, b"2J\0\0\0\x01\xff\xff\xff\xff")),
        ("a compressed frame in another", of(1, &nested)),
        (
            "a window in a compressed frame",
            of(1, &packed(&zlib(&of(1, &one)))),
        ),
        ("bytes behind the stream", of(1, &trailing)),
        ("half a stream", of(2, &packed(&cut[..cut.len() - 5]))),
        ("half an event", of(1, &packed(&zlib(&one[..one.len() - 1])))),
        ("no stream at all", of(1, &packed(&one))),
        (
            "a compressed frame after a bare event",
            of(2, &[one.clone(), packed(&zlib(&one))].concat()),
        ),
    ] {
        let refused = decode(&bytes, 7);
        assert!(
            refused.as_ref().is_err_and(|error| error != "not whole"),
            "{what}: {refused:?}"
        );
    }
    assert_eq!(
        decode(&of(2, &both), 7).unwrap()[0].events.len(),
        2,
        "and this is not"
    );
}

fn documents() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof![
        any::<String>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(Into::into)
    ];
    let object = proptest::collection::btree_map(any::<String>(), value, 0..4);
    vec(
        object.prop_map(|object| serde_json::json!(object).to_string()),
        1..20,
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_whatever_the_pieces(documents in documents(), level in 0_u32..=9, piece in 1_usize..400) {
        let events: Vec<_> = documents.iter().map(|document| event(document)).collect();
        let bytes = [window(level, &events), window(level, &events[..1])].concat();
        let windows = decode(&bytes, piece).unwrap();
        prop_assert_eq!(windows.len(), 2);
        prop_assert_eq!(windows[0].compressed, level > 0);
        prop_assert_eq!(windows[0].events.len(), events.len());
        for (document, (got, event)) in documents.iter().zip(windows[0].events.iter().zip(&events)) {
            let mut want: serde_json::Value = serde_json::from_str(document).unwrap();
            let mut got: serde_json::Value = serde_json::from_slice(got).unwrap();
            let metadata = got.as_object_mut().unwrap().remove("@metadata").unwrap();
            prop_assert_eq!(&metadata["_id"], &event.id.to_string());
            want.as_object_mut().unwrap().remove("@metadata");
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn garbage_is_refused_or_waited_for_and_never_panics(bytes in vec(any::<u8>(), 0..200), piece in 1_usize..50) {
        let _ = decode(&bytes, piece);
        let _ = acknowledged(&bytes);
    }

    #[test]
    fn half_a_window_is_none_and_one_that_was_changed_never_panics(
        documents in documents(), level in 0_u32..=3, at: prop::sample::Index, to: u8, cut: prop::sample::Index
    ) {
        let events: Vec<_> = documents.iter().map(|document| event(document)).collect();
        let mut bytes = window(level, &events);
        let half = decode(&bytes[..cut.index(bytes.len())], 64);
        prop_assert!(half.is_err() || half == Ok(Vec::new()), "half a window passed for a whole one: {half:?}");
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes, 64);
    }

    #[test]
    fn acknowledgements_of_every_number(sequence: u32) {
        let bytes = [b"2A", &sequence.to_be_bytes()[..]].concat();
        prop_assert_eq!(acknowledged(&bytes), Ok(Some(sequence)));
    }
}
