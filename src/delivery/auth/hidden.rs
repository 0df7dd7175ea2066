//! Takes the values of secrets out of texts, in every form in which they may come back.

use std::fmt;
use std::sync::Arc;

use base64::engine::GeneralPurpose;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, Engine as _};
use zeroize::Zeroizing;

use super::tokens::Token;
use crate::secret::Secret;

/// What stands in the place of a value.
const INSTEAD: &str = "<secret>";
/// A shorter value is no secret, and would make texts unreadable.
const SHORTEST: usize = 4;

/// Values that must not be written down.
#[derive(Default)]
pub(super) struct Hidden(What);

#[derive(Default)]
enum What {
    #[default]
    Nothing,
    Secret(Arc<Secret>),
    Basic(String, Arc<Secret>),
    Token(Arc<Token>),
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Hidden {
    pub(super) fn secret(secret: Arc<Secret>) -> Self {
        Self(What::Secret(secret))
    }

    pub(super) fn basic(username: String, secret: Arc<Secret>) -> Self {
        Self(What::Basic(username, secret))
    }

    pub(super) fn token(token: Arc<Token>) -> Self {
        Self(What::Token(token))
    }

    fn value(&self) -> Option<&str> {
        match &self.0 {
            What::Nothing => None,
            What::Secret(secret) | What::Basic(_, secret) => Some(secret.newest().value.expose()),
            What::Token(token) => Some(token.text.expose()),
        }
    }

    /// The value in every form, the longest first, so that no part of one is left.
    fn forms(&self) -> Vec<Zeroizing<String>> {
        let Some(value) = self.value() else {
            return Vec::new();
        };
        let quoted = serde_json::to_string(value).unwrap_or_default();
        let mut forms = vec![
            value.to_owned(),
            quoted.trim_matches('"').to_owned(),
            form_urlencoded::byte_serialize(value.as_bytes()).collect(),
            percent_encoded(value),
            BASE64_STANDARD_NO_PAD.encode(value),
        ];
        if let What::Basic(username, _) = &self.0 {
            forms.push(BASE64_STANDARD.encode(format!("{username}:{value}")));
        }
        for engine in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
            forms.extend((0..3).filter_map(|before| within_base64(engine, before, value)));
        }
        forms.retain(|form| form.len() >= SHORTEST);
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        forms.into_iter().map(Zeroizing::new).collect()
    }

    /// Takes it out of a text, which may have been cut off within a value.
    pub(super) fn take_out_of(&self, text: &mut String) {
        if text.is_empty() {
            return;
        }
        for form in self.forms() {
            if text.contains(form.as_str()) {
                *text = text.replace(form.as_str(), INSTEAD);
            }
            let beginnings = (SHORTEST..form.len()).rev();
            let mut beginnings = beginnings.filter_map(|length| form.get(..length));
            if let Some(left) = beginnings.find(|left| text.ends_with(left)) {
                text.truncate(text.len() - left.len());
            }
        }
    }
}

/// What base64 shows of a value that stands within a longer text, `before` bytes behind a multiple of
/// three: all but the characters that its neighbours have a part in. Only what is long enough not to
/// be met by chance.
fn within_base64(engine: &GeneralPurpose, before: usize, value: &str) -> Option<String> {
    let text = engine.encode([&b"\0\0"[..before], value.as_bytes()].concat());
    let first = [0, 2, 3][before];
    let end = (before + value.len()) * 8 / 6;
    let shown = text.get(first..end)?;
    (shown.len() >= 2 * SHORTEST).then(|| shown.to_owned())
}

/// As it stands in a URL's path, where a blank is `%20`.
fn percent_encoded(value: &str) -> String {
    let form: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    form.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::secret::{SecretName, SecretText, Secrets};

    fn secret(value: &str) -> Arc<Secret> {
        let secrets = Secrets::in_memory(Clock::manual(Timestamp::from_millis(0)));
        let name = SecretName::new("s").unwrap();
        let text = SecretText::new(value.to_owned());
        secrets.set(&name, text, std::time::Duration::ZERO).unwrap()
    }

    #[track_caller]
    fn check(hidden: &Hidden, text: &str, expected: &str) {
        let mut text = text.to_owned();
        hidden.take_out_of(&mut text);
        assert_eq!(text, expected);
    }

    #[test]
    fn a_value_is_taken_out_of_base64_wherever_it_stands() {
        let hidden = Hidden::secret(secret("long/enough~to?be>found"));
        for (before, behind) in [("", "!"), ("a", ""), ("ab", " and more"), ("Bearer ", "\n")] {
            for engine in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
                let all = format!("{before}long/enough~to?be>found{behind}");
                let mut text = engine.encode(&all);
                hidden.take_out_of(&mut text);
                assert!(text.contains("<secret>"), "{all}: {text}");
                // What is left are the neighbours, and at most a few bits of the value.
                let left = text.len() - "<secret>".len();
                assert!(
                    left <= (before.len() + behind.len()) * 4 / 3 + 8,
                    "{all}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_value_is_taken_out_in_every_form() {
        let hidden = Hidden::secret(secret("p&ss \"w/rd"));
        for form in [
            "p&ss \"w/rd",
            "p%26ss+%22w%2Frd",
            "p%26ss%20%22w%2Frd",
            "p&ss \\\"w/rd",
            "cCZzcyAidy9yZA",
        ] {
            check(&hidden, &format!("a {form} b"), "a <secret> b");
        }
        check(&hidden, "nothing of it", "nothing of it");
        let basic = Hidden::basic("user".to_owned(), secret("pass"));
        check(&basic, "Basic dXNlcjpwYXNz?", "Basic <secret>?");
        check(&basic, "user:pass", "user:<secret>");
        check(&basic, "cut off: dXNlcjpwYX", "cut off: ");
        check(&basic, "cut off: dXN", "cut off: dXN");
        check(&Hidden::default(), "pass", "pass");
        check(&Hidden::secret(secret("abc")), "abc", "abc");
    }
}
