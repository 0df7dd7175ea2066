//! Asks a target whether it wants events, and reads what it answers (CloudEvents "HTTP 1.1 Web
//! Hooks", section 4).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use tower::ServiceExt;

use super::attempt::Sender;
use super::draft::Draft;
use super::wire;
use crate::limits;
use crate::rule::{RateLimit, Target, Validation};

pub(crate) const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// What a target says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It takes events, at this rate at most.
    Granted {
        most: Option<RateLimit>,
    },
    Refused(String),
}

/// How it stands with a target's agreement.
#[derive(Debug)]
pub(crate) enum Consent {
    NotNeeded,
    /// To be asked for, or under way.
    Wanted {
        refusals: u32,
        /// What was answered last.
        reason: Option<String>,
    },
    Granted {
        most: Option<RateLimit>,
    },
}

impl Consent {
    pub(crate) fn of(target: Option<&Target>) -> Consent {
        match target.and_then(|target| target.validation.as_ref()) {
            None => Consent::NotNeeded,
            Some(_) => Consent::Wanted {
                refusals: 0,
                reason: None,
            },
        }
    }

    /// As a target's status shows it.
    pub(crate) fn as_str(&self) -> Option<&'static str> {
        match self {
            Consent::NotNeeded => None,
            Consent::Wanted { reason: None, .. } => Some("pending"),
            Consent::Wanted { .. } => Some("refused"),
            Consent::Granted { .. } => Some("granted"),
        }
    }

    /// The rate that holds: the rule's, or a slower one that the target allows.
    pub(crate) fn rate(&self, own: Option<RateLimit>) -> Option<RateLimit> {
        let Consent::Granted { most: Some(most) } = self else {
            return own;
        };
        match own {
            Some(own) if own.interval() >= most.interval() => Some(own),
            _ => Some(*most),
        }
    }

    /// How long to wait before asking again.
    pub(crate) fn wait(&self, random: f64) -> Duration {
        let refusals = match self {
            Consent::Wanted { refusals, .. } => *refusals,
            _ => 0,
        };
        let bound = limits::CONSENT_WAIT
            .saturating_mul(1 << refusals.saturating_sub(1).min(16))
            .min(limits::CONSENT_WAIT_MAX);
        bound / 2 + (bound / 2).mul_f64(random.clamp(0.0, 1.0))
    }
}

/// Whether what was agreed with the one holds for the other.
pub(crate) fn is_same(one: &Target, other: &Target) -> bool {
    one.validation == other.validation
        && one.url == other.url
        && one.request == other.request
        && one.rate_limit == other.rate_limit
}

impl Sender {
    /// Asks a target for its agreement.
    pub(crate) async fn ask_consent(&self, target: &Target, validation: &Validation) -> Answer {
        let mut request = match question(target, validation) {
            Ok(request) => request,
            Err(reason) => return Answer::Refused(reason),
        };
        let (service, shown) = match self.way_to(target).await {
            Ok(way) => way,
            Err(outcome) => return Answer::Refused(outcome.error().unwrap_or_default()),
        };
        shown.put_on(&mut request);
        let deadline = Instant::now() + target.timeout;
        let sending = service.oneshot(request);
        match tokio::time::timeout_at(deadline, sending).await {
            Ok(Ok(response)) => judge(
                validation,
                target.rate_limit.is_some(),
                response.status(),
                response.headers(),
            ),
            Ok(Err(error)) => Answer::Refused(match wire::refusal(&*error) {
                Some(refusal) => refusal.to_string(),
                None => wire::describe(&*error),
            }),
            Err(_) => Answer::Refused(format!("no answer within {:?}", target.timeout)),
        }
    }
}

/// The request for agreement: to the exact URL of the deliveries, with the headers of the rule (and,
/// later, its credentials), since a gateway in between may want them.
fn question(target: &Target, validation: &Validation) -> Result<reqwest::Request, String> {
    let url = Draft::url_of_all(target)?;
    let mut request = reqwest::Request::new(Method::OPTIONS, url);
    let headers = request.headers_mut();
    headers.extend(target.headers.clone());
    headers.insert(http::header::USER_AGENT, super::attempt::AGENT);
    headers.insert(REQUEST_ORIGIN, validation.origin.clone());
    if let Some(rate) = target.rate_limit {
        headers.insert(REQUEST_RATE, HeaderValue::from(rate.per_minute()));
    }
    Ok(request)
}

