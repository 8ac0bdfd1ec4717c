//! The frames of the Lumberjack protocol, version 2, as its client writes and reads them.
//!
//! Owns their bytes, as <https://github.com/elastic/go-lumber> has them: a window (`2W`, number of events), then one
//! event each (`2J`, sequence from 1, length, JSON object), bare or all of them in one compressed frame (`2C`, length,
//! zlib stream), and the acknowledgement that comes back (`2A`, sequence; 0 = still at work). Integers are 32 bits, big
//! endian. Does no I/O and keeps nothing between windows.

use std::io::{self, BufWriter, IntoInnerError, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::event::Event;
use crate::output::metadata::Metadata;

/// Most events in one window: go-lumber's server refuses more.
pub const MOST_EVENTS: usize = 10_000;

/// What every frame begins with.
const VERSION: u8 = b'2';
const WINDOW: u8 = b'W';
const EVENT: u8 = b'J';
const COMPRESSED: u8 = b'C';
const ACK: u8 = b'A';

/// Bytes that are compressed at once.
const PIECE: usize = 32 << 10;

/// Bytes of an acknowledgement.
pub(super) const ACK_SIZE: usize = 6;
/// Bytes of a window, and of what is before the contents of a compressed frame.
const HEADER_SIZE: usize = 6;

/// Makes windows.
#[derive(Debug, Clone)]
pub struct Encoder {
    metadata: Metadata,
    compression_level: u32,
}

/// A window that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A length or number does not fit into 32 bits.
    #[error("{0} is more than the protocol can tell")]
    TooLarge(&'static str),
    /// The compression failed.
    #[error("cannot compress a window: {0}")]
    Compression(#[from] io::Error),
}

/// Bytes that are no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAnAck;

// === impl Encoder ===

impl Encoder {
    /// `index` becomes `@metadata.beat`; `compression_level` is 0 for bare events, else zlib's, 1..=9.
    pub fn new(index: &str, compression_level: u32) -> Self {
        Self {
            metadata: Metadata::new(index),
            compression_level: compression_level.min(9),
        }
    }

    /// One window with these events, each with `@metadata` as its first member. Their documents must be JSON objects.
    /// They are compressed as they are read: nothing holds all of them a second time as plain text.
    pub fn window<'e>(
        &self,
        events: impl ExactSizeIterator<Item = &'e Event>,
    ) -> Result<Vec<u8>, EncodeError> {
        let count = u32::try_from(events.len()).map_err(|_| EncodeError::TooLarge("the number of events"))?;
        let mut frames = vec![VERSION, WINDOW];
        frames.extend_from_slice(&count.to_be_bytes());
        if self.compression_level == 0 {
            self.events(&mut frames, events)?;
            return Ok(frames);
        }
        // The length is put in when it is known.
        frames.extend_from_slice(&[VERSION, COMPRESSED, 0, 0, 0, 0]);
        let zlib = ZlibEncoder::new(frames, Compression::new(self.compression_level));
        // Each call of zlib costs more than the copy that saves it.
        let mut pieces = BufWriter::with_capacity(PIECE, zlib);
        self.events(&mut pieces, events)?;
        let zlib = pieces.into_inner().map_err(IntoInnerError::into_error)?;
        let mut frames = zlib.finish()?;
        let length = u32::try_from(frames.len() - 2 * HEADER_SIZE)
            .map_err(|_| EncodeError::TooLarge("the length of a compressed frame"))?;
        frames[HEADER_SIZE + 2..2 * HEADER_SIZE].copy_from_slice(&length.to_be_bytes());
        Ok(frames)
    }

    fn events<'e>(
        &self,
        out: &mut impl Write,
        events: impl Iterator<Item = &'e Event>,
    ) -> Result<(), EncodeError> {
        let mut head = Vec::new();
        for (sequence, event) in (1_u32..).zip(events) {
            head.clear();
            head.extend_from_slice(&[VERSION, EVENT]);
            head.extend_from_slice(&sequence.to_be_bytes());
            let length_at = head.len();
            head.extend_from_slice(&[0; 4]);
            let start = head.len();
            let rest = self.metadata.write_head(&mut head, event);
            let length = u32::try_from(head.len() - start + rest.len())
                .map_err(|_| EncodeError::TooLarge("the length of an event"))?;
            head[length_at..start].copy_from_slice(&length.to_be_bytes());
            out.write_all(&head)?;
            out.write_all(rest)?;
        }
        Ok(())
    }
}

/// The sequence that an acknowledgement tells: `None` while it is not whole. Bytes that cannot become one are refused
/// at the first that is wrong.
pub(super) fn acknowledged(bytes: &[u8]) -> Result<Option<u32>, NotAnAck> {
    match bytes {
        [VERSION, ACK, a, b, c, d] => Ok(Some(u32::from_be_bytes([*a, *b, *c, *d]))),
        [] | [VERSION] => Ok(None),
        [VERSION, ACK, rest @ ..] if rest.len() < ACK_SIZE - 2 => Ok(None),
        _ => Err(NotAnAck),
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
