//! The simulator's own certificate authority and the certificates of its nodes, good and bad ones. Keys live in
//! memory only and must never be written out; one key pair serves all nodes, since making one takes long.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// How a node shows itself in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Face {
    pub(crate) certificate: Certificate,
    pub(crate) tls12_only: bool,
}

/// The certificate that a node shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Certificate {
    /// Issued by the simulator's authority for the node's addresses.
    #[default]
    Good,
    /// The same, but its time is over.
    Expired,
    /// Issued for another name.
    OtherName,
    /// `CN=localhost`, signed by itself, as a new ECS has it.
    SelfSigned,
    /// Issued by an authority that nobody trusts.
    OtherAuthority,
}

/// The addresses of a node and the face it shows.
type Wanted = (Vec<IpAddr>, Face);

/// The authority and the TLS settings it has made so far.
pub(crate) struct Authority {
    names: Vec<String>,
    issuer: Issuer<'static, KeyPair>,
    stranger: Issuer<'static, KeyPair>,
    ca_pem: String,
    leaf_key: KeyPair,
    made: Mutex<HashMap<Wanted, Arc<ServerConfig>>>,
}

fn authority(name: &str) -> anyhow::Result<(Issuer<'static, KeyPair>, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

// === impl Authority ===

impl Authority {
    /// Its certificates are good for `localhost` and `name`, besides the addresses.
    pub(crate) fn new(name: Option<&str>) -> anyhow::Result<Self> {
        let (issuer, ca_pem) = authority("ecs-sim CA").context("make the certificate authority")?;
        let (stranger, _) = authority("unknown CA").context("make the second authority")?;
        let names = ["localhost"].into_iter().chain(name);
        Ok(Self {
            names: names.map(str::to_owned).collect(),
            issuer,
            stranger,
            ca_pem,
            leaf_key: KeyPair::generate().context("make the key of the nodes")?,
            made: Mutex::new(HashMap::new()),
        })
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The TLS settings of a node with `addresses`; made at its first handshake.
    pub(crate) fn server(&self, addresses: &[IpAddr], face: Face) -> anyhow::Result<Arc<ServerConfig>> {
        let key = (addresses.to_vec(), face);
        if let Some(found) = self.made.lock().get(&key) {
            return Ok(Arc::clone(found));
        }
        let config = Arc::new(
            self.make(addresses, face)
                .context("make the TLS settings of a node")?,
        );
        self.made.lock().insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, addresses: &[IpAddr], face: Face) -> anyhow::Result<ServerConfig> {
        let versions: &[&rustls::SupportedProtocolVersion] = if face.tls12_only {
            &[&rustls::version::TLS12]
        } else {
            rustls::ALL_VERSIONS
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(versions)?
                .with_no_client_auth()
                .with_single_cert(vec![self.certificate(addresses, face.certificate)?], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn certificate(
        &self,
        addresses: &[IpAddr],
        kind: Certificate,
    ) -> anyhow::Result<CertificateDer<'static>> {
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        params
            .subject_alt_names
            .extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        let issuer = match kind {
            Certificate::SelfSigned => return Ok(params.self_signed(&self.leaf_key)?.into()),
            Certificate::OtherAuthority => &self.stranger,
            Certificate::Expired => {
                params.not_after = date_time_ymd(2001, 1, 1);
                &self.issuer
            }
            Certificate::OtherName => {
                params.subject_alt_names = vec![SanType::DnsName("other.example.net".try_into()?)];
                &self.issuer
            }
            Certificate::Good => &self.issuer,
        };
        Ok(params.signed_by(&self.leaf_key, issuer)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_made_once_for_each_face() {
        let authority = Authority::new(None).unwrap();
        let addresses = ["127.10.0.1".parse().unwrap()];
        let good = authority.server(&addresses, Face::default()).unwrap();
        assert!(Arc::ptr_eq(
            &good,
            &authority.server(&addresses, Face::default()).unwrap()
        ));
        for certificate in [
            Certificate::Expired,
            Certificate::OtherName,
            Certificate::SelfSigned,
            Certificate::OtherAuthority,
        ] {
            let face = Face {
                certificate,
                tls12_only: true,
            };
            assert!(!Arc::ptr_eq(&good, &authority.server(&addresses, face).unwrap()));
        }
        assert!(authority.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }
}
