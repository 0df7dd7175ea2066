//! `signing`: which secrets sign a target's deliveries.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::problem::Problems;
use super::reader::{Node, Shape};
use super::secret_ref;
use crate::limits;
use crate::secret::SecretName;

pub(super) const SIGNING: Shape = Shape {
    what: "`signing`",
    fields: &["secret", "secrets"],
    later: &[],
    elsewhere: &[],
};

/// The secrets whose keys sign each delivery (Standard Webhooks); never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Signing {
    pub secrets: Vec<SecretName>,
}

impl Serialize for Signing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.secrets.as_slice() {
            [one] => map.serialize_entry("secret", one)?,
            many => map.serialize_entry("secrets", many)?,
        }
        map.end()
    }
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Signing> {
    let object = node.object(&SIGNING, problems)?;
    let secrets = match (object.field("secret"), object.field("secrets")) {
        (Some(one), None) => vec![secret_ref::name(one, problems)?],
        (None, Some(many)) => {
            let wanted = r#"an array of names of secrets such as ["hmac-key", "ed25519-key"]"#;
            let names = many.array(wanted, problems)?;
            let fits = (1..=limits::SIGNING_SECRETS).contains(&names.len());
            if !fits {
                let most = limits::SIGNING_SECRETS;
                many.problem(problems, format!("must name 1 to {most} secrets"));
                return None;
            }
            let names = names.iter().map(|name| secret_ref::name(name, problems));
            names.collect::<Option<Vec<_>>>()?
        }
        (Some(_), Some(_)) => {
            node.problem(problems, "takes `secret` or `secrets`, not both");
            return None;
        }
        (None, None) => {
            node.problem(
                problems,
                r#"needs the name of a secret: {"secret": "billing-key"}, after `eventyard secret generate billing-key`"#,
            );
            return None;
        }
    };
    Some(Signing { secrets })
}
