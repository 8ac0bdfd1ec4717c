//! `output.*`: which outputs there are, and the two local ones, console and file.

use std::time::Duration;

use super::codec::{self, Codec, Framing};
use super::output_elasticsearch::{self, Preset};
use super::output_kafka;
use super::section::Section;
use super::{
    ElasticsearchOutput, KafkaOutput, LogstashOutput, Paths, RedisOutput, output_logstash, output_redis,
};

/// One enabled output.
#[derive(Debug, Clone)]
pub enum OutputConfig {
    /// `output.console`.
    Console(ConsoleOutput),
    /// `output.file`.
    File(FileOutput),
    /// `output.elasticsearch`.
    Elasticsearch(Box<ElasticsearchOutput>),
    /// `output.logstash`.
    Logstash(Box<LogstashOutput>),
    /// `output.kafka`.
    Kafka(Box<KafkaOutput>),
    /// `output.redis`.
    Redis(Box<RedisOutput>),
}

impl OutputConfig {
    /// What is written behind `output.`, which is its name in the log and in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Console(_) => "console",
            Self::File(_) => "file",
            Self::Elasticsearch(_) => "elasticsearch",
            Self::Logstash(_) => "logstash",
            Self::Kafka(_) => "kafka",
            Self::Redis(_) => "redis",
        }
    }
}

/// `output.console`.
#[derive(Debug, Clone)]
pub struct ConsoleOutput {
    /// How events are written; `pretty` is `codec.json.pretty`.
    pub codec: Codec,
    /// Most events written at once; 0 = no limit.
    pub bulk_max_size: usize,
}

/// `output.file`.
#[derive(Debug, Clone)]
pub struct FileOutput {
    /// Directory; may hold `%{+yyyy.MM.dd}`, taken once at start.
    pub path: String,
    /// Files are `<filename>-YYYYMMDD[-N].ndjson`.
    pub filename: String,
    /// Size in KiB at which the file is closed and the next begun.
    pub rotate_every_kb: u64,
    /// Files kept, 2..1024.
    pub number_of_files: usize,
    /// Mode of new files.
    pub permissions: u32,
    /// Begin a new file at start.
    pub rotate_on_startup: bool,
    /// How events are written.
    pub codec: Codec,
}

/// Events at once; more is a slip of the finger.
const MAX_BULK: i64 = 1_000_000;

/// The enabled outputs and what they say about the queue.
pub(super) struct Outputs {
    pub(super) enabled: Vec<OutputConfig>,
    /// `output.elasticsearch.preset`, unless `custom`.
    pub(super) preset: Option<&'static Preset>,
    /// `output.*.flush_interval` of version 5.
    pub(super) flush_interval: Option<Duration>,
    /// `output.kafka.fencing`.
    pub(super) fencing: Option<output_kafka::Asked>,
}

/// Reads the section. Several outputs may be enabled: each gets every event.
pub(super) fn read(section: &Section<'_>, paths: &Paths) -> Outputs {
    let mut outputs = Outputs {
        enabled: Vec::new(),
        preset: None,
        flush_interval: None,
        fencing: None,
    };
    if let Some(console) = enabled(section, "console", &mut outputs, console) {
        outputs.enabled.push(OutputConfig::Console(console));
    }
    if let Some(file) = enabled(section, "file", &mut outputs, file) {
        outputs.enabled.push(OutputConfig::File(file));
    }
    let mut preset = None;
    let elasticsearch = enabled(section, "elasticsearch", &mut outputs, |section| {
        let (output, chosen) = output_elasticsearch::read(section, paths);
        preset = chosen;
        output
    });
    if let Some(elasticsearch) = elasticsearch {
        outputs.preset = preset;
        outputs
            .enabled
            .push(OutputConfig::Elasticsearch(Box::new(elasticsearch)));
    }
    if let Some(logstash) = enabled(section, "logstash", &mut outputs, output_logstash::read) {
        outputs.enabled.push(OutputConfig::Logstash(Box::new(logstash)));
    }
    let mut fencing = None;
    let kafka = enabled(section, "kafka", &mut outputs, |section| {
        let (output, asked) = output_kafka::read(section, paths);
        fencing = Some(asked);
        output
    });
    if let Some(kafka) = kafka {
        outputs.fencing = fencing;
        outputs.enabled.push(OutputConfig::Kafka(Box::new(kafka)));
    }
    if let Some(redis) = enabled(section, "redis", &mut outputs, output_redis::read) {
        outputs.enabled.push(OutputConfig::Redis(Box::new(redis)));
    }
    if outputs.enabled.is_empty() {
        section.problem(
            "",
            "No outputs are defined. Please define one under the output section.",
        );
    }
    outputs
}

/// Reads one output unless it is absent or switched off; `output.console:` with nothing below it is there.
fn enabled<T>(
    section: &Section<'_>,
    key: &'static str,
    outputs: &mut Outputs,
    read: impl FnOnce(&Section<'_>) -> T,
) -> Option<T> {
    let on = section.peek(key).is_some_and(|field| !field.says_disabled());
    let mut flush_interval = None;
    let both = |output: &Section<'_>| {
        output.flag("enabled", true);
        output.given("enabled", true);
        let old = output.deprecated("flush_interval", "queue.mem.flush.timeout");
        flush_interval = old.and_then(|field| field.duration());
        output.not_in_this_version("queue", ": set queue.mem at the top");
        read(output)
    };
    if on {
        let output = section.section(key, both);
        outputs.flush_interval = outputs.flush_interval.or(flush_interval);
        return Some(output);
    }
    section.reader().switched_off(|| section.section(key, both));
    None
}

fn console(section: &Section<'_>) -> ConsoleOutput {
    let pretty = section.maybe_flag("pretty");
    ConsoleOutput {
        codec: codec::read(section, Framing::Lines, pretty),
        bulk_max_size: bulk_max_size(section, 2048),
    }
}

fn file(section: &Section<'_>) -> FileOutput {
    let path = section.some_text("path").unwrap_or_else(|| {
        section.missing("path", "the directory of the files");
        String::new()
    });
    FileOutput {
        path,
        filename: file_name(section, "filename", "ecsbeat"),
        rotate_every_kb: section
            .number("rotate_every_kb", 1..=1_000_000_000)
            .unwrap_or(10_240),
        number_of_files: section.number("number_of_files", 2..=1024).unwrap_or(7),
        permissions: section.mode("permissions", 0o600, 0o777),
        rotate_on_startup: section.flag("rotate_on_startup", true),
        codec: codec::read(section, Framing::Lines, None),
    }
}

/// A name without a directory.
pub(super) fn file_name(section: &Section<'_>, key: &'static str, usual: &str) -> String {
    let name = section.some_text(key).unwrap_or_else(|| usual.to_owned());
    if name.contains('/') {
        section.problem(key, "must be a name without a directory, which is `path`");
    }
    name
}

/// 0 or less is no limit.
pub(super) fn bulk_max_size(section: &Section<'_>, default: usize) -> usize {
    let size = section
        .field("bulk_max_size")
        .and_then(|field| field.number::<i64>(-1..=MAX_BULK));
    size.map_or(default, |size| usize::try_from(size).unwrap_or(0))
}
