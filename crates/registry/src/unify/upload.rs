//! Uploads to several registries as one.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde::Serialize;

use crate::body::Body;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::name::RepoName;
use crate::registry::Mount;
use crate::registry::Registry;
use crate::registry::Upload;
use crate::registry::UploadOptions;
use crate::unify::ask::Place;
use crate::unify::ask::join;
use crate::unify::ask::outcome;
use crate::unify::ask::removed;
use crate::unify::tee::tee;

/// Begins an upload to each registry, or takes them up again.
pub(super) async fn begin(
    members: &[Arc<dyn Registry>],
    repo: &RepoName,
    options: UploadOptions,
) -> Result<Box<dyn Upload>> {
    let Some(id) = &options.resume else {
        let uploads = join(members, |member| member.upload_blob(repo, options.clone())).await;
        return UnifiedUpload::of(together(uploads.into_iter().map(|upload| upload.map(Part::Upload))).await?);
    };
    let parts = parse(id).filter(|parts| parts.len() == members.len());
    let parts = parts.ok_or_else(|| Error::new(Code::BlobUploadUnknown, format!("{id:?}")))?;
    let parts = members.iter().zip(parts).map(|(member, part)| resume(&**member, repo, part, &options));
    // Not given up when some fail: the sessions were there before.
    UnifiedUpload::of(outcome(future::join_all(parts).await)?)
}

async fn resume(member: &dyn Registry, repo: &RepoName, part: PartId, options: &UploadOptions) -> Result<Part> {
    match part {
        PartId::Mounted(digest) => Ok(Part::Mounted(digest)),
        PartId::Upload(id) => {
            let options = UploadOptions { resume: Some(id), ..options.clone() };
            member.upload_blob(repo, options).await.map(Part::Upload)
        }
    }
}

/// Mounts a blob in each registry. Where that cannot be, an upload is begun, unless it can be nowhere.
pub(super) async fn mount(
    members: &[Arc<dyn Registry>],
    repo: &RepoName,
    digest: &Digest,
    from: Option<&RepoName>,
) -> Result<Mount> {
    let mounts = join(members, |member| member.mount_blob(repo, digest, from)).await;
    if mounts.iter().all(Result::is_err) {
        return outcome(mounts).and_then(|mut mounts| mounts.pop().ok_or_else(|| Code::Unsupported.into()));
    }
    let parts = members.iter().zip(mounts).map(|(member, mount)| async move {
        match mount {
            Ok(Mount::Mounted) => Ok(Part::Mounted(digest.clone())),
            Ok(Mount::Upload(upload)) => Ok(Part::Upload(upload)),
            Err(error) if error.is_not_found() || *error.code() == Code::Unsupported => {
                let options = UploadOptions { algorithm: digest.algorithm(), ..Default::default() };
                member.upload_blob(repo, options).await.map(Part::Upload)
            }
            Err(error) => Err(error),
        }
    });
    let parts = together(future::join_all(parts).await.into_iter()).await?;
    if parts.iter().all(|part| matches!(part, Part::Mounted(_))) {
        return Ok(Mount::Mounted);
    }
    UnifiedUpload::of(parts).map(Mount::Upload)
}

/// All parts; when one is missing, the uploads that were begun are given up.
async fn together(parts: impl Iterator<Item = Result<Part>>) -> Result<Vec<Part>> {
    let parts: Vec<_> = parts.collect();
    if parts.iter().all(Result::is_ok) {
        return outcome(parts);
    }
    let cancelled = parts.into_iter().map(|part| match part {
        // What is not cancelled ends by itself some day; the error to be told is the other one.
        Ok(Part::Upload(upload)) => upload.cancel().map(|_| Ok(())).boxed(),
        Ok(Part::Mounted(_)) => future::ready(Ok(())).boxed(),
        Err(error) => future::ready(Err(error)).boxed(),
    });
    outcome(future::join_all(cancelled.collect::<Vec<_>>()).await).map(|_| Vec::new())
}

/// An upload to each registry that needs one, at least one.
#[derive(Debug)]
struct UnifiedUpload {
    id: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// The registry has the blob, of this digest.
    Mounted(Digest),
    Upload(Box<dyn Upload>),
}

