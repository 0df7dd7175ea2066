//! Tokens that are good, and every way to forge one that was thought of.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Somebody who signs.
enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Signer {
        Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn p256() -> Signer {
        Signer::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed25519() -> Signer {
        Signer::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Signer::Rsa(pair) => {
                // `RSAPublicKey` of PKCS #1, with 2048 bits and the exponent 65537.
                let der = pair.public_key().as_ref();
                let (n, e) = (&der[9..265], &der[der.len() - 3..]);
                json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(n), "e": b64(e)})
            }
            Signer::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Signer::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key().as_ref())})
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Signer::Rsa(_) => "RS256",
            Signer::P256(_) => "ES256",
            Signer::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Signer::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    /// A good one, under the name `kid`.
    fn good(&self, kid: &str) -> String {
        self.token(
            &json!({"alg": self.algorithm(), "kid": kid, "typ": "JWT"}),
            &claims(),
        )
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example.com", "aud": "eventyard", "sub": "shop", "exp": NOW + 300,
        "nbf": NOW - 10, "scope": "openid eventyard:publish:orders eventyard:read"})
}

fn tokens(keys: &[Value]) -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
    Tokens::open(config(SignersSource::File(path))).unwrap()
}

fn config(signers: SignersSource) -> Config {
    Config {
        signers,
        issuer: "https://id.example.com".to_owned(),
        audience: "eventyard".to_owned(),
        scope_claim: "scope".to_owned(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1_000)
}

#[test]
fn a_token_of_each_algorithm_is_taken_by_the_key_that_it_names() {
    let signers = [Signer::rsa(), Signer::p256(), Signer::ed25519()];
    let keys = [
        signers[0].jwk("a"),
        signers[1].jwk("b"),
        signers[2].jwk("c"),
    ];
    let tokens = tokens(&keys);
    for (signer, kid) in signers.iter().zip(["a", "b", "c"]) {
        let token = tokens.judge(&signer.good(kid), now()).unwrap();
        assert_eq!(token.subject, "shop");
        // Where it names none, the only one of its kind.
        let nameless = signer.token(&json!({"alg": signer.algorithm()}), &claims());
        assert!(tokens.judge(&nameless, now()).is_ok());
    }
}

#[test]
fn no_forged_token_is_taken() {
    let (ours, theirs) = (Signer::rsa(), Signer::rsa());
    let edwards = Signer::ed25519();
    let tokens = tokens(&[ours.jwk("a"), edwards.jwk("e")]);
    let refused = |what: &str, token: &str, expected: TokenError| {
        assert_eq!(tokens.judge(token, now()).unwrap_err(), expected, "{what}");
    };
    let unsigned =
        |header: Value| format!("{}.{}.", b64(header.to_string()), b64(claims().to_string()));
    let none = ["none", "None", "NONE", "nOnE", "", " RS256"];
    for alg in none {
        refused(
            alg,
            &unsigned(json!({"alg": alg, "kid": "a"})),
            TokenError::Algorithm,
        );
    }
    refused(
        "no signature",
        &unsigned(json!({"alg": "RS256", "kid": "a"})),
        TokenError::Signature,
    );

    // The public key, which everybody knows, as the shared secret of an HMAC.
    let Signer::Rsa(pair) = &ours else {
        unreachable!()
    };
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let signed = format!(
        "{}.{}",
        b64(json!({"alg": "HS256", "kid": "a"}).to_string()),
        b64(claims().to_string())
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_ref());
    let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    refused(
        "HMAC",
        &format!("{signed}.{}", b64(tag)),
        TokenError::Algorithm,
    );
    for alg in [
        "HS512", "RS384", "RS512", "PS256", "ES384", "ES256K", "RSA1_5", "rs256",
    ] {
        let token = ours.token(&json!({"alg": alg, "kid": "a"}), &claims());
        refused(alg, &token, TokenError::Algorithm);
    }

    // Under the name of one of our keys; with a key of its own beside it; for another algorithm.
    refused("another's", &theirs.good("a"), TokenError::Signature);
    let header = json!({"alg": "RS256", "kid": "a", "jwk": theirs.jwk("a"), "jku": "https://evil.example/keys", "x5c": ["MII="]});
    refused(
        "its own key",
        &theirs.token(&header, &claims()),
        TokenError::Signature,
    );
    let crossed = ours.token(&json!({"alg": "RS256", "kid": "e"}), &claims());
    refused("a key of another kind", &crossed, TokenError::UnknownSigner);
    let relabelled = ours.token(&json!({"alg": "EdDSA", "kid": "e"}), &claims());
    refused(
        "another algorithm's name",
        &relabelled,
        TokenError::Signature,
    );

    // A name is compared, and leads nowhere.
    for kid in [
        "../../dev/null",
        "/etc/passwd",
        "a\0",
        "A",
        "",
        "' OR 1=1 --",
        "https://evil.example",
    ] {
        refused(kid, &ours.good(kid), TokenError::UnknownSigner);
    }
    let numbered = ours.token(&json!({"alg": "RS256", "kid": 7}), &claims());
    refused("a name that is no text", &numbered, TokenError::Malformed);
    let critical = ours.token(
        &json!({"alg": "RS256", "kid": "a", "crit": ["b64"], "b64": false}),
        &claims(),
    );
    refused("what must be understood", &critical, TokenError::Malformed);

    // Each part changed.
    let good = ours.good("a");
    assert!(tokens.judge(&good, now()).is_ok());
    let [header, body, signature]: [&str; 3] =
        good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut other = claims();
    other["sub"] = json!("root");
    let other = b64(other.to_string());
    refused(
        "other claims",
        &format!("{header}.{other}.{signature}"),
        TokenError::Signature,
    );
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let short = b64(&bytes[..bytes.len() - 4]);
    refused(
        "a short signature",
        &format!("{header}.{body}.{short}"),
        TokenError::Signature,
    );
    for broken in [
        "..",
        "a.b.c",
        &format!("{header}.{body}.{signature}="),
        &format!("{header}.{body}.{signature}\n"),
    ] {
        refused(broken, broken, TokenError::Malformed);
    }
    let huge = format!("{good}{}", "A".repeat(limits::TOKEN_BYTES));
    refused("huge", &huge, TokenError::TooLarge);
}

#[test]
fn a_token_is_for_this_bus_and_for_now() {
    let signer = Signer::p256();
    let tokens = tokens(&[signer.jwk("a")]);
    let check = |name: &str, value: Value, expected: Result<(), TokenError>| {
        let mut claims = claims();
        match &value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            _ => claims[name] = value.clone(),
        }
        let token = signer.token(&json!({"alg": "ES256", "kid": "a"}), &claims);
        let judged = tokens.judge(&token, now()).map(drop);
        assert_eq!(judged, expected, "{name} {value}");
    };
    let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
    check(
        "iss",
        json!("https://id.example.com/"),
        Err(TokenError::Issuer),
    );
    check(
        "iss",
        json!(["https://id.example.com"]),
        Err(TokenError::Issuer),
    );
    check("iss", Value::Null, Err(TokenError::Issuer));
    check("aud", json!("other"), Err(TokenError::Audience));
    check("aud", json!("eventyard2"), Err(TokenError::Audience));
    check("aud", json!([]), Err(TokenError::Audience));
    check("aud", json!({"eventyard": true}), Err(TokenError::Audience));
    check("aud", Value::Null, Err(TokenError::Audience));
    check("aud", json!(["other", "eventyard"]), Ok(()));
    check("exp", Value::Null, Err(TokenError::NoExpiry));
    check("exp", json!("2100"), Err(TokenError::Malformed));
    check("exp", json!(-1), Err(TokenError::Malformed));
    check(
        "exp",
        json!(NOW - 60),
        Err(TokenError::Expired(at(NOW - 60))),
    );
    check("exp", json!(NOW - 59), Ok(()));
    check("exp", json!(1e300), Ok(()));
    check(
        "nbf",
        json!(NOW + 61),
        Err(TokenError::NotYet(at(NOW + 61))),
    );
    check("nbf", json!(NOW + 60), Ok(()));
    check("nbf", Value::Null, Ok(()));
    check("nbf", json!([]), Err(TokenError::Malformed));
    for nobody in [
        Value::Null,
        json!(""),
        json!(" \n"),
        json!(7),
        json!(["shop"]),
    ] {
        check("sub", nobody, Err(TokenError::NoSubject));
    }
    check("sub", json!("s"), Ok(()));
}

