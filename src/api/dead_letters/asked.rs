//! What the audit keeps of a request for many dead letters: what was understood of it, and never a text
//! that may be somebody's secret in the wrong place.

use serde_json::{Value, json};

use super::choose::Request;
use super::show::parse_id;
use crate::api::events::parse_moment;
use crate::audit::MASK;
use crate::delivery::dead_letter::StatusWanted;
use crate::log::{DeadLetterReason, RuleName, TargetName};
use crate::rule::RateLimit;

/// Of a body that does not read, its size.
pub(in crate::api) fn asked(body: &[u8]) -> Value {
    let reads = serde_json::from_slice::<Request>(body).is_ok();
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(mut members)) if reads => {
            for (name, value) in &mut members {
                mask(name, value);
            }
            Value::Object(members)
        }
        _ => json!({"left_out_bytes": body.len()}),
    }
}

/// Masks the texts of a member that are none that may stand there. (An event's type is any text.)
fn mask(name: &str, value: &mut Value) {
    match value {
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(name, value)| mask(name, value)),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(name, item)),
        Value::String(text) if !may_stand(name, text) => *text = MASK.to_owned(),
        _ => {}
    }
}

fn may_stand(name: &str, text: &str) -> bool {
    match name {
        "ids" => parse_id(text).is_some(),
        "rule" => RuleName::new(text).is_ok(),
        "target" => TargetName::new(text).is_ok(),
        "reason" => DeadLetterReason::parse(text).is_some(),
        "status" => StatusWanted::parse(text).is_some(),
        "since" | "until" => parse_moment(text).is_some(),
        "rate" => RateLimit::parse(text).is_some(),
        "type" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_understood_is_kept_and_nothing_else() {
        let check = |body: &str, expected: Value| {
            assert_eq!(asked(body.as_bytes()), expected, "{body}");
        };
        for whole in [
            r#"{"all": true, "dry_run": false}"#,
            r#"{"ids": ["17-120044", "3-5"], "rate": "50/s"}"#,
            r#"{"filter": {"rule": "r", "target": "t", "reason": "refused", "status": "5xx", "type": "a b"}}"#,
            r#"{"filter": {"status": 503, "since": "2026-11-22T19:30:00Z"}, "to": {"rule": "r", "target": "t"}}"#,
        ] {
            check(whole, serde_json::from_str(whole).unwrap());
        }
        check(
            r#"{"ids": ["17-120044", "hunter 2"], "rate": "hunter2"}"#,
            json!({"ids": ["17-120044", "***"], "rate": "***"}),
        );
        check(
            r#"{"filter": {"rule": "hunter 2", "reason": "hunter2", "until": "hunter2", "after": "hunter2"}}"#,
            json!({"filter": {"rule": "***", "reason": "***", "until": "***", "after": "***"}}),
        );
        for (strange, bytes) in [
            (r#"["hunter2"]"#, 11),
            (r#""hunter2""#, 9),
            (r#"{"hunter2": 1}"#, 14),
            (r#"{"ids": ["hunter2"#, 17),
            (r#"{"all": "hunter2"}"#, 18),
            ("hunter2", 7),
            ("", 0),
        ] {
            check(strange, json!({"left_out_bytes": bytes}));
        }
    }
}