/// What the id says of each registry.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum PartId {
    Mounted(Digest),
    Upload(String),
}

impl UnifiedUpload {
    fn of(parts: Vec<Part>) -> Result<Box<dyn Upload>> {
        let upload = Self { id: id(&parts), parts };
        let offset = upload.offset();
        for (place, part) in upload.parts.iter().enumerate() {
            // It would skip what it has, and then the rest of a part may be too short for it.
            if let Part::Upload(part) = part
                && part.offset() > offset
                && part.min_chunk() > 0
            {
                let (place, at) = (Place(place), part.offset());
                let message =
                    format!("{place} has {at} bytes, another one {offset}, and it takes no short parts; begin again");
                return Err(Error::new(Code::BlobUploadInvalid, message));
            }
        }
        Ok(Box::new(upload))
    }

    fn uploads(&self) -> impl Iterator<Item = &dyn Upload> {
        self.parts.iter().filter_map(|part| match part {
            Part::Mounted(_) => None,
            Part::Upload(upload) => Some(&**upload),
        })
    }
}

#[async_trait]
impl Upload for UnifiedUpload {
    fn id(&self) -> &str {
        &self.id
    }

    fn offset(&self) -> u64 {
        self.uploads().map(Upload::offset).min().unwrap_or(0)
    }

    fn min_chunk(&self) -> u64 {
        self.uploads().map(Upload::min_chunk).max().unwrap_or(0)
    }

    async fn append(&mut self, body: Body) -> Result<()> {
        let offset = self.offset();
        let appends = self.parts.iter_mut().map(|part| {
            let skip = match part {
                Part::Mounted(_) => 0,
                Part::Upload(upload) => upload.offset() - offset,
            };
            (skip, appending(part))
        });
        let appended = tee(body, appends).await;
        // Over HTTP each part gives a session another name.
        self.id = id(&self.parts);
        outcome(appended?).map(|_| ())
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor> {
        let mounted = self.parts.iter().find_map(|part| match part {
            Part::Mounted(mounted) if mounted != digest => Some(mounted.clone()),
            _ => None,
        });
        if let Some(mounted) = mounted {
            let message = format!("expected {mounted}, which is mounted, got {digest}");
            return Err(Error::new(Code::DigestInvalid, message));
        }
        let commits = self.parts.into_iter().map(|part| match part {
            Part::Mounted(_) => future::ready(Ok(None)).boxed(),
            Part::Upload(upload) => upload.commit(digest).map(|committed| committed.map(Some)).boxed(),
        });
        let committed = outcome(future::join_all(commits.collect::<Vec<_>>()).await)?;
        Ok(committed.into_iter().flatten().next().expect("one part is an upload"))
    }

    async fn cancel(self: Box<Self>) -> Result<()> {
        let uploads = self.parts.into_iter().filter_map(|part| match part {
            Part::Mounted(_) => None,
            Part::Upload(upload) => Some(upload.cancel()),
        });
        removed(future::join_all(uploads.collect::<Vec<_>>()).await)
    }
}

fn appending<'a>(part: &'a mut Part) -> impl FnOnce(Body) -> BoxFuture<'a, Result<()>> {
    move |body| match part {
        Part::Mounted(_) => future::ready(Ok(())).boxed(),
        Part::Upload(upload) => upload.append(body),
    }
}

fn id(parts: &[Part]) -> String {
    let ids = parts.iter().map(|part| match part {
        Part::Mounted(digest) => PartId::Mounted(digest.clone()),
        Part::Upload(upload) => PartId::Upload(upload.id().to_owned()),
    });
    let json = serde_json::to_vec(&ids.collect::<Vec<_>>()).expect("strings serialize");
    URL_SAFE_NO_PAD.encode(json)
}

/// The parts that an id names, one of them an upload.
fn parse(id: &str) -> Option<Vec<PartId>> {
    let parts: Vec<PartId> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
    parts.iter().any(|part| matches!(part, PartId::Upload(_))).then_some(parts)
}