#[test]
fn what_a_claim_says_is_what_is_allowed() {
    let check = |value: Value, expected: &str| {
        let claims = json!({"scope": value});
        let grants = grants(claims.as_object().unwrap(), "scope");
        let shown: Vec<String> = grants
            .iter()
            .map(|grant| serde_json::to_string(grant.document()).unwrap())
            .collect();
        assert_eq!(shown.join(" "), expected, "{value}");
    };
    check(json!("eventyard:read"), r#"{"scope":"read"}"#);
    check(
        json!(["eventyard:manage:a", "eventyard:manage:b"]),
        r#"{"scope":"manage","buses":["a","b"]}"#,
    );
    check(
        json!("eventyard:publish:a eventyard:publish"),
        r#"{"scope":"publish"}"#,
    );
    check(
        json!("eventyard:publish eventyard:publish:a"),
        r#"{"scope":"publish"}"#,
    );
    check(
        json!("eventyard:consume:a"),
        r#"{"scope":"consume","buses":["a"]}"#,
    );
    for nothing in [
        json!("read"),
        json!(
            "Eventyard:read eventyard:admin eventyard:* eventyard: eventyard:read: eventyard:read:a:b eventyard:read:../a"
        ),
        json!({"eventyard:read": true}),
        json!([["eventyard:read"]]),
        json!(null),
    ] {
        check(nothing, "");
    }
}

#[test]
fn a_key_set_holds_what_is_for_signatures() {
    let (rsa, edwards) = (Signer::rsa(), Signer::ed25519());
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        json!({"keys": [jwk]}).to_string()
    };
    let check =
        |text: &str, count: Result<usize, &str>| match (Signers::parse(text.as_bytes()), count) {
            (Ok(signers), Ok(count)) => assert_eq!(
                format!("{signers:?}").matches("Signer {").count(),
                count,
                "{text}"
            ),
            (Err(error), Err(words)) => assert!(error.contains(words), "{error}"),
            (found, _) => panic!("{text}: {found:?}"),
        };
    check(
        &json!({"keys": [rsa.jwk("a"), edwards.jwk("a"), {"kty": "oct", "k": "AAAA"}]}).to_string(),
        Ok(2),
    );
    check(&with(rsa.jwk("a"), "use", json!("enc")), Err("no key"));
    check(
        &with(rsa.jwk("a"), "key_ops", json!(["encrypt"])),
        Err("no key"),
    );
    check(&with(rsa.jwk("a"), "alg", json!("HS256")), Err("no key"));
    check(&with(rsa.jwk("a"), "alg", json!("PS256")), Err("no key"));
    // 1024 bits.
    check(
        &with(rsa.jwk("a"), "n", json!(b64([255; 128]))),
        Err("no key"),
    );
    check(&with(edwards.jwk("a"), "x", json!("AAAA")), Err("no key"));
    check("[]", Err("no key set"));
    let many: Vec<Value> = (0..=limits::TOKEN_SIGNERS)
        .map(|_| edwards.jwk("a"))
        .collect();
    check(&json!({"keys": many}).to_string(), Err("more than"));
}

