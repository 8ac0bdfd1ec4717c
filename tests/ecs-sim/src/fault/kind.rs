//! All that can go wrong, by name. Must never say where or how often; that is the rule's part.

use serde::{Deserialize, Serialize};

use super::Oddity;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The port is closed: connecting is refused at once. Lasts as long as the rule does.
    Refused,
    /// Connecting gets no answer at all. Lasts as long as the rule does.
    Blackhole,
    /// The connection is accepted, and nothing more happens.
    AcceptHang,
    /// The connection is accepted and closed.
    AcceptClose,
    /// The connection is accepted and reset.
    AcceptReset,
    /// The TLS handshake is answered with nonsense.
    TlsFailure,
    /// The certificate's time is over.
    CertExpired,
    /// The certificate is for another name.
    CertOtherName,
    /// The certificate is signed by itself.
    CertSelfSigned,
    /// The certificate is issued by an unknown authority.
    CertOtherAuthority,
    /// Nothing newer than TLS 1.2 is spoken.
    Tls12Only,

    /// The answer takes this much longer.
    Latency {
        /// Milliseconds of an ordinary answer.
        ms: u64,
        /// Milliseconds of the slowest in a hundred.
        #[serde(default)]
        p99_ms: u64,
    },
    /// The headers come slowly, over this time.
    SlowHeaders {
        /// Milliseconds from the first byte to the last.
        ms: u64,
    },
    /// The request is read and never answered.
    Hang,
    /// The request is read and the connection reset.
    Reset,
    /// The connection is reset amid the body.
    ResetMidBody,
    /// The body ends early: `Content-Length` tells more than comes, or the last chunk is missing.
    Truncate {
        /// Cut a chunked body instead of one with a length.
        #[serde(default)]
        chunked: bool,
        /// Share of the body that still comes, in percent.
        #[serde(default = "half")]
        percent: u8,
    },
    /// The body comes in small pieces.
    Dribble {
        /// Bytes in a piece.
        bytes: usize,
        /// Milliseconds after each piece.
        pause_ms: u64,
    },
    /// The body is chunked.
    Chunked,
    /// The body has no length and ends with the connection.
    UntilClose,
    /// Another `Content-Type`, or none when left out.
    ContentType {
        /// The value of the header.
        #[serde(default)]
        value: Option<String>,
    },
    /// The body is compressed with gzip, whether the client can read that or not.
    Gzip,
    /// Status 200 with an HTML page.
    HtmlPage,
    /// Status 200 without a body.
    EmptyBody,
    /// Any answer.
    Answer {
        /// Status to answer.
        status: u16,
        /// Value of `Content-Type`; none when left out.
        #[serde(default)]
        content_type: Option<String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// A redirect to anywhere: to another node, or to a host that must never see a token.
    Redirect {
        /// Value of `Location`.
        location: String,
        /// Status to answer.
        #[serde(default = "found")]
        status: u16,
    },
    /// A JSON answer has a member of this size more; made while it is sent.
    Big {
        /// Bytes to add.
        bytes: u64,
    },
    /// A script of statuses, one for each request; 200 lets the request through, the last one stays.
    Status {
        /// The statuses in turn.
        codes: Vec<u16>,
        /// Value of `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
        /// The member `retryable` of the body.
        #[serde(default)]
        retryable: Option<bool>,
        /// The member `code` of the body.
        #[serde(default)]
        code: Option<u32>,
        /// The member `details` of the body.
        #[serde(default)]
        details: Option<String>,
    },
    /// Connections close after so many requests.
    CloseAfter {
        /// Requests on one connection.
        requests: u32,
        /// Say `Connection: close` with the last answer; a client that pools is surprised otherwise.
        #[serde(default)]
        announce: bool,
    },
    /// Header names in lower case.
    LowerCaseHeaders,
    /// Header names in upper case.
    UpperCaseHeaders,
    /// The `Date` header is off.
    DateSkew {
        /// Seconds; negative for the past.
        secs: i64,
    },
    /// More than `max` requests at once in the VDC are refused with 503, or delayed.
    Governor {
        /// Requests that are served at once.
        max: usize,
        /// Delay in milliseconds instead of 503.
        #[serde(default)]
        delay_ms: Option<u64>,
    },

    /// `/login` answers 200 without the token header.
    LoginWithoutToken,
    /// `/login` answers 500, "could not generate token".
    LoginError,
    /// `/login` answers 401 because the account has too many tokens.
    TokenLimit,
    /// The token is taken for dead: redirect or 401, as configured.
    TokenExpired,
    /// The token cannot be decoded: 401, code 10001.
    TokenGarbled,
    /// A role is missing: 403, code 1026.
    Forbidden,
    /// The `Host` header is not accepted: 403.
    HostRejected,

    /// Data of an unusual form.
    Odd {
        /// Which one.
        oddity: Oddity,
    },
}

fn found() -> u16 {
    302
}

fn half() -> u8 {
    50
}

// === impl Fault ===

impl Fault {
    /// Decided when a port is opened or closed.
    pub(crate) fn is_of_listener(&self) -> bool {
        matches!(self, Self::Refused | Self::Blackhole)
    }

    /// Decided when a connection comes in.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::AcceptHang
                | Self::AcceptClose
                | Self::AcceptReset
                | Self::TlsFailure
                | Self::CertExpired
                | Self::CertOtherName
                | Self::CertSelfSigned
                | Self::CertOtherAuthority
                | Self::Tls12Only
        )
    }

    /// Decided for each request.
    pub(crate) fn is_of_request(&self) -> bool {
        !self.is_of_listener() && !self.is_of_connection()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultRule;

    #[test]
    fn a_rule_reads_from_the_json_of_the_readme() {
        let text = r#"{"match":{"vdc":0,"node":1,"path":"/vdc","port":"mgmt"},
                       "fault":{"kind":"status","codes":[503,503,200],"retry_after":2},"times":5,"skip":1}"#;
        let rule: FaultRule = serde_json::from_str(text).unwrap();
        assert_eq!(rule.scope.node, Some(1));
        assert!(matches!(
            rule.fault,
            Fault::Status {
                retry_after: Some(2),
                ..
            }
        ));
        let again: FaultRule = serde_json::from_str(&serde_json::to_string(&rule).unwrap()).unwrap();
        assert_eq!(again, rule);
        assert!(serde_json::from_str::<FaultRule>(r#"{"fault":{"kind":"truncate"}}"#).is_ok());
        assert!(
            serde_json::from_str::<FaultRule>(r#"{"fault":{"kind":"odd","oddity":"exponents"}}"#).is_ok()
        );
        assert!(serde_json::from_str::<FaultRule>(r#"{"fault":{"kind":"no_such"}}"#).is_err());
        assert!(serde_json::from_str::<FaultRule>(r#"{"fault":{"kind":"hang"},"time":1}"#).is_err());
    }

    #[test]
    fn every_fault_is_decided_in_one_place() {
        for fault in [
            Fault::Refused,
            Fault::TlsFailure,
            Fault::Hang,
            Fault::Latency { ms: 1, p99_ms: 2 },
        ] {
            let places = [
                fault.is_of_listener(),
                fault.is_of_connection(),
                fault.is_of_request(),
            ];
            assert_eq!(places.iter().filter(|place| **place).count(), 1, "{fault:?}");
        }
    }
}
