//! Writing to a registry: uploads of every kind, tags, subjects, and deleting it all.

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http::header;
use serde_json::json;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Hasher;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::Upload;
use skep_registry::UploadOptions;
use skep_registry::media_type;

use crate::auth::Scope;
use crate::client::manifest::Condition;
use crate::client::manifest::names_subject;
use crate::client::manifest::put_one;
use crate::client::manifest::tags_of;
use crate::client::send;
use crate::endpoint::Endpoint;
use crate::probe::Log;
use crate::probe::Probe;
use crate::probe::Question;
use crate::probe::Written;
use crate::probe::litter::Litter;
use crate::probe::litter::cancel;
use crate::probe::words;
use crate::wire;

/// Sizes of first chunks that are tried to find the smallest one: what registries are known to ask for.
const SMALL: [u64; 4] = [1, 64 << 10, 1 << 20, 5 << 20];
/// The first size that is tried to find the largest one.
const LARGE: u64 = 1 << 20;

/// Writes, and gives what is to be read and deleted afterwards.
///
/// # Errors
/// What keeps content from being written: the plain upload, or the manifest.
pub(super) async fn look(probe: &Probe, repo: &RepoName, max_bytes: u64, log: &mut Log<'_>) -> Result<Written> {
    let blob = monolithic(probe, repo, log).await?;
    let spare = single_post(probe, repo, log).await;
    let small = smallest_chunk(probe, repo, log).await;
    if let Some(small) = small {
        largest_chunk(probe, repo, small, max_bytes, log).await;
        sessions(probe, repo, small, log).await;
    }
    mount(probe, repo, &blob, log).await;
    sha512(probe, repo, log).await;
    let manifest = image(probe, &blob, None, "main");
    let tag = tag(probe, "a");
    push(probe, repo, &manifest, &tag, log).await?;
    let further = tags_with_digest(probe, repo, &manifest, log).await;
    let referrer = subject(probe, repo, &blob, &manifest, log).await;
    Ok(Written { tag, spare: further, manifest: referrer, blob: spare.unwrap_or(blob.digest) })
}

/// Content that nobody else has.
fn content(probe: &Probe, part: &str) -> Bytes {
    json!({ "skep-doctor": probe.nonce, "part": part }).to_string().into()
}

fn tag(probe: &Probe, part: &str) -> Tag {
    format!("skep-doctor-{}-{part}", probe.nonce).parse().expect("letters, digits and dashes are a tag")
}

async fn monolithic(probe: &Probe, repo: &RepoName, log: &mut Log<'_>) -> Result<Descriptor> {
    let question = Question::new("upload", format!("POST and PUT of a blob to {repo}"));
    let bytes = content(probe, "upload");
    let blob = Descriptor::of("application/vnd.skep.doctor.v1+json", &bytes);
    let stored = async {
        store(probe, repo, &blob, bytes).await?;
        probe.client.head_blob(repo, &blob.digest).await
    };
    match stored.await {
        Ok(_) => {
            log.note(question.good("stored"));
            Ok(blob)
        }
        Err(error) => {
            log.note(question.broken(&error));
            Err(error)
        }
    }
}

async fn store(probe: &Probe, repo: &RepoName, blob: &Descriptor, bytes: Bytes) -> Result<()> {
    probe.drop_later(Litter::Blob(repo.clone(), blob.digest.clone()));
    probe.client.put_blob(repo, blob, Body::from(bytes)).await
}

