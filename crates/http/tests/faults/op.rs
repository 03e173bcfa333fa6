//! Operations: what a client is asked to do, and how one sees that it was done.

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use http::request::Parts;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::Mount;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Upload;
use skep_registry::UploadOptions;
use skep_registry::transfer::CopyOptions;
use skep_registry::transfer::DownloadOptions;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::copy;
use skep_registry::transfer::download_to_file;
use skep_registry::transfer::upload;

use crate::World;
use crate::content::BLOB;
use crate::content::IMAGE;
use crate::content::LARGE;
use crate::content::NEW;
use crate::content::NEXT;
use crate::content::REFERRER;
use crate::content::TAGS;
use crate::content::describe;
use crate::content::source;
use crate::content::tag;

macro_rules! ops {
    ($($op:ident $method:literal;)*) => {
        /// What a client is asked to do, by the exchange that goes wrong if only one does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Op { $($op,)* }

        impl Op {
            pub(crate) const ALL: &[Self] = &[$(Self::$op,)*];

            fn method(self) -> &'static str {
                match self { $(Self::$op => $method,)* }
            }
        }
    };
}

ops! {
    ChunksAppend "PATCH";
    ChunksBegin "POST";
    ChunksCommit "PUT";
    CopyFrom "GET";
    CopyTo "PUT";
    DeleteBlob "DELETE";
    DeleteManifest "DELETE";
    DeleteTag "DELETE";
    Download "GET";
    GetBlob "GET";
    GetManifestByDigest "GET";
    GetManifestByTag "GET";
    GetRange "GET";
    HeadBlob "HEAD";
    HeadManifest "HEAD";
    ListReferrers "GET";
    ListRepos "GET";
    ListTags "GET";
    Mount "POST";
    PutBlobBegin "POST";
    PutBlobSend "PUT";
    PutManifest "PUT";
    Resume "GET";
    Upload "PATCH";
}

impl Op {
    /// The repository that is for this operation alone.
    pub(crate) fn repo(self) -> RepoName {
        format!("{self:?}").to_lowercase().parse().unwrap()
    }

    /// Tells whether an exchange is part of it; with `any` not only the one that makes the difference.
    pub(crate) fn is_about(self, request: &Parts, any: bool) -> bool {
        let place = match self {
            Self::ListRepos => "/v2/_catalog".to_owned(),
            _ => format!("/v2/{}/", self.repo()),
        };
        request.uri.path().starts_with(&place) && (any || request.method == self.method())
    }

    /// Tells whether the exchange carries a stream, which can be sent once.
    pub(crate) fn sends_stream(self) -> bool {
        matches!(self, Self::ChunksAppend | Self::PutBlobSend)
    }

    /// Does what comes before.
    pub(crate) async fn prepare(self, world: &World) {
        if self == Self::Resume {
            let begin = async || {
                let mut session = world.client.upload_blob(&self.repo(), UploadOptions::default()).await?;
                session.append(NEW.slice(..50_000).into()).await.map(|()| session.id().to_owned())
            };
            let id = match begin().await {
                Ok(id) => id,
                // A busy machine may look like a stall.
                Err(_) => begin().await.unwrap(),
            };
            std::fs::write(world.dir.path().join("session"), id).unwrap();
        }
    }

