//! `docs/endpoints.md` names every path, and every member of the answers: no more than there are and no less.
//!
//! The answers are those of real processes: one alone, and two replicas over a real etcd.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::named::routes;
use super::page::Page;
use crate::support::cluster::{Cluster, Setup, until};
use crate::support::process::{PASSWORD, SOON, customers_with, get};

const PAGE: &str = "docs/endpoints.md";

/// Objects whose members are names out of the configuration.
const BY_NAME: [&str; 1] = ["outputs"];

/// Every member of a document, with dots; `[]` for each entry of a list, `*` for names out of the configuration.
fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let name = if BY_NAME.contains(&path) { "*" } else { name };
                let path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                };
                members(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => {
            for item in items {
                members(item, &format!("{path}[]"), found);
            }
        }
        _ => {}
    }
}

/// What the page says about members, by the path that it says it of. Those of all checks stand under a heading of their
/// own.
fn documented(page: &Page) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &page.rows {
        let paths = if row.below == "What every check answers" {
            vec!["checks".to_owned()]
        } else {
            row.below
                .split([' ', ','])
                .filter(|word| word.starts_with('/'))
                .map(str::to_owned)
                .collect()
        };
        for path in paths {
            found.entry(path).or_default().extend(row.first.iter().cloned());
        }
    }
    found
}

/// The answers of a replica that leads, of one that stands by, and of one alone, to each path.
async fn answers() -> BTreeMap<String, Vec<Value>> {
    let cluster = Cluster::of(Setup {
        settings: "  yield_after: 5m\n".to_owned(),
        ..Setup::default()
    })
    .await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    cluster.delivers(term).await;
    let switched = a.switchover("a", None).await;
    assert_eq!(switched.status, 200, "{}", switched.body);
    let home = crate::support::process::Home::new();
    home.configure(&format!(
        "ecsbeat:\n{}http: {{enabled: true, port: 0}}\noutput.file.path: {}\n",
        customers_with(&cluster.sim, &home, PASSWORD, "reqtimeout: 5s"),
        home.path().join("out").display()
    ));
    let mut single = home.start(&[]);
    let alone = single.http().await;
    until("everybody knows of everything", SOON, async || {
        let cluster = a.get("/cluster").await.json();
        let rows = cluster["members"].as_array()?;
        let probed = rows.iter().any(|row| row["probe"].is_object());
        let polled = get(alone, "/commands").await.json()["commands"][0]["last_tick"].is_string();
        let history = a.get("/history").await.json()["history"].as_array()?.len() == 2;
        (rows.len() == 2 && probed && polled && history).then_some(())
    })
    .await;
    let mut answers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for path in routes() {
        if ["/metrics", "/switchover", "/step-down", "/pause", "/resume"].contains(&path.as_str()) {
            continue;
        }
        for address in [a.http, b.http, alone] {
            let answer = get(address, &path).await.json();
            answers.entry(path.clone()).or_default().push(answer);
        }
    }
    let orders = [
        ("/switchover", switched.json()),
        ("/step-down", b.order("/step-down", &json!({})).await.json()),
        ("/pause", a.order("/pause", &json!({})).await.json()),
        ("/resume", a.order("/resume", &json!({})).await.json()),
    ];
    let refused = b.order("/switchover", &json!({"leader": "nobody"})).await;
    assert_eq!(refused.status, 412, "{}", refused.body);
    for (path, answer) in orders {
        assert!(answer["status"].is_string(), "{path}: {answer}");
        answers.insert(path.to_owned(), vec![answer, refused.json()]);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_of_every_answer_is_documented_and_no_other() {
    let page = Page::read(PAGE);
    let documented = documented(&page);
    let nothing = BTreeSet::new();
    let mut everywhere = BTreeSet::new();
    for (path, answers) in answers().await {
        let mut real = BTreeSet::new();
        for answer in &answers {
            members(answer, "", &mut real);
        }
        everywhere.extend(real.iter().cloned());
        let mut told = documented.get(&path).unwrap_or(&nothing).clone();
        if real.contains("lease_remaining_ms") {
            told.extend(documented["checks"].iter().cloned());
        }
        if path == "/stats" {
            // Hundreds of numbers in the shape of Beats: the page names the branches.
            for branch in &told {
                let below = branch.trim_end_matches(".*");
                assert!(real.iter().any(|member| member == below), "{path}: {branch}");
            }
            let branches: BTreeSet<&str> = told.iter().map(|name| name.trim_end_matches(".*")).collect();
            let covered = |member: &str| {
                branches
                    .iter()
                    .any(|branch| member.starts_with(branch) || branch.starts_with(member))
            };
            let missing: Vec<&String> = real.iter().filter(|member| !covered(member)).collect();
            assert!(missing.is_empty(), "{path}: not in {PAGE}: {missing:?}");
            continue;
        }
        let missing: Vec<&String> = real.difference(&told).collect();
        assert!(missing.is_empty(), "{path}: not in {PAGE}: {missing:?}");
        let invented: Vec<&String> = told.difference(&real).collect();
        assert!(
            invented.is_empty(),
            "{path}: {PAGE} tells of what is not there: {invented:?}"
        );
    }
    // What the examples show is what there is.
    let mut examples = 0;
    for block in page.blocks_of("json") {
        let mut shown = BTreeSet::new();
        members(&serde_json::from_str(&block.text).unwrap(), "", &mut shown);
        // Bodies of requests have members of their own.
        shown.remove("candidate");
        let invented: Vec<&String> = shown
            .iter()
            .filter(|member| !everywhere.contains(*member))
            .collect();
        assert!(
            invented.is_empty(),
            "{invented:?} of an example is in no answer:\n{}",
            block.text
        );
        examples += 1;
    }
    assert!(examples >= 6, "{examples}");
}

#[test]
fn every_path_has_a_heading() {
    let page = Page::read(PAGE);
    let missing: Vec<String> = routes()
        .into_iter()
        .filter(|route| {
            !page
                .headings
                .iter()
                .any(|(text, _)| text.split([' ', ',']).any(|word| word == route))
        })
        .collect();
    assert!(missing.is_empty(), "{PAGE} has no heading for {missing:?}");
}

#[test]
fn members_are_named_as_the_page_names_them() {
    let mut found = BTreeSet::new();
    let answer = json!({"a": {"b": 1}, "c": [{"d": 1}, {"e": null}], "outputs": {"file": {"up": true}}});
    members(&answer, "", &mut found);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "a",
            "a.b",
            "c",
            "c[].d",
            "c[].e",
            "outputs",
            "outputs.*",
            "outputs.*.up"
        ]
    );
}
