//! The timestamp authority (RFC 3161), over CMS (RFC 5652).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::CertificateParams;
use rcgen::CustomExtension;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::Issuer;
use rcgen::KeyUsagePurpose;
use rcgen::PKCS_ECDSA_P256_SHA256;
use serde_json::Value;
use skep_registry::Digest;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::Encode;

use crate::key::PrivateKey;
use crate::testing::Failure;
use crate::testing::der;
use crate::testing::der::CONTEXT;
use crate::testing::der::INTEGER;
use crate::testing::der::OCTETS;
use crate::testing::der::OID;
use crate::testing::der::SEQUENCE;
use crate::testing::der::SET;
use crate::testing::fulcio::authority;
use crate::testing::fulcio::serial;

// The contents of object identifiers, each with its name in RFC 5652, 3161, 5816 or 5912.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const POLICY: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x02];

/// An authority with a root certificate and one for stamping.
pub(super) struct Authority {
    key: PrivateKey,
    certificate: Vec<u8>,
    root: Vec<u8>,
}

impl Authority {
    pub(super) fn new() -> Result<Self, Failure> {
        let (root_key, root) = (rcgen::KeyPair::generate()?, authority("timestamp-root.test"));
        let key = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "timestamp.test");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        // RFC 3161, section 2.3: for timestamps only, and critical, which the parameters do not offer.
        let stamping = der::value(OID, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08]);
        let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], der::value(SEQUENCE, &stamping));
        usage.set_criticality(true);
        params.custom_extensions.push(usage);
        let certificate = params.signed_by(&key, &Issuer::from_params(&root, &root_key))?;
        Ok(Self {
            key: PrivateKey::from_pkcs8(&key.serialize_der())?,
            certificate: certificate.der().to_vec(),
            root: root.self_signed(&root_key)?.der().to_vec(),
        })
    }

    /// The certificates, that of the root last.
    pub(super) fn chain(&self) -> [&[u8]; 2] {
        [&self.certificate, &self.root]
    }

    /// Answers a request for a timestamp: of the RFC, or in JSON, as Sigstore's authority takes it too.
    pub(super) fn stamp(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        if let Ok(request) = serde_json::from_slice::<Value>(request) {
            let hash = STANDARD.decode(request["artifactHash"].as_str().ok_or("nothing to stamp")?)?;
            let algorithm = der::value(SEQUENCE, &der::value(OID, SHA256));
            return self.answer(&der::all(SEQUENCE, &[&algorithm, &der::value(OCTETS, &hash)]), &[]);
        }
        let request = der::parts(der::content(request).ok_or("not a request")?);
        let imprint = request.iter().find(|(tag, _)| *tag == SEQUENCE).ok_or("nothing to stamp")?.1;
        // The first integer is the version.
        let nonce = request.iter().filter(|(tag, _)| *tag == INTEGER).nth(1).map_or(&[][..], |(_, bytes)| bytes);
        self.answer(imprint, nonce)
    }

    fn answer(&self, imprint: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Failure> {
        let time = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%SZ").to_string();
        let info = der::all(
            SEQUENCE,
            &[
                &der::value(INTEGER, &[1]),
                &der::value(OID, POLICY),
                imprint,
                &der::value(INTEGER, &serial()?.to_bytes()),
                &der::value(der::TIME, time.as_bytes()),
                nonce,
            ],
        );
        let status = der::value(SEQUENCE, &der::value(INTEGER, &[0]));
        Ok(der::all(SEQUENCE, &[&status, &self.token(&info)?]))
    }

    /// Signed data over the information on a time.
    fn token(&self, info: &[u8]) -> Result<Vec<u8>, Failure> {
        let sha256 = der::value(SEQUENCE, &der::value(OID, SHA256));
        let attributes = self.attributes(info);
        let signature = self.key.sign(&der::value(SET, &attributes))?;
        let certificate = Certificate::from_der(&self.certificate)?.tbs_certificate;
        let signer = der::all(
            SEQUENCE,
            &[
                &der::value(INTEGER, &[1]),
                &der::all(SEQUENCE, &[&certificate.issuer.to_der()?, &certificate.serial_number.to_der()?]),
                &sha256,
                // Signed as a set, and written with a tag of its place (RFC 5652, section 5.4).
                &der::value(CONTEXT, &attributes),
                &der::value(SEQUENCE, &der::value(OID, ECDSA_SHA256)),
                &der::value(OCTETS, &signature),
            ],
        );
        let content =
            der::all(SEQUENCE, &[&der::value(OID, TST_INFO), &der::value(CONTEXT, &der::value(OCTETS, info))]);
        let signed = der::all(
            SEQUENCE,
            &[
                &der::value(INTEGER, &[3]),
                &der::value(SET, &sha256),
                &content,
                &der::value(CONTEXT, &self.certificate),
                &der::value(SET, &signer),
            ],
        );
        Ok(der::all(SEQUENCE, &[&der::value(OID, SIGNED_DATA), &der::value(CONTEXT, &signed)]))
    }

    /// What is signed: the type of the content, its hash, and the certificate, in the order of their bytes.
    fn attributes(&self, info: &[u8]) -> Vec<u8> {
        let attribute =
            |oid: &[u8], content: &[u8]| der::all(SEQUENCE, &[&der::value(OID, oid), &der::value(SET, content)]);
        let certificate = der::value(OCTETS, &Digest::sha256(&self.certificate).hash());
        let certificate = der::value(SEQUENCE, &der::value(SEQUENCE, &der::value(SEQUENCE, &certificate)));
        let mut attributes = [
            attribute(CONTENT_TYPE, &der::value(OID, TST_INFO)),
            attribute(MESSAGE_DIGEST, &der::value(OCTETS, &Digest::sha256(info).hash())),
            attribute(SIGNING_CERTIFICATE_V2, &certificate),
        ];
        attributes.sort();
        attributes.concat()
    }
}
