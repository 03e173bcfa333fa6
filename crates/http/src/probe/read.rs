//! Reading from a registry: lists, manifests, parts of blobs, referrers, caching.

use http::HeaderName;
use http::Method;
use http::header;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;

use crate::auth::Scope;
use crate::client::answer::Answer;
use crate::client::manifest;
use crate::client::send;
use crate::client::send::same_origin;
use crate::client::transport::Line;
use crate::endpoint::Endpoint;
use crate::probe::Finding;
use crate::probe::Log;
use crate::probe::Probe;
use crate::probe::Question;
use crate::probe::words;
use crate::wire;

/// Bytes of a list that are read.
const MAX_LIST: u64 = 16 << 20;
/// Tags whose order is looked at.
const PAGE: usize = 100;

/// Asks for repositories. Few registries let everyone see them.
pub(super) async fn catalog(probe: &Probe, log: &mut Log<'_>) {
    let mut url = probe.client.url(&Endpoint::Catalog);
    url.set_query(Some("n=2"));
    let question = Question::new("catalog", "GET /v2/_catalog?n=2");
    let answer = probe.client.send(send::Request::get(url, Scope::catalog()).whole(MAX_LIST)).await;
    let advice = "name repositories yourself; `skep repos` cannot list them here";
    log.note(match answer {
        Ok(answer) if answer.status() == 200 => {
            let is_linked = answer.headers().contains_key(header::LINK);
            let list = answer.bytes(MAX_LIST).await.ok().and_then(|body| serde_json::from_slice(&body).ok());
            match list.map(|list: wire::RepoList| list.repositories.unwrap_or_default().len()) {
                Some(count @ 0..=2) if is_linked => question.good(format!("{count} names, and a link to more")),
                Some(count @ 0..=2) => question.good(format!("{count} names")),
                Some(count) => {
                    question.copes(format!("{count} names; the size of pages is not heeded"), "takes what comes")
                }
                None => question.lacks("200, but no list", advice),
            }
        }
        Ok(answer) => question.lacks(status(&answer), advice),
        Err(error) => question.lacks(words(&error), advice),
    });
}

/// Looks at a repository, beginning with its tags.
///
/// # Errors
/// What keeps content from being read.
pub(super) async fn look(probe: &Probe, repo: &RepoName, tag: Option<&Tag>, log: &mut Log<'_>) -> Result<()> {
    let names = tags(probe, repo, log).await?;
    let latest = || names.iter().find(|name| *name == "latest").or(names.first())?.parse().ok();
    let Some(tag) = tag.cloned().or_else(latest) else {
        let question = Question::new("manifest", "nothing");
        log.note(question.skipped(format!("there is no tag in {repo}; name another repository")));
        return Ok(());
    };
    let manifest = manifest(probe, repo, &tag, log).await?;
    caching(probe, repo, &manifest, log).await;
    referrers(probe, repo, &manifest, log).await;
    match blob_of(probe, repo, &manifest).await {
        Some(blob) => ranges(probe, repo, &blob, log).await,
        None => {
            let question = Question::new("ranges", "nothing");
            log.note(question.skipped(format!("{tag} has no blob of 3 bytes or more")));
            Ok(())
        }
    }
}

async fn tags(probe: &Probe, repo: &RepoName, log: &mut Log<'_>) -> Result<Vec<String>> {
    let question = Question::new("tags", format!("GET /v2/{repo}/tags/list in pages"));
    let (names, _) = match page(probe, repo, &format!("n={PAGE}")).await {
        Ok(page) => page,
        Err(error) => {
            log.note(question.broken(&error));
            return Err(error);
        }
    };
    let mut faults = Vec::new();
    if names.len() > PAGE {
        faults.push("the size of pages is not heeded");
    }
    if !names.is_sorted() {
        faults.push("not in lexical order");
    }
    if let [first, second, ..] = &names[..] {
        match page(probe, repo, "n=1").await {
            Ok((names, is_linked)) if names.len() == 1 => {
                if !is_linked {
                    faults.push("no link to the next page");
                }
            }
            Ok(_) => faults.push("the size of pages is not heeded"),
            Err(_) => faults.push("a page of one is refused"),
        }
        let next = page(probe, repo, &format!("n=1&last={first}")).await;
        if next.is_ok_and(|(names, _)| names.first() != Some(second)) {
            faults.push("`last` is not heeded");
        }
    }
    faults.dedup();
    let came = match names.len() {
        PAGE.. => format!("{PAGE} tags or more"),
        count => format!("{count} tags"),
    };
    log.note(match faults.is_empty() {
        true => question.good(came),
        false => question.copes(
            format!("{came}; {}", faults.join(", ")),
            "reads all there is, puts it in order, and cuts pages itself",
        ),
    });
    Ok(names)
}

