//! The saved objects of Kibana: their shape, and the fields they ask for.
//!
//! No Kibana runs here. What can be known without one is: that every line is an object of its own, that all that refers
//! to something finds it in the file, and that every field is in real events of the type that is looked at, mapped so
//! that what is done with it can be done.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::mapping::mapped;
use super::read;
use super::told::{Told, told};

const FILE: &str = "deploy/kibana/ecsbeat.ndjson";
const DATA_VIEW: &str = "ecsbeat-data-view";
/// Every record.
const RECORDS: &str = "___records___";
/// Members whose text is JSON.
const TEXTS: [&str; 6] = [
    "fieldAttrs",
    "fieldFormatMap",
    "fields",
    "runtimeFieldMap",
    "sourceFilters",
    "typeMeta",
];
const NUMBERS: [&str; 2] = ["long", "double"];

fn objects() -> Vec<Value> {
    let text = read(FILE);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn of(kind: &str) -> Vec<Value> {
    let mut objects = objects();
    objects.retain(|object| object["type"] == kind);
    assert!(!objects.is_empty(), "{kind}");
    objects
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// A member whose text is JSON.
fn inside(object: &Value, pointer: &str) -> Value {
    let text = text(object, pointer);
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{pointer} of {}: {error}", object["id"]))
}

/// The names of references, with type and id of what they lead to.
fn references(object: &Value) -> BTreeMap<String, (String, String)> {
    let list = object["references"].as_array().unwrap();
    let found: BTreeMap<_, _> = (list.iter())
        .map(|one| {
            let to = (text(one, "/type").to_owned(), text(one, "/id").to_owned());
            (text(one, "/name").to_owned(), to)
        })
        .collect();
    assert_eq!(
        found.len(),
        list.len(),
        "two references of {} have one name",
        object["id"]
    );
    found
}

#[test]
fn every_object_is_whole_and_all_that_it_refers_to_is_there() {
    let objects = objects();
    let names: BTreeSet<(String, String)> = (objects.iter())
        .map(|object| (text(object, "/type").to_owned(), text(object, "/id").to_owned()))
        .collect();
    assert_eq!(names.len(), objects.len(), "two objects have one id");
    let mut used = BTreeSet::new();
    for object in &objects {
        assert_eq!(object["coreMigrationVersion"], "8.8.0", "{}", object["id"]);
        let version = match text(object, "/type") {
            "index-pattern" => "8.0.0",
            "lens" => "8.9.0",
            "search" => "7.9.3",
            "dashboard" => "8.7.0",
            other => panic!("{other}"),
        };
        assert_eq!(object["typeMigrationVersion"], version, "{}", object["id"]);
        assert!(!text(object, "/attributes/title").is_empty());
        for (name, to) in references(object) {
            assert!(names.contains(&to), "{name} of {} leads to {to:?}", object["id"]);
            used.insert(to);
        }
        is_json_where_it_must(&object["attributes"], &object["id"]);
    }
    for name in names {
        assert!(
            name.0 == "dashboard" || used.contains(&name),
            "{name:?} is shown nowhere"
        );
    }
}

/// What Kibana parses is JSON.
fn is_json_where_it_must(value: &Value, of: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name.ends_with("JSON") || TEXTS.contains(&name.as_str()) => {
                        let parsed = serde_json::from_str::<Value>(text);
                        assert!(parsed.is_ok(), "{name} of {of}: {text}");
                    }
                    other => is_json_where_it_must(other, of),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| is_json_where_it_must(item, of)),
        _ => {}
    }
}

#[test]
fn the_data_view_is_that_of_the_default_index() {
    let views = of("index-pattern");
    assert_eq!(views.len(), 1);
    assert_eq!(views[0]["id"], DATA_VIEW);
    assert_eq!(views[0]["attributes"]["title"], "ecsbeat-*");
    assert_eq!(views[0]["attributes"]["timeFieldName"], "@timestamp");
}

#[test]
fn every_panel_of_a_dashboard_has_its_place_and_its_object() {
    for dashboard in of("dashboard") {
        let mut references = references(&dashboard);
        let mut taken = BTreeSet::new();
        for panel in inside(&dashboard, "/attributes/panelsJSON").as_array().unwrap() {
            let index = text(panel, "/panelIndex");
            assert_eq!(text(panel, "/gridData/i"), index);
            let (kind, _) = references
                .remove(&format!("{index}:{}", text(panel, "/panelRefName")))
                .unwrap_or_else(|| panic!("{index} of {} shows nothing", dashboard["id"]));
            assert_eq!(text(panel, "/type"), kind);
            let place = |key: &str| panel["gridData"][key].as_u64().unwrap();
            assert!(place("x") + place("w") <= 48, "{index} of {}", dashboard["id"]);
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(
                        taken.insert((x, y)),
                        "{index} of {} covers another",
                        dashboard["id"]
                    );
                }
            }
        }
        for (id, control) in inside(&dashboard, "/attributes/controlGroupInput/panelsJSON")
            .as_object()
            .unwrap()
        {
            assert_eq!(text(control, "/explicitInput/id"), id);
            let name = format!("controlGroup_{id}:optionsListDataView");
            assert!(references.remove(&name).is_some(), "{id} of {}", dashboard["id"]);
        }
        assert!(
            references.is_empty(),
            "{references:?} of {} are for nothing",
            dashboard["id"]
        );
    }
}

