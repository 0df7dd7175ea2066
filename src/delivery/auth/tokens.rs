//! Keeps the tokens that token servers gave: one for each client and scope, fetched once however
//! many attempts want it, and fetched anew before it expires.
//!
//! Fetching is a task of its own, so that an attempt which is dropped takes no token from others,
//! and a token that still holds is used while the next one is on its way.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fetch::{self, Failed, Fetched};
use crate::clock::Clock;
use crate::delivery::next_step::Outcome;
use crate::delivery::recent::Recent;
use crate::delivery::wire::TargetService;
use crate::limits;
use crate::rule::OAuth2;
use crate::secret::{Secret, SecretText};

/// How long a token server that failed is left alone, at first.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);

/// A token, and its times.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: SecretText,
    pub(super) header: HeaderValue,
    renew_at: Instant,
    expires_at: Instant,
}

/// Every token in use.
pub(super) struct Tokens {
    clock: Clock,
    clients: Mutex<Recent<OAuth2, Client>>,
    fetches: Mutex<JoinSet<()>>,
}

/// One client of one token server, with the secret that it had when it was last asked for.
struct Client {
    secret: Arc<Secret>,
    state: Arc<Mutex<State>>,
}

type Answer = Result<Arc<Token>, Outcome>;

/// What is known of one client's token.
#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// Tells how the fetch ends that is under way.
    fetch: Option<watch::Receiver<Option<Answer>>>,
    failure: Option<Failure>,
    /// Failures in a row.
    failures: u32,
    /// When a token was last thrown away because a target refused it.
    rejected: Option<Instant>,
}

struct Failure {
    outcome: Outcome,
    /// Not to be asked again before.
    until: Instant,
}

/// What somebody who wants a token does.
#[derive(Debug)]
enum Step {
    Use(Arc<Token>),
    /// The token still holds, but not for long.
    UseAndFetch(Arc<Token>),
    Wait(watch::Receiver<Option<Answer>>),
    Fetch,
    Fail(Outcome),
}

impl State {
    fn next(&self, now: Instant) -> Step {
        let fetch = self
            .fetch
            .as_ref()
            .filter(|fetch| fetch.has_changed().is_ok());
        let failure = self.failure.as_ref().filter(|failure| now < failure.until);
        match (&self.token, fetch, failure) {
            (Some(token), fetch, failure) if now < token.expires_at => {
                if now < token.renew_at || fetch.is_some() || failure.is_some() {
                    Step::Use(token.clone())
                } else {
                    Step::UseAndFetch(token.clone())
                }
            }
            (_, Some(fetch), _) => Step::Wait(fetch.clone()),
            (_, None, Some(failure)) => Step::Fail(failure.outcome.clone()),
            (_, None, None) => Step::Fetch,
        }
    }

    /// Takes the answer to a fetch that was begun at `began`.
    fn ended(&mut self, answer: Result<Fetched, Failed>, began: Instant, now: Instant) -> Answer {
        self.fetch = None;
        match answer {
            Ok(fetched) => {
                let ahead = limits::TOKEN_AHEAD.min(fetched.lifetime / 4);
                let expires_at = began + fetched.lifetime;
                let token = Arc::new(Token {
                    text: fetched.text,
                    header: fetched.header,
                    renew_at: expires_at - ahead,
                    expires_at,
                });
                self.token = Some(token.clone());
                self.failure = None;
                self.failures = 0;
                Ok(token)
            }
            Err(failed) => {
                let rest = REST
                    .saturating_mul(1 << self.failures.min(10))
                    .min(REST_MAX)
                    .max(failed.asked.min(limits::RETRY_AFTER_MAX));
                self.failures += 1;
                self.failure = Some(Failure {
                    outcome: failed.outcome.clone(),
                    until: now + rest,
                });
                Err(failed.outcome)
            }
        }
    }

    /// A target refused this token; whether it makes sense to come with another one. Not when the
    /// token took the place of a refused one a moment ago: then it is not its age.
    fn reject(&mut self, refused: &Arc<Token>, now: Instant) -> bool {
        let is_current = self
            .token
            .as_ref()
            .is_some_and(|token| Arc::ptr_eq(token, refused));
        if !is_current {
            return true;
        }
        let just_now = |rejected| now < rejected + limits::TOKEN_REJECTED_REST;
        if self.rejected.is_some_and(just_now) {
            return false;
        }
        self.rejected = Some(now);
        self.token = None;
        true
    }
}

