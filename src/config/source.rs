//! One YAML text → a tree with marks.
//!
//! `serde_yaml` says what the text means; `saphyr-parser` is walked beside it and only adds lines and the
//! spelling of plain scalars (`1.10` is a fine password, 1.1 is another one). Where the two disagree the line
//! is lost, never the value. Dots, `<<` and `${…}` are left as they are.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_yaml::Value;

use super::errors::Problem;
use super::node::{Data, Map, Mark, Node, Scalar, Style};

/// Reads `text`; `file` is its name in messages. An empty text is an empty mapping.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let problem = |line: Option<usize>, message: String| Problem {
        file: file.to_owned(),
        line,
        path: String::new(),
        message,
    };
    let value: Value = serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        problem(line, format!("not valid YAML: {error}"))
    })?;
    let spelling = Spelling::of(text);
    let source: Arc<str> = Arc::from(file);
    let converter = Converter {
        source,
        problem: &problem,
    };
    match value {
        Value::Null => Ok(Node::empty_map(converter.mark(0))),
        Value::Mapping(_) => converter.node(value, spelling.as_deref(), 1),
        _ => Err(problem(
            Some(1),
            "the file must be a mapping of keys to values".to_owned(),
        )),
    }
}

struct Converter<'p> {
    source: Arc<str>,
    problem: &'p dyn Fn(Option<usize>, String) -> Problem,
}

/// What `saphyr-parser` knows of a node.
struct Spelling {
    line: usize,
    shape: Shape,
}

enum Shape {
    /// Text, and whether it was written without quotes.
    Scalar(String, bool),
    List(Vec<Rc<Spelling>>),
    /// Keys with their lines.
    Map(Vec<(String, usize, Rc<Spelling>)>),
}

// === impl Converter ===

impl Converter<'_> {
    fn mark(&self, line: usize) -> Mark {
        Mark {
            file: Arc::clone(&self.source),
            line,
            built_in: false,
        }
    }

    fn node(&self, value: Value, spelling: Option<&Spelling>, line: usize) -> Result<Node, Problem> {
        let data = match value {
            Value::Null => Data::Null,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => scalar(&value, spelling),
            Value::Sequence(values) => {
                let mut list = Vec::with_capacity(values.len());
                for (index, value) in values.into_iter().enumerate() {
                    let item = spelling.and_then(|spelling| spelling.item(index));
                    let line = item.map_or(line, |item| item.line);
                    list.push(self.node(value, item, line)?);
                }
                Data::List(list)
            }
            Value::Mapping(mapping) => {
                let mut entries = Vec::with_capacity(mapping.len());
                for (index, (key, value)) in mapping.into_iter().enumerate() {
                    let found = spelling
                        .and_then(|spelling| spelling.entry(index))
                        .filter(|(written, _, _)| key.as_str().is_none_or(|key| key == written));
                    let line = found.map_or(line, |(_, line, _)| *line);
                    let key = match (&key, found) {
                        (Value::String(text), _) => text.clone(),
                        (Value::Null | Value::Bool(_) | Value::Number(_), Some((written, _, _))) => {
                            written.clone()
                        }
                        _ => {
                            let message = "a key must be a single word or number";
                            return Err((self.problem)(Some(line), message.to_owned()));
                        }
                    };
                    let inner = found.map(|(_, _, spelling)| &**spelling);
                    entries.push((key, self.node(value, inner, line)?));
                }
                Data::Map(Map {
                    entries,
                    implied: false,
                })
            }
            Value::Tagged(_) => {
                // Not shown: it may be a password that begins with an exclamation mark.
                let message = "YAML tags are not known here; text that begins with ! needs quotes";
                return Err((self.problem)(Some(line), message.to_owned()));
            }
        };
        Ok(Node {
            data,
            mark: self.mark(line),
        })
    }
}

/// Text is what `serde_yaml` says, numbers and bools are as they were spelt.
fn scalar(value: &Value, spelling: Option<&Spelling>) -> Data {
    let spelt = match spelling.map(|spelling| &spelling.shape) {
        Some(Shape::Scalar(text, plain)) => Some((text, *plain)),
        _ => None,
    };
    let (text, plain) = match (value, spelt) {
        (Value::String(text), spelt) => (text.clone(), spelt.is_some_and(|(_, plain)| plain)),
        (_, Some((text, true))) => (text.clone(), true),
        (Value::Bool(value), _) => (value.to_string(), true),
        (Value::Number(value), _) => (value.to_string(), true),
        _ => return Data::Null,
    };
    let style = if plain { Style::Plain } else { Style::Quoted };
    Data::Scalar(Scalar { text, style })
}

