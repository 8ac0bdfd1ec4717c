//! Item 7, connections: bodies that break off, dribble or are too large, nodes that are slow, silent or not there.

use ecs_sim::{Fault, FaultRule, Port};
use ecsbeat::app::Outcome;

use crate::support::bench::{Bench, failures, of, small, sorted};

const CAPACITY: &str = "{type: capacity}";
const DISKS: &str = "{type: disks}";
const NODES: &str = "{type: nodes}";
const PATH: &str = "/dashboard/zones/localzone/nodes";

/// A body that breaks off once is asked for again, and its rows that were read before are not doubled.
async fn is_asked_again(fault: Fault) {
    let config = ecs_sim::Config {
        nodes_per_vdc: 6,
        ..small()
    };
    let bench = Bench::new(config).await;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(fault).on_path(PATH).times(1));
    assert_eq!(bench.once(&[NODES]).await, Outcome::Well);
    assert_eq!(bench.asked(PATH).len(), 2);
    let events = bench.events();
    let mut ids: Vec<String> = bench
        .sim
        .vdc(0)
        .nodes()
        .iter()
        .map(ecs_sim::NodeHandle::id)
        .collect();
    ids.sort();
    assert_eq!(sorted(&of(&events, "nodes"), "id"), ids);
    assert_eq!(events.len(), ids.len(), "nothing but the nodes");
}

#[tokio::test]
async fn item_07_truncated_body_is_asked_again() {
    is_asked_again(Fault::Truncate {
        chunked: false,
        percent: 70,
    })
    .await;
}

#[tokio::test]
async fn item_07_truncated_chunked_body_is_asked_again() {
    is_asked_again(Fault::Truncate {
        chunked: true,
        percent: 70,
    })
    .await;
}

#[tokio::test]
async fn item_07_all_of_the_body_but_its_last_chunk_is_asked_again() {
    is_asked_again(Fault::Truncate {
        chunked: true,
        percent: 100,
    })
    .await;
}

#[tokio::test]
async fn item_07_reset_amid_the_body_is_asked_again() {
    is_asked_again(Fault::ResetMidBody).await;
}

#[tokio::test]
async fn item_07_reset_in_place_of_an_answer_is_asked_again() {
    is_asked_again(Fault::Reset).await;
}

#[tokio::test]
async fn item_07_a_body_that_is_always_cut_is_told_and_its_rows_come_once() {
    let config = ecs_sim::Config {
        nodes_per_vdc: 6,
        ..small()
    };
    let bench = Bench::new(config).await;
    let cut = Fault::Truncate {
        chunked: false,
        percent: 70,
    };
    bench.sim.faults().set(FaultRule::everywhere(cut).on_path(PATH));
    assert_eq!(bench.once(&[NODES, CAPACITY]).await, Outcome::Incomplete);
    let events = bench.events();
    let told = failures(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "transport"), "{told:?}");
    assert_eq!(of(&events, "capacity").len(), 1);
    let mut rows = sorted(&of(&events, "nodes"), "id");
    let count = rows.len();
    assert!((1..6).contains(&count), "{count} rows of what came");
    rows.dedup();
    assert_eq!(rows.len(), count, "none twice");
}

#[tokio::test]
async fn item_07_a_dribbled_body_is_read_whole() {
    let bench = Bench::new(small()).await;
    let dribble = Fault::Dribble {
        bytes: 37,
        pause_ms: 1,
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(dribble).on_port(Port::Mgmt));
    assert_eq!(bench.once(&[NODES, DISKS]).await, Outcome::Well);
    let events = bench.events();
    assert_eq!((of(&events, "nodes").len(), of(&events, "disks").len()), (2, 4));
    assert_eq!(bench.asked(PATH).len(), 1);
}

/// Without an answer within `reqtimeout` a try fails; it has its one node and no more than that time.
async fn times_out(fault: Fault) {
    let mut bench = Bench::new(small()).await;
    bench
        .customer("reqtimeout", "600ms")
        .set("ecsbeat.max_attempts", "2");
    bench.sim.faults().set(FaultRule::everywhere(fault).on_path(PATH));
    let events = bench.events_of(&[NODES, CAPACITY]).await;
    let told = failures(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "timeout"), "{told:?}");
    assert!(told[0].1.contains("reqtimeout"), "{}", told[0].1);
    assert_eq!(of(&events, "capacity").len(), 1, "others are not affected");
}

