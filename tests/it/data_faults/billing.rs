//! Item 15, billing: how it is asked, and what becomes of its rows. The figures are compared with the simulator's
//! own account.

use ecs_sim::{Fault, FaultRule, LoggedRequest, Oddity, Profile};
use ecsbeat::app::Outcome;
use serde_json::{Value, json};

use crate::support::bench::{Bench, failures, of, small, sorted};

const INFO: &str = "{type: nsbilling}";
const SAMPLE: &str = "{type: nsbillingsample}";
const CAPACITY: &str = "{type: capacity}";
const PATH: &str = "/object/billing/namespace/";

/// The window of a sample at the start: ten minutes that end at least a quarter of an hour ago.
const WINDOW: (i64, i64) = (1_772_443_800, 1_772_444_400);

fn status(codes: &[u16]) -> Fault {
    Fault::Status {
        codes: codes.to_vec(),
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    }
}

async fn odd(oddities: &[Oddity]) -> Bench {
    let bench = Bench::new(ecs_sim::Config {
        namespaces: 7,
        ..small()
    })
    .await;
    for oddity in oddities {
        bench
            .sim
            .faults()
            .set(FaultRule::everywhere(Fault::Odd { oddity: *oddity }));
    }
    bench
}

fn posts(bench: &Bench) -> Vec<LoggedRequest> {
    let mut requests = bench.asked(PATH);
    requests.retain(|request| request.method == "POST");
    requests
}

/// Each row of the sample has the figures of its own namespace.
fn check_samples(bench: &Bench, samples: &[&Value]) {
    for sample in samples {
        let truth = bench
            .sim
            .billing_truth(sample["namespace"].as_str().unwrap(), WINDOW.0, WINDOW.1);
        for (member, value) in [
            ("objects_created", truth.objects_created),
            ("objects_deleted", truth.objects_deleted),
            ("bytes_delta", truth.bytes_delta),
            ("ingress", truth.ingress),
            ("egress", truth.egress),
            ("total_objects", truth.total_objects),
        ] {
            assert_eq!(sample[member], value, "{member} of {}", sample["namespace"]);
        }
        let gb = truth.total_bytes as f64 / f64::from(1 << 30);
        assert!(
            (sample["total_size"].as_f64().unwrap() - gb).abs() < 1e-6,
            "{sample}"
        );
        assert_eq!(sample["@timestamp"], "2026-03-02T09:30:00.000Z");
        assert_eq!(sample["event"]["kind"], "metric");
    }
}

