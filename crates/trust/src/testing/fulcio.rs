//! Fulcio: certificates for whoever has a token, each in a certificate transparency log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CustomExtension;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyUsagePurpose;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rcgen::PKCS_ECDSA_P384_SHA384;
use rcgen::PKCS_ED25519;
use rcgen::PublicKeyData;
use rcgen::SanType;
use rcgen::SerialNumber;
use rcgen::SignatureAlgorithm;
use serde_json::Value;
use serde_json::json;
use sigstore_crypto::KeyAlgorithm;
use sigstore_types::SignatureBytes;
use skep_registry::Digest;
use time::OffsetDateTime;
use x509_cert::Certificate;
use x509_cert::TbsCertificate;
use x509_cert::der::Decode;
use x509_cert::der::DecodePem;
use x509_cert::der::Encode;
use x509_cert::request::CertReq;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::key::PrivateKey;
use crate::key::PublicKey;
use crate::testing::Failure;
use crate::testing::der;
use crate::testing::identity::GITHUB;
use crate::testing::identity::Provider;

/// What is below 1.3.6.1.4.1.57264.1, and the claim of a token that goes there.
const CLAIMS: [(u64, &str, &str); 9] = [
    (9, "https://github.com/", "job_workflow_ref"),
    (11, "", "runner_environment"),
    (12, "https://github.com/", "repository"),
    (13, "", "sha"),
    (14, "", "ref"),
    (16, "https://github.com/", "repository_owner"),
    (18, "https://github.com/", "workflow_ref"),
    (19, "", "sha"),
    (20, "", "event_name"),
];

/// The extension of a certificate that is none yet (RFC 6962, section 3.1).
const POISON: &str = "1.3.6.1.4.1.11129.2.4.3";

/// An authority with a root certificate only, and its log.
pub(super) struct Fulcio {
    key: rcgen::KeyPair,
    params: CertificateParams,
    certificate: rcgen::Certificate,
    log: PrivateKey,
}

impl Fulcio {
    pub(super) fn new() -> Result<Self, Failure> {
        let key = rcgen::KeyPair::generate()?;
        let mut params = authority("fulcio.test");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let certificate = params.self_signed(&key)?;
        Ok(Self { key, params, certificate, log: PrivateKey::generate()? })
    }

    pub(super) fn certificate(&self) -> &[u8] {
        self.certificate.der()
    }

    pub(super) fn log_key(&self) -> &PrivateKey {
        &self.log
    }

