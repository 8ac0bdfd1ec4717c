//! What an error of one attempt means.
//!
//! Owns [`Failure`] and the sorting of errors into it: whether etcd said no, whether another member should be asked,
//! whether the request may have been done. In doubt it may have been. A dead connection never counts as a lost lease.

use std::error::Error as _;
use std::time::Duration;

use etcd_client::Error;
use tonic::{Code, Status};

use super::connect::Unreachable;
use crate::tls;

/// Said where a request is too large.
const TOO_LARGE: &str = ": the limit is etcd's --max-request-bytes, 1.5 MiB unless set";

/// Why an attempt has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// etcd will not, whoever is asked. Nothing was done.
    Refused(String),
    /// The lease that was named does not exist. Nothing was done.
    LeaseGone,
    /// The token of our login is not valid (any more). Nothing was done.
    Stale {
        /// What etcd said.
        text: String,
        /// etcd was told no user at all.
        anonymous: bool,
    },
    /// No connection came about. Nothing was done.
    Unreachable(String),
    /// This member did not answer, or could not; it may have been done.
    Unanswered(String),
    /// No answer in this time; it may have been done.
    Late(Duration),
}

impl Failure {
    /// The word in metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::LeaseGone => "no_lease",
            Self::Stale { .. } => "unauthenticated",
            Self::Unreachable(_) => "unreachable",
            Self::Unanswered(_) => "error",
            Self::Late(_) => "timeout",
        }
    }

    /// For people, without the endpoint's name.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Refused(text)
            | Self::Stale { text, .. }
            | Self::Unreachable(text)
            | Self::Unanswered(text) => text.clone(),
            Self::LeaseGone => "the lease is gone".to_owned(),
            Self::Late(limit) => format!("no answer within {limit:?}"),
        }
    }

    /// What `error` means.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::GRpcStatus(status) => of_status(status),
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                Self::Refused(error.to_string())
            }
            // Streams that ended, and whatever the crate may come to say.
            _ => Self::Unanswered(error.to_string()),
        }
    }
}

fn of_status(status: &Status) -> Failure {
    if let Some(unreachable) = unreachable(status) {
        let advice = tls::advice(unreachable).map_or_else(String::new, |advice| format!(": {advice}"));
        return Failure::Unreachable(format!("{unreachable}{advice}"));
    }
    let said = status.message();
    let refused = |advice: &str| Failure::Refused(format!("{said}{advice}"));
    match status.code() {
        Code::Unauthenticated => stale(said, false),
        Code::NotFound if said.contains("requested lease not found") => Failure::LeaseGone,
        Code::InvalidArgument if said.contains("revision of auth store is old") => stale(said, false),
        Code::InvalidArgument if said.contains("user name is empty") => stale(said, true),
        Code::InvalidArgument if said.contains("authentication failed") => {
            refused(": check ha.etcd.username and ha.etcd.password")
        }
        Code::InvalidArgument if said.contains("request is too large") => refused(TOO_LARGE),
        Code::PermissionDenied => {
            refused(": the user of ha.etcd.username, or of the client certificate, needs a role for it")
        }
        // Another member may be the right one to ask.
        Code::FailedPrecondition if said.contains("not leader") || said.contains("learner") => {
            Failure::Unanswered(said.to_owned())
        }
        Code::NotFound | Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition => {
            refused("")
        }
        Code::ResourceExhausted if said.contains("database space exceeded") => refused(
            ": its database is full; compact and defragment it, run `etcdctl alarm disarm`, and set \
             --auto-compaction-retention, which is off by default",
        ),
        Code::ResourceExhausted if said.contains("larger than max") => refused(TOO_LARGE),
        Code::OutOfRange if said.starts_with("etcdserver:") => refused(""),
        // An older etcd says so in words only.
        Code::Unknown if said.contains("invalid auth token") => stale(said, false),
        code => Failure::Unanswered(match (said, innermost(status)) {
            ("", None) => code.description().to_owned(),
            ("", Some(cause)) => cause,
            (said, Some(cause)) if !said.contains(&cause) => format!("{said}: {cause}"),
            (said, _) => said.to_owned(),
        }),
    }
}

fn stale(said: &str, anonymous: bool) -> Failure {
    Failure::Stale {
        text: said.to_owned(),
        anonymous,
    }
}

/// Where no connection came about: why.
fn unreachable(status: &Status) -> Option<&Unreachable> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Unreachable>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn innermost(status: &Status) -> Option<String> {
    let mut next = status.source()?;
    while let Some(error) = next.source() {
        next = error;
    }
    Some(next.to_string())
}

/// Whether etcd has no users at the moment: it takes no login then, and needs none.
pub(super) fn takes_no_login(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("authentication is not enabled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, said: &str) -> Failure {
        Failure::of(&Error::GRpcStatus(Status::new(code, said)))
    }

    #[test]
    fn what_etcd_will_not_do_is_refused() {
        for (code, said) in [
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            (Code::InvalidArgument, "etcdserver: request is too large"),
            (
                Code::InvalidArgument,
                "etcdserver: duplicate key given in txn request",
            ),
            (Code::OutOfRange, "etcdserver: too large lease TTL"),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
            ),
        ] {
            let failure = of(code, said);
            assert!(
                matches!(&failure, Failure::Refused(text) if text.starts_with(said)),
                "{failure:?}"
            );
        }
        let denied = of(Code::InvalidArgument, "etcdserver: authentication failed").text();
        assert!(denied.contains("ha.etcd.username"), "{denied}");
    }

    #[test]
    fn what_another_member_may_do_is_not() {
        for (code, said) in [
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
            (Code::FailedPrecondition, "etcdserver: not leader"),
            (
                Code::FailedPrecondition,
                "etcdserver: rpc not supported for learner",
            ),
            (Code::Cancelled, "Timeout expired"),
            (Code::Unknown, "transport error"),
            (Code::OutOfRange, "decoded message length too large"),
            (Code::DataLoss, "etcdserver: corrupt cluster"),
            (Code::Unimplemented, "unknown service etcdserverpb.KV"),
        ] {
            assert_eq!(of(code, said), Failure::Unanswered(said.to_owned()));
        }
    }

    #[test]
    fn a_lost_lease_is_told_from_a_lost_connection() {
        let gone = of(Code::NotFound, "etcdserver: requested lease not found");
        assert_eq!(gone, Failure::LeaseGone);
        for error in [
            Error::WatchError("failed to create lease keeper".to_owned()),
            Error::LeaseKeepAliveError("channel closed".to_owned()),
        ] {
            assert!(matches!(Failure::of(&error), Failure::Unanswered(_)));
        }
    }

    #[test]
    fn logins_that_are_no_longer_valid_are_known() {
        for (code, said, nobody) in [
            (Code::Unauthenticated, "etcdserver: invalid auth token", false),
            (Code::Unknown, "etcdserver: invalid auth token", false),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                false,
            ),
            (Code::InvalidArgument, "etcdserver: user name is empty", true),
        ] {
            let failure = of(code, said);
            assert!(
                matches!(&failure, Failure::Stale { text, anonymous } if text == said && *anonymous == nobody),
                "{failure:?}"
            );
        }
    }
}
