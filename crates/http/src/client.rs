//! The client: a registry that lives on the other side of HTTP.

pub(crate) mod answer;
mod blob;
pub(crate) mod list;
pub(crate) mod manifest;
mod moved;
pub(crate) mod origin;
mod outgoing;
pub(crate) mod proxies;
mod referrers;
pub(crate) mod resource;
mod resume;
pub(crate) mod retry;
mod schema1;
pub(crate) mod send;
pub(crate) mod settings;
pub(crate) mod transport;
pub(crate) mod trouble;
mod upload;
pub(crate) mod warning;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use async_trait::async_trait;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Listing;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Mount;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::Upload;
use skep_registry::UploadOptions;
use url::Url;

use crate::auth::Authenticator;
use crate::auth::Credential;
use crate::auth::Credentials;
use crate::auth::Scope;
use crate::client::moved::Moved;
use crate::client::proxies::Proxies;
use crate::client::retry::RetryOptions;
use crate::client::settings::Settings;
use crate::client::transport::Transport;
use crate::client::warning::OnWarning;
use crate::client::warning::Warnings;
use crate::endpoint::Endpoint;

/// How a [`Client`] reaches its registry.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Who the client is. Anonymous by default.
    pub credentials: Arc<dyn Credentials>,
    /// Speak without TLS to a host that is given without a scheme. Loopback addresses are spoken to so anyway.
    pub plain_http: bool,
    /// How single registries are reached, by the host that people know them by, with its port if it has one.
    pub registries: BTreeMap<String, Settings>,
    /// Directories of certificates, `<directory>/<host>/*.crt`. Those of docker and podman by default.
    pub certs_dirs: Vec<PathBuf>,
    /// The proxies to go through. Those that the environment names by default.
    pub proxies: Proxies,
    /// Is called with each warning of the registry. It is logged in any case.
    pub on_warning: Option<OnWarning>,
    /// What the client calls itself.
    pub user_agent: String,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// How long nothing may go on: until an answer begins, between two parts of one, between two parts of a body
    /// that is sent. There is no limit to how long a transfer that goes on takes.
    pub read_timeout: Duration,
    /// How long the registry may take to answer when it has all bytes of a blob, and may have to read them again.
    pub commit_timeout: Duration,
    /// How long the client bears with failures.
    pub retry: RetryOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Arc::new(Credential::Anonymous),
            plain_http: false,
            registries: BTreeMap::new(),
            certs_dirs: transport::certs_dirs(),
            proxies: Proxies::from_env(),
            on_warning: None,
            user_agent: concat!("skep/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            commit_timeout: Duration::from_secs(600),
            retry: RetryOptions::default(),
        }
    }
}

/// A registry that is reached over HTTP (distribution-spec 1.1).
///
/// Clones share connections and tokens. Credentials are sent to the registry and to its token server only,
/// never to where one of them redirects.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    base: Url,
    auth: Authenticator,
    transport: Transport,
    warnings: Warnings,
    read_timeout: Duration,
    commit_timeout: Duration,
    retry: RetryOptions,
    moved: Moved,
    /// Set once the registry was seen to know of subjects (spec, "Listing Referrers").
    knows_referrers: AtomicBool,
    /// Whether the registry takes a blob with a single POST: one of the states in `upload`.
    single_post: AtomicU8,
    /// Held while a list of referrers is read and written back.
    referrers: tokio::sync::Mutex<()>,
}