/// All in one request. Registries that do not do it answer with an upload, as if the body were not there.
async fn single_post(probe: &Probe, repo: &RepoName, log: &mut Log<'_>) -> Option<Digest> {
    let bytes = content(probe, "post");
    let digest = Digest::sha256(&bytes);
    let mut url = probe.client.url(&Endpoint::Uploads(repo.clone()));
    url.query_pairs_mut().append_pair("digest", digest.as_str());
    let question = Question::new("single-post", "POST of a blob with its digest");
    let instead = "uploads with POST and PUT everywhere";
    probe.drop_later(Litter::Blob(repo.clone(), digest.clone()));
    let request = send::Request::new(Method::POST, url, Scope::push(repo)).header(header::CONTENT_TYPE, OCTET_STREAM);
    let answer = match request {
        Ok(request) => probe.client.send(request.bytes(bytes.clone())).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) if answer.status() == 201 => match probe.client.has_blob(repo, &digest).await {
            Ok(true) => {
                log.note(question.good("201, stored"));
                return Some(digest);
            }
            _ => log.note(question.copes("201, and it is not there", instead)),
        },
        Ok(answer) => {
            if let Some(Ok(url)) = answer.text(&header::LOCATION).map(|to| probe.client.resolve(answer.url(), to)) {
                probe.drop_later(Litter::Session(repo.clone(), url.to_string()));
            }
            log.note(question.copes(format!("{} and no blob", answer.status()), instead));
        }
        Err(error) => log.note(question.copes(words(&error), instead)),
    }
    // Something to delete nevertheless.
    let blob = Descriptor::new(OCTET_STREAM, digest.clone(), bytes.len() as u64);
    store(probe, repo, &blob, bytes).await.ok().map(|()| digest)
}

/// The smallest chunk that is taken, if any is.
async fn smallest_chunk(probe: &Probe, repo: &RepoName, log: &mut Log<'_>) -> Option<u64> {
    let question = Question::new("chunks", "uploaded blobs in two chunks, the first as small as may be");
    let mut refused = None;
    let mut stated = 0;
    for size in SMALL {
        match two_chunks(probe, repo, size, &mut stated).await {
            Ok(()) => {
                let stated = match stated {
                    0 => "no minimum is stated".to_owned(),
                    stated => format!("OCI-Chunk-Min-Length is {stated}"),
                };
                log.note(match refused {
                    None => question.good(format!("a first chunk of {size} byte is taken; {stated}")),
                    Some((below, error)) => question.copes(
                        format!("{size} bytes are taken, {below} are not ({error}); {stated}"),
                        "sends chunks of 4 MiB and more, and never less than the registry states",
                    ),
                });
                return Some(size);
            }
            Err(error) => refused = Some((size, words(&error))),
        }
    }
    let error = refused.map(|(_, error)| error).unwrap_or_default();
    log.note(
        question
            .copes(format!("no chunks are taken: {error}"), "uploads each blob in one piece; a break begins it anew"),
    );
    None
}

async fn two_chunks(probe: &Probe, repo: &RepoName, size: u64, stated: &mut u64) -> Result<()> {
    let last = content(probe, &format!("chunks of {size}"));
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for at in (0..size).step_by(ZEROS.len()) {
        hasher.update(&ZEROS[..(size - at).min(ZEROS.len() as u64) as usize]);
    }
    hasher.update(&last);
    let (digest, len) = (hasher.finish(), size + last.len() as u64);
    let mut upload = begin(probe, repo).await?;
    *stated = (*stated).max(upload.min_chunk());
    let sent = async {
        upload.append(zeros(size)).await?;
        upload.append(Body::from(last)).await
    };
    if let Err(error) = sent.await {
        leave(probe, repo, upload).await;
        return Err(error);
    }
    probe.drop_later(Litter::Blob(repo.clone(), digest.clone()));
    upload.commit(&digest).await?;
    match probe.client.head_blob(repo, &digest).await?.size {
        size if size == len => Ok(()),
        size => Err(skep_registry::Error::new(Code::SizeInvalid, format!("of {len} bytes, {size} were stored"))),
    }
}

async fn begin(probe: &Probe, repo: &RepoName) -> Result<Box<dyn Upload>> {
    probe.client.upload_blob(repo, UploadOptions::default()).await
}

