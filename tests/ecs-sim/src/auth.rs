//! Accounts and tokens, separate for each VDC. Owns expiry, the cap on tokens, lock-out and logout; must never
//! decide how a refusal is written.

use std::collections::{HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;

use crate::config::{Auth, User};
use crate::seed;

/// What every token begins with.
pub(crate) const TOKEN_MARK: &str = "BAAcCANARYTOKEN";
const REMEMBERED_DEAD: usize = 4096;

/// The tokens of one VDC.
#[derive(Debug)]
pub(crate) struct Tokens {
    seed: u64,
    vdc: usize,
    rules: Auth,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    issued: u64,
    live: HashMap<String, Live>,
    dead: VecDeque<String>,
    failures: HashMap<String, u32>,
    bad_logins: u64,
    peak: usize,
}

#[derive(Debug)]
struct Live {
    user: String,
    created_ms: i64,
    used_ms: i64,
}

/// What a login comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Token(String),
    WrongPassword,
    Locked,
    TooManyTokens,
}

/// What a token is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Good { user: String },
    Expired,
    Unknown,
}

/// Counts for assertions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens issued since the start.
    pub issued: u64,
    /// Tokens that are good now.
    pub live: usize,
    /// The most tokens that one account had at once.
    pub peak: usize,
    /// Logins refused for a wrong password or a locked account.
    pub bad_logins: u64,
}

/// User and password of a `Basic` header.
pub(crate) fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(seed: u64, vdc: usize, rules: Auth) -> Self {
        Self {
            seed,
            vdc,
            rules,
            state: Mutex::default(),
        }
    }

    pub(crate) fn login(&self, users: &[User], name: &str, password: &str, now_ms: i64) -> Login {
        let mut state = self.state.lock();
        state.bury_expired(&self.rules, now_ms);
        let failures = state.failures.get(name).copied().unwrap_or(0);
        if self.rules.lockout_after.is_some_and(|limit| failures >= limit) {
            state.bad_logins += 1;
            return Login::Locked;
        }
        if !users
            .iter()
            .any(|user| user.name == name && user.password == password)
        {
            state.bad_logins += 1;
            *state.failures.entry(name.to_owned()).or_default() += 1;
            return Login::WrongPassword;
        }
        state.failures.remove(name);
        let live = state.count(name);
        if live >= self.rules.tokens_per_user {
            return Login::TooManyTokens;
        }
        state.issued += 1;
        let random = seed::hex(
            &[self.seed, self.vdc as u64, state.issued, seed::of_name(name)],
            120,
        );
        let token = format!("{TOKEN_MARK}{}x{random}=", self.vdc);
        let entry = Live {
            user: name.to_owned(),
            created_ms: now_ms,
            used_ms: now_ms,
        };
        state.live.insert(token.clone(), entry);
        state.peak = state.peak.max(live + 1);
        Login::Token(token)
    }

    /// Looks a token up and counts that as a use.
    pub(crate) fn check(&self, token: &str, now_ms: i64) -> Check {
        let mut state = self.state.lock();
        if let Some(live) = state.live.get_mut(token) {
            if !live.is_expired(&self.rules, now_ms) {
                live.used_ms = now_ms;
                return Check::Good {
                    user: live.user.clone(),
                };
            }
            state.bury_expired(&self.rules, now_ms);
            return Check::Expired;
        }
        let was_good = state.dead.iter().any(|dead| dead == token);
        if was_good { Check::Expired } else { Check::Unknown }
    }

    /// Ends one token.
    pub(crate) fn logout(&self, token: &str) {
        self.state.lock().bury(|key, _| key == token);
    }

    /// Ends all tokens of an account.
    pub(crate) fn logout_user(&self, name: &str) {
        self.state.lock().bury(|_, live| live.user == name);
    }

    /// Ends all tokens.
    pub(crate) fn revoke_all(&self) {
        self.state.lock().bury(|_, _| true);
    }

    /// Unlocks all accounts.
    pub(crate) fn unlock(&self) {
        self.state.lock().failures.clear();
    }

    pub(crate) fn live(&self, name: &str, now_ms: i64) -> usize {
        let mut state = self.state.lock();
        state.bury_expired(&self.rules, now_ms);
        state.count(name)
    }

    pub(crate) fn counts(&self, now_ms: i64) -> TokenCounts {
        let mut state = self.state.lock();
        state.bury_expired(&self.rules, now_ms);
        TokenCounts {
            issued: state.issued,
            live: state.live.len(),
            peak: state.peak,
            bad_logins: state.bad_logins,
        }
    }

    pub(crate) fn has_lock(&self, name: &str) -> bool {
        let failures = self.state.lock().failures.get(name).copied().unwrap_or(0);
        self.rules.lockout_after.is_some_and(|limit| failures >= limit)
    }
}

