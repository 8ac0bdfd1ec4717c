//! What Redis means by an error reply.
//!
//! Owns the meaning of its codes (<https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors>) and
//! what to do about each. Nothing here gives an event up: all that an operator can set right at the server is tried
//! again. What was sent is kept out of messages: some replies quote the command with its arguments.

use redis::ServerError;

use super::super::SinkError;

/// Longest text of a reply that is told.
const MAX_SAID: usize = 200;

/// The error for `command` at `host`. [`SinkError::TooLarge`] stands for that command alone.
pub(super) fn of(host: &str, command: &str, error: &ServerError) -> SinkError {
    let text = |advice: &str| {
        let separator = if advice.is_empty() { "" } else { ": " };
        format!("{host}: {command}: {}{separator}{advice}", said(error))
    };
    let busy = |advice| SinkError::Busy {
        message: text(advice),
        retry_after: None,
    };
    let denied = |advice| SinkError::Denied(text(advice));
    let protocol = |advice| SinkError::Protocol(text(advice));
    match error.code() {
        "OOM" => busy("it is full: let its reader catch up, or raise maxmemory there"),
        "LOADING" => busy("it reads its data after a start"),
        "MISCONF" => busy("it cannot save its data: see its log"),
        "READONLY" => busy("it is a replica: list the primary in output.redis.hosts"),
        "MASTERDOWN" => busy("it is a replica without its primary: list the primary in output.redis.hosts"),
        "NOREPLICAS" => busy("it has fewer replicas than min-replicas-to-write there"),
        "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" => busy(""),
        "NOAUTH" => denied("it wants a login: set password, and username, of output.redis"),
        "NOPERM" => denied("grant the user of output.redis this command and this key there"),
        "DENIED" => denied("it talks to its own machine only: set a password there, or protected-mode no"),
        "WRONGTYPE" => denied("what is there is no list: choose another key, or delete it there"),
        "MOVED" | "ASK" | "CROSSSLOT" => protocol(
            "it is a node of a Redis Cluster, of which each has a part of the keys: list the node that has this key in \
             output.redis.hosts, or a proxy that speaks for the cluster",
        ),
        "NOSCRIPT" => protocol(
            "no script was asked for: check what stands between, such as a proxy with scripts of its own",
        ),
        _ => of_other(error, text),
    }
}

/// Codes that say little, above all `ERR`.
fn of_other(error: &ServerError, text: impl Fn(&str) -> String) -> SinkError {
    let detail = error.details().unwrap_or_default();
    if detail.starts_with("Protocol error: invalid bulk length") {
        return SinkError::TooLarge(text("raise proto-max-bulk-len there"));
    }
    if detail.starts_with("max number of clients") {
        return SinkError::Busy {
            message: text("raise maxclients there"),
            retry_after: None,
        };
    }
    if detail.starts_with("DB index is out of range") {
        return SinkError::Denied(text(
            "check db of output.redis, or the number behind the host; a server has 16 databases unless told, a cluster \
             one",
        ));
    }
    if detail.starts_with("unknown command") {
        return SinkError::Denied(text("the command is switched off or renamed there"));
    }
    SinkError::Protocol(text(""))
}

/// The error for a login. Its text is told only where it cannot quote the password.
pub(super) fn of_login(host: &str, error: &ServerError) -> SinkError {
    let code = error.code();
    let detail = error.details().unwrap_or_default();
    if !matches!(code, "ERR" | "WRONGPASS") || detail.starts_with("max number of clients") {
        return of(host, "AUTH", error);
    }
    let advice = if code == "WRONGPASS" || detail.starts_with("invalid password") {
        "check username and password of output.redis, and those in the URL of hosts"
    } else if detail.contains("without any password configured") || detail.contains("no password is set") {
        "it asks for no password: leave password out, or set one there (requirepass)"
    } else if detail.starts_with("wrong number of arguments") {
        "it knows passwords only: leave username out, or use Redis 6 or later"
    } else {
        "it refuses the login: check that it takes AUTH at all"
    };
    SinkError::Denied(format!("{host}: AUTH: {code}: {advice}"))
}

/// What the server said, without the arguments of the command that it may quote.
fn said(error: &ServerError) -> String {
    let detail = error.details().unwrap_or_default();
    let detail = detail.split(", with args").next().unwrap_or_default();
    let mut text = format!("{} {detail}", error.code());
    if let Some((end, _)) = text.char_indices().nth(MAX_SAID) {
        text.truncate(end);
        text.push('…');
    }
    text.replace(char::is_control, " ")
        .trim_end()
        .trim_end_matches('.')
        .to_owned()
}
