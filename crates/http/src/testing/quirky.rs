//! Quirky: a service that makes a registry behave like another product.

pub(super) mod asked;
mod blob;
mod list;
pub(super) mod login;
mod manifest;
pub(super) mod profile;
mod said;
mod upload;

use std::collections::HashMap;
use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderName;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use skep_registry::Algorithm;
use skep_registry::Digest;
use skep_registry::ManifestRef;
use skep_registry::RepoName;
use skep_registry::Tag;
use tower::BoxError;
use tower::Service;

use crate::endpoint::Endpoint;
use crate::server::ResponseBody;
use crate::testing::Deletes;
use crate::testing::DigestHeader;
use crate::testing::Profile;
use crate::testing::Referrers;
use crate::testing::quirky::asked::Asked;
use crate::testing::quirky::asked::RequestBody;
use crate::testing::quirky::said::page;
use crate::testing::quirky::said::refuse;
use crate::testing::quirky::said::say;
use crate::testing::quirky::said::set;
use crate::testing::quirky::upload::Sessions;
use crate::testing::quirky::upload::Stored;
use crate::wire;

/// A service that makes a registry behave like another product, for tests of clients.
///
/// It stands around a [`Server`](crate::Server), or any service of that type, speaks HTTP without TLS, and rewrites
/// requests and answers as its [`Profile`] says. Blobs are streamed through it. It remembers a line for each upload
/// under way and for each tag, as long as it lives. Clones share what it remembers.
///
/// ```
/// use std::sync::Arc;
///
/// use skep_http::Server;
/// use skep_http::testing::Profile;
/// use skep_http::testing::Quirky;
/// use skep_registry::Memory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Quirky::new(Server::new(Arc::new(Memory::default())), Profile::ecr());
/// service.create(&"team/site".parse()?);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// tokio::spawn(skep_http::serve(listener, service, std::future::pending()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Quirky<S> {
    inner: S,
    profile: Arc<Profile>,
    state: Arc<Mutex<State>>,
}

/// What is remembered.
#[derive(Debug, Default)]
struct State {
    /// Those that exist, where they have to before anything is in them.
    repos: HashSet<RepoName>,
    sessions: Sessions,
    /// Blobs of which only a part is kept.
    parts: HashMap<(RepoName, Digest), Range<u64>>,
    tags: HashMap<(RepoName, Tag), Digest>,
    /// GETs of manifests.
    pulls: u32,
}

impl<S> Quirky<S> {
    /// Makes a service behave as a profile says.
    pub fn new(inner: S, profile: Profile) -> Self {
        Self { inner, profile: Arc::new(profile), state: Arc::default() }
    }

