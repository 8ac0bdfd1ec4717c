//! The certificates that this process shows: to those who ask its endpoints, to outputs, etcd and ECS.
//!
//! Owns where in the configuration they are. Reads files and opens no connection; what cannot be read is told by whoever
//! needs it.

use jiff::Timestamp;

use crate::config::{Config, OutputConfig, Ssl};
use crate::tls;

/// The setting of each certificate that is in use, and when it expires.
pub(super) fn expiries(config: &Config) -> Vec<(String, Timestamp)> {
    let sections = sections(config).into_iter();
    let used = sections.filter(|(_, ssl)| ssl.enabled != Some(false));
    used.filter_map(|(section, ssl)| Some((format!("{section}.ssl.certificate"), tls::expiry(ssl)?)))
        .collect()
}

fn sections(config: &Config) -> Vec<(String, &Ssl)> {
    let mut sections = Vec::new();
    if config.http.enabled
        && let Some(ssl) = &config.http.ssl
    {
        sections.push(("http".to_owned(), ssl));
    }
    for output in &config.outputs {
        let ssl = match output {
            OutputConfig::Console(_) | OutputConfig::File(_) => continue,
            OutputConfig::Elasticsearch(output) => &output.ssl,
            OutputConfig::Logstash(output) => &output.network.ssl,
            OutputConfig::Kafka(output) => &output.ssl,
            OutputConfig::Redis(output) => &output.network.ssl,
        };
        sections.push((format!("output.{}", output.name()), ssl));
    }
    if let Some(ha) = &config.ha {
        sections.push(("ha.etcd".to_owned(), &ha.etcd.ssl));
    }
    for customer in &config.ecsbeat.customers {
        sections.push((format!("ecsbeat.customers[{}]", customer.name), &customer.ssl));
    }
    sections
}