    /// Does it, and looks at what came.
    pub(crate) async fn run(self, world: &World) -> Result<()> {
        let (client, repo) = (&*world.client, self.repo());
        let image = IMAGE.digest();
        match self {
            Self::ChunksAppend | Self::ChunksBegin | Self::ChunksCommit => {
                chunks(client.upload_blob(&repo, UploadOptions::default()).await?).await
            }
            Self::Resume => {
                let id = std::fs::read_to_string(world.dir.path().join("session")).unwrap();
                let options = UploadOptions { resume: Some(id), ..Default::default() };
                let session = client.upload_blob(&repo, options).await?;
                right(session.offset(), 50_000)?;
                chunks(session).await
            }
            Self::CopyFrom => {
                let (from, to) = (Place::new(world.client.clone(), repo), Place::new(world.copies.clone(), source()));
                let options = CopyOptions { tags: vec![tag("v1")], download: downloads(), ..Default::default() };
                copy(&from, &tag("v1").into(), &to, &options).await.map(drop)
            }
            Self::CopyTo => {
                let copies = world.copies.clone();
                copies.write_blob(&source(), BLOB.clone()).await?;
                copies.write_blob(&source(), "{}".into()).await?;
                copies.put_manifest(&source(), &NEXT, PutManifest::default()).await?;
                world.memory.delete_blob(&repo, &describe(&BLOB).digest).await?;
                let (from, to) = (Place::new(copies, source()), Place::new(world.client.clone(), repo));
                let options = CopyOptions { tags: vec![tag("next")], upload: uploads(), ..Default::default() };
                copy(&from, &NEXT.digest().clone().into(), &to, &options).await.map(drop)
            }
            Self::DeleteBlob => client.delete_blob(&repo, &describe(&BLOB).digest).await,
            Self::DeleteManifest => client.delete_manifest(&repo, &image.clone().into()).await,
            Self::DeleteTag => client.delete_manifest(&repo, &tag("v1").into()).await,
            Self::Download => {
                let place = Place::new(world.client.clone(), repo);
                download_to_file(&place, &describe(&LARGE), &self.file(world), &downloads()).await.map(drop)
            }
            Self::GetBlob => {
                let blob = client.get_blob(&repo, &describe(&BLOB).digest, None).await?;
                right(blob.body.bytes(1 << 30).await?, BLOB.clone())
            }
            Self::GetManifestByDigest => {
                right(client.get_manifest(&repo, &image.clone().into()).await?.bytes(), IMAGE.bytes())
            }
            Self::GetManifestByTag => {
                right(client.get_manifest(&repo, &tag("v1").into()).await?.bytes(), IMAGE.bytes())
            }
            Self::GetRange => {
                let range = 7_000..60_000;
                let blob =
                    client.get_blob(&repo, &describe(&BLOB).digest, Some(ByteRange::from(range.clone()))).await?;
                right(blob.narrow(range)?.bytes(1 << 30).await?, BLOB.slice(7_000..60_000))
            }
            Self::HeadBlob => right(client.head_blob(&repo, &describe(&BLOB).digest).await?, describe(&BLOB)),
            Self::HeadManifest => {
                right(client.head_manifest(&repo, &tag("v1").into()).await?, IMAGE.descriptor().clone())
            }
            Self::ListReferrers => {
                let list = client.list_referrers(&repo, image, &Default::default()).await?;
                let digests: Vec<_> = list.items.into_iter().map(|one| one.digest).collect();
                right(digests, vec![REFERRER.digest().clone()])
            }
            Self::ListRepos => {
                let list = client.list_repos(&Page::default()).await?;
                let is_there = |op: &Self| list.items.contains(&op.repo());
                right(Self::ALL.iter().filter(|op| is_there(op)).count(), Self::ALL.len())
            }
            Self::ListTags => right(client.list_tags(&repo, &Page::default()).await?.items, TAGS.map(tag).to_vec()),
            Self::Mount => match client.mount_blob(&repo, &describe(&NEW).digest, Some(&source())).await? {
                Mount::Mounted => Ok(()),
                Mount::Upload(_) => Err(wrong("a session".to_owned())),
            },
            Self::PutBlobBegin | Self::PutBlobSend => {
                client.put_blob(&repo, &describe(&NEW), body(&NEW, 0..NEW.len() as u64)).await
            }
            Self::PutManifest => {
                let options = PutManifest { tags: vec![tag("next")], if_absent: false };
                client.put_manifest(&repo, &NEXT, options).await
            }
            Self::Upload => {
                let place = Place::new(world.client.clone(), repo);
                upload(&place, &describe(&NEW), |range| body(&NEW, range), &uploads()).await.map(drop)
            }
        }
    }

