//! `ecsbeat setup`: what Elasticsearch is to have before the first event.
//!
//! Owns the order of it and its steps. Done again it changes nothing, unless it is told to replace the template. It is
//! what the user asked for, so it is done also where `setup.template.enabled` says that a run must not.

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::super::BuildError;
use super::client::Client;
use super::{Deadline, setup};
use crate::config::{ElasticsearchOutput, Template};
use crate::election::Permit;
use crate::steps::Steps;

/// Prepares the first host that answers: all of them are of one cluster.
pub async fn install(
    config: &ElasticsearchOutput,
    template: &Template,
    overwrite: bool,
    permit: &Permit,
    steps: &mut Steps,
) -> Result<(), BuildError> {
    let client = Client::new(config, &Counter::default())?;
    let loadable = setup::Loadable::of(template);
    let last = client.hosts() - 1;
    for host in 0..client.hosts() {
        let deadline = Deadline {
            at: Instant::now() + config.timeout.min(permit.budget()),
            permit: permit.clone(),
        };
        steps.enter(&format!("elasticsearch: {}", client.name(host)));
        match setup::greet(&client, host, &deadline).await {
            // Another host will do.
            Err(error) if host < last => steps.warn("talk to server", &error.to_string()),
            Err(error) => steps.failed("talk to server", &error),
            Ok(version) => {
                steps.ok("talk to server");
                if let Some(version) = version {
                    steps.fact("version", &version);
                }
                load(&client, host, &loadable, overwrite, &deadline, steps).await;
                if template.data_stream && !steps.have_failed() {
                    stream(&client, host, config, &deadline, steps).await;
                }
                steps.leave();
                return Ok(());
            }
        }
        steps.leave();
    }
    Ok(())
}

async fn load(
    client: &Client,
    host: usize,
    template: &setup::Loadable,
    overwrite: bool,
    deadline: &Deadline,
    steps: &mut Steps,
) {
    let step = format!("index template {}", template.name);
    match setup::load_template(client, host, template, overwrite, deadline).await {
        Ok(true) => steps.done(&step, &"loaded"),
        Ok(false) => steps.done(
            &step,
            &"was there and is kept; --force or setup.template.overwrite: true replaces it",
        ),
        Err(error) => steps.failed(&step, &error),
    }
}

async fn stream(
    client: &Client,
    host: usize,
    config: &ElasticsearchOutput,
    deadline: &Deadline,
    steps: &mut Steps,
) {
    // What depends on the event is not known before there is one.
    if config.index.contains("%{") || !config.indices.is_empty() {
        steps.fact("data streams", &"made by the first event of each");
        return;
    }
    let name = config.index.to_lowercase();
    let step = format!("data stream {name}");
    match setup::make_data_stream(client, host, &name, deadline).await {
        Ok(true) => steps.done(&step, &"made"),
        Ok(false) => steps.done(&step, &"was there"),
        Err(error) => steps.failed(&step, &error),
    }
}