#[tokio::test]
async fn item_07_a_body_slower_than_reqtimeout_is_told() {
    times_out(Fault::Dribble {
        bytes: 1,
        pause_ms: 50,
    })
    .await;
}

#[tokio::test]
async fn item_07_headers_slower_than_reqtimeout_are_told() {
    times_out(Fault::SlowHeaders { ms: 20_000 }).await;
}

#[tokio::test]
async fn item_07_a_request_that_is_never_answered_is_told() {
    times_out(Fault::Hang).await;
}

#[tokio::test]
async fn item_07_slow_headers_within_reqtimeout_are_read() {
    let bench = Bench::new(small()).await;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::SlowHeaders { ms: 200 }).on_path(PATH));
    assert_eq!(bench.once(&[NODES]).await, Outcome::Well);
    assert_eq!(of(&bench.events(), "nodes").len(), 2);
}

/// An answer above `max_response_size` is refused once, and not asked for again.
async fn too_large(packed: bool) {
    let mut bench = Bench::new(small()).await;
    bench.set("ecsbeat.max_response_size", "1MB");
    if packed {
        bench
            .sim
            .faults()
            .set(FaultRule::everywhere(Fault::Gzip).on_path("/object/capacity"));
    }
    let big = |bytes| FaultRule::everywhere(Fault::Big { bytes }).on_path("/object/capacity");
    let allowed = bench.sim.faults().set(big(900_000));
    let events = bench.events_of(&[CAPACITY]).await;
    assert_eq!(of(&events, "capacity").len(), 1, "{:?}", failures(&events));

    bench.sim.faults().remove(allowed);
    bench.sim.faults().set(big(3_000_000));
    bench.sim.clear_requests();
    let events = bench.events_of(&[CAPACITY, NODES]).await;
    let told = failures(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "too_large"), "{told:?}");
    assert_eq!(bench.asked("/object/capacity").len(), 1);
    assert_eq!(of(&events, "nodes").len(), 2);
}

#[tokio::test]
async fn item_07_an_answer_above_max_response_size_is_refused_once() {
    too_large(false).await;
}

#[tokio::test]
async fn item_07_an_answer_that_unpacks_above_max_response_size_is_refused_once() {
    too_large(true).await;
}

/// One of two nodes is out of order; everything is collected through the other.
async fn the_other_node_answers(fault: Fault) {
    let mut bench = Bench::new(small()).await;
    bench.customer("reqtimeout", "600ms");
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(fault).on_node(0, 0).on_port(Port::Mgmt));
    assert_eq!(bench.once(&[NODES, DISKS, CAPACITY]).await, Outcome::Well);
    let events = bench.events();
    assert_eq!(failures(&events), []);
    let counts = ["nodes", "disks", "capacity"].map(|kind| of(&events, kind).len());
    assert_eq!(counts, [2, 4, 1]);
}

#[tokio::test]
async fn item_07_refused_connections_are_passed_by() {
    the_other_node_answers(Fault::Refused).await;
}

#[tokio::test]
async fn item_07_a_black_hole_is_passed_by() {
    the_other_node_answers(Fault::Blackhole).await;
}

#[tokio::test]
async fn item_07_a_node_that_accepts_and_hangs_is_passed_by() {
    the_other_node_answers(Fault::AcceptHang).await;
}

#[tokio::test]
async fn item_07_a_node_that_accepts_and_closes_is_passed_by() {
    the_other_node_answers(Fault::AcceptClose).await;
}

#[tokio::test]
async fn item_07_a_node_that_accepts_and_resets_is_passed_by() {
    the_other_node_answers(Fault::AcceptReset).await;
}

#[tokio::test]
async fn item_07_a_node_that_talks_no_tls_is_passed_by() {
    the_other_node_answers(Fault::TlsFailure).await;
}

#[tokio::test]
async fn item_07_where_no_node_can_be_reached_that_is_told_for_each_command() {
    let mut bench = Bench::new(small()).await;
    bench.customer("reqtimeout", "600ms");
    bench.sim.vdc(0).down().unwrap();
    assert_eq!(bench.once(&[NODES, CAPACITY]).await, Outcome::Incomplete);
    let told = failures(&bench.events());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().any(|(_, message)| message.contains("refused")),
        "{told:?}"
    );
}