impl Tokens {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            clients: Mutex::new(Recent::new(limits::TOKENS)),
            fetches: Mutex::default(),
        }
    }

    /// A token that holds. Waits for the token server only when there is none.
    pub(super) async fn get(
        &self,
        oauth2: &OAuth2,
        secret: &Arc<Secret>,
        service: TargetService,
    ) -> Answer {
        let state = self.state(oauth2, secret);
        let mut answer = {
            let mut known = state.lock();
            match known.next(Instant::now()) {
                Step::Use(token) => return Ok(token),
                Step::UseAndFetch(token) => {
                    known.fetch = Some(self.fetch(oauth2, secret, service, &state));
                    return Ok(token);
                }
                Step::Fail(outcome) => return Err(outcome),
                Step::Wait(answer) => answer,
                Step::Fetch => {
                    let answer = self.fetch(oauth2, secret, service, &state);
                    known.fetch = Some(answer.clone());
                    answer
                }
            }
        };
        let ended = answer.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|answer| answer.clone())
            .unwrap_or_else(|| Err(Outcome::NotPrepared("the token fetch broke off".to_owned())))
    }

    /// Throws a refused token away; whether to come again with another one.
    pub(super) fn reject(&self, oauth2: &OAuth2, refused: &Arc<Token>) -> bool {
        let mut clients = self.clients.lock();
        let state = clients.get(oauth2).map(|client| client.state.clone());
        drop(clients);
        state.is_none_or(|state| state.lock().reject(refused, Instant::now()))
    }

    /// What is known for this client; nothing when its secret has changed.
    fn state(&self, oauth2: &OAuth2, secret: &Arc<Secret>) -> Arc<Mutex<State>> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(oauth2)
            && Arc::ptr_eq(&client.secret, secret)
        {
            return client.state.clone();
        }
        let state: Arc<Mutex<State>> = Arc::default();
        let client = Client {
            secret: secret.clone(),
            state: state.clone(),
        };
        clients.insert(oauth2.clone(), client);
        state
    }

    /// Forgets the tokens that were fetched with secrets that are others by now.
    pub(super) fn forget_all_but(&self, current: impl Fn(&Arc<Secret>) -> bool) {
        self.clients.lock().retain(|client| current(&client.secret));
    }

    fn fetch(
        &self,
        oauth2: &OAuth2,
        secret: &Arc<Secret>,
        service: TargetService,
        state: &Arc<Mutex<State>>,
    ) -> watch::Receiver<Option<Answer>> {
        let (tell, answer) = watch::channel(None);
        let (oauth2, secret) = (oauth2.clone(), secret.clone());
        let state = state.clone();
        let clock = self.clock.clone();
        let mut fetches = self.fetches.lock();
        while fetches.try_join_next().is_some() {}
        fetches.spawn(async move {
            let began = Instant::now();
            let client_secret = &secret.newest().value;
            let fetched = fetch::fetch(service, &oauth2, client_secret, &clock).await;
            if let Err(failed) = &fetched {
                let host = fetch::host(&oauth2.token_url);
                let error = failed.outcome.error();
                tracing::debug!(host, error, "a token server gave no token");
            }
            let ended = state.lock().ended(fetched, began, Instant::now());
            tell.send_replace(Some(ended));
        });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn fetched(lifetime: Duration) -> Result<Fetched, Failed> {
        Ok(Fetched {
            text: SecretText::new("t".to_owned()),
            header: HeaderValue::from_static("Bearer t"),
            lifetime,
        })
    }

    fn failed(asked: Duration) -> Result<Fetched, Failed> {
        Err(Failed {
            outcome: Outcome::NotPrepared("no token".to_owned()),
            asked,
        })
    }

    fn step(state: &State, now: Instant) -> &'static str {
        match state.next(now) {
            Step::Use(_) => "use",
            Step::UseAndFetch(_) => "use and fetch",
            Step::Wait(_) => "wait",
            Step::Fetch => "fetch",
            Step::Fail(_) => "fail",
        }
    }

    #[test]
    fn a_token_is_renewed_ahead_and_used_until_it_expires() {
        let start = Instant::now();
        let mut state = State::default();
        assert_eq!(step(&state, start), "fetch");
        let (tell, answer) = watch::channel(None);
        state.fetch = Some(answer);
        assert_eq!(step(&state, start), "wait");
        state.ended(fetched(HOUR), start, start).unwrap();
        drop(tell);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(step(&state, at(3539)), "use");
        assert_eq!(step(&state, at(3540)), "use and fetch");
        let (tell, answer) = watch::channel(None);
        state.fetch = Some(answer);
        assert_eq!(step(&state, at(3599)), "use", "while the next is fetched");
        assert_eq!(step(&state, at(3600)), "wait");
        drop(tell);
        assert_eq!(step(&state, at(3600)), "fetch", "a fetch that broke off");
        state
            .ended(fetched(Duration::from_secs(4)), at(3600), at(3601))
            .unwrap();
        assert_eq!(step(&state, at(3602)), "use");
        assert_eq!(step(&state, at(3603)), "use and fetch");
        assert_eq!(step(&state, at(3604)), "fetch");
    }

    #[test]
    fn a_server_that_fails_is_left_alone_for_longer_and_longer() {
        let start = Instant::now();
        let mut state = State::default();
        let mut now = start;
        let mut rests = Vec::new();
        for _ in 0..7 {
            state.ended(failed(Duration::ZERO), now, now).unwrap_err();
            assert_eq!(step(&state, now), "fail");
            let until = state.failure.as_ref().unwrap().until;
            rests.push((until - now).as_secs());
            now = until;
            assert_eq!(step(&state, now), "fetch");
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30]);
        state
            .ended(failed(Duration::from_secs(50)), now, now)
            .unwrap_err();
        assert_eq!(step(&state, now + Duration::from_secs(49)), "fail");
        state.ended(failed(HOUR * 10), now, now).unwrap_err();
        assert_eq!(step(&state, now + limits::RETRY_AFTER_MAX), "fetch");

        state.ended(fetched(HOUR), now, now).unwrap();
        let late = now + HOUR - Duration::from_secs(1);
        state.ended(failed(Duration::ZERO), late, late).unwrap_err();
        assert_eq!(step(&state, late), "use", "the old one holds still");
    }

    #[test]
    fn a_refused_token_is_replaced_once_and_not_again_at_once() {
        let now = Instant::now();
        let mut state = State::default();
        let first = state.ended(fetched(HOUR), now, now).unwrap();
        assert!(state.reject(&first, now));
        assert_eq!(step(&state, now), "fetch");
        let second = state.ended(fetched(HOUR), now, now).unwrap();
        assert!(
            state.reject(&first, now),
            "somebody came with the first one"
        );
        assert_eq!(step(&state, now), "use");
        assert!(!state.reject(&second, now));
        assert_eq!(step(&state, now), "use");
        let later = now + limits::TOKEN_REJECTED_REST;
        assert!(state.reject(&second, later));
        assert_eq!(step(&state, later), "fetch");
    }
}
