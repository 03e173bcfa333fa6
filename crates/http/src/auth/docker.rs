//! Docker's configuration: the credentials that `docker login` and `podman login` leave behind.

mod source;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use async_trait::async_trait;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;

use crate::auth::Credential;
use crate::auth::Credentials;
use crate::auth::docker::source::Source;
use crate::auth::helper::Failure;
use crate::auth::helper::Helper;

/// Credentials as docker and podman keep them, in files and in helper programs.
///
/// For each registry the first source counts that knows it: `DOCKER_AUTH_CONFIG` with JSON in it, the file
/// `config.json` in `DOCKER_CONFIG` or else in `~/.docker`, the file that `REGISTRY_AUTH_FILE` names or else
/// podman's `containers/auth.json` in `XDG_RUNTIME_DIR` and in `XDG_CONFIG_HOME` or `~/.config`. In each of them, a
/// helper named in `credHelpers` is asked first, then the one in `credsStore`, then what stands in `auths`. An entry
/// for a part of a registry, `host/team` say, counts more than any for the whole, and the longer one more than the
/// shorter.
#[derive(Debug, Default)]
pub struct DockerConfig {
    sources: Vec<Source>,
    /// Where helpers are looked for in place of `PATH`.
    helper_path: Option<OsString>,
}

impl DockerConfig {
    /// Reads what there is in the environment of this process.
    ///
    /// # Errors
    /// `Unauthorized` when a file cannot be read, or is not a configuration. A missing file is not an error.
    pub fn load() -> Result<Self> {
        Self::load_with(|name| std::env::var_os(name))
    }

    /// Reads what there is in an environment; helpers are looked for in its `PATH`.
    ///
    /// # Errors
    /// As [`DockerConfig::load`].
    pub fn load_with(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut sources = Vec::new();
        if let Some(json) = variable("DOCKER_AUTH_CONFIG") {
            sources.push(Source::parse("DOCKER_AUTH_CONFIG", json.to_string_lossy().as_bytes())?);
        }
        let docker = variable("DOCKER_CONFIG").map(PathBuf::from);
        let home =
            || variable("HOME").or_else(|| variable("USERPROFILE")).map(|home| PathBuf::from(home).join(".docker"));
        let podman = variable("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let config = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
        let podman = match podman {
            Some(path) => vec![path],
            None => [variable("XDG_RUNTIME_DIR").map(PathBuf::from), config]
                .into_iter()
                .flatten()
                .map(|dir| dir.join("containers/auth.json"))
                .collect(),
        };
        let docker = docker.or_else(home).map(|dir| dir.join("config.json"));
        for path in docker.into_iter().chain(podman) {
            match std::fs::read(&path) {
                Ok(json) => sources.push(Source::parse(&path.display().to_string(), &json)?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("cannot read {}", path.display());
                    return Err(Error::new(Code::Unauthorized, message).with_source(error));
                }
            }
        }
        Ok(Self { sources, helper_path: variable("PATH") })
    }

    /// Takes the text of one `config.json`.
    ///
    /// # Errors
    /// `Unauthorized` when it is not a configuration.
    pub fn from_json(json: &str) -> Result<Self> {
        Ok(Self { sources: vec![Source::parse("the given configuration", json.as_bytes())?], helper_path: None })
    }
}

impl DockerConfig {
    /// Finds the credential for a registry, or the one for a part of it that a repository is in, and where it is.
    ///
    /// # Errors
    /// `Unauthorized` when it should be known and cannot be had.
    pub async fn find(&self, host: &str, repo: Option<&str>) -> Result<Option<Found>> {
        let part = repo.and_then(|repo| self.part(host, repo));
        if part.is_some() {
            return Ok(part);
        }
        let is_hub = HUB_HOSTS.contains(&host);
        let hosts = if is_hub { &HUB_HOSTS[..] } else { std::slice::from_ref(&host) };
        for source in &self.sources {
            if let Some((name, is_default)) = source.helper(hosts) {
                // `docker login` keeps the Hub under the URL of its first version.
                let key = if is_hub { HUB_KEY } else { host };
                match (Helper { name, path: self.helper_path.as_ref() }).get(key).await {
                    Ok(Some(credential)) => return Ok(Some(source.found(key, Some(name), credential))),
                    Ok(None) => {}
                    // A store that is configured and not installed: `docker` on another machine wrote this file.
                    Err(Failure::Missing(_)) if is_default => {}
                    Err(Failure::Missing(error) | Failure::Failed(error)) => return Err(error),
                }
            }
            for host in hosts {
                if let Some((key, entry)) = source.entry(host)? {
                    return Ok(Some(source.found(key, None, entry)));
                }
            }
        }
        Ok(None)
    }

