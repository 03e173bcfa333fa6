//! A tree of layouts: the path of each repository, and the repositories that there are.

use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

use crate::error::Error;
use crate::error::Result;
use crate::layout::dir::Dir;
use crate::name::RepoName;

/// What a layout has beside the repositories below it; as a part of their names it is escaped.
const RESERVED: [&str; 3] = ["blobs", "index.json", "oci-layout"];

/// Where the layout of a repository is.
pub(super) fn path(root: &Path, repo: &RepoName) -> PathBuf {
    let mut path = root.to_owned();
    for component in repo.as_str().split('/') {
        if RESERVED.contains(&component) {
            path.push(format!("_{component}"));
        } else {
            path.push(component);
        }
    }
    path
}

/// The repositories below a directory that are wanted, in lexical order. None if it does not exist.
pub(super) fn repos(root: &Path, wanted: impl Fn(&Dir) -> Result<bool>) -> Result<Vec<RepoName>> {
    let mut found = Vec::new();
    let mut open = vec![(root.to_owned(), None)];
    while let Some((path, parent)) = open.pop() {
        let failed = |error| Error::io(format_args!("list {}", path.display()), error);
        let entries = match path.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let file_name = entry.file_name();
            let Some(component) = file_name.to_str().and_then(component) else { continue };
            // A name that is too long, or not one, is not a repository; so the descent ends.
            let Ok(repo) = child(parent.as_ref(), component) else { continue };
            if !entry.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            let path = entry.path();
            if wanted(&Dir::new(path.clone()))? {
                found.push(repo.clone());
            }
            open.push((path, Some(repo)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The part of a repository's name that a directory stands for.
fn component(file_name: &str) -> Option<&str> {
    match file_name.strip_prefix('_') {
        Some(rest) => RESERVED.contains(&rest).then_some(rest),
        None => (!RESERVED.contains(&file_name)).then_some(file_name),
    }
}

fn child(parent: Option<&RepoName>, component: &str) -> Result<RepoName> {
    match parent {
        Some(parent) => format!("{parent}/{component}").parse(),
        None => component.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_escaped_and_come_back() {
        let root = Path::new("root");
        for (name, want) in [
            ("a", "root/a"),
            ("a/b-c", "root/a/b-c"),
            ("blobs", "root/_blobs"),
            ("a/index.json/oci-layout", "root/a/_index.json/_oci-layout"),
            ("a/blobs2", "root/a/blobs2"),
        ] {
            let path = path(root, &name.parse().unwrap());
            assert_eq!(path, Path::new(want));
            let components = path.strip_prefix(root).unwrap().iter().map(|part| component(part.to_str().unwrap()));
            assert_eq!(components.collect::<Option<Vec<_>>>().unwrap().join("/"), name);
        }
        for file_name in ["blobs", "index.json", "oci-layout", "_a", "__blobs"] {
            assert_eq!(component(file_name), None, "{file_name}");
        }
    }
}
