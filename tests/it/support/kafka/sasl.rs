//! Logins as Kafka asks for them: PLAIN, and SCRAM with either hash.
//!
//! Owns the server's side of RFC 4616 and RFC 5802 within `SaslHandshake` and `SaslAuthenticate`. The check is a real
//! one: a wrong password, a wrong name and another mechanism are refused.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::front::Fields;

const HANDSHAKE: i16 = 17;
const AUTHENTICATE: i16 = 36;
/// `SASL_AUTHENTICATION_FAILED`.
const FAILED: i16 = 58;
/// `UNSUPPORTED_SASL_MECHANISM`.
const UNSUPPORTED: i16 = 33;
const SALT: &[u8] = b"salt of the tests";
const ROUNDS: u32 = 4096;

/// Who may log in, and how.
#[derive(Debug, Clone)]
pub(super) struct Users {
    mechanism: &'static str,
    name: String,
    password: String,
}

/// One connection's way in.
#[derive(Debug)]
pub(super) struct Login {
    users: Users,
    /// SCRAM: what was said so far, and the nonce of both.
    first: Option<(String, String)>,
    done: bool,
}

impl Users {
    pub(super) fn new(mechanism: &'static str, name: &str, password: &str) -> Self {
        Self {
            mechanism,
            name: name.to_owned(),
            password: password.to_owned(),
        }
    }
}

impl Login {
    pub(super) fn begin(users: &Users) -> Self {
        Self {
            users: users.clone(),
            first: None,
            done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn mechanism(&self) -> &str {
        self.users.mechanism
    }

    /// Adds both requests to what a broker says it can do.
    pub(super) fn announce(version: i16, answer: &mut Vec<u8>) {
        let mut fields = Fields(&answer[4..]);
        let (error, count) = (fields.i16(), fields.i32());
        if error != 0 || version > 2 {
            return;
        }
        answer[6..10].copy_from_slice(&(count + 2).to_be_bytes());
        let ours: Vec<u8> = [HANDSHAKE, 0, 1, AUTHENTICATE, 0, 0]
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        answer.splice(10..10, ours);
    }

    /// The answer to a request; `None`: hung up.
    pub(super) fn answer(&mut self, key: i16, body: &[u8]) -> Option<Vec<u8>> {
        let mut body = Fields(body);
        match key {
            HANDSHAKE => {
                let known = body.text() == self.users.mechanism;
                let error = if known { 0 } else { UNSUPPORTED };
                let mut answer = error.to_be_bytes().to_vec();
                answer.extend(1_i32.to_be_bytes());
                answer.extend(text(self.users.mechanism));
                Some(answer)
            }
            AUTHENTICATE => {
                let length = usize::try_from(body.i32()).unwrap();
                let said = String::from_utf8(body.bytes(length).to_vec()).unwrap();
                let answer = match self.users.mechanism {
                    "PLAIN" => self.plain(&said),
                    "SCRAM-SHA-256" => self.scram(&said, &SHA_256),
                    _ => self.scram(&said, &SHA_512),
                };
                Some(match answer {
                    Some(bytes) => [
                        &0_i16.to_be_bytes()[..],
                        &(-1_i16).to_be_bytes(),
                        &i32::try_from(bytes.len()).unwrap().to_be_bytes(),
                        bytes.as_bytes(),
                    ]
                    .concat(),
                    None => [
                        &FAILED.to_be_bytes()[..],
                        &text("who are you?"),
                        &0_i32.to_be_bytes(),
                    ]
                    .concat(),
                })
            }
            _ => None,
        }
    }

    fn plain(&mut self, said: &str) -> Option<String> {
        self.done = said == format!("\0{}\0{}", self.users.name, self.users.password);
        self.done.then(String::new)
    }

    fn scram(&mut self, said: &str, hash: &Hash) -> Option<String> {
        let Some((so_far, nonce)) = &self.first else {
            let bare = said.strip_prefix("n,,")?;
            let theirs = bare.strip_prefix(&format!("n={},r=", self.users.name))?;
            let nonce = format!("{theirs}ours");
            let first = format!("r={nonce},s={},i={ROUNDS}", STANDARD.encode(SALT));
            self.first = Some((format!("{bare},{first}"), nonce));
            return Some(first);
        };
        let (bare, proof) = said.split_once(",p=")?;
        if bare != format!("c=biws,r={nonce}") {
            return None;
        }
        let message = format!("{so_far},{bare}");
        let mut salted = vec![0; hash.digest.output_len()];
        let rounds = NonZeroU32::new(ROUNDS).unwrap();
        pbkdf2::derive(
            hash.derive,
            rounds,
            SALT,
            self.users.password.as_bytes(),
            &mut salted,
        );
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hash.hmac, key), text);
        let client = sign(&salted, b"Client Key");
        let stored = digest::digest(hash.digest, client.as_ref());
        let signature = sign(stored.as_ref(), message.as_bytes());
        let expected: Vec<u8> = client
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        self.done = STANDARD.decode(proof).ok()? == expected;
        let server = sign(&salted, b"Server Key");
        let signature = sign(server.as_ref(), message.as_bytes());
        self.done
            .then(|| format!("v={}", STANDARD.encode(signature.as_ref())))
    }
}

struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    derive: pbkdf2::Algorithm,
}

static SHA_256: Hash = Hash {
    digest: &digest::SHA256,
    hmac: hmac::HMAC_SHA256,
    derive: pbkdf2::PBKDF2_HMAC_SHA256,
};

static SHA_512: Hash = Hash {
    digest: &digest::SHA512,
    hmac: hmac::HMAC_SHA512,
    derive: pbkdf2::PBKDF2_HMAC_SHA512,
};

fn text(text: &str) -> Vec<u8> {
    [
        &i16::try_from(text.len()).unwrap().to_be_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}
