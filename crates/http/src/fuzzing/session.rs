//! A session of requests to a server, beside a model of what must have become of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Memory;
use skep_registry::media_type;
use tower::Service;

use crate::server::Server;

/// Requests that the bytes choose, to a server over memory. None fails on the server's side; what was acknowledged
/// is there, byte for byte and under its digest, and what was refused or deleted is not.
pub fn session(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be had");
    runtime.block_on(async {
        let server = Server::new(Arc::new(Memory::default()));
        let mut session = Session { server, choices: Choices(bytes), model: Model::default() };
        for _ in 0..MAX_STEPS {
            if session.choices.0.is_empty() {
                break;
            }
            session.step().await;
        }
        session.check().await;
    });
}

/// What must be there.
#[derive(Default)]
struct Model {
    /// By repository and digest.
    blobs: BTreeMap<(&'static str, Digest), Vec<u8>>,
    manifests: BTreeMap<(&'static str, Digest), Vec<u8>>,
    /// By repository and tag.
    tags: BTreeMap<(&'static str, String), Digest>,
    uploads: Vec<Upload>,
}

struct Upload {
    repo: &'static str,
    location: String,
    content: Vec<u8>,
}

struct Session<'a> {
    server: Server,
    choices: Choices<'a>,
    model: Model,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn text(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Session<'_> {
    async fn step(&mut self) {
        let repo = REPOS[self.choices.below(REPOS.len())];
        match self.choices.below(14) {
            0 => self.put_blob(repo).await,
            1 => self.get_blob(repo).await,
            2 => self.delete_blob(repo).await,
            3 => self.mount(repo).await,
            4 => self.begin(repo).await,
            5 | 6 => self.append().await,
            7 => self.finish().await,
            8 => self.cancel().await,
            9 | 10 => self.put_manifest(repo).await,
            11 => self.delete_manifest(repo).await,
            12 => self.list(repo).await,
            _ => self.read_anything().await,
        }
    }

    async fn put_blob(&mut self, repo: &'static str) {
        let content = self.choices.content();
        let digest = Digest::sha256(&content);
        let line = match self.choices.below(2) {
            0 => format!("POST /v2/{repo}/blobs/uploads/?digest={digest}"),
            _ => format!("PUT /v2/{repo}/blobs/{digest}"),
        };
        let sent = if self.choices.below(4) == 0 { self.choices.content() } else { content.clone() };
        let answer = self.ask(&line, &[], &sent).await;
        assert_eq!(answer.status, if sent == content { 201 } else { 400 }, "{line}");
        if sent == content {
            assert_eq!(answer.text("docker-content-digest"), digest.as_str());
            self.model.blobs.insert((repo, digest), content);
        }
    }

    async fn get_blob(&mut self, repo: &'static str) {
        let digest = self.choices.digest(&self.model);
        let line = format!("GET /v2/{repo}/blobs/{digest}");
        let (first, last) = (self.choices.below(70), self.choices.below(70));
        let range = format!("bytes={first}-{last}");
        let answer = self.ask(&line, &[("range", &range)], b"").await;
        let Some(content) = self.model.blobs.get(&(repo, digest)) else {
            assert_eq!(answer.status, 404, "{line}");
            return;
        };
        if first > last || first >= content.len() {
            assert_eq!(answer.status, 416, "{line} {range} of {}", content.len());
        } else {
            let end = content.len().min(last + 1);
            assert_eq!((answer.status, &answer.body[..]), (206, &content[first..end]), "{line} {range}");
            let want = format!("bytes {first}-{}/{}", end - 1, content.len());
            assert_eq!(answer.text("content-range"), want);
        }
    }

    async fn delete_blob(&mut self, repo: &'static str) {
        let digest = self.choices.digest(&self.model);
        let answer = self.ask(&format!("DELETE /v2/{repo}/blobs/{digest}"), &[], b"").await;
        let was_there = self.model.blobs.remove(&(repo, digest)).is_some();
        assert_eq!(answer.status, if was_there { 202 } else { 404 });
    }

    async fn mount(&mut self, repo: &'static str) {
        let (digest, from) = (self.choices.digest(&self.model), REPOS[self.choices.below(REPOS.len())]);
        let line = format!("POST /v2/{repo}/blobs/uploads/?mount={digest}&from={from}");
        let answer = self.ask(&line, &[], b"").await;
        match self.model.blobs.get(&(from, digest.clone())).cloned() {
            Some(content) => {
                assert_eq!(answer.status, 201, "{line}");
                self.model.blobs.insert((repo, digest), content);
            }
            None => self.begun(repo, &answer),
        }
    }

    async fn begin(&mut self, repo: &'static str) {
        let answer = self.ask(&format!("POST /v2/{repo}/blobs/uploads/"), &[], b"").await;
        self.begun(repo, &answer);
    }

    fn begun(&mut self, repo: &'static str, answer: &Answer) {
        assert_eq!((answer.status, answer.text("upload-offset"), answer.text("range")), (202, "0", "0-0"));
        let location = answer.text("location").to_owned();
        assert!(self.model.uploads.iter().all(|one| one.location != location), "{location}");
        self.model.uploads.push(Upload { repo, location, content: Vec::new() });
    }

    async fn append(&mut self) {
        let Some(mut upload) = self.take_upload() else { return };
        let content = self.choices.content();
        let at = match self.choices.below(4) {
            0 => self.choices.below(70),
            _ => upload.content.len(),
        };
        let range = format!("{at}-{}", (at + content.len()).saturating_sub(1));
        let headers: &[(&str, &str)] = if self.choices.below(3) == 0 { &[] } else { &[("content-range", &range)] };
        let answer = self.ask(&format!("PATCH {}", upload.location), headers, &content).await;
        let fits = headers.is_empty() || at == upload.content.len();
        match answer.status {
            202 => {
                assert!(fits, "{range} at {}", upload.content.len());
                upload.content.extend(content);
                assert_eq!(answer.text("upload-offset"), upload.content.len().to_string());
            }
            // A range of nothing cannot be said.
            status => assert!(!fits && matches!(status, 400 | 416) || content.is_empty() && status == 400, "{status}"),
        }
        let state = self.ask(&format!("GET {}", upload.location), &[], b"").await;
        assert_eq!((state.status, state.text("upload-offset")), (204, &*upload.content.len().to_string()));
        self.model.uploads.push(upload);
    }

    async fn finish(&mut self) {
        let Some(mut upload) = self.take_upload() else { return };
        let rest = self.choices.content();
        upload.content.extend(&rest);
        let digest = Digest::sha256(&upload.content);
        let named = if self.choices.below(4) == 0 { self.choices.digest(&self.model) } else { digest.clone() };
        let answer = self.ask(&format!("PUT {}?digest={named}", upload.location), &[], &rest).await;
        assert_eq!(answer.status, if named == digest { 201 } else { 400 }, "{named} {digest}");
        if named == digest {
            self.model.blobs.insert((upload.repo, digest), upload.content);
            assert_eq!(self.ask(&format!("GET {}", upload.location), &[], b"").await.status, 404);
        }
    }

    async fn cancel(&mut self) {
        let Some(upload) = self.take_upload() else { return };
        assert_eq!(self.ask(&format!("DELETE {}", upload.location), &[], b"").await.status, 204);
        assert_eq!(self.ask(&format!("PATCH {}", upload.location), &[], b"x").await.status, 404);
    }

    async fn put_manifest(&mut self, repo: &'static str) {
        let config = self.choices.digest(&self.model);
        let size = self.model.blobs.get(&(repo, config.clone())).map(Vec::len);
        let config = Descriptor::new(media_type::EMPTY, config, size.unwrap_or_default() as u64);
        let layers: [Descriptor; 0] = [];
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::IMAGE, "config": config,
            "layers": layers, "annotations": {"x": self.choices.below(4).to_string()}});
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::sha256(&manifest);
        let tag = TAGS[self.choices.below(TAGS.len())];
        let target = match self.choices.below(3) {
            0 => tag.to_owned(),
            1 => format!("{digest}?tag={tag}"),
            _ => digest.to_string(),
        };
        let absent = self.choices.below(4) == 0;
        let mut headers = vec![("content-type", media_type::IMAGE)];
        headers.extend(absent.then_some(("if-none-match", "*")));
        let answer = self.ask(&format!("PUT /v2/{repo}/manifests/{target}"), &headers, &manifest).await;
        let names_tag = target != digest.as_str();
        let key = (repo, tag.to_owned());
        let is_taken = names_tag && self.model.tags.contains_key(&key);
        match answer.status {
            201 => {
                assert!(size.is_some(), "{repo} lacks {}", config.digest);
                assert!(!absent || !is_taken || self.model.tags[&key] == digest, "{repo}:{tag} was there");
                self.model.manifests.insert((repo, digest.clone()), manifest);
                if names_tag {
                    self.model.tags.insert(key, digest);
                }
            }
            404 => assert!(size.is_none(), "{repo} has {}", config.digest),
            status => assert!(status == 412 && absent && is_taken, "{status}"),
        }
    }

    async fn delete_manifest(&mut self, repo: &'static str) {
        if self.choices.below(2) == 0 {
            let tag = TAGS[self.choices.below(TAGS.len())];
            let answer = self.ask(&format!("DELETE /v2/{repo}/manifests/{tag}"), &[], b"").await;
            let was_there = self.model.tags.remove(&(repo, tag.to_owned())).is_some();
            assert_eq!(answer.status, if was_there { 202 } else { 404 });
        } else {
            let keys: Vec<_> = self.model.manifests.keys().filter(|(of, _)| *of == repo).cloned().collect();
            let Some(key) = keys.get(self.choices.below(keys.len().max(1))) else { return };
            assert_eq!(self.ask(&format!("DELETE /v2/{repo}/manifests/{}", key.1), &[], b"").await.status, 202);
            self.model.manifests.remove(key);
            self.model.tags.retain(|(of, _), digest| *of != repo || *digest != key.1);
        }
    }

    async fn list(&mut self, repo: &'static str) {
        let (n, last) = (self.choices.below(4), TAGS[self.choices.below(TAGS.len())]);
        let answer = self.ask(&format!("GET /v2/{repo}/tags/list?n={n}&last={last}"), &[], b"").await;
        let tags = self.model.tags.keys().filter(|(of, tag)| *of == repo && tag.as_str() > last);
        let want: Vec<_> = tags.map(|(_, tag)| tag).take(n).collect();
        if answer.status == 404 {
            assert!(self.model.blobs.keys().all(|(of, _)| *of != repo) && want.is_empty());
            return;
        }
        let got: serde_json::Value = serde_json::from_slice(&answer.body).expect("a list is JSON");
        assert_eq!(got, serde_json::json!({"name": repo, "tags": want}));
    }

    /// Whatever the bytes say, as long as it changes nothing.
    async fn read_anything(&mut self) {
        let method = ["GET", "HEAD", "OPTIONS", "FOO"][self.choices.below(4)];
        let target = String::from_utf8_lossy(&self.choices.content()).into_owned();
        let name = ["accept", "range", "if-none-match", "if-range"][self.choices.below(4)];
        let value = String::from_utf8_lossy(&self.choices.content()).into_owned();
        if format!("/v2/{target}").parse::<http::Uri>().is_ok() && value.parse::<http::HeaderValue>().is_ok() {
            self.ask(&format!("{method} /v2/{target}"), &[(name, &value)], b"").await;
        }
    }

    /// Everything that must be there is, and nothing else.
    async fn check(&mut self) {
        for ((repo, digest), content) in self.model.blobs.clone() {
            let answer = self.ask(&format!("GET /v2/{repo}/blobs/{digest}"), &[], b"").await;
            assert_eq!((answer.status, &answer.body[..]), (200, &content[..]), "{repo} {digest}");
            assert_eq!(answer.text("docker-content-digest"), digest.as_str());
        }
        for ((repo, digest), manifest) in self.model.manifests.clone() {
            let answer = self.ask(&format!("GET /v2/{repo}/manifests/{digest}"), &[], b"").await;
            assert_eq!((answer.status, &answer.body[..]), (200, &manifest[..]), "{repo} {digest}");
        }
        for repo in REPOS {
            for tag in TAGS {
                let answer = self.ask(&format!("HEAD /v2/{repo}/manifests/{tag}"), &[], b"").await;
                match self.model.tags.get(&(repo, tag.to_owned())) {
                    Some(digest) => assert_eq!(answer.text("docker-content-digest"), digest.as_str()),
                    None => assert_eq!(answer.status, 404, "{repo}:{tag}"),
                }
            }
        }
        for upload in std::mem::take(&mut self.model.uploads) {
            let answer = self.ask(&format!("GET {}", upload.location), &[], b"").await;
            assert_eq!((answer.status, answer.text("upload-offset")), (204, &*upload.content.len().to_string()));
        }
    }

    fn take_upload(&mut self) -> Option<Upload> {
        let at = self.choices.below(self.model.uploads.len().max(1));
        (at < self.model.uploads.len()).then(|| self.model.uploads.swap_remove(at))
    }

    async fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let (method, target) = line.split_once(' ').expect("a line has a method and a target");
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("it was looked at before");
        let Ok(response) = self.server.call(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("bodies from memory do not break off").to_bytes();
        let status = parts.status.as_u16();
        assert!((200..500).contains(&status), "{line}: {status}");
        assert!(status < 400 || body.is_empty() || body.starts_with(b"{\"errors\":[{\"code\":\""), "{line}: {body:?}");
        Answer { status, headers: parts.headers, body }
    }
}

/// What the bytes choose; nothing and the first of all when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    /// A number from 0, below a bound of at most 256.
    fn below(&mut self, bound: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % bound
    }

    /// Up to 63 bytes.
    fn content(&mut self) -> Vec<u8> {
        let len = self.below(64).min(self.0.len());
        let (content, rest) = self.0.split_at(len);
        self.0 = rest;
        content.to_vec()
    }

    /// That of a blob which is somewhere, or of one that is likely to be nowhere.
    fn digest(&mut self, model: &Model) -> Digest {
        let at = self.below(model.blobs.len().min(255) + 1);
        let known = model.blobs.keys().nth(at).map(|(_, digest)| digest.clone());
        known.unwrap_or_else(|| Digest::sha256(&self.content()))
    }
}

/// The second one is hidden within the first, for paths that are read carelessly.
const REPOS: [&str; 3] = ["a", "a/blobs/uploads", "b"];
const TAGS: [&str; 3] = ["latest", "list", "v1"];
const MAX_STEPS: usize = 64;
