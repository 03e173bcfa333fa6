//! The identity provider: tokens, and the keys to check them by.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::UnparsedPublicKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use skep_registry::Digest;

use crate::error::Error;
use crate::testing::Failure;

/// The issuer of workflows on GitHub.
pub(super) const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// Somebody a token can be made for.
#[derive(Clone, Debug)]
pub struct Who(Value);

impl Who {
    /// A person with an e-mail address, whom the provider itself vouches for.
    pub fn person(email: &str) -> Self {
        Self(json!({"sub": email, "email": email, "email_verified": true}))
    }

    /// A run of a workflow on GitHub: `acme/site`, `release.yml`, `refs/tags/v1`.
    pub fn workflow(repository: &str, file: &str, reference: &str) -> Self {
        let workflow = format!("{repository}/.github/workflows/{file}@{reference}");
        Self(json!({
            "iss": GITHUB,
            "sub": format!("repo:{repository}:ref:{reference}"),
            "repository": repository,
            "repository_id": "1",
            "repository_owner": repository.split('/').next(),
            "repository_owner_id": "1",
            "ref": reference,
            "sha": "c0ffee0000000000000000000000000000000000",
            "event_name": "push",
            "job_workflow_ref": workflow,
            "workflow_ref": workflow,
            "runner_environment": "github-hosted",
            "run_id": "1",
            "run_attempt": "1",
        }))
    }

    /// Changes one claim of the token, or adds one.
    pub fn with_claim(mut self, name: &str, value: &str) -> Self {
        self.0[name] = json!(value);
        self
    }
}

/// Makes tokens, and checks them.
pub(super) struct Provider {
    url: String,
    key: EcdsaKeyPair,
}

impl Provider {
    pub(super) fn new(url: String) -> Result<Self, Failure> {
        Ok(Self { url, key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)? })
    }

    pub(super) fn token(&self, who: &Who) -> Result<String, Error> {
        let now = Timestamp::now().as_second();
        let mut claims = json!({"iss": self.url, "aud": "sigstore", "iat": now, "nbf": now, "exp": now + 600});
        if let (Some(claims), Some(who)) = (claims.as_object_mut(), who.0.as_object()) {
            claims.extend(who.clone());
        }
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.key_id()});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes());
        let signature = signature.map_err(|_| Error::key("it cannot sign"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this provider made and that is still valid.
    pub(super) fn check(&self, token: &str) -> Result<Value, Failure> {
        let (message, signature) = token.rsplit_once('.').ok_or("not a token")?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        key.verify(message.as_bytes(), &signature).map_err(|_| "the token has another signature")?;
        let (_, claims) = message.split_once('.').ok_or("not a token")?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        if claims["exp"].as_i64().is_none_or(|end| end < Timestamp::now().as_second()) || claims["aud"] != "sigstore" {
            return Err("the token is too old, or for somebody else".into());
        }
        Ok(claims)
    }

    pub(super) fn discovery(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url,
            "jwks_uri": format!("{url}/keys"),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "device_authorization_endpoint": format!("{url}/device/code"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    pub(super) fn keys(&self) -> Value {
        // An uncompressed point: 4, then both coordinates.
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id(),
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }

    fn key_id(&self) -> String {
        let der: Result<PublicKeyX509Der<'_>, _> = self.key.public_key().as_der();
        der.map(|der| Digest::sha256(der.as_ref()).hex()[..16].to_owned()).unwrap_or_default()
    }
}