/// The columns of a Lens panel.
fn columns(lens: &Value) -> Vec<(String, Value)> {
    let layers = &lens["attributes"]["state"]["datasourceStates"]["formBased"]["layers"];
    let layers = layers.as_object().unwrap();
    let mut columns = Vec::new();
    for (name, layer) in layers {
        let reference = format!("indexpattern-datasource-layer-{name}");
        assert!(
            references(lens).contains_key(&reference),
            "{reference} of {}",
            lens["id"]
        );
        let own = layer["columns"].as_object().unwrap();
        let order: Vec<&str> = layer["columnOrder"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let names: BTreeSet<&str> = own.keys().map(String::as_str).collect();
        assert_eq!(
            order.iter().copied().collect::<BTreeSet<_>>(),
            names,
            "{}",
            lens["id"]
        );
        // Groups come before what is counted in them.
        let grouped: Vec<bool> = order
            .iter()
            .map(|name| own[*name]["isBucketed"].as_bool().unwrap())
            .collect();
        assert!(
            grouped.is_sorted_by(|first, second| first >= second),
            "{}",
            lens["id"]
        );
        columns.extend(own.clone());
    }
    columns
}

/// Every text in the places of a visualization that name columns.
fn accessors(value: &Value, found: &mut BTreeSet<String>) {
    const PLACES: [&str; 7] = [
        "accessors",
        "xAccessor",
        "splitAccessor",
        "metricAccessor",
        "columnId",
        "primaryGroups",
        "metrics",
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(column) if PLACES.contains(&name.as_str()) => {
                        found.insert(column.clone());
                    }
                    Value::Array(names) if PLACES.contains(&name.as_str()) => {
                        found.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    other => accessors(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| accessors(item, found)),
        _ => {}
    }
}

#[test]
fn every_lens_panel_shows_all_its_columns_and_no_others() {
    for lens in of("lens") {
        let columns = columns(&lens);
        let names: BTreeSet<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let mut shown = BTreeSet::new();
        accessors(&lens["attributes"]["state"]["visualization"], &mut shown);
        assert_eq!(shown, names, "{}", lens["id"]);
        for (_, column) in &columns {
            if let Some(by) = column.pointer("/params/orderBy/columnId").and_then(Value::as_str) {
                assert!(names.contains(by), "{} is ordered by {by}", lens["id"]);
            }
        }
    }
}

/// The fields of a query in KQL.
fn queried(query: &str) -> Vec<String> {
    // Without what is in quotes, every word before a colon is a field.
    let plain: String = query.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let is_of_field = |c: char| c.is_alphanumeric() || "_-.@".contains(c);
    let (mut fields, mut rest) = (Vec::new(), plain.as_str());
    while let Some((before, after)) = rest.split_once(':') {
        let start = before.rfind(|c: char| !is_of_field(c)).map_or(0, |at| at + 1);
        fields.push(before[start..].to_owned());
        rest = after;
    }
    fields
}

/// The types of events that a query is after; empty = all.
fn types(query: &str) -> Vec<&str> {
    let Some((_, after)) = query.split_once("ecs-event-type: ") else {
        return Vec::new();
    };
    let end = after.find(')').or_else(|| after.find(' ')).unwrap_or(after.len());
    let words = after[..end].split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty() && *word != "or").collect()
}

#[test]
fn fields_and_types_of_a_query_are_found() {
    let query = "ecs-event-type: (\"alert\" or \"latestalert\") and event.outcome: \"a: b\" and not @x: *";
    assert_eq!(queried(query), ["ecs-event-type", "event.outcome", "@x"]);
    assert_eq!(types(query), ["alert", "latestalert"]);
    assert_eq!(types("ecs-event-type: disks and x: 1"), ["disks"]);
    assert!(types("").is_empty() && queried("").is_empty());
}

/// The values of a field in an event, lists looked into.
fn values<'e>(event: &'e Value, field: &str) -> Vec<&'e Value> {
    let mut found = vec![event];
    for name in field.split('.') {
        found = (found.into_iter())
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect::<Vec<_>>(),
                other => vec![other],
            })
            .filter_map(|value| value.get(name))
            .collect();
    }
    found
}

