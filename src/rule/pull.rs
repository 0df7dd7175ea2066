//! `pull`: a target that is sent nothing; its subscriber asks for what is there.

use std::time::Duration;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::bounded::read_duration;
use super::duration;
use super::problem::Problems;
use super::reader::{Node, Object, Shape};
use super::target_document::TargetDocument;
use crate::limits;

pub(super) const PULL: Shape = Shape {
    what: "`pull`",
    fields: &["lease", "max_leases"],
    later: &[],
    elsewhere: &[
        ("rate_limit", "beside `pull`, into the target"),
        ("retry", "beside `pull`, into the target"),
        ("transform", "beside `pull`, into the target"),
        ("ordering_key", "beside `pull`, into the target"),
        ("dead_letter", "beside `pull`, into the target"),
        ("max", "into the request that pulls"),
        ("wait", "into the request that pulls"),
    ],
};

/// How deliveries are leased to those who pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pull {
    /// How long a puller has for a delivery, unless it asks for another time. Default 30s.
    #[serde(serialize_with = "duration::serialize")]
    pub lease: Duration,
    /// Deliveries that are leased at once, to all pullers together. Default 1000.
    pub max_leases: usize,
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Pull> {
    let object = node.object(&PULL, problems)?;
    let lease = read_duration(
        &object,
        "lease",
        limits::PULL_LEASE_DEFAULT,
        (limits::PULL_LEASE_MIN, limits::PULL_LEASE_MAX),
        problems,
    );
    let max_leases = match object.field("max_leases") {
        Some(node) => node.integer(1, limits::PULL_LEASES_MAX as u64, problems),
        None => Some(limits::PULL_LEASES_DEFAULT as u64),
    };
    Some(Pull {
        lease: lease?,
        max_leases: usize::try_from(max_leases?).ok()?,
    })
}

/// Stands in the place of the URL that it has not.
pub(super) fn no_url() -> (String, reqwest::Url) {
    const NOWHERE: &str = "pull:";
    let url = reqwest::Url::parse(NOWHERE).expect("a scheme and an empty path are a URL");
    (NOWHERE.to_owned(), url)
}

/// The targets as documents; of those that are pulled what would be about requests is left out.
pub(super) fn serialize_targets<S: Serializer>(
    targets: &[TargetDocument],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Shown<'a> {
        SentTo(&'a TargetDocument),
        Pulled(serde_json::Value),
    }
    let shown = targets.iter().map(|target| {
        if target.pull.is_none() {
            return Ok(Shown::SentTo(target));
        }
        let mut document = serde_json::to_value(target).map_err(S::Error::custom)?;
        if let Some(fields) = document.as_object_mut() {
            fields.retain(|name, _| !OF_REQUESTS.iter().any(|(of, _)| of == name));
        }
        Ok(Shown::Pulled(document))
    });
    let shown: Vec<Shown<'_>> = shown.collect::<Result<_, S::Error>>()?;
    shown.serialize(serializer)
}

/// What says how requests are made, and why a target that is pulled has none of it.
const OF_REQUESTS: [(&str, &str); 15] = [
    ("url", "nothing is sent to it"),
    ("path", "it has no URL"),
    ("query", "it has no URL"),
    ("method", "nothing is sent to it"),
    ("mode", "who pulls gets each event in the JSON format"),
    ("headers", "nothing is sent to it"),
    (
        "timeout",
        "the lease is the time that a puller has; set `lease` in `pull`",
    ),
    (
        "concurrency",
        "its pullers ask for as much as they bear; `max_leases` in `pull` bounds what is out at once",
    ),
    ("batch", "a puller says how many it wants at once"),
    (
        "signing",
        "who pulls has asked the bus itself, so that nobody else can have made what it gets",
    ),
    (
        "auth",
        "it is the puller that shows a key, one with the scope `consume`",
    ),
    ("validation", "nobody is sent what they did not ask for"),
    ("tls", "the bus connects to nobody for it"),
    ("disable_after", "one that nobody pulls costs no attempts"),
    ("reply", "a puller publishes its replies itself"),
];

