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

/// The repositories below a directory that are wanted and come after a name, in lexical order. None if it does not exist.
///
/// Only those directories are looked into in which the next ones may be.
pub(super) fn repos(
    root: &Path,
    after: Option<String>,
    wanted: impl Fn(&Dir) -> Result<bool>,
) -> impl Iterator<Item = Result<RepoName>> {
    let mut walk = Walk { after, steps: Vec::new() };
    let mut failed = walk.look_into(root, None).err();
    std::iter::from_fn(move || {
        loop {
            if let Some(error) = failed.take() {
                walk.steps.clear();
                return Some(Err(error));
            }
            let Step { repo, path, is_below, .. } = walk.steps.pop()?;
            if is_below {
                failed = walk.look_into(&path, Some(&repo)).err();
                continue;
            }
            match wanted(&Dir::new(path)) {
                Ok(false) => {}
                Ok(true) => return Some(Ok(repo)),
                Err(error) => failed = Some(error),
            }
        }
    })
}

struct Walk {
    after: Option<String>,
    /// What comes next is last.
    steps: Vec<Step>,
}

/// A directory, as a repository or as all that are below it: between `a` and `a/b` comes `a-b`.
struct Step {
    /// What the names begin with.
    key: String,
    repo: RepoName,
    path: PathBuf,
    is_below: bool,
}

impl Walk {
    fn look_into(&mut self, path: &Path, parent: Option<&RepoName>) -> Result<()> {
        let failed = |error| Error::io(format_args!("list {}", path.display()), error);
        let entries = match path.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        let begin = self.steps.len();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let file_name = entry.file_name();
            let Some(component) = file_name.to_str().and_then(component) else { continue };
            // A name that is too long, or not one, is not a repository; so the descent ends.
            let Ok(repo) = child(parent, component) else { continue };
            let (has_own, has_below) = (self.wants(repo.as_str()), self.wants_below(&format!("{repo}/")));
            if !(has_own || has_below) || !entry.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            let path = entry.path();
            if has_own {
                self.steps.push(Step {
                    key: repo.to_string(),
                    repo: repo.clone(),
                    path: path.clone(),
                    is_below: false,
                });
            }
            if has_below {
                self.steps.push(Step { key: format!("{repo}/"), repo, path, is_below: true });
            }
        }
        self.steps[begin..].sort_unstable_by(|one, other| other.key.cmp(&one.key));
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        self.after.as_deref().is_none_or(|after| name > after)
    }

    /// Tells whether names may be wanted that begin so.
    fn wants_below(&self, prefix: &str) -> bool {
        self.after.as_deref().is_none_or(|after| prefix > after || after.starts_with(prefix))
    }
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
    fn repositories_come_in_order_from_any_place_on() {
        let root = tempfile::tempdir().unwrap();
        let names = ["a", "a-b", "a-b/c", "a/b", "a/b/c", "a/b0", "a0", "blobs", "blobs/index.json", "z/y/x"];
        for name in names {
            let dir = path(root.path(), &name.parse().unwrap());
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("oci-layout"), "{}").unwrap();
        }
        let list = |after: Option<&str>| {
            let all = repos(root.path(), after.map(str::to_owned), Dir::exists);
            all.map(|repo| repo.unwrap().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(list(None), names);
        for after in names.into_iter().chain(["", "a-", "a/", "a/b/", "a/a", "b", "blobs/", "z", "zz"]) {
            let want: Vec<_> = names.into_iter().filter(|name| *name > after).collect();
            assert_eq!(list(Some(after)), want, "{after}");
        }
    }

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
