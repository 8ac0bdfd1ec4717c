//! `output.kafka.*`.
//!
//! Owns the keys and defaults of Beats for this output, and what is ours: `fencing`. A setting that the client cannot
//! honour is an error here, never something weaker at run time. Reaches nobody.

use std::path::PathBuf;
use std::time::Duration;

use super::codec::{self, Codec, Framing};
use super::section::Section;
use super::{
    BackoffConfig, Ha, HostPort, OutputConfig, Paths, Secret, SelectorRule, Ssl, VerificationMode, duration,
    output, output_network, selectors, ssl,
};

/// `output.kafka`, §3.4 of the Beats conventions.
#[derive(Debug, Clone)]
pub struct KafkaOutput {
    /// Brokers that are asked first; they name all others.
    pub hosts: Vec<HostPort>,
    /// Topic, a format string.
    pub topic: Option<String>,
    /// Rules tried before `topic`.
    pub topics: Vec<SelectorRule>,
    /// Key of a message, a format string; `None` = messages have no key.
    pub key: Option<String>,
    /// Headers of every message.
    pub headers: Vec<(String, Secret)>,
    /// Which partition of its topic a message goes to.
    pub partition: Partition,
    /// Who may write when two instances believe that they lead.
    pub fencing: Fencing,
    /// How many brokers have to have a message.
    pub acks: Acks,
    /// How messages are compressed.
    pub compression: Compression,
    /// Level of the compression; `None` = the method's own default.
    pub compression_level: Option<i32>,
    /// Largest message in bytes, before compression.
    pub max_message_bytes: usize,
    /// Takes the events that are refused for good or cannot become a message; `None` = they are dropped.
    pub dead_letter_file: Option<PathBuf>,
    /// Most events handed over at once; 0 = no limit but the batch.
    pub bulk_max_size: usize,
    /// How long a message waits for others to be sent with.
    pub bulk_flush_frequency: Duration,
    /// Times a failed publish is repeated; `None` = for ever.
    pub max_retries: Option<u32>,
    /// Pauses between failed tries.
    pub backoff: BackoffConfig,
    /// Budget of one publish, and of one request.
    pub timeout: Duration,
    /// How long a broker waits for the replicas that `required_acks` asks for.
    pub broker_timeout: Duration,
    /// Name of this client in the brokers' logs and quotas.
    pub client_id: String,
    /// How the brokers are told who we are.
    pub sasl: Option<Sasl>,
    /// How often brokers, partitions and leaders are looked up again.
    pub metadata_refresh: Duration,
    /// How events are written; JSON gets `@metadata`.
    pub codec: Codec,
    /// TLS, where it is on.
    pub ssl: Ssl,
}

/// `partition.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// How one is chosen.
    pub strategy: Strategy,
    /// Choose among those that have a leader, so that the others do not block.
    pub reachable_only: bool,
}

/// How a partition is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// By the key, or by fields of the event.
    Hash {
        /// Fields whose values are hashed; empty = the key is.
        fields: Vec<String>,
        /// At random where there is nothing to hash; else the event is dropped.
        random: bool,
        /// Which hash.
        algorithm: Hash,
    },
    /// Another one at random after so many events, at least 1.
    Random {
        /// Events in a row for one partition.
        group_events: u32,
    },
    /// The next one after so many events, at least 1.
    RoundRobin {
        /// Events in a row for one partition.
        group_events: u32,
    },
}

/// The hash that chooses a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// 32 bits of FNV-1a, as Beats and Sarama.
    Fnv1a,
    /// As Kafka's own Java client.
    Murmur2,
}

/// `fencing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fencing {
    /// Each batch is a transaction; whoever began last with this id shuts out all before.
    Transactional {
        /// `transactional.id`.
        id: String,
        /// How long one that was shut out stays away. By then, one that only believes to lead has noticed; the other
        /// one has to come back.
        stay_away: Duration,
    },
    /// The brokers recognise what one producer sends twice; two producers do not know of each other.
    Idempotent,
    /// What is sent twice arrives twice.
    None,
}

/// `required_acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// None waits: what is lost is not noticed.
    None,
    /// The leader has it.
    Leader,
    /// All replicas in sync have it.
    All,
}