impl Client {
    /// Makes a client for a registry: `registry.example.com`, `localhost:5000` or `http://10.0.0.1:5000`.
    ///
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// `NameInvalid` when this is not the host of a registry; `Unknown` when a certificate cannot be read or is
    /// malformed; `Unsupported` when a header of the settings is.
    pub fn new(host: &str, options: ClientOptions) -> Result<Self> {
        let host = host.trim();
        let known_as = host.split_once("://").map_or(host, |(_, rest)| rest).trim_end_matches('/');
        let settings = options.registries.get(known_as).cloned().unwrap_or_default();
        let base = base_url(host, options.plain_http || settings.plain_http)?;
        let transport = Transport::new(base.clone(), known_as, &settings, &options)?;
        let auth = Authenticator::new(base.clone(), known_as.to_owned(), options.credentials, transport.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                base,
                auth,
                transport,
                warnings: Warnings::new(options.on_warning),
                read_timeout: options.read_timeout,
                commit_timeout: options.commit_timeout,
                retry: settings.retry.unwrap_or(options.retry),
                moved: Moved::default(),
                knows_referrers: AtomicBool::new(false),
                single_post: AtomicU8::new(upload::POST_UNTRIED),
                referrers: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// The URL that the registry is at: scheme, host and port.
    pub fn base_url(&self) -> &Url {
        &self.inner.base
    }

    /// Asks whether there is a registry that lets the client in (spec, end-1).
    ///
    /// # Errors
    /// `Unauthorized`; `Unsupported` when what answers is not a registry; `Unavailable`.
    pub async fn ping(&self) -> Result<()> {
        let request = send::Request::get(self.url(&Endpoint::Base), Scope::new(""));
        self.send(request).await?.expect(&[200], Code::Unsupported).await?;
        Ok(())
    }

    /// Reads a blob from the first of the URLs that its descriptor names and that has it (image-spec, "urls").
    ///
    /// Whoever wrote the descriptor wrote the URLs, so none of them is told who the client is, not even when it is
    /// at the registry; none may lead to where a registry may not. The body is held to the digest and the size.
    ///
    /// # Errors
    /// `BlobUnknown` when there is no URL, else what the last one said.
    pub async fn get_foreign(&self, descriptor: &Descriptor) -> Result<Body> {
        blob::foreign(self, descriptor).await
    }

    pub(crate) fn url(&self, endpoint: &Endpoint) -> Url {
        let mut url = self.inner.base.clone();
        url.set_path(&endpoint.to_string());
        url
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.inner.base.as_str()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Registry for Client {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        blob::get(self, repo, digest, range).await
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        blob::head(self, repo, digest).await
    }

    async fn locate_blob(&self, _: &RepoName, _: &Digest) -> Result<Option<Url>> {
        // Where the registry redirects to is known only by asking for the blob, and then its bytes are on the way.
        Ok(None)
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        manifest::get(self, repo, reference).await
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        manifest::head(self, repo, reference).await
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        upload::put(self, repo, descriptor, body).await
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        Ok(match options.resume {
            Some(id) => Box::new(upload::HttpUpload::resume(self, repo, &id).await?),
            None => Box::new(upload::HttpUpload::begin(self, repo, options.algorithm).await?),
        })
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        upload::mount(self, repo, digest, from).await
    }

    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        manifest::put(self, repo, manifest, options).await
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        blob::delete(self, repo, digest).await
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        manifest::delete(self, repo, reference).await
    }

    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
        list::tags(self, repo, page).await
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        referrers::list(self, repo, subject, query).await
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        list::repos(self, page).await
    }
}

/// The URL of a registry from what people write: the same for all ways to write it.
///
/// A host without a scheme is spoken to without TLS if `plain_http` is set, or if it is on this machine.
///
/// # Errors
/// `NameInvalid` when this is not the host of a registry.
pub fn base_url(host: &str, plain_http: bool) -> Result<Url> {
    // What stands before an @ may be a password.
    let shown = host.rsplit_once('@').map_or(host, |(_, rest)| rest);
    let invalid = |why: &str| Error::new(Code::NameInvalid, format!("{shown:?} is not the host of a registry: {why}"));
    let url = match host.split_once("://") {
        Some(("http" | "https", _)) => Url::parse(host),
        Some(_) => return Err(invalid("its scheme is neither http nor https")),
        None => Url::parse(&format!("https://{host}")),
    };
    let mut url = url.map_err(|error| invalid(&error.to_string()))?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("there is more than a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it holds credentials"));
    }
    let is_near = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err(invalid("there is no host")),
    };
    if !host.contains("://") && (plain_http || is_near) {
        // Parsed anew, because the default port depends on the scheme.
        url = Url::parse(&format!("http://{host}")).map_err(|error| invalid(&error.to_string()))?;
    }
    if matches!(url.host_str(), Some("docker.io" | "index.docker.io")) {
        url.set_host(Some(HUB)).expect("a host can take the place of a host");
    }
    Ok(url)
}

/// Where the registry is that people call docker.io.
const HUB: &str = "registry-1.docker.io";
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_urls() {
        for (host, plain_http, want) in [
            ("registry.example.com", false, Some("https://registry.example.com/")),
            ("registry.example.com:5000", false, Some("https://registry.example.com:5000/")),
            ("registry.example.com:443", true, Some("http://registry.example.com:443/")),
            ("registry:5000", true, Some("http://registry:5000/")),
            ("http://registry.example.com", false, Some("http://registry.example.com/")),
            ("https://registry.example.com/", true, Some("https://registry.example.com/")),
            ("localhost:5000", false, Some("http://localhost:5000/")),
            ("127.0.0.1:5000", false, Some("http://127.0.0.1:5000/")),
            ("[::1]:5000", false, Some("http://[::1]:5000/")),
            ("https://localhost:5000", false, Some("https://localhost:5000/")),
            ("docker.io", false, Some("https://registry-1.docker.io/")),
            ("index.docker.io", false, Some("https://registry-1.docker.io/")),
            ("", false, None),
            ("ftp://registry.example.com", false, None),
            ("registry.example.com/library", false, None),
            ("registry.example.com?x", false, None),
            ("user:secret@registry.example.com", false, None),
            ("registry example", false, None),
        ] {
            assert_eq!(base_url(host, plain_http).ok().as_ref().map(Url::as_str), want, "{host}");
        }
    }
}
