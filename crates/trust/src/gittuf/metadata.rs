//! Metadata of gittuf, version 0.1 and 0.2: who may change the policy, and which rules it has.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::fault::Fault;
use super::fault::Result;
use super::key::GittufKey;
use super::key::KeyValue;
use super::key::Principal;
use super::path::PathPattern;

/// The root of trust: who may change it, and who may change the rules.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) version: u64,
    pub(super) expires: Option<String>,
    pub(super) principals: Principals,
    pub(super) root: Role,
    /// Who signs the file `targets`; `None` when nobody may.
    pub(super) targets: Option<Role>,
    /// Applications that say who approved what, and are trusted with that.
    pub(super) applications: BTreeMap<String, Role>,
    pub(super) global: Vec<GlobalRule>,
}

/// A file of rules, in their order.
#[derive(Clone, Debug)]
pub(super) struct RuleFile {
    pub(super) version: u64,
    pub(super) expires: Option<String>,
    pub(super) principals: Principals,
    pub(super) rules: Vec<PathRule>,
}

/// Principals by their id.
pub(super) type Principals = BTreeMap<String, Principal>;

/// So many of some principals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) principals: BTreeSet<String>,
    pub(super) threshold: usize,
}

/// Who may change what.
#[derive(Clone, Debug)]
pub(super) struct PathRule {
    pub(super) name: String,
    pub(super) paths: Vec<PathPattern>,
    /// Whether the rules behind it do not count where it matches.
    pub(super) is_last: bool,
    pub(super) role: Role,
}

/// What holds besides all rules.
#[derive(Clone, Debug)]
pub(super) struct GlobalRule {
    pub(super) name: String,
    pub(super) paths: Vec<PathPattern>,
    /// How many have to agree; `None` when what is asked is that nothing is lost.
    pub(super) threshold: Option<usize>,
}

impl Root {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let body: RootBody = parse(bytes)?;
        expect("type", &body.kind, "root")?;
        let principals = principals(body.schema_version.as_deref(), ROOT_2, body.principals, body.keys)?;
        if body.multi_repository.is_some_and(|other| !other.controller_repositories.unwrap_or_default().is_empty()) {
            return Err(Fault::unknown("the policy has a controller in another repository, which is not supported"));
        }
        let mut roles = body.roles;
        let mut role = |name: &str| roles.remove(name).map(|role| role.check(name, &principals)).transpose();
        let root = role("root")?.ok_or_else(|| Fault::unknown("no role root"))?;
        let targets = role("targets")?;
        let trusted = body.github_apps.unwrap_or_default().into_iter().filter(|(_, application)| application.trusted);
        let applications = trusted.map(|(name, body)| {
            // Their principals may stand in the file of rules.
            let role = RoleBody { principals: body.principals, threshold: body.threshold }.threshold(&name)?;
            Ok((name, role))
        });
        Ok(Self {
            // Roots of version 0.1 are not numbered, and do not come after those that are.
            version: if body.schema_version.is_some() { body.version } else { 0 },
            expires: body.expires,
            root,
            targets,
            applications: applications.collect::<Result<_>>()?,
            global: body.global_rules.unwrap_or_default().into_iter().map(GlobalBody::check).collect::<Result<_>>()?,
            principals,
        })
    }
}

impl RuleFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let body: RuleFileBody = parse(bytes)?;
        expect("type", &body.kind, "targets")?;
        if body.targets.is_some_and(|targets| !targets.is_empty()) {
            return Err(Fault::unknown("targets: wanted none"));
        }
        let delegations = body.delegations;
        let principals = principals(body.schema_version.as_deref(), RULES_2, delegations.principals, delegations.keys)?;
        let mut rules = delegations.roles;
        // The last rule allows the rest. Without it, it would be anybody's guess what the last one is for.
        let is_rest = |rule: &RuleBody| rule.name == ALLOW_RULE;
        if !rules.pop().is_some_and(|rule| is_rest(&rule)) || rules.iter().any(is_rest) {
            return Err(Fault::unknown(format!("wanted the rule {ALLOW_RULE} as the last, and once")));
        }
        let rules = rules.into_iter().map(RuleBody::check).collect::<Result<_>>()?;
        Ok(Self { version: body.version, expires: body.expires, principals, rules })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Fault::unknown(format!("malformed metadata: {error}")))
}

fn expect(what: &str, came: &str, wanted: &str) -> Result<()> {
    match came == wanted {
        true => Ok(()),
        false => Err(Fault::unknown(format!("{what}: wanted {wanted:?}, got {came:?}"))),
    }
}

/// The principals of a file: keys in version 0.1, which does not name itself, keys and persons in version 0.2.
fn principals(
    version: Option<&str>,
    wanted: &str,
    principals: Option<BTreeMap<String, Value>>,
    keys: Option<BTreeMap<String, KeyBody>>,
) -> Result<Principals> {
    let found: Vec<_> = match (version, principals, keys) {
        (None, None, keys) => {
            let keys = keys.unwrap_or_default().into_values();
            keys.map(|key| key.check().map(Principal::of_key)).collect::<Result<_>>()?
        }
        (Some(version), principals, None) => {
            expect("schema version", version, wanted)?;
            principals.unwrap_or_default().into_values().map(principal).collect::<Result<_>>()?
        }
        (version, _, _) => {
            let version = version.unwrap_or("0.1");
            return Err(Fault::unknown(format!("keys and principals do not go together in version {version}")));
        }
    };
    Ok(found.into_iter().map(|principal| (principal.id.clone(), principal)).collect())
}

