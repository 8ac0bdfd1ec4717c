//! One request, at one member after the other until one answers.
//!
//! Owns the order of the tries, their time limits and what their errors come to together. The member that answered
//! last is asked first. Never goes on longer than it was given, and never says that nothing was done where an earlier
//! try may have done it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::Client;
use tokio::time::{Instant, sleep, timeout};

use super::EtcdStore;
use super::failure::Failure;
use super::member::Member;
use super::request;
use crate::dcs::{Answer, DcsError, Request, Response};

/// The longest and the shortest try of one member, the rest of the budget permitting.
const LONGEST_TRY: Duration = Duration::from_secs(1);
const SHORTEST_TRY: Duration = Duration::from_millis(100);
/// With less than this left of the budget no further try is made: it would only be sent, and then be in doubt.
const TOO_LITTLE: Duration = Duration::from_millis(10);
/// A round over all members that failed faster than this is followed by a pause.
const FAST_ROUND: Duration = Duration::from_millis(100);
/// The shortest such pause; the longest is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// How far one try came.
struct Attempt {
    /// Just before the request went out last.
    sent: Duration,
    /// What it went out with.
    client: Option<Arc<Client>>,
    /// It may have been done without an answer.
    doubt: bool,
}

/// A new login did not help.
fn refused_login(text: String, anonymous: bool) -> Failure {
    if anonymous {
        Failure::Refused(format!(
            "{text}: it wants to know who asks; set ha.etcd.username and ha.etcd.password"
        ))
    } else {
        // Somebody changes users at this very moment; another member or another try will do.
        Failure::Unanswered(text)
    }
}

/// What the tries of one request have come to so far.
struct Tour {
    end: Instant,
    /// The longest try.
    longest: Duration,
    round: Instant,
    /// The last error of each member.
    errors: Vec<Option<String>>,
    /// An earlier try may have been done, or may still be.
    doubt: bool,
}

impl Tour {
    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// A pause after a round over all members, where that was a fast one.
    async fn next_round(&mut self) {
        if self.round.elapsed() < FAST_ROUND {
            let pause = PAUSE + PAUSE.mul_f64(fastrand::f64());
            sleep(pause.min(self.left())).await;
        }
        self.round = Instant::now();
    }

    /// Keeps what is told if nobody answers. That a last try was cut short says less than the error before it.
    fn note(&mut self, index: usize, failure: &Failure, said: String) {
        if let Some(error) = self.errors.get_mut(index) {
            let cut = matches!(failure, Failure::Late(limit) if *limit < self.longest);
            if !cut || error.is_none() {
                *error = Some(said);
            }
        }
    }

    fn told(self) -> DcsError {
        let errors: Vec<String> = self.errors.into_iter().flatten().collect();
        DcsError::Unanswered(errors.join("; "))
    }
}

impl EtcdStore {
    /// Does `request` at the first member that answers within `budget`.
    pub(super) async fn try_members(&self, request: &Request, budget: Duration) -> Answer {
        let mut tour = Tour {
            end: Instant::now() + budget,
            longest: (budget / 2).clamp(SHORTEST_TRY, LONGEST_TRY),
            round: Instant::now(),
            errors: vec![None; self.members.len()],
            doubt: false,
        };
        let mut index = self.last_index();
        let mut tries = 0;
        loop {
            let Some(member) = self.members.get(index) else {
                index = 0;
                continue;
            };
            let limit = tour.longest.min(tour.left());
            let mut attempt = Attempt {
                sent: self.clock.since_boot(),
                client: None,
                doubt: false,
            };
            let begin = Instant::now();
            let outcome = match timeout(limit, self.attempt(member, request, &mut attempt)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Late(limit)),
            };
            self.count(request::word(request), member, begin.elapsed(), &outcome);
            let answer = |result| Answer {
                sent: attempt.sent,
                endpoint: Arc::clone(&member.name),
                result,
            };
            match outcome {
                Ok(response) => {
                    self.last.store(index, Ordering::Relaxed);
                    self.answered.notify_waiters();
                    return answer(Ok(response));
                }
                Err(failure @ (Failure::Refused(_) | Failure::LeaseGone)) => {
                    self.last.store(index, Ordering::Relaxed);
                    return answer(Err(definite(member, request, &failure, tour.doubt)));
                }
                Err(failure) => {
                    if let (Failure::Late(_), Some(client)) = (&failure, &attempt.client)
                        && limit == tour.longest
                    {
                        // Perhaps only this connection is dead: what was sent into a black hole is repeated ever
                        // more rarely, also when the hole has closed.
                        member.discard(client);
                    }
                    tour.note(index, &failure, member.explain(&failure));
                }
            }
            tour.doubt |= attempt.doubt;
            index = (index + 1) % self.members.len();
            tries += 1;
            if tries % self.members.len() == 0 {
                tour.next_round().await;
            }
            if tour.left() < TOO_LITTLE {
                // Whatever connections there are may be dead: the next request makes new ones, and does not have to
                // find that out one by one.
                for member in &self.members {
                    member.forget();
                }
                return answer(Err(tour.told()));
            }
        }
    }

    /// One member, with a second login where it no longer knows the first. `attempt` tells how far it came, also when
    /// time runs out.
    async fn attempt(
        &self,
        member: &Member,
        request: &Request,
        attempt: &mut Attempt,
    ) -> Result<Response, Failure> {
        let mut again = false;
        loop {
            let client = member.client().await?;
            attempt.client = Some(Arc::clone(&client));
            attempt.sent = self.clock.since_boot();
            attempt.doubt = true;
            let done = request::perform(&client, &self.base, &self.granted, request).await;
            attempt.doubt = matches!(done, Err(Failure::Unanswered(_)));
            match done {
                Err(Failure::Stale { text, anonymous }) => {
                    member.discard(&client);
                    if again {
                        return Err(refused_login(text, anonymous));
                    }
                    again = true;
                }
                done => return done,
            }
        }
    }
}

/// What a member's no means. Nothing was done by this try, but perhaps by one before.
fn definite(member: &Member, request: &Request, failure: &Failure, doubt: bool) -> DcsError {
    let said = member.explain(failure);
    if doubt && request::leaves_traces(request) {
        DcsError::Unanswered(format!("{said}; but an earlier try was not answered"))
    } else if *failure == Failure::LeaseGone {
        DcsError::NoLease
    } else {
        DcsError::Refused(said)
    }
}
