//! References to secrets: `{"secret": "name"}` stands where a value must not.

use serde::Serialize;

use super::problem::Problems;
use super::reader::{Node, Shape};
use crate::secret::SecretName;

/// A secret by its name; serializes as it is written, `{"secret": "name"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SecretRef {
    pub secret: SecretName,
}

pub(super) const SECRET: Shape = Shape {
    what: "a secret",
    fields: &["secret"],
    later: &[],
    elsewhere: &[],
};

/// Reads `{"secret": "name"}`; the value itself is refused and not repeated.
pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<SecretRef> {
    if node.raw().starts_with('"') {
        node.problem(
            problems,
            r#"a rule names a secret and does not hold it: {"secret": "<name>"}, after `eventyard secret set <name>`"#,
        );
        return None;
    }
    let object = node.object(&SECRET, problems)?;
    let example = r#"the name of a secret, such as {"secret": "billing-key"}"#;
    let field = object.required("secret", example, problems)?;
    name(field, problems).map(|secret| SecretRef { secret })
}

/// Reads the name that stands under `secret`.
pub(super) fn name(field: &Node<'_>, problems: &mut Problems) -> Option<SecretName> {
    let text = field.string(r#"the name of a secret, such as "billing-key""#, problems)?;
    match SecretName::new(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            field.problem(problems, error.to_string());
            None
        }
    }
}