    /// All registries and parts of registries that something is known about, in lexical order: what files name, and
    /// what the helpers list that are for all registries. What a helper cannot list is left out.
    pub async fn names(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for source in &self.sources {
            keys.extend(source.entries.keys().chain(&source.empty).chain(source.helpers.keys()).cloned());
            if let Some(name) = &source.store {
                match (Helper { name, path: self.helper_path.as_ref() }).list().await {
                    Ok(listed) => keys.extend(listed),
                    Err(error) => tracing::debug!(%error, "not listed"),
                }
            }
        }
        let names = keys.iter().map(|key| {
            let name = url_host(key).unwrap_or(key);
            if HUB_HOSTS.contains(&name) { HUB_HOSTS[0] } else { name }
        });
        names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The entry for the longest part of a registry that a repository is in.
    fn part(&self, host: &str, repo: &str) -> Option<Found> {
        let hosts = if HUB_HOSTS.contains(&host) { &HUB_HOSTS[..] } else { std::slice::from_ref(&host) };
        let mut path = repo;
        loop {
            let entry = |source: &Source| {
                hosts.iter().find_map(|host| {
                    let key = format!("{host}/{path}");
                    source.entries.get(&key).map(|entry| source.found(&key, None, entry.clone()))
                })
            };
            if let Some(found) = self.sources.iter().find_map(entry) {
                return Some(found);
            }
            path = path.rsplit_once('/')?.0;
        }
    }
}

#[async_trait]
impl Credentials for DockerConfig {
    async fn for_registry(&self, host: &str) -> Result<Credential> {
        Ok(self.find(host, None).await?.map_or(Credential::Anonymous, |found| found.credential))
    }

    async fn for_repository(&self, host: &str, repo: &str) -> Result<Option<Credential>> {
        Ok(self.part(host, repo).map(|found| found.credential))
    }
}

/// A credential, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who the client is.
    pub credential: Credential,
    /// The file that says it or names the helper, or the variable with its text.
    pub source: String,
    /// What it stands under there, or in the helper.
    pub key: String,
    /// The helper that has it, by its name; none if it stands in the source itself.
    pub helper: Option<String>,
}

/// The host of a key that is a URL.
pub(super) fn url_host(key: &str) -> Option<&str> {
    key.split_once("//").and_then(|(_, rest)| rest.split('/').next())
}

/// Names of Docker's public registry; credentials for one are good for all.
pub(super) const HUB_HOSTS: [&str; 4] =
    ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
/// The key under which `docker login` keeps them.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// While one test forks, no other may be writing a program: it could not be run then.
#[cfg(all(test, unix))]
pub(super) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    async fn lookup(json: &str, host: &str) -> Result<Credential> {
        DockerConfig::from_json(json).unwrap().for_registry(host).await
    }

