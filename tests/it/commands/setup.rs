//! `setup` of the real binary against a recording Elasticsearch.

use std::collections::BTreeMap;

use ecs_sim::bulk::{Bulk, BulkFault, BulkRule, Config};
use serde_json::Value;

use crate::support::golden;
use crate::support::process::{Ended, Home};

const SETTINGS: &str = "\
ecsbeat.customers: [{customername: one, username: u, password: p, vdcs: [{vdcname: v, nodes: [10.1.83.51]}]}]
";

async fn server() -> Bulk {
    Bulk::start(Config::for_tests()).await.unwrap()
}

async fn done(settings: &str, arguments: &[&str]) -> Ended {
    let home = Home::new();
    home.configure(&format!("{SETTINGS}{settings}"));
    home.run(&[&["setup"], arguments].concat()).await
}

#[track_caller]
fn check(name: &str, ended: &Ended, code: i32, bulk: &Bulk) {
    let port = bulk.address().port().to_string();
    let text = golden::levelled(&ended.expect(code).stdout, &[(&port, "PORT")], &[]);
    golden::golden(&format!("setup/{name}"), &text);
    assert_eq!(golden::without_progress(&ended.stderr, "setup"), "");
}

fn resources(bulk: &Bulk) -> BTreeMap<String, Value> {
    let resources = bulk.resources().into_iter();
    resources.map(|resource| (resource.path, resource.body)).collect()
}

fn names(bulk: &Bulk) -> Vec<String> {
    resources(bulk).into_keys().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_template_is_loaded_once_and_replaced_when_told_to() {
    let bulk = server().await;
    let output = format!("output.elasticsearch.hosts: ['{}']\n", bulk.url());
    check("loaded", &done(&output, &[]).await, 0, &bulk);
    assert_eq!(names(&bulk), ["/_index_template/ecsbeat"]);
    let first = resources(&bulk);
    // Another priority shows whether it was replaced.
    let changed = format!("{output}setup.template.priority: 300\n");
    check("kept", &done(&changed, &["--index-management"]).await, 0, &bulk);
    assert_eq!(resources(&bulk), first);
    check("loaded", &done(&changed, &["--force"]).await, 0, &bulk);
    assert_ne!(resources(&bulk), first);
    let overwrite = format!("{output}setup.template.overwrite: true\nsetup.template.enabled: false\n");
    check("loaded", &done(&overwrite, &[]).await, 0, &bulk);
    assert_eq!(
        resources(&bulk),
        first,
        "it is what was asked for, also where a run must not"
    );
    assert!(bulk.is_empty(), "no event is sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_stream_is_made_where_its_name_is_known() {
    let bulk = server().await;
    let output = format!(
        "output.elasticsearch: {{hosts: ['{}'], index: Metrics-ecs}}\nsetup.template.data_stream: true\n",
        bulk.url()
    );
    check("data-stream", &done(&output, &[]).await, 0, &bulk);
    assert_eq!(
        names(&bulk),
        ["/_data_stream/metrics-ecs", "/_index_template/ecsbeat"]
    );
    check("data-stream-again", &done(&output, &[]).await, 0, &bulk);
    let by_event = output.replace("Metrics-ecs", "'metrics-%{[ecs-event-type]}'");
    check(
        "data-stream-by-event",
        &done(&by_event, &["--force"]).await,
        0,
        &bulk,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_host_that_answers_is_enough() {
    let (bulk, gone) = (server().await, server().await);
    let down = gone.url();
    let port = gone.address().port().to_string();
    drop(gone);
    let output = format!("output.elasticsearch.hosts: ['{down}', '{}']\n", bulk.url());
    let ended = done(&output, &[]).await;
    let text = ended.expect(0).stdout.replace(&port, "PORT-2");
    let Ended { status, took, .. } = ended;
    let levelled = Ended {
        status,
        took,
        stdout: text,
        stderr: String::new(),
    };
    check("second-host", &levelled, 0, &bulk);

    let ended = done(&format!("output.elasticsearch.hosts: ['{down}']\n"), &[]).await;
    assert!(
        ended.expect(1).stdout.contains("talk to server... ERROR"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("finished"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_elasticsearch_there_is_nothing_to_set_up() {
    let ended = done("output.console: ~\n", &["--index-management"]).await;
    assert_eq!(
        ended.expect(1).stderr,
        "Exiting: Index management requested but the Elasticsearch output is not configured/enabled: enable \
         output.elasticsearch, for this once with -E output.elasticsearch.hosts=…\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_is_refused_leaves_no_data_stream_without_one() {
    let bulk = server().await;
    // The greeting passes.
    let refused = BulkFault::Status {
        status: 403,
        retry_after: None,
    };
    bulk.set(BulkRule::always(refused).on_all().skip(1).times(1));
    let output = format!(
        "output.elasticsearch: {{hosts: ['{}'], index: metrics-ecs}}\nsetup.template.data_stream: true\n",
        bulk.url()
    );
    let ended = done(&output, &["--force"]).await;
    let said = &ended.expect(1).stdout;
    assert!(said.contains("index template ecsbeat... ERROR"), "{said}");
    assert!(
        !said.contains("data stream") && !said.contains("finished"),
        "{said}"
    );
    assert_eq!(names(&bulk), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_that_need_nothing_are_passed_over() {
    let bulk = server().await;
    let output = format!(
        "output.console: {{}}\noutput.elasticsearch.hosts: ['{}']\n",
        bulk.url()
    );
    check("loaded", &done(&output, &[]).await, 0, &bulk);
    assert_eq!(names(&bulk), ["/_index_template/ecsbeat"]);
}
