//! The frames of the Lumberjack protocol as a server reads them, for the tests of this folder.
//!
//! Owns the strict side: whatever the protocol forbids is refused, and what a window comes to is given out only when it
//! is whole. Bytes may arrive in any pieces. Shares nothing with the encoder, so that a mistake there shows.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

/// Most bytes of a frame, and of what a compressed one holds.
const MOST_BYTES: usize = 64 << 20;

/// A window that has arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// The JSON documents, as they came.
    pub(super) events: Vec<Vec<u8>>,
    /// Whether they came compressed.
    pub(super) compressed: bool,
}

/// Reads what a client sends.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    unread: Vec<u8>,
    /// The number of events that a window has told, and the window as far as it has come.
    open: Option<(usize, Window)>,
}

impl Decoder {
    /// Takes bytes as they arrive.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Whether everything that arrived has been given out.
    pub(super) fn is_between_windows(&self) -> bool {
        self.open.is_none() && self.unread.is_empty()
    }

    /// The next window that is whole. After an error the connection is of no use.
    pub(super) fn window(&mut self) -> Result<Option<Window>, String> {
        loop {
            let Some((kind, frame, length)) = frame(&self.unread)? else {
                return Ok(None);
            };
            let (count, mut window) = match (kind, self.open.take()) {
                (b'W', None) => (
                    number_of_events(frame)?,
                    Window {
                        events: Vec::new(),
                        compressed: false,
                    },
                ),
                (b'J', Some((count, mut window))) => {
                    push(&mut window, count, frame)?;
                    (count, window)
                }
                (b'C', Some((count, mut window))) if window.events.is_empty() => {
                    unpack(&mut window, count, &frame[4..])?;
                    (count, window)
                }
                (kind, open) => return Err(format!("{:?} where the window is {open:?}", char::from(kind))),
            };
            self.unread.drain(..length);
            if window.events.len() < count {
                if window.compressed {
                    return Err(format!(
                        "{} of {count} events in a compressed frame",
                        window.events.len()
                    ));
                }
                self.open = Some((count, window));
                continue;
            }
            window.events.shrink_to_fit();
            return Ok(Some(window));
        }
    }
}

/// The kind and contents of a frame, and its length with everything.
type Frame<'b> = (u8, &'b [u8], usize);

/// The first frame; `None` while it is not whole.
fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, String> {
    if let Some(version) = bytes.first().filter(|version| **version != b'2') {
        return Err(format!("version {version:#x}"));
    }
    let length = match bytes.get(1) {
        None => return Ok(None),
        Some(b'W') => 6,
        Some(b'J') => match bytes.get(6..10) {
            Some(length) => 10 + bounded(length)?,
            None => return Ok(None),
        },
        Some(b'C') => match bytes.get(2..6) {
            Some(length) => 6 + bounded(length)?,
            None => return Ok(None),
        },
        Some(kind) => return Err(format!("a frame of kind {kind:#x}")),
    };
    Ok(bytes.get(..length).map(|frame| (frame[1], &frame[2..], length)))
}

fn bounded(length: &[u8]) -> Result<usize, String> {
    match number(length) {
        0 => Err("a frame without contents".to_owned()),
        length if length > MOST_BYTES => Err(format!("a frame of {length} bytes")),
        length => Ok(length),
    }
}

fn number(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize
}

fn number_of_events(frame: &[u8]) -> Result<usize, String> {
    match number(frame) {
        count @ 1..=10_000 => Ok(count),
        count => Err(format!("a window of {count} events")),
    }
}

fn push(window: &mut Window, count: usize, frame: &[u8]) -> Result<(), String> {
    let (sequence, document) = (number(frame), &frame[8..]);
    let expected = window.events.len() + 1;
    if sequence != expected || expected > count {
        return Err(format!("event {sequence} as number {expected} of {count}"));
    }
    match serde_json::from_slice(document) {
        Ok(serde_json::Value::Object(_)) => window.events.push(document.to_vec()),
        other => return Err(format!("event {sequence} is no object: {other:?}")),
    }
    Ok(())
}

/// All events of the window, in one zlib stream that ends with the frame.
fn unpack(window: &mut Window, count: usize, packed: &[u8]) -> Result<(), String> {
    let mut plain = Vec::new();
    let mut zlib = ZlibDecoder::new(packed).take(MOST_BYTES as u64 + 1);
    zlib.read_to_end(&mut plain)
        .map_err(|error| format!("no zlib stream: {error}"))?;
    let read = zlib.into_inner().total_in();
    if plain.len() > MOST_BYTES || read != packed.len() as u64 {
        return Err(format!(
            "{read} of {} bytes hold {} bytes",
            packed.len(),
            plain.len()
        ));
    }
    let mut rest = &plain[..];
    while !rest.is_empty() {
        match frame(rest)? {
            Some((b'J', event, length)) => {
                push(window, count, event)?;
                rest = &rest[length..];
            }
            Some((kind, ..)) => return Err(format!("{:?} in a compressed frame", char::from(kind))),
            None => return Err("a compressed frame ends within an event".to_owned()),
        }
    }
    window.compressed = true;
    Ok(())
}