    #[tokio::test]
    async fn entries_are_found_by_their_host() {
        // "dXNlcjpwYXNz" is user:pass.
        for (json, host, want) in [
            (r#"{"auths":{"r.example.com":{"auth":"dXNlcjpwYXNz"}}}"#, "r.example.com", basic("user", "pass")),
            (r#"{"auths":{"r.example.com":{"auth":"dXNlcjpwYXNz"}}}"#, "r.example.com:5000", Credential::Anonymous),
            (
                r#"{"auths":{"https://r.example.com/v2/":{"auth":"dXNlcjpwYXNz"}}}"#,
                "r.example.com",
                basic("user", "pass"),
            ),
            (
                r#"{"auths":{"https://r.example.com":{"auth":"dXNlcjpwYXNz"},"r.example.com":{"username":"a","password":"b"}}}"#,
                "r.example.com",
                basic("a", "b"),
            ),
            (
                r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNz"}}}"#,
                "docker.io",
                basic("user", "pass"),
            ),
            (r#"{"auths":{"docker.io":{"auth":"dXNlcjpwYXNz"}}}"#, "registry-1.docker.io", basic("user", "pass")),
            (
                r#"{"auths":{"r.example.com":{"auth":"dXNlcjpwYXNz","identitytoken":"t"}}}"#,
                "r.example.com",
                Credential::Identity("t".to_owned()),
            ),
            (
                r#"{"auths":{"r.example.com":{"registrytoken":"t"}}}"#,
                "r.example.com",
                Credential::Bearer("t".to_owned()),
            ),
            (r#"{"auths":{"r.example.com":{}}}"#, "r.example.com", Credential::Anonymous),
            (r#"{"auths":{"r.example.com":null}}"#, "r.example.com", Credential::Anonymous),
            ("{}", "r.example.com", Credential::Anonymous),
            (r#"{"auths":null,"credsStore":""}"#, "r.example.com", Credential::Anonymous),
            (
                r#"{"auths":{"r.example.com":{"auth":"dXNlcjpwYXNz"}},"credsStore":"not-installed"}"#,
                "r.example.com",
                basic("user", "pass"),
            ),
        ] {
            assert_eq!(lookup(json, host).await.unwrap(), want, "{json}");
        }
    }

    #[tokio::test]
    async fn entries_for_a_part_count_more() {
        let json = r#"{"auths":{
            "r.example.com":{"username":"all","password":"x"},
            "r.example.com/team":{"username":"team","password":"x"},
            "r.example.com/team/site":{"username":"site","password":"x"},
            "docker.io/library":{"username":"hub","password":"x"}
        }}"#;
        let config = DockerConfig::from_json(json).unwrap();
        for (host, repo, want) in [
            ("r.example.com", "team/site", Some("site")),
            ("r.example.com", "team/site/sub", Some("site")),
            ("r.example.com", "team/sites", Some("team")),
            ("r.example.com", "team", Some("team")),
            ("r.example.com", "teams/site", None),
            ("r.example.com:443", "team", None),
            ("registry-1.docker.io", "library/alpine", Some("hub")),
        ] {
            let got = config.for_repository(host, repo).await.unwrap();
            assert_eq!(got, want.map(|user| basic(user, "x")), "{host}/{repo}");
        }
    }

    #[tokio::test]
    async fn the_hub_is_known_by_each_of_its_names() {
        for key in HUB_HOSTS.into_iter().chain([HUB_KEY, "https://index.docker.io/v1", "https://docker.io"]) {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dXNlcjpwYXNz"}}}}}}"#);
            for host in HUB_HOSTS {
                assert_eq!(lookup(&json, host).await.unwrap(), basic("user", "pass"), "{key} {host}");
            }
            assert_eq!(lookup(&json, "registry.example.com").await.unwrap(), Credential::Anonymous);
        }
    }

    #[tokio::test]
    async fn each_place_is_looked_at_in_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        for (path, user) in [
            ("home/.docker/config.json", "docker-home"),
            ("home/.config/containers/auth.json", "podman-home"),
            ("docker/config.json", "docker"),
            ("run/containers/auth.json", "podman-run"),
            ("xdg/containers/auth.json", "podman-xdg"),
            ("file.json", "file"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let entry = format!(r#"{{"auths":{{"r.example.com":{{"username":"{user}","password":"x"}}}}}}"#);
            std::fs::write(path, entry).unwrap();
        }
        let inline = r#"{"auths":{"r.example.com":{"username":"inline","password":"x"}}}"#;
        let (home, docker) = (("HOME", "home"), ("DOCKER_CONFIG", "docker"));
        let (run, xdg, file) =
            (("XDG_RUNTIME_DIR", "run"), ("XDG_CONFIG_HOME", "xdg"), ("REGISTRY_AUTH_FILE", "file.json"));
        for (variables, want) in [
            (&[][..], None),
            (&[home], Some("docker-home")),
            (&[("USERPROFILE", "home")], Some("docker-home")),
            (&[docker, home, run, xdg, file], Some("docker")),
            // DOCKER_CONFIG is in place of the home directory, and what is empty is not there.
            (&[("DOCKER_CONFIG", "missing"), home], Some("podman-home")),
            (&[("DOCKER_CONFIG", "missing"), home, run, xdg], Some("podman-run")),
            (&[("DOCKER_CONFIG", "missing"), home, xdg], Some("podman-xdg")),
            (&[("DOCKER_CONFIG", "missing"), home, run, xdg, file], Some("file")),
            (&[("DOCKER_CONFIG", "missing"), run, ("REGISTRY_AUTH_FILE", "missing")], None),
            (&[("DOCKER_AUTH_CONFIG", inline), docker, home], Some("inline")),
            (&[("DOCKER_AUTH_CONFIG", "{}"), docker, home], Some("docker")),
        ] {
            let config = DockerConfig::load_with(|name| {
                let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
                Some(if value.starts_with('{') { value.into() } else { dir.path().join(value).into() })
            });
            let got = config.unwrap().for_registry("r.example.com").await.unwrap();
            assert_eq!(got, want.map_or(Credential::Anonymous, |user| basic(user, "x")), "{variables:?}");
        }
    }

    #[tokio::test]
    async fn names_and_places_of_credentials_are_told() {
        let json = r#"{"auths":{
            "r.example.com":{"username":"all","password":"x"},
            "r.example.com/team":{"username":"team","password":"x"},
            "https://u.example.com/v1/":{"username":"url","password":"x"},
            "https://index.docker.io/v1/":{"username":"hub","password":"x"},
            "empty.example.com":{}
        },"credHelpers":{"h.example.com":"missing"},"credsStore":"missing"}"#;
        let config = DockerConfig::from_json(json).unwrap();
        let names =
            ["docker.io", "empty.example.com", "h.example.com", "r.example.com", "r.example.com/team", "u.example.com"];
        assert_eq!(config.names().await, names);
        for (host, repo, want) in [
            ("r.example.com", None, Some(("all", "r.example.com"))),
            ("r.example.com", Some("team/site"), Some(("team", "r.example.com/team"))),
            ("r.example.com", Some("other"), Some(("all", "r.example.com"))),
            ("u.example.com", None, Some(("url", "https://u.example.com/v1/"))),
            ("registry-1.docker.io", None, Some(("hub", "https://index.docker.io/v1/"))),
            ("empty.example.com", None, None),
        ] {
            let found = config.find(host, repo).await.unwrap();
            let want = want.map(|(user, key)| Found {
                credential: basic(user, "x"),
                source: "the given configuration".to_owned(),
                key: key.to_owned(),
                helper: None,
            });
            assert_eq!(found, want, "{host} {repo:?}");
        }
    }

    #[tokio::test]
    async fn what_is_ambiguous_or_missing_is_an_error() {
        let two = r#"{"auths":{"https://h.example.com/a":{"auth":"dXNlcjpwYXNz"},"https://h.example.com/b":{"auth":"YTpi"}}}"#;
        let error = lookup(two, "h.example.com").await.unwrap_err().to_string();
        assert!(error.contains("\"https://h.example.com/a\" and \"https://h.example.com/b\""), "{error}");
        let helper = r#"{"credHelpers":{"h.example.com":"not-installed"}}"#;
        let error = lookup(helper, "h.example.com").await.unwrap_err().to_string();
        assert!(error.contains("\"not-installed\" for h.example.com: is not installed"), "{error}");
        let helper = r#"{"credHelpers":{"h.example.com":"../../bin/sh"}}"#;
        let error = lookup(helper, "h.example.com").await.unwrap_err().to_string();
        assert!(error.contains("is not the name of a program"), "{error}");
    }

    #[test]
    fn malformed_files_are_errors_without_secrets() {
        for (json, want) in [
            (r#"{"auths":{"h":{"auth":"hunter2"}}}"#, "auths entry \"h\" has an auth that is not base64"),
            (r#"{"auths":{"h":{"auth":"aHVudGVyMg=="}}}"#, "has an auth that is not user:password"),
            (r#"{"auths":{"h":{"password":["hunter2"]}}}"#, "not a configuration, at line 1 column"),
            (r#"{"auths":"hunter2"}"#, "not a configuration"),
        ] {
            let error = DockerConfig::from_json(json).unwrap_err().to_string();
            assert!(error.contains(want) && !error.contains("hunter2"), "{error}");
        }
    }

    #[cfg(unix)]
    mod helpers {
        use std::os::unix::fs::PermissionsExt;

        use super::*;

        fn with_helper(script: &str, config: &str) -> (tempfile::TempDir, DockerConfig) {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("docker-credential-test");
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            let loaded = DockerConfig::load_with(|name| match name {
                "DOCKER_CONFIG" => Some(dir.path().into()),
                "PATH" => Some(format!("{}:/usr/bin:/bin", dir.path().display()).into()),
                _ => None,
            });
            let loaded = loaded.unwrap();
            (dir, loaded)
        }

        #[tokio::test]
        async fn a_helper_is_asked_for_its_host() {
            let _alone = ALONE.lock().await;
            let script =
                r#"read -r host || true; echo "{\"ServerURL\":\"$host\",\"Username\":\"$1\",\"Secret\":\"s-$host\"}""#;
            let (_dir, config) = with_helper(script, r#"{"credHelpers":{"r.example.com":"test"}}"#);
            assert_eq!(config.for_registry("r.example.com").await.unwrap(), basic("get", "s-r.example.com"));
            assert_eq!(config.for_registry("other.example.com").await.unwrap(), Credential::Anonymous);
            let found = config.find("r.example.com", None).await.unwrap().unwrap();
            assert_eq!((found.key.as_str(), found.helper.as_deref()), ("r.example.com", Some("test")));
            let listed = r#"echo "{\"https://index.docker.io/v1/\":\"me\",\"s.example.com\":\"$1\"}""#;
            let (_dir, store) = with_helper(listed, r#"{"credsStore":"test"}"#);
            assert_eq!(store.names().await, ["docker.io", "s.example.com"]);
            let (_dir, config) = with_helper(script, r#"{"credsStore":"test"}"#);
            assert_eq!(config.for_registry("docker.io").await.unwrap(), basic("get", "s-https://index.docker.io/v1/"));
        }

        #[tokio::test]
        async fn a_token_comes_under_a_name_of_its_own() {
            let _alone = ALONE.lock().await;
            let (_dir, config) =
                with_helper(r#"echo '{"Username":"<token>","Secret":"t"}'"#, r#"{"credsStore":"test"}"#);
            assert_eq!(config.for_registry("r.example.com").await.unwrap(), Credential::Identity("t".to_owned()));
        }

        #[tokio::test]
        async fn not_found_is_no_error_and_failure_is_one_without_secrets() {
            let _alone = ALONE.lock().await;
            let store = r#"{"credsStore":"test","auths":{"r.example.com":{"auth":"dXNlcjpwYXNz"}}}"#;
            let (_dir, config) = with_helper("echo credentials not found in native keychain; exit 1", store);
            assert_eq!(config.for_registry("r.example.com").await.unwrap(), basic("user", "pass"));
            let (_dir, config) = with_helper("echo hunter2; exit 3", store);
            let error = config.for_registry("r.example.com").await.unwrap_err();
            assert!(error.to_string().contains("failed with exit status: 3"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }

        /// To the kernel, both what may not be run and what is behind a directory that may not be entered is forbidden.
        #[tokio::test]
        async fn what_may_not_be_run_is_not_installed() {
            let _alone = ALONE.lock().await;
            let store = r#"{"credsStore":"test","auths":{"r.example.com":{"auth":"dXNlcjpwYXNz"}}}"#;
            let (dir, config) = with_helper("exit 1", store);
            let program = dir.path().join("docker-credential-test");
            std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(config.for_registry("r.example.com").await.unwrap(), basic("user", "pass"));
        }

        #[tokio::test]
        async fn earlier_sources_win_registry_by_registry() {
            let _alone = ALONE.lock().await;
            let (dir, _) =
                with_helper("exit 1", r#"{"auths":{"a.example.com":{"auth":"YTpi"},"b.example.com":{"auth":"YTpi"}}}"#);
            let config = DockerConfig::load_with(|name| match name {
                "DOCKER_AUTH_CONFIG" => Some(r#"{"auths":{"a.example.com":{"auth":"dXNlcjpwYXNz"}}}"#.into()),
                "DOCKER_CONFIG" => Some(dir.path().into()),
                "REGISTRY_AUTH_FILE" => Some(dir.path().join("missing.json").into()),
                _ => None,
            });
            let config = config.unwrap();
            assert_eq!(config.for_registry("a.example.com").await.unwrap(), basic("user", "pass"));
            assert_eq!(config.for_registry("b.example.com").await.unwrap(), basic("a", "b"));
        }
    }
}
