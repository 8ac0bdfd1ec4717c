//! The part of Elasticsearch's API that tests need, which OpenSearch has as well.
//!
//! Owns the client, and the names of what a run makes on a server: all of it is removed by them. What it sends is
//! sent by ecsbeat nowhere, so that a wrong reading of the API is not right on both sides.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use url::Url;

use crate::service::Held;

/// A file with authorities for the servers that variables name.
const AUTHORITIES: &str = "ECSBEAT_TEST_CA";
/// The most documents that a search gives in one answer, by the servers' own limit.
const HITS: u64 = 10_000;

/// A server.
pub(crate) struct Rest {
    http: reqwest::Client,
    base: Url,
    pub(crate) account: Option<(String, String)>,
    authorities: Option<PathBuf>,
    prefix: String,
    _held: Held,
}

/// A document that was found.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) index: String,
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) source: Value,
    /// Fields whose value did not fit and is not searched.
    pub(crate) ignored: Vec<String>,
}

impl Rest {
    /// A server at a URL, which may hold an account.
    pub(crate) fn new(url: &str, held: Held) -> anyhow::Result<Self> {
        // The error would quote it.
        let Ok(mut base) = Url::parse(url) else {
            bail!("not a URL: write http[s]://[user:password@]host:port");
        };
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text);
            text.decode_utf8_lossy().into_owned()
        };
        let account = (base.password()).map(|password| (decoded(base.username()), decoded(password)));
        if base.set_password(None).is_err() || base.set_username("").is_err() {
            bail!("not the URL of a server: write http[s]://[user:password@]host:port");
        }
        let authorities = std::env::var_os(AUTHORITIES).map(PathBuf::from);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &authorities {
            for certificate in CertificateDer::pem_file_iter(path).context(AUTHORITIES)? {
                roots
                    .add(certificate.context(AUTHORITIES)?)
                    .context(AUTHORITIES)?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            http,
            base,
            account,
            authorities,
            // Nothing else has it, a template for `ecsbeat-*` included.
            prefix: format!("test-ecsbeat-{}-{:08x}", std::process::id(), fastrand::u32(..)),
            _held: held,
        })
    }

    /// A name for an index, a template and the like.
    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.prefix)
    }

    /// Asks; gives status and answer.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.ask_as(self.account.as_ref(), method, path, body).await
    }

    /// Asks with another account, or none.
    pub(crate) async fn ask_as(
        &self,
        account: Option<&(String, String)>,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let url = self.base.join(path)?;
        let mut request = self.http.request(method, url);
        if let Some((name, password)) = account {
            request = request.basic_auth(name, Some(password));
        }
        if !body.is_null() {
            let json = "application/json";
            request = request.header("Content-Type", json).body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("ask {path}"))?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Asks what has to be answered well.
    pub(crate) async fn told(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        match self.ask(method, path, body).await? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => bail!("{path}: status {status}: {answer}"),
        }
    }

    /// Every document of the indices with names of this form.
    pub(crate) async fn documents(&self, pattern: &str) -> Vec<Hit> {
        self.told(Method::POST, &format!("/{pattern}/_refresh"), &Value::Null)
            .await
            .unwrap();
        let query =
            json!({ "size": HITS, "version": true, "track_total_hits": true, "query": { "match_all": {} } });
        let path = format!("/{pattern}/_search");
        let found = self.told(Method::POST, &path, &query).await.unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let hits: Vec<Hit> = (found["hits"]["hits"].as_array().unwrap().iter())
            .map(|hit| Hit {
                index: text(&hit["_index"]),
                id: text(&hit["_id"]),
                version: hit["_version"].as_u64().unwrap(),
                source: hit["_source"].clone(),
                ignored: hit["_ignored"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(text)
                    .collect(),
            })
            .collect();
        let total = found["hits"]["total"]["value"].as_u64().unwrap();
        assert_eq!(total, hits.len() as u64, "more than a search gives at once");
        hits
    }

    /// The settings of `output.elasticsearch` that lead here, without an account.
    pub(crate) fn hosts(&self) -> String {
        let mut text = format!("  hosts: ['{}']\n", self.base);
        if let Some(path) = &self.authorities {
            let _ = writeln!(text, "  ssl.certificate_authorities: ['{}']", path.display());
        }
        text
    }

    /// The same with the account of the tests.
    pub(crate) fn output(&self) -> String {
        let mut text = self.hosts();
        if let Some((name, password)) = &self.account {
            let _ = writeln!(
                text,
                "  username: {}\n  password: {}",
                json!(name),
                json!(password)
            );
        }
        text
    }

    /// Removes all that has the name of this run.
    pub(crate) async fn clean(&self) -> anyhow::Result<()> {
        let prefix = &self.prefix;
        for kind in ["_data_stream", "_index_template"] {
            let path = format!("/{kind}/{prefix}*");
            match self.ask(Method::DELETE, &path, &Value::Null).await? {
                // There may be none.
                (200..=299 | 404, _) => {}
                (status, answer) => bail!("remove {path}: status {status}: {answer}"),
            }
        }
        let indices = self
            .told(Method::GET, &format!("/{prefix}*"), &Value::Null)
            .await?;
        for index in indices.as_object().into_iter().flat_map(|indices| indices.keys()) {
            self.told(Method::DELETE, &format!("/{index}"), &Value::Null)
                .await?;
        }
        Ok(())
    }
}