/// Reads the answer. Only the headers say yes; a status alone proves nothing, since many a server
/// answers OPTIONS to anybody.
fn judge(
    validation: &Validation,
    asked_for_rate: bool,
    status: StatusCode,
    headers: &HeaderMap,
) -> Answer {
    let refused = |reason: &str| Answer::Refused(format!("it answered {status} {reason}"));
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !status.is_success() {
        return refused("to OPTIONS");
    }
    match text(ALLOWED_ORIGIN).map(str::trim) {
        Some("*") => {}
        Some(origin)
            if origin
                .as_bytes()
                .eq_ignore_ascii_case(validation.origin.as_bytes()) => {}
        Some(_) => return refused("with another `WebHook-Allowed-Origin`"),
        None => return refused("without `WebHook-Allowed-Origin`"),
    }
    match text(ALLOWED_RATE).map(str::trim) {
        Some("*") => Answer::Granted { most: None },
        Some(rate) => match rate.parse::<u32>().ok().filter(|rate| *rate > 0) {
            Some(rate) => Answer::Granted {
                most: RateLimit::in_a_minute(rate),
            },
            None => refused("with a `WebHook-Allowed-Rate` that is no number of requests"),
        },
        None if asked_for_rate => refused("without `WebHook-Allowed-Rate`"),
        None => Answer::Granted { most: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Option<RateLimit> {
        Some(RateLimit::parse(text).unwrap())
    }

    #[track_caller]
    fn check(
        asked: bool,
        status: u16,
        headers: &[(&str, &str)],
        expected: Result<Option<&str>, &str>,
    ) {
        let validation = Validation {
            origin: HeaderValue::from_static("bus.example.com"),
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        match (judge(&validation, asked, status, &headers), expected) {
            (Answer::Granted { most }, Ok(expected)) => {
                assert_eq!(most, expected.and_then(RateLimit::parse));
            }
            (Answer::Refused(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (answer, expected) => panic!("{answer:?}, not {expected:?}"),
        }
    }

    #[test]
    fn only_the_headers_say_yes() {
        let (origin, rate) = ("WebHook-Allowed-Origin", "WebHook-Allowed-Rate");
        check(
            false,
            200,
            &[],
            Err("200 OK without `WebHook-Allowed-Origin`"),
        );
        check(false, 204, &[(origin, "*"), (rate, "*")], Ok(None));
        check(
            false,
            200,
            &[(origin, "BUS.example.com"), (rate, "120")],
            Ok(Some("120/m")),
        );
        check(false, 200, &[(origin, "*"), (rate, "4000000000")], Ok(None));
        check(
            false,
            200,
            &[(origin, "other.example.com"), (rate, "*")],
            Err("another"),
        );
        check(
            false,
            200,
            &[(origin, "*.example.com"), (rate, "*")],
            Err("another"),
        );
        check(false, 200, &[(origin, "")], Err("another"));
        check(
            false,
            200,
            &[(rate, "*")],
            Err("without `WebHook-Allowed-Origin`"),
        );
        check(false, 200, &[(origin, "*")], Ok(None));
        check(
            true,
            200,
            &[(origin, "*")],
            Err("without `WebHook-Allowed-Rate`"),
        );
        for bad in ["0", "-1", "1.5", "fast", "", "1/s"] {
            check(false, 200, &[(origin, "*"), (rate, bad)], Err("no number"));
        }
        for status in [302, 405, 503] {
            check(
                false,
                status,
                &[(origin, "*"), (rate, "*")],
                Err("to OPTIONS"),
            );
        }
    }

    #[test]
    fn the_slower_rate_holds() {
        let granted = |most| Consent::Granted { most };
        assert_eq!(granted(None).rate(rate("5/s")), rate("5/s"));
        assert_eq!(granted(rate("60/m")).rate(None), rate("60/m"));
        assert_eq!(granted(rate("60/m")).rate(rate("5/s")), rate("60/m"));
        assert_eq!(granted(rate("600/m")).rate(rate("5/s")), rate("5/s"));
        assert_eq!(Consent::NotNeeded.rate(rate("5/s")), rate("5/s"));
    }

    #[test]
    fn waits_grow_to_their_bound() {
        let wait = |refusals| {
            let reason = Some(String::new());
            Consent::Wanted { refusals, reason }.wait(1.0)
        };
        assert_eq!(wait(1), limits::CONSENT_WAIT);
        assert_eq!(wait(2), limits::CONSENT_WAIT * 2);
        assert_eq!(wait(40), limits::CONSENT_WAIT_MAX);
    }
}
