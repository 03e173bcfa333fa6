//! The transport: connections to the registry's own origin, and to all others.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::header;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use url::Url;

use crate::client::ClientOptions;
use crate::client::origin::Guard;
use crate::client::settings::Settings;

/// Connections, and what only the registry's own origin sees.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    base: Url,
    own: Pair,
    foreign: Pair,
    /// Headers of the settings.
    headers: HeaderMap,
    /// Certificates that are trusted besides those of the system.
    extra_roots: usize,
}

/// Two ways to speak to a server.
#[derive(Clone, Debug)]
struct Pair {
    any: reqwest::Client,
    /// For blobs: parallel ranges of HTTP/2 would share one connection, and its window.
    http1: reqwest::Client,
    /// Who reads one blob after the other needs no second connection, whose handshakes take longer than a small blob.
    first: Arc<Semaphore>,
}

/// What a request goes over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Line {
    /// The connection that all may share.
    #[default]
    Shared,
    /// That one too, unless another blob comes over it just now.
    Turns,
    /// A connection of its own.
    Own,
}

/// The right to read a blob over the connection that all else goes over; it is kept with the body.
pub(crate) type Lease = Arc<OwnedSemaphorePermit>;

impl Transport {
    /// Makes the transport to a registry that is known as `host`.
    ///
    /// # Errors
    /// `Unknown` when a certificate cannot be read or is malformed; `Unsupported` when a header is.
    pub(crate) fn new(base: Url, host: &str, settings: &Settings, options: &ClientOptions) -> Result<Self> {
        let mut found = Found::look(&options.certs_dirs, host)?;
        for pem in &settings.ca {
            found.roots.push(pem.read()?);
        }
        if let Some(certificate) = &settings.client_certificate {
            let key = settings.client_key.as_ref().unwrap_or(certificate).read()?;
            found.identity = Some([key, b"\n".to_vec(), certificate.read()?].concat());
        }
        let broken = |error: reqwest::Error| Error::new(Code::Unknown, "cannot set up HTTP").with_source(error);
        let mut roots = Vec::new();
        for pem in &found.roots {
            roots.extend(reqwest::Certificate::from_pem_bundle(pem).map_err(broken)?);
        }
        let identity = found.identity.map(|pem| reqwest::Identity::from_pem(&pem)).transpose().map_err(broken)?;
        let proxies = [&options.proxies.http, &options.proxies.https].into_iter().flatten();
        let hosts = proxies.filter_map(|proxy| {
            let url = if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") };
            Url::parse(&url).ok()?.host_str().map(str::to_owned)
        });
        let guard = Guard::new(base.clone(), hosts.collect());
        let builder = |is_own: bool| -> reqwest::Result<reqwest::ClientBuilder> {
            let mut builder = reqwest::Client::builder()
                // Followed by us, because credentials must not be.
                .redirect(reqwest::redirect::Policy::none())
                .tls_certs_merge(roots.clone())
                .user_agent(&options.user_agent)
                .connect_timeout(options.connect_timeout)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .tcp_nodelay(true)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .dns_resolver(guard.clone())
                // Another crate of the same program may have these built in; what is unpacked has other digests.
                .no_gzip()
                .no_brotli()
                .no_deflate()
                .no_zstd()
                .no_proxy();
            for proxy in options.proxies.build()? {
                builder = builder.proxy(proxy);
            }
            if is_own {
                builder = builder.tls_danger_accept_invalid_certs(settings.skip_verify);
                if let Some(identity) = &identity {
                    builder = builder.identity(identity.clone());
                }
            }
            Ok(builder)
        };
        let pair = |is_own: bool| -> Result<Pair> {
            let any = builder(is_own).and_then(reqwest::ClientBuilder::build).map_err(broken)?;
            let http1 = builder(is_own).and_then(|builder| builder.http1_only().build()).map_err(broken)?;
            Ok(Pair { any, http1, first: Arc::new(Semaphore::new(1)) })
        };
        let own = pair(true)?;
        let is_same = identity.is_none() && !settings.skip_verify;
        let foreign = if is_same { own.clone() } else { pair(false)? };
        Ok(Self { base, own, foreign, headers: headers(settings)?, extra_roots: roots.len() })
    }

