//! Logging in and out: credentials are left where docker looks for them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use serde_json::value::to_raw_value;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;

use crate::auth::Credential;
use crate::auth::docker::HUB_HOSTS;
use crate::auth::docker::HUB_KEY;
use crate::auth::docker::url_host;
use crate::auth::helper::Helper;
use crate::auth::helper::TOKEN_USER;

/// Docker's configuration file, to be written: `config.json` in `DOCKER_CONFIG`, or else in `~/.docker`.
///
/// Whatever else stands in it stays as it is, byte for byte; only the order of its keys may change. It is
/// replaced at once, and only its owner can read it.
#[derive(Clone, Debug)]
pub struct DockerLogin {
    path: PathBuf,
    helper_path: Option<OsString>,
}

/// Where a credential is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a file, where whoever can read it finds the secret.
    File(PathBuf),
    /// In a helper, by its name.
    Helper(String),
}

type Object = BTreeMap<String, Box<RawValue>>;

impl DockerLogin {
    /// Finds the file in the environment of this process.
    ///
    /// # Errors
    /// `Unauthorized` when there is no home directory.
    pub fn locate() -> Result<Self> {
        Self::locate_with(|name| std::env::var_os(name))
    }

    /// Finds the file in an environment; helpers are looked for in its `PATH`.
    ///
    /// # Errors
    /// As [`DockerLogin::locate`].
    pub fn locate_with(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = || variable("HOME").or_else(|| variable("USERPROFILE")).map(|home| Path::new(&home).join(".docker"));
        let Some(dir) = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(home) else {
            return Err(Error::new(
                Code::Unauthorized,
                "neither DOCKER_CONFIG nor HOME says where credentials are kept",
            ));
        };
        Ok(Self { path: dir.join("config.json"), helper_path: variable("PATH") })
    }

    /// Keeps a credential for a registry: in the helper that is configured for it, or else in the file.
    ///
    /// # Errors
    /// `Unsupported` when it is not one to keep; `Unauthorized` when a helper fails or the file is not a
    /// configuration; `Unknown` when the file cannot be written.
    pub async fn login(&self, host: &str, credential: &Credential) -> Result<Kept> {
        let unfit = |why: &str| Error::new(Code::Unsupported, format!("the credential for {host} {why}"));
        let (user, secret) = match credential {
            Credential::Basic { user, .. } if user.contains(':') => {
                return Err(unfit("has a colon in the user's name"));
            }
            Credential::Basic { user, password } => (user.as_str(), password.as_str()),
            Credential::Identity(token) => (TOKEN_USER, token.as_str()),
            Credential::Bearer(token) => ("", token.as_str()),
            Credential::Anonymous => return Err(unfit("is of nobody")),
        };
        let (mut file, key) = (self.read()?, key(host));
        let mut auths = object(&file, "auths", &self.path)?;
        forget(&mut auths, host);
        let (entry, kept) = match self.helper(&file, host)? {
            Some(_) if user.is_empty() => return Err(unfit("is a token, which helpers do not keep")),
            Some(name) => {
                Helper { name: &name, path: self.helper_path.as_ref() }.store(key, user, secret).await?;
                // docker lists so the registries that it is logged in to.
                (json!({}), Kept::Helper(name))
            }
            None => {
                let entry = match credential {
                    Credential::Bearer(token) => json!({"registrytoken": token}),
                    Credential::Identity(token) => json!({"identitytoken": token}),
                    _ => json!({"auth": STANDARD.encode(format!("{user}:{secret}"))}),
                };
                (entry, Kept::File(self.path.clone()))
            }
        };
        auths.insert(key.to_owned(), raw(&entry));
        file.insert("auths".to_owned(), raw(&auths));
        self.write(&file)?;
        Ok(kept)
    }

    /// Forgets the credential for a registry, in the helper and in the file. Tells whether there was one.
    ///
    /// # Errors
    /// As [`DockerLogin::login`].
    pub async fn logout(&self, host: &str) -> Result<bool> {
        let mut file = self.read()?;
        let mut was_there = false;
        if let Some(name) = self.helper(&file, host)? {
            was_there |= Helper { name: &name, path: self.helper_path.as_ref() }.erase(key(host)).await?;
        }
        let mut auths = object(&file, "auths", &self.path)?;
        if forget(&mut auths, host) {
            was_there = true;
            file.insert("auths".to_owned(), raw(&auths));
            self.write(&file)?;
        }
        Ok(was_there)
    }

