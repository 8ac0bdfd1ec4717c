//! Certificates, keys and fingerprints out of settings.
//!
//! Owns reading PEM from a file or from the setting itself. Errors name the setting and the file; a key's
//! content is never part of one.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// Every certificate in the file or inline PEM `entry`; at least one.
pub(super) fn certificates(key: &str, entry: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(key, entry)?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(key, entry, &format!("not valid PEM: {error}")))?;
    if found.is_empty() {
        return Err(content(
            key,
            entry,
            "holds no certificate (a PEM section BEGIN CERTIFICATE is needed)",
        ));
    }
    Ok(found)
}

/// The private key in the file or inline PEM `entry`.
pub(super) fn private_key(key: &str, entry: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(key, entry)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        // The parser's words are left out: they could quote a line of the key.
        let problem = if memchr::memmem::find(&text, b"ENCRYPTED").is_some() {
            "the key has a passphrase, which is not supported: decrypt it with `openssl pkey -in KEY -out PLAIN`"
        } else {
            "holds no private key (a PEM section BEGIN PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY is needed)"
        };
        content(key, entry, problem)
    })
}

/// A SHA-256 in hex; colons and spaces between the digits are allowed, as `openssl x509 -fingerprint` prints
/// them.
pub(super) fn fingerprint(text: &str) -> Result<[u8; 32], TlsError> {
    let wrong = || TlsError::Setting {
        key: "ssl.ca_trusted_fingerprint",
        problem: "must be the SHA-256 of a CA certificate in hex, 64 digits: print it with \
                  `openssl x509 -fingerprint -sha256 -noout -in ca.crt`"
            .to_owned(),
    };
    let digits: Vec<u32> = text
        .chars()
        .filter(|&c| c != ':' && c != ' ')
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .filter_map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect();
    if digits.len() != 64 {
        return Err(wrong());
    }
    bytes.try_into().map_err(|_| wrong())
}

/// How messages call the origin of `entry`.
pub(super) fn name(entry: &str) -> String {
    if is_inline(entry) {
        "the inline PEM".to_owned()
    } else {
        entry.to_owned()
    }
}

fn is_inline(entry: &str) -> bool {
    entry.trim_start().starts_with("-----BEGIN")
}

fn read(key: &str, entry: &str) -> Result<Vec<u8>, TlsError> {
    if is_inline(entry) {
        return Ok(entry.as_bytes().to_vec());
    }
    std::fs::read(entry).map_err(|error| TlsError::Read {
        key: key.to_owned(),
        path: entry.to_owned(),
        cause: error.to_string(),
    })
}

fn content(key: &str, entry: &str, problem: &str) -> TlsError {
    TlsError::Content {
        key: key.to_owned(),
        source_name: name(entry),
        problem: problem.to_owned(),
    }
}