/// One page of tags, and whether it links to the next one.
async fn page(probe: &Probe, repo: &RepoName, query: &str) -> Result<(Vec<String>, bool)> {
    let mut url = probe.client.url(&Endpoint::Tags(repo.clone()));
    url.set_query(Some(query));
    let answer = probe.client.send(send::Request::get(url, Scope::pull(repo)).whole(MAX_LIST)).await?;
    let answer = answer.expect(&[200], Code::NameUnknown).await?;
    let is_linked = answer.headers().contains_key(header::LINK);
    let list: wire::TagList = serde_json::from_slice(&answer.bytes(MAX_LIST).await?)
        .map_err(|error| Error::new(Code::Unsupported, "this is not a list of tags").with_source(error))?;
    Ok((list.tags.unwrap_or_default(), is_linked))
}

/// Reads a manifest, and compares what GET and HEAD say of it.
async fn manifest(probe: &Probe, repo: &RepoName, tag: &Tag, log: &mut Log<'_>) -> Result<Manifest> {
    let reference = ManifestRef::from(tag.clone());
    let question = Question::new("manifest", format!("GET /v2/{repo}/manifests/{tag}"));
    let came = async {
        let answer = manifest::request(&probe.client, Method::GET, repo, &reference).await?;
        let answer = answer.expect(&[200], Code::ManifestUnknown).await?;
        Ok((seen(&answer), probe.client.get_manifest(repo, &reference).await?))
    };
    let (get, manifest) = match came.await {
        Ok(came) => came,
        Err(error) => {
            log.note(question.broken(&error));
            return Err(error);
        }
    };
    let came = format!("{}, {} bytes", manifest.media_type(), manifest.descriptor().size);
    let digest = || Some(manifest.digest().to_string());
    log.note(match &get[0] {
        None => question.copes(format!("{came}; no Docker-Content-Digest"), "computes the digest of what came"),
        _ => question.good(format!("{came}, with its digest")),
    });
    let question = Question::new("head", format!("HEAD /v2/{repo}/manifests/{tag}"));
    let instead = "reads the manifest where HEAD does not tell all";
    log.note(match manifest::request(&probe.client, Method::HEAD, repo, &reference).await {
        Ok(answer) if answer.status() == 200 => {
            let head = seen(&answer);
            let names = ["Docker-Content-Digest", "Content-Type", "Content-Length"];
            let want = [digest(), get[1].clone(), Some(manifest.bytes().len().to_string())];
            let wrong = |at: &usize| head[*at] != want[*at];
            let wrong: Vec<_> = (0..names.len()).filter(wrong).map(|at| names[at]).collect();
            match wrong.is_empty() {
                true => question.good("the same digest, type and length as GET"),
                false => question.copes(format!("200, without the right {}", wrong.join(" and ")), instead),
            }
        }
        Ok(answer) => question.copes(status(&answer), instead),
        Err(error) => question.copes(words(&error), instead),
    });
    Ok(manifest)
}

/// Digest, type and length as headers say them.
fn seen(answer: &Answer) -> [Option<String>; 3] {
    let text = |name: &HeaderName| answer.text(name).map(str::to_owned);
    [text(&wire::CONTENT_DIGEST), text(&header::CONTENT_TYPE), text(&header::CONTENT_LENGTH)]
}

async fn caching(probe: &Probe, repo: &RepoName, manifest: &Manifest, log: &mut Log<'_>) {
    let reference = ManifestRef::from(manifest.digest().clone());
    let question = Question::new("caching", "asked for the manifest again with If-None-Match");
    let instead = "keeps content by its digest, and asks for tags by HEAD";
    let outcome = async {
        let answer = manifest::request(&probe.client, Method::HEAD, repo, &reference).await?;
        let Some(etag) = answer.text(&header::ETAG).map(str::to_owned) else { return Ok((None, 0)) };
        let url = probe.client.url(&Endpoint::Manifest(repo.clone(), reference));
        let request = send::Request::get(url, Scope::pull(repo))
            .header(header::ACCEPT, manifest.media_type())?
            .header(header::IF_NONE_MATCH, &etag)?;
        Result::Ok((Some(etag), probe.client.send(request).await?.status()))
    };
    log.note(match outcome.await {
        Ok((None, _)) => question.copes("there is no ETag", instead),
        Ok((Some(_), 304)) => question.good("304, not modified"),
        Ok((Some(_), status)) => question.copes(format!("{status}, with all of it"), instead),
        Err(error) => question.copes(words(&error), instead),
    });
}

