//! The token of one VDC and user.
//!
//! Owns when a token is obtained, renewed, given up and logged out. One login at a time; a refused token is
//! given up only if it is still the current one, so that a late 401 cannot kill a fresh token; failed logins
//! are spaced out so that they cannot lock the account, and so are logins whose tokens are refused. Tokens are
//! never shared between VDCs, never written anywhere, and logged out only when no request uses them any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::error::EcsError;
use crate::config::Secret;

/// ECS gives a token up after two hours without use; renewed a little earlier.
const IDLE_LIMIT: Duration = Duration::from_secs(110 * 60);
/// First pause after refused credentials; ECS locks accounts after a few failures in a row.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause after refused credentials.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Pause after a login that failed for another reason, so that callers who waited for it do not all try at once.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Pause when ECS says that the user has too many tokens.
const LIMIT_PAUSE: Duration = Duration::from_secs(60);
/// A token that is refused before this age was never any good; logins are then spaced out.
const YOUNG: Duration = Duration::from_secs(60);
/// Longest pause after tokens that were refused while young.
const YOUNG_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A token in use. Requests hold it by `Arc`, so that it is known when nobody does.
#[derive(Debug)]
pub(super) struct Token {
    text: Secret,
    obtained: Instant,
    used: Mutex<Instant>,
}

impl Token {
    /// For the request header.
    pub(super) fn text(&self) -> &str {
        self.text.expose()
    }
}

/// The session of one VDC and user.
#[derive(Debug)]
pub(super) struct Session {
    expiry: Duration,
    state: Mutex<State>,
    /// Held during a login: the others wait for its result.
    login: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Token>>,
    /// Given up, but perhaps still valid at ECS: to be logged out when unused.
    retired: Vec<Arc<Token>>,
    pause: Option<Pause>,
    /// Logins refused in a row.
    refusals: u32,
    /// Tokens in a row that were refused while young.
    refused_young: u32,
}

#[derive(Debug, Clone)]
struct Pause {
    until: Instant,
    because: String,
    reason: &'static str,
}

/// A token on its way out. Dropped before [`Leaving::gone`], as when the logout is broken off, it goes back to be
/// logged out later.
#[derive(Debug)]
pub(super) struct Leaving<'a> {
    session: &'a Session,
    token: Option<Arc<Token>>,
}

impl Leaving<'_> {
    /// For the request header.
    pub(super) fn text(&self) -> &str {
        self.token.as_ref().map_or("", |token| token.text())
    }

    /// It was logged out, or nothing more can be done about it.
    pub(super) fn gone(mut self) {
        self.token = None;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.session.lock().retired.push(token);
        }
    }
}

impl Session {
    /// A session without a token. `expiry`: a token is replaced when it is that old.
    pub(super) fn new(expiry: Duration) -> Self {
        Self {
            expiry,
            state: Mutex::default(),
            login: tokio::sync::Mutex::new(()),
            closed: AtomicBool::new(false),
        }
    }