/// Refuses what stands beside `pull` and makes no sense there.
pub(super) fn refuse_requests(object: &Object<'_>, problems: &mut Problems) {
    for (name, why) in OF_REQUESTS {
        if let Some(node) = object.field(name) {
            let detail = format!("does not go with `pull`: {why}; remove `{name}` or `pull`");
            node.problem(problems, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleDocument;
    use super::super::target_document::{TARGET, TargetDocument};
    use super::OF_REQUESTS;
    use serde_json::json;

    #[test]
    fn a_target_is_pulled_or_sent_to() {
        let pulled = TargetDocument::parse(r#"{"id":"a","pull":{}}"#).unwrap();
        let pull = pulled.pull.unwrap();
        assert_eq!((pull.lease.as_secs(), pull.max_leases), (30, 1_000));
        let own = r#"{"id":"a","pull":{"lease":"5m","max_leases":7},"ordering_key":"subject","rate_limit":"5/s","transform":{"input":{"a":1}},"retry":{"max_attempts":3},"dead_letter":{"retention":"1d"}}"#;
        let own = TargetDocument::parse(own).unwrap();
        assert_eq!(own.pull.unwrap().max_leases, 7);
        let neither = TargetDocument::parse(r#"{"id":"a"}"#).unwrap_err();
        assert!(neither[0].detail.contains("`url`"), "{neither:?}");
        assert!(neither[0].detail.contains("pull"), "{neither:?}");
    }

    #[test]
    fn what_is_about_requests_is_refused_with_the_reason() {
        let good = json!({
            "url": "http://h/", "path": {}, "query": {}, "method": "PUT", "mode": "structured",
            "headers": {}, "timeout": "1s", "concurrency": 2, "batch": {},
            "signing": {"secret": "s"}, "auth": {"bearer": {"secret": "s"}},
            "validation": "cloudevents", "tls": {}, "disable_after": "1d", "reply": true,
        });
        for (name, why) in OF_REQUESTS {
            assert!(TARGET.fields.contains(&name), "{name}");
            let target = json!({"id": "a", "pull": {}, name: good[name]});
            let problems = TargetDocument::parse(&target.to_string()).unwrap_err();
            let told = problems.iter().any(|problem| {
                problem.pointer == format!("/{name}") && problem.detail.contains(why)
            });
            assert!(told, "{name}: {problems:?}");
        }
        let kept = [
            "id",
            "pull",
            "rate_limit",
            "retry",
            "transform",
            "dead_letter",
            "ordering_key",
            "on_failure",
        ];
        for field in TARGET.fields {
            let is_of_requests = OF_REQUESTS.iter().any(|(name, _)| name == field);
            assert!(
                is_of_requests != kept.contains(field),
                "`{field}` is decided about"
            );
        }
    }

    #[test]
    fn it_is_shown_as_it_could_be_written() {
        let text = r#"{"pattern":{"type":["a"]},"targets":[{"id":"a","pull":{"lease":"1m"},"ordering_key":"subject"},{"id":"b","url":"http://h/"}]}"#;
        let rule = RuleDocument::parse(text).unwrap();
        let shown = serde_json::to_value(&rule).unwrap();
        let pulled = &shown["targets"][0];
        assert_eq!(pulled["pull"], json!({"lease": "1m", "max_leases": 1_000}));
        assert_eq!(pulled["retry"]["max_attempts"], 12);
        assert_eq!(pulled.get("url"), None);
        assert_eq!(shown["targets"][1]["method"], "POST");
        let again = RuleDocument::parse(&shown.to_string()).unwrap();
        assert_eq!(again.targets, rule.targets);
    }

    #[test]
    fn a_bad_pull_is_refused_with_its_place() {
        for (pull, pointer) in [
            (json!({"lease": "10ms"}), "/pull/lease"),
            (json!({"lease": "13h"}), "/pull/lease"),
            (json!({"max_leases": 0}), "/pull/max_leases"),
            (json!({"max_leases": 100_000}), "/pull/max_leases"),
            (json!({"wait": "1s"}), "/pull/wait"),
            (json!(true), "/pull"),
        ] {
            let target = json!({"id": "a", "pull": pull});
            let problems = TargetDocument::parse(&target.to_string()).unwrap_err();
            assert_eq!(problems[0].pointer, pointer, "{target}: {problems:?}");
        }
    }
}
