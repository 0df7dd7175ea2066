//! Standard Webhooks signatures against vectors that others' libraries agree on; they are not in
//! this repository: `EVENTYARD_CORPORA` names their folder.

#![allow(clippy::unwrap_used, reason = "tests may")]

use eventyard::webhook::{SigningKey, Verifying};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Vector {
    name: String,
    secret: String,
    /// What verifies, where it is not the secret.
    public: Option<String>,
    id: String,
    ts: u64,
    body: String,
    signature: String,
    now: u64,
    valid: bool,
}

#[test]
fn every_vector_verifies_or_does_not_and_single_signatures_are_made_alike() {
    let Some(folder) = std::env::var_os("EVENTYARD_CORPORA") else {
        eprintln!("skipped: EVENTYARD_CORPORA is not set");
        return;
    };
    let path = std::path::Path::new(&folder).join("webhook-signatures.json");
    let vectors: Vec<Vector> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(!vectors.is_empty());
    for vector in &vectors {
        let key = vector.public.as_deref().unwrap_or(&vector.secret);
        let keys = Verifying::with_keys([key]).unwrap();
        let verdict = keys.verify(
            &vector.id,
            &vector.ts.to_string(),
            &vector.signature,
            vector.body.as_bytes(),
            vector.now,
        );
        assert_eq!(verdict.is_ok(), vector.valid, "{vector:?}: {verdict:?}");
        if vector.valid && !vector.signature.contains(' ') {
            let signing = SigningKey::parse(&vector.secret).unwrap();
            let made = signing.sign(&vector.id, vector.ts, vector.body.as_bytes());
            assert_eq!(made, vector.signature, "{}", vector.name);
            assert_eq!(signing.public(), vector.public, "{}", vector.name);
        }
    }
    println!("{} vectors", vectors.len());
}
