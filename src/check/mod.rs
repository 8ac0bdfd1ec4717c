//! `test config`, `test output`, `test ecs`: try everything once and say what happened.
//!
//! Owns the trees of steps that these commands print. Changes nothing at the other side.

mod ecs;

use std::io::Write as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::{Outcome, clients};
use crate::clock::Clock;
use crate::config::Config;
use crate::election::solo;
use crate::output;
use crate::progress::is_colourful;
use crate::steps::Steps;
use crate::telemetry::metrics::Metrics;
use crate::tls;
pub use ecs::ecs;

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
    let stdout = std::io::stdout();
    let colour = is_colourful(&stdout);
    let mut steps = Steps::told(stdout, colour);
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

fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
