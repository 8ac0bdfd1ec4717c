//! The `ssl.*` material as PEM, for a library that brings a TLS of its own.
//!
//! Owns the writing of it. It is read and checked as for every other connection, so that a setting means the same and
//! an error reads the same whoever makes the handshake.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;

use super::{TlsError, client_config, configured_roots, identity};
use crate::config::{Secret, Ssl, VerificationMode};

/// Columns of base64.
const WIDTH: usize = 64;

/// What a client needs, in PEM.
pub struct Pem {
    /// Certificates that are trusted: those of the settings, or the system's. Empty where nothing is verified.
    pub authorities: String,
    /// The client's certificate with its chain, and its key.
    pub identity: Option<(String, Secret)>,
}

/// Reads the material; errors as those of [`client_config`].
pub fn pem(ssl: &Ssl) -> Result<Pem, TlsError> {
    // Finds out what does not fit together.
    client_config(ssl)?;
    let authorities = if ssl.verification_mode == VerificationMode::None {
        Vec::new()
    } else if ssl.certificate_authorities.is_empty() {
        rustls_native_certs::load_native_certs().certs
    } else {
        configured_roots(ssl)?.1
    };
    let identity = identity(ssl)?.map(|(chain, key)| {
        let chain = chain.iter().map(|certificate| block("CERTIFICATE", certificate));
        let label = match &key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        (chain.collect(), Secret::new(block(label, key.secret_der())))
    });
    Ok(Pem {
        authorities: (authorities.iter())
            .map(|certificate| block("CERTIFICATE", certificate))
            .collect(),
        identity,
    })
}

fn block(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut block = format!("-----BEGIN {label}-----\n");
    for start in (0..text.len()).step_by(WIDTH) {
        let line = text.get(start..text.len().min(start + WIDTH)).unwrap_or_default();
        let _ = writeln!(block, "{line}");
    }
    let _ = writeln!(block, "-----END {label}-----");
    block
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::tls::material;

    #[test]
    fn what_is_written_reads_back_as_what_was_read() {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["kafka".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let ssl = Ssl {
            certificate_authorities: vec![own.pem(), own.pem()],
            certificate: Some(own.pem()),
            key: Some(Secret::new(key.serialize_pem())),
            ..Ssl::default()
        };
        let pem = pem(&ssl).unwrap();
        let authorities = material::certificates("a", &pem.authorities).unwrap();
        assert_eq!(authorities, [own.der().clone(), own.der().clone()]);
        assert!(pem.authorities.lines().all(|line| line.len() <= WIDTH));
        let (chain, private) = pem.identity.unwrap();
        assert_eq!(material::certificates("c", &chain).unwrap(), [own.der().clone()]);
        let private = material::private_key("k", private.expose()).unwrap();
        assert_eq!(private.secret_der(), key.serialize_der());
    }

    #[test]
    fn nothing_is_read_where_nothing_is_verified() {
        let ssl = Ssl {
            verification_mode: VerificationMode::None,
            ..Ssl::default()
        };
        let pem = pem(&ssl).unwrap();
        assert_eq!(pem.authorities, "");
        assert!(pem.identity.is_none());
    }
}
