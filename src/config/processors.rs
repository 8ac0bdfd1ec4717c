//! `processors`: the list at the top of the file and in a command.
//!
//! Owns the grammar of the list (one processor in each entry, or `if`, `then`, `else`) and what is told of a
//! processor that does not exist; the options of each are [`super::processor_options`]'s.

use super::condition;
use super::errors::nearest;
use super::field::Field;
use super::node::Data;
use super::processor::Step;
use super::processor_options::PROCESSORS;
use super::section::Section;

/// Reads `processors` of a section.
pub(super) fn read(section: &Section<'_>) -> Vec<Step> {
    let Some(field) = section.field("processors") else {
        return Vec::new();
    };
    steps(&field, Place::List)
}

/// Where a processor stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a list of its own: it is asked for every event.
    List,
    /// In a block of `then` or `else`.
    Block,
}

fn steps(list: &Field<'_>, place: Place) -> Vec<Step> {
    let items = list.items().unwrap_or_default();
    items.iter().filter_map(|item| step(item, place)).collect()
}

/// One entry; `None` if it is wrong, which is told then.
fn step(item: &Field<'_>, place: Place) -> Option<Step> {
    let Some(entries) = item.entries() else {
        item.expected("the name of a processor and its options, as in `add_tags: {tags: [a]}`");
        return None;
    };
    if entries.iter().any(|(key, _)| key == "if") {
        return item.section(branch);
    }
    let names: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    let [(name, field)] = entries.as_slice() else {
        item.problem(match names.as_slice() {
            [] => "needs the name of a processor".to_owned(),
            _ => format!(
                "one processor is expected, found {}; each processor is an entry of its own, and its options are \
                 indented further than its name",
                names.join(", ")
            ),
        });
        return None;
    };
    one(name, field, place)
}

fn one(name: &str, field: &Field<'_>, place: Place) -> Option<Step> {
    let Some((_, options)) = PROCESSORS.into_iter().find(|(known, _)| *known == name) else {
        let names = PROCESSORS.map(|(known, _)| known);
        let near = nearest(name, names.into_iter());
        let near = near.map(|near| format!(", did you mean {near:?}"));
        field.problem(format!(
            "there is no such processor here{}; there are {}",
            near.unwrap_or_default(),
            names.join(", ")
        ));
        return None;
    };
    field.reader.known(field.schema.clone());
    field.given_if_empty();
    Some(field.section(|section| {
        let when = section.field("when").map(|field| condition::read(&field));
        if name == "drop_event" && when.is_none() && place == Place::List {
            section.missing("when", "without a condition every event would be dropped");
        }
        Step::One {
            place: field.path.clone(),
            // A condition that is wrong has been told.
            when: when.flatten(),
            processor: options(section),
        }
    }))
}

fn branch(section: &Section<'_>) -> Option<Step> {
    let condition = section.field("if").map(|field| condition::read(&field));
    if condition.is_none() {
        section.missing("if", "a condition");
    }
    let then = section.field("then").map(|field| block(&field));
    if then.is_none() {
        section.missing(
            "then",
            "the processors for the events that the condition holds for",
        );
    }
    let otherwise = section.field("else").map(|field| block(&field));
    Some(Step::If {
        condition: condition.flatten()?,
        then: then.unwrap_or_default(),
        otherwise: otherwise.unwrap_or_default(),
    })
}

/// A list of processors, or a single one.
fn block(field: &Field<'_>) -> Vec<Step> {
    match &field.node.data {
        Data::Map(map) if map.get("0").is_none() => step(field, Place::Block).into_iter().collect(),
        Data::List(items) if items.is_empty() => {
            field.problem("needs at least one processor");
            Vec::new()
        }
        _ => steps(field, Place::Block),
    }
}
