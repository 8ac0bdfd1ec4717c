//! Which windows were polled, by the requests that reached the federation.
//!
//! Owns the reading of the simulator's log. Windows must follow each other without a gap, and where nothing was lost
//! none is asked for twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::support::cluster::Cluster;

/// Paths of the windowed commands that [`Cluster`] polls, and how far each question reaches back over its window.
const OVERLAPS: [(&str, Duration); 2] = [
    ("/vdc/events.json", Duration::from_secs(65)),
    ("/vdc/alerts.json", Duration::from_secs(3)),
];

/// A window that was asked for; further pages do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) begin: Timestamp,
    pub(super) end: Timestamp,
    /// When it was asked for.
    pub(super) at: Timestamp,
}

/// Those that were answered, by VDC and path, in the order of arrival.
pub(super) fn asked(cluster: &Cluster) -> BTreeMap<(String, &'static str), Vec<Window>> {
    let mut requests = cluster.sim.requests();
    requests.sort_by_key(|request| request.number);
    let mut asked: BTreeMap<_, Vec<Window>> = BTreeMap::new();
    for request in requests {
        let Some((path, overlap)) = OVERLAPS.into_iter().find(|(path, _)| *path == request.path) else {
            continue;
        };
        if request.status != 200 || request.query.contains("marker=") {
            continue;
        }
        let border = |name: &str| -> Timestamp {
            let mut parameters = request.query.split('&').filter_map(|pair| pair.split_once('='));
            let (_, value) = parameters.find(|(key, _)| *key == name).unwrap();
            value.replace("%3A", ":").parse().unwrap()
        };
        let window = Window {
            begin: border("start_time") + overlap,
            end: border("end_time"),
            at: Timestamp::from_millisecond(request.at_ms).unwrap(),
        };
        let vdc = cluster.sim.vdc(request.vdc).name();
        asked.entry((vdc, path)).or_default().push(window);
    }
    assert_eq!(asked.len(), 4, "windows of two logs of two VDCs");
    asked
}

/// Each window begins where one before it ended, or was asked for before.
#[track_caller]
pub(super) fn without_gap(cluster: &Cluster) {
    for (stream, windows) in asked(cluster) {
        let mut read = windows[0].begin;
        for window in windows {
            assert!(
                window.begin <= read,
                "nobody asked for {read} to {} of {stream:?}",
                window.begin
            );
            read = read.max(window.end);
        }
    }
}

/// Each window begins exactly where the one before it ended.
#[track_caller]
pub(super) fn each_once(cluster: &Cluster) {
    for (stream, windows) in asked(cluster) {
        for pair in windows.windows(2) {
            assert_eq!(pair[0].end, pair[1].begin, "{stream:?}: {pair:?}");
        }
    }
}
