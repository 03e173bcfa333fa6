//! Resources: content at any URL, read by ranges, as long as it does not change.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderName;
use http::header;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use url::Url;

use crate::auth::Scope;
use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::answer::Answer;
use crate::client::resume::Lasting;
use crate::client::resume::resumed;
use crate::client::resume::wrong_range;
use crate::client::retry::Patience;
use crate::client::retry::RetryOptions;
use crate::client::send::Request;
use crate::client::send::place;
use crate::client::transport::Line;
use crate::wire;

/// Content at a URL that is no registry: what a web server or an object storage gives out, by ranges.
///
/// It is reached as a registry is: the same proxies, certificates, timeouts and retries, and headers of the settings
/// of its host, which no other origin sees. The first answer says which version of the content there is; all that is
/// read later is held to that, by `If-Match` or `If-Unmodified-Since` and by what the answers say, so bytes of two
/// versions never mix. Content that breaks off is gone on with where it broke. Clones share all of this.
#[derive(Clone)]
pub struct Resource {
    client: Client,
    url: Url,
    seen: Arc<OnceLock<Version>>,
}

/// What answers say of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    size: u64,
    etag: Option<String>,
    modified: Option<String>,
}

impl Resource {
    /// Takes a URL, `https://files.example.com/archive/data.blob`. Nothing is sent yet.
    ///
    /// Of the options, [`registries`](ClientOptions::registries) has the settings of the host of the URL. Nobody is
    /// told credentials unless there are some in the options and the server asks for them.
    ///
    /// # Errors
    /// `NameInvalid` when this is no URL of `http` or `https`, or names a user; as [`Client::new`].
    pub fn new(url: Url, options: ClientOptions) -> Result<Self> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::new(Code::NameInvalid, format!("the URL {} holds credentials", place(&url))));
        }
        let client = Client::new(&url.origin().ascii_serialization(), options)?;
        Ok(Self { client, url, seen: Arc::default() })
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Names the content as the first answer did: the URL with the tag or the time of the version.
    ///
    /// None before there was an answer, or when it told neither. It has the query of the URL, which may be secret.
    pub fn version(&self) -> Option<String> {
        let seen = self.seen.get()?;
        match (&seen.etag, &seen.modified) {
            (Some(etag), _) => Some(format!("{} etag:{etag} size:{}", self.url, seen.size)),
            (None, Some(modified)) => Some(format!("{} modified:{modified} size:{}", self.url, seen.size)),
            (None, None) => None,
        }
    }

    /// Bytes of the content. Asks for the first one unless there was an answer before.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn size(&self) -> Result<u64> {
        if let Some(seen) = self.seen.get() {
            return Ok(seen.size);
        }
        let answer = self.send_range(&(0..1), &mut Patience::new(self.retry())).await?;
        if answer.status() == 416 {
            // How a server says it of content without a byte.
            let size =
                answer.text(&header::CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
            let size =
                size.ok_or_else(|| Error::new(Code::RangeInvalid, format!("{self}: it does not say its size")))?;
            self.hold(&answer, size)?;
            return Ok(size);
        }
        Ok(self.check(&(0..1), &self.partial(&(0..1), answer).await?)?.size)
    }

    /// Reads a range; the body has exactly its bytes. A range of no bytes costs nothing.
    ///
    /// # Errors
    /// `Unsupported` when the server does not serve ranges, or packs what it sends; `RangeInvalid` when the range lies
    /// outside, or another one came; `PreconditionFailed` when the content is not what it was; `BlobUnknown` when
    /// there is none; `Unauthorized`, `Denied`, `Unavailable`, `TooManyRequests`. The body yields these, too.
    pub async fn read(&self, range: Range<u64>) -> Result<Body> {
        if range.is_empty() {
            return Ok(Body::empty());
        }
        let answer = self.ask(&range, &mut Patience::new(self.retry())).await?;
        Ok(resumed(self.clone(), range.clone(), answer).exactly(range.end - range.start))
    }

    /// Reads all of it into memory, `limit` bytes at most, whether the server serves ranges or not.
    ///
    /// # Errors
    /// `SizeInvalid` when there are more; else as [`read`](Self::read).
    pub async fn bytes(&self, limit: u64) -> Result<Bytes> {
        let answer = self.send(self.request()?.whole(limit), &mut Patience::new(self.retry())).await?;
        let answer = answer.expect(&[200], Code::BlobUnknown).await?;
        if let Some(size) = answer.length() {
            self.hold(&answer, size)?;
        }
        answer.bytes(limit).await
    }

    /// A request for the version that was seen, or for any if none was.
    fn request(&self) -> Result<Request> {
        // Bytes that were packed on the way are not the ones of the range.
        let request = Request::get(self.url.clone(), Scope::new(""))
            .over(Line::Turns)
            .lasting()
            .header(header::ACCEPT_ENCODING, "identity")?;
        match self.seen.get().and_then(Version::condition) {
            Some((name, value)) => request.header(name, value),
            None => Ok(request),
        }
    }

    /// Sends a request; the answer may be of any status.
    async fn send(&self, request: Request, patience: &mut Patience) -> Result<Answer> {
        let answer = self.client.send_within(request, patience).await?;
        if answer.status() == 412 {
            return Err(self.changed("what it was when reading began", "something newer"));
        }
        match answer.text(&header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            Some(encoding) => Err(Error::new(Code::Unsupported, format!("{self}: came encoded as {encoding:?}"))),
            None => Ok(answer),
        }
    }

    async fn send_range(&self, range: &Range<u64>, patience: &mut Patience) -> Result<Answer> {
        let range = ByteRange::from(range.clone()).to_string();
        self.send(self.request()?.header(header::RANGE, &range)?, patience).await
    }

    /// Lets an answer through that has a part of the content.
    async fn partial(&self, range: &Range<u64>, answer: Answer) -> Result<Answer> {
        let asked = ByteRange::from(range.clone());
        match answer.status() {
            200 => {
                let message = format!("{self}: the server does not serve ranges: asked for {asked}, got all of it");
                Err(Error::new(Code::Unsupported, message))
            }
            416 => Err(wrong_range(self, asked, answer.text(&header::CONTENT_RANGE))),
            _ => answer.expect(&[206], Code::BlobUnknown).await,
        }
    }

    /// Holds an answer to the range that was asked for, and to the version that was seen.
    fn check(&self, asked: &Range<u64>, answer: &Answer) -> Result<Version> {
        let said = answer.text(&header::CONTENT_RANGE);
        let came = said.and_then(wire::parse_content_range);
        let size = match &came {
            Some((_, Some(size))) => *size,
            // It is known already when it is not said.
            Some((_, None)) => match self.seen.get() {
                Some(seen) => seen.size,
                None => return Err(Error::new(Code::Unsupported, format!("{self}: it does not say its size"))),
            },
            None => return Err(wrong_range(self, asked.clone().into(), said)),
        };
        let version = self.hold(answer, size)?;
        match came {
            Some((came, _)) if came == *asked => Ok(version),
            _ => Err(wrong_range(self, asked.clone().into(), said)),
        }
    }

    /// Notes the version of the first answer, and holds all others to it.
    fn hold(&self, answer: &Answer, size: u64) -> Result<Version> {
        let text = |name| answer.text(&name).map(str::to_owned);
        let came = Version { size, etag: text(header::ETAG), modified: text(header::LAST_MODIFIED) };
        let seen = self.seen.get_or_init(|| came.clone());
        let is_same = match (&seen.etag, &came.etag) {
            (Some(one), Some(other)) => one == other,
            _ => seen.modified == came.modified || came.modified.is_none(),
        };
        if !is_same || seen.size != came.size {
            return Err(self.changed(seen, &came));
        }
        Ok(came)
    }

    fn changed(&self, want: impl fmt::Display, came: impl fmt::Display) -> Error {
        let message = format!("{self}: changed while it was read: expected {want}, got {came}");
        Error::new(Code::PreconditionFailed, message)
    }
}

#[async_trait]
impl Lasting for Resource {
    fn retry(&self) -> &RetryOptions {
        &self.client.inner.retry
    }

    async fn ask(&self, range: &Range<u64>, patience: &mut Patience) -> Result<Answer> {
        let answer = self.send_range(range, patience).await?;
        let answer = self.partial(range, answer).await?;
        self.check(range, &answer)?;
        Ok(answer)
    }
}

/// Without the query, which may be secret.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&place(&self.url))
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("url", &place(&self.url))
            .field("seen", &self.seen.get())
            .finish_non_exhaustive()
    }
}

impl Version {
    /// The header that asks for this version and no other.
    fn condition(&self) -> Option<(HeaderName, &str)> {
        // RFC 9110, 13.1.1: a weak tag never matches.
        match (&self.etag, &self.modified) {
            (Some(etag), _) if !etag.starts_with("W/") => Some((header::IF_MATCH, etag)),
            (_, Some(modified)) => Some((header::IF_UNMODIFIED_SINCE, modified)),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size)?;
        match (&self.etag, &self.modified) {
            (Some(etag), _) => write!(f, " tagged {etag}"),
            (None, Some(modified)) => write!(f, " of {modified}"),
            (None, None) => Ok(()),
        }
    }
}
