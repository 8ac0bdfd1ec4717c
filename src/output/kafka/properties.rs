//! The settings in librdkafka's words.
//!
//! Owns every property that is set. Their meaning: <https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::client;
use crate::config::{Acks, Compression, Fencing, KafkaOutput, Mechanism, Ssl, VerificationMode};
use crate::output::BuildError;
use crate::tls;

/// How much longer than a publish a transaction may take before the brokers abort it by themselves: so much that no
/// transaction of ours is taken for one that was left behind.
const TRANSACTION_MARGIN: Duration = Duration::from_secs(10);
/// What an answer may take beside what the broker waits for replicas.
const WAY: Duration = Duration::from_secs(2);
/// What collects messages for one request, unless more is asked for.
const LINGER: Duration = Duration::from_millis(5);
/// Most bytes of messages in one request, before compression: librdkafka's own default, and about what a topic takes
/// unless it is told otherwise.
const BATCH: usize = 1_000_000;

/// What a client is made with. Nothing is reached.
pub(super) fn properties(config: &KafkaOutput) -> Result<ClientConfig, BuildError> {
    let mut properties = ClientConfig::new();
    properties.set_log_level(RDKafkaLogLevel::Info);
    let hosts: Vec<String> = config.hosts.iter().map(ToString::to_string).collect();
    let millis = |time: Duration, least: u64, most: u64| {
        u64::try_from(time.as_millis())
            .unwrap_or(most)
            .clamp(least, most)
            .to_string()
    };
    let minutes = 60_000;
    let batch = config.max_message_bytes.min(BATCH);
    for (key, value) in [
        ("bootstrap.servers", hosts.join(",")),
        ("client.id", config.client_id.clone()),
        ("message.timeout.ms", millis(config.timeout, 1, 10 * minutes)),
        ("socket.timeout.ms", millis(answer_time(config), 10, 5 * minutes)),
        (
            "socket.connection.setup.timeout.ms",
            millis(config.timeout, 1000, minutes),
        ),
        (
            "request.timeout.ms",
            millis(config.broker_timeout, 1, 15 * minutes),
        ),
        (
            "queue.buffering.max.ms",
            millis(config.bulk_flush_frequency.max(LINGER), 0, 15 * minutes),
        ),
        (
            "topic.metadata.refresh.interval.ms",
            millis(config.metadata_refresh, 10, 60 * minutes),
        ),
        // Sizes are checked where messages are made; this one also counts what librdkafka puts around them.
        (
            "message.max.bytes",
            (config.max_message_bytes + 1000).min(1_000_000_000).to_string(),
        ),
        ("batch.size", batch.to_string()),
        ("compression.codec", codec(config.compression).to_owned()),
        (
            "compression.level",
            config.compression_level.unwrap_or(-1).to_string(),
        ),
        ("acks", acks(config.acks).to_owned()),
        // A broker that comes back is found within the time of a try.
        ("reconnect.backoff.max.ms", "2000".to_owned()),
        // Brokers close idle connections: no news.
        ("log.connection.close", "false".to_owned()),
        // Only what was asked for is told to anybody.
        ("enable.metrics.push", "false".to_owned()),
    ] {
        properties.set(key, value);
    }
    match &config.fencing {
        Fencing::None => {}
        Fencing::Idempotent => {
            properties.set("enable.idempotence", "true");
        }
        Fencing::Transactional { id, .. } => {
            let limit = millis(config.timeout + TRANSACTION_MARGIN, 1000, 15 * minutes);
            properties.set("transactional.id", id);
            properties.set("transaction.timeout.ms", limit);
        }
    }
    let secure = config.ssl.enabled == Some(true);
    properties.set(
        "security.protocol",
        match (secure, config.sasl.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        },
    );
    if let Some(sasl) = &config.sasl {
        let mechanism = match sasl.mechanism {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        properties.set("sasl.mechanism", mechanism);
        properties.set("sasl.username", &sasl.username);
        properties.set("sasl.password", sasl.password.expose());
    }
    if secure {
        tls_properties(&mut properties, &config.ssl)?;
    }
    // What librdkafka does not take shows now and not at the first connection.
    properties
        .create_native_config()
        .map_err(|error| BuildError::Setting {
            key: "output.kafka".to_owned(),
            problem: client::beginning(&error),
        })?;
    Ok(properties)
}

/// How long a request waits for its answer: so much shorter than a publish that what is not answered is repeated within
/// it, by the same producer, whose repetition the brokers recognise. The publisher's would be a new one's.
fn answer_time(config: &KafkaOutput) -> Duration {
    (config.broker_timeout + WAY).min(config.timeout / 3)
}

/// Certificates are read by the code that reads them for all other connections, and trusted as there.
fn tls_properties(properties: &mut ClientConfig, ssl: &Ssl) -> Result<(), BuildError> {
    let pem = tls::pem(ssl).map_err(|error| BuildError::Tls {
        section: "output.kafka",
        error,
    })?;
    properties.set("ssl.ca.pem", pem.authorities);
    if let Some((certificate, key)) = pem.identity {
        properties.set("ssl.certificate.pem", certificate);
        properties.set("ssl.key.pem", key.expose());
    }
    let (chain, name) = match ssl.verification_mode {
        VerificationMode::Full | VerificationMode::Strict => ("true", "https"),
        VerificationMode::Certificate => ("true", "none"),
        VerificationMode::None => ("false", "none"),
    };
    properties.set("enable.ssl.certificate.verification", chain);
    properties.set("ssl.endpoint.identification.algorithm", name);
    Ok(())
}

fn codec(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn acks(acks: Acks) -> &'static str {
    match acks {
        Acks::None => "0",
        Acks::Leader => "1",
        Acks::All => "-1",
    }
}
