//! Item 13, namespaces: every page of the list, whatever its end looks like, and names that need care.

use ecs_sim::{Change, Fault, FaultRule, Oddity};
use ecsbeat::app::Outcome;

use crate::support::bench::{Bench, failures, of, small, sorted};

const BILLING: &str = "{type: nsbilling}";
const LIST: &str = "/object/namespaces";

async fn bench(namespaces: usize) -> Bench {
    let config = ecs_sim::Config {
        namespaces,
        page_size: 10,
        ..small()
    };
    Bench::new(config).await
}

fn odd(bench: &Bench, oddity: Oddity) {
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
}

/// Every namespace is delivered once, after `pages` requests for the list.
async fn all_come(bench: &Bench, pages: usize) {
    assert_eq!(
        bench.once(&[BILLING]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let mut names = bench.sim.truth().namespaces;
    names.sort();
    assert_eq!(sorted(&of(&bench.events(), "nsbilling"), "namespace"), names);
    assert_eq!(bench.asked(LIST).len(), pages);
}

#[tokio::test]
async fn item_13_no_namespace_at_all() {
    let bench = bench(0).await;
    all_come(&bench, 1).await;
    assert_eq!(bench.asked("/object/billing").len(), 0, "nobody to ask about");
}

#[tokio::test]
async fn item_13_one_namespace() {
    all_come(&bench(1).await, 1).await;
}

#[tokio::test]
async fn item_13_exactly_a_page_of_namespaces() {
    all_come(&bench(10).await, 1).await;
}

#[tokio::test]
async fn item_13_one_more_than_a_page_of_namespaces() {
    all_come(&bench(11).await, 2).await;
}

#[tokio::test]
async fn item_13_many_pages_and_several_batches() {
    let bench = bench(235).await;
    all_come(&bench, 24).await;
    let batches = bench.asked("/object/billing/namespace/info");
    let sizes: Vec<usize> = batches
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            body["id"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(sizes, [100, 100, 35]);
}

#[tokio::test]
async fn item_13_the_last_page_has_a_null_marker() {
    let bench = bench(25).await;
    odd(&bench, Oddity::MarkerNull);
    all_come(&bench, 3).await;
}

#[tokio::test]
async fn item_13_the_last_page_has_no_marker() {
    let bench = bench(25).await;
    odd(&bench, Oddity::MarkerAbsent);
    all_come(&bench, 3).await;
}

#[tokio::test]
async fn item_13_the_last_page_has_an_empty_marker() {
    let bench = bench(25).await;
    odd(&bench, Oddity::MarkerEmpty);
    all_come(&bench, 3).await;
}

#[tokio::test]
async fn item_13_a_marker_that_repeats_is_an_error_and_not_endless() {
    let bench = bench(25).await;
    odd(&bench, Oddity::MarkerLoop);
    let events = bench.events_of(&[BILLING, "{type: capacity}"]).await;
    let told = failures(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "marker_loop"), "{told:?}");
    assert!(bench.asked(LIST).len() <= 3, "{}", bench.asked(LIST).len());
    assert_eq!(of(&events, "capacity").len(), 1, "others are not affected");
}

#[tokio::test]
async fn item_13_names_outside_ascii_and_of_signs_go_through_markers_and_bodies() {
    let config = ecs_sim::Config {
        namespaces: 12,
        page_size: 1,
        unicode_names: true,
        ..small()
    };
    let bench = Bench::new(config).await;
    for name in [
        "a b+c&d=e",
        "a/b?c#d",
        "a%20b",
        "100%",
        "größe-東京-🔑",
        "q\"uote\\",
    ] {
        bench
            .sim
            .apply(&Change::NamespaceAdd {
                name: name.to_owned(),
            })
            .unwrap();
    }
    all_come(&bench, 18).await;
    // One by one, where the name is part of the path.
    let refuse = Fault::Status {
        codes: vec![405],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(refuse).on_method("POST"));
    let events = bench.events_of(&[BILLING]).await;
    let mut names = bench.sim.truth().namespaces;
    names.sort();
    assert_eq!(sorted(&of(&events, "nsbilling"), "namespace"), names);
}

#[tokio::test]
async fn item_13_a_namespace_made_and_one_deleted_between_pages() {
    let bench = bench(25).await;
    odd(&bench, Oddity::NamespacesChange);
    assert_eq!(
        bench.once(&[BILLING]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let asked = &bench.asked("/object/billing")[0];
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(body.contains("zz-made-between-pages"), "{body}");
    let mut names = bench.sim.truth().namespaces;
    names.sort();
    let gone = names.pop().unwrap();
    assert!(!body.contains(&format!("{gone:?}")), "{body}");
    // The new one has no row yet; that is no failure.
    assert_eq!(sorted(&of(&bench.events(), "nsbilling"), "namespace"), names);
}

#[tokio::test]
async fn item_13_a_namespace_deleted_before_its_own_question_is_no_failure() {
    let bench = bench(12).await;
    odd(&bench, Oddity::NamespacesChange);
    let refuse = Fault::Status {
        codes: vec![501],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(refuse).on_method("POST"));
    assert_eq!(
        bench.once(&[BILLING]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let asked = bench.asked("/object/billing/namespace/zz-made-between-pages");
    assert_eq!(
        asked.iter().map(|request| request.status).collect::<Vec<_>>(),
        [404]
    );
    assert_eq!(of(&bench.events(), "nsbilling").len(), 11);
}

#[tokio::test]
async fn item_13_a_page_that_fails_is_told() {
    let bench = bench(25).await;
    let refuse = Fault::Status {
        codes: vec![400],
        retry_after: None,
        retryable: None,
        code: Some(1004),
        details: None,
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(refuse).on_path(LIST).skip(1).times(1));
    let events = bench.events_of(&[BILLING]).await;
    let told = failures(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "bad_request"), "{told:?}");
    assert_eq!(bench.asked(LIST).len(), 2, "a wrong question is not asked again");
}
