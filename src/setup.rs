//! `ecsbeat setup`: prepares the outputs for what will be sent.
//!
//! Owns the command: which outputs, and how it ends. What an output needs is the output's own business. Sends no event.

use tokio_util::sync::CancellationToken;

use crate::app::Outcome;
use crate::config::{Config, OutputConfig};
use crate::election::{NoTenure, solo};
use crate::output::{BuildError, elasticsearch};
use crate::progress::{Progress, Reached, is_colourful};
use crate::steps::Steps;

/// Nothing could be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no output that needs it.
    #[error(
        "Index management requested but the Elasticsearch output is not configured/enabled: enable \
         output.elasticsearch, for this once with -E output.elasticsearch.hosts=…"
    )]
    NoElasticsearch,
    /// The output's settings.
    #[error(transparent)]
    Output(#[from] BuildError),
    /// There is no right to send.
    #[error(transparent)]
    Tenure(#[from] NoTenure),
}

/// Prepares every output that needs it; `force` replaces what is there.
pub async fn setup(config: &Config, force: bool) -> Result<Outcome, SetupError> {
    let tenure = solo(&config.name, CancellationToken::new());
    let stdout = std::io::stdout();
    let colour = is_colourful(&stdout);
    let mut steps = Steps::told(stdout, colour);
    let overwrite = force || config.template.overwrite;
    let mut prepared = false;
    for output in &config.outputs {
        let OutputConfig::Elasticsearch(output) = output else {
            continue;
        };
        let permit = tenure.permit(output.timeout).await?;
        let mut branch = steps.branch();
        let work = elasticsearch::install(output, &config.template, overwrite, &permit, &mut branch);
        let waits = || Reached {
            part: None,
            words: "waiting for Elasticsearch".to_owned(),
        };
        Progress::on_stderr("setup").during(work, waits).await?;
        steps.join(branch);
        prepared = true;
    }
    if !prepared {
        return Err(SetupError::NoElasticsearch);
    }
    if steps.have_failed() {
        return Ok(Outcome::Incomplete);
    }
    steps.say("Index setup finished.");
    Ok(Outcome::Well)
}
