//! Enables or disables a rule by editing that one word of its text: the rest stays as its author
//! wrote it.

use super::problem::Problems;
use super::reader::Node;

/// The rule's text with `enabled` set. `text` must be a valid rule.
pub(super) fn set_enabled(text: &str, enabled: bool) -> String {
    let node = Node::document(text, &mut Problems::default());
    let members = node.as_ref().and_then(Node::entries).unwrap_or_default();
    if let Some((_, value)) = members.iter().find(|(name, _)| name == "enabled") {
        let (start, end) = (value.offset(), value.offset() + value.raw().len());
        return format!("{}{enabled}{}", &text[..start], &text[end..]);
    }
    let Some((name, first)) = members.first() else {
        return text.to_owned();
    };
    // Before the first member, with the blanks that stand before that one.
    let open = node.as_ref().map_or(0, Node::offset) + 1;
    let name_at = text[open..first.offset()]
        .find('"')
        .map_or_else(|| first.key_offset(name), |quote| open + quote);
    let blank = &text[open..name_at];
    let between = if blank.is_empty() { " " } else { blank };
    format!(
        "{}{blank}\"enabled\": {enabled},{between}{}",
        &text[..open],
        &text[name_at..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_word_changes() {
        for (text, expected) in [
            (
                r#"{"enabled":true, "n": 1.50}"#,
                r#"{"enabled":false, "n": 1.50}"#,
            ),
            (r#"{"n": 1.50}"#, r#"{"enabled": false, "n": 1.50}"#),
            (
                "{\n  \"n\": 1\n}\n",
                "{\n  \"enabled\": false,\n  \"n\": 1\n}\n",
            ),
            (
                "{ \"\\u006e\": {\"enabled\": true} }",
                "{ \"enabled\": false, \"\\u006e\": {\"enabled\": true} }",
            ),
            (
                r#"{"n": {"enabled": true}, "en\u0061bled": true}"#,
                r#"{"n": {"enabled": true}, "en\u0061bled": false}"#,
            ),
        ] {
            assert_eq!(set_enabled(text, false), expected);
        }
    }
}
