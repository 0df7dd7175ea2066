//! A secret in memory: its versions, which show themselves to nobody who does not ask by name.

use std::fmt;

use zeroize::Zeroizing;

use crate::clock::Timestamp;

/// Text that must not be seen: wiped from memory when dropped, and `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Whoever asks answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// One value that a secret has or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Counts up from 1 with each value of the secret.
    pub number: u32,
    pub created: Timestamp,
    /// From when on it holds no longer; `None` for the newest.
    pub expires: Option<Timestamp>,
    pub value: SecretText,
}

impl Version {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|until| now < until)
    }
}

/// All versions of a secret, the newest first; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub(super) versions: Vec<Version>,
}

impl Secret {
    /// The newest version: what is used where there can be one only.
    #[must_use]
    pub fn newest(&self) -> &Version {
        self.versions.first().expect("a secret has a version")
    }

    /// All of them, the newest first; some may hold no longer.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Every version that holds at `now`, the newest first: a receiver that knows one of them only,
    /// in the middle of a rotation, must be served.
    pub fn holding(&self, now: Timestamp) -> impl Iterator<Item = &Version> {
        self.versions
            .iter()
            .filter(move |version| version.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let version = Version {
            number: 1,
            created: Timestamp::from_millis(0),
            expires: None,
            value: SecretText::new("hunter2".to_owned()),
        };
        let shown = format!("{:?} {version:#?}", version.value);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
