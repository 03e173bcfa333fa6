//! Canonical names: one name of a place for each way to write where it is, for whoever decides by names.

use std::path::Path;

use skep_registry::Result;

use crate::address::Address;
use crate::address::Store;

/// The one name of a registry's host, however it is written.
///
/// It is in small letters, docker.io is called so, numbers are written as addresses are, and the ports 80 and 443 are
/// left out: which of them is meant when nothing is said depends on how the registry is spoken to, and is not to tell
/// one registry from another.
///
/// ```
/// # fn main() -> skep_registry::Result<()> {
/// assert_eq!(skep::canonical_host("Registry.Example.com:443")?, "registry.example.com");
/// assert_eq!(skep::canonical_host("index.docker.io")?, "docker.io");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `NameInvalid` when it is not the host of a registry.
pub fn canonical_host(host: &str) -> Result<String> {
    let url = skep_http::base_url(host, false)?;
    let name = match url.host_str().unwrap_or_default() {
        "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        name => name,
    };
    Ok(match url.port() {
        None | Some(80 | 443) => name.to_owned(),
        Some(port) => format!("{name}:{port}"),
    })
}

impl Address {
    /// The one name of what an address names, however it is written: `registry.example.com/team/site:v1`.
    ///
    /// The host is as [`canonical_host`] has it; what is written by digest has that and no tag, `latest` stands where neither
    /// is written. A layout is `oci:` and its path from the root, through no symbolic link.
    ///
    /// # Errors
    /// `NameInvalid` when the host cannot be one.
    pub fn canonical(&self) -> Result<String> {
        let store = match &self.store {
            Store::Layout(dir) => format!("oci:{}", real(dir)),
            Store::Repository { host, repo, .. } => format!("{}/{repo}", canonical_host(host)?),
        };
        Ok(match self.digest {
            Some(ref digest) => format!("{store}@{digest}"),
            None => format!("{store}:{}", self.tag_or_latest()),
        })
    }
}

/// The path of a directory from the root. One that is not there has none but by its words.
fn real(dir: &Path) -> String {
    let path = std::fs::canonicalize(dir).or_else(|_| std::path::absolute(dir));
    path.as_deref().unwrap_or(dir).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_name() {
        for (written, want) in [
            ("registry.example.com", "registry.example.com"),
            ("Registry.EXAMPLE.com", "registry.example.com"),
            ("registry.example.com:443", "registry.example.com"),
            ("registry.example.com:80", "registry.example.com"),
            ("registry.example.com:0443", "registry.example.com"),
            ("registry.example.com:5000", "registry.example.com:5000"),
            ("localhost", "localhost"),
            ("localhost:80", "localhost"),
            ("127.1:5000", "127.0.0.1:5000"),
            ("0x7f.1:5000", "127.0.0.1:5000"),
            ("[0:0::1]:5000", "[::1]:5000"),
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("registry.hub.docker.com", "docker.io"),
        ] {
            assert_eq!(canonical_host(written).unwrap(), want, "{written}");
        }
        assert!(canonical_host("a b").is_err());
    }

    #[test]
    fn what_is_written_in_many_ways_has_one_name() {
        const SHA: &str = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
        let canonical = |text: &str| text.parse::<Address>().unwrap().canonical().unwrap();
        for written in ["a.b/c", "a.b/c:latest", "http://A.b/c", "https://a.b:443/c:latest", "docker://a.b:80/c"] {
            assert_eq!(canonical(written), "a.b/c:latest", "{written}");
        }
        for written in [format!("a.b/c@{SHA}"), format!("a.b/c:v1@{SHA}")] {
            assert_eq!(canonical(&written), format!("a.b/c@{SHA}"), "{written}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_layout_has_one_name_wherever_it_is_seen_from() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("store")).unwrap();
        std::os::unix::fs::symlink("store", root.join("link")).unwrap();
        for written in ["store", "link", "./store/../store/"] {
            let address: Address = format!("oci:{}/{written}:v1", root.display()).parse().unwrap();
            assert_eq!(address.canonical().unwrap(), format!("oci:{}/store:v1", root.display()), "{written}");
        }
    }
}
