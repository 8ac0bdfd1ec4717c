//! Item 6, forms of an answer: JSON or XML, the wrong `Content-Type`, compression, something else with status 200.

use ecs_sim::{Fault, FaultRule, Port};
use ecsbeat::app::Outcome;
use serde_json::Value;

use crate::support::bench::{Bench, failures, of, small};

const CAPACITY: &str = "{type: capacity}";
const NODES: &str = "{type: nodes}";

/// What the records of `capacity` and `nodes` say, without what differs from run to run.
fn records(events: &[Value]) -> Vec<Value> {
    let mut records: Vec<Value> = events
        .iter()
        .map(|event| {
            let mut event = event.clone();
            let members = event.as_object_mut().unwrap();
            members.retain(|name, _| {
                !["@timestamp", "agent", "ecsbeat", "event", "@metadata"].contains(&name.as_str())
            });
            event
        })
        .collect();
    records.sort_by_key(Value::to_string);
    records
}

async fn unhurt_by(fault: Fault) {
    let bench = Bench::new(small()).await;
    let plain = records(&bench.events_of(&[CAPACITY, NODES]).await);
    assert_eq!(plain.len(), 3);
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(fault).on_port(Port::Mgmt));
    bench.sim.clear_requests();
    assert_eq!(records(&bench.events_of(&[CAPACITY, NODES]).await), plain);
    assert_eq!(bench.asked("/object/capacity").len(), 1, "asked once only");
}

#[tokio::test]
async fn item_06_json_is_asked_for_by_accept_and_suffix() {
    let bench = Bench::new(small()).await;
    // Without its suffix the path is answered in XML unless `Accept` says otherwise.
    let bare = "{type: bare, uri: /object/capacity, level: vdc}";
    let all = [
        "auditevent",
        "alert",
        "latestalert",
        "localzone",
        "nodes",
        "replicationgroups",
        "storagepools",
        "disks",
        "processes",
        "capacity",
        "nsbilling",
        "nsbillingsample",
    ];
    let mut commands: Vec<String> = all.iter().map(|kind| format!("{{type: {kind}}}")).collect();
    commands.push(bare.to_owned());
    let texts: Vec<&str> = commands.iter().map(String::as_str).collect();
    assert_eq!(bench.once(&texts).await, Outcome::Well);
    assert!(of(&bench.events(), "bare")[0]["totalProvisioned_gb"].is_u64());
    let requests = bench.asked("/");
    assert!(requests.len() > 15, "{}", requests.len());
    for request in requests {
        let accept = request
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("accept"));
        assert_eq!(
            accept.map(|(_, value)| value.as_str()),
            Some("application/json"),
            "{}",
            request.path
        );
        let suffixed = request.path.strip_suffix(".json").is_some();
        let exempt = ["/login", "/logout", "/dashboard/", "/object/capacity"];
        assert!(
            suffixed || exempt.iter().any(|prefix| request.path.starts_with(prefix)),
            "{}",
            request.path
        );
    }
}

#[tokio::test]
async fn item_06_text_plain_is_read_as_json() {
    unhurt_by(Fault::ContentType {
        value: Some("text/plain".into()),
    })
    .await;
}

#[tokio::test]
async fn item_06_text_html_is_read_as_json() {
    unhurt_by(Fault::ContentType {
        value: Some("text/html; charset=ISO-8859-1".into()),
    })
    .await;
}

#[tokio::test]
async fn item_06_no_content_type_is_read_as_json() {
    unhurt_by(Fault::ContentType { value: None }).await;
}

#[tokio::test]
async fn item_06_gzip_is_read() {
    unhurt_by(Fault::Gzip).await;
}

#[tokio::test]
async fn item_06_a_body_until_the_end_of_the_connection_is_read() {
    unhurt_by(Fault::UntilClose).await;
}

/// A body with status 200 that is none is asked for again, and told in the end.
async fn asked_again_and_told(fault: Fault, word: &str) {
    let bench = Bench::new(small()).await;
    let rule = FaultRule::everywhere(fault).on_path("/object/capacity");
    bench.sim.faults().set(rule.clone().times(2));
    assert_eq!(bench.once(&[CAPACITY, NODES]).await, Outcome::Well);
    assert_eq!(bench.asked("/object/capacity").len(), 3, "two tries in vain");
    assert_eq!(of(&bench.events(), "capacity").len(), 1);

    bench.sim.faults().clear();
    bench.sim.faults().set(rule);
    bench.sim.clear_requests();
    let events = bench.events_of(&[CAPACITY, NODES]).await;
    assert_eq!(bench.asked("/object/capacity").len(), 3, "max_attempts");
    let told = failures(&events);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "decode");
    assert!(told[0].1.contains(word), "{}", told[0].1);
    assert_eq!(of(&events, "capacity").len(), 0);
    assert_eq!(of(&events, "nodes").len(), 2, "others are not affected");
}

#[tokio::test]
async fn item_06_an_html_page_with_200_is_asked_again_and_told() {
    asked_again_and_told(Fault::HtmlPage, "HTML").await;
}

#[tokio::test]
async fn item_06_an_empty_200_is_asked_again_and_told() {
    asked_again_and_told(Fault::EmptyBody, "empty").await;
}

#[tokio::test]
async fn item_06_xml_with_200_is_asked_again_and_told() {
    let body = "<?xml version=\"1.0\"?><cluster_capacity><totalFree_gb>1</totalFree_gb></cluster_capacity>";
    let answer = Fault::Answer {
        status: 200,
        content_type: Some("application/json".into()),
        body: body.into(),
    };
    asked_again_and_told(answer, "XML").await;
}
