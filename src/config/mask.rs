//! Takes out of a setting's value what may be secret: settings are printed and pasted.

/// Stands for it.
pub(super) const MASK: &str = "***";

/// Digits of a key that this many of are no name of a file.
const KEY_DIGITS: usize = 32;

/// The value without the user and the query of a URL, and without a key that stands where its file's
/// name was wanted.
pub(super) fn masked(value: &str) -> String {
    let is_key = value.len() >= KEY_DIGITS && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_key || value.starts_with("eyk_") {
        return MASK.to_owned();
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, format!("?{MASK}")),
        None => (rest, String::new()),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    format!("{scheme}://{host}{path}{query}")
}
