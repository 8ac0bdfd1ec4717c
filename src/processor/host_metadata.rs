//! `add_host_metadata`: what the machine is that collects.
//!
//! Owns the fields below `host` and how long what was read counts. Reading the machine is handed in. The name that
//! events have in `host.name` is that of the configuration and stays.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Surroundings;
use super::additions::Additions;
use super::document::Document;
use crate::clock::Clock;
use crate::config::AddHostMetadata;

/// What is known of a machine; what is not is empty. The fields are those of the Elastic Common Schema.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// `host.hostname`
    pub hostname: String,
    /// `host.architecture`, as `x86_64`.
    pub architecture: String,
    /// `host.id`
    pub id: String,
    /// `host.containerized`
    pub containerized: bool,
    /// `host.os.platform`, as `debian`.
    pub os_platform: String,
    /// `host.os.family`
    pub os_family: String,
    /// `host.os.name`
    pub os_name: String,
    /// `host.os.version`
    pub os_version: String,
    /// `host.os.codename`
    pub os_codename: String,
    /// `host.os.kernel`
    pub os_kernel: String,
    /// `host.ip`: without those of loopback.
    pub ip: Vec<String>,
    /// `host.mac`: in capitals with hyphens.
    pub mac: Vec<String>,
}

/// The processor.
#[derive(Debug)]
pub(super) struct HostMetadata {
    config: AddHostMetadata,
    read: fn() -> Host,
    clock: Clock,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    since: Duration,
    fields: Arc<Additions>,
}

// === impl HostMetadata ===

impl HostMetadata {
    pub(super) fn new(config: &AddHostMetadata, surroundings: &Surroundings) -> Self {
        Self {
            config: config.clone(),
            read: surroundings.host,
            clock: surroundings.clock.clone(),
            known: Mutex::default(),
        }
    }

    pub(super) fn run(&self, document: &mut Document<'_>) {
        // The name alone is in every event.
        let is_described = document.names_in("host").iter().any(|name| name != "name");
        if is_described && !self.config.replace_fields {
            return;
        }
        let fields = self.fields();
        document.edit(|root| fields.merge_into(root));
    }

    fn fields(&self) -> Arc<Additions> {
        let now = self.clock.since_boot();
        // Whoever panicked under this lock left nothing behind, or something whole.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known
            && now.saturating_sub(known.since) < self.config.cache_ttl
        {
            return Arc::clone(&known.fields);
        }
        let fields = Arc::new(self.describe(&(self.read)()));
        *known = Some(Known {
            since: now,
            fields: Arc::clone(&fields),
        });
        fields
    }

    fn describe(&self, host: &Host) -> Additions {
        let os = texts([
            ("type", "linux"),
            ("platform", &host.os_platform),
            ("family", &host.os_family),
            ("name", &host.os_name),
            ("version", &host.os_version),
            ("codename", &host.os_codename),
            ("kernel", &host.os_kernel),
        ]);
        let mut fields = texts([
            ("hostname", &host.hostname),
            ("architecture", &host.architecture),
            ("id", &host.id),
        ]);
        fields.insert("containerized".to_owned(), host.containerized.into());
        fields.insert("os".to_owned(), os.into());
        if self.config.netinfo {
            for (name, list) in [("ip", &host.ip), ("mac", &host.mac)] {
                if !list.is_empty() {
                    fields.insert(name.to_owned(), json!(list));
                }
            }
        }
        if !self.config.geo.is_empty() {
            fields.insert("geo".to_owned(), json!(self.config.geo));
        }
        let root = Map::from_iter([("host".to_owned(), Value::Object(fields))]);
        Additions::object(&root)
    }
}

/// Those that are known.
fn texts<const N: usize>(pairs: [(&str, &str); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::processor::samples::{check, config};
    use crate::processor::{Processors, Verdict};

    const HOST: &str = r#""hostname":"n1","os":{"platform":"debian","type":"linux"}"#;

    #[test]
    fn describes_the_machine_and_leaves_the_name() {
        let before = r#"{"host":{"name":"collector","x":1}}"#;
        check(
            "  - add_host_metadata: ~",
            before,
            &format!(
                r#"{{"host":{{"name":"collector","x":1,"architecture":"x86_64","containerized":true,{}}}}}"#,
                HOST.replace(
                    r#","os""#,
                    r#","ip":["192.0.2.7"],"mac":["00-25-96-12-34-56"],"os""#
                )
            ),
        );
        check(
            "  - add_host_metadata: {netinfo.enabled: false, geo: {name: rack1, location: '40.7, -74.0', city_name: ' '}}",
            r#"{"host":5}"#,
            &format!(
                r#"{{"host":{{"architecture":"x86_64","containerized":true,"geo":{{"location":"40.7, -74.0","name":"rack1"}},{HOST}}}}}"#
            ),
        );
    }

    #[test]
    fn another_host_is_left_alone_if_told() {
        let processors = "  - add_host_metadata: {replace_fields: false, netinfo.enabled: false}";
        let other = r#"{"host":{"name":"collector","hostname":"other"}}"#;
        check(processors, other, other);
        check(
            processors,
            r#"{"host":{"name":"collector"}}"#,
            &format!(
                r#"{{"host":{{"name":"collector","architecture":"x86_64","containerized":true,{HOST}}}}}"#
            ),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_read_again_when_it_is_old() {
        static READ: AtomicU32 = AtomicU32::new(0);
        fn host() -> Host {
            Host {
                hostname: format!("n{}", READ.fetch_add(1, Ordering::Relaxed)),
                ..Host::default()
            }
        }
        let with = |ttl: &str| {
            let config = config(&format!("  - add_host_metadata: {{cache.ttl: {ttl}}}"), "");
            let surroundings = Surroundings {
                clock: Clock::simulated(Timestamp::UNIX_EPOCH),
                host,
            };
            Processors::new(&config.processors, &[], &surroundings).chain("nodes")
        };
        let named = |chain: &crate::processor::Chain| {
            let Verdict::Keep(body) = chain.run(Bytes::from_static(b"{}"), &mut Vec::new()) else {
                panic!("dropped")
            };
            crate::event::field(&body, "host.hostname").unwrap()
        };
        let chain = with("5m");
        assert_eq!((named(&chain), named(&chain)), ("n0".to_owned(), "n0".to_owned()));
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(named(&chain), "n0");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(named(&chain), "n1");
        for ttl in ["-1s", "0"] {
            let chain = with(ttl);
            assert_ne!(named(&chain), named(&chain), "{ttl}");
        }
    }
}