    /// No login begins any more; waits for the one that is going on: cut off, it would leave a token behind that
    /// nobody knows.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        drop(self.login.lock().await);
    }

    /// The current token, or a new one from `login`, which is called by one caller at a time.
    pub(super) async fn token<F>(&self, login: impl FnOnce() -> F) -> Result<Arc<Token>, EcsError>
    where
        F: Future<Output = Result<Secret, EcsError>>,
    {
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let _one_at_a_time = self.login.lock().await;
        if let Some(token) = self.current() {
            return Ok(token);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(EcsError::Stopped);
        }
        let now = Instant::now();
        if let Some(pause) = self.lock().pause.clone().filter(|pause| pause.until > now) {
            return Err(EcsError::LoginPause {
                wait: pause.until - now,
                because: pause.because,
                reason: pause.reason,
            });
        }
        match login().await {
            Ok(text) => {
                let now = Instant::now();
                let token = Arc::new(Token {
                    text,
                    obtained: now,
                    used: Mutex::new(now),
                });
                let mut state = self.lock();
                state.pause = None;
                state.refusals = 0;
                if let Some(old) = state.current.replace(Arc::clone(&token)) {
                    state.refused_young = 0;
                    state.retired.push(old);
                }
                Ok(token)
            }
            Err(error) => {
                self.lock().refused(&error);
                Err(error)
            }
        }
    }

    /// Whether `token` is the current one.
    pub(super) fn holds(&self, token: &Arc<Token>) -> bool {
        let state = self.lock();
        state
            .current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, token))
    }

    /// ECS refused `token`, saying `said`. Only if it is the current one is it given up. It may still count
    /// against the user's limit of tokens, so it is logged out like any other.
    pub(super) fn invalidate(&self, token: &Arc<Token>, said: &str) {
        let mut state = self.lock();
        let is_current = |current: &mut Arc<Token>| Arc::ptr_eq(current, token);
        let Some(refused) = state.current.take_if(is_current) else {
            return;
        };
        if refused.obtained.elapsed() >= YOUNG {
            state.refused_young = 0;
        } else {
            // Once may happen to anybody, as when an administrator logs the user out.
            if let Some(doublings) = state.refused_young.checked_sub(1) {
                let wait = FAILED_PAUSE
                    .saturating_mul(1 << doublings.min(6))
                    .min(YOUNG_PAUSE_MAX);
                state.pause = Some(Pause {
                    until: Instant::now() + wait,
                    because: format!("a new token was refused: {said}"),
                    reason: "unauthorized",
                });
            }
            state.refused_young = state.refused_young.saturating_add(1);
        }
        state.retired.push(refused);
    }

    /// A token given up that no request uses any more; the caller logs it out.
    pub(super) fn take_unused(&self) -> Option<Leaving<'_>> {
        let mut state = self.lock();
        let unused = state
            .retired
            .iter()
            .position(|token| Arc::strong_count(token) == 1)?;
        let token = Some(state.retired.swap_remove(unused));
        Some(Leaving { session: self, token })
    }

    /// Any token there is, the current one last; the caller logs it out.
    pub(super) fn take_any(&self) -> Option<Leaving<'_>> {
        let mut state = self.lock();
        let token = Some(state.retired.pop().or_else(|| state.current.take())?);
        Some(Leaving { session: self, token })
    }

    /// The current token, unless it is about to expire.
    fn current(&self) -> Option<Arc<Token>> {
        let state = self.lock();
        let token = state.current.as_ref()?;
        let now = Instant::now();
        let mut used = token
            .used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.duration_since(token.obtained) >= self.expiry || now.duration_since(*used) >= IDLE_LIMIT {
            return None;
        }
        *used = now;
        Some(Arc::clone(token))
    }

    #[cfg(test)]
    pub(super) fn forgive(&self) {
        let mut state = self.lock();
        state.refused_young = 0;
        state.pause = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn refused(&mut self, error: &EcsError) {
        let wait = match error {
            EcsError::BadCredentials { .. } => {
                let wait = REFUSED_PAUSE
                    .saturating_mul(1 << self.refusals.min(6))
                    .min(REFUSED_PAUSE_MAX);
                self.refusals += 1;
                wait
            }
            EcsError::TokenLimit { .. } => LIMIT_PAUSE,
            // Everything else says nothing about the account.
            _ => FAILED_PAUSE,
        };
        self.pause = Some(Pause {
            until: Instant::now() + wait,
            because: error.to_string(),
            reason: error.reason(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn refused() -> EcsError {
        EcsError::BadCredentials {
            node: "n".into(),
            user: "u".into(),
            said: "no".into(),
        }
    }

    async fn fresh(session: &Session, name: &str) -> Arc<Token> {
        session.token(async || Ok(Secret::new(name))).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_share_one_login() {
        let session = Session::new(Duration::from_secs(3500));
        let logins = AtomicU32::new(0);
        let login = async || {
            logins.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Secret::new("t"))
        };
        let (a, b, c) = tokio::join!(session.token(login), session.token(login), session.token(login));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!(logins.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_replaced_when_it_is_old_and_logged_out_when_unused() {
        let session = Session::new(Duration::from_secs(100));
        let old = fresh(&session, "old").await;
        tokio::time::advance(Duration::from_secs(101)).await;
        assert_eq!(fresh(&session, "new").await.text(), "new");
        assert!(session.take_unused().is_none(), "a request still uses it");
        drop(old);
        drop(session.take_unused());
        let leaving = session.take_unused();
        assert_eq!(
            leaving.as_ref().map(Leaving::text),
            Some("old"),
            "a logout that was broken off is made up for"
        );
        leaving.unwrap().gone();
        assert!(session.take_unused().is_none());
        session.take_any().unwrap().gone();
        assert!(session.take_any().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_replaced_after_two_hours_without_use() {
        let session = Session::new(Duration::from_secs(8 * 3600));
        fresh(&session, "old").await;
        tokio::time::advance(Duration::from_secs(111 * 60)).await;
        assert_eq!(fresh(&session, "new").await.text(), "new");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_refusal_does_not_kill_a_fresh_token() {
        let session = Session::new(Duration::from_secs(3500));
        let old = fresh(&session, "old").await;
        session.invalidate(&old, "401");
        let new = fresh(&session, "new").await;
        session.invalidate(&old, "401");
        assert_eq!(fresh(&session, "never").await.text(), "new");
        tokio::time::advance(YOUNG).await;
        session.invalidate(&new, "401");
        assert_eq!(fresh(&session, "third").await.text(), "third");
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_for_the_login_that_is_going_on() {
        let session = Session::new(Duration::from_secs(3500));
        let slow = session.token(async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Secret::new("t"))
        });
        let (token, ()) = tokio::join!(slow, session.close());
        let leaving = session.take_any().unwrap();
        assert_eq!(token.unwrap().text(), leaving.text());
        leaving.gone();
        let late = session.token(async || Ok(Secret::new("never"))).await;
        assert_eq!(late.unwrap_err(), EcsError::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_are_all_refused_are_logged_out_and_asked_for_ever_more_slowly() {
        let session = Session::new(Duration::from_secs(3500));
        let mut logins = 0;
        for _second in 0..600 {
            if let Ok(token) = session.token(async || Ok(Secret::new("t"))).await {
                logins += 1;
                session.invalidate(&token, "unable to decode token");
                drop(token);
                session.take_unused().unwrap().gone();
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // At 0, 1, 2, 4, 8, 16, 32 and 64 seconds, then every minute.
        assert_eq!(logins, 16);
        assert!(session.take_any().is_none(), "no token is forgotten");
        let error = session.token(async || Ok(Secret::new("t"))).await.unwrap_err();
        assert!(error.to_string().contains("unable to decode token"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_tried_again_after_growing_pauses() {
        let session = Session::new(Duration::from_secs(3500));
        let mut tries = 0;
        for _second in 0..3600 {
            if !matches!(
                session.token(async || Err(refused())).await,
                Err(EcsError::LoginPause { .. })
            ) {
                tries += 1;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // At 0, 1, 3, 7, 15, 31 minutes.
        assert_eq!(tries, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_down_pauses_logins_for_a_moment_only() {
        let session = Session::new(Duration::from_secs(3500));
        let down = EcsError::Transport {
            node: "n".into(),
            message: "refused".into(),
        };
        assert!(session.token(async || Err(down)).await.is_err());
        let waiting = session
            .token(async || Ok(Secret::new("never")))
            .await
            .unwrap_err();
        assert!(matches!(waiting.retry(), crate::ecs::error::Retry::After(wait) if wait <= FAILED_PAUSE));
        tokio::time::advance(FAILED_PAUSE).await;
        assert_eq!(fresh(&session, "t").await.text(), "t");
    }
}
