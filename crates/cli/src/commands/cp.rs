//! `skep cp SOURCE... DEST`: files and directories out of archives, or into one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use skep::Address;
use skep::ExtractOptions;
use skep::Extracted;
use skep::Pulled;

use super::Session;
use super::cat;
use super::insert;
use super::pull;
use crate::args::Cp;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Failures;
use crate::exit::Outcome;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    sources: Vec<String>,
    dest: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
    skipped: u64,
}

/// A path in an archive, as `REF:/PATH`.
pub(super) struct Source {
    pub(super) address: Address,
    /// Without slashes at its ends; empty for all of the archive.
    pub(super) path: String,
}

pub(super) async fn cp(session: &Session, args: Cp) -> Outcome {
    if let Some(dest) = insert::dest(session, &args)? {
        return insert::insert(session, args, &dest).await;
    }
    let sources = args.sources.iter().map(|text| Source::parse(text)).collect::<Outcome<Vec<_>>>()?;
    if args.dest.as_os_str() == "-" {
        for source in &sources {
            let archive = session.client.pull_with(&source.address, session.lasting()).await?;
            for path in source.paths(&archive)? {
                if !cat::print(&archive, &path).await? {
                    return Ok(());
                }
            }
        }
        return Ok(());
    }
    let into = args.dest.is_dir() || args.dest.as_os_str().to_string_lossy().ends_with('/');
    if sources.len() > 1 && !into {
        let message = format!("{} is not a directory, and there are several sources", args.dest.display());
        return Err(Failure::new(Exit::Usage, message).hint("end it with a slash to have it made"));
    }
    let mut answer = Answer {
        schema: "skep/cp/v1",
        sources: args.sources.clone(),
        dest: args.dest.display().to_string(),
        files: 0,
        directories: 0,
        symlinks: 0,
        size: 0,
        skipped: 0,
    };
    let options = args.extract.options()?;
    let mut failures = Failures::of(sources.len(), session.json);
    for source in &sources {
        let copied = source.copy(session, &args.dest, into, &options).await;
        let Some(extracted) = failures.note(copied) else { continue };
        answer.files += extracted.files;
        answer.directories += extracted.directories;
        answer.symlinks += extracted.symlinks;
        answer.size += extracted.bytes;
        answer.skipped += extracted.skipped;
    }
    failures.outcome()?;
    session.answer(&answer, || {
        let (files, bytes, kept) = (count(answer.files, "file"), size(answer.size), pull::kept(answer.skipped));
        format!("copied {files}, {bytes}, to {}{kept}", escape(&answer.dest))
    })
}

impl Source {
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let Some((address, path)) = split(text) else {
            let message = format!("{text:?} is not REF:/PATH");
            return Err(Failure::new(Exit::Usage, message).hint("all of an archive is REF:/"));
        };
        let address = address.parse().map_err(|error| Failure::from(error).exits(Exit::Usage))?;
        let path = skep::normalize(path).into_owned();
        Ok(Self { address, path: if path == "." { String::new() } else { path } })
    }

    async fn copy(&self, session: &Session, dest: &Path, into: bool, options: &ExtractOptions) -> Outcome<Extracted> {
        let archive = session.client.pull_with(&self.address, session.lasting()).await?;
        let paths = self.paths(&archive)?;
        if let [path] = &paths[..]
            && *path == self.path
        {
            let (dest, options) = place(&archive, path, dest, into, options)?;
            return Ok(archive.extract(&dest, options, session.on_progress()).await?);
        }
        if !into {
            let message = format!("{} is not a directory, and /{} is a pattern", dest.display(), self.path);
            return Err(Failure::new(Exit::Usage, message).hint("end it with a slash to have it made"));
        }
        let mut extracted = Extracted::default();
        // One extraction for each directory that something lies in.
        let mut by_parent = BTreeMap::<&str, Vec<String>>::new();
        for path in &paths {
            by_parent.entry(parent(path)).or_default().push(path.clone());
        }
        for (parent, select) in by_parent {
            let options = ExtractOptions { select, strip: parent.to_owned(), ..options.clone() };
            let one = archive.extract(dest, options, session.on_progress()).await?;
            extracted.files += one.files;
            extracted.directories += one.directories;
            extracted.symlinks += one.symlinks;
            extracted.bytes += one.bytes;
            extracted.skipped += one.skipped;
        }
        Ok(extracted)
    }

    /// The paths that are meant: the one that is said if there is such, else those that it matches as a pattern.
    fn paths(&self, archive: &Pulled) -> Outcome<Vec<String>> {
        if !self.path.contains(['*', '?', '[', '{']) || archive.node(&self.path).is_ok() {
            return Ok(vec![self.path.clone()]);
        }
        let mut paths = BTreeSet::new();
        for (path, _) in archive.glob(&self.path).map_err(|error| Failure::from(error).exits(Exit::Usage))? {
            // What lies in a directory that matches comes with it, and behind it.
            if !path.match_indices('/').any(|(at, _)| paths.contains(&path[..at])) {
                paths.insert(path.to_owned());
            }
        }
        if paths.is_empty() {
            return Err(Failure::new(Exit::NotFound, format!("nothing matches /{}", self.path)));
        }
        Ok(paths.into_iter().collect())
    }
}

/// The parts of `REF:/PATH`: what would be an address, and a path with its slash; none if it does not have this form.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    // `:/` cannot be inside of an address, but it may be at its start: `oci:/srv/store`, `http://`.
    let start = ["oci:", "ocidir://", "http://", "https://", "docker://"];
    let start = start.iter().find(|start| text.starts_with(**start)).map_or(0, |start| start.len());
    let at = start + text[start..].find(":/")?;
    Some((&text[..at], &text[at + 1..]))
}

/// Where to extract to, and what: as cp(1) does, into a directory that is there, else under the name given.
fn place(
    archive: &Pulled,
    path: &str,
    dest: &Path,
    into: bool,
    options: &ExtractOptions,
) -> Outcome<(PathBuf, ExtractOptions)> {
    let select = if path.is_empty() { Vec::new() } else { vec![path.to_owned()] };
    let options = ExtractOptions { select, strip: parent(path).to_owned(), ..options.clone() };
    if into || path.is_empty() {
        return Ok((dest.to_owned(), options));
    }
    if let skep::Node::Directory(_) = archive.node(path)? {
        return Ok((dest.to_owned(), ExtractOptions { strip: path.to_owned(), ..options }));
    }
    let Some(new) = dest.file_name().and_then(|name| name.to_str()) else {
        return Err(Failure::new(Exit::Usage, format!("{} cannot be the name of a file", dest.display())));
    };
    let name = path.rsplit('/').next().filter(|name| *name != new).map(|_| new.to_owned());
    let dir = match dest.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok((dir, ExtractOptions { name, ..options }))
}

/// The directory that a path lies in; empty for the root.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_begins_behind_the_address() {
        for (text, address, path) in [
            ("a.b/c:v1:/x/y", "a.b/c:v1", "x/y"),
            ("a.b:5000/c:/x", "a.b:5000/c", "x"),
            ("http://a.b/c:/", "http://a.b/c", ""),
            ("oci:/srv/store:v1:/x:/y", "oci:/srv/store:v1", "x:/y"),
            ("oci:store:/x//y/", "oci:store", "x/y"),
        ] {
            let source = Source::parse(text).unwrap();
            assert_eq!((source.address.to_string().as_str(), source.path.as_str()), (address, path));
        }
        for text in ["a.b/c:v1", "oci:/srv/store", "alpine:/x", "/x"] {
            assert_eq!(Source::parse(text).map(|_| ()).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
