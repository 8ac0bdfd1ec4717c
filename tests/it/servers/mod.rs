//! The servers that outputs are tested against, by themselves: what they record is what was sent.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(clippy::panic, reason = "a test fails where it cannot go on")]

/// Lumberjack: what is read, what is refused, and how it is answered.
mod lumberjack;
/// Redis: passwords, users, TLS, lists, channels, ports.
mod redis;

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::authority::{Authority, Pair};

/// Speaks TLS as a client that trusts `authority` alone and shows `pair`. The handshake of TLS 1.3 is over for a
/// client before the server has looked at its certificate: a refusal comes with the first answer.
pub(crate) async fn tls<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    authority: &Authority,
    pair: Option<&Pair>,
) -> std::io::Result<TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
