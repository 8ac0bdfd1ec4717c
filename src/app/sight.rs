//! What this replica can reach: its outputs and the VDCs.
//!
//! Owns the probes by which a leader finds out that it is blind and a standby that it is not (`ha.yield_after`). Leader
//! and standbys probe alike, by opening a connection and nothing more, so that what they find can be compared. Nothing
//! is sent.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::App;
use crate::cluster::Probe;
use crate::config::{Config, OutputConfig};
use crate::election::replica::Report;

/// What one connection may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bounds of the time between two probes.
const PERIODS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Places of which one must answer.
type Places = Vec<(String, u16)>;

/// All that a leader needs to reach.
struct Sight {
    /// For each output its hosts; empty where it needs none.
    outputs: Vec<Places>,
    /// For each VDC its nodes.
    vdcs: Vec<Places>,
}

impl App {
    /// Probes for ever, and tells the election.
    pub(super) async fn look_around(&self, yield_after: Duration, report: Report) {
        let sight = Sight::of(&self.config);
        let period = (yield_after / 3).clamp(PERIODS.0, PERIODS.1);
        loop {
            let (outputs, vdcs) = tokio::join!(reachable(&sight.outputs), reachable(&sight.vdcs));
            // A leader that sees one VDC has something to do; a standby must promise more than that.
            let ecs = if self.status.state().0.leads() {
                vdcs.iter().any(|seen| *seen)
            } else {
                vdcs.iter().all(|seen| *seen)
            };
            report.probed(Probe {
                output: outputs.iter().all(|seen| *seen),
                ecs,
                at: self.clock.now(),
            });
            tokio::time::sleep(period).await;
        }
    }
}

impl Sight {
    fn of(config: &Config) -> Self {
        let through = |proxy: Option<&url::Url>, places: Places| {
            proxy.and_then(place).map_or(places, |proxy| vec![proxy])
        };
        let outputs = config.outputs.iter().map(|output| match output {
            OutputConfig::Elasticsearch(output) => {
                let hosts = output.hosts.iter().filter_map(place).collect();
                through(output.proxy_url.as_ref(), hosts)
            }
            OutputConfig::Logstash(output) => match &output.network.proxy {
                Some(proxy) => vec![(proxy.at.host.clone(), proxy.at.port)],
                None => (output.hosts.iter())
                    .map(|host| (host.host.clone(), host.port))
                    .collect(),
            },
            OutputConfig::Kafka(output) => {
                let hosts = output.hosts.iter();
                hosts.map(|host| (host.host.clone(), host.port)).collect()
            }
            OutputConfig::Redis(output) => match &output.network.proxy {
                Some(proxy) => vec![(proxy.at.host.clone(), proxy.at.port)],
                None => (output.hosts.iter())
                    .map(|host| (host.at.host.clone(), host.at.port))
                    .collect(),
            },
            OutputConfig::Console(_) | OutputConfig::File(_) => Vec::new(),
        });
        let vdcs = config.ecsbeat.customers.iter().flat_map(|customer| {
            customer.vdcs.iter().map(move |vdc| {
                let nodes = vdc
                    .nodes
                    .iter()
                    .map(|node| (node.host.clone(), node.port))
                    .collect();
                through(customer.proxy_url.as_ref(), nodes)
            })
        });
        Self {
            outputs: outputs.collect(),
            vdcs: vdcs.collect(),
        }
    }
}

/// Host and port of a URL.
fn place(url: &url::Url) -> Option<(String, u16)> {
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
    // The proxies' port, where a socks5:// URL names none.
    Some((host.to_owned(), url.port_or_known_default().unwrap_or(1080)))
}

/// For each group whether one of its places takes a connection; a group without places needs none.
async fn reachable(groups: &[Places]) -> Vec<bool> {
    join_all(groups.iter().map(|places| async move {
        let tries = places.iter().map(|(host, port)| {
            Box::pin(async move {
                match timeout(PATIENCE, TcpStream::connect((host.as_str(), *port))).await {
                    Ok(Ok(_)) => Ok(()),
                    _ => Err(()),
                }
            })
        });
        places.is_empty() || futures_util::future::select_ok(tries).await.is_ok()
    }))
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_place_of_a_group_is_enough() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = ("127.0.0.1".to_owned(), open.local_addr().unwrap().port());
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = ("127.0.0.1".to_owned(), closed.local_addr().unwrap().port());
        drop(closed);
        let groups = [vec![gone.clone(), there], vec![gone], vec![]];
        assert_eq!(reachable(&groups).await, [true, false, true]);
    }

    #[test]
    fn a_place_is_host_and_port_of_a_url() {
        let of = |url: &str| place(&url.parse().unwrap()).unwrap();
        assert_eq!(of("https://es1/path"), ("es1".to_owned(), 443));
        assert_eq!(of("http://[::1]:9200"), ("::1".to_owned(), 9200));
        assert_eq!(of("socks5://proxy"), ("proxy".to_owned(), 1080));
    }
}
