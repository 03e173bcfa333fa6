//! Signing with an identity: a key for one signature, certified by Fulcio, entered into a log, stamped with a time.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use sigstore_bundle::BundleV03;
use sigstore_bundle::VerificationMaterialV03;
use sigstore_crypto::KeyPair;
use sigstore_fulcio::FulcioClient;
use sigstore_types::DerCertificate;
use sigstore_types::HashAlgorithm;
use sigstore_types::SignatureContent;

use crate::error::Error;
use crate::error::Result;
use crate::services::Services;
use crate::sign;
use crate::sign::Signer;
use crate::token::IdentityToken;
use crate::witness::Signatory;

/// Signs with an identity.
pub struct KeylessSigner {
    services: Services,
    token: IdentityToken,
}

impl KeylessSigner {
    /// Signs as whom the token names. Each signature asks for a certificate, so the token has to be valid still.
    pub fn new(services: Services, token: IdentityToken) -> Self {
        Self { services, token }
    }

    /// A new key and the certificate for it.
    async fn certified(&self) -> Result<(KeyPair, DerCertificate)> {
        let url = &self.services.fulcio;
        let failed = |error: &dyn fmt::Display| Error::Service { service: "fulcio", why: format!("{url}: {error}") };
        let key = KeyPair::generate_ecdsa_p256().map_err(|_| Error::key("no randomness"))?;
        let fulcio = FulcioClient::new(url.as_str()).map_err(|error| failed(&error))?;
        let answer =
            fulcio.create_signing_certificate(&self.token.inner, &key).await.map_err(|error| failed(&error))?;
        Ok((key, answer.leaf_certificate().clone()))
    }

    async fn finish(&self, certificate: DerCertificate, content: SignatureContent) -> Result<Bytes> {
        let material = VerificationMaterialV03::Certificate(certificate.clone());
        let bundle = BundleV03::new(material, content.clone());
        let signatory = Signatory::Certificate(&certificate);
        sign::to_bytes(&self.services.witnesses.witness(bundle, &content, signatory).await?.into_bundle())
    }
}

#[async_trait]
impl Signer for KeylessSigner {
    async fn sign_message(&self, message: &[u8]) -> Result<Bytes> {
        let (key, certificate) = self.certified().await?;
        let signature = key.sign(message).map_err(|error| Error::key(error.to_string()))?;
        let content = sign::message_signature(HashAlgorithm::Sha2256, message, signature);
        self.finish(certificate, content).await
    }

    async fn sign_statement(&self, statement: &[u8]) -> Result<Bytes> {
        let (key, certificate) = self.certified().await?;
        let signature = key.sign(&sign::pae(statement)).map_err(|error| Error::key(error.to_string()))?;
        self.finish(certificate, sign::envelope(statement, signature)).await
    }
}

impl fmt::Debug for KeylessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeylessSigner").field("identity", &self.token.identity()).finish_non_exhaustive()
    }
}
