//! Approvals: what developers, or applications that watch reviews, said about a change before it was made.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::envelope::Envelope;
use super::fault::Fault;
use super::fault::Result;
use super::key::Evidence;
use super::key::Principal;
use super::object::ObjectId;
use super::repository::MAX_COMMIT;
use super::repository::Repository;
use super::state::State;
use crate::verifier::Verifier;

/// Where approvals are.
pub(super) const ATTESTATIONS: &str = "refs/gittuf/attestations";

/// A change: a reference is moved from a commit to something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub(super) reference: &'a str,
    /// Zero for a reference that was not there.
    pub(super) from: ObjectId,
    /// The tree for a branch, the commit for a tag.
    pub(super) to: ObjectId,
}

impl Change<'_> {
    fn is_tag(&self) -> bool {
        self.reference.starts_with("refs/tags/")
    }

    fn path(&self) -> String {
        format!("{}/{}-{}", self.reference, self.from, self.to)
    }
}

/// Who approved a change.
#[derive(Clone, Debug, Default)]
pub(super) struct Approvals {
    /// What developers signed; who did is told by its signatures.
    pub(super) authorization: Option<Envelope>,
    /// Who approved, as an application calls them, by application.
    reviewers: BTreeMap<String, BTreeSet<String>>,
}

impl Approvals {
    /// Reads what is there about a change, at a commit of the approvals.
    pub(super) fn load(
        repository: &Repository,
        commit: ObjectId,
        state: &State,
        change: Change<'_>,
        sigstore: Option<&Verifier>,
    ) -> Result<Self> {
        let tree = repository.commit(commit, MAX_COMMIT)?.tree;
        let path = change.path();
        let read = |path: String| -> Result<Option<Envelope>> {
            let bytes = repository.blob_at(tree, &path, MAX_ATTESTATION).map_err(|fault| fault.of(&path))?;
            bytes.map(|bytes| Envelope::parse(&bytes)).transpose().map_err(|fault| fault.of(&path))
        };
        let authorization = read(format!("reference-authorizations/{path}"))?;
        if let Some(envelope) = &authorization {
            let statement: Statement<AuthorizationBody> = parse(&envelope.payload)?;
            statement.check(change, &AUTHORIZATIONS, &statement.predicate.place)?;
        }
        let mut reviewers = BTreeMap::new();
        for (name, role) in state.root.applications.iter().filter(|_| !change.is_tag()) {
            let application = URL_SAFE.encode(name);
            let path = format!("code-review-approvals/{path}/github/{application}");
            let Some(envelope) = read(path)? else { continue };
            let evidence = Evidence { envelope: Some(&envelope), sigstore, ..Evidence::default() };
            if evidence.signers(&state.application(role)?).len() < role.threshold {
                return Err(Fault::denied(format!("an approval that says to be of {name}, which did not sign it")));
            }
            let statement: Statement<ReviewBody> = parse(&envelope.payload)?;
            statement.check(change, &REVIEWS, &statement.predicate.place)?;
            reviewers.insert(name.clone(), statement.predicate.approvers.unwrap_or_default());
        }
        Ok(Self { authorization, reviewers })
    }

    /// Whether somebody approved, as an application says who knows them by another name.
    pub(super) fn is_reviewer(&self, principal: &Principal) -> bool {
        let named = principal
            .identities
            .iter()
            .filter_map(|(application, name)| Some((self.reviewers.get(application)?, name)));
        named.into_iter().any(|(approvers, name)| approvers.contains(name))
    }
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<Statement<T>> {
    serde_json::from_slice(payload).map_err(|error| Fault::unknown(format!("malformed approval: {error}")))
}

/// Called as protocol buffers call its fields.
#[derive(Deserialize)]
struct Statement<T> {
    subject: Vec<SubjectBody>,
    #[serde(alias = "predicateType")]
    predicate_type: String,
    predicate: T,
}

#[derive(Deserialize)]
struct SubjectBody {
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct AuthorizationBody {
    #[serde(flatten)]
    place: PlaceBody,
}

#[derive(Deserialize)]
struct ReviewBody {
    #[serde(flatten)]
    place: PlaceBody,
    approvers: Option<BTreeSet<String>>,
}

/// What was approved; the names of version 0.1 stand behind those of version 0.2.
#[derive(Deserialize)]
struct PlaceBody {
    #[serde(rename = "targetRef")]
    reference: String,
    #[serde(rename = "fromID", alias = "fromRevisionID")]
    from: String,
    #[serde(rename = "targetID", alias = "targetTreeID")]
    to: String,
}

impl<T> Statement<T> {
    /// Checks that it is about a change. Where it lies says nothing, anybody can put it there.
    fn check(&self, change: Change<'_>, types: &[&str], place: &PlaceBody) -> Result<()> {
        if !types.contains(&self.predicate_type.as_str()) {
            let why = format!("an approval of type {:?}, wanted one of {types:?}", self.predicate_type);
            return Err(Fault::unknown(why));
        }
        let to = change.to.to_string();
        let kind = if change.is_tag() { "gitCommit" } else { "gitTree" };
        let is_subject = self.subject.first().is_some_and(|subject| subject.digest.get(kind) == Some(&to));
        let is_place = place.reference == change.reference && place.from == change.from.to_string() && place.to == to;
        match is_subject && is_place {
            true => Ok(()),
            false => Err(Fault::denied(format!(
                "an approval for {} from {} to {}, wanted one for {} from {} to {to}",
                place.reference, place.from, place.to, change.reference, change.from,
            ))),
        }
    }
}

const AUTHORIZATIONS: [&str; 2] =
    ["https://gittuf.dev/reference-authorization/v0.1", "https://gittuf.dev/reference-authorization/v0.2"];
const REVIEWS: [&str; 1] = ["https://gittuf.dev/github-pull-request-approval/v0.1"];
const MAX_ATTESTATION: u64 = 1 << 20;
