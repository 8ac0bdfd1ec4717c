//! What a certificate says of itself: whose it is, and between which dates it is valid.
//!
//! Owns just enough of DER to find that: webpki checks the dates only while it builds a chain, and a certificate
//! that is trusted as it stands has none. Anything unexpected is `None`, which the caller must refuse.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const IDENTIFIER: u8 = 0x06;
/// `UTF8String`, `PrintableString`, `T61String`, `IA5String`.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];
/// What names of subjects are made of: the last number below 2.5.4, and how it is written.
const ATTRIBUTES: [(u8, &str); 6] = [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notBefore` and `notAfter`, in seconds since 1970.
pub(super) fn period(certificate: &[u8]) -> Option<(i64, i64)> {
    let (validity, _) = validity(certificate)?;
    let (tag, from, rest) = element(validity)?;
    let not_before = time(tag, from)?;
    let (tag, until, _) = element(rest)?;
    Some((not_before, time(tag, until)?))
}

/// The subject, as in `O=Dell, CN=node1`; `None` where it is empty.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (_, rest) = validity(certificate)?;
    let (mut names, _) = expect(SEQUENCE, rest)?;
    let mut parts = Vec::new();
    while !names.is_empty() {
        let (name, rest) = expect(SET, names)?;
        names = rest;
        let (pair, _) = expect(SEQUENCE, name)?;
        let (identifier, value) = expect(IDENTIFIER, pair)?;
        let (tag, text, _) = element(value)?;
        let known = ATTRIBUTES
            .iter()
            .find(|(number, _)| *identifier == [0x55, 4, *number]);
        if let Some((_, attribute)) = known
            && TEXTS.contains(&tag)
        {
            // It is told to people, and comes from anybody.
            let text = String::from_utf8_lossy(text).replace(char::is_control, "?");
            parts.push(format!("{attribute}={text}"));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The dates, and what follows them.
fn validity(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut fields, _) = expect(SEQUENCE, certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    expect(SEQUENCE, fields)
}

/// One element: its tag, its content, and what follows it.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |length, &digit| (length << 8) | usize::from(digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(input)?;
    (found == tag).then_some((content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only forms RFC 5280 allows.
fn time(tag: u8, content: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year: i16 = text[..2].parse().ok()?;
            (if year >= 50 { 1900 + year } else { 2000 + year }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let time = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(time).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_both_forms_of_time() {
        assert_eq!(time(UTC_TIME, b"700101000001Z"), Some(1));
        assert_eq!(time(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        for wrong in [&b"700101000001"[..], b"7001010000Z", b"701301000000Z", b"", b"Z"] {
            assert_eq!(time(UTC_TIME, wrong), None);
        }
    }

    #[test]
    fn reads_a_real_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 2, 3);
        params.not_after = rcgen::date_time_ymd(2060, 1, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (attribute, text) in [
            (rcgen::DnType::OrganizationName, "Dell"),
            (rcgen::DnType::CommonName, "nöde\x1b[1m"),
        ] {
            params.distinguished_name.push(attribute, text);
        }
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(period(certificate.der()), Some((981_158_400, 2_840_140_800)));
        assert_eq!(subject(certificate.der()).as_deref(), Some("O=Dell, CN=nöde?[1m"));
        params.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(subject(certificate.der()), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = (period(&bytes), subject(&bytes));
        }
    }
}
