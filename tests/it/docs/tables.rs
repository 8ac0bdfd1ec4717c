//! The tables of `docs/outputs.md`: every example of a format string gives what stands beside it, and every fault that
//! was measured was one while something happened.
//!
//! Knows what the heads of those tables begin with. What a format string means is not known here.

use std::collections::BTreeSet;
use std::fs;

use ecsbeat::event::{Event, EventId};
use ecsbeat::format::Format;
use ecsbeat::pipeline::ack::Ack;
use serde_json::Value;

use super::page::{Page, root};

const PAGE: &str = "docs/outputs.md";

/// A table: its head, and its rows as they are written.
struct Table<'t> {
    head: Vec<&'t str>,
    rows: Vec<Vec<&'t str>>,
}

/// The first table whose head begins so.
fn table<'t>(text: &'t str, begins: &str) -> Table<'t> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(begins));
    let Some(head) = lines.next().map(cells) else {
        panic!("{PAGE} has no table that begins with {begins}")
    };
    // Between them is a line of dashes.
    let rows: Vec<Vec<&str>> = lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect();
    for row in &rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
    }
    Table { head, rows }
}

fn cells(line: &str) -> Vec<&str> {
    let line = line.strip_prefix('|').unwrap_or(line).trim_end();
    let line = line.strip_suffix('|').unwrap_or(line);
    line.split('|').map(str::trim).collect()
}

/// The pieces of code in a cell.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The code of a cell that is nothing else.
fn code(cell: &str) -> &str {
    match codes(cell)[..] {
        [code] if cell.len() == code.len() + 2 => code,
        _ => panic!("{cell} is not a piece of code"),
    }
}

fn text() -> String {
    fs::read_to_string(root().join(PAGE)).unwrap()
}

/// The event of the examples: the first JSON of the page.
fn event() -> Event {
    let page = Page::read(PAGE);
    let document = page.blocks_of("json").next().unwrap().text.trim().to_owned();
    let json: Value = serde_json::from_str(&document).unwrap();
    Event::new(
        EventId::of([document.as_bytes()]),
        json["@timestamp"].as_str().unwrap().parse().unwrap(),
        "disks".into(),
        document.into(),
        Ack::none(),
    )
}

/// What a format string makes of an event; the error is why it is refused.
fn formatted(format: &str, event: &Event) -> Result<Option<String>, String> {
    let format = Format::parse(format).map_err(|error| error.to_string())?;
    Ok(format.of(event))
}

#[test]
fn every_example_of_a_format_string_gives_what_is_said() {
    let (text, event) = (text(), event());
    let (mut given, mut refused) = (0, 0);
    for row in table(&text, "| format string | result |").rows {
        let got = formatted(code(row[0]), &event);
        if row[1] == "refused" {
            refused += 1;
            assert!(got.is_err(), "{row:?}: {got:?}");
            continue;
        }
        given += 1;
        let want = (row[1] != "nothing").then(|| code(row[1]).to_owned());
        assert_eq!(got, Ok(want), "{row:?}");
    }
    assert!(given >= 14 && refused >= 5, "{given} {refused}");
}

#[test]
fn every_letter_of_a_date_is_there_and_gives_what_is_said() {
    let (text, event) = (text(), event());
    let mut told = BTreeSet::new();
    for row in table(&text, "| letters of a date |").rows {
        let (letters, results) = (codes(row[0]), codes(row[2]));
        assert_eq!(letters.len(), results.len(), "{row:?}");
        for (letters, result) in letters.into_iter().zip(results) {
            let got = formatted(&format!("%{{+{letters}}}"), &event);
            assert_eq!(got, Ok(Some(result.to_owned())), "{row:?}");
            told.extend(letters.chars());
        }
    }
    for letter in ('a'..='z').chain('A'..='Z') {
        let taken = formatted(&format!("%{{+{letter}}}"), &event).is_ok();
        assert_eq!(taken, told.contains(&letter), "{letter}");
    }
}

/// Where nothing happened nothing could be lost, and that it was not says nothing.
#[test]
fn something_happened_during_every_fault_that_was_measured() {
    let text = text();
    let measured = table(&text, "| output | fault |");
    let column = measured.head.iter().position(|name| *name == "rows").unwrap();
    let idle: Vec<String> = measured
        .rows
        .iter()
        .filter(|row| row[column].replace(',', "").parse::<u64>().unwrap() == 0)
        .map(|row| row[..2].join(", "))
        .collect();
    assert!(idle.is_empty(), "no rows: {idle:#?}");
    assert!(measured.rows.len() > 60, "{}", measured.rows.len());
}
