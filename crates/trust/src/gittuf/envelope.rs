//! Envelopes (DSSE) with any number of signatures, which hold all metadata of gittuf.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::fault::Fault;
use super::fault::Result;

/// A payload, and the signatures that claim to be over it.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) payload: Vec<u8>,
    pub(super) signatures: Vec<EnvelopeSignature>,
}

/// A signature of an envelope.
#[derive(Clone, Debug)]
pub(super) struct EnvelopeSignature {
    /// The key that made it, as it says itself; empty when it does not say.
    pub(super) key: String,
    pub(super) bytes: Vec<u8>,
    /// What a certificate needs besides: the verification material of a Sigstore bundle.
    pub(super) material: Option<Value>,
}

impl Envelope {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = |why: &dyn std::fmt::Display| Fault::unknown(format!("malformed envelope: {why}"));
        let body: Body = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        if body.payload_type != PAYLOAD_TYPE {
            return Err(malformed(&format!("payload type {:?}, wanted {PAYLOAD_TYPE}", body.payload_type)));
        }
        if body.signatures.is_empty() {
            return Err(malformed(&"no signatures"));
        }
        if body.signatures.len() > MAX_SIGNATURES {
            return Err(malformed(&format!("{} signatures, at most {MAX_SIGNATURES}", body.signatures.len())));
        }
        let signature = |signature: SignatureBody| {
            let material = signature.extension.filter(|extension| extension.kind == MATERIAL).map(|found| found.ext);
            let bytes = STANDARD.decode(signature.sig).map_err(|error| malformed(&error))?;
            Ok(EnvelopeSignature { key: signature.keyid, bytes, material })
        };
        let signatures = body.signatures.into_iter().map(signature).collect::<Result<_>>()?;
        Ok(Self { payload: STANDARD.decode(body.payload).map_err(|error| malformed(&error))?, signatures })
    }

    /// What the signatures are over.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        // spec: PAE of DSSE 1.0.0
        let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), self.payload.len());
        [head.as_bytes(), &self.payload].concat()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    payload_type: String,
    payload: String,
    signatures: Vec<SignatureBody>,
}

#[derive(Deserialize)]
struct SignatureBody {
    #[serde(default)]
    keyid: String,
    sig: String,
    extension: Option<ExtensionBody>,
}

#[derive(Deserialize)]
struct ExtensionBody {
    kind: String,
    ext: Value,
}

const PAYLOAD_TYPE: &str = "application/vnd.gittuf+json";
const MATERIAL: &str = "application/vnd.dev.sigstore.verificationmaterial;version=0.3";
const MAX_SIGNATURES: usize = 64;
