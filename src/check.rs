//! `test config`, `test output`, `test ecs`: try everything once and say what happened.
//!
//! Owns the trees of steps that these commands print. Changes nothing at the other side.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::{Outcome, clients};
use crate::clock::Clock;
use crate::config::Config;
use crate::election::solo;
use crate::output;
use crate::output::steps::Steps;
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

/// Reaches every output as a run would, each host once, and sends nothing.
pub async fn outputs(config: &Config) -> anyhow::Result<Outcome> {
    let tenure = solo(&config.name, CancellationToken::new());
    let metrics = Metrics::new();
    let mut steps = Steps::told(std::io::stdout(), is_colourful());
    for output in &config.outputs {
        let built = output::build(output, &config.template, &metrics, &Clock::system())?;
        let timeout = built
            .first()
            .map_or(Duration::ZERO, output::Output::request_timeout);
        let permit = tenure.permit(timeout).await?;
        output::test(output, &permit, &mut steps).await?;
    }
    Ok(if steps.have_failed() {
        Outcome::Incomplete
    } else {
        Outcome::Well
    })
}

/// Colours are for terminals, and not for everybody: see <https://no-color.org>.
fn is_colourful() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
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
