//! Whether to believe a server's certificate.
//!
//! Owns the rules behind `ssl.verification_mode` and `ssl.ca_trusted_fingerprint`. The signature of the
//! handshake is checked in every mode, so that even the laxest one talks to the owner of the key it was shown.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate;

/// Checks servers as the settings ask.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
}

#[derive(Debug)]
struct Trust {
    roots: Arc<RootCertStore>,
    /// Listed certificates, which are believed when a server presents exactly one of them. webpki itself
    /// refuses a CA certificate in a server's hand, which is just what `openssl req -x509` makes.
    pinned: Vec<CertificateDer<'static>>,
    fingerprint: Option<[u8; 32]>,
    check_name: bool,
}

impl Verifier {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        roots: Arc<RootCertStore>,
        pinned: Vec<CertificateDer<'static>>,
        fingerprint: Option<[u8; 32]>,
        check_name: bool,
    ) -> Self {
        Self {
            provider,
            trust: Some(Trust {
                roots,
                pinned,
                fingerprint,
                check_name,
            }),
        }
    }

    /// `verification_mode: none`.
    pub(super) fn accepting_all(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            trust: None,
        }
    }
}

impl Trust {
    fn check_chain(
        &self,
        provider: &CryptoProvider,
        server: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.pinned.iter().any(|pinned| pinned == server) || self.is_fingerprinted(server) {
            return check_period(server, now);
        }
        let with_fingerprint;
        let roots = match intermediates
            .iter()
            .find(|certificate| self.is_fingerprinted(certificate))
        {
            None => &self.roots,
            Some(certificate) => {
                check_period(certificate, now)?;
                let mut roots = RootCertStore::clone(&self.roots);
                roots.add(certificate.clone().into_owned())?;
                with_fingerprint = Arc::new(roots);
                &with_fingerprint
            }
        };
        verify_server_cert_signed_by_trust_anchor(
            parsed,
            roots,
            intermediates,
            now,
            provider.signature_verification_algorithms.all,
        )
    }

    fn is_fingerprinted(&self, certificate: &CertificateDer<'_>) -> bool {
        self.fingerprint
            .is_some_and(|wanted| ring::digest::digest(&ring::digest::SHA256, certificate).as_ref() == wanted)
    }
}

fn check_period(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let refused = |why| Err(Error::InvalidCertificate(why));
    let Some((from, until)) = certificate::period(certificate) else {
        return refused(CertificateError::BadEncoding);
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < from {
        return refused(CertificateError::NotValidYet);
    }
    if now > until {
        return refused(CertificateError::Expired);
    }
    Ok(())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            trust.check_chain(&self.provider, end_entity, &parsed, intermediates, now)?;
            if trust.check_name {
                verify_server_name(&parsed, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
