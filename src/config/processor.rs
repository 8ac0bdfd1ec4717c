//! One processor, as the chain meets it.
//!
//! Owns the types only; [`super::processors`] reads the lists they stand in, [`super::processor_options`] their
//! options. Names and defaults are those of Beats (Filebeat reference, "Define processors").

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Condition, Pattern};

/// One entry of `processors`.
#[derive(Debug, Clone)]
pub enum Step {
    /// A processor, for the events that its `when` holds for.
    One {
        /// Where it stands in the configuration, for the log: `processors.2.rename`.
        place: String,
        /// `when`; `None` = every event.
        when: Option<Condition>,
        /// What it does.
        processor: ProcessorConfig,
    },
    /// `if`, `then`, `else`.
    If {
        /// `if`
        condition: Condition,
        /// `then`: for the events that it holds for.
        then: Vec<Step>,
        /// `else`: for the others.
        otherwise: Vec<Step>,
    },
}

/// The processors and their options.
#[derive(Debug, Clone)]
pub enum ProcessorConfig {
    /// `add_fields`
    AddFields(AddFields),
    /// `add_host_metadata`
    AddHostMetadata(AddHostMetadata),
    /// `add_labels`: the labels, flat: `a.b` is one name.
    AddLabels(BTreeMap<String, Value>),
    /// `add_tags`
    AddTags(AddTags),
    /// `convert`
    Convert(Convert),
    /// `copy_fields`
    CopyFields(FromTo),
    /// `drop_event`
    DropEvent,
    /// `drop_fields`
    DropFields(DropFields),
    /// `fingerprint`
    Fingerprint(Fingerprint),
    /// `include_fields`: the fields that stay beside the protected ones and `type`.
    IncludeFields(Vec<String>),
    /// `rate_limit`
    RateLimit(RateLimit),
    /// `rename`
    Rename(FromTo),
    /// `replace`
    Replace(Replace),
    /// `truncate_fields`
    TruncateFields(TruncateFields),
}

/// What a processor does about a field that is missing, and about any other failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnError {
    /// `ignore_missing`: a field that is not there is no failure.
    pub ignore_missing: bool,
    /// `fail_on_error`: the first failure ends the processor, and what it did to the event is undone. Else the
    /// processor goes on with its next field.
    pub fail_on_error: bool,
}

/// `add_fields`
#[derive(Debug, Clone)]
pub struct AddFields {
    /// `target`: below which field; empty = the root.
    pub target: String,
    /// `fields`: what is added, in place of what is there.
    pub fields: Map<String, Value>,
}

/// `add_host_metadata`
#[derive(Debug, Clone)]
pub struct AddHostMetadata {
    /// `netinfo.enabled`: with addresses.
    pub netinfo: bool,
    /// `cache.ttl`: how long what was read counts; zero = it is read for each event.
    pub cache_ttl: Duration,
    /// `geo.*`: what is known of the place, by the names of its fields.
    pub geo: BTreeMap<&'static str, String>,
    /// `replace_fields`: also where the event has fields of a host beside its name.
    pub replace_fields: bool,
}

/// `add_tags`
#[derive(Debug, Clone)]
pub struct AddTags {
    /// `tags`: never empty.
    pub tags: Vec<String>,
    /// `target`: the list they are added to.
    pub target: String,
}

/// `convert`
#[derive(Debug, Clone)]
pub struct Convert {
    /// `fields`: never empty.
    pub fields: Vec<Conversion>,
    /// `tag`: in the messages of its failures; empty = none.
    pub tag: String,
    /// `mode: rename`: a source with a target of its own goes.
    pub rename: bool,
    /// `ignore_missing`, `fail_on_error`
    pub on_error: OnError,
}

/// One field that is converted.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// `from`
    pub from: String,
    /// `to`; `None` = in its place.
    pub to: Option<String>,
    /// `type`; `None` = as it is.
    pub kind: Option<DataType>,
}

/// What a value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `integer`: a whole number of 32 bits.
    Integer,
    /// `long`: a whole number of 64 bits.
    Long,
    /// `float`: of 32 bits.
    Float,
    /// `double`: a float of 64 bits.
    Double,
    /// `string`
    String,
    /// `boolean`
    Boolean,
    /// `ip`: a string that is an address.
    Ip,
}

/// `rename`, `copy_fields`
#[derive(Debug, Clone)]
pub struct FromTo {
    /// `fields`: source and target. Never empty.
    pub fields: Vec<(String, String)>,
    /// `ignore_missing`, `fail_on_error`
    pub on_error: OnError,
}

/// `drop_fields`
#[derive(Debug, Clone)]
pub struct DropFields {
    /// `fields` without slashes.
    pub names: Vec<String>,
    /// `fields` between slashes: they match the whole path of a field, dots included.
    pub patterns: Vec<Pattern>,
    /// `ignore_missing`
    pub ignore_missing: bool,
}

/// `fingerprint`
#[derive(Debug, Clone)]
pub struct Fingerprint {
    /// `fields`, in order, each once. Never empty.
    pub fields: Vec<String>,
    /// `target_field`
    pub target_field: String,
    /// `method`
    pub method: HashMethod,
    /// `encoding`
    pub encoding: Encoding,
    /// `ignore_missing`: what is missing is not part of the fingerprint.
    pub ignore_missing: bool,
}

/// `fingerprint.method`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashMethod {
    /// `sha1`
    Sha1,
    /// `sha256`
    Sha256,
    /// `sha384`
    Sha384,
    /// `sha512`
    Sha512,
}

/// `fingerprint.encoding`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `hex`, lower case.
    Hex,
    /// `base32` with padding, RFC 4648.
    Base32,
    /// `base64` with padding, RFC 4648.
    Base64,
}

/// `rate_limit`
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Events in a span, at least 1.
    pub events: u32,
    /// The span.
    pub per: Duration,
    /// `fields`: the limit counts for each combination of their values.
    pub fields: Vec<String>,
}

/// `replace`
#[derive(Debug, Clone)]
pub struct Replace {
    /// `fields`: never empty.
    pub fields: Vec<Replacement>,
    /// `ignore_missing`, `fail_on_error`
    pub on_error: OnError,
}

/// One text that is changed.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// `field`
    pub field: String,
    /// `pattern`
    pub pattern: Pattern,
    /// `replacement`: `$1` and `${name}` are what a group of the pattern matched.
    pub replacement: String,
}

/// `truncate_fields`
#[derive(Debug, Clone)]
pub struct TruncateFields {
    /// `fields`: never empty.
    pub fields: Vec<String>,
    /// `max_bytes` or `max_characters`
    pub limit: TextLimit,
    /// `ignore_missing`, `fail_on_error`
    pub on_error: OnError,
}

/// How long a text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextLimit {
    /// `max_bytes` of UTF-8; a character that does not fit as a whole goes.
    Bytes(usize),
    /// `max_characters`
    Characters(usize),
}
