//! Docker's first manifests: their signatures are taken off, which nobody verifies any more.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use bytes::Bytes;
use serde::Deserialize;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;

/// The type of a signed manifest.
pub(super) const SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// The type of the manifest within.
pub(super) const UNSIGNED: &str = "application/vnd.docker.distribution.manifest.v1+json";

/// The manifest that was signed, of which the registry states the digest.
///
/// Each signature says how many bytes of it stand before the signatures, and what comes after them.
///
/// # Errors
/// `ManifestInvalid` when it is not JSON, not signed, or when the signatures are not all over the same.
pub(super) fn unsigned(manifest: &Bytes) -> Result<Bytes> {
    #[derive(Deserialize)]
    struct Signed {
        #[serde(default)]
        signatures: Vec<Signature>,
    }

    #[derive(Deserialize)]
    struct Signature {
        #[serde(default)]
        protected: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Format {
        format_length: u64,
        #[serde(default)]
        format_tail: String,
    }

    let invalid = |why: &'static str| Error::new(Code::ManifestInvalid, why);
    let signed: Signed =
        serde_json::from_slice(manifest).map_err(|error| invalid("a signed manifest is JSON").with_source(error))?;
    let mut all = signed.signatures.into_iter().map(|signature| signature.protected);
    let first = all.next().ok_or_else(|| invalid("a signed manifest has no signatures"))?;
    if all.any(|other| other != first) {
        return Err(invalid("a signed manifest has mismatched signatures"));
    }
    let decode = |text: &str| {
        // Some write one alphabet, some the other, with padding or without.
        let text = text.replace('-', "+").replace('_', "/");
        BASE64.decode(text).map_err(|error| invalid("a signature is not base64").with_source(error))
    };
    let format: Format = serde_json::from_slice(&decode(&first)?)
        .map_err(|error| invalid("a signature does not say what is signed").with_source(error))?;
    let head = usize::try_from(format.format_length).ok().and_then(|len| manifest.get(..len));
    let head = head.ok_or_else(|| invalid("a signature is over bytes out of range"))?;
    Ok([head, &decode(&format.format_tail)?].concat().into())
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    #[test]
    fn signatures_are_taken_off() {
        let plain = "{\n   \"name\": \"a\"\n}";
        let head = plain.len() - 2;
        let protected =
            |tail: &str| URL_SAFE_NO_PAD.encode(json!({"formatLength": head, "formatTail": tail}).to_string());
        for tail in [URL_SAFE_NO_PAD.encode("\n}"), STANDARD.encode("\n}")] {
            let one = json!({"protected": protected(&tail), "signature": "x"});
            let signatures = json!([one, one]);
            let signed = format!("{},\n   \"signatures\": {signatures}\n}}", &plain[..head]);
            assert_eq!(unsigned(&signed.into()).unwrap(), plain);
        }
    }

    #[test]
    fn what_is_not_signed_well_is_refused() {
        let protected = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let one = |text: &str| json!({"signatures": [{"protected": text}]}).to_string();
        for (signed, want) in [
            ("{".to_owned(), "is JSON"),
            ("{}".to_owned(), "has no signatures"),
            (r#"{"signatures":[]}"#.to_owned(), "has no signatures"),
            (json!({"signatures": [{"protected": "a"}, {"protected": "b"}]}).to_string(), "mismatched signatures"),
            (one("!"), "not base64"),
            (one(&protected("{}")), "does not say what is signed"),
            (one(&protected("[]")), "does not say what is signed"),
            (one(&protected(r#"{"formatLength":-1,"formatTail":""}"#)), "does not say what is signed"),
            (one(&protected(r#"{"formatLength":100000,"formatTail":""}"#)), "out of range"),
            (one(&protected(r#"{"formatLength":1,"formatTail":"!"}"#)), "not base64"),
        ] {
            let error = unsigned(&signed.clone().into()).unwrap_err();
            assert!(*error.code() == Code::ManifestInvalid && error.message().contains(want), "{signed}: {error}");
        }
    }
}