async fn referrers(probe: &Probe, repo: &RepoName, manifest: &Manifest, log: &mut Log<'_>) {
    let url = probe.client.url(&Endpoint::Referrers(repo.clone(), manifest.digest().clone()));
    let question = Question::new("referrers", "GET the referrers of the manifest");
    let instead = "keeps and reads the list under the tag that is made of the digest";
    let answer = probe.client.send(send::Request::get(url, Scope::pull(repo)).whole(MAX_LIST)).await;
    log.note(match answer {
        Ok(answer) if answer.status() == 200 => {
            let list = answer.bytes(MAX_LIST).await.ok().and_then(|body| serde_json::from_slice(&body).ok());
            match list.map(|list: wire::ReferrerList| list.manifests.unwrap_or_default().len()) {
                Some(count) => question.good(format!("a list of {count}")),
                None => question.copes("200, but no list", instead),
            }
        }
        Ok(answer) => question.copes(status(&answer), instead),
        Err(error) => question.copes(words(&error), instead),
    });
}

/// The smallest blob of 3 bytes or more that a manifest names, or the first manifest in it.
async fn blob_of(probe: &Probe, repo: &RepoName, manifest: &Manifest) -> Option<Descriptor> {
    let mut content = manifest.content().ok()?;
    let child = content.children().next().map(|(_, child)| child.digest.clone());
    if let Some(child) = child {
        content = probe.client.get_manifest(repo, &child.into()).await.ok()?.content().ok()?;
    }
    let blobs = content.blobs().map(|(_, blob)| blob).filter(|blob| blob.size >= 3 && blob.urls.is_empty());
    blobs.min_by_key(|blob| blob.size).cloned()
}

/// Asks for two bytes of a blob. One file of an archive is read in this way.
async fn ranges(probe: &Probe, repo: &RepoName, blob: &Descriptor, log: &mut Log<'_>) -> Result<()> {
    let question = Question::new("head-blob", format!("HEAD of a blob of {} bytes", blob.size));
    let url = probe.client.url(&Endpoint::Blob(repo.clone(), blob.digest.clone()));
    let head = probe.client.send(send::Request::new(Method::HEAD, url.clone(), Scope::pull(repo))).await;
    let instead = "asks for one byte, and learns the size beside it";
    log.note(match head {
        Ok(answer) if answer.status() == 200 && answer.length() == Some(blob.size) => {
            question.good("200, with the size")
        }
        Ok(answer) => question.copes(format!("{}, without the right size", status(&answer)), instead),
        Err(error) => question.copes(words(&error), instead),
    });
    let question = Question::new("ranges", "GET bytes 1 and 2 of the blob");
    let asked = ByteRange::Span(1, 3);
    let request = send::Request::get(url, Scope::pull(repo))
        .over(Line::Own)
        .header(header::RANGE, &asked.to_string())?
        .header(header::ACCEPT_ENCODING, "identity")?;
    let answer = match probe.client.send(request).await {
        Ok(answer) => answer,
        Err(error) => {
            log.note(question.broken(&error));
            return Err(error);
        }
    };
    let elsewhere = match same_origin(answer.url(), probe.client.base_url()) {
        true => String::new(),
        false => format!(", from {}", answer.url().host_str().unwrap_or_default()),
    };
    let came = answer.text(&header::CONTENT_RANGE).and_then(wire::parse_content_range);
    let finding: Finding = match (answer.status(), came) {
        (206, Some((range, size))) if range == (1..3) && size.is_none_or(|size| size == blob.size) => {
            question.good(format!("206, these bytes{elsewhere}"))
        }
        (206, came) => question.lacks(
            format!("206{elsewhere}, but with the Content-Range {came:?}"),
            "files of archives cannot be read alone; pull whole archives",
        ),
        (200, _) => question.copes(
            format!("200{elsewhere}: all of it"),
            "reads on to the bytes that are wanted and leaves the rest; one file may cost a whole blob",
        ),
        (401..=404, _) => {
            let error = answer.into_error(Code::BlobUnknown).await;
            log.note(question.broken(&error));
            return Err(error);
        }
        _ => question.lacks(status(&answer), "files of archives cannot be read alone; pull whole archives"),
    };
    log.note(finding);
    Ok(())
}

/// The status of an answer.
fn status(answer: &Answer) -> String {
    http::StatusCode::from_u16(answer.status())
        .map_or_else(|_| answer.status().to_string(), |status| status.to_string())
}
