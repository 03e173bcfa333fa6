//! Archives at URLs: index and data are ordinary files on a web server or in an object storage.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use skep_archive::Archive;
use skep_archive::Error;
use skep_archive::Index;
use skep_archive::Limits;
use skep_archive::Result;
use skep_archive::Source;
use skep_http::Resource;
use skep_registry::Body;
use skep_registry::Code;
use url::Url;

use crate::client::Client;

/// How a URL is read.
#[derive(Clone, Default)]
pub struct UrlOptions {
    /// Headers that every request has. They may be secret; where the server redirects to does not see them.
    pub headers: BTreeMap<String, String>,
    /// What names the content in caches, in place of the URL and the version that the server tells.
    pub id: Option<String>,
    /// How servers are reached. Nobody is told credentials unless they are in here.
    pub http: skep_http::ClientOptions,
}

impl fmt::Debug for UrlOptions {
    /// Prints no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlOptions")
            .field("headers", &self.headers.keys())
            .field("id", &self.id)
            .field("http", &self.http)
            .finish()
    }
}

/// The data of an archive at a URL.
///
/// Each read is one request for a range. The content must not change while it is read: when the server tells that it
/// did, by its answer to a condition, its tag, time or size, that is `PreconditionFailed` of the registry errors, and
/// never bytes of both.
#[derive(Clone, Debug)]
pub struct UrlSource {
    resource: Resource,
    size: u64,
    id: Option<String>,
}

impl UrlSource {
    /// Opens a URL: one request, for the first byte, whose answer tells the size.
    ///
    /// # Errors
    /// `Registry`: `NameInvalid` when it is no URL of `http` or `https`; `Unsupported` when the server does not serve
    /// ranges; `BlobUnknown`, `Unauthorized`, `Denied`, `Unavailable`.
    pub async fn open(url: &str, options: UrlOptions) -> Result<Self> {
        let id = options.id.clone();
        let resource = resource(url, options)?;
        let size = resource.size().await?;
        Ok(Self { resource, size, id })
    }

    /// Takes a URL whose size is known. Nothing is sent; each read is held to the size.
    ///
    /// # Errors
    /// `Registry`, `NameInvalid`, when it is no URL of `http` or `https`.
    pub fn with_size(url: &str, size: u64, options: UrlOptions) -> Result<Self> {
        let id = options.id.clone();
        Ok(Self { resource: resource(url, options)?, size, id })
    }
}

#[async_trait]
impl Source for UrlSource {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        if range.is_empty() {
            return Ok(Body::empty());
        }
        let body = self.resource.read(range).await?;
        // Known without a request, by the answer before.
        let came = self.resource.size().await?;
        if came != self.size {
            let message = format!("{}: expected {} bytes, got {came}", self.resource, self.size);
            return Err(skep_registry::Error::new(Code::SizeInvalid, message).into());
        }
        Ok(body)
    }

    fn id(&self) -> Option<String> {
        self.id.clone().or_else(|| self.resource.version())
    }
}

/// Opens an archive by the URLs of its index and its data: one request, for the index.
///
/// Nothing names the index that there should be; whoever serves it is believed, and all content is held to it.
///
/// # Errors
/// `InvalidIndex`, `Limit`, `TooManyFiles`; as [`UrlSource::open`].
pub async fn open_url(index: &str, data: &str, options: UrlOptions, limits: Limits) -> Result<Archive> {
    let bytes = resource(index, options.clone())?.bytes(limits.index).await?;
    let data = data.to_owned();
    // Checking a large index takes a while.
    let opening = tokio::task::spawn_blocking(move || {
        let index = Index::parse(bytes, &limits)?;
        let source = UrlSource::with_size(&data, index.data_size(), options)?;
        Archive::with_index(index, Arc::new(source), limits)
    });
    opening.await.expect("opening an archive does not panic")
}

impl Client {
    /// Opens an archive by the URLs of its index and its data, with the limits and settings of this client.
    ///
    /// The credentials of registries are not sent; headers of the options are. There is nothing that could be signed, so no
    /// [policy](crate::ClientOptions::policies) applies.
    ///
    /// # Errors
    /// As [`open_url`].
    pub async fn open_url(&self, index: &str, data: &str, mut options: UrlOptions) -> Result<Archive> {
        for (host, settings) in &self.options().registries {
            options.http.registries.entry(host.clone()).or_insert_with(|| settings.clone());
        }
        open_url(index, data, options, self.options().limits.clone()).await
    }
}

fn resource(url: &str, options: UrlOptions) -> Result<Resource> {
    let invalid = |why: String| {
        let shown = url.split(['?', '#']).next().unwrap_or_default();
        Error::from(skep_registry::Error::new(Code::NameInvalid, format!("{shown:?} is no URL: {why}")))
    };
    let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    let host = parsed.host_str().ok_or_else(|| invalid("it has no host".to_owned()))?;
    let host = parsed.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    let UrlOptions { headers, mut http, .. } = options;
    http.registries.entry(host).or_default().headers.extend(headers);
    Ok(Resource::new(parsed, http)?)
}