    /// Certifies the key of a request, if its sender has the private half and a token.
    pub(super) fn certify(&self, provider: &Provider, bearer: Option<&str>, request: &Value) -> Result<Value, Failure> {
        let token = request["credentials"]["oidcIdentityToken"].as_str().or(bearer).ok_or("no token")?;
        let claims = provider.check(token)?;
        let subject = claims["email"].as_str().or(claims["sub"].as_str()).ok_or("the token names nobody")?;
        let key = match request["certificateSigningRequest"].as_str() {
            Some(request) => {
                PublicKey::from_der(&CertReq::from_pem(STANDARD.decode(request)?)?.info.public_key.to_der()?)?
            }
            None => {
                let request = &request["publicKeyRequest"];
                let key = request["publicKey"]["content"].as_str().ok_or("no key")?;
                let proof = request["proofOfPossession"].as_str().ok_or("no proof")?;
                let signature = SignatureBytes::new(STANDARD.decode(proof)?);
                let key = PublicKey::from_pem(key)?;
                if !key.verifies(subject.as_bytes(), &signature) {
                    return Err("the private half of the key is missing".into());
                }
                key
            }
        };
        let chain = [self.issue(&key, &claims)?, self.certificate.pem()];
        Ok(json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}))
    }

    fn issue(&self, key: &PublicKey, claims: &Value) -> Result<String, Failure> {
        let key = Certified::new(key)?;
        let issuer = claims["iss"].as_str().ok_or("the token has no issuer")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![name(claims)?];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        let now = Timestamp::now().as_second();
        params.not_before = OffsetDateTime::from_unix_timestamp(now - 5)?;
        params.not_after = OffsetDateTime::from_unix_timestamp(now + 600)?;
        let extension = |number, content| CustomExtension::from_oid_content(&oid(number), content);
        // The issuer twice: as it was written first, without a type, and as it is now.
        params.custom_extensions.push(extension(1, issuer.as_bytes().to_vec()));
        params.custom_extensions.push(extension(8, der::value(der::UTF8, issuer.as_bytes())));
        for (number, prefix, claim) in CLAIMS {
            if let Some(text) = claims[claim].as_str() {
                let text = format!("{prefix}{text}");
                params.custom_extensions.push(extension(number, der::value(der::UTF8, text.as_bytes())));
            }
        }
        let authority = Issuer::from_params(&self.params, &self.key);
        let before = params.signed_by(&key, &authority)?;
        let receipt = self.receipt(before.der())?;
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], receipt));
        Ok(params.signed_by(&key, &authority)?.pem())
    }

    /// The log's word that it has the certificate: a list of one timestamp (RFC 6962, section 3.2 and 3.3).
    fn receipt(&self, certificate: &[u8]) -> Result<Vec<u8>, Failure> {
        let inner = Certificate::from_der(certificate)?.tbs_certificate;
        let (time, signature) = self.timestamp(&inner, self.certificate.der())?;
        let log = self.log.public_key().fingerprint().hash();
        let entry = [&[0][..], &log, &time.to_be_bytes(), &[0, 0, 4, 3], &sized(&signature)?].concat();
        Ok(der::value(der::OCTETS, &sized(&sized(&entry)?)?))
    }

    /// Answers another authority that wants a certificate of its own in this log (RFC 6962, section 4.2).
    pub(super) fn enter(&self, request: &Value) -> Result<Value, Failure> {
        let certificate = |place: usize| {
            Ok::<_, Failure>(STANDARD.decode(request["chain"][place].as_str().ok_or("no certificate")?)?)
        };
        let mut inner = Certificate::from_der(&certificate(0)?)?.tbs_certificate;
        // What makes it none yet is not signed for.
        inner.extensions.iter_mut().for_each(|all| all.retain(|one| one.extn_id.to_string() != POISON));
        let (time, signature) = self.timestamp(&inner, &certificate(1)?)?;
        Ok(json!({
            "sct_version": 0,
            "id": STANDARD.encode(self.log.public_key().fingerprint().hash()),
            "timestamp": time,
            "extensions": "",
            "signature": STANDARD.encode([&[4, 3][..], &sized(&signature)?].concat()),
        }))
    }

    /// The time in milliseconds, and a signature over it and a certificate to be.
    fn timestamp(&self, inner: &TbsCertificate, issuer: &[u8]) -> Result<(u64, Vec<u8>), Failure> {
        let inner = inner.to_der()?;
        let issuer = Certificate::from_der(issuer)?.tbs_certificate.subject_public_key_info.to_der()?;
        let time = u64::try_from(Timestamp::now().as_millisecond())?;
        let length = u32::try_from(inner.len())?.to_be_bytes();
        let issuer = Digest::sha256(&issuer).hash();
        let signed = [&[0, 0][..], &time.to_be_bytes(), &[0, 1], &issuer, &length[1..], &inner, &[0, 0]].concat();
        Ok((time, self.log.sign(&signed)?))
    }
}

/// The key that a certificate is for.
struct Certified {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl Certified {
    fn new(key: &PublicKey) -> Result<Self, Failure> {
        let algorithm = match key.algorithm {
            KeyAlgorithm::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Ed25519 => &PKCS_ED25519,
            other => return Err(format!("keys of kind {other:?} are not certified").into()),
        };
        let info = SubjectPublicKeyInfoRef::try_from(key.to_der())?;
        Ok(Self { bits: info.subject_public_key.raw_bytes().to_vec(), algorithm })
    }
}

impl PublicKeyData for Certified {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// The parameters of a certificate that certifies others.
pub(super) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A random one: positive, and not zero.
pub(super) fn serial() -> Result<SerialNumber, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Whom the certificate is for: the workflow of a run, else the e-mail address, else the subject as a URI.
fn name(claims: &Value) -> Result<SanType, Failure> {
    if claims["iss"] == GITHUB {
        let workflow = claims["job_workflow_ref"].as_str().ok_or("the token names no workflow")?;
        return Ok(SanType::URI(format!("https://github.com/{workflow}").try_into()?));
    }
    match claims["email"].as_str() {
        Some(email) => Ok(SanType::Rfc822Name(email.try_into()?)),
        None => Ok(SanType::URI(claims["sub"].as_str().ok_or("the token names nobody")?.try_into()?)),
    }
}

fn oid(number: u64) -> [u64; 9] {
    [1, 3, 6, 1, 4, 1, 57264, 1, number]
}

/// Bytes with their number in front, in two bytes.
fn sized(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok([&u16::try_from(bytes.len())?.to_be_bytes()[..], bytes].concat())
}