    /// The helper that is configured for a registry.
    fn helper(&self, file: &Object, host: &str) -> Result<Option<String>> {
        let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).map_err(|_| invalid(&self.path));
        let helpers = object(file, "credHelpers", &self.path)?;
        let named = names(host).into_iter().find_map(|name| helpers.get(name));
        let helper = named.or_else(|| file.get("credsStore")).map(|value| text(value)).transpose()?;
        Ok(helper.filter(|name| !name.is_empty()))
    }

    fn read(&self) -> Result<Object> {
        match std::fs::read(&self.path) {
            Ok(json) if json.trim_ascii().is_empty() => Ok(Object::new()),
            Ok(json) => serde_json::from_slice(&json).map_err(|_| invalid(&self.path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Object::new()),
            Err(error) => Err(Error::io(format_args!("cannot read {}", self.path.display()), error)),
        }
    }

    fn write(&self, file: &Object) -> Result<()> {
        let failed = |error| Error::io(format_args!("cannot write {}", self.path.display()), error);
        // A link stays one: people keep such files elsewhere.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let dir = path.parent().unwrap_or(Path::new("."));
        create_dir(dir).map_err(failed)?;
        let mut json = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        file.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))
            .expect("a map of JSON is JSON");
        // Only its owner can read it, from the first byte on.
        let mut new = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        new.write_all(&json).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        new.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn create_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

/// The key that docker keeps a registry under.
fn key(host: &str) -> &str {
    if HUB_HOSTS.contains(&host) { HUB_KEY } else { host }
}

/// All names of a registry.
fn names(host: &str) -> Vec<&str> {
    match HUB_HOSTS.contains(&host) {
        true => HUB_HOSTS.into_iter().chain([HUB_KEY]).collect(),
        false => vec![host],
    }
}

/// Strikes all entries of a registry; tells whether there was one.
fn forget(auths: &mut Object, host: &str) -> bool {
    let (names, before) = (names(host), auths.len());
    auths.retain(|key, _| !names.contains(&key.as_str()) && !url_host(key).is_some_and(|key| names.contains(&key)));
    auths.len() < before
}

fn object(file: &Object, name: &str, path: &Path) -> Result<Object> {
    let Some(value) = file.get(name) else { return Ok(Object::new()) };
    let object: Option<Object> = serde_json::from_str(value.get()).map_err(|_| invalid(path))?;
    Ok(object.unwrap_or_default())
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("a map of JSON is JSON")
}

