//! `tls`: whom a target's certificate must come from, and which one the bus shows.

use serde::Serialize;

use super::problem::Problems;
use super::reader::{Node, Shape};
use super::secret_ref::{self, SecretRef};
use crate::secret::SecretName;

pub(super) const TLS: Shape = Shape {
    what: "`tls`",
    fields: &["ca", "identity"],
    later: &[],
    elsewhere: &[],
};

/// What connections to a target are made with, beside the usual; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Tls {
    /// Certificates of authorities (PEM) that are trusted in the place of the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretRef>,
    /// A certificate with its chain and its private key (PEM), shown to a target that asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<SecretRef>,
}

impl Tls {
    /// The secrets it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let both = self.ca.iter().chain(&self.identity);
        both.map(|SecretRef { secret }| secret)
    }
}

pub(super) fn read(
    node: &Node<'_>,
    url: Option<&reqwest::Url>,
    problems: &mut Problems,
) -> Option<Tls> {
    let object = node.object(&TLS, problems)?;
    let mut read = |name| match object.field(name) {
        Some(field) => secret_ref::read(field, problems).map(Some),
        None => Some(None),
    };
    let (ca, identity) = (read("ca"), read("identity"));
    let tls = Tls {
        ca: ca?,
        identity: identity?,
    };
    if tls.secrets().next().is_none() {
        node.problem(
            problems,
            r#"needs `ca`, `identity` or both, such as {"ca": {"secret": "corp-ca"}}, after `eventyard secret set corp-ca --from ca.pem`"#,
        );
    }
    if url.is_some_and(|url| url.scheme() != "https") {
        node.problem(
            problems,
            "needs a `url` that starts with https://; over http there are no certificates",
        );
    }
    Some(tls)
}
