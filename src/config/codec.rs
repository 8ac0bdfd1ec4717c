//! `codec.*`: how an event is written by the outputs that write text.
//!
//! Owns the type and its reading, as Beats have it. What a format string makes of an event is the output's.

use super::section::Section;
use super::selectors;
use crate::format::Format;

/// How an event is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// `codec.json`: the document.
    Json {
        /// Indented, over several lines.
        pretty: bool,
        /// `<`, `>`, `&` and the line breaks of Unicode are written as `\u003c` and the like.
        escape_html: bool,
    },
    /// `codec.format.string`: a format string, one text for each event.
    Format(String),
}

/// How events are told apart where they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By line breaks: a format string must not have one.
    Lines,
    /// Each is a message of its own.
    Messages,
}

impl Default for Codec {
    fn default() -> Self {
        Self::Json {
            pretty: false,
            escape_html: false,
        }
    }
}

/// Reads `codec` of an output. `pretty` is the output's own switch of that name, where it has one.
pub(super) fn read(output: &Section<'_>, framing: Framing, pretty: Option<bool>) -> Codec {
    output.section("codec", |codec| {
        let json = codec.section("json", |json| {
            let own = json.maybe_flag("pretty");
            Codec::Json {
                pretty: pretty.or(own).unwrap_or(false),
                escape_html: json.flag("escape_html", false),
            }
        });
        let string = codec.section("format", |format| format_string(format, framing));
        let Some(string) = string else { return json };
        if codec.field("json").is_some() {
            codec.problem("", "choose one of json and format");
        } else if pretty == Some(true) {
            output.warning("pretty", "has no effect: it is for JSON, and codec.format is set");
        }
        Codec::Format(string)
    })
}

/// An empty one counts as none.
fn format_string(section: &Section<'_>, framing: Framing) -> Option<String> {
    if section.is_present() && section.field("string").is_none() {
        section.missing(
            "string",
            "a format string such as \"%{[@timestamp]} %{[ecs-event-type]}\"",
        );
    }
    let text = section.some_text("string")?;
    selectors::check_format(section, "string", &text);
    if framing == Framing::Lines && Format::parse(&text).is_ok_and(|format| format.breaks_lines()) {
        section.problem(
            "string",
            "must not have a line break: each event is one line, and gets its line break at the end",
        );
    }
    Some(text)
}
