//! TLS for every connection the process opens or serves.
//!
//! Owns the way from the `ssl.*` settings to a rustls configuration, and the wording of what went wrong. The
//! cryptography provider (ring) is always passed explicitly, so that nothing depends on a process-wide default
//! that somebody must install first. Must never weaken what the settings ask for, and never shows a key.

mod certificate;
mod instance;
mod material;
mod pem;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::{Ssl, VerificationMode};
pub use instance::instance;
pub use pem::{Pem, pem};
use verify::Verifier;

/// `ssl.*` settings that cannot be used. The text begins with the setting's name, below the section that holds
/// it (`ssl.key`); the caller puts the section's path in front.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{key}: cannot read {path}: {cause}")]
    Read {
        /// The setting.
        key: String,
        /// The file.
        path: String,
        /// The system's own words.
        cause: String,
    },
    /// What was read is not what the setting needs.
    #[error("{key}: {source_name}: {problem}")]
    Content {
        /// The setting.
        key: String,
        /// The file, or "the inline PEM".
        source_name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A value, or two values together, make no sense.
    #[error("{key}: {problem}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// What a client needs to connect as `ssl` says.
///
/// Without `certificate_authorities` the system's are trusted. A certificate that is itself listed there (a
/// self-signed one) is trusted as it stands, also where it is not marked as a CA.
pub fn client_config(ssl: &Ssl) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(ssl)?)
        .map_err(|error| unusable("ssl.supported_protocols", &error))?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(ssl)?));
    match identity(ssl)? {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| mismatch(&error)),
    }
}

/// What a listener needs to serve as `ssl` says. With `certificate_authorities` set, clients must present a
/// certificate of one of them.
pub fn server_config(ssl: &Ssl) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(ssl)?)
        .map_err(|error| unusable("ssl.supported_protocols", &error))?;
    let builder = if ssl.certificate_authorities.is_empty() {
        builder.with_no_client_auth()
    } else {
        let (roots, _) = configured_roots(ssl)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| TlsError::Setting {
                key: "ssl.certificate_authorities",
                problem: error.to_string(),
            })?;
        builder.with_client_cert_verifier(verifier)
    };
    let Some((chain, key)) = identity(ssl)? else {
        return Err(TlsError::Setting {
            key: "ssl.certificate",
            problem: "must be set, with ssl.key, to serve HTTPS".to_owned(),
        });
    };
    builder
        .with_single_cert(chain, key)
        .map_err(|error| mismatch(&error))
}

/// A configuration that trusts nobody: for a client that is only ever to speak plain HTTP.
pub fn refuse_all() -> Result<ClientConfig, TlsError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("ssl.supported_protocols", &error))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// What to do about a failed connection, where TLS is the reason. `error` is the outermost error; its causes
/// are searched.
pub fn advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    use rustls::CertificateError as Certificate;
    Some(match cause(error)? {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer => {
                "its certificate authority is not trusted: add it to ssl.certificate_authorities or set \
                 ssl.ca_trusted_fingerprint"
            }
            Certificate::BadSignature => {
                "its certificate was not signed by the authority of that name in ssl.certificate_authorities: perhaps \
                 the authority was made anew"
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has expired: renew it there, and check this machine's clock"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet: check this machine's clock"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name: connect by a name in the certificate, or set \
                 ssl.verification_mode: certificate to check the chain only"
            }
            _ => "its certificate is refused",
        },
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(
            rustls::AlertDescription::ProtocolVersion | rustls::AlertDescription::HandshakeFailure,
        ) => {
            "no TLS version or cipher in common: see ssl.supported_protocols; TLS 1.0, 1.1 and CBC ciphers \
             are not supported"
        }
        rustls::Error::AlertReceived(
            rustls::AlertDescription::CertificateRequired
            | rustls::AlertDescription::BadCertificate
            | rustls::AlertDescription::UnknownCA
            | rustls::AlertDescription::AccessDenied,
        ) => "it refuses our client certificate: see ssl.certificate and ssl.key",
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS on this port: check the port, or use http://"
        }
        _ => return None,
    })
}

/// The end of a certificate's validity; `None` where it cannot be read.
pub fn valid_until(certificate: &[u8]) -> Option<jiff::Timestamp> {
    let (_, until) = certificate::period(certificate)?;
    jiff::Timestamp::from_second(until).ok()
}