    /// The connection to a URL that all may share.
    pub(crate) fn shared(&self, url: &Url) -> &reqwest::Client {
        &self.pair(url).any
    }

    fn pair(&self, url: &Url) -> &Pair {
        if url.origin() == self.base.origin() { &self.own } else { &self.foreign }
    }

    /// The connection to a URL for a request.
    pub(crate) fn to(&self, url: &Url, line: Line) -> (&reqwest::Client, Option<Lease>) {
        let pair = self.pair(url);
        // Without TLS nobody agrees on HTTP/2, and a connection is its request's own anyway.
        let line = if url.scheme() == "http" { Line::Shared } else { line };
        match line {
            Line::Shared => (&pair.any, None),
            Line::Turns => match pair.first.clone().try_acquire_owned() {
                Ok(permit) => (&pair.any, Some(Arc::new(permit))),
                Err(_) => (&pair.http1, None),
            },
            Line::Own => (&pair.http1, None),
        }
    }

    /// How many certificates are trusted besides those of the system.
    pub(crate) fn extra_roots(&self) -> usize {
        self.extra_roots
    }

    /// The headers of the settings, which are for the registry's own origin.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// What is in the directories of certificates.
#[derive(Default)]
struct Found {
    roots: Vec<Vec<u8>>,
    /// A key and its certificate.
    identity: Option<Vec<u8>>,
}

impl Found {
    /// Looks for certificates as docker and podman keep them: `<dir>/<host>/*.crt` are trusted, the first
    /// `*.cert` with its `*.key` is the client's.
    fn look(dirs: &[PathBuf], host: &str) -> Result<Self> {
        let mut found = Self::default();
        for dir in dirs.iter().filter(|_| !host.starts_with('.')).map(|dir| dir.join(host)) {
            let failed = |path: &Path, error| Error::io(format_args!("cannot read {}", path.display()), error);
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                // What others may not look into is not for us.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(failed(&dir, error)),
            };
            let mut paths = Vec::new();
            for entry in entries {
                paths.push(entry.map_err(|error| failed(&dir, error))?.path());
            }
            paths.sort();
            for path in &paths {
                let read = |path: &Path| std::fs::read(path).map_err(|error| failed(path, error));
                let lacks = |other: &Path| {
                    let message = format!("{} lacks {}", path.display(), other.display());
                    Error::new(Code::Unknown, message)
                };
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => found.roots.push(read(path)?),
                    Some("cert") => {
                        let key = path.with_extension("key");
                        if !paths.contains(&key) {
                            return Err(lacks(&key));
                        }
                        if found.identity.is_none() {
                            found.identity = Some([read(&key)?, b"\n".to_vec(), read(path)?].concat());
                        }
                    }
                    Some("key") if !paths.contains(&path.with_extension("cert")) => {
                        return Err(lacks(&path.with_extension("cert")));
                    }
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

/// The directories in which docker and podman keep certificates.
pub(crate) fn certs_dirs() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let own = home.map(|home| PathBuf::from(home).join(".config/containers/certs.d"));
    let dirs = own.into_iter().chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from));
    dirs.collect()
}

fn headers(settings: &Settings) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let refuse = |why: &str| Error::new(Code::Unsupported, format!("the header {name:?} of the settings {why}"));
        let name: HeaderName = name.parse().map_err(|_| refuse("has a malformed name"))?;
        if [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(&name) {
            return Err(refuse("belongs to the connection"));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| refuse("has a value that cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// How long a connection is kept for the next request: less than servers do, so that they do not close it just
/// when it is taken up again, with a body that can be sent once only.
const IDLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Bytes of one response that may be on the way; the default of 64 KiB limits it to 6 MB/s at 10 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// Bytes of all responses of a connection that may be on the way.
const CONNECTION_WINDOW: u32 = 32 << 20;
