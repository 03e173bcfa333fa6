//! Tokens of the machine: variables, files and services that CI systems and clouds provide.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::token::IdentityToken;
use crate::token::MAX_TOKEN;
use crate::token::provider;
use crate::token::refused;

pub(super) async fn token() -> Result<Option<IdentityToken>> {
    if let Some(token) = variable("SIGSTORE_ID_TOKEN") {
        return IdentityToken::new(&token).map(Some);
    }
    if let Some(token) = file(Path::new(TOKEN_FILE))? {
        return IdentityToken::new(&token).map(Some);
    }
    if let Some(token) = sigstore_oidc::IdentityToken::detect_ambient().await.map_err(|error| refused(&error))? {
        return IdentityToken::new(token.expose_secret()).map(Some);
    }
    match variable("GCE_METADATA_HOST") {
        Some(host) => google(&host).await,
        None if is_google(Path::new(PRODUCT_FILE)) => google(METADATA_HOST).await,
        None => Ok(None),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// A token that is mounted into a container, if it is.
fn file(path: &Path) -> Result<Option<String>> {
    let failed = |error: std::io::Error| refused(&format!("{}: {error}", path.display()));
    let file = match std::fs::File::open(path) {
        Err(error) if [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        file => file.map_err(failed)?,
    };
    let mut token = String::new();
    file.take(MAX_TOKEN as u64 + 1).read_to_string(&mut token).map_err(failed)?;
    Ok(Some(token))
}

/// Whether the machine is one of Google Cloud, as the firmware says.
fn is_google(product: &Path) -> bool {
    std::fs::read_to_string(product).is_ok_and(|name| ["Google", "Google Compute Engine"].contains(&name.trim()))
}

/// The token of the service account of the machine. A machine without account or metadata has none.
async fn google(host: &str) -> Result<Option<IdentityToken>> {
    let failed = |error: &dyn std::fmt::Display| refused(&format!("metadata server {host}: {error}"));
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    let http = http.build().map_err(|error| failed(&error))?;
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/identity");
    let url = url::Url::parse_with_params(&url, [("audience", IdentityToken::CLIENT_ID), ("format", "full")]);
    let request = http.get(url.map_err(|error| failed(&error))?).header("Metadata-Flavor", "Google");
    let answer = match request.send().await {
        Err(error) if error.is_connect() || error.is_timeout() => return Ok(None),
        answer => answer.map_err(|error| failed(&error))?,
    };
    // Anybody may answer to the name; Google's server says that it is.
    if answer.headers().get("Metadata-Flavor").is_none_or(|flavor| flavor != "Google") {
        return Ok(None);
    }
    match answer.status().as_u16() {
        200 => {
            let body = provider::body(answer).await?;
            IdentityToken::new(std::str::from_utf8(&body).map_err(|error| failed(&error))?).map(Some)
        }
        404 => Ok(None),
        status => Err(failed(&format!("status {status}"))),
    }
}

const TOKEN_FILE: &str = "/var/run/sigstore/cosign/oidc-token";

const PRODUCT_FILE: &str = "/sys/class/dmi/id/product_name";

const METADATA_HOST: &str = "metadata.google.internal";

const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_token_is_read_and_a_missing_one_is_none() {
        let path = std::env::temp_dir().join(format!("skep-trust-token-{}", std::process::id()));
        assert_eq!(file(&path).expect("it is not there"), None);
        std::fs::write(&path, "token\n").expect("a temporary file can be written");
        assert_eq!(file(&path).expect("it is there").as_deref(), Some("token\n"));
        assert!(!is_google(&path));
        std::fs::write(&path, "Google Compute Engine\n").expect("a temporary file can be written");
        assert!(is_google(&path));
        std::fs::remove_file(&path).expect("it is there");
        // What is there and cannot be read is no reason to go on as somebody else.
        assert!(file(&std::env::temp_dir()).is_err());
    }
}