// === impl State ===

impl State {
    fn count(&self, name: &str) -> usize {
        self.live.values().filter(|live| live.user == name).count()
    }

    fn bury_expired(&mut self, rules: &Auth, now_ms: i64) {
        self.bury(|_, live| live.is_expired(rules, now_ms));
    }

    fn bury(&mut self, is_over: impl Fn(&str, &Live) -> bool) {
        let dead = &mut self.dead;
        self.live.retain(|token, live| {
            let over = is_over(token, live);
            if over {
                dead.push_back(token.clone());
            }
            !over
        });
        while dead.len() > REMEMBERED_DEAD {
            dead.pop_front();
        }
    }
}

// === impl Live ===

impl Live {
    fn is_expired(&self, rules: &Auth, now_ms: i64) -> bool {
        now_ms - self.created_ms >= rules.absolute_secs * 1000
            || now_ms - self.used_ms >= rules.idle_secs * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Vec<User> {
        vec![User::new("monitor", "secret", &["SYSTEM_MONITOR"])]
    }

    fn tokens(rules: Auth) -> Tokens {
        Tokens::new(1, 0, rules)
    }

    fn token(tokens: &Tokens, now_ms: i64) -> String {
        match tokens.login(&users(), "monitor", "secret", now_ms) {
            Login::Token(token) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_end_by_age_and_by_idleness() {
        let tokens = tokens(Auth {
            absolute_secs: 10,
            idle_secs: 4,
            ..Auth::default()
        });
        let first = token(&tokens, 0);
        assert_eq!(
            tokens.check(&first, 3_999),
            Check::Good {
                user: "monitor".to_owned()
            }
        );
        assert_eq!(tokens.check(&first, 7_999), Check::Expired);
        let second = token(&tokens, 0);
        for at in [3_000, 6_000, 9_000] {
            assert!(matches!(tokens.check(&second, at), Check::Good { .. }));
        }
        assert_eq!(tokens.check(&second, 10_000), Check::Expired);
        assert_eq!(tokens.check("BAAcforeign", 0), Check::Unknown);
    }

    #[test]
    fn the_cap_counts_live_tokens_only() {
        let tokens = tokens(Auth {
            tokens_per_user: 2,
            idle_secs: 4,
            ..Auth::default()
        });
        let first = token(&tokens, 0);
        token(&tokens, 0);
        assert_eq!(
            tokens.login(&users(), "monitor", "secret", 0),
            Login::TooManyTokens
        );
        tokens.logout(&first);
        token(&tokens, 1_000);
        assert_eq!(
            tokens.login(&users(), "monitor", "secret", 1_000),
            Login::TooManyTokens
        );
        token(&tokens, 4_000);
        assert_eq!(tokens.live("monitor", 4_000), 2);
        tokens.logout_user("monitor");
        assert_eq!(
            tokens.counts(4_000),
            TokenCounts {
                issued: 4,
                live: 0,
                peak: 2,
                bad_logins: 0
            }
        );
    }

    #[test]
    fn wrong_passwords_lock_the_account() {
        let tokens = tokens(Auth {
            lockout_after: Some(2),
            ..Auth::default()
        });
        for _ in 0..2 {
            assert_eq!(
                tokens.login(&users(), "monitor", "wrong", 0),
                Login::WrongPassword
            );
        }
        assert_eq!(tokens.login(&users(), "monitor", "secret", 0), Login::Locked);
        assert!(tokens.has_lock("monitor"));
        tokens.unlock();
        token(&tokens, 0);
    }

    #[test]
    fn basic_headers_are_read() {
        assert_eq!(basic("Basic dTpwOnE="), Some(("u".to_owned(), "p:q".to_owned())));
        assert_eq!(basic("Bearer x"), None);
        assert_eq!(basic("Basic !!"), None);
    }
}
