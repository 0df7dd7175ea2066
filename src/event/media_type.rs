//! Media types: their grammar (RFC 2046, as RFC 9110 section 8.3.1 writes it) and what they say
//! about data.

/// Whether the text is `type/subtype` with well-formed parameters and no blanks around it.
#[must_use]
pub fn is_media_type(text: &str) -> bool {
    let Some((_, rest)) = token(text) else {
        return false;
    };
    let Some((_, mut rest)) = rest.strip_prefix('/').and_then(token) else {
        return false;
    };
    while !rest.is_empty() {
        let Some(after) = rest.trim_start_matches([' ', '\t']).strip_prefix(';') else {
            return false;
        };
        let parameter_text = after.trim_start_matches([' ', '\t']);
        // RFC 9110 lets a parameter be missing after its semicolon, and senders do it. A blank at
        // the very end stays refused: HTTP would lose it on the way.
        if after.is_empty() || parameter_text.starts_with(';') {
            rest = parameter_text;
            continue;
        }
        match parameter(parameter_text) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Splits a token off the front.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|b| !is_token_byte(b))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What follows `name=value` at the front, the value a token or a quoted string.
fn parameter(text: &str) -> Option<&str> {
    let (_, rest) = token(text)?;
    let rest = rest.strip_prefix('=')?;
    let Some(quoted) = rest.strip_prefix('"') else {
        return token(rest).map(|(_, rest)| rest);
    };
    let mut escaped = false;
    for (at, b) in quoted.bytes().enumerate() {
        match b {
            // Only what may stand in a header as it is, since a delivery sends the value as it is.
            b if !matches!(b, 0x20..=0x7E) => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return quoted.get(at + 1..),
            _ => {}
        }
    }
    None
}

/// Type and subtype, parameters stripped.
pub(super) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn subtype_of(media_type: &str) -> &str {
    essence(media_type).split_once('/').map_or("", |(_, s)| s)
}

fn ends_with(text: &str, end: &str) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|at| text.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// Whether the type declares JSON: `*/json` or `*/*+json` (JSON format, section 3.1.1).
pub(super) fn is_json(media_type: &str) -> bool {
    let subtype = subtype_of(media_type);
    subtype.eq_ignore_ascii_case("json") || ends_with(subtype, "+json")
}

/// Types outside `text/*` that are text by their definition.
const TEXT_SUBTYPES: [&str; 14] = [
    "xml",
    "yaml",
    "x-yaml",
    "toml",
    "javascript",
    "ecmascript",
    "x-javascript",
    "x-www-form-urlencoded",
    "graphql",
    "sql",
    "ndjson",
    "x-ndjson",
    "jsonl",
    "json-seq",
];

/// Whether bytes of this type, when they are UTF-8, are that text: a textual type that declares no
/// other character set. It goes by the type and not by the bytes alone, so that one sender's
/// events do not come as `data` and as `data_base64` by turns.
pub(super) fn is_utf8_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let textual = kind.eq_ignore_ascii_case("text")
        || TEXT_SUBTYPES
            .iter()
            .any(|text| subtype.eq_ignore_ascii_case(text))
        || ends_with(subtype, "+xml")
        || ends_with(subtype, "+yaml");
    textual
        && media_type
            .split(';')
            .skip(1)
            .all(|parameter| match parameter.split_once('=') {
                Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                    ["utf-8", "utf8", "us-ascii"]
                        .iter()
                        .any(|utf8| value.trim().trim_matches('"').eq_ignore_ascii_case(utf8))
                }
                _ => true,
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_follow_their_grammar() {
        for good in [
            "a/b",
            "application/vnd.a-b.c+json",
            "text/plain;charset=utf-8",
            "text/plain ; charset=\"utf-8\"; a=b",
            "text/plain;",
            "text/plain;;a=b",
            "x/y; q=\"a;b \\\" c\"",
        ] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in [
            "",
            "text",
            "/plain",
            "text/",
            "text/plain/x",
            " text/plain",
            "text/plain ",
            "text/plain; ",
            "text /plain",
            "text/plain, text/html",
            "text/plain; charset",
            "text/plain; charset=",
            "text/plain; charset=\"utf-8",
            "text/plain; a=\"b\"c",
            "text/pläin",
            "text/plain; a=\"ä\"",
        ] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }

    #[test]
    fn a_type_says_whether_data_is_json_or_text() {
        for json in [
            "application/json",
            "TEXT/JSON; x=y",
            "a/b+Json",
            "image/json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for text in [
            "text/html",
            "Text/Plain; charset=UTF-8",
            "application/xml",
            "image/svg+xml",
            "application/yaml",
        ] {
            assert!(!is_json(text) && is_utf8_text(text), "{text}");
        }
        for other in [
            "application/octet-stream",
            "application/jsonx",
            "json/plain",
            "text/plain; charset=iso-8859-1",
            "image/png",
        ] {
            assert!(!is_json(other) && !is_utf8_text(other), "{other}");
        }
    }
}