/// Cancels an upload, now or at the end.
async fn leave(probe: &Probe, repo: &RepoName, upload: Box<dyn Upload>) {
    let session = Litter::Session(repo.clone(), upload.id().to_owned());
    probe.drop_later(session.clone());
    if upload.cancel().await.is_ok() {
        probe.is_gone(&session);
    }
}

/// Doubles a chunk until it is refused, or `max_bytes` are sent.
async fn largest_chunk(probe: &Probe, repo: &RepoName, small: u64, max_bytes: u64, log: &mut Log<'_>) {
    let question = Question::new("chunk-size", format!("sent larger chunks, {} MiB at most in all", max_bytes >> 20));
    let (mut taken, mut sent, mut size) = (small, 0u64, small.max(LARGE));
    while sent + size <= max_bytes {
        let outcome = async {
            let mut upload = begin(probe, repo).await?;
            let appended = upload.append(zeros(size)).await;
            leave(probe, repo, upload).await;
            appended
        };
        if let Err(error) = outcome.await {
            log.note(question.copes(
                format!("{taken} bytes are taken, {size} are not ({})", words(&error)),
                "begins with 4 MiB, and halves its chunks for good when one is refused",
            ));
            return;
        }
        (taken, sent, size) = (size, sent + size, size * 2);
    }
    log.note(question.good(format!("{taken} bytes are taken; more was not tried")));
}

/// Looks whether a session can be taken up again, and given up.
async fn sessions(probe: &Probe, repo: &RepoName, small: u64, log: &mut Log<'_>) {
    let question = Question::new("resume", "asked an upload how far it is, and went on from there");
    let instead = "begins an upload anew that breaks off";
    // `Range: 0-0` is one byte, or none: more bytes tell more.
    let small = small.max(1000);
    let resumed = async {
        let mut upload = begin(probe, repo).await?;
        let appended = upload.append(zeros(small)).await;
        let id = upload.id().to_owned();
        probe.drop_later(Litter::Session(repo.clone(), id.clone()));
        appended?;
        drop(upload);
        let options = UploadOptions { resume: Some(id.clone()), ..Default::default() };
        let upload = probe.client.upload_blob(repo, options).await?;
        Result::Ok((upload.offset(), upload.id().to_owned(), id))
    };
    let id = match resumed.await {
        Ok((offset, id, old)) if offset == small => {
            probe.is_gone(&Litter::Session(repo.clone(), old));
            probe.drop_later(Litter::Session(repo.clone(), id.clone()));
            log.note(question.good(format!("it has {offset} of {small} bytes")));
            id
        }
        Ok((offset, id, _)) => {
            log.note(question.copes(format!("it says {offset} where it has {small}"), instead));
            id
        }
        Err(error) => {
            log.note(question.copes(words(&error), instead));
            return;
        }
    };
    let question = Question::new("cancel", "DELETE of an upload");
    let instead = "leaves uploads behind that it gives up; the registry drops them in time";
    log.note(match cancel(probe, repo, &id).await {
        Ok(200..=299) => {
            probe.is_gone(&Litter::Session(repo.clone(), id));
            question.good("it is gone")
        }
        Ok(status) => question.copes(status.to_string(), instead),
        Err(error) => question.copes(words(&error), instead),
    });
}

async fn mount(probe: &Probe, repo: &RepoName, blob: &Descriptor, log: &mut Log<'_>) {
    let question = Question::new("mount", format!("mounted a blob of {repo} in a repository beneath it"));
    let instead = "sends the bytes again where another repository has them";
    let Ok(other) = format!("{repo}/skep-doctor-{}", probe.nonce).parse::<RepoName>() else {
        log.note(question.skipped("the name of the repository is too long to have one beneath it"));
        return;
    };
    let mounted = Litter::Blob(other.clone(), blob.digest.clone());
    probe.drop_later(mounted.clone());
    let outcome = probe.client.mount_blob(&other, &blob.digest, Some(repo)).await;
    if !matches!(outcome, Ok(Mount::Mounted)) {
        probe.is_gone(&mounted);
    }
    log.note(match outcome {
        Ok(Mount::Mounted) => question.good("201, mounted"),
        Ok(Mount::Upload(upload)) => {
            leave(probe, &other, upload).await;
            question.copes("202, an upload in its place", instead)
        }
        Err(error) => question.copes(words(&error), instead),
    });
}

