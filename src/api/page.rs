//! Pages of lists: how many are wanted, behind which one, and where the next page begins.
//!
//! Each list has a kind of place of its own, which stands in its `next` and comes back as `after`.
//! Callers take it as it is: what it says is nobody's business but the list's.

use serde::Deserialize;
use utoipa::IntoParams;

use super::Problem;
use crate::limits;

/// A place in a list, behind which a page begins.
pub(super) trait Cursor: Sized {
    /// As it stands in a `next`.
    fn write(&self) -> String;

    /// What `write` wrote; `None` for anything else.
    fn read(text: &str) -> Option<Self>;
}

/// Which page of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// How many are wanted; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000, example = 10)]
    pub(super) limit: Option<usize>,
    /// The `next` of the page before.
    #[param(example = "a")]
    pub(super) after: Option<String>,
}

impl Page {
    /// How many are wanted, within bounds.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(limits::PAGE_ITEMS_DEFAULT),
            Some(limit) if (1..=limits::PAGE_ITEMS).contains(&limit) => Ok(limit),
            Some(limit) => Err(Problem::malformed(format!(
                "`limit` is {limit}; it goes from 1 to {}.",
                limits::PAGE_ITEMS
            ))),
        }
    }

    /// Where the page begins; `None` at the beginning of the list.
    pub(super) fn after<C: Cursor>(&self) -> Result<Option<C>, Problem> {
        let Some(text) = &self.after else {
            return Ok(None);
        };
        let cursor = C::read(text);
        cursor.map(Some).ok_or_else(|| {
            // Not repeated: in the list of keys it may be a whole one.
            Problem::malformed(
                "`after` is no place in this list; pass the `next` of the page before as it came, or leave `after` out to begin at the start.",
            )
        })
    }

    /// Cuts the page out of a list that is in order of its places, and says where the next begins.
    pub(super) fn cut<T, C: Cursor + Ord>(
        &self,
        list: impl IntoIterator<Item = T>,
        place: impl Fn(&T) -> C,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let (limit, after) = (self.limit()?, self.after::<C>()?);
        let behind = |item: &T| after.as_ref().is_none_or(|after| place(item) > *after);
        let mut left = list.into_iter().filter(behind);
        let page: Vec<T> = left.by_ref().take(limit).collect();
        let is_last = left.next().is_none();
        let next = page.last().filter(|_| !is_last);
        let next = next.map(|last| place(last).write());
        Ok((page, next))
    }
}

/// A name stands for itself.
macro_rules! names {
    ($($name:ty),*) => {$(
        impl Cursor for $name {
            fn write(&self) -> String {
                self.as_str().to_owned()
            }

            fn read(text: &str) -> Option<Self> {
                Self::new(text).ok()
            }
        }
    )*};
}

names!(
    crate::log::BusName,
    crate::log::RuleName,
    crate::log::TargetName,
    crate::secret::SecretName
);

impl Cursor for crate::access::KeyId {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

/// The number of a job.
impl Cursor for u64 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<usize>, after: Option<&str>) -> Page {
        let after = after.map(str::to_owned);
        Page { limit, after }
    }

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let cut = |limit, after: Option<&str>| page(limit, after).cut([1, 4, 9], |n: &u64| *n);
        let check = |limit, after, list: &[u64], next: Option<&str>| {
            let (page, said) = cut(Some(limit), after).unwrap();
            assert_eq!((&*page, said.as_deref()), (list, next), "{limit} {after:?}");
        };
        check(2, None, &[1, 4], Some("4"));
        check(2, Some("4"), &[9], None);
        check(3, None, &[1, 4, 9], None);
        // What it names may be gone.
        check(1, Some("3"), &[4], Some("4"));
        check(1, Some("9"), &[], None);
        for (limit, after) in [(Some(0), None), (Some(1_001), None), (None, Some("x"))] {
            let problem = cut(limit, after).unwrap_err();
            assert_eq!(problem.status(), 400, "{limit:?} {after:?}");
        }
    }

    #[test]
    fn only_what_was_written_is_read() {
        for bad in ["", "+1", "-1", "1 ", "x", "99999999999999999999999"] {
            assert_eq!(u64::read(bad), None, "{bad}");
        }
        assert_eq!(u64::read("17"), Some(17));
    }
}