    /// Makes a repository, as its owner has to where they must exist ([`Profile::repos_must_exist`]).
    pub fn create(&self, repo: &RepoName) {
        self.lock().repos.insert(repo.clone());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// The answer to what this registry does not do.
    fn refusal(&self, asked: &Asked, endpoint: &Endpoint) -> Option<Response<ResponseBody>> {
        let (profile, mut state) = (&*self.profile, self.lock());
        let is_delete = asked.method == Method::DELETE;
        if profile.repos_must_exist
            && let Some(repo) = asked::repo_of(endpoint)
            && !state.repos.contains(repo)
        {
            let message = format!("The repository with name '{repo}' does not exist in the registry");
            return Some(refuse(404, "NAME_UNKNOWN", &message));
        }
        match endpoint {
            Endpoint::Blob(..) | Endpoint::Manifest(..) if is_delete && profile.deletes == Deletes::Nothing => {
                Some(refuse(405, "UNSUPPORTED", "The operation is unsupported."))
            }
            Endpoint::Manifest(repo, reference) if is_delete => match (profile.deletes, reference) {
                (Deletes::ByDigest, ManifestRef::Tag(_)) => {
                    Some(refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content"))
                }
                (Deletes::Untagged, ManifestRef::Digest(digest)) => {
                    let mut tags = state.tags.iter();
                    let (_, tag) = tags.find(|((in_repo, _), to)| in_repo == repo && *to == digest)?.0;
                    let message = format!("Manifest is still referenced by tag: {tag}");
                    Some(refuse(400, "GOOGLE_MANIFEST_DANGLING_TAG", &message))
                }
                _ => None,
            },
            Endpoint::Manifest(_, ManifestRef::Digest(digest)) if asked.method == Method::PUT => {
                let is_refused = profile.only_sha256 && digest.algorithm() != Algorithm::Sha256;
                is_refused.then(|| refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content"))
            }
            Endpoint::Manifest(..) if asked.method == Method::GET => {
                let limit = profile.pull_limit?;
                state.pulls = state.pulls.saturating_add(1);
                let mut answer =
                    refuse(429, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit.");
                count_down(&mut answer, limit, state.pulls);
                (state.pulls > limit).then_some(answer)
            }
            Endpoint::Catalog if profile.no_catalog => Some(refuse(404, "UNSUPPORTED", "the operation is unsupported")),
            Endpoint::Catalog | Endpoint::Tags(_) => list::refusal(profile, asked),
            Endpoint::Referrers(..) => match profile.referrers {
                Referrers::Html => Some(page(404, "Not Found")),
                Referrers::Json => Some(refuse(404, "NOT_FOUND", "page not found")),
                Referrers::Listed => None,
                Referrers::Text => Some(say(404, "text/plain; charset=utf-8", "404 page not found\n".to_owned())),
            },
            Endpoint::Upload(..) => state.sessions.refusal(profile, asked),
            _ => None,
        }
    }

    /// Makes of a request what the server is to be asked.
    fn rewrite(&self, asked: &mut Asked, endpoint: &Endpoint) -> Option<Range<u64>> {
        let profile = &*self.profile;
        if profile.plain {
            asked.headers.remove(header::IF_NONE_MATCH);
        }
        match endpoint {
            Endpoint::Blob(repo, digest) => {
                if profile.ignores_ranges {
                    asked.headers.remove(header::RANGE);
                }
                let part = self.lock().parts.get(&(repo.clone(), digest.clone())).cloned();
                if let Some(range) = &part {
                    blob::narrow(asked, range);
                }
                return part;
            }
            Endpoint::Manifest(..) if profile.plain => asked.remove("tag"),
            Endpoint::Uploads(_) if profile.never_mounts => {
                asked.remove("mount");
                asked.remove("from");
            }
            Endpoint::Catalog | Endpoint::Tags(_) => list::rewrite(profile, endpoint, asked),
            _ => {}
        }
        None
    }

    /// Notes what the server did with a manifest.
    fn note(&self, asked: &Asked, repo: &RepoName, reference: &ManifestRef, answer: &mut Response<ResponseBody>) {
        let mut state = self.lock();
        if let ManifestRef::Tag(tag) = reference {
            let digest = wire::text(answer.headers(), &wire::CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
            match (asked.method.as_str(), answer.status(), digest) {
                ("PUT", StatusCode::CREATED, Some(digest)) => {
                    drop(state.tags.insert((repo.clone(), tag.clone()), digest));
                }
                ("DELETE", StatusCode::ACCEPTED, _) => drop(state.tags.remove(&(repo.clone(), tag.clone()))),
                _ => {}
            }
        }
        if let Some(limit) = self.profile.pull_limit
            && asked.is_read()
        {
            count_down(answer, limit, state.pulls);
        }
    }
}

impl<S> Quirky<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        let mut answer = match self.answer_or_refuse(Asked::new(parts), body).await {
            Ok(answer) => answer,
            Err((answer, rest)) => {
                rest.drain().await;
                answer
            }
        };
        if let Some(text) = &self.profile.warning {
            set(&mut answer, header::WARNING, &format!("299 - \"{text}\""));
        }
        answer
    }

    /// Answers, or gives the body back with a refusal.
    async fn answer_or_refuse(
        &self,
        mut asked: Asked,
        mut body: RequestBody,
    ) -> Result<Response<ResponseBody>, (Response<ResponseBody>, RequestBody)> {
        let profile = &*self.profile;
        if profile.max_body.is_some_and(|max| asked.length().is_some_and(|length| length > max)) {
            return Err((page(413, "Request Entity Too Large"), body));
        }
        if asked.path.starts_with(blob::STORAGE) {
            return Ok(match blob::stored(&asked) {
                Ok(inner) => {
                    let mut answer = self.ask(inner, RequestBody::empty()).await;
                    blob::plain_storage(answer.headers_mut());
                    answer
                }
                Err(refusal) => refusal,
            });
        }
        upload::enter(&mut asked);
        let mut is_user = true;
        if let Some(login) = &profile.login {
            if login.tokens.is_some() && asked.path == login::TOKEN {
                return Ok(login.token(&asked, body).await);
            }
            is_user = match login.admit(&asked, profile.no_catalog) {
                Ok(is_user) => is_user,
                Err(challenge) => return Err((challenge, body)),
            };
        }
        let Some(endpoint) = asked.endpoint() else { return Ok(self.ask(asked, body).await) };
        if let Some(refusal) = self.refusal(&asked, &endpoint) {
            return Err((refusal, body));
        }
        if let Endpoint::Manifest(_, ManifestRef::Tag(tag)) = &endpoint
            && profile.immutable_tags
            && asked.method == Method::PUT
            && self.has(&asked, asked.path.clone()).await
        {
            let message = format!("The image tag '{tag}' already exists in the repository and cannot be overwritten");
            return Err((refuse(400, "TAG_INVALID", &message), body));
        }
        if let Endpoint::Manifest(..) = &endpoint
            && profile.only_images
            && asked.method == Method::PUT
        {
            body = manifest::only_images(&asked, body).await.map_err(|refusal| (refusal, RequestBody::empty()))?;
        }
        if let Endpoint::Blob(repo, digest) = &endpoint
            && profile.redirects_blobs
            && asked.is_read()
            && self.has(&asked, asked.path.clone()).await
        {
            return Ok(blob::redirect(&asked, repo, digest));
        }
        let part = self.rewrite(&mut asked, &endpoint);
        let answer = self.ask(asked.clone(), body).await;
        if profile.hides_unknown
            && !is_user
            && answer.status() == StatusCode::NOT_FOUND
            && let Some(repo) = asked::repo_of(&endpoint)
            && !self.has(&asked, Endpoint::Tags(repo.clone()).to_string()).await
        {
            return Ok(refuse(401, "UNAUTHORIZED", "authentication required"));
        }
        Ok(self.reword(&asked, &endpoint, part, answer).await)
    }

    /// Makes of an answer what this registry would say.
    async fn reword(
        &self,
        asked: &Asked,
        endpoint: &Endpoint,
        part: Option<Range<u64>>,
        mut answer: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let profile = &*self.profile;
        match endpoint {
            Endpoint::Blob(..) => {
                if let Some(range) = &part {
                    blob::widen(asked, range, &mut answer);
                }
            }
            Endpoint::Manifest(repo, reference) => {
                self.note(asked, repo, reference, &mut answer);
                answer = manifest::answer(profile, asked, reference, answer);
            }
            Endpoint::Catalog | Endpoint::Tags(_) => answer = list::answer(profile, endpoint, answer).await,
            Endpoint::Upload(repo, _) | Endpoint::Uploads(repo) => {
                let mut state = self.lock();
                let stored = state.sessions.answer(profile, asked, &mut answer);
                if let Some(digest) = asked.get("digest").and_then(|digest| digest.parse().ok()) {
                    match stored {
                        Some(Stored::Part(range)) => drop(state.parts.insert((repo.clone(), digest), range)),
                        Some(Stored::Whole) => drop(state.parts.remove(&(repo.clone(), digest))),
                        None => {}
                    }
                }
            }
            Endpoint::Base | Endpoint::Referrers(..) => {}
        }
        if let Some(path) = wire::text(answer.headers(), &header::LOCATION).filter(|path| path.starts_with("/v2/")) {
            let location = self.lock().sessions.located(profile, &asked.host, path);
            set(&mut answer, header::LOCATION, &location);
        }
        if profile.digest_header == DigestHeader::Nowhere {
            answer.headers_mut().remove(wire::CONTENT_DIGEST);
        }
        if profile.plain {
            answer.headers_mut().remove(wire::TAG);
            answer.headers_mut().remove(wire::UPLOAD_OFFSET);
        }
        answer
    }

    /// Tells whether the server has something.
    async fn has(&self, asked: &Asked, path: String) -> bool {
        self.ask(asked.about(Method::HEAD, path), RequestBody::empty()).await.status().is_success()
    }

    async fn ask(&self, asked: Asked, body: RequestBody) -> Response<ResponseBody> {
        let mut inner = self.inner.clone();
        let Ok(()) = std::future::poll_fn(|cx| inner.poll_ready(cx)).await;
        let Ok(answer) = inner.call(asked.into_request(body)).await;
        answer
    }
}

impl<S, B> Service<Request<B>> for Quirky<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let quirky = self.clone();
        let request = request.map(RequestBody::new);
        Box::pin(async move { Ok(quirky.answer(request).await) })
    }
}

/// Says how many pulls are left of those in six hours.
fn count_down(answer: &mut Response<ResponseBody>, limit: u32, pulls: u32) {
    set(answer, LIMIT, &format!("{limit};w=21600"));
    set(answer, REMAINING, &format!("{};w=21600", limit.saturating_sub(pulls)));
}

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
