//! The keys of a policy file, as serde reads them.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::IntoDeserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;
use serde_saphyr::Spanned;

/// A policy: everything in it has to hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Block {
    #[serde(deserialize_with = "present")]
    pub(super) all_of: Option<Vec<Spanned<Block>>>,
    #[serde(deserialize_with = "present")]
    pub(super) any_of: Option<Vec<Spanned<Block>>>,
    #[serde(deserialize_with = "present")]
    pub(super) at_least: Option<Spanned<AtLeast>>,
    #[serde(deserialize_with = "present")]
    pub(super) attestation: Option<Spanned<Attestation>>,
    #[serde(deserialize_with = "present")]
    pub(super) gittuf: Option<Spanned<Gittuf>>,
    #[serde(deserialize_with = "present")]
    pub(super) not: Option<Box<Spanned<Block>>>,
    #[serde(deserialize_with = "present")]
    pub(super) provenance: Option<Spanned<Provenance>>,
    #[serde(deserialize_with = "present")]
    pub(super) rego: Option<Spanned<Rego>>,
    #[serde(deserialize_with = "present")]
    pub(super) signature: Option<Spanned<Signers>>,
    pub(super) trusted_root: Many<Root>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AtLeast {
    pub(super) count: usize,
    pub(super) of: Vec<Spanned<Block>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attestation {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) by: Option<Spanned<Signers>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provenance {
    pub(super) slsa: Spanned<Slsa>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Slsa {
    #[serde(deserialize_with = "present")]
    pub(super) builder: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) repository: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) workflow: Option<String>,
    pub(super) branch: Many<String>,
    pub(super) tag: Many<String>,
    #[serde(rename = "ref")]
    pub(super) reference: Many<String>,
    #[serde(deserialize_with = "present")]
    pub(super) by: Option<Spanned<Signers>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rego {
    pub(super) file: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) by: Option<Spanned<Signers>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[cfg_attr(not(feature = "gittuf"), expect(dead_code, reason = "read also where it is refused, for its mistakes"))]
pub(super) struct Gittuf {
    pub(super) repository: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) url: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) cache: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) directory: Option<String>,
    #[serde(default)]
    pub(super) root_key: Many<RootKey>,
    #[serde(default)]
    pub(super) trusted_root: Many<Root>,
    #[serde(default, rename = "ref", deserialize_with = "present")]
    pub(super) reference: Option<String>,
    #[serde(default)]
    pub(super) whole_log: bool,
    #[serde(default)]
    pub(super) refuse_expired: bool,
    #[serde(default)]
    pub(super) trust_first_root: bool,
    #[serde(default)]
    pub(super) allow_missing_gittuf: bool,
    #[serde(default)]
    pub(super) allow_missing_provenance: bool,
    #[serde(default)]
    pub(super) allow_unprotected: bool,
    #[serde(default, deserialize_with = "present")]
    pub(super) by: Option<Spanned<Signers>>,
}

/// An SSH key, an OpenPGP key in armour, or an identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[cfg_attr(not(feature = "gittuf"), expect(dead_code, reason = "read also where it is refused, for its mistakes"))]
pub(super) enum RootKey {
    Text(String),
    Identity(RootIdentity),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "gittuf"), expect(dead_code, reason = "read also where it is refused, for its mistakes"))]
pub(super) struct RootIdentity {
    pub(super) issuer: String,
    pub(super) identity: String,
}

/// Whose signatures count: any of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Signers {
    pub(super) anyone: bool,
    pub(super) github_actions: Many<GitHubActions>,
    pub(super) gitlab: Many<GitLab>,
    pub(super) key: Many<Key>,
    pub(super) keyless: Many<Keyless>,
    pub(super) require_log: bool,
    pub(super) trusted_root: Many<Root>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Keyless {
    #[serde(deserialize_with = "present")]
    pub(super) issuer: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) issuer_regex: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) identity: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) identity_regex: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) claims: Option<Claims>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Claims {
    pub(super) builder: Many<String>,
    pub(super) commit: Many<String>,
    pub(super) owner: Many<String>,
    #[serde(rename = "ref")]
    pub(super) reference: Many<String>,
    pub(super) repository: Many<String>,
    pub(super) runner: Many<String>,
    pub(super) trigger: Many<String>,
    pub(super) workflow: Many<String>,
}

/// One of the first two; the third is there to be refused with a reason.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Key {
    #[serde(deserialize_with = "present")]
    pub(super) path: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) pem: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) url: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GitHubActions {
    pub(super) repository: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) workflow: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) builder: Option<String>,
    #[serde(default)]
    pub(super) branch: Many<String>,
    #[serde(default)]
    pub(super) tag: Many<String>,
    #[serde(default, rename = "ref")]
    pub(super) reference: Many<String>,
    #[serde(default)]
    pub(super) trigger: Many<String>,
    #[serde(default)]
    pub(super) runner: Many<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) host: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GitLab {
    pub(super) project: String,
    #[serde(default)]
    pub(super) branch: Many<String>,
    #[serde(default)]
    pub(super) tag: Many<String>,
    #[serde(default, rename = "ref")]
    pub(super) reference: Many<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) host: Option<String>,
}

/// `sigstore`, `github`, or a file and what it asks of signatures.
#[derive(Clone, Debug)]
pub(super) enum Root {
    Named(String),
    File(RootFile),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RootFile {
    pub(super) file: String,
    #[serde(default = "yes")]
    pub(super) log: bool,
    #[serde(default = "yes")]
    pub(super) certificate_log: bool,
    #[serde(default)]
    pub(super) timestamp: bool,
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RootVisitor;
        impl<'de> Visitor<'de> for RootVisitor {
            type Value = Root;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a trusted root: sigstore, github, or {file: …}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Root, E> {
                Ok(Root::Named(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Root, A::Error> {
                RootFile::deserialize(MapAccessDeserializer::new(map)).map(Root::File)
            }
        }
        deserializer.deserialize_any(RootVisitor)
    }
}

/// One, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct Many<T>(pub(super) Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ManyVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one, or a list")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Many<T>, E> {
                T::deserialize(text.into_deserializer()).map(|one| Many(vec![one]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Many<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| Many(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Many<T>, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = list.next_element()? {
                    many.push(one);
                }
                // A list of nothing asks for nothing, which is not what its key says.
                if many.is_empty() { Err(A::Error::custom("the list is empty")) } else { Ok(Many(many)) }
            }
        }
        deserializer.deserialize_any(ManyVisitor(PhantomData))
    }
}

/// A key without a value is a mistake, and not the same as no key.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn yes() -> bool {
    true
}
