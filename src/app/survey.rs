//! Looks after the etcd cluster's own health.
//!
//! Owns the regular survey of its members, the warnings in the log (each when it begins) and the metrics. It keeps
//! nobody from working.

use std::collections::HashSet;
use std::time::Duration;

use super::App;
use crate::dcs::etcd::EtcdStore;
use crate::telemetry::metrics_ha::EtcdFigures;

/// Time between two surveys.
const PERIOD: Duration = Duration::from_secs(60);

impl App {
    /// Surveys for ever. `budget`: what one member may take to answer.
    pub(super) async fn survey(&self, etcd: &EtcdStore, budget: Duration) {
        let mut told = HashSet::new();
        loop {
            let survey = etcd.survey(budget).await;
            let mut outdated = None;
            for member in &survey.0 {
                let told = member.state.as_ref().ok().map(|state| EtcdFigures {
                    size: state.database,
                    in_use: state.used,
                    quota: state.quota,
                    alarms: state.errors.len() as u64,
                });
                self.metrics.ha.etcd_told(&member.endpoint, told);
                let Ok(state) = &member.state else { continue };
                outdated = Some(outdated.unwrap_or(0).max(i64::from(state.outdated().is_some())));
            }
            if outdated.is_some() {
                self.metrics.ha.etcd_version_outdated.tell(outdated);
            }
            let warnings: HashSet<_> = survey.warnings().into_iter().collect();
            for warning in warnings.difference(&told) {
                tracing::warn!("{warning}");
            }
            told = warnings;
            tokio::time::sleep(PERIOD).await;
        }
    }
}
