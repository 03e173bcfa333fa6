//! What `skep serve --config FILE` reads: registries by name, made of each other.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;
use skep::ClientOptions;
use skep_http::Credential;
use skep_http::Credentials;
use skep_http::Mirrors;
use skep_registry::Cached;
use skep_registry::CachedOptions;
use skep_registry::Immutable;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::LimitOptions;
use skep_registry::Memory;
use skep_registry::MemoryOptions;
use skep_registry::Names;
use skep_registry::Quorum;
use skep_registry::ReadPolicy;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Routed;
use skep_registry::Routes;
use skep_registry::Store;
use skep_registry::StoreOptions;
use skep_registry::Unified;
use skep_registry::UnifyOptions;
use skep_registry::WritePolicy;
use toml::Spanned;

use crate::exit::Failure;
use crate::exit::Outcome;
use crate::pointed;

/// Registries within registries; what is deeper is a mistake.
const MAX_DEPTH: usize = 32;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where to listen; the command line has the last word.
    addr: Option<SocketAddr>,
    /// Which registry to offer.
    serve: Spanned<Part>,
    /// Registries by name.
    #[serde(default)]
    registry: BTreeMap<String, Spanned<Kind>>,
}

/// A registry: the name of one, or one that stands here.
#[derive(Debug)]
enum Part {
    Name(String),
    Here(Box<Kind>),
}

/// One kind of registry, and what it is made of.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    Cached(CachedPart),
    Client(ClientPart),
    Immutable(Wrapper),
    Layout(LayoutPart),
    Limited(Limited),
    Memory(MemoryPart),
    Prefixed(Prefixed),
    ReadOnly(Wrapper),
    Routes(Vec<RoutePart>),
    Select(Select),
    Timeout(Timeout),
    Traced(Wrapper),
    Unified(UnifiedPart),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CachedPart {
    of: Spanned<Part>,
    /// What tells this registry from others in the same directory.
    namespace: String,
    dir: Spanned<PathBuf>,
    /// How large the directory may grow, in MiB.
    #[serde(default = "ten_gibibytes")]
    max_mib: u64,
    #[serde(default)]
    tag_seconds: u32,
    #[serde(default)]
    offline: bool,
}