/// The events of a query, as far as type and outcome tell them apart.
fn events<'t>(told: &'t Told, query: &str) -> Vec<&'t Value> {
    let types = types(query);
    let has = |event: &Value, field: &str, wanted: &[&str]| {
        let values = values(event, field);
        wanted.is_empty()
            || values
                .iter()
                .any(|value| value.as_str().is_some_and(|text| wanted.contains(&text)))
    };
    let outcome = ["success", "failure"].map(|word| {
        query
            .contains(&format!("event.outcome: \"{word}\""))
            .then_some(word)
    });
    let outcomes: Vec<&str> = outcome.into_iter().flatten().collect();
    let events = told.events.iter();
    events
        .filter(|event| has(event, "ecs-event-type", &types) && has(event, "event.outcome", &outcomes))
        .collect()
}

/// A use of a field: where, in which events, and what types it may have there.
struct Use {
    place: String,
    query: String,
    field: String,
    kinds: Vec<&'static str>,
}

fn uses() -> Vec<Use> {
    let mut uses = Vec::new();
    let mut add = |place: &Value, query: &str, field: &str, kinds: &[&'static str]| {
        uses.push(Use {
            place: place.to_string(),
            query: query.to_owned(),
            field: field.to_owned(),
            kinds: kinds.to_vec(),
        });
    };
    for lens in of("lens") {
        let (id, query) = (&lens["id"], text(&lens, "/attributes/state/query/query"));
        queried(query).iter().for_each(|field| add(id, query, field, &[]));
        for (_, column) in columns(&lens) {
            let field = text(&column, "/sourceField");
            if let Some(own) = column.pointer("/filter/query").and_then(Value::as_str) {
                queried(own).iter().for_each(|field| add(id, query, field, &[]));
            }
            let (operation, kind) = (text(&column, "/operationType"), text(&column, "/dataType"));
            let kinds: &[&str] = match (operation, kind) {
                ("count", _) => {
                    assert_eq!(field, RECORDS, "{id}");
                    continue;
                }
                ("max" | "min" | "date_histogram", "date") => &["date"],
                ("sum" | "average" | "max" | "min" | "last_value", "number") => &NUMBERS,
                ("terms" | "last_value", "string") => &["keyword", "boolean", "ip"],
                ("unique_count", _) => &["keyword", "long", "double", "ip"],
                other => panic!("{other:?} of {id}"),
            };
            add(id, query, field, kinds);
        }
    }
    for search in of("search") {
        let source = inside(&search, "/attributes/kibanaSavedObjectMeta/searchSourceJSON");
        let query = text(&source, "/query/query").to_owned();
        assert!(references(&search).contains_key(text(&source, "/indexRefName")));
        let columns = search["attributes"]["columns"].as_array().unwrap();
        for field in columns
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .chain(queried(&query))
        {
            add(&search["id"], &query, &field, &[]);
        }
    }
    for dashboard in of("dashboard") {
        for control in inside(&dashboard, "/attributes/controlGroupInput/panelsJSON")
            .as_object()
            .unwrap()
            .values()
        {
            add(
                &dashboard["id"],
                "",
                text(control, "/explicitInput/fieldName"),
                &["keyword"],
            );
        }
    }
    for view in of("index-pattern") {
        for field in inside(&view, "/attributes/fieldFormatMap")
            .as_object()
            .unwrap()
            .keys()
        {
            add(&view["id"], "", field, &NUMBERS);
        }
    }
    uses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_is_in_real_events_and_mapped_for_what_is_done_with_it() {
    let told = told().await;
    let mappings = &told.template["template"]["mappings"];
    let uses = uses();
    assert!(uses.len() > 150, "{}", uses.len());
    let mut wrong = BTreeSet::new();
    for one in &uses {
        let events = events(told, &one.query);
        let values: Vec<&Value> = events
            .iter()
            .flat_map(|event| values(event, &one.field))
            .collect();
        if values.is_empty() {
            wrong.insert(format!(
                "{}: no {} in {} events of {:?}",
                one.place,
                one.field,
                events.len(),
                one.query
            ));
        }
        for value in values {
            let kind = mapped(mappings, &one.field, value).unwrap_or_default();
            if !one.kinds.is_empty() && !one.kinds.contains(&kind.as_str()) {
                wrong.insert(format!(
                    "{}: {} is {kind}, not {:?}",
                    one.place, one.field, one.kinds
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}",
        wrong.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_of_event_is_on_a_dashboard() {
    let told = told().await;
    let known: BTreeSet<&str> = (told.events.iter())
        .map(|event| text(event, "/ecs-event-type"))
        .collect();
    assert_eq!(known.len(), 13, "{known:?}");
    let lenses = of("lens");
    let shown: BTreeSet<&str> = (lenses.iter())
        .flat_map(|lens| types(text(lens, "/attributes/state/query/query")))
        .collect();
    let hidden: Vec<_> = known.difference(&shown).collect();
    assert!(hidden.is_empty(), "shown nowhere: {hidden:?}");
}