fn principal(value: Value) -> Result<Principal> {
    let malformed = |error: serde_json::Error| Fault::unknown(format!("malformed principal: {error}"));
    if value.get("keyid").is_some() {
        let key: KeyBody = serde_json::from_value(value).map_err(malformed)?;
        return key.check().map(Principal::of_key);
    }
    let person: PersonBody = serde_json::from_value(value).map_err(malformed)?;
    let keys = person.keys.unwrap_or_default().into_values().map(KeyBody::check).collect::<Result<_>>()?;
    Ok(Principal { id: person.id, keys, identities: person.identities.unwrap_or_default() })
}

impl Principal {
    pub(super) fn of_key(key: GittufKey) -> Self {
        Self { id: key.id().to_owned(), keys: vec![key], identities: BTreeMap::new() }
    }
}

// Fields that are not known are refused: they might be what the policy depends on.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RootBody {
    #[serde(rename = "type")]
    kind: String,
    schema_version: Option<String>,
    expires: Option<String>,
    #[serde(default)]
    version: u64,
    #[serde(rename = "repositoryLocation")]
    _repository_location: Option<IgnoredAny>,
    principals: Option<BTreeMap<String, Value>>,
    keys: Option<BTreeMap<String, KeyBody>>,
    roles: BTreeMap<String, RoleBody>,
    github_apps: Option<BTreeMap<String, ApplicationBody>>,
    global_rules: Option<Vec<GlobalBody>>,
    #[serde(rename = "propagations")]
    _propagations: Option<IgnoredAny>,
    multi_repository: Option<MultiRepositoryBody>,
    // What developers run before they commit.
    #[serde(rename = "hooks")]
    _hooks: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MultiRepositoryBody {
    #[serde(default, rename = "controller")]
    _controller: bool,
    controller_repositories: Option<Vec<IgnoredAny>>,
    #[serde(rename = "networkRepositories")]
    _network_repositories: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    #[serde(rename = "principalIDs", alias = "keyids")]
    principals: Option<BTreeSet<String>>,
    threshold: usize,
}

impl RoleBody {
    fn threshold(self, name: &str) -> Result<Role> {
        let role = Role { principals: self.principals.unwrap_or_default(), threshold: self.threshold };
        if role.threshold == 0 || role.principals.is_empty() {
            let (threshold, count) = (role.threshold, role.principals.len());
            return Err(Fault::unknown(format!("role {name}: {threshold} of {count} principals cannot be asked for")));
        }
        Ok(role)
    }

    fn check(self, name: &str, known: &Principals) -> Result<Role> {
        let role = self.threshold(name)?;
        match role.principals.iter().find(|id| !known.contains_key(*id)) {
            None => Ok(role),
            Some(stranger) => Err(Fault::unknown(format!("role {name}: no principal {stranger:?}"))),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationBody {
    #[serde(default)]
    trusted: bool,
    #[serde(rename = "principalIDs", alias = "keyids")]
    principals: Option<BTreeSet<String>>,
    threshold: usize,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum GlobalBody {
    BlockForcePushes { name: String, paths: Vec<String> },
    Threshold { name: String, paths: Vec<String>, threshold: usize },
}

impl GlobalBody {
    fn check(self) -> Result<GlobalRule> {
        let (name, paths, threshold) = match self {
            Self::BlockForcePushes { name, paths } => (name, paths, None),
            Self::Threshold { name, paths, threshold } => (name, paths, Some(threshold)),
        };
        Ok(GlobalRule { name, paths: patterns(&paths)?, threshold })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleFileBody {
    #[serde(rename = "type")]
    kind: String,
    schema_version: Option<String>,
    expires: Option<String>,
    #[serde(default)]
    version: u64,
    targets: Option<BTreeMap<String, IgnoredAny>>,
    delegations: DelegationsBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DelegationsBody {
    principals: Option<BTreeMap<String, Value>>,
    keys: Option<BTreeMap<String, KeyBody>>,
    roles: Vec<RuleBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleBody {
    name: String,
    paths: Vec<String>,
    #[serde(default)]
    terminating: bool,
    #[serde(rename = "custom")]
    _custom: Option<IgnoredAny>,
    #[serde(rename = "principalIDs", alias = "keyids")]
    principals: Option<BTreeSet<String>>,
    threshold: usize,
}

impl RuleBody {
    fn check(self) -> Result<PathRule> {
        let role = RoleBody { principals: self.principals, threshold: self.threshold }.threshold(&self.name)?;
        Ok(PathRule { paths: patterns(&self.paths)?, is_last: self.terminating, role, name: self.name })
    }
}

fn patterns(paths: &[String]) -> Result<Vec<PathPattern>> {
    paths.iter().map(|path| PathPattern::parse(path)).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonBody {
    #[serde(rename = "personID")]
    id: String,
    keys: Option<BTreeMap<String, KeyBody>>,
    #[serde(rename = "associatedIdentities")]
    identities: Option<BTreeMap<String, String>>,
    #[serde(rename = "custom")]
    _custom: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    #[serde(rename = "keyid_hash_algorithms")]
    _keyid_hash_algorithms: Option<IgnoredAny>,
    keyid: String,
    keytype: String,
    #[serde(rename = "scheme")]
    _scheme: Option<IgnoredAny>,
    keyval: KeyValue,
}

impl KeyBody {
    fn check(self) -> Result<GittufKey> {
        let key = GittufKey::of_metadata(&self.keyid, &self.keytype, &self.keyval);
        key.ok_or_else(|| {
            Fault::unknown(format!("a {} key goes by {:?}, which is not its id", self.keytype, self.keyid))
        })
    }
}

const ROOT_2: &str = "https://gittuf.dev/policy/root/v0.2";
const RULES_2: &str = "http://gittuf.dev/policy/rule-file/v0.2";
const ALLOW_RULE: &str = "gittuf-allow-rule";