fn ten_gibibytes() -> u64 {
    10 << 10
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnifiedPart {
    of: Spanned<Vec<Spanned<Part>>>,
    #[serde(default)]
    read: Read,
    #[serde(default)]
    write: Write,
    #[serde(default)]
    quorum: Answers,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    #[default]
    InOrder,
    Race,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Write {
    #[default]
    All,
    Primary,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answers {
    #[default]
    All,
    Any,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientPart {
    host: Spanned<String>,
    #[serde(default)]
    plain_http: bool,
    /// Ignore docker's configuration.
    #[serde(default)]
    anonymous: bool,
    user: Option<String>,
    /// The variable that has the password, which has no place in a file like this one.
    password_env: Option<Spanned<String>>,
    /// The variable that has a token.
    token_env: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutPart {
    dir: Spanned<PathBuf>,
    #[serde(default)]
    allow_missing: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemoryPart {
    #[serde(default)]
    allow_missing: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapper {
    of: Spanned<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limited {
    of: Spanned<Part>,
    concurrency: usize,
    per_second: Option<NonZeroU32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prefixed {
    of: Spanned<Part>,
    prefix: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoutePart {
    /// `team/site`, `team/*` for all beneath, or `*`.
    names: Spanned<String>,
    of: Spanned<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Select {
    of: Spanned<Part>,
    /// All names, if none is given.
    #[serde(default)]
    include: Vec<Spanned<String>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeout {
    of: Spanned<Part>,
    idle_seconds: NonZeroU32,
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrKind;
        impl<'de> Visitor<'de> for NameOrKind {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a registry, or a table with its kind")
            }

            fn visit_str<E>(self, name: &str) -> Result<Part, E> {
                Ok(Part::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
                Kind::deserialize(MapAccessDeserializer::new(map)).map(|kind| Part::Here(Box::new(kind)))
            }
        }
        deserializer.deserialize_any(NameOrKind)
    }
}

/// What a file asks for.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) addr: Option<SocketAddr>,
    pub(super) registry: Arc<dyn Registry>,
}

/// Reads a file and makes the registry that it describes.
///
/// Its clients reach their registries as `reach` says. Errors point at the line that is wrong.
pub(super) fn load(path: &Path, reach: &ClientOptions) -> Outcome<Configured> {
    let (text, file) = pointed::read::<File>(path)?;
    let maker = Maker { path, text: &text, reach, registries: &file.registry };
    let registry = maker.part(&file.serve, &mut Vec::new())?;
    Ok(Configured { addr: file.addr, registry })
}

/// Makes registries of what a file says.
struct Maker<'a> {
    path: &'a Path,
    text: &'a str,
    reach: &'a ClientOptions,
    registries: &'a BTreeMap<String, Spanned<Kind>>,
}

impl<'a> Maker<'a> {
    fn wrong<T>(&self, place: &Spanned<T>, why: impl fmt::Display) -> Failure {
        pointed::at(self.path, self.text, Some(place.span()), &why.to_string())
    }

    /// `within` has the names that are being made, from the outside in.
    fn part(&self, part: &'a Spanned<Part>, within: &mut Vec<&'a str>) -> Outcome<Arc<dyn Registry>> {
        if within.len() > MAX_DEPTH {
            return Err(self.wrong(part, format!("registries are nested more than {MAX_DEPTH} deep")));
        }
        match part.get_ref() {
            Part::Here(kind) => {
                within.push("");
                let made = self.kind(kind, within);
                within.pop();
                made
            }
            Part::Name(name) => {
                let Some((name, kind)) = self.registries.get_key_value(name) else {
                    let known: Vec<_> = self.registries.keys().map(String::as_str).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(self.wrong(part, format!("no registry is called {name:?}; there are: {known}")));
                };
                if within.contains(&name.as_str()) {
                    return Err(self.wrong(part, format!("the registry {name:?} would be made of itself")));
                }
                within.push(name);
                let made = self.kind(kind.get_ref(), within);
                within.pop();
                made
            }
        }
    }

    fn kind(&self, kind: &'a Kind, within: &mut Vec<&'a str>) -> Outcome<Arc<dyn Registry>> {
        Ok(match kind {
            Kind::Cached(cached) => {
                let options = StoreOptions { max_bytes: cached.max_mib.saturating_mul(1 << 20) };
                let store =
                    Store::open(cached.dir.get_ref(), options).map_err(|error| self.wrong(&cached.dir, error))?;
                let options = CachedOptions {
                    namespace: cached.namespace.clone(),
                    tag_lifetime: Duration::from_secs(cached.tag_seconds.into()),
                    offline: cached.offline,
                };
                Arc::new(Cached::new(self.part(&cached.of, within)?, Arc::new(store), options))
            }
            Kind::Client(client) => Arc::new(self.client(client)?),
            Kind::Immutable(wrapper) => Arc::new(Immutable::new(self.part(&wrapper.of, within)?)),
            Kind::Layout(layout) => {
                let options = LayoutOptions { allow_missing: layout.allow_missing };
                let made = Layout::tree(layout.dir.get_ref(), options);
                Arc::new(made.map_err(|error| self.wrong(&layout.dir, error))?)
            }
            Kind::Limited(limited) => {
                let options = LimitOptions { concurrency: limited.concurrency, per_second: limited.per_second };
                Arc::new(skep_registry::limited(self.part(&limited.of, within)?, options))
            }
            Kind::Memory(memory) => Arc::new(Memory::new(MemoryOptions { allow_missing: memory.allow_missing })),
            Kind::Prefixed(prefixed) => {
                let prefix: RepoName =
                    prefixed.prefix.get_ref().parse().map_err(|error| self.wrong(&prefixed.prefix, error))?;
                Arc::new(skep_registry::prefixed(self.part(&prefixed.of, within)?, prefix))
            }
            Kind::ReadOnly(wrapper) => Arc::new(skep_registry::read_only(self.part(&wrapper.of, within)?)),
            Kind::Routes(routes) => {
                let made: Outcome<Vec<_>> =
                    routes.iter().map(|route| Ok((self.names(&route.names)?, self.part(&route.of, within)?))).collect();
                Arc::new(Routed::new(Routes::new(made?)))
            }
            Kind::Select(select) => {
                let include = self.all_names(&select.include)?;
                let exclude = self.all_names(&select.exclude)?;
                let allow = move |repo: &RepoName| {
                    let matches = |names: &[Names]| names.iter().any(|names| names.contain(repo));
                    (include.is_empty() || matches(&include)) && !matches(&exclude)
                };
                Arc::new(skep_registry::select(self.part(&select.of, within)?, allow))
            }
            Kind::Timeout(timeout) => {
                let idle = Duration::from_secs(timeout.idle_seconds.get().into());
                Arc::new(skep_registry::idle_timeout(self.part(&timeout.of, within)?, idle))
            }
            Kind::Traced(wrapper) => Arc::new(skep_registry::traced(self.part(&wrapper.of, within)?)),
            Kind::Unified(unified) => {
                let options = UnifyOptions {
                    read: match unified.read {
                        Read::InOrder => ReadPolicy::InOrder,
                        Read::Race => ReadPolicy::Race,
                    },
                    write: match unified.write {
                        Write::All => WritePolicy::All,
                        Write::Primary => WritePolicy::Primary,
                    },
                    quorum: match unified.quorum {
                        Answers::All => Quorum::All,
                        Answers::Any => Quorum::Any,
                    },
                };
                let made: Outcome<Vec<_>> = unified.of.get_ref().iter().map(|part| self.part(part, within)).collect();
                Arc::new(Unified::new(made?, options).map_err(|error| self.wrong(&unified.of, error))?)
            }
        })
    }

    fn client(&self, client: &ClientPart) -> Outcome<Mirrors> {
        let secret = |name: &Spanned<String>| {
            std::env::var(name.get_ref()).map_err(|_| self.wrong(name, format!("{} is not set", name.get_ref())))
        };
        let given = match (&client.user, &client.password_env, &client.token_env) {
            (Some(user), Some(password), None) => {
                Some(Credential::Basic { user: user.clone(), password: secret(password)? })
            }
            (None, None, Some(token)) => Some(Credential::Bearer(secret(token)?)),
            (None, None, None) => client.anonymous.then_some(Credential::Anonymous),
            _ => return Err(self.wrong(&client.host, "user goes with password_env, and token_env with neither")),
        };
        let credentials = given.map(|credential| Arc::new(credential) as Arc<dyn Credentials>);
        let plain_http = client.plain_http || self.reach.plain_http;
        let options = ClientOptions { credentials, plain_http, ..self.reach.clone() };
        Mirrors::of(client.host.get_ref(), options.http()?).map_err(|error| self.wrong(&client.host, error))
    }

    fn all_names(&self, patterns: &[Spanned<String>]) -> Outcome<Vec<Names>> {
        patterns.iter().map(|pattern| self.names(pattern)).collect()
    }

    fn names(&self, pattern: &Spanned<String>) -> Outcome<Names> {
        let parsed = match pattern.get_ref().as_str() {
            "*" => Ok(Names::All),
            text => match text.strip_suffix("/*") {
                Some(prefix) => prefix.parse().map(Names::Beneath),
                None => text.parse().map(Names::One),
            },
        };
        parsed.map_err(|error| self.wrong(pattern, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn load_text(text: &str) -> Outcome<Configured> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serve.toml");
        std::fs::write(&path, text.replace("DIR", &dir.path().join("data").display().to_string())).unwrap();
        load(&path, &ClientOptions::default())
    }

    #[test]
    fn stacks_are_made_of_names_and_of_tables() {
        let text = r#"
addr = "127.0.0.1:0"
serve = "front"

[registry.front]
routes = [
    { names = "hub/*", of = "upstream" },
    { names = "*", of = { limited = { of = "store", concurrency = 8, per_second = 100 } } },
]

[registry.upstream.read_only]
of = { timeout = { idle_seconds = 30, of = { client = { host = "registry.example.com", anonymous = true } } } }

[registry.store.immutable]
of = { select = { exclude = ["secret/*"], of = { traced = { of = { prefixed = { prefix = "tenant", of = "disk" } } } } } }

[registry.disk.layout]
dir = "DIR"
"#;
        let mirror = r#"
serve = { cached = { namespace = "a", dir = "DIR", tag_seconds = 60, of = { unified = { read = "race", write = "primary", quorum = "any", of = [
    { memory = {} },
    { memory = {} },
] } } } }
"#;
        assert_eq!(load_text(mirror).unwrap().addr, None);
        assert_eq!(load_text(text).unwrap().addr, Some("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, place, why) in [
            ("serve = 'a'", ":1:9:", "no registry is called \"a\"; there are: none"),
            ("serve = 'a'\n[registry.a.read_only]\nof = 'a'", ":3:6:", "made of itself"),
            ("serve = 'a'\n[registry.a.memory]\nlax = true", ":3:1:", "unknown field `lax`"),
            ("serve = 'a'\n[registry.a.memry]", ":2:", "unknown variant `memry`"),
            ("serve = { memory = {} }\naddr = 'here'", ":2:8:", "invalid socket address"),
            ("serve = { prefixed = { prefix = 'A', of = { memory = {} } } }", ":1:33:", "invalid repository name"),
            ("serve = { layout = {} }", ":1:", "missing field `dir`"),
            ("serve = { client = { host = 'a b' } }", ":1:29:", "a b"),
            ("serve = { client = { host = 'a.b', user = 'me' } }", ":1:29:", "password_env"),
            ("serve = { client = { host = 'a.b', token_env = 'NO_SUCH_TOKEN' } }", ":1:48:", "is not set"),
            ("serve = { unified = { of = [] } }", ":1:28:", "one registry or more"),
            ("serve = [1]", ":1:9:", "the name of a registry"),
            ("serve", ":1:", "expected"),
            ("", ":1:1:", "missing field `serve`"),
        ] {
            let failure = load_text(text).map(|_| ()).unwrap_err();
            let said = format!("{failure:?}");
            assert_eq!(failure.exit, Exit::Usage, "{text}: {said}");
            assert!(said.contains(place) && said.replace("\\\"", "\"").contains(why), "{text}: {said}");
        }
    }
}
