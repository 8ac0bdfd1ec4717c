//! TLS towards an instance of ecsbeat, as `ecsbeat health` and the commands of operators ask it.
//!
//! Owns whom they believe. On this machine an instance shows the certificate that the configuration names, which is
//! known to the byte: just that one is believed, whatever name it is for, since nobody issues one for `localhost`.
//! Elsewhere chain and name are checked; a configuration cannot switch that off, because orders carry a token.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use super::verify::Verifier;
use super::{
    TlsError, client_config, identity, material, mismatch, provider, refuse_all, unusable, versions,
};
use crate::config::{Http, Ssl, VerificationMode};

/// What a client needs to ask at `url`, where `http` is what this machine's instance is configured with.
pub fn instance(url: &Url, http: &Http) -> Result<ClientConfig, TlsError> {
    if url.scheme() != "https" {
        // No certificate is looked at, so that none needs to be there.
        return refuse_all();
    }
    match &http.ssl {
        Some(ssl) if is_own(url, http) => own(ssl),
        ssl => client_config(&elsewhere(ssl.as_ref())),
    }
}

/// Whether only an instance of this machine, or whoever has its key, can be meant.
fn is_own(url: &Url, http: &Http) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) if address.is_loopback() => true,
        Some(Host::Ipv6(address)) if address.is_loopback() => true,
        Some(Host::Domain("localhost")) => true,
        _ => Url::parse(&http.own_url()).is_ok_and(|own| own.host() == url.host()),
    }
}

/// Believes the certificate that `ssl` names, and one that the same authority has issued in its place, if the file
/// holds that authority: a renewed one is shown from the next start on only.
fn own(ssl: &Ssl) -> Result<ClientConfig, TlsError> {
    let Some(entry) = &ssl.certificate else {
        return Err(TlsError::Setting {
            key: "ssl.certificate",
            problem: "must be set: it is what the own instance is known by".to_owned(),
        });
    };
    let mut chain = material::certificates("ssl.certificate", entry)?;
    let issuers = chain.split_off(1);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(issuers);
    let verifier = Verifier::new(provider(), Arc::new(roots), chain, None, false);
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(ssl)?)
        .map_err(|error| unusable("ssl.supported_protocols", &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    // Where clients must show one, it is the only one at hand; its key is not read where it is of no use.
    let identity = if ssl.certificate_authorities.is_empty() {
        None
    } else {
        identity(ssl)?
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| mismatch(&error)),
    }
}

/// The settings of a client: certificate and key are what the instance here shows, not what a client is.
fn elsewhere(ssl: Option<&Ssl>) -> Ssl {
    let ssl = ssl.cloned().unwrap_or_default();
    let verification_mode = match ssl.verification_mode {
        VerificationMode::None => VerificationMode::Full,
        mode => mode,
    };
    Ssl {
        certificate: None,
        key: None,
        verification_mode,
        ..ssl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own_at(url: &str, host: &str) -> bool {
        let http = Http {
            host: host.to_owned(),
            ..Http::default()
        };
        is_own(&Url::parse(url).unwrap(), &http)
    }

    #[test]
    fn the_own_instance_is_on_loopback_or_where_the_configuration_says() {
        for (url, host) in [
            ("https://localhost:1", "10.0.0.7"),
            ("https://127.0.0.9", "10.0.0.7"),
            ("https://[::1]:5066", "node-a"),
            ("https://10.0.0.7:5066", "10.0.0.7"),
            ("https://node-a", "node-a"),
            ("https://[fe80::1]", "fe80::1"),
        ] {
            assert!(is_own_at(url, host), "{url}");
        }
        for url in [
            "https://node-b:5066",
            "https://10.0.0.8",
            "https://localhost.example",
        ] {
            assert!(!is_own_at(url, "node-a"), "{url}");
        }
    }

    #[test]
    fn elsewhere_certificates_are_verified_whatever_the_configuration_says() {
        for (mode, checked) in [
            (VerificationMode::None, VerificationMode::Full),
            (VerificationMode::Full, VerificationMode::Full),
            (VerificationMode::Certificate, VerificationMode::Certificate),
        ] {
            let ssl = Ssl {
                verification_mode: mode,
                certificate: Some("/nonexistent".to_owned()),
                ..Ssl::default()
            };
            let client = elsewhere(Some(&ssl));
            assert_eq!((client.verification_mode, client.certificate), (checked, None));
        }
    }
}