/// When the first of the certificates that `ssl.certificate` names expires: no longer is the chain of any use. `None`
/// where there is none, or none that can be read.
pub fn expiry(ssl: &Ssl) -> Option<jiff::Timestamp> {
    let chain = material::certificates("ssl.certificate", ssl.certificate.as_ref()?).ok()?;
    chain.iter().filter_map(|one| valid_until(one)).min()
}

/// Whose certificate it is; `None` where it does not say, or cannot be read.
pub fn subject(certificate: &[u8]) -> Option<String> {
    certificate::subject(certificate)
}

/// The TLS error among the causes of `error`. `io::Error` hides what it wraps from `source`, so it is opened.
fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<std::io::Error>() {
            Some(io) => io
                .get_ref()
                .map(|inner| inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

fn versions(ssl: &Ssl) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let mut versions = Vec::new();
    if ssl.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if ssl.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        return Err(TlsError::Setting {
            key: "ssl.supported_protocols",
            problem: "allows no version: list TLSv1.2, TLSv1.3 or both".to_owned(),
        });
    }
    Ok(versions)
}

fn verifier(ssl: &Ssl) -> Result<Verifier, TlsError> {
    let provider = provider();
    if ssl.verification_mode == VerificationMode::None {
        return Ok(Verifier::accepting_all(provider));
    }
    let fingerprint = ssl
        .ca_trusted_fingerprint
        .as_deref()
        .map(material::fingerprint)
        .transpose()?;
    let (roots, pinned) = if ssl.certificate_authorities.is_empty() {
        (system_roots(fingerprint.is_some())?, Vec::new())
    } else {
        let (roots, pinned) = configured_roots(ssl)?;
        (Arc::new(roots), pinned)
    };
    // A name is a subject alternative name or none, so there is nothing that `strict` could add to `full`.
    let check_name = ssl.verification_mode != VerificationMode::Certificate;
    Ok(Verifier::new(provider, roots, pinned, fingerprint, check_name))
}

/// The configured CAs as trust anchors, and as they are.
fn configured_roots(ssl: &Ssl) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut all = Vec::new();
    for (position, entry) in ssl.certificate_authorities.iter().enumerate() {
        let key = format!("ssl.certificate_authorities[{position}]");
        for certificate in material::certificates(&key, entry)? {
            roots
                .add(certificate.clone())
                .map_err(|error| TlsError::Content {
                    key: key.clone(),
                    source_name: material::name(entry),
                    problem: format!("not a certificate that can be trusted: {error}"),
                })?;
            all.push(certificate);
        }
    }
    Ok((roots, all))
}

/// The system's CAs, read once: they are some hundred kilobytes, and several connections share them.
fn system_roots(may_be_empty: bool) -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // A system store often holds a few entries that webpki cannot use; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() && !may_be_empty {
        return Err(TlsError::Setting {
            key: "ssl.certificate_authorities",
            problem: "this system has no CA certificates: list the CA here, set SSL_CERT_FILE, or set \
                      ssl.ca_trusted_fingerprint"
                .to_owned(),
        });
    }
    Ok(Arc::clone(roots))
}

type Identity = (
    Vec<CertificateDer<'static>>,
    rustls::pki_types::PrivateKeyDer<'static>,
);

fn identity(ssl: &Ssl) -> Result<Option<Identity>, TlsError> {
    match (&ssl.certificate, &ssl.key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((
            material::certificates("ssl.certificate", certificate)?,
            material::private_key("ssl.key", key.expose())?,
        ))),
        (Some(_), None) => Err(TlsError::Setting {
            key: "ssl.key",
            problem: "must be set, since ssl.certificate is".to_owned(),
        }),
        (None, Some(_)) => Err(TlsError::Setting {
            key: "ssl.certificate",
            problem: "must be set, since ssl.key is".to_owned(),
        }),
    }
}

fn unusable(key: &'static str, error: &rustls::Error) -> TlsError {
    TlsError::Setting {
        key,
        problem: error.to_string(),
    }
}

fn mismatch(error: &rustls::Error) -> TlsError {
    TlsError::Setting {
        key: "ssl.key",
        problem: format!("cannot be used with ssl.certificate: {error}"),
    }
}
