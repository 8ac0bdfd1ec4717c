//! A plain client of the management API, and a raw one that sees every byte.

use std::sync::Arc;
use std::time::Duration;

use ecs_sim::Sim;
use reqwest::{Certificate, Response, redirect};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) const PASSWORD: &str = "CANARY-password-monitor";

/// A client that trusts the simulator and follows no redirect.
pub(crate) fn http(sim: &Sim) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_only([Certificate::from_pem(sim.ca_pem().as_bytes()).unwrap()])
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

/// A client with a token.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) http: reqwest::Client,
    pub(crate) host: String,
    pub(crate) token: String,
}

/// Asks for a token.
pub(crate) async fn login(http: &reqwest::Client, host: &str, user: &str, password: &str) -> Response {
    http.get(format!("https://{host}/login"))
        .basic_auth(user, Some(password))
        .send()
        .await
        .unwrap()
}

impl Session {
    pub(crate) async fn open(sim: &Sim) -> Self {
        Self::at(sim, &sim.vdc(0).node(0).mgmt_host(), "monitor").await
    }

    pub(crate) async fn at(sim: &Sim, host: &str, user: &str) -> Self {
        let http = http(sim);
        let answer = login(&http, host, user, &format!("CANARY-password-{user}")).await;
        assert_eq!(answer.status(), 200);
        let token = answer.headers()["x-sds-auth-token"].to_str().unwrap().to_owned();
        Self {
            http,
            host: host.to_owned(),
            token,
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("https://{}{path}", self.host);
        self.http
            .request(method.parse().unwrap(), url)
            .header("X-SDS-AUTH-TOKEN", &self.token)
    }

    pub(crate) async fn try_get(&self, path: &str) -> reqwest::Result<Response> {
        self.request("GET", path).send().await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.try_get(path).await.unwrap()
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self
            .request("GET", path)
            .header("Accept", "application/json")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        parse(answer).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Response {
        let request = self
            .request("POST", path)
            .header("Content-Type", "application/json");
        request
            .header("Accept", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }
}

pub(crate) async fn parse(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// TLS settings that trust the simulator.
pub(crate) fn tls(sim: &Sim) -> Arc<rustls::ClientConfig> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).unwrap())
        .unwrap();
    Arc::new(
        rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Sends one request and reads until the end; the bytes, and the error that ended them.
pub(crate) async fn raw(sim: &Sim, host: &str, request: &str) -> (Vec<u8>, Option<std::io::Error>) {
    let stream = TcpStream::connect(host).await.unwrap();
    let ip = host.rsplit_once(':').unwrap().0.trim_matches(['[', ']']);
    let name = ServerName::try_from(ip.to_owned()).unwrap();
    let mut stream = TlsConnector::from(tls(sim)).connect(name, stream).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let error = stream.read_to_end(&mut seen).await.err();
    (seen, error)
}
