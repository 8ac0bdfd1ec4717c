//! `ssl.*` of any connection.
//!
//! Owns which of Beats' options there are. Opens no file: certificates are read when the connection is made.

use super::Secret;
use super::section::Section;

/// `ssl.*` of one connection.
#[derive(Debug, Clone)]
pub struct Ssl {
    /// Whether to use TLS where the URL does not say.
    pub enabled: Option<bool>,
    /// Files or inline PEM; empty = the system's.
    pub certificate_authorities: Vec<String>,
    /// File or inline PEM of the client certificate.
    pub certificate: Option<String>,
    /// File or inline PEM of the client key.
    pub key: Option<Secret>,
    /// What is checked.
    pub verification_mode: VerificationMode,
    /// SHA-256, hex, of a CA in the presented chain that is trusted.
    pub ca_trusted_fingerprint: Option<String>,
    /// TLS 1.2 allowed.
    pub tls12: bool,
    /// TLS 1.3 allowed.
    pub tls13: bool,
}

impl Default for Ssl {
    fn default() -> Self {
        Self {
            enabled: None,
            certificate_authorities: Vec::new(),
            certificate: None,
            key: None,
            verification_mode: VerificationMode::Full,
            ca_trusted_fingerprint: None,
            tls12: true,
            tls13: true,
        }
    }
}

/// `ssl.verification_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerificationMode {
    /// Chain and name, which must be a subject alternative name. Kafka's client also takes a common name.
    Full,
    /// The same. Kafka's client has no such thing.
    Strict,
    /// Chain only.
    Certificate,
    /// Nothing.
    None,
}

const MODES: [(&str, VerificationMode); 4] = [
    ("full", VerificationMode::Full),
    ("strict", VerificationMode::Strict),
    ("certificate", VerificationMode::Certificate),
    ("none", VerificationMode::None),
];

/// Reads the section. A section without `enabled` switches TLS on where the URL does not say.
pub(super) fn read(section: &Section<'_>) -> Ssl {
    let defaults = Ssl::default();
    let enabled = section
        .maybe_flag("enabled")
        .or(section.is_present().then_some(true));
    if let Some(enabled) = enabled {
        section.given("enabled", enabled);
    }
    let (tls12, tls13) = protocols(section);
    let ssl = Ssl {
        enabled,
        certificate_authorities: section.texts("certificate_authorities").unwrap_or_default(),
        certificate: section.some_text("certificate"),
        key: section.some_secret("key"),
        verification_mode: section
            .one_of("verification_mode", &MODES)
            .unwrap_or(defaults.verification_mode),
        ca_trusted_fingerprint: fingerprint(section),
        tls12,
        tls13,
    };
    match (&ssl.certificate, &ssl.key) {
        (Some(_), None) => section.missing("key", "the key of ssl.certificate"),
        (None, Some(_)) => section.missing("certificate", "the certificate that ssl.key belongs to"),
        _ => {}
    }
    section.not_in_this_version(
        "key_passphrase",
        ": give the key without a passphrase, in a file of mode 0600",
    );
    section.not_in_this_version("ca_sha256", ": use ca_trusted_fingerprint");
    for key in ["exit_on_cert_change", "restart_on_cert_change"] {
        section.not_in_this_version(
            key,
            ": certificates are read at start, so restart it when you change them",
        );
    }
    section.without_effect("cipher_suites", "the suites of TLS 1.2 and 1.3 are all safe ones");
    section.without_effect("curve_types", "the curves are X25519, P-256 and P-384");
    section.without_effect("renegotiation", "TLS is never renegotiated");
    ssl
}

/// Hex, with or without colons, as Elasticsearch prints it.
fn fingerprint(section: &Section<'_>) -> Option<String> {
    let field = section.field("ca_trusted_fingerprint")?;
    let text = field.parsed("the SHA-256 of a CA certificate, 64 hex digits", |text| {
        let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits.len() {
            0 => Ok(digits),
            64 if hex => Ok(digits.to_ascii_lowercase()),
            64 => Err("there are other characters than 0-9 and a-f".to_owned()),
            length => Err(format!("it has {length} digits")),
        }
    })?;
    Some(text).filter(|text| !text.is_empty())
}

fn protocols(section: &Section<'_>) -> (bool, bool) {
    let Some(items) = section
        .field("supported_protocols")
        .and_then(|field| field.items())
    else {
        return (true, true);
    };
    let (mut tls12, mut tls13) = (false, false);
    for item in &items {
        item.parsed("TLSv1.2 or TLSv1.3", |text| {
            match text.trim() {
                "TLSv1.2" => tls12 = true,
                "TLSv1.3" => tls13 = true,
                "SSLv3" | "SSLv3.0" | "TLSv1" | "TLSv1.0" | "TLSv1.1" => {
                    return Err("this version of TLS is broken and cannot be spoken here".to_owned());
                }
                _ => return Err(String::new()),
            }
            Ok(())
        });
    }
    if items.is_empty() {
        (true, true)
    } else {
        (tls12, tls13)
    }
}
