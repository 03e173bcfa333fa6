//! Rego: decisions in the language of Open Policy Agent, over what a verifier verified.

use std::fmt;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use regorus::Engine;
use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;

use crate::error::Error;
use crate::error::Result;
use crate::policy::Facts;
use crate::policy::Refusal;
use crate::policy::Rule;
use crate::verified::Verified;

mod answer;
mod builtins;
mod calls;
mod compile;
mod input;
mod negation;
mod stack;
mod syntax;

/// A policy in Rego, version 1, as a rule over evidence that was verified.
///
/// Its package `blob.policy` decides. What is in `deny` denies, and is the reason; when there is nothing, `allow` has to
/// be `true`. Everything else denies as well: neither of them, an error, a value of another kind, too much time.
///
/// ```
/// use std::sync::Arc;
/// use skep_trust::{Policy, PrivateKey, Rego, Verifier};
///
/// # fn main() -> skep_trust::Result<()> {
/// let rego = Rego::from_source(
///     "tests.rego",
///     r#"
///     package blob.policy
///
///     deny contains sprintf("%d tests failed", [attestation.predicate.failed]) if {
///         some attestation in input.attestations
///         attestation.predicateType == "https://example.com/tests/v1"
///         attestation.predicate.failed > 0
///     }
///
///     allow if count(input.signatures) > 0
///     "#,
/// )?;
/// let verifier = Verifier::default().trust_key(PrivateKey::generate()?.public_key().clone());
/// let policy = Policy::rule(Arc::new(verifier), rego);
/// # let _ = policy;
/// # Ok(())
/// # }
/// ```
///
/// # Input
/// Nothing is in it that the verifier did not verify for this manifest; lists may be empty.
///
/// ```json
/// {
///   "manifest": {"reference": "registry.example/acme/site:v1", "digest": "sha256:…", "mediaType": "application/…"},
///   "attestations": [{
///     "_type": "https://in-toto.io/Statement/v1",
///     "predicateType": "https://slsa.dev/provenance/v1",
///     "subject": [{"name": "…", "digest": {"sha256": "…"}}],
///     "predicate": {},
///     "signer": {"identity": "…", "issuer": "…", "claims": {"repository": "…", "ref": "…"}},
///     "times": [{"source": "log", "time": "2026-11-21T12:00:00Z"}]
///   }],
///   "signatures": [{"key": "sha256:…", "form": "statement", "times": []}],
///   "complete": true
/// }
/// ```
///
/// A signer, and likewise a signature, has either `key`, the fingerprint of a key that was given to the verifier, or
/// `identity`, `issuer` and `claims` of a certificate, with the claims of [`Claims`](crate::Claims). `complete` is false
/// when something attached could not be read: a rule that denies because of what somebody attests should deny then, too.
///
/// # Bounds
/// A decision takes 200 ms at most, or what [`with_time_limit`](Self::with_time_limit) says, and a stack of 256 MiB,
/// of which it touches what it needs. Source text has 256 KiB, input and data documents have 16 MiB each. A call that
/// would make a string of more than 16 MiB or an array of more than 1,000,000 elements fails, and so denies. Functions
/// that reach outside (`http.send`, `opa.runtime`) or do not say the same each time (`rand.intn`) are unknown; the only
/// exception is the clock, `time.now_ns`.
#[derive(Clone)]
pub struct Rego {
    name: String,
    engine: Engine,
    predicate_types: Option<Vec<String>>,
    time_limit: Duration,
}

impl Rego {
    /// Compiles a policy of one module. The name is for people.
    ///
    /// # Errors
    /// As [`from_modules`](Self::from_modules).
    pub fn from_source(name: &str, text: &str) -> Result<Self> {
        Self::from_modules(name, [(name, text)])
    }

    /// Reads and compiles a policy of one file.
    ///
    /// # Errors
    /// `Policy` when it cannot be read, and as [`from_modules`](Self::from_modules).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|error| refusal(&name, error))?;
        file.take(compile::MAX_SOURCE as u64 + 1).read_to_string(&mut text).map_err(|error| refusal(&name, error))?;
        Self::from_source(&name, &text)
    }

    /// Compiles a policy of several modules, each with a name.
    ///
    /// # Errors
    /// `Policy` when the text is no Rego or too long, calls a function that is not known, or when no module is the
    /// package `blob.policy`.
    pub fn from_modules<'a>(name: &str, modules: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let engine = compile::engine(modules).map_err(|why| refusal(name, why))?;
        Ok(Self { name: name.to_owned(), engine, predicate_types: None, time_limit: TIME_LIMIT })
    }

    /// Adds a document, an object that is found below `data`; several are merged.
    ///
    /// # Errors
    /// `Policy` when it is no object, too large, says something else than one before, or stands where a module does.
    pub fn with_data(mut self, document: &serde_json::Value) -> Result<Self> {
        self.engine = compile::with_data(self.engine, document).map_err(|why| refusal(&self.name, why))?;
        Ok(self)
    }

    /// Shows the policy attestations of these types only. All, by default.
    pub fn with_predicate_types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.predicate_types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how long a decision may take; 200 ms by default.
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// The document that the policy is asked about, for people who write one.
    pub fn input(&self, facts: &Facts<'_>) -> serde_json::Value {
        input::document(facts, &input::shown(facts.report, self.predicate_types.as_deref()))
    }

    /// Decides by a document that is an input already.
    pub(crate) fn decide(&self, input: String) -> Result<(), Refusal> {
        let unknown = |why| Err(Refusal::unknown([why]));
        if input.len() > compile::MAX_DOCUMENT {
            return unknown(format!("the input has {} bytes, the limit is {}", input.len(), compile::MAX_DOCUMENT));
        }
        let mut engine = self.engine.clone();
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: self.time_limit,
            check_interval: CHECK_INTERVAL,
        });
        // Answer and engine end there, too: they may be nested as deeply as the stack is for.
        let decide = move || evaluate(engine, &input).map(|value| answer::verdict(&value));
        stack::with_large_stack(decide).flatten().unwrap_or_else(unknown)
    }
}

impl Rule for Rego {
    fn name(&self) -> String {
        format!("rego {}", self.name)
    }

    fn check<'a>(&self, facts: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal> {
        self.decide(self.input(facts).to_string())?;
        Ok(input::shown(facts.report, self.predicate_types.as_deref()))
    }
}

impl fmt::Debug for Rego {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rego")
            .field("name", &self.name)
            .field("predicate_types", &self.predicate_types)
            .field("time_limit", &self.time_limit)
            .finish_non_exhaustive()
    }
}

fn evaluate(mut engine: Engine, input: &str) -> Result<Value, String> {
    engine.set_input_json(input).map_err(|error| format!("input: {}", answer::plain(&error)))?;
    let results = engine.eval_query(QUERY.to_owned(), false).map_err(|error| answer::plain(&error))?;
    let value = results.result.into_iter().next().and_then(|result| result.expressions.into_iter().next());
    Ok(value.map_or(Value::Undefined, |expression| expression.value))
}

fn refusal(name: &str, why: impl fmt::Display) -> Error {
    Error::policy(format!("rego {name}"), why)
}

/// What is asked, as meigma/blob asks it.
const QUERY: &str = "data.blob.policy";
const TIME_LIMIT: Duration = Duration::from_millis(200);
/// How many steps are between two looks at the clock.
const CHECK_INTERVAL: NonZeroU32 = NonZeroU32::MIN;
