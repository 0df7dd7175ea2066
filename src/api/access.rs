//! Lets a request through to its handler when its caller may make it.

use std::sync::Arc;

use axum::RequestExt as _;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Api, Problem, audit, web_page};
use crate::access::{Caller, KeyId, Mode, Refused, Scope, TokenError};
use crate::audit::Actor;
use crate::log::{BusName, RuleName, TargetName};

/// What a route wants of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: everybody may ask.
    Nothing,
    /// `publish` on the bus of the path, or on `default` where the path names none. Publishing asks
    /// by itself, since it does not always come through the routes and looks at events too.
    Publish,
    /// `consume` on the target of the path.
    Consume,
    /// The scope on the bus of the path.
    OnBus(Scope),
    /// The scope on all buses: what is asked for belongs to none of them.
    OnAll(Scope),
    /// The scope on some bus; the answer tells of no bus, or only of those of the caller's.
    OnAny(Scope),
}

impl Api {
    /// Who asks.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.access.mode() == Mode::Unsaid {
            web_page::check(headers)?;
        }
        let shown = bearer(headers);
        let mut admitted = self.access.admit(shown);
        if matches!(admitted, Err(Refused::Token(TokenError::UnknownSigner))) {
            // The provider may have begun to sign with a new one.
            self.access.learn_signers().await;
            admitted = self.access.admit(shown);
        }
        admitted.map_err(|refused| {
            tracing::debug!(%refused, "a caller is not let in");
            refused.into()
        })
    }

    /// Who asks, for the audit: also one whose key holds no longer.
    pub(super) fn who(&self, headers: &HeaderMap) -> Actor {
        let shown = bearer(headers);
        match self.access.recognise(shown) {
            Ok(caller) => audit::actor(&caller),
            Err(refused) => {
                let prefix = shown.and_then(KeyId::of_key);
                let known = refused.whose().zip(prefix);
                known.map_or(Actor::Stranger, |(name, prefix)| Actor::Key {
                    prefix: prefix.to_string(),
                    name: name.to_string(),
                })
            }
        }
    }

    /// Whether who asks would be let in to use this bus in any way, and so may know of it.
    pub(super) fn may_know_of(&self, headers: &HeaderMap, bus: &BusName) -> bool {
        let is_page = self.access.mode() == Mode::Unsaid && web_page::check(headers).is_err();
        let mut scopes = [Scope::Publish, Scope::Read].into_iter();
        !is_page && scopes.any(|scope| self.may_go_on(headers, scope, bus))
    }

    /// Whether a caller who was let in would be still, on this bus.
    pub(super) fn may_go_on(&self, headers: &HeaderMap, scope: Scope, bus: &BusName) -> bool {
        let caller = self.access.recognise(bearer(headers));
        caller.is_ok_and(|caller| caller.may(scope, bus))
    }
}

/// The key that a request shows (RFC 6750, section 2.1). Two headers are none: a proxy might have
/// judged by the other one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return None;
    };
    let (scheme, key) = one.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The layer around every handler whose route needs something.
pub(super) async fn guard(
    State((api, need)): State<(Arc<Api>, Need)>,
    mut request: Request,
    next: Next,
) -> Response {
    match judge(&api, need, &mut request).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn judge(api: &Api, need: Need, request: &mut Request) -> Result<Caller, Problem> {
    let caller = api.admit(request.headers()).await?;
    match need {
        Need::OnBus(scope) if caller.is_bounded() => {
            let bus = bus(request).await?;
            check(&caller, scope, &bus)?;
        }
        Need::Consume if caller.is_bounded() => {
            let bus = bus(request).await?;
            let rule = RuleName::new(&named(request, "rule").await?)?;
            let target = TargetName::new(&named(request, "target").await?)?;
            if !caller.may_consume(&bus, &rule, &target) {
                let place = format!("on the target `{rule}/{target}` of the bus `{bus}`");
                return Err(Problem::forbidden(Scope::Consume, &place));
            }
        }
        Need::OnAll(scope) if !caller.may_on_all(scope) => {
            return Err(Problem::forbidden(scope, "on all buses"));
        }
        Need::OnAny(scope) if !caller.may_on_any(scope) => {
            return Err(Problem::forbidden(scope, "on any bus"));
        }
        _ => {}
    }
    Ok(caller)
}

/// Whether the caller has the scope on the bus; else 403, also when there is no such bus: who may
/// not look at it is not told.
pub(super) fn check(caller: &Caller, scope: Scope, bus: &BusName) -> Result<(), Problem> {
    match caller.may(scope, bus) {
        true => Ok(()),
        false => Err(Problem::forbidden(scope, &format!("on the bus `{bus}`"))),
    }
}

/// The bus of the path, as the handler will read it.
async fn bus(request: &mut Request) -> Result<BusName, Problem> {
    Ok(BusName::new(&named(request, "bus").await?)?)
}

/// A part of the path, which the route has.
async fn named(request: &mut Request, part: &str) -> Result<String, Problem> {
    let params = request.extract_parts::<RawPathParams>().await;
    let params = params.map_err(|error| {
        Problem::malformed(format!("The path is wrong: {}.", error.body_text()))
    })?;
    let found = params.iter().find(|(name, _)| *name == part);
    let (_, value) = found.expect("the route has such a part");
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_as_one_bearer_token() {
        let check = |values: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer(&headers), expected, "{values:?}");
        };
        check(&["Bearer abc"], Some("abc"));
        check(&["bearer  abc "], Some("abc"));
        check(&[], None);
        check(&["abc"], None);
        check(&["Basic abc"], None);
        check(&["Bearer abc", "Bearer abc"], None);
        check(&["Bearer é"], None);
    }
}
