//! `ecsbeat.commands`: what is polled, and what an entry takes over from the built-in command of its type.
//!
//! Owns the inheritance and the checks across the keys of one command; windows are [`super::window`]'s. The
//! built-in commands are data (`builtin.yml`), read as if the user had written them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::dotted::join;
use super::field::Field;
use super::node::{Data, Mark, Node};
use super::section::Section;
use super::{Batch, Command, Level, Method, Paginate, dotted, duration, merge, processors, source, window};

const BUILTIN: &str = include_str!("builtin.yml");
/// Entries per POST of a batch beyond this make answers nobody wants to hold.
const MAX_BATCH: i64 = 10_000;

const LEVELS: [(&str, Level); 4] = [
    ("system", Level::System),
    ("vdc", Level::Vdc),
    ("node", Level::Node),
    ("dtinfo", Level::Dtinfo),
];
const METHODS: [(&str, Method); 2] = [("GET", Method::Get), ("POST", Method::Post)];

/// Reads `commands` of the section `ecsbeat`; absent = the built-in ones.
pub(super) fn read(section: &Section<'_>, period: Duration, max_catch_up: Duration) -> Vec<Command> {
    let builtin = builtin(section);
    let mut commands = Vec::new();
    let mut types = BTreeMap::new();
    let field = section.field("commands");
    let items = match &field {
        Some(field) => field.items().unwrap_or_default(),
        None => builtin.iter().map(|node| item(section, node.clone())).collect(),
    };
    for mut item in items {
        if let Some(mut base) = base_of(&item.node, &builtin) {
            // What is inherited is wrong where the entry is.
            base.place_at(&Mark {
                built_in: true,
                ..item.node.mark.clone()
            });
            item.node = Cow::Owned(merge::merge(base, item.node.into_owned()));
        }
        let command = item.section(|section| entry(section, period, max_catch_up));
        // A command is known by its type: neither its place nor one that is switched off changes anything.
        let filed = command.as_ref().map(|command| format!("{:?}", command.kind));
        let filed = filed.map(|kind| section.path_of(&join("commands", &kind)));
        section.reader().refile(&item.path, filed.as_deref());
        let Some(command) = command else {
            continue;
        };
        if command.kind.is_empty() {
            continue;
        }
        let place = (item.path.clone(), item.node.mark.line);
        match types.insert(command.kind.clone(), place) {
            Some((path, line)) => item.problem(format!(
                "two commands have the type {:?}, the other is {path}{}",
                command.kind,
                if line > 0 {
                    format!(" on line {line}")
                } else {
                    String::new()
                }
            )),
            None => commands.push(command),
        }
    }
    if let Some(field) = field.filter(|_| types.is_empty()) {
        field.problem("no command is enabled; leave `commands` out for the built-in ones");
    }
    commands
}

/// The built-in commands. That they are fine is a test's business.
fn builtin(section: &Section<'_>) -> Vec<Node> {
    let text = format!("commands:\n{BUILTIN}");
    let mut problems = Vec::new();
    let list = source::parse("built-in commands", &text)
        .map(|node| dotted::expand(node, &mut problems))
        .map(|node| node.at("commands").map(|list| list.data.clone()));
    match list {
        Ok(Some(Data::List(mut items))) => {
            // They have no place in the user's files.
            for item in &mut items {
                item.place_at(&Mark {
                    built_in: true,
                    ..Mark::of("")
                });
            }
            items
        }
        Ok(_) => Vec::new(),
        Err(problem) => {
            section.problem("commands", problem.to_string());
            Vec::new()
        }
    }
}

/// A built-in command in the place of an entry; its path names the type, there is no index to look for.
fn item<'a>(section: &Section<'a>, node: Node) -> Field<'a> {
    let commands = section.path_of("commands");
    let (path, schema) = (
        join(&commands, kind_of(&node).unwrap_or_default()),
        join(&commands, "*"),
    );
    Field {
        reader: section.reader(),
        node: Cow::Owned(node),
        path,
        schema,
    }
}