#[test]
fn of_two_keys_with_one_name_either_may_have_signed() {
    let (one, two, other) = (Signer::ed25519(), Signer::ed25519(), Signer::ed25519());
    let tokens = tokens(&[one.jwk("a"), two.jwk("a")]);
    assert!(tokens.judge(&one.good("a"), now()).is_ok());
    assert!(tokens.judge(&two.good("a"), now()).is_ok());
    assert_eq!(
        tokens.judge(&other.good("a"), now()).unwrap_err(),
        TokenError::Signature
    );
    // Without a name it is not known which is meant.
    let nameless = one.token(&json!({"alg": "EdDSA"}), &claims());
    assert_eq!(
        tokens.judge(&nameless, now()).unwrap_err(),
        TokenError::UnknownSigner
    );
}

#[test]
fn keys_come_from_a_file_or_over_a_connection_that_nobody_changes() {
    for good in [
        "jwks.json",
        "/etc/jwks.json",
        "https://id.example.com/keys",
        "http://127.0.0.1:1/keys",
        "http://localhost/keys",
    ] {
        assert!(SignersSource::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "http://id.example.com/keys",
        "http://localhost.evil.example/",
        "ftp://localhost/",
        "https://",
        "file:///etc/jwks",
    ] {
        assert!(SignersSource::parse(bad).is_err(), "{bad}");
    }
}