#[tokio::test]
async fn item_15_figures_are_those_of_the_namespace() {
    let bench = odd(&[]).await;
    assert_eq!(
        bench.once(&[INFO, SAMPLE]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let events = bench.events();
    let samples = of(&events, "nsbillingsample");
    assert_eq!(samples.len(), 7);
    check_samples(&bench, &samples);
    assert_eq!(
        sorted(&of(&events, "nsbilling"), "namespace"),
        sorted(&samples, "namespace")
    );
}

#[tokio::test]
async fn item_15_rows_are_matched_by_name_in_whatever_order_and_number() {
    let bench = odd(&[Oddity::ReorderedRows, Oddity::MissingRows]).await;
    assert_eq!(
        bench.once(&[INFO, SAMPLE]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let events = bench.events();
    let samples = of(&events, "nsbillingsample");
    assert_eq!(samples.len(), 5, "every third is missing");
    check_samples(&bench, &samples);
    assert_eq!(of(&events, "nsbilling").len(), 5);
}

#[tokio::test]
async fn item_15_sizes_are_numbers_in_both_forms() {
    for oddity in [Oddity::SizeNumbers, Oddity::SizeStrings] {
        let bench = odd(&[oddity]).await;
        bench.once(&[INFO, SAMPLE]).await;
        let events = bench.events();
        check_samples(&bench, &of(&events, "nsbillingsample"));
        let infos = of(&events, "nsbilling");
        assert_eq!(infos.len(), 7);
        for info in infos {
            assert!(
                info["total_size"].is_number(),
                "{oddity:?}: {}",
                info["total_size"]
            );
            assert_eq!(info["total_size_unit"], "GB");
        }
    }
}

#[tokio::test]
async fn item_15_valid_namespace_is_passed_on_as_it_comes() {
    let config = || ecs_sim::Config {
        namespaces: 7,
        profile: Profile::V4_3,
        ..small()
    };
    for (oddity, want) in [
        (None, vec!["true"; 7]),
        (
            Some(Oddity::InvalidNamespaces),
            vec!["true", "true", "false", "true", "true", "false", "true"],
        ),
        (
            Some(Oddity::ValidNamespaceName),
            vec!["ns1", "ns2", "ns3", "ns4", "ns5", "ns6", "ns7"],
        ),
    ] {
        let bench = Bench::new(config()).await;
        if let Some(oddity) = oddity {
            bench
                .sim
                .faults()
                .set(FaultRule::everywhere(Fault::Odd { oddity }));
        }
        assert_eq!(bench.once(&[INFO]).await, Outcome::Well);
        let events = bench.events();
        let found: Vec<&str> = of(&events, "nsbilling")
            .iter()
            .map(|info| info["valid_namespace"].as_str().unwrap())
            .collect();
        assert_eq!(found, want, "{oddity:?}");
    }
}

#[tokio::test]
async fn item_15_every_try_carries_type_and_whole_body() {
    let bench = odd(&[]).await;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(status(&[503, 503, 200])).on_path(PATH));
    assert_eq!(
        bench.once(&[INFO]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let posts = posts(&bench);
    assert_eq!(
        posts.iter().map(|post| post.status).collect::<Vec<_>>(),
        [503, 503, 200]
    );
    for post in posts {
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        assert_eq!(
            body,
            json!({"id": ["ns1", "ns2", "ns3", "ns4", "ns5", "ns6", "ns7"]})
        );
        let header = |name: &str| {
            let found = post
                .headers
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("content-length"), post.body_length.to_string());
    }
}

/// A refusal that would come again is not asked for again, and told with ECS's words.
async fn asked_once(fault: Fault, code: &str) {
    let bench = odd(&[]).await;
    bench.sim.faults().set(FaultRule::everywhere(fault).on_path(PATH));
    let events = bench.events_of(&[INFO, CAPACITY]).await;
    let told = failures(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, code), "{told:?}");
    assert!(
        told[0].1.contains("switched on in the simulator"),
        "{}",
        told[0].1
    );
    assert_eq!(posts(&bench).len(), 1);
    assert_eq!(of(&events, "capacity").len(), 1);
}

#[tokio::test]
async fn item_15_a_bad_body_is_not_sent_again() {
    asked_once(status(&[400]), "bad_request").await;
}

#[tokio::test]
async fn item_15_an_unsupported_type_is_not_sent_again() {
    asked_once(status(&[415]), "bad_request").await;
}

#[tokio::test]
async fn item_15_a_500_that_is_not_retryable_is_not_sent_again() {
    let Fault::Status {
        codes,
        retry_after,
        details,
        ..
    } = status(&[500])
    else {
        unreachable!()
    };
    let fault = Fault::Status {
        codes,
        retry_after,
        retryable: Some(false),
        code: Some(999),
        details,
    };
    asked_once(fault, "server").await;
}

#[tokio::test]
async fn item_15_an_empty_body_is_asked_again_and_is_no_zero() {
    let bench = odd(&[]).await;
    let oddity = Oddity::EmptyBilling;
    bench.sim.faults().set(
        FaultRule::everywhere(Fault::Odd { oddity })
            .on_path(PATH)
            .times(1),
    );
    assert_eq!(bench.once(&[SAMPLE]).await, Outcome::Well);
    assert_eq!(posts(&bench).len(), 2);
    let events = bench.events();
    check_samples(&bench, &of(&events, "nsbillingsample"));
    assert_eq!(events.len(), 7);

    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }).on_path(PATH));
    let events = bench.events_of(&[INFO]).await;
    assert_eq!(failures(&events)[0].0, "decode");
    assert_eq!(of(&events, "nsbilling").len(), 0);
}

#[tokio::test]
async fn item_15_where_the_batch_is_refused_each_namespace_is_asked() {
    for code in [404, 405, 501] {
        let bench = odd(&[]).await;
        bench.sim.faults().set(
            FaultRule::everywhere(status(&[code]))
                .on_path(PATH)
                .on_method("POST"),
        );
        assert_eq!(
            bench.once(&[INFO, SAMPLE]).await,
            Outcome::Well,
            "{:?}",
            failures(&bench.events())
        );
        let events = bench.events();
        let samples = of(&events, "nsbillingsample");
        assert_eq!(
            (of(&events, "nsbilling").len(), samples.len()),
            (7, 7),
            "after {code}"
        );
        check_samples(&bench, &samples);
        assert_eq!(posts(&bench).len(), 2, "the batch is tried once each");
    }
}

#[tokio::test]
async fn item_15_one_group_that_fails_does_not_keep_the_others() {
    let bench = Bench::new(ecs_sim::Config {
        namespaces: 250,
        ..small()
    })
    .await;
    bench.sim.faults().set(
        FaultRule::everywhere(status(&[400]))
            .on_path(PATH)
            .skip(1)
            .times(1),
    );
    let events = bench.events_of(&[INFO]).await;
    assert_eq!(failures(&events).len(), 1);
    assert_eq!(of(&events, "nsbilling").len(), 150);
}

#[tokio::test]
async fn item_15_another_vdc_answers_where_the_first_cannot() {
    let bench = Bench::new(ecs_sim::Config {
        vdcs: 2,
        namespaces: 7,
        ..small()
    })
    .await;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(status(&[500])).on_path(PATH).on_vdc(0));
    assert_eq!(
        bench.once(&[INFO]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let events = bench.events();
    assert_eq!(of(&events, "nsbilling").len(), 7);
    assert!(events.iter().all(|event| event["ecs-vdc-cfgname"] == "VDC2"));
}

#[tokio::test]
async fn item_15_the_path_without_suffix_is_asked_by_accept() {
    let bare = "{type: bare, uri: /object/billing/namespace/info, level: system, method: POST, \
                records: /namespace_billing_infos, key: [namespace], \
                batch: {list_uri: /object/namespaces, list_records: /namespace, size: 3}}";
    let bench = odd(&[]).await;
    assert_eq!(bench.once(&[bare]).await, Outcome::Well);
    assert_eq!(of(&bench.events(), "bare").len(), 7);
    assert_eq!(posts(&bench).len(), 3);
}
