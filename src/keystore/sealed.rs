//! The form of the keystore's file, which is that of Beats.
//!
//! Owns the way from bytes to the sealed file and back: `v1`, then in base64 a salt of 64 bytes, a nonce of 12, and
//! what AES-256-GCM makes of the content, tag included. The key is PBKDF2 of the password with HMAC-SHA512, 10,000
//! times. So it is in `keystore/file_keystore.go` of elastic/elastic-agent-libs (until version 8 in libbeat). The
//! password is empty there and here: the file keeps secrets from being read over a shoulder, not from who has the file.
//! Pure, but for the randomness; knows no names.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use ring::pbkdf2;
use ring::rand::{SecureRandom as _, SystemRandom};

const VERSION: &str = "v1";
const SALT: usize = 64;
const NONCE: usize = 12;
const KEY: usize = 32;
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999);
const PASSWORD: &[u8] = b"";

/// Why a file cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is empty")]
    Empty,
    #[error(
        "it begins with {0:?} and not with \"v1\": it is no keystore, or one that a FIPS build of a Beat has written"
    )]
    Foreign(String),
    #[error("it breaks off, or something in it is not base64")]
    Garbled,
    #[error("it does not decrypt: it was changed, or sealed with a password")]
    Sealed,
}

/// The machine gives no random bytes, which does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(super) struct NoRandomness;

/// The file for `content`.
pub(super) fn seal(content: &[u8]) -> Result<Vec<u8>, NoRandomness> {
    let mut salt = [0; SALT];
    let mut nonce = [0; NONCE];
    let random = SystemRandom::new();
    random.fill(&mut salt).map_err(|_| NoRandomness)?;
    random.fill(&mut nonce).map_err(|_| NoRandomness)?;
    Ok(sealed_with(salt, nonce, content))
}

/// The same salt and nonce must never be used for two contents.
fn sealed_with(salt: [u8; SALT], nonce: [u8; NONCE], content: &[u8]) -> Vec<u8> {
    let mut sealed = content.to_vec();
    let tag =
        key(&salt).seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed);
    let mut whole = [&salt[..], &nonce[..], &sealed[..]].concat();
    // Fails only for contents of some 64 GiB.
    whole.extend(tag.iter().flat_map(AsRef::as_ref));
    format!("{VERSION}{}", STANDARD.encode(whole)).into_bytes()
}

/// The content of a file.
pub(super) fn open(file: &[u8]) -> Result<Vec<u8>, Damage> {
    if file.trim_ascii().is_empty() {
        return Err(Damage::Empty);
    }
    let Some(text) = file.strip_prefix(VERSION.as_bytes()) else {
        let begin = &file[..file.len().min(VERSION.len())];
        return Err(Damage::Foreign(String::from_utf8_lossy(begin).into_owned()));
    };
    // Editors and copies add line breaks; Go's decoder skips them as well.
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let whole = STANDARD.decode(text).map_err(|_| Damage::Garbled)?;
    let (salt, rest) = whole.split_at_checked(SALT).ok_or(Damage::Garbled)?;
    let (nonce, sealed) = rest.split_at_checked(NONCE).ok_or(Damage::Garbled)?;
    if sealed.len() < MAX_TAG_LEN {
        return Err(Damage::Garbled);
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Damage::Garbled)?;
    let mut content = sealed.to_vec();
    let length = key(salt)
        .open_in_place(nonce, Aad::empty(), &mut content)
        .map_err(|_| Damage::Sealed)?
        .len();
    content.truncate(length);
    Ok(content)
}

fn key(salt: &[u8]) -> LessSafeKey {
    let mut bytes = [0; KEY];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ITERATIONS, salt, PASSWORD, &mut bytes);
    #[expect(
        clippy::expect_used,
        reason = "AES-256 takes keys of 32 bytes, which is what KEY is"
    )]
    let key = UnboundKey::new(&AES_256_GCM, &bytes).expect("a key of 32 bytes");
    LessSafeKey::new(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_is_never_sealed_alike() {
        let one = seal(b"CANARY").unwrap();
        let two = seal(b"CANARY").unwrap();
        assert_ne!(one, two);
        assert!(one.starts_with(b"v1") && !one.windows(6).any(|part| part == b"CANARY"));
        assert_eq!(open(&one).as_deref(), Ok(&b"CANARY"[..]));
        // A file that went through an editor.
        let mut broken = one.clone();
        broken.insert(40, b'\n');
        broken.extend(b"\r\n");
        assert_eq!(open(&broken).as_deref(), Ok(&b"CANARY"[..]));
    }

    /// `beats.keystore` was made by `tests/data/keystore/generate.py`, which shares nothing with this.
    #[test]
    fn an_independent_implementation_writes_the_same_bytes() {
        let theirs = include_bytes!("../../tests/data/keystore/beats.keystore");
        let content = open(theirs).unwrap();
        let whole = STANDARD.decode(&theirs[VERSION.len()..]).unwrap();
        let (salt, rest) = whole.split_first_chunk().unwrap();
        let (nonce, _) = rest.split_first_chunk().unwrap();
        assert_eq!(sealed_with(*salt, *nonce, &content), theirs);
    }

    #[test]
    fn every_damage_is_noticed_and_told_apart() {
        let good = seal(b"{}").unwrap();
        assert_eq!(open(b""), Err(Damage::Empty));
        assert_eq!(open(b" \n"), Err(Damage::Empty));
        assert_eq!(open(b"v"), Err(Damage::Foreign("v".to_owned())));
        assert_eq!(open(b"PK\x03\x04"), Err(Damage::Foreign("PK".to_owned())));
        assert_eq!(open(b"v1"), Err(Damage::Garbled));
        assert_eq!(open(b"v1 not base64 !"), Err(Damage::Garbled));
        for length in [3, 40, 100, good.len() - 1] {
            assert!(open(&good[..length]).is_err(), "cut off after {length} bytes");
        }
        let other = |byte: u8| if byte == b'A' { b'B' } else { b'A' };
        for at in [2, 90, 110, good.len() - 4] {
            let mut changed = good.clone();
            changed[at] = other(changed[at]);
            assert_eq!(open(&changed), Err(Damage::Sealed), "byte {at}");
        }
    }
}
