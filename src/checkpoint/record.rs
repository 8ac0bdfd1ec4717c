//! A checkpoint as it lies in etcd.
//!
//! Owns its encoding: JSON, with the recent ids packed, since etcd keeps every version of a value until it is
//! compacted. Whoever reads it learns who wrote it (term and number), so that a write whose answer was lost can be
//! told from somebody else's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Recent};
use crate::event::EventId;

/// The schema this release writes, and the newest it understands.
const SCHEMA: u32 = 1;
/// Bytes of one packed id with its time.
const PACKED: usize = 24;
/// Ids kept in one checkpoint: some 800 KB, with etcd's limit for a request at 1.5 MiB. What is beyond is recognised
/// by the outputs that know ids.
const MOST_RECENT: usize = 25_000;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    /// The term it was written in.
    pub(super) term: u64,
    /// The how many-th value of this stream in its term.
    pub(super) seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Base64 of 16 bytes of id and 8 bytes of microseconds since 1970, big-endian, each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    recent: String,
}

/// The value for a checkpoint.
pub(super) fn encode(term: u64, seq: u64, checkpoint: &Checkpoint) -> Vec<u8> {
    // Oldest first: the newest are the ones worth keeping.
    let surplus = checkpoint.recent.len().saturating_sub(MOST_RECENT);
    let kept = checkpoint.recent.iter().skip(surplus);
    let mut packed = Vec::with_capacity(kept.len() * PACKED);
    for recent in kept {
        packed.extend_from_slice(&recent.id.to_bytes());
        packed.extend_from_slice(&recent.at.as_microsecond().to_be_bytes());
    }
    let record = Record {
        schema: SCHEMA,
        term,
        seq,
        tick: checkpoint.tick,
        until: checkpoint.until,
        recent: BASE64.encode(packed),
    };
    // Numbers, times and text: nothing in it can fail to be written.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// Who wrote a value; `None` = it cannot be read.
pub(super) fn author(value: &[u8]) -> Option<(u64, u64)> {
    let record: Record = serde_json::from_slice(value).ok()?;
    Some((record.term, record.seq))
}

/// The checkpoint in a value, or why it cannot be read.
pub(super) fn decode(value: &[u8]) -> Result<Checkpoint, String> {
    let record: Record = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    if record.schema > SCHEMA {
        return Err(format!("schema {} is newer than {SCHEMA}", record.schema));
    }
    let packed = BASE64.decode(&record.recent).map_err(|error| error.to_string())?;
    let mut recent = Vec::with_capacity(packed.len() / PACKED);
    for one in packed.chunks(PACKED) {
        let (Some(id), Some(at)) = (one.first_chunk::<16>(), one.last_chunk::<8>()) else {
            return Err("the ids are cut off".to_owned());
        };
        if one.len() != PACKED {
            return Err("the ids are cut off".to_owned());
        }
        let at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).map_err(|error| error.to_string())?;
        let id = EventId::from_bytes(*id);
        recent.push(Recent { id, at });
    }
    Ok(Checkpoint {
        tick: record.tick,
        until: record.until,
        recent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(ids: usize) -> Checkpoint {
        let at = |n: usize| {
            Timestamp::from_microsecond(1_700_000_000_123_456 + i64::try_from(n).unwrap()).unwrap()
        };
        Checkpoint {
            tick: None,
            until: Some("2026-03-02T10:41:00Z".parse().unwrap()),
            recent: (0..ids)
                .map(|n| Recent {
                    id: EventId::of([n.to_string().as_bytes()]),
                    at: at(n),
                })
                .collect(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_its_author_known() {
        for ids in [0, 1, 300] {
            let value = encode(7, 3, &checkpoint(ids));
            assert_eq!(decode(&value), Ok(checkpoint(ids)));
            assert_eq!(author(&value), Some((7, 3)));
        }
    }

    #[test]
    fn a_value_stays_below_what_etcd_takes_and_keeps_the_newest_ids() {
        let many = checkpoint(MOST_RECENT + 5);
        let value = encode(7, 3, &many);
        assert!(value.len() < 1 << 20, "{}", value.len());
        assert_eq!(decode(&value).unwrap().recent, many.recent[5..]);
    }

    #[test]
    fn rubbish_and_newer_schemas_are_errors() {
        for bad in [
            r"{",
            r#"{"schema":2,"term":1,"seq":1}"#,
            r#"{"schema":1,"term":1,"seq":1,"recent":"AAAA"}"#,
            r#"{"schema":1,"term":1,"seq":1,"recent":"!"}"#,
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
