//! `/metrics` against the conventions and the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::promtool::promtool;
use super::told::told;
use super::{path, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_finds_nothing_to_object_to() {
    for (who, text) in &told().await.metrics {
        if let Some(verdict) = promtool(&path(""), &["check", "metrics"], text) {
            assert!(
                verdict.is_good && verdict.said.trim().is_empty(),
                "{who}: {}\n{text}",
                verdict.said
            );
        }
        // It does not know what `OpenMetrics` forbids: a colon is for rules, a help begins with a word.
        for line in text.lines().filter(|line| line.starts_with("# HELP ")) {
            let words = line.splitn(4, ' ').nth(3).unwrap_or_default();
            assert!(words.len() > 4 && words.ends_with('.'), "{who}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_label_has_values_without_bound() {
    // Of the configuration, or out of a closed set.
    let bounded = [
        "command",
        "commit",
        "customer",
        "endpoint",
        "from",
        "kind",
        "name",
        "op",
        "output",
        "processor",
        "reason",
        "result",
        "setting",
        "to",
        "vdc",
        "version",
        "why",
    ];
    for (name, family) in told().await.families() {
        for label in family.labels {
            assert!(bounded.contains(&label.as_str()), "{label} of {name}");
        }
    }
}

/// The rows of the tables in docs/monitoring.md whose first cell is a series: type and labels, by name.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut found = BTreeMap::new();
    for line in read("docs/monitoring.md").lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, unit, meaning] = cells[..] else {
            continue;
        };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
            continue;
        };
        if !["counter", "gauge", "histogram"].contains(&kind) {
            continue;
        }
        let labels = labels.split(['`', ',', ' ']).filter(|label| !label.is_empty());
        assert!(
            !meaning.is_empty() && !unit.is_empty(),
            "{name} has no unit or meaning"
        );
        for base in ["seconds", "bytes"] {
            let is_in_name = name.trim_end_matches("_total").ends_with(&format!("_{base}"));
            assert_eq!(unit == base, is_in_name, "the unit of {name}");
        }
        let row = (kind.to_owned(), labels.map(str::to_owned).collect());
        assert!(
            found.insert(name.to_owned(), row).is_none(),
            "{name} is documented twice"
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_documented_is_what_there_is() {
    let real: BTreeMap<String, (String, BTreeSet<String>)> = (told().await.families().into_iter())
        .map(|(name, family)| (name, (family.kind, family.labels)))
        .collect();
    let documented = documented();
    let names = |of: &BTreeMap<String, _>| -> BTreeSet<String> { of.keys().cloned().collect() };
    let (there, told) = (names(&real), names(&documented));
    let lists = (
        there.difference(&told).collect::<Vec<_>>(),
        told.difference(&there).collect::<Vec<_>>(),
    );
    assert!(
        lists.0.is_empty() && lists.1.is_empty(),
        "not documented, and not there: {lists:?}"
    );
    for (name, row) in &real {
        assert_eq!(row, &documented[name], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_in_the_documents_exists() {
    let told = told().await;
    let (families, samples) = (told.families(), told.samples());
    let documents = fs::read_dir(path("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let readme = [path("README.md")];
    let mut count = 0;
    for file in documents
        .chain(readme)
        .filter(|file| file.extension().is_some_and(|kind| kind == "md"))
    {
        let text = fs::read_to_string(&file).unwrap();
        for word in text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')) {
            // `ecsbeat_ha_*` is no name.
            if !word.starts_with("ecsbeat_") || word.ends_with('_') {
                continue;
            }
            count += 1;
            let is_there = families.contains_key(word) || samples.contains_key(word);
            assert!(is_there, "{} is no series: {}", word, file.display());
        }
    }
    assert!(count > 60, "{count}");
}