async fn sha512(probe: &Probe, repo: &RepoName, log: &mut Log<'_>) {
    let question = Question::new("sha512", "uploaded a blob with a digest of sha512");
    let bytes = content(probe, "sha512");
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let blob = Descriptor::new(OCTET_STREAM, digest, bytes.len() as u64);
    log.note(match store(probe, repo, &blob, bytes).await {
        Ok(()) => question.good("stored"),
        Err(error) => question.copes(words(&error), "uses sha256 for all that it makes"),
    });
}

/// A manifest that names the blob, and may have a subject.
fn image(probe: &Probe, blob: &Descriptor, subject: Option<&Descriptor>, part: &str) -> Manifest {
    let mut image = json!({
        "schemaVersion": 2,
        "mediaType": media_type::IMAGE,
        "artifactType": "application/vnd.skep.doctor.v1",
        "config": blob,
        "layers": [blob],
        "annotations": { "skep-doctor": probe.nonce, "part": part },
    });
    if let Some(subject) = subject {
        image["subject"] = json!(subject);
    }
    Manifest::new(media_type::IMAGE, image.to_string())
}

async fn push(probe: &Probe, repo: &RepoName, manifest: &Manifest, tag: &Tag, log: &mut Log<'_>) -> Result<()> {
    let question = Question::new("push", format!("PUT of a manifest as {repo}:{tag}"));
    probe.drop_later(Litter::Manifest(repo.clone(), manifest.digest().clone()));
    probe.drop_later(Litter::Tag(repo.clone(), tag.clone().into()));
    let pushed = async {
        put_one(&probe.client, repo, &tag.clone().into(), &[], manifest, Condition::None).await?;
        probe.client.get_manifest(repo, &tag.clone().into()).await
    };
    match pushed.await {
        Ok(got) if got.bytes() == manifest.bytes() => {
            log.note(question.good("stored, and read back"));
            Ok(())
        }
        Ok(got) => {
            let message = format!("expected {}, got {}", manifest.digest(), got.digest());
            let error = skep_registry::Error::new(Code::DigestInvalid, message);
            log.note(question.broken(&error));
            Err(error)
        }
        Err(error) => {
            log.note(question.broken(&error));
            Err(error)
        }
    }
}

/// Sets two tags with one request, and gives one of them.
async fn tags_with_digest(probe: &Probe, repo: &RepoName, manifest: &Manifest, log: &mut Log<'_>) -> Tag {
    let question = Question::new("tag-parameter", "PUT of a manifest by digest with two tags");
    let instead = "sends the manifest once for each tag";
    let tags = [tag(probe, "b"), tag(probe, "c")];
    for tag in &tags {
        probe.drop_later(Litter::Tag(repo.clone(), tag.clone().into()));
    }
    let reference = ManifestRef::from(manifest.digest().clone());
    let mut is_set = false;
    log.note(match put_one(&probe.client, repo, &reference, &tags, manifest, Condition::None).await {
        Ok(answer) => {
            let said = tags_of(&answer);
            is_set = tags.iter().all(|tag| said.contains(tag));
            match is_set {
                true => question.good("OCI-Tag names both"),
                false => question.copes(format!("{} without OCI-Tag", answer.status()), instead),
            }
        }
        Err(error) => question.copes(words(&error), instead),
    });
    let [spare, _] = tags;
    if !is_set {
        let put = put_one(&probe.client, repo, &spare.clone().into(), &[], manifest, Condition::None).await;
        tracing::debug!(is_put = put.is_ok(), "a tag to be deleted");
    }
    spare
}

