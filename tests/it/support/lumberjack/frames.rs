//! Reads the Lumberjack protocol, version 2, as a server does.
//!
//! Owns the decoder of the tests: frames to batches, and which of its rules a client has broken
//! (<https://github.com/elastic/logstash-forwarder/blob/master/PROTOCOL.md>, and the limits of
//! <https://github.com/elastic/go-lumber>). It must share nothing with the product, so that a wrong reading cannot be
//! right on both sides.

use std::io::{self, Read as _};

use flate2::read::ZlibDecoder;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The version that every frame begins with.
const VERSION: u8 = b'2';
/// Most events in a batch; go-lumber refuses more.
const MOST_EVENTS: u32 = 10_000;
/// Most bytes of a frame, and of what a compressed one holds.
const MOST_BYTES: u32 = 64 * 1024 * 1024;

/// Events that are acknowledged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Their documents, byte by byte as they came.
    pub(crate) events: Vec<Vec<u8>>,
    /// How many compressed frames they came in; 0 for bare ones.
    pub(crate) compressed: usize,
}

/// Why a batch could not be read to its end.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection ended in the midst of it.
    Off(io::Error),
    /// The client broke a rule.
    Rule(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Off(error)
    }
}

fn rule<T>(text: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Rule(text.into()))
}

/// Reads a batch: a window, then as many events.
pub(crate) async fn batch(reader: &mut (impl AsyncRead + Unpin)) -> Result<Batch, Broken> {
    match kind(reader).await? {
        b'W' => {}
        other => return rule(format!("a batch begins with {}, not with a window", shown(other))),
    }
    let window = reader.read_u32().await?;
    if window == 0 || window > MOST_EVENTS {
        return rule(format!("a window of {window} events, not of 1 to {MOST_EVENTS}"));
    }
    let mut batch = Batch {
        events: Vec::new(),
        compressed: 0,
    };
    while batch.events.len() < window as usize {
        match kind(reader).await? {
            b'J' => event(reader, window, &mut batch).await?,
            b'C' => {
                batch.compressed += 1;
                compressed(reader, window, &mut batch).await?;
            }
            other => {
                let told = batch.events.len();
                return rule(format!(
                    "{} after {told} of {window} events of a window",
                    shown(other)
                ));
            }
        }
    }
    Ok(batch)
}

/// What the next frame is.
async fn kind(reader: &mut (impl AsyncRead + Unpin)) -> Result<u8, Broken> {
    let version = reader.read_u8().await?;
    if version != VERSION {
        return rule(format!("a frame begins with {}, not with '2'", shown(version)));
    }
    Ok(reader.read_u8().await?)
}

fn shown(byte: u8) -> String {
    match byte.is_ascii_graphic() {
        true => format!("'{}'", char::from(byte)),
        false => format!("the byte {byte}"),
    }
}

/// The rest of an event: its number in the batch, its length, a JSON object.
async fn event(reader: &mut (impl AsyncRead + Unpin), window: u32, batch: &mut Batch) -> Result<(), Broken> {
    let sequence = reader.read_u32().await?;
    let expected = batch.events.len() + 1;
    if expected > window as usize {
        return rule(format!("event {expected} of a window of {window}"));
    }
    if sequence as usize != expected {
        return rule(format!("sequence {sequence}, not {expected}"));
    }
    let document = bytes(reader).await?;
    match serde_json::from_slice(&document) {
        Ok(serde_json::Value::Object(_)) => {}
        Ok(_) => return rule(format!("event {sequence} is no JSON object")),
        Err(error) => return rule(format!("event {sequence} is no JSON: {error}")),
    }
    batch.events.push(document);
    Ok(())
}

async fn bytes(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Broken> {
    let length = reader.read_u32().await?;
    if length == 0 || length > MOST_BYTES {
        return rule(format!("a length of {length} bytes, not of 1 to {MOST_BYTES}"));
    }
    let mut bytes = vec![0; length as usize];
    reader.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The rest of a compressed frame: its length, then a zlib stream of whole events and nothing else.
async fn compressed(
    reader: &mut (impl AsyncRead + Unpin),
    window: u32,
    batch: &mut Batch,
) -> Result<(), Broken> {
    let bytes = bytes(reader).await?;
    let mut decoder = ZlibDecoder::new(&bytes[..]).take(u64::from(MOST_BYTES) + 1);
    let mut plain = Vec::new();
    if let Err(error) = decoder.read_to_end(&mut plain) {
        return rule(format!("a compressed frame is no zlib stream: {error}"));
    }
    if plain.len() > MOST_BYTES as usize {
        return rule(format!("a compressed frame holds more than {MOST_BYTES} bytes"));
    }
    let read = decoder.into_inner().total_in();
    if read != bytes.len() as u64 {
        return rule(format!(
            "a compressed frame of {} bytes ends after {read}",
            bytes.len()
        ));
    }
    if plain.is_empty() {
        return rule("a compressed frame holds nothing");
    }
    let mut rest = &plain[..];
    while !rest.is_empty() {
        let inner = match kind(&mut rest).await {
            Ok(b'J') => event(&mut rest, window, batch).await,
            Ok(b'C') => rule("a compressed frame in a compressed frame"),
            Ok(other) => rule(format!("{} in a compressed frame", shown(other))),
            Err(broken) => Err(broken),
        };
        match inner {
            Err(Broken::Off(_)) => return rule("a compressed frame ends in the midst of an event"),
            other => other?,
        }
    }
    Ok(())
}
