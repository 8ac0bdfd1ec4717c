//! Login, logout, whoami and the check of tokens, roles and hosts. Must never let a refusal tell a password.

use super::{Answer, Ask, wants_json};
use crate::auth::{self, Check, Login};
use crate::config::User;
use crate::fault::Fault;
use crate::json;

const TOKEN: &str = "X-SDS-AUTH-TOKEN";
const NOT_LOGGED_IN: &str = "User could not be authenticated";

/// Whether the `Host` header names one of the accepted hosts.
pub(super) fn accepts_host(ask: &Ask<'_>) -> bool {
    if ask.is_forced(&Fault::HostRejected) {
        return false;
    }
    let accepted = &ask.federation.config.accepted_hosts;
    if accepted.is_empty() || !ask.node.profile.checks_host() {
        return true;
    }
    let host = ask.request.header("host").unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    accepted.iter().any(|entry| entry == name) || name == ask.node.address.to_string()
}

pub(super) fn login(ask: &Ask<'_>) -> Answer {
    if ask.is_forced(&Fault::LoginError) {
        return Answer::error_with(500, 10000, "could not generate token for user", Some(true));
    }
    let now_ms = ask.federation.clock.now_ms();
    let Some((name, password)) = ask.request.header("authorization").and_then(auth::basic) else {
        return unauthorized(4000, NOT_LOGGED_IN);
    };
    if ask.is_forced(&Fault::TokenLimit) {
        return too_many_tokens(&name);
    }
    let tokens = &ask.federation.tokens[ask.vdc.index];
    let token = match tokens.login(&ask.federation.config.users, &name, &password, now_ms) {
        Login::Token(token) => token,
        Login::WrongPassword => return unauthorized(4000, NOT_LOGGED_IN),
        Login::Locked => return unauthorized(4000, "User account is locked"),
        Login::TooManyTokens => return too_many_tokens(&name),
    };
    let mut answer = Answer::either("loggedIn", json::object(|o| o.text("user", &name)));
    if !ask.is_forced(&Fault::LoginWithoutToken) {
        if ask.request.query.is_true("using-cookies") {
            answer
                .headers
                .push(("Set-Cookie", format!("{TOKEN}={token}; Secure; HttpOnly")));
        }
        answer.headers.push((TOKEN, token));
    }
    answer.user = Some(name);
    answer
}

fn too_many_tokens(name: &str) -> Answer {
    unauthorized(4000, &format!("max tokens exceeded for this user: {name}"))
}

fn unauthorized(code: u32, details: &str) -> Answer {
    let mut answer = Answer::error(401, code, details);
    answer
        .headers
        .push(("WWW-Authenticate", "Basic realm=\"ECS\"".to_owned()));
    answer
}

fn sent_token<'a>(ask: &'a Ask<'_>) -> Option<&'a str> {
    let in_cookie = || {
        let cookies = ask.request.header("cookie")?.split(';');
        cookies
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == TOKEN)
            .map(|(_, value)| value)
    };
    ask.request.header(TOKEN).or_else(in_cookie)
}

/// The account and the token of the request, or the refusal.
pub(super) fn check<'a>(ask: &'a Ask<'_>) -> Result<(&'a User, String), Answer> {
    let Some(token) = sent_token(ask) else {
        return Err(unauthorized(4000, NOT_LOGGED_IN));
    };
    if ask.is_forced(&Fault::TokenGarbled) {
        return Err(undecodable());
    }
    let now_ms = ask.federation.clock.now_ms();
    let mut verdict = ask.federation.tokens[ask.vdc.index].check(token, now_ms);
    if verdict == Check::Unknown && ask.federation.config.auth.federation_wide {
        let all = ask
            .federation
            .tokens
            .iter()
            .map(|tokens| tokens.check(token, now_ms));
        verdict = all
            .into_iter()
            .find(|verdict| *verdict != Check::Unknown)
            .unwrap_or(Check::Unknown);
    }
    if ask.is_forced(&Fault::TokenExpired) {
        verdict = Check::Expired;
    }
    match verdict {
        Check::Good { user } => {
            let found = ask
                .federation
                .config
                .users
                .iter()
                .find(|known| known.name == user);
            found.map(|user| (user, token.to_owned())).ok_or_else(undecodable)
        }
        Check::Expired => Err(expired(ask)),
        Check::Unknown => Err(undecodable()),
    }
}

fn undecodable() -> Answer {
    unauthorized(10001, "unable to decode token")
}

fn expired(ask: &Ask<'_>) -> Answer {
    if !ask.federation.config.auth.expired_redirects {
        return unauthorized(4000, "Token has expired");
    }
    let mut answer = Answer::empty(302);
    let host = ask.request.header("host").unwrap_or_default();
    answer.headers.push(("Location", format!("https://{host}/login")));
    answer
}

pub(super) fn logout(ask: &Ask<'_>, user: &User, token: &str) -> Answer {
    let tokens = &ask.federation.tokens[ask.vdc.index];
    match ask.request.query.get("username") {
        Some(other) if user.roles.iter().any(|role| role == "SYSTEM_ADMIN") => tokens.logout_user(other),
        Some(_) => return Answer::error(403, 1026, "Insufficient permissions"),
        None if ask.request.query.is_true("force") => tokens.logout_user(&user.name),
        None => tokens.logout(token),
    }
    let root = "LoggedOut";
    Answer::either(root, json::object(|o| o.text("user", &user.name)))
}

pub(super) fn whoami(ask: &Ask<'_>, user: &User) -> Answer {
    let is_old = !ask.node.profile.is_at_least_3_6();
    let nested = is_old && wants_json(ask.request);
    let fill = |o: &mut json::Obj<'_>| {
        o.text("common_name", &user.name);
        o.text("distinguished_name", "");
        o.text("namespace", "");
        let write_roles = |l: &mut json::Arr<'_>| user.roles.iter().for_each(|role| l.text(role));
        if is_old {
            o.object("roles", |o| o.array("role", write_roles));
            o.text("tenant", "");
            o.array("subtenant_roles", |_| {});
        } else {
            o.array("roles", write_roles);
            o.text("last_login_time", &crate::clock::zulu_stamp(ask.now));
            o.text("last_time_password_changed", "2026-01-01T00:00:00Z");
            o.raw("user_must_reset_password", false);
            o.raw("user_password_has_expired", false);
            o.raw("password_expiry_day", 42);
        }
    };
    let text = json::object(|o| if nested { o.object("user", fill) } else { fill(o) });
    Answer::either("user", text)
}

pub(super) fn token_count(ask: &Ask<'_>, name: &str) -> Answer {
    let count = ask.federation.tokens[ask.vdc.index].live(name, ask.federation.clock.now_ms());
    Answer::either("tokenCount", json::object(|o| o.raw("count", count)))
}

/// Whether one of the account's roles allows reading.
pub(super) fn may_read(user: &User, in_billing: bool) -> bool {
    let allows = |role: &str| {
        matches!(role, "SYSTEM_MONITOR" | "SYSTEM_ADMIN") || (in_billing && role == "NAMESPACE_ADMIN")
    };
    user.roles.iter().any(|role| allows(role))
}
