//! Walks from an error down to what caused it.

use std::error::Error;
use std::io;

/// The error and what is below it, outermost first.
pub(crate) fn chain<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// The first error of that type on the way down.
pub(crate) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Why a TLS connection failed, where this is the error that says so: it stands inside an I/O
/// error, through however many wrappings, and not below it.
pub(crate) fn tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref().or_else(|| tls(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn what_is_below_is_found_and_what_stands_inside() {
        let inside = rustls::Error::DecryptError;
        let wrapped = io::Error::other(io::Error::other(inside.clone()));
        let error = Outer(wrapped);
        assert_eq!(chain(&error).count(), 2);
        let found = find::<io::Error>(&error).expect("it is below");
        assert_eq!(tls(found), Some(&inside));
        assert_eq!(tls(&error), None);
        assert!(find::<std::fmt::Error>(&error).is_none());
    }
}