/// Pushes a manifest with a subject, and gives its digest.
async fn subject(probe: &Probe, repo: &RepoName, blob: &Descriptor, manifest: &Manifest, log: &mut Log<'_>) -> Digest {
    let question = Question::new("subject", "PUT of a manifest with a subject");
    let instead = "enters it into the list under the tag that is made of the digest";
    let referrer = image(probe, blob, Some(manifest.descriptor()), "referrer");
    probe.drop_later(Litter::Manifest(repo.clone(), referrer.digest().clone()));
    let reference = ManifestRef::from(referrer.digest().clone());
    log.note(match put_one(&probe.client, repo, &reference, &[], &referrer, Condition::None).await {
        Ok(answer) if names_subject(&answer) => {
            let name = answer.text(&wire::SUBJECT).unwrap_or_default().to_owned();
            match name == manifest.digest().as_str() {
                true => question.good("OCI-Subject names it"),
                false => question.copes(format!("OCI-Subject is {name:?}"), "believes it"),
            }
        }
        Ok(answer) => question.copes(format!("{} without OCI-Subject", answer.status()), instead),
        Err(error) => question.copes(words(&error), instead),
    });
    referrer.digest().clone()
}

/// Deletes what was written for that.
pub(super) async fn delete(probe: &Probe, repo: &RepoName, written: &Written, log: &mut Log<'_>) {
    let client = &probe.client;
    let question = Question::new("delete-tag", "DELETE of a tag");
    let advice = "delete manifests by their digest instead, with all their tags: `skep rm REF@DIGEST`";
    let spare = ManifestRef::from(written.spare.clone());
    let main = ManifestRef::from(written.tag.clone());
    log.note(match client.delete_manifest(repo, &spare).await {
        Ok(()) => {
            let is_gone = client.head_manifest(repo, &spare).await.is_err_and(|error| error.is_not_found());
            match (is_gone, client.head_manifest(repo, &main).await) {
                (true, Ok(_)) => {
                    probe.is_gone(&Litter::Tag(repo.clone(), spare));
                    question.good("it is gone, and another tag of the manifest stays")
                }
                (true, Err(_)) => {
                    question.lacks("another tag of the manifest went with it", "do not delete single tags here")
                }
                (false, _) => question.lacks("it is still there", advice),
            }
        }
        Err(error) => question.lacks(words(&error), advice),
    });
    let question = Question::new("delete-manifest", "DELETE of a manifest by digest");
    let advice = "deleting may have to be switched on in the registry; else it cleans up by rules of its own";
    let reference = ManifestRef::from(written.manifest.clone());
    log.note(match client.delete_manifest(repo, &reference).await {
        Ok(()) => match client.head_manifest(repo, &reference).await {
            Err(error) if error.is_not_found() => {
                probe.is_gone(&Litter::Manifest(repo.clone(), written.manifest.clone()));
                question.good("it is gone")
            }
            _ => question.lacks("it is still there", advice),
        },
        Err(error) => question.lacks(words(&error), advice),
    });
    let question = Question::new("delete-blob", "DELETE of a blob");
    let advice = "nothing has to be done: registries collect blobs that no manifest names";
    log.note(match client.delete_blob(repo, &written.blob).await {
        Ok(()) => match client.has_blob(repo, &written.blob).await {
            Ok(false) => {
                probe.is_gone(&Litter::Blob(repo.clone(), written.blob.clone()));
                question.good("it is gone")
            }
            _ => question.lacks("it is still there", advice),
        },
        Err(error) => question.lacks(words(&error), advice),
    });
}

/// A body of so many zeros, which takes no memory.
fn zeros(len: u64) -> Body {
    let parts = (0..len).step_by(ZEROS.len());
    let parts = parts.map(move |at| Ok(Bytes::from_static(&ZEROS[..(len - at).min(ZEROS.len() as u64) as usize])));
    Body::new(Some(len), stream::iter(parts))
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
