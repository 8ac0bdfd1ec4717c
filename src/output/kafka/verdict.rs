//! What an error of a broker means for an event, and for the reader.
//!
//! Owns the sorting: refused for good, perhaps refused, or to be sent again, and the words for the log. Only what no
//! repetition can cure is refused for good; a right that is missing and a topic that is not there can be mended.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::output::SinkError;

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The brokers have it, as far as they were to tell.
    Arrived,
    /// It will never be accepted.
    Refused(Code),
    /// It was refused together with others: alone it may be accepted, or not.
    InDoubt(Code),
    /// It was refused because of others only.
    Spared,
    /// It may be accepted later.
    Failed(Code),
}

impl Fate {
    /// By its report alone, which is not told whether it was alone.
    pub(super) fn of(error: Option<Code>) -> Self {
        match error {
            None => Self::Arrived,
            // A batch of messages is measured as a whole.
            Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => {
                Self::InDoubt(Code::MessageSizeTooLarge)
            }
            Some(
                code @ (Code::InvalidMessage
                | Code::InvalidMessageSize
                | Code::InvalidRecord
                | Code::InvalidTimestamp),
            ) => Self::InDoubt(code),
            Some(Code::InvalidDifferentRecord) => Self::Spared,
            Some(code) => Self::Failed(code),
        }
    }
}

/// Whether another producer with our transactional id has begun after us.
pub(super) fn is_taken_over(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch
    )
}

/// Whether a message was not sent because of something else.
pub(super) fn is_taken_back(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight)
}

/// What a batch failed of that was sent to `topic`; `trouble` is what a connection failed of last.
pub(super) fn failure(code: Code, topic: &str, trouble: Option<&str>) -> SinkError {
    let about = |text: &str| format!("topic {topic:?}: {text} ({code})");
    if let Some(trouble) = trouble.filter(|_| is_taken_back(code))
        && trouble.contains("AUTHORIZATION_FAILED")
    {
        // A transaction that failed takes its messages back; only its text tells why.
        return SinkError::Denied(format!("topic {topic:?}: we may not write to it: {trouble}"));
    }
    match code {
        Code::TopicAuthorizationFailed => {
            SinkError::Denied(about("we may not write to it: grant Write on it"))
        }
        Code::ClusterAuthorizationFailed => SinkError::Denied(about(
            "we may not write as fencing asks: grant IdempotentWrite on the cluster, or set fencing: none",
        )),
        Code::TransactionalIdAuthorizationFailed => SinkError::Denied(about(TRANSACTIONS)),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => busy(about(
            "it is not there, or lost the partition: create it, or let the brokers do so \
             (auto.create.topics.enable)",
        )),
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::Resolve => {
            let because = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
            SinkError::Transport(format!("topic {topic:?}: {code}{because}"))
        }
        _ => busy(format!("topic {topic:?}: {code}")),
    }
}

/// What to do where transactions are refused.
pub(super) const TRANSACTIONS: &str = "we may not use transactions under this id: grant Write and Describe on the \
                                       transactional id, or set fencing: idempotent";

pub(super) fn busy(message: String) -> SinkError {
    SinkError::Busy {
        message,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_can_cure_may_be_refused_for_good() {
        assert_eq!(Fate::of(None), Fate::Arrived);
        for code in [Code::MessageSizeTooLarge, Code::MessageBatchTooLarge] {
            assert_eq!(Fate::of(Some(code)), Fate::InDoubt(Code::MessageSizeTooLarge));
        }
        for code in [
            Code::InvalidMessage,
            Code::InvalidMessageSize,
            Code::InvalidRecord,
            Code::InvalidTimestamp,
        ] {
            assert_eq!(Fate::of(Some(code)), Fate::InDoubt(code));
        }
        assert_eq!(Fate::of(Some(Code::InvalidDifferentRecord)), Fate::Spared);
        for code in [
            Code::NotLeaderForPartition,
            Code::ThrottlingQuotaExceeded,
            Code::TopicAuthorizationFailed,
            Code::UnknownTopicOrPartition,
            Code::NotEnoughReplicas,
            Code::MessageTimedOut,
            Code::PurgeInflight,
            Code::Unknown,
        ] {
            assert_eq!(Fate::of(Some(code)), Fate::Failed(code));
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let denied = failure(Code::TopicAuthorizationFailed, "ecs", None);
        assert!(matches!(denied, SinkError::Denied(_)));
        assert!(
            denied
                .to_string()
                .contains("topic \"ecs\": we may not write to it: grant Write"),
            "{denied}"
        );
        let lost = failure(
            Code::MessageTimedOut,
            "ecs",
            Some("kafka:9092: Connection refused"),
        );
        assert!(matches!(lost, SinkError::Transport(_)));
        assert!(
            lost.to_string().ends_with(": kafka:9092: Connection refused"),
            "{lost}"
        );
        assert!(matches!(
            failure(Code::NotEnoughReplicas, "ecs", None),
            SinkError::Busy { .. }
        ));
    }
}
