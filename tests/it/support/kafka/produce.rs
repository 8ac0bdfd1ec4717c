//! What a request to write holds, and its answer.
//!
//! Owns the reading of batches' producers and sequence numbers (<https://kafka.apache.org/protocol#The_Messages_Produce>,
//! <https://kafka.apache.org/documentation/#recordbatch>), by which brokers recognize what one producer sends again, and
//! of their records, of which brokers refuse some.

use rdkafka::types::RDKafkaApiKey as Api;

use super::front::{Fields, Request, key};

/// `DUPLICATE_SEQUENCE_NUMBER`: it is there already.
const DUPLICATE: i16 = 46;
/// `INVALID_TIMESTAMP`: a record of the batch is older or newer than the topic takes.
const INVALID_TIMESTAMP: i16 = 32;
/// The last version whose fields are not tagged.
pub(super) const LAST_PLAIN: i16 = 8;

/// The beginning of a batch, as one producer numbers them: topic, partition, producer, epoch, first sequence number.
pub(super) type Batch = (String, i32, i64, i16, i32);

/// The numbered batches of a request to write; `None` for other requests.
pub(super) fn batches(request: &Request<'_>) -> Option<Vec<Batch>> {
    if request.key != key(Api::Produce) {
        return None;
    }
    assert!(
        request.version <= LAST_PLAIN,
        "version {} is not known here",
        request.version
    );
    let mut fields = Fields(request.body());
    let (_transactional_id, _acks, _timeout) = (fields.maybe_text(), fields.i16(), fields.i32());
    let mut batches = Vec::new();
    for _ in 0..fields.i32() {
        let topic = fields.text();
        for _ in 0..fields.i32() {
            let partition = fields.i32();
            let length = usize::try_from(fields.i32()).unwrap();
            let mut batch = Fields(fields.bytes(length));
            // Offset, length, epoch of the leader, magic, sum, attributes, last offset, two times.
            batch.bytes(8 + 4 + 4 + 1 + 4 + 2 + 4 + 8 + 8);
            let (producer, epoch, sequence) = (batch.i64(), batch.i16(), batch.i32());
            if producer >= 0 {
                batches.push((topic.clone(), partition, producer, epoch, sequence));
            }
        }
    }
    Some(batches)
}

/// The records of a request to write to one partition, without compression; `None` for other requests.
pub(super) fn records<'r>(request: &Request<'r>) -> Option<Vec<&'r [u8]>> {
    if request.key != key(Api::Produce) {
        return None;
    }
    let mut fields = Fields(request.body());
    let (_transactional_id, _acks, _timeout) = (fields.maybe_text(), fields.i16(), fields.i32());
    assert_eq!(fields.i32(), 1, "topics");
    fields.text();
    assert_eq!(fields.i32(), 1, "partitions");
    let (_partition, _length) = (fields.i32(), fields.i32());
    // Offset, length, epoch of the leader, magic, sum.
    fields.bytes(8 + 4 + 4 + 1 + 4);
    assert_eq!(fields.i16() & 7, 0, "compressed records are not read here");
    // Last offset, two times, producer, epoch, sequence.
    fields.bytes(4 + 8 + 8 + 8 + 2 + 4);
    let count = fields.i32();
    Some((0..count).map(|_| record(&mut fields)).collect())
}

/// The next record. Its length is a number that grows with its value, seven bits at a time, and is never negative.
fn record<'r>(fields: &mut Fields<'r>) -> &'r [u8] {
    let (mut length, mut shift) = (0_usize, 0_u32);
    loop {
        let byte = fields.bytes(1)[0];
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            // The lowest bit is the sign.
            return fields.bytes(length >> 1);
        }
    }
}

/// The answer to a request of which everything is there already.
pub(super) fn duplicate(request: &Request<'_>) -> Vec<u8> {
    answer(request, DUPLICATE, &[])
}

/// The answer to a request with records that are refused; the broker tells of these places.
pub(super) fn refused(request: &Request<'_>, places: &[usize]) -> Vec<u8> {
    answer(request, INVALID_TIMESTAMP, places)
}

/// The answer that nothing of a request was written for this reason, with the places of single records that are to blame.
fn answer(request: &Request<'_>, error: i16, places: &[usize]) -> Vec<u8> {
    let mut fields = Fields(request.body());
    let (_transactional_id, _acks, _timeout) = (fields.maybe_text(), fields.i16(), fields.i32());
    let mut answer = Vec::new();
    let topics = fields.i32();
    answer.extend(topics.to_be_bytes());
    for _ in 0..topics {
        let topic = fields.text();
        answer.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        answer.extend(topic.as_bytes());
        let partitions = fields.i32();
        answer.extend(partitions.to_be_bytes());
        for _ in 0..partitions {
            answer.extend(fields.i32().to_be_bytes());
            let length = usize::try_from(fields.i32()).unwrap();
            fields.bytes(length);
            answer.extend(error.to_be_bytes());
            answer.extend((-1_i64).to_be_bytes());
            if request.version >= 2 {
                // When it was appended.
                answer.extend((-1_i64).to_be_bytes());
            }
            if request.version >= 5 {
                // Where the log begins.
                answer.extend((-1_i64).to_be_bytes());
            }
            if request.version >= 8 {
                answer.extend(i32::try_from(places.len()).unwrap().to_be_bytes());
                for place in places {
                    answer.extend(i32::try_from(*place).unwrap().to_be_bytes());
                    // No message, neither of the record nor of the whole.
                    answer.extend((-1_i16).to_be_bytes());
                }
                answer.extend((-1_i16).to_be_bytes());
            }
        }
    }
    // Not throttled.
    answer.extend(0_i32.to_be_bytes());
    answer
}

/// Whether the brokers took all of it.
pub(super) fn is_taken(request: &Request<'_>, answer: &[u8]) -> bool {
    // Behind the correlation.
    let mut fields = Fields(&answer[4..]);
    let mut taken = true;
    for _ in 0..fields.i32() {
        fields.text();
        for _ in 0..fields.i32() {
            fields.i32();
            taken &= fields.i16() == 0;
            fields.i64();
            if request.version >= 2 {
                fields.i64();
            }
            if request.version >= 5 {
                fields.i64();
            }
            if request.version >= 8 {
                for _ in 0..fields.i32() {
                    fields.i32();
                    fields.maybe_text();
                }
                fields.maybe_text();
            }
        }
    }
    taken
}
