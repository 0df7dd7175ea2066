//! Names of buses, rules and targets: what may stand in a URL segment and be a file name.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a {0} name must not be empty")]
    Empty(&'static str),
    #[error("a {0} name has at most {max} bytes, this one has {1}", max = limits::NAME_BYTES)]
    TooLong(&'static str, usize),
    #[error(
        "a {0} name holds letters, digits, `.`, `-` and `_` and starts with a letter or digit; {1:?} does not"
    )]
    Character(&'static str, String),
}

fn check(kind: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty(kind));
    }
    if text.len() > limits::NAME_BYTES {
        return Err(NameError::TooLong(kind, text.len()));
    }
    let first_fits = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest_fits = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if first_fits && rest_fits {
        Ok(())
    } else {
        Err(NameError::Character(kind, text.to_owned()))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps a name: 1 to 64 of `A-Z a-z 0-9 . - _`, the first a letter or digit.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check($kind, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// The name of a bus, such as `default`.
    BusName,
    "bus"
);
name!(
    /// The name of a rule within its bus.
    RuleName,
    "rule"
);
name!(
    /// The id of a target within its rule.
    TargetName,
    "target"
);

impl BusName {
    /// A name read back from disk: like [`BusName::new`], but the bus of the frame
    /// before, which most frames share, costs no allocation.
    pub(super) fn known(text: &str) -> Result<Self, NameError> {
        thread_local! {
            static LAST: std::cell::RefCell<Option<BusName>> = const { std::cell::RefCell::new(None) };
        }
        LAST.with_borrow_mut(|last| match last {
            Some(name) if name.as_str() == text => Ok(name.clone()),
            _ => {
                let name = Self::new(text)?;
                *last = Some(name.clone());
                Ok(name)
            }
        })
    }

    /// The bus that always exists.
    #[must_use]
    pub fn default_bus() -> Self {
        Self(Arc::from("default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_url_and_file_safe() {
        for good in ["default", "a", "A.b-c_9", "0x"] {
            assert!(BusName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "ä", "a b", &"x".repeat(65)] {
            assert!(BusName::new(bad).is_err(), "{bad}");
        }
    }
}
