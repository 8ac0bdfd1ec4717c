//! A single node on the status page: at work, with everything broken, gone and back.

use ecs_sim::Sim;
use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use rustix::process::Signal;

use super::checks::{look, quiet};
use crate::support::chromium::Chromium;
use crate::support::process::{Home, SOON, ask, customers, get};
use crate::support::windowed::{COMMANDS, busy};

/// What a browser sends.
const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
/// A name that must stay one.
const CUSTOMER: &str = "<script>document.title='owned'</script>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_follows_a_node_through_faults_its_end_and_its_return() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let sim = Sim::start(busy()).await.unwrap();
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    let home = Home::new();
    let customers =
        customers(&sim, &home).replace("customername: sim", &format!("customername: \"{CUSTOMER}\""));
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{customers}http: {{enabled: true, host: 127.0.0.1, port: 0}}\n\
         queue.mem.flush.timeout: 100ms\noutput.elasticsearch:\n  hosts: ['{}']\n  backoff: {{init: 100ms, max: 400ms}}\n",
        bulk.url()
    ));
    let mut process = home.start(&[]);
    let address = process.http().await;
    let url = format!("http://{address}/");
    let tab = chromium.tab().await;
    tab.window((1400, 900)).await;
    tab.open(&url).await;
    tab.until(
        "the page is live",
        "document.getElementById('live').className === 'on'",
    )
    .await;
    tab.value("window.kept = true; document.querySelector('footer a').focus()")
        .await;

    // At work.
    for (what, expression) in [
        (
            "two VDCs of two commands",
            "document.querySelectorAll('#commands ~ table tbody tr:not(.group)').length === 4",
        ),
        (
            "all of them are fine",
            "[...document.querySelectorAll('#commands ~ table .badge')].every((badge) => badge.textContent === 'ok')",
        ),
        (
            "the output takes events",
            "Number(document.querySelector('td[data-label=Delivered]').textContent.replace(',', '')) > 20",
        ),
        (
            "a rate is known",
            "Number(document.querySelector('td[data-label=\"Events/s\"]').textContent) > 0",
        ),
    ] {
        tab.until(what, expression).await;
    }
    let text = tab.text().await;
    for part in [
        "works alone",
        "healthy",
        "single",
        "Events in the queue",
        CUSTOMER,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("CANARY"), "{text}");
    look(&tab, "single").await;
    quiet(&tab, &url);

    // Everything is broken.
    bulk.set(BulkRule::always(BulkFault::Refuse));
    sim.vdc(1).down().unwrap();
    for part in ["output_down", "ecs_down", "degraded", "failing"] {
        tab.shows(part).await;
    }
    look(&tab, "degraded").await;
    quiet(&tab, &url);
    assert_eq!(
        tab.value("window.kept && document.activeElement === document.querySelector('footer a')")
            .await,
        true,
        "all of this without a reload, and without taking the focus"
    );

    // Gone, and back.
    process.signal(Signal::KILL);
    process.ended(SOON).await;
    tab.until("the page says so", "!document.getElementById('silent').hidden")
        .await;
    let text = tab.text().await;
    assert!(text.contains("has not answered since"), "{text}");
    tab.picture("gone").await;
    bulk.clear_faults();
    sim.vdc(1).up().unwrap();
    let _process = home.start(&["-E", &format!("http.port={}", address.port())]);
    tab.until("it is live again", "document.getElementById('silent').hidden")
        .await;
    assert_eq!(tab.value("window.kept").await, true);
    assert!(
        !tab.value("document.title")
            .await
            .as_str()
            .unwrap()
            .contains("No answer")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_get_the_page_programs_get_json_and_all_get_the_headers() {
    let sim = Sim::start(busy()).await.unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}http: {{enabled: true, host: 127.0.0.1, port: 0}}\noutput.file: {{path: '{}'}}\n",
        customers(&sim, &home),
        home.path().display()
    ));
    let mut process = home.start(&[]);
    let address = process.http().await;
    let page = ask(address, "GET", "/", BROWSER).await.unwrap();
    assert!(page.body.starts_with("<!DOCTYPE html>"), "{}", page.body);
    let json = ask(address, "GET", "/", "Accept: */*\r\n").await.unwrap();
    assert_eq!(json.json()["beat"], "ecsbeat");
    let head = ask(address, "HEAD", "/", BROWSER).await.unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let metrics = get(address, "/metrics").await;
    let missing = get(address, "/nothing").await;
    for reply in [&page, &json, &head, &metrics, &missing] {
        let head = reply.head.to_lowercase();
        for header in [
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'",
        ] {
            assert!(head.contains(header), "{header}: {head}");
        }
    }
}