// === impl Spelling ===

impl Spelling {
    /// Walks the first document of `text`; `None` if the parser does not like it.
    fn of(text: &str) -> Option<Rc<Self>> {
        let mut parser = Parser::new_from_str(text);
        let mut anchors = HashMap::new();
        loop {
            let (event, span) = parser.next_event()?.ok()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return None,
                event => return Self::read(&mut parser, event, span.start.line(), &mut anchors),
            }
        }
    }

    fn read<'t>(
        parser: &mut Parser<'t, saphyr_parser::StrInput<'t>>,
        event: Event<'t>,
        line: usize,
        anchors: &mut HashMap<usize, Rc<Self>>,
    ) -> Option<Rc<Self>> {
        let (shape, anchor) = match event {
            Event::Alias(anchor) => return anchors.get(&anchor).cloned(),
            Event::Scalar(text, style, anchor, _) => (
                Shape::Scalar(text.into_owned(), style == ScalarStyle::Plain),
                anchor,
            ),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = parser.next_event()?.ok()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(Self::read(parser, event, span.start.line(), anchors)?);
                }
                (Shape::List(items), anchor)
            }
            Event::MappingStart(anchor, _) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = parser.next_event()?.ok()?;
                    if event == Event::MappingEnd {
                        break;
                    }
                    let key_line = span.start.line();
                    let key = Self::read(parser, event, key_line, anchors)?;
                    let (event, span) = parser.next_event()?.ok()?;
                    let value = Self::read(parser, event, span.start.line(), anchors)?;
                    let name = match &key.shape {
                        Shape::Scalar(text, _) => text.clone(),
                        Shape::List(_) | Shape::Map(_) => return None,
                    };
                    entries.push((name, key_line, value));
                }
                (Shape::Map(entries), anchor)
            }
            _ => return None,
        };
        let spelling = Rc::new(Self { line, shape });
        if anchor > 0 {
            anchors.insert(anchor, Rc::clone(&spelling));
        }
        Some(spelling)
    }

    fn item(&self, index: usize) -> Option<&Self> {
        match &self.shape {
            Shape::List(items) => items.get(index).map(|item| &**item),
            _ => None,
        }
    }

    fn entry(&self, index: usize) -> Option<&(String, usize, Rc<Self>)> {
        match &self.shape {
            Shape::Map(entries) => entries.get(index),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_at<'n>(node: &'n Node, path: &str) -> (&'n str, Style, usize) {
        let found = node.at(path).unwrap();
        match &found.data {
            Data::Scalar(scalar) => (&scalar.text, scalar.style, found.mark.line),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keeps_lines_and_spelling() {
        let text = "a: 0600\nb:\n  c: '1.10'\n  d: 1.10\nlist:\n  - x\n  - y: yes\n7: seven\n";
        let node = parse("x.yml", text).unwrap();
        assert_eq!(text_at(&node, "a"), ("0600", Style::Plain, 1));
        assert_eq!(text_at(&node, "b.c"), ("1.10", Style::Quoted, 3));
        assert_eq!(text_at(&node, "b.d"), ("1.10", Style::Plain, 4));
        assert_eq!(text_at(&node, "list.0"), ("x", Style::Plain, 6));
        assert_eq!(text_at(&node, "list.1.y"), ("yes", Style::Plain, 7));
        assert_eq!(text_at(&node, "7"), ("seven", Style::Plain, 8));
    }

    #[test]
    fn aliases_point_at_their_anchor() {
        let node = parse("x.yml", "\u{feff}a: &one\n  b: 1e3\nc: *one\n").unwrap();
        assert_eq!(text_at(&node, "c.b"), ("1e3", Style::Plain, 2));
    }

    #[test]
    fn refuses_tags_lists_and_broken_text() {
        assert!(
            parse("x.yml", "a: 1\nb: !custom 2")
                .unwrap_err()
                .to_string()
                .contains("x.yml:2: YAML tags")
        );
        assert!(parse("x.yml", "- a").unwrap_err().message.contains("mapping"));
        let error = parse("x.yml", "a: 1\nb: [1\nc: 2").unwrap_err();
        assert!(
            error.line.is_some() && error.message.contains("not valid YAML"),
            "{error}"
        );
        assert!(
            parse("x.yml", "a: 1\na: 2")
                .unwrap_err()
                .message
                .contains("duplicate")
        );
        assert_eq!(
            parse("x.yml", "\u{feff}# nothing\n").unwrap().data,
            Data::Map(Map::default())
        );
    }
}
