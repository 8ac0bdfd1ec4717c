//! `test config`, `test output`, `test ecs`: try everything once and say what happened.
//!
//! Owns the trees of steps that these commands print. Changes nothing at the other side.

use std::io::Write as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::{Outcome, clients};
use crate::clock::Clock;
use crate::config::Config;
use crate::election::solo;
use crate::output::{self, Sink as _};
use crate::telemetry::metrics::Metrics;
use crate::tls;

/// Everything that can be told without reaching anybody: files, keys, certificates.
pub fn config(config: &Config) -> anyhow::Result<Outcome> {
    let metrics = Metrics::new();
    for output in &config.outputs {
        output::build(output, &config.template, &metrics, &Clock::system())?;
    }
    clients(&config.ecsbeat, &metrics)?;
    if let Some(ha) = &config.ha
        && ha.etcd.hosts.iter().any(|host| host.scheme() == "https")
    {
        tls::client_config(&ha.etcd.ssl).map_err(|error| anyhow::anyhow!("ha.etcd.{error}"))?;
    }
    for warning in &config.warnings {
        say(&format!("WARN {warning}\n"));
    }
    say("Config OK\n");
    Ok(Outcome::Well)
}

/// Connects every output as a run would.
pub async fn outputs(config: &Config) -> anyhow::Result<Outcome> {
    let tenure = solo(&config.name, CancellationToken::new());
    let metrics = Metrics::new();
    let mut outcome = Outcome::Well;
    for output in &config.outputs {
        for mut sink in output::build(output, &config.template, &metrics, &Clock::system())? {
            say(&format!("{}...\n", sink.name()));
            let permit = tenure.permit(sink.request_timeout()).await?;
            let connected = tokio::time::timeout(permit.budget(), sink.connect(&permit)).await;
            match connected {
                Ok(Ok(())) => say("  talk to server... OK\n"),
                Ok(Err(error)) => {
                    outcome = Outcome::Incomplete;
                    say(&format!("  talk to server... ERROR {error}\n"));
                }
                Err(_) => {
                    outcome = Outcome::Incomplete;
                    say(&format!(
                        "  talk to server... ERROR no answer within {}s\n",
                        permit.budget().as_secs()
                    ));
                }
            }
            let _ = tokio::time::timeout(Duration::from_secs(3), sink.close()).await;
        }
    }
    Ok(outcome)
}

/// Logs in to every VDC and reads its inventory.
pub async fn ecs(config: &Config) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Well;
    for client in clients(&config.ecsbeat, &Metrics::new())?.iter().flatten() {
        say(&format!("{}/{}...\n", client.customer(), client.name()));
        match client.read_inventory().await {
            Ok(inventory) => {
                say(&format!(
                    "  log in... OK\n  vdc: {} ({})\n",
                    inventory.vdc_name, inventory.vdc_id
                ));
                if let Some(theirs) = client.source_time() {
                    let skew = theirs.duration_since(Clock::system().now()).as_secs();
                    let word = if skew.abs() > 60 { "WARN" } else { "OK" };
                    say(&format!("  clock... {word} {skew}s from ours\n"));
                }
                for node in &inventory.nodes {
                    say(&format!("  node {} {} {}\n", node.name, node.ip, node.version));
                }
            }
            Err(error) => {
                outcome = Outcome::Incomplete;
                say(&format!("  log in... ERROR {error}\n"));
            }
        }
        client.logout().await;
    }
    Ok(outcome)
}

fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