/// Says nothing of what is in the file.
fn invalid(path: &Path) -> Error {
    Error::new(Code::Unauthorized, format!("{} is not a configuration", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Credentials;
    use crate::auth::DockerConfig;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    fn login_in(dir: &Path) -> DockerLogin {
        let variable = |name: &str| (name == "DOCKER_CONFIG").then(|| dir.join("new").into());
        DockerLogin::locate_with(variable).unwrap()
    }

    async fn known(login: &DockerLogin, host: &str) -> Credential {
        let json = std::fs::read_to_string(&login.path).unwrap();
        DockerConfig::from_json(&json).unwrap().for_registry(host).await.unwrap()
    }

    #[tokio::test]
    async fn what_login_writes_is_read_and_logout_forgets_it() {
        let dir = tempfile::tempdir().unwrap();
        let login = login_in(dir.path());
        for (host, credential) in [
            ("r.example.com:5000", basic("user", "p:a ss")),
            ("docker.io", basic("user", "pass")),
            ("r.example.com", Credential::Identity("t".to_owned())),
            ("registry-1.docker.io", Credential::Bearer("t".to_owned())),
        ] {
            assert_eq!(login.login(host, &credential).await.unwrap(), Kept::File(login.path.clone()));
            assert_eq!(known(&login, host).await, credential);
        }
        let json = std::fs::read_to_string(&login.path).unwrap();
        assert!(json.contains("\"https://index.docker.io/v1/\"") && !json.contains("docker.io\""), "{json}");
        for host in ["r.example.com:5000", "index.docker.io", "r.example.com"] {
            assert!(login.logout(host).await.unwrap());
            assert!(!login.logout(host).await.unwrap());
            assert_eq!(known(&login, host).await, Credential::Anonymous);
        }
        for unfit in [Credential::Anonymous, basic("a:b", "c")] {
            assert_eq!(login.login("r.example.com", &unfit).await.unwrap_err().code(), &Code::Unsupported);
        }
    }

    #[tokio::test]
    async fn what_else_is_in_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let login = login_in(dir.path());
        std::fs::create_dir(dir.path().join("new")).unwrap();
        let other = r#"{"n": 123456789012345678901234567890.10, "z":1,"a":2}"#;
        let auth = r#"{ "auth":"dXNlcjpwYXNz" , "email":"x" }"#;
        let text =
            format!(r#"{{"plugins":{other},"auths":{{"b.example.com":{auth},"https://r.example.com/v1/":{{}}}}}}"#);
        std::fs::write(&login.path, text).unwrap();
        login.login("r.example.com", &basic("user", "pass")).await.unwrap();
        let json = std::fs::read_to_string(&login.path).unwrap();
        assert!(json.contains(other) && json.contains(auth) && !json.contains("/v1/"), "{json}");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&login.path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(&login.path, r#"{"auths":"hunter2"}"#).unwrap();
        let error = login.login("r.example.com", &basic("user", "pass")).await.unwrap_err().to_string();
        assert!(error.ends_with("config.json is not a configuration"), "{error}");
        assert_eq!(std::fs::read_to_string(&login.path).unwrap(), r#"{"auths":"hunter2"}"#);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn helpers_keep_what_they_are_configured_for() {
        use std::os::unix::fs::PermissionsExt;

        let _alone = crate::auth::docker::ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("docker-credential-test");
        let log = dir.path().join("log");
        std::fs::write(&program, format!("#!/bin/sh\necho \"$1 $(cat)\" >> {}\n", log.display())).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let login = DockerLogin {
            path: dir.path().join("config.json"),
            helper_path: Some(format!("{}:/usr/bin:/bin", dir.path().display()).into()),
        };
        std::fs::write(&login.path, r#"{"credHelpers":{"r.example.com":"test","docker.io":"test"}}"#).unwrap();
        let kept = Kept::Helper("test".to_owned());
        assert_eq!(login.login("r.example.com", &basic("user", "pass")).await.unwrap(), kept);
        assert_eq!(login.login("docker.io", &Credential::Identity("t".to_owned())).await.unwrap(), kept);
        assert!(!std::fs::read_to_string(&login.path).unwrap().contains("auth\""));
        assert!(login.logout("r.example.com").await.unwrap());
        let lines = std::fs::read_to_string(&log).unwrap();
        let want = [
            r#"store {"Secret":"pass","ServerURL":"r.example.com","Username":"user"}"#,
            r#"store {"Secret":"t","ServerURL":"https://index.docker.io/v1/","Username":"<token>"}"#,
            "erase r.example.com",
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), want);
        // And the one for all registries.
        std::fs::write(&login.path, r#"{"credsStore":"test"}"#).unwrap();
        assert_eq!(login.login("other.example.com", &basic("user", "pass")).await.unwrap(), kept);
        assert!(login.logout("other.example.com").await.unwrap());
        let lines = std::fs::read_to_string(&log).unwrap();
        let want =
            [r#"store {"Secret":"pass","ServerURL":"other.example.com","Username":"user"}"#, "erase other.example.com"];
        assert_eq!(lines.lines().skip(3).collect::<Vec<_>>(), want);
        let bearer = login.login("r.example.com", &Credential::Bearer("t".to_owned())).await.unwrap_err();
        assert_eq!(bearer.code(), &Code::Unsupported);
        for name in ["../x", "-x", ".x", "a b"] {
            std::fs::write(&login.path, json!({"credsStore": name}).to_string()).unwrap();
            let error = login.login("r.example.com", &basic("user", "pass")).await.unwrap_err().to_string();
            assert!(error.contains("is not the name of a program"), "{error}");
        }
    }
}