    /// What is wrong afterwards.
    pub(crate) async fn damage(self, world: &World, succeeded: bool) -> Option<String> {
        let (memory, repo) = (&*world.memory, self.repo());
        let there = |digest: Digest| async move { memory.has_blob(&self.repo(), &digest).await.unwrap() };
        let tagged = |name: &'static str| async move { tagged(memory, &self.repo(), name).await };
        let new = describe(&NEW).digest;
        let (is_done, is_undone) = match self {
            Self::ChunksAppend
            | Self::ChunksBegin
            | Self::ChunksCommit
            | Self::Mount
            | Self::PutBlobBegin
            | Self::PutBlobSend
            | Self::Resume
            | Self::Upload => (there(new.clone()).await, !there(new).await),
            Self::CopyTo | Self::PutManifest => {
                let next = tagged("next").await;
                (next.as_ref() == Some(NEXT.digest()), next.is_none())
            }
            Self::DeleteBlob => {
                let blob = describe(&BLOB).digest;
                (!there(blob.clone()).await, there(blob).await)
            }
            Self::DeleteManifest => (tagged("v2").await.is_none(), tagged("v2").await.is_some()),
            Self::DeleteTag => (tagged("v1").await.is_none(), tagged("v1").await.is_some()),
            Self::Download => {
                let file = std::fs::read(self.file(world)).ok();
                (file.as_deref() == Some(&LARGE[..]), file.is_none())
            }
            Self::CopyFrom => {
                let copied = self::tagged(&world.copies, &source(), "v1").await;
                (copied.as_ref() == Some(IMAGE.digest()), copied.is_none())
            }
            _ => (true, true),
        };
        if if succeeded { !is_done } else { !is_done && !is_undone } {
            return Some(format!("done: {is_done}, undone: {is_undone}"));
        }
        // Nothing else may have changed.
        let stays = match self {
            Self::DeleteManifest => return None,
            Self::DeleteTag => "v2",
            _ => "v1",
        };
        (tagged(stays).await.as_ref() != Some(IMAGE.digest())).then(|| format!("{stays} in {repo} is gone"))
    }

    fn file(self, world: &World) -> PathBuf {
        world.dir.path().join("file")
    }
}

async fn tagged(memory: &Memory, repo: &RepoName, name: &str) -> Option<Digest> {
    let found = memory.head_manifest(repo, &ManifestRef::Tag(tag(name))).await;
    found.ok().map(|found| found.digest)
}

/// Sends what a session does not have, and ends it.
async fn chunks(mut session: Box<dyn Upload>) -> Result<()> {
    while session.offset() < NEW.len() as u64 {
        let end = (session.offset() + 60_000).min(NEW.len() as u64);
        session.append(body(&NEW, session.offset()..end)).await?;
    }
    session.commit(&describe(&NEW).digest).await.map(drop)
}

/// A stream, as it would come from a file.
fn body(bytes: &Bytes, range: Range<u64>) -> Body {
    let bytes = bytes.slice(range.start as usize..range.end as usize);
    let parts: Vec<_> = bytes.chunks(16 << 10).map(|part| Ok(bytes.slice_ref(part))).collect();
    Body::new(Some(bytes.len() as u64), futures_util::stream::iter(parts))
}

fn right<T: PartialEq>(got: T, want: T) -> Result<()> {
    if got == want { Ok(()) } else { Err(wrong(std::any::type_name::<T>().to_owned())) }
}

fn wrong(what: String) -> Error {
    Error::new(Code::Other(WRONG.to_owned()), what)
}

fn downloads() -> DownloadOptions {
    DownloadOptions { connections: 3, memory: 12 << 20, attempts: 3, ..Default::default() }
}

fn uploads() -> UploadSettings {
    UploadSettings { single: 1 << 10, max_chunk: 64 << 10, attempts: 3, ..Default::default() }
}

/// The code of a result that is not the right one; no registry says it.
pub(crate) const WRONG: &str = "WRONG";