/// `type` as it is written: what it stands for if it is a reference is of no help in looking it up.
fn kind_of(node: &Node) -> Option<&str> {
    match &node.at("type")?.data {
        Data::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// What the user's entry is laid over: the built-in command of its type. An entry with a URI of its own is one
/// of the 2017 form, where a missing interval is the period.
fn base_of(node: &Node, builtin: &[Node]) -> Option<Node> {
    let wanted = kind_of(node)?;
    let mut base = builtin.iter().find(|base| kind_of(base) == Some(wanted))?.clone();
    if node.at("uri").is_some()
        && let Data::Map(map) = &mut base.data
    {
        map.entries.retain(|(key, _)| key != "interval");
    }
    Some(base)
}

/// One command; `None` if it is switched off.
fn entry(section: &Section<'_>, period: Duration, max_catch_up: Duration) -> Option<Command> {
    if section.flag("enabled", true) {
        return Some(command(section, period, max_catch_up));
    }
    section
        .reader()
        .switched_off(|| command(section, period, max_catch_up));
    None
}

fn command(section: &Section<'_>, period: Duration, max_catch_up: Duration) -> Command {
    let kind = section.some_text("type").unwrap_or_else(|| {
        section.missing(
            "type",
            "the name of this command, it is ecs-event-type in every event",
        );
        String::new()
    });
    let level = section.one_of("level", &LEVELS);
    if section.field("level").is_none() {
        section.missing("level", "one of system, vdc, node, dtinfo");
    }
    let uri = section.some_text("uri").unwrap_or_else(|| {
        section.missing("uri", "path and query of the API, such as /object/capacity.json");
        String::new()
    });
    let interval = interval(section, period);
    let command = Command {
        window: section.field("window").map(|field| {
            field.section(|window| {
                window::read(
                    window,
                    &window::Around {
                        command: section,
                        interval,
                        max_catch_up,
                    },
                )
            })
        }),
        kind,
        uri,
        level: level.unwrap_or(Level::Vdc),
        interval,
        method: section.one_of("method", &METHODS).unwrap_or(Method::Get),
        body: section.text("body"),
        headers: section.secret_pairs("headers"),
        paginate: section.field("paginate").map(|field| field.section(paginate)),
        batch: section.field("batch").map(|field| field.section(batch)),
        records: pointer(section, "records"),
        key: section.texts("key").unwrap_or_default(),
        time_field: section.some_text("time_field"),
        processors: processors::read(section),
    };
    if level.is_some() {
        check(section, &command);
    }
    command
}

fn interval(section: &Section<'_>, period: Duration) -> Duration {
    match section.maybe_duration("interval") {
        None | Some(Duration::ZERO) => period,
        Some(interval) if interval < Duration::from_secs(1) => {
            let found = duration::show(interval);
            section.problem(
                "interval",
                format!("must be at least 1s (0 is ecsbeat.period), it is {found}"),
            );
            period
        }
        Some(interval) => interval,
    }
}

/// What has to fit together within one command.
fn check(section: &Section<'_>, command: &Command) {
    let places = command.uri.matches("%s").count();
    match (command.level, places) {
        (_, _) if command.uri.is_empty() => {}
        (Level::Dtinfo, 0) => {}
        (Level::Node, 1) | (Level::System | Level::Vdc, 0) if command.uri.starts_with('/') => {}
        (Level::Node, 0) => section.problem("uri", "level node needs a %s where the node's id goes"),
        (Level::Node, count) if count > 1 => {
            section.problem(
                "uri",
                format!("there must be one %s, for the node's id; there are {count}"),
            );
        }
        (Level::System | Level::Vdc | Level::Dtinfo, count) if count > 0 => {
            section.problem("uri", "%s stands for a node's id: only level node has one");
        }
        _ => section.problem("uri", "must begin with /: host and port are those of the nodes"),
    }
    if command.level == Level::Dtinfo {
        for (key, given) in [
            ("window", command.window.is_some()),
            ("paginate", command.paginate.is_some()),
            ("batch", command.batch.is_some()),
            ("body", command.body.is_some()),
        ] {
            if given {
                section.problem(key, "level dtinfo has its own questions and takes none");
            }
        }
    }
    if command.method == Method::Get {
        if command.batch.is_some() {
            section.problem("batch", "a batch is sent as POST: add `method: POST`");
        }
        if command.body.is_some() {
            section.problem("body", "GET has no body: add `method: POST`");
        }
    }
    if command.batch.is_some() && command.body.is_some() {
        section.problem("body", "a batch makes its own body");
    }
    if command.batch.is_some() && command.level == Level::Node {
        section.problem("batch", "level node asks each node by its id and cannot batch");
    }
}

fn paginate(section: &Section<'_>) -> Paginate {
    let text = |key, default: &str| section.some_text(key).unwrap_or_else(|| default.to_owned());
    Paginate {
        marker: text("marker", "NextMarker"),
        param: text("param", "marker"),
        limit: section.number("limit", 1..=1_000_000),
    }
}

fn batch(section: &Section<'_>) -> Batch {
    let required = |key, what: &str| {
        section.some_text(key).unwrap_or_else(|| {
            section.missing(key, what);
            String::new()
        })
    };
    let batch = Batch {
        list_uri: required("list_uri", "path of the list of names"),
        list_records: pointer(section, "list_records").unwrap_or_default(),
        list_field: section.some_text("list_field").unwrap_or_else(|| "id".to_owned()),
        list_paginate: section
            .field("list_paginate")
            .map(|field| field.section(paginate)),
        size: section.number("size", 1..=MAX_BATCH).unwrap_or(100),
        body_key: section.some_text("body_key").unwrap_or_else(|| "id".to_owned()),
        fallback_uri: section.some_text("fallback_uri"),
    };
    if !batch.list_uri.is_empty() && !batch.list_uri.starts_with('/') {
        section.problem("list_uri", "must begin with /");
    }
    if let Some(uri) = &batch.fallback_uri
        && (!uri.starts_with('/') || uri.matches("%s").count() != 1)
    {
        section.problem(
            "fallback_uri",
            "must begin with / and have one %s where the name goes",
        );
    }
    batch
}

/// A JSON pointer; empty counts as none.
fn pointer(section: &Section<'_>, key: &'static str) -> Option<String> {
    let pointer = section.some_text(key)?;
    if !pointer.starts_with('/') {
        section.problem(key, "must be a JSON pointer, which begins with /");
    }
    Some(pointer)
}
