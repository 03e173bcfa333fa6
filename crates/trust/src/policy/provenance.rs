//! Provenance: what a builder says of a build, in SLSA's versions 0.2 and 1.

use serde::Serialize;
use serde_json::Value;

use super::source::Source;
use crate::verified::Attestation;

/// What a builder says of how something was built (<https://slsa.dev/provenance>).
///
/// Made of an [`Attestation`], which somebody signed; whether the signer may say so is asked by [`Slsa`](crate::Slsa).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Provenance {
    /// The builder: `https://github.com/acme/site/.github/workflows/release.yml@refs/heads/main`.
    pub builder: Option<String>,
    /// How the rest is to be read.
    pub build_type: Option<String>,
    /// The repository it was built from: `https://github.com/acme/site`, without `git+`, `.git` and ref.
    pub repository: Option<String>,
    /// The branch or tag, in full: `refs/heads/main`.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The commit, hexadecimal.
    pub commit: Option<String>,
    /// The path of the workflow in the repository: `.github/workflows/release.yml`.
    pub workflow: Option<String>,
}

impl Provenance {
    /// The predicate types that are read.
    pub const TYPES: [&str; 2] = [V1, V0_2];

    /// Whether a statement says that it is provenance of a version that is known.
    pub fn is_in(attestation: &Attestation) -> bool {
        Self::TYPES.contains(&attestation.predicate_type.as_str())
    }

    /// Reads the provenance that is attested.
    ///
    /// # Errors
    /// What is wrong: another predicate type, a field of another type, or two fields that say different things.
    pub fn parse(attestation: &Attestation) -> Result<Self, String> {
        let predicate = &attestation.predicate;
        match attestation.predicate_type.as_str() {
            V1 => Self::v1(predicate),
            V0_2 => Self::v0_2(predicate),
            other => Err(format!("predicate type: wanted one of {:?}, got {other}", Self::TYPES)),
        }
    }

    fn v1(predicate: &Value) -> Result<Self, String> {
        let definition = &predicate["buildDefinition"];
        let parameters = &definition["externalParameters"];
        let workflow = &parameters["workflow"];
        let mut provenance = Self {
            builder: text(predicate, "/runDetails/builder/id")?,
            build_type: text(definition, "/buildType")?,
            workflow: text(workflow, "/path")?,
            ..Self::default()
        };
        // GitHub's own form, then those of builders that take a source, then what was fetched.
        provenance.enter(text(workflow, "/repository")?, text(workflow, "/ref")?)?;
        provenance.enter(text(parameters, "/source/uri")?, None)?;
        let source = parameters["source"].as_str().filter(|source| Source::parse(source).is_some());
        provenance.enter(source.map(str::to_owned), None)?;
        let fetched = list(definition, "/resolvedDependencies")?;
        provenance.materials(fetched)?;
        Ok(provenance)
    }

    fn v0_2(predicate: &Value) -> Result<Self, String> {
        let config = &predicate["invocation"]["configSource"];
        let mut provenance = Self {
            builder: text(predicate, "/builder/id")?,
            build_type: text(predicate, "/buildType")?,
            workflow: text(config, "/entryPoint")?,
            commit: text(config, "/digest/sha1")?,
            ..Self::default()
        };
        provenance.enter(text(config, "/uri")?, None)?;
        provenance.materials(list(predicate, "/materials")?)?;
        Ok(provenance)
    }

    /// Takes the repository from what was fetched if nothing else named it, and its ref and commit in any case.
    ///
    /// The builder, and actions it used, are among what was fetched; they are no source.
    fn materials(&mut self, fetched: &[Value]) -> Result<(), String> {
        for one in fetched {
            let Some(source) = text(one, "/uri")?.as_deref().and_then(Source::parse) else { continue };
            if self.repository.as_ref().is_some_and(|known| *known != source.repository) {
                continue;
            }
            let commit = text(one, "/digest/gitCommit")?.or(text(one, "/digest/sha1")?);
            agree("commits", &mut self.commit, commit)?;
            agree("refs", &mut self.reference, source.reference)?;
            self.repository = Some(source.repository);
        }
        Ok(())
    }

    /// Takes a repository, which may name a ref, and a ref.
    fn enter(&mut self, uri: Option<String>, reference: Option<String>) -> Result<(), String> {
        let Some(uri) = uri else { return Ok(()) };
        let source = Source::parse(&uri).ok_or_else(|| format!("source: wanted the URL of a repository, got {uri}"))?;
        agree("repositories", &mut self.repository, Some(source.repository))?;
        agree("refs", &mut self.reference, source.reference)?;
        agree("refs", &mut self.reference, reference)
    }
}

/// Two places that say different things would let a rule look at the one and a reader at the other.
fn agree(what: &str, known: &mut Option<String>, other: Option<String>) -> Result<(), String> {
    match (&known, other) {
        (_, None) => Ok(()),
        (Some(known), Some(other)) if *known != other => Err(format!("it names two {what}: {known} and {other}")),
        (_, other) => {
            *known = other;
            Ok(())
        }
    }
}

/// A text, if there is something; what is there and no text is malformed.
fn text(value: &Value, pointer: &str) -> Result<Option<String>, String> {
    match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{}: wanted a text", pointer.trim_start_matches('/'))),
    }
}

fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value], String> {
    match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("{}: wanted a list", pointer.trim_start_matches('/'))),
    }
}

const V1: &str = "https://slsa.dev/provenance/v1";
const V0_2: &str = "https://slsa.dev/provenance/v0.2";