/// `compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip
    Gzip,
    /// Snappy
    Snappy,
    /// LZ4
    Lz4,
    /// Zstandard
    Zstd,
}

/// `username`, `password`, `sasl.mechanism`.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: Secret,
    /// How it is proven.
    pub mechanism: Mechanism,
}

/// `sasl.mechanism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password is sent.
    Plain,
    /// SCRAM-SHA-256
    ScramSha256,
    /// SCRAM-SHA-512
    ScramSha512,
}

const SECOND: Duration = Duration::from_secs(1);
/// Port of Kafka.
const PORT: u16 = 9092;

const MECHANISMS: [(&str, Mechanism); 3] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-512", Mechanism::ScramSha512),
];
const COMPRESSIONS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];
const FENCINGS: [(&str, Fence); 3] = [
    ("transactional", Fence::Transactional),
    ("idempotent", Fence::Idempotent),
    ("none", Fence::None),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Transactional,
    Idempotent,
    None,
}

/// What was asked for of `fencing`; what comes of it depends on `ha`.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    fence: Option<Fence>,
    id: Option<String>,
}

/// Reads the section. [`settle`] is to follow.
pub(super) fn read(section: &Section<'_>, paths: &Paths) -> (KafkaOutput, Asked) {
    let compression = section
        .one_of("compression", &COMPRESSIONS)
        .unwrap_or(Compression::Gzip);
    let output = KafkaOutput {
        hosts: output_network::hosts(section, PORT, "kafka:9092"),
        topic: topic(section),
        topics: selectors::rules(section, "topics", "topic"),
        key: section.some_text("key"),
        headers: headers(section),
        partition: section.section("partition", partition),
        fencing: Fencing::None,
        acks: acks(section),
        compression,
        compression_level: compression_level(section, compression),
        max_message_bytes: max_message_bytes(section),
        dead_letter_file: output_network::dead_letter_file(section, paths),
        bulk_max_size: output::bulk_max_size(section, 2048),
        bulk_flush_frequency: section.duration("bulk_flush_frequency", Duration::ZERO),
        max_retries: output_network::max_retries(section),
        backoff: output_network::backoff(section),
        timeout: section.positive_duration("timeout", 30 * SECOND),
        broker_timeout: section.positive_duration("broker_timeout", 10 * SECOND),
        client_id: section
            .some_text("client_id")
            .unwrap_or_else(|| "beats".to_owned()),
        sasl: sasl(section),
        metadata_refresh: section.section("metadata", metadata),
        codec: codec::read(section, Framing::Messages, None),
        ssl: section.section("ssl", tls),
    };
    if let Some(key) = &output.key {
        selectors::check_format(section, "key", key);
    }
    if output.topic.is_none() && output.topics.is_empty() {
        section.missing(
            "topic",
            "where events go, a name or a format string such as ecs-%{[ecs-event-type]}",
        );
    }
    bounds(section, &output);
    let asked = Asked {
        fence: section.one_of("fencing", &FENCINGS),
        id: section.some_text("transactional_id"),
    };
    foreign(section);
    (output, asked)
}

/// Decides on the fencing, now that it is known whether there are replicas. `name` is that of this instance.
pub(super) fn settle(
    root: &Section<'_>,
    outputs: &mut [OutputConfig],
    asked: Option<Asked>,
    name: &str,
    ha: Option<&Ha>,
) {
    let kafka = outputs.iter_mut().find_map(|output| match output {
        OutputConfig::Kafka(kafka) => Some(kafka),
        _ => None,
    });
    let (Some(kafka), Some(asked)) = (kafka, asked) else {
        return;
    };
    let fence = asked.fence.unwrap_or(match (kafka.acks, ha) {
        (Acks::All, Some(_)) => Fence::Transactional,
        (Acks::All, None) => Fence::Idempotent,
        (Acks::Leader | Acks::None, _) => Fence::None,
    });
    if fence != Fence::None && kafka.acks != Acks::All {
        root.problem(
            "output.kafka.required_acks",
            "must be -1 (all replicas) where fencing is transactional or idempotent",
        );
    }
    if fence == Fence::None && asked.fence.is_none() {
        root.warning(
            "output.kafka.required_acks",
            "switches fencing off: events may be lost or arrive twice when a broker or a connection fails; leave it \
             out, or set it to -1",
        );
    } else if fence != Fence::Transactional && ha.is_some() {
        root.warning(
            "output.kafka.fencing",
            "does not shut out a leader that was replaced while it was paused: what it still has in hand may arrive \
             twice; transactional does",
        );
    }
    if fence != Fence::Transactional && asked.id.is_some() {
        root.warning(
            "output.kafka.transactional_id",
            "has no effect: fencing is not transactional",
        );
    }
    kafka.fencing = match fence {
        Fence::Transactional => Fencing::Transactional {
            id: asked
                .id
                .unwrap_or_else(|| format!("ecsbeat-{}", ha.map_or(name, |ha| &ha.cluster))),
            stay_away: ha.map_or(Duration::ZERO, |ha| ha.ttl),
        },
        Fence::Idempotent => Fencing::Idempotent,
        Fence::None => Fencing::None,
    };
}

