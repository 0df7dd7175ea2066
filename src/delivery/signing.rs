//! Signs what is sent, with every key that holds just now (Standard Webhooks).

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::secret::{Secret, SecretName, Secrets};
use crate::webhook::SigningKey;

/// The signing keys in use, read once per value of their secret: reading an ed25519 key costs as
/// much as a signature.
#[derive(Debug, Default)]
pub(crate) struct Signer {
    keys: Mutex<HashMap<SecretName, Keys>>,
}

#[derive(Debug, Clone)]
struct Keys {
    secret: Arc<Secret>,
    /// One for each version of the secret, in the same order.
    keys: Arc<[SigningKey]>,
}

impl Signer {
    /// The `webhook-signature` of a request: one signature for each version that holds of each
    /// secret, the newest first. `Err` says what is missing.
    pub(crate) fn sign(
        &self,
        secrets: &Secrets,
        names: &[SecretName],
        id: &str,
        now: Timestamp,
        body: &[u8],
    ) -> Result<HeaderValue, String> {
        let mut signatures: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            let Keys { secret, keys } = self.keys(secrets, name)?;
            for (version, key) in secret.versions().iter().zip(&*keys) {
                if version.holds(now) {
                    signatures.push(key.sign(id, now.as_millis() / 1_000, body));
                }
            }
        }
        Ok(HeaderValue::try_from(signatures.join(" ")).expect("base64 and commas fit a header"))
    }

    fn keys(&self, secrets: &Secrets, name: &SecretName) -> Result<Keys, String> {
        let Some(secret) = secrets.get(name) else {
            self.keys.lock().remove(name);
            return Err(missing(name));
        };
        let known = self.keys.lock().get(name).cloned();
        if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.secret, &secret)) {
            return Ok(known);
        }
        let keys = secret
            .versions()
            .iter()
            .map(|version| SigningKey::parse(version.value.expose()))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the secret `{name}` does not sign: {error}"))?;
        let keys = Keys { secret, keys };
        self.keys.lock().insert(name.clone(), keys.clone());
        Ok(keys)
    }
}

/// What an attempt says whose secret is not there.
pub(crate) fn missing(name: &SecretName) -> String {
    format!("there is no secret `{name}`; set it with `eventyard secret set {name}`")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::secret::SecretText;
    use crate::webhook::{Verifying, new_ed25519_key, new_symmetric_key};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn every_key_that_holds_signs() {
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let secrets = Secrets::in_memory(clock.clone());
        let (a, b) = (SecretName::new("a").unwrap(), SecretName::new("b").unwrap());
        let signer = Signer::default();
        let sign = |now| signer.sign(&secrets, &[a.clone(), b.clone()], "m", now, b"body");
        assert!(sign(clock.now()).unwrap_err().contains("no secret `a`"));

        let keys: Vec<String> = [new_symmetric_key(), new_symmetric_key(), new_ed25519_key()]
            .map(|key| key.unwrap().to_string())
            .into();
        let set = |name, key: &str| secrets.set(name, SecretText::new(key.to_owned()), DAY);
        set(&a, &keys[0]).unwrap();
        set(&b, &keys[2]).unwrap();
        set(&a, &keys[1]).unwrap();
        let verifies = |key: &str, now: Timestamp| {
            let seconds = now.as_millis() / 1_000;
            let header = sign(now).unwrap();
            let keys = Verifying::with_keys([key]).unwrap();
            let text = header.to_str().unwrap();
            keys.verify("m", &seconds.to_string(), text, b"body", seconds)
        };
        for key in &keys {
            assert_eq!(verifies(key, clock.now()), Ok(()));
        }
        clock.advance(DAY);
        assert!(verifies(&keys[0], clock.now()).is_err(), "its time is over");
        for key in &keys[1..] {
            assert_eq!(verifies(key, clock.now()), Ok(()));
        }
        set(&a, "hunter2").unwrap();
        let error = sign(clock.now()).unwrap_err();
        assert!(
            error.contains("`a`") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
