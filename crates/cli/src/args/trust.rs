//! What can be said to the commands that sign.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use skep::Address;
use skep_trust::IdentityToken;
use skep_trust::SIGNATURE_PREDICATE;

use crate::args::value::switch;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skep sign registry.example.com/team/site:v1                as whom CI or a browser says one is
  skep sign --key cosign.key registry.example.com/team/site:v1
  skep sign --signing-config signing.json --identity-token token oci:./store:v1")]
pub(crate) struct Sign {
    /// What: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`. Where a tag points is asked once, now; what is signed
    /// is the digest.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// How the signature is written.
    #[arg(long, env = "SKEP_SIGN_FORMAT", value_enum, default_value_t = SignFormat::Statement, help_heading = "Who signs")]
    pub(crate) format: SignFormat,
    #[command(flatten)]
    pub(crate) signer: Signer,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignFormat {
    /// A statement about the digest, as cosign writes since version 3, and all read.
    Statement,
    /// Over the manifest itself, as blob writes; `cosign verify` does not read it.
    Message,
}

impl From<SignFormat> for skep_trust::SignFormat {
    fn from(format: SignFormat) -> Self {
        match format {
            SignFormat::Message => Self::Message,
            SignFormat::Statement => Self::Statement,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skep attest --type spdxjson --predicate sbom.json registry.example.com/team/site:v1
  skep attest --provenance registry.example.com/team/site:v1     how CI built it
  skep attest --type https://acme.example/review/v1 --predicate - --key cosign.key oci:./store:v1")]
pub(crate) struct Attest {
    /// About what: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`. Where a tag points is asked once, now.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// What kind of statement: a URI, or one of slsaprovenance1, slsaprovenance, spdx, spdxjson, cyclonedx, vuln, openvex,
    /// link and custom.
    #[arg(
        long = "type",
        value_name = "TYPE",
        env = "SKEP_PREDICATE_TYPE",
        value_parser = predicate_type,
        required_unless_present = "provenance"
    )]
    pub(crate) predicate_type: Option<String>,
    /// What is stated: a file with JSON, or `-` for standard input; 5 MiB at most.
    #[arg(long, value_name = "FILE", env = "SKEP_PREDICATE", required_unless_present = "provenance")]
    pub(crate) predicate: Option<PathBuf>,
    /// State how it was built, as SLSA provenance version 1, from what the CI system that this runs on tells.
    #[arg(long, value_parser = switch(), env = "SKEP_PROVENANCE", conflicts_with_all = ["predicate_type", "predicate"])]
    pub(crate) provenance: bool,
    #[command(flatten)]
    pub(crate) signer: Signer,
}

/// Who signs, and by which services.
#[derive(Debug, Args)]
pub(crate) struct Signer {
    /// Sign with a private key in PEM. Its password is that of SKEP_KEY_PASSWORD or COSIGN_PASSWORD, or is asked for.
    /// Nothing is entered into a log unless --rekor-url or --signing-config is given.
    #[arg(long, value_name = "FILE", env = "SKEP_SIGNING_KEY", help_heading = "Who signs")]
    pub(crate) key: Option<PathBuf>,
    /// Sign as whom a token names: the token, or the file that it is in. Without key and token, whom the CI system this
    /// runs on says one is, else whom a browser does. E-mail address or workflow, and the digest, go into a public log.
    #[arg(
        long,
        value_name = "TOKEN|FILE",
        env = "SKEP_IDENTITY_TOKEN",
        hide_env_values = true,
        help_heading = "Who signs"
    )]
    pub(crate) identity_token: Option<String>,
    /// Say who one is by another device: an address and a code are shown, which are opened and typed there.
    #[arg(
        long,
        value_parser = switch(),
        env = "SKEP_DEVICE",
        help_heading = "Who signs",
        conflicts_with = "identity_token"
    )]
    pub(crate) device: bool,
    /// Where a browser or device says who one is; that of the signing configuration, or of the public Sigstore, if nothing
    /// is said.
    #[arg(long, value_name = "URL", env = "SKEP_OIDC_ISSUER", help_heading = "Who signs", value_parser = service)]
    pub(crate) oidc_issuer: Option<String>,
    /// As which program one asks there.
    #[arg(
        long,
        value_name = "ID",
        env = "SKEP_OIDC_CLIENT_ID",
        help_heading = "Who signs",
        default_value = IdentityToken::CLIENT_ID
    )]
    pub(crate) oidc_client_id: String,
    /// A signing configuration, version 0.2, that says which services to use, instead of the public Sigstore.
    #[arg(long, value_name = "FILE", env = "SKEP_SIGNING_CONFIG", help_heading = "Services")]
    pub(crate) signing_config: Option<PathBuf>,
    /// The Fulcio that certifies identities.
    #[arg(long, value_name = "URL", env = "SKEP_FULCIO_URL", help_heading = "Services", value_parser = service)]
    pub(crate) fulcio_url: Option<String>,
    /// The Rekor that signatures are entered into.
    #[arg(long, value_name = "URL", env = "SKEP_REKOR_URL", help_heading = "Services", value_parser = service)]
    pub(crate) rekor_url: Option<String>,
    /// The version of that Rekor.
    #[arg(long, value_name = "1|2", env = "SKEP_REKOR_VERSION", help_heading = "Services", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) rekor_version: u8,
    /// The authority that vouches for the time, by the address that takes requests.
    #[arg(long, value_name = "URL", env = "SKEP_TIMESTAMP_URL", help_heading = "Services", value_parser = service)]
    pub(crate) timestamp_url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateKeyPair {
    /// What the files are called: PREFIX.key, which is encrypted, and PREFIX.pub. Files that are there are kept.
    #[arg(long, value_name = "PREFIX", env = "SKEP_OUTPUT_PREFIX", default_value = "cosign")]
    pub(crate) output_prefix: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skep trusted-root >trusted_root.json
  skep verify --trusted-root trusted_root.json --github acme/site registry.example.com/team/site:v1")]
pub(crate) struct NewestRoot {
    /// Whose: `sigstore`, the public one, or `github`, GitHub's for private repositories.
    #[arg(value_name = "WHOSE", default_value = "sigstore", value_parser = ["github", "sigstore"])]
    pub(crate) whose: String,
    /// Ask this mirror; or, with --tuf-root, the TUF repository of another Sigstore.
    #[arg(long, value_name = "URL", env = "SKEP_TUF_URL", value_parser = service)]
    pub(crate) tuf_url: Option<String>,
    /// The `root.json` that the updates of another Sigstore are believed by.
    #[arg(long, value_name = "FILE", env = "SKEP_TUF_ROOT", requires = "tuf_url")]
    pub(crate) tuf_root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dev {
    /// Run a Sigstore for tests: identities, certificates, logs and timestamps, all in memory.
    ///
    /// It certifies whoever has a token that it made. Never trust its root outside of tests.
    ///
    /// In the directory are then `trusted_root.json` to verify with, `signing_config.json` to sign with, `token`, an identity
    /// token that is made anew before it is too old, and `root.json`, by which the updates at URL/tuf are believed.
    Sigstore(Sigstore),
}

#[derive(Debug, Args)]
pub(crate) struct Sigstore {
    /// Where to listen, on this machine only; a free port if nothing is said.
    #[arg(long, env = "SKEP_DEV_ADDR", value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) addr: SocketAddr,
    /// The directory for its files, which is made if it is not there.
    #[arg(long, env = "SKEP_DEV_OUT", value_name = "DIR", default_value = "sigstore")]
    pub(crate) out: PathBuf,
    /// Whom the token names: an e-mail address, or a workflow of GitHub, `OWNER/REPO/FILE@REF`.
    #[arg(long, env = "SKEP_DEV_IDENTITY", value_name = "WHO", default_value = "dev@example.com")]
    pub(crate) identity: String,
}

/// The type of a statement: a URI, or what cosign calls it for short.
pub(super) fn predicate_type(text: &str) -> Result<String, String> {
    if let Some((_, uri)) = PREDICATES.iter().find(|(name, _)| *name == text) {
        return Ok((*uri).to_owned());
    }
    if text == SIGNATURE_PREDICATE {
        return Err("this is the type of signatures, which `skep sign` writes".to_owned());
    }
    if text.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty()) {
        return Ok(text.to_owned());
    }
    let names: Vec<_> = PREDICATES.iter().map(|(name, _)| *name).collect();
    Err(format!("wanted a URI, or one of {}", names.join(", ")))
}

/// The address of a service.
fn service(text: &str) -> Result<String, String> {
    match ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("wanted a URL that begins with https://".to_owned()),
    }
}

const PREDICATES: [(&str, &str); 10] = [
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("link", "https://in-toto.io/Link/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_uris_or_have_a_short_name() {
        assert_eq!(predicate_type("slsaprovenance1").unwrap(), "https://slsa.dev/provenance/v1");
        assert_eq!(predicate_type("https://acme.example/review").unwrap(), "https://acme.example/review");
        assert!(predicate_type(SIGNATURE_PREDICATE).unwrap_err().contains("skep sign"));
        for text in ["", "sbom", ":", "https:", ":x", "SPDX"] {
            assert!(predicate_type(text).unwrap_err().contains("one of custom, cyclonedx"), "{text}");
        }
    }
}