fn topic(section: &Section<'_>) -> Option<String> {
    let topic = section.some_text("topic")?;
    selectors::check_format(section, "topic", &topic);
    if !topic.contains(['%', '\\']) && !KafkaOutput::is_topic(&topic) {
        section.problem(
            "topic",
            "cannot be the name of a topic: names have at most 249 letters (a-z, A-Z), digits, dots, underscores and \
             hyphens",
        );
    }
    Some(topic)
}

impl KafkaOutput {
    /// Whether Kafka takes this as the name of a topic.
    pub fn is_topic(name: &str) -> bool {
        (1..=249).contains(&name.len())
            && !matches!(name, "." | "..")
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    }
}

/// `[{key, value}]`, as in Beats.
fn headers(section: &Section<'_>) -> Vec<(String, Secret)> {
    let items = section
        .field("headers")
        .and_then(|field| field.items())
        .unwrap_or_default();
    let header = |header: &Section<'_>| {
        let key = header.some_text("key");
        if key.is_none() {
            header.missing("key", "the name of the header");
        }
        Some((key?, header.secret("value").unwrap_or_else(|| Secret::new(""))))
    };
    items.iter().filter_map(|item| item.section(header)).collect()
}

fn partition(section: &Section<'_>) -> Partition {
    let by_hash = strategy(section, "hash", |hash| {
        Some(Strategy::Hash {
            fields: hash.texts("hash").unwrap_or_default(),
            random: hash.flag("random", true),
            algorithm: hash
                .one_of("algorithm", &[("fnv1a", Hash::Fnv1a), ("murmur2", Hash::Murmur2)])
                .unwrap_or(Hash::Fnv1a),
        })
    });
    let random = strategy(section, "random", |random| {
        group_events(random).map(|group_events| Strategy::Random { group_events })
    });
    let round_robin = strategy(section, "round_robin", |robin| {
        group_events(robin).map(|group_events| Strategy::RoundRobin { group_events })
    });
    let mut chosen = [by_hash, random, round_robin].into_iter().flatten();
    let partition = chosen.next();
    if chosen.next().is_some() {
        section.problem("", "choose one of hash, random and round_robin");
    }
    partition.unwrap_or(Partition {
        strategy: Strategy::Hash {
            fields: Vec::new(),
            random: true,
            algorithm: Hash::Fnv1a,
        },
        reachable_only: false,
    })
}

