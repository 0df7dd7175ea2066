//! How deep JSON nests, for those who go on to readers that recurse.

/// `[` or `{`: they differ in one bit.
fn opens(b: u8) -> bool {
    b | 0x20 == b'{'
}

/// How many bytes open an array or object, those inside strings too. Counting in bytes, a chunk at
/// a time, lets the compiler compare many at once.
fn count_opens(text: &str) -> usize {
    let chunks = text.as_bytes().chunks(usize::from(u8::MAX));
    chunks
        .map(|chunk| usize::from(chunk.iter().map(|b| u8::from(opens(*b))).sum::<u8>()))
        .sum()
}

/// Where valid JSON passes the depth, as a byte offset. Nearly all documents hold fewer brackets
/// than the limit allows levels, and counting those is cheap.
pub(crate) fn too_deep(valid: &str, limit: usize) -> Option<usize> {
    if count_opens(valid) <= limit {
        return None;
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, b) in valid.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b if opens(b) => {
                depth += 1;
                if depth > limit {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (json, deepest) in [
            ("1", 0),
            ("[]", 1),
            ("[[],[],[],[]]", 2),
            (r#"{"a":[{"b":1}]}"#, 3),
            (r#"["[[[[", "\"[[[", {}]"#, 2),
            (r#"["\\", [[]]]"#, 3),
            (r#"{"a":"[[[[\"{{{"}"#, 1),
        ] {
            assert_eq!(too_deep(json, deepest), None, "{json}");
            if let Some(shallower) = deepest.checked_sub(1) {
                assert!(too_deep(json, shallower).is_some(), "{json}");
            }
        }
    }
}
