//! Which URLs a target may have.

use super::reader::short;
use crate::limits;

/// What the URL parser would mend silently (blanks, missing slashes, backslashes) is refused: the
/// author should read back what they wrote.
pub(super) fn check_url(text: &str) -> Result<reqwest::Url, String> {
    if text.len() > limits::URL_BYTES {
        return Err(format!(
            "a URL has at most {} bytes, this one has {}",
            limits::URL_BYTES,
            text.len()
        ));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| c.is_whitespace() || c.is_control() || *c == '\\')
    {
        return Err(format!("a URL holds no {bad:?}; percent-encode it"));
    }
    let scheme = text
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err(format!(
            "must be a whole URL that starts with `http://` or `https://`; {:?} does not",
            short(text)
        ));
    }
    if text.contains(":///") {
        return Err("has no host between `://` and the path".to_owned());
    }
    let url = reqwest::Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "holds a user or password, which would show in lists and logs; name it in `auth`"
                .to_owned(),
        );
    }
    if url.fragment().is_some() {
        return Err("ends with a fragment (`#…`), which is never sent; remove it".to_owned());
    }
    if url.port() == Some(0) {
        return Err("names port 0, which nobody listens on".to_owned());
    }
    Ok(url)
}