/// One strategy, where it is given; with nothing below it it is as well.
fn strategy(
    section: &Section<'_>,
    key: &'static str,
    read: impl FnOnce(&Section<'_>) -> Option<Strategy>,
) -> Option<Partition> {
    let given = section.entry(key).is_some();
    let (strategy, reachable_only) = section.section(key, |section| {
        (read(section), section.flag("reachable_only", false))
    });
    Some(Partition {
        strategy: strategy.filter(|_| given)?,
        reachable_only,
    })
}

/// `None`: the strategy is switched off.
fn group_events(section: &Section<'_>) -> Option<u32> {
    let events = section.number("group_events", 0..=1_000_000_000).unwrap_or(1);
    Some(events).filter(|events| *events > 0)
}

fn acks(section: &Section<'_>) -> Acks {
    match section.number::<i64>("required_acks", -1..=1) {
        Some(0) => Acks::None,
        Some(1) => Acks::Leader,
        _ => Acks::All,
    }
}

/// Each method has levels of its own; 0 of gzip is "not compressed" in Beats as well.
fn compression_level(section: &Section<'_>, compression: Compression) -> Option<i32> {
    let (most, default) = match compression {
        Compression::Gzip => (9, Some(4)),
        Compression::Lz4 | Compression::Zstd => (12, None),
        Compression::None | Compression::Snappy => {
            if section.number::<i64>("compression_level", 0..=12).is_some() {
                section.warning(
                    "compression_level",
                    "has no effect: this compression has no levels",
                );
            }
            return None;
        }
    };
    section.number("compression_level", 0..=most).or(default)
}

/// The client takes nothing below 1000.
fn max_message_bytes(section: &Section<'_>) -> usize {
    let bytes = section.bytes("max_message_bytes", 1_000_000);
    if !(1000..=1_000_000_000).contains(&bytes) {
        section.problem("max_message_bytes", "must be from 1000 to 1000000000 bytes");
    }
    usize::try_from(bytes).unwrap_or(1_000_000)
}

fn sasl(section: &Section<'_>) -> Option<Sasl> {
    let username = section.some_text("username");
    let password = section.some_secret("password");
    let mechanism = section.section("sasl", |sasl| sasl.one_of("mechanism", &MECHANISMS));
    match (username, password) {
        (Some(username), Some(password)) => Some(Sasl {
            username,
            password,
            mechanism: mechanism.unwrap_or(Mechanism::Plain),
        }),
        (Some(_), None) => {
            section.missing("password", "the password of username");
            None
        }
        (None, Some(_)) => {
            section.missing("username", "the user that the password belongs to");
            None
        }
        (None, None) => {
            // PLAIN is what there is anyway.
            if mechanism.is_some_and(|mechanism| mechanism != Mechanism::Plain) {
                section.missing("username", "the user that sasl.mechanism is for");
            }
            None
        }
    }
}

fn metadata(section: &Section<'_>) -> Duration {
    section.without_effect("full", "what is asked for is what is written to");
    section.without_effect("retry", "brokers are asked until `timeout` is over");
    section.positive_duration("refresh_frequency", 600 * SECOND)
}

/// The client brings a TLS of its own, which cannot do all that the others do.
fn tls(section: &Section<'_>) -> Ssl {
    let ssl = ssl::read(section);
    if ssl.verification_mode == VerificationMode::Strict {
        section.problem(
            "verification_mode",
            "strict is not to be had for Kafka: use full, which takes the common name where a certificate has no DNS \
             name among its alternative names",
        );
    }
    if ssl.ca_trusted_fingerprint.is_some() {
        section.problem(
            "ca_trusted_fingerprint",
            "is not to be had for Kafka: put the authority's certificate into certificate_authorities",
        );
    }
    if !(ssl.tls12 && ssl.tls13) {
        section.problem(
            "supported_protocols",
            "must be both TLSv1.2 and TLSv1.3 for Kafka: leave it out, the newer one is taken where the broker has it",
        );
    }
    ssl
}

fn bounds(section: &Section<'_>, output: &KafkaOutput) {
    let [linger, timeout] = [output.bulk_flush_frequency, output.timeout];
    if linger >= timeout {
        let [linger, timeout] = [linger, timeout].map(duration::show);
        section.problem(
            "bulk_flush_frequency",
            format!("must be shorter than timeout: {linger} >= {timeout}"),
        );
    }
    if output.timeout > 600 * SECOND {
        section.problem("timeout", "must not be longer than 10m");
    }
    if output.broker_timeout > 600 * SECOND {
        section.problem("broker_timeout", "must not be longer than 10m");
    }
}

/// Options of Beats that this output does not have, or that mean nothing to its client.
fn foreign(section: &Section<'_>) {
    // Every configuration of Beats has it.
    let _ = section.alias("version");
    for worker in ["worker", "workers"] {
        section.without_effect(worker, "one producer keeps a connection to each broker");
    }
    section.without_effect("channel_buffer_size", "it is a buffer of another client");
    section.without_effect("keep_alive", "idle connections are made anew");
    section.not_in_this_version("kerberos", ": use sasl.mechanism");
}
