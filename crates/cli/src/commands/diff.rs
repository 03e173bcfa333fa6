//! `skep diff REF|DIR REF|DIR`.

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use skep::Address;
use skep::BuildOptions;
use skep::Change;
use skep::ChangeKind;
use skep::DiffOptions;
use skep::Index;
use skep::Node;
use skep::Pulled;

use super::Session;
use super::item::digest;
use crate::args::Diff;
use crate::args::Ignore;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    before: String,
    after: String,
    added: u64,
    removed: u64,
    changed: u64,
    renamed: u64,
    changes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    status: &'static str,
    path: String,
    /// The old path of what was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// What is different of what is in both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aspects: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Side>,
}

#[derive(Serialize)]
struct Side {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

pub(super) async fn diff(session: &Session, args: Diff) -> Outcome {
    let counts = |what: Ignore| !args.ignore.contains(&what);
    let options = DiffOptions {
        mode: counts(Ignore::Mode),
        owner: counts(Ignore::Owner),
        time: counts(Ignore::Time),
        renames: !args.no_renames,
    };
    let before = Tree::open(session, &args.before, args.jobs).await?;
    let after = Tree::open(session, &args.after, args.jobs).await?;
    let changes = skep::diff(before.index(), after.index(), &options);
    let is_different = !changes.is_empty();
    let raw = args.print0 && (args.name_only || args.name_status);
    if session.json && !raw {
        let number = |kind| changes.iter().filter(|change| change.kind == kind).count() as u64;
        output::json(&Answer {
            schema: "skep/diff/v1",
            before: before.name.clone(),
            after: after.name.clone(),
            added: number(ChangeKind::Add),
            removed: number(ChangeKind::Remove),
            changed: number(ChangeKind::Change),
            renamed: number(ChangeKind::Rename),
            changes: changes.iter().map(line).collect(),
        })?;
    } else {
        output::text(&words(&changes, &args, raw))?;
    }
    if is_different && args.exit_code { Err(Failure::silent(Exit::Other)) } else { Ok(()) }
}

/// One of the two that are compared.
struct Tree {
    name: String,
    content: Content,
}

enum Content {
    Archive(Box<Pulled>),
    Directory(Box<Index>),
}

impl Tree {
    async fn open(session: &Session, text: &str, workers: usize) -> Outcome<Self> {
        let address = match place(text)? {
            Place::Archive(address) => address,
            Place::Directory(dir) => {
                let options = BuildOptions { workers, ..Default::default() };
                let index = scan(dir, options).await?;
                return Ok(Self { name: text.to_owned(), content: Content::Directory(Box::new(index)) });
            }
        };
        let pulled = session.client.pull(&address).await?;
        Ok(Self { name: super::item::pinned(&address, &pulled), content: Content::Archive(Box::new(pulled)) })
    }

    fn index(&self) -> &Index {
        match &self.content {
            Content::Archive(pulled) => pulled.index(),
            Content::Directory(index) => index,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Archive(Address),
    Directory(PathBuf),
}

/// What begins like a path is one; what is an address is one; and what is neither may be a directory here.
fn place(text: &str) -> Outcome<Place> {
    let is_path = text == "." || text == ".." || ["./", "../", "/"].iter().any(|start| text.starts_with(start));
    if is_path {
        return Ok(Place::Directory(text.into()));
    }
    match text.parse() {
        Ok(address) => Ok(Place::Archive(address)),
        Err(_) if Path::new(text).is_dir() => Ok(Place::Directory(text.into())),
        Err(error) => {
            let message = format!("{text:?} is neither a directory here nor an address: {error}");
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Hashes a directory on a thread for blocking work; that stops when nobody waits any more.
async fn scan(dir: PathBuf, options: BuildOptions) -> Outcome<Index> {
    struct CancelOnDrop(BuildOptions);
    impl Drop for CancelOnDrop {
        fn drop(&mut self) {
            self.0.cancel.cancel();
        }
    }
    let _guard = CancelOnDrop(options.clone());
    let scanned = tokio::task::spawn_blocking(move || skep::scan(&dir, &options)).await;
    Ok(scanned.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
}

fn line(change: &Change<'_>) -> Line {
    let aspects = aspects(change);
    let status = match change.kind {
        ChangeKind::Add => "added",
        ChangeKind::Change => "changed",
        ChangeKind::Remove => "removed",
        ChangeKind::Rename => "renamed",
    };
    let (before, after) = (change.before.as_ref().map(side), change.after.as_ref().map(side));
    Line { status, path: change.path.to_owned(), from: origin(change).map(str::to_owned), aspects, before, after }
}

fn side(node: &Node<'_>) -> Side {
    let mode = |bits: u32| Some(format!("{bits:03o}"));
    let nothing = Side { kind: "directory", size: None, mode: None, digest: None, target: None };
    match node {
        Node::File(file) => Side {
            kind: "file",
            size: Some(file.original_size),
            mode: mode(file.mode),
            digest: Some(digest(file.hash)),
            target: None,
        },
        Node::Directory(recorded) => Side { mode: recorded.and_then(|dir| mode(dir.mode)), ..nothing },
        Node::Symlink(link) => Side { kind: "symlink", target: Some(link.target.to_owned()), ..nothing },
    }
}

fn aspects(change: &Change<'_>) -> Vec<&'static str> {
    let aspects = change.aspects;
    let named = [
        (aspects.kind, "kind"),
        (aspects.content, "content"),
        (aspects.target, "target"),
        (aspects.mode, "mode"),
        (aspects.owner, "owner"),
        (aspects.time, "time"),
    ];
    named.into_iter().filter_map(|(differs, name)| differs.then_some(name)).collect()
}

/// The old path of what was renamed.
fn origin<'a>(change: &Change<'a>) -> Option<&'a str> {
    match (change.kind, change.before) {
        (ChangeKind::Rename, Some(Node::File(old))) => Some(old.path),
        _ => None,
    }
}

fn letter(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Add => 'A',
        ChangeKind::Change => 'M',
        ChangeKind::Remove => 'D',
        ChangeKind::Rename => 'R',
    }
}

fn words(changes: &[Change<'_>], args: &Diff, raw: bool) -> String {
    let mut text = String::new();
    if args.stat {
        return sums(changes);
    }
    let shown = |path: &str| if raw { path.to_owned() } else { escape(path).into_owned() };
    let (between, end) = if raw { ('\0', '\0') } else { ('\t', '\n') };
    for change in changes {
        let letter = letter(change.kind);
        let written = match (args.name_only, args.name_status, origin(change)) {
            (true, ..) => write!(text, "{}{end}", shown(change.path)),
            (_, true, None) => write!(text, "{letter}{between}{}{end}", shown(change.path)),
            (_, true, Some(old)) => write!(text, "{letter}{between}{}{between}{}{end}", shown(old), shown(change.path)),
            _ => writeln!(text, "{letter} {}", described(change)),
        };
        written.expect("strings can be written to");
    }
    text
}

/// A line for people: what it is, and what of it is different.
fn described(change: &Change<'_>) -> String {
    let path = escape(change.path);
    let slash = |node: Option<Node<'_>>| if matches!(node, Some(Node::Directory(_))) { "/" } else { "" };
    let what = match origin(change) {
        Some(old) => format!("{} -> {path}", escape(old)),
        None => format!("{path}{}", slash(change.after.or(change.before))),
    };
    let (before, after) = (change.before.as_ref().map(side), change.after.as_ref().map(side));
    let (Some(before), Some(after)) = (before, after) else { return what };
    let differences: Vec<String> = aspects(change)
        .into_iter()
        .map(|aspect| match aspect {
            "kind" => format!("{} is now {}", before.kind, after.kind),
            "content" if before.size != after.size => {
                format!("{} is now {}", size(before.size.unwrap_or_default()), size(after.size.unwrap_or_default()))
            }
            "target" => format!(
                "{} is now {}",
                escape(before.target.as_deref().unwrap_or_default()),
                escape(after.target.as_deref().unwrap_or_default())
            ),
            "mode" => format!(
                "mode {} is now {}",
                before.mode.as_deref().unwrap_or("unknown"),
                after.mode.as_deref().unwrap_or("unknown")
            ),
            other => other.to_owned(),
        })
        .collect();
    if differences.is_empty() { what } else { format!("{what}  ({})", differences.join(", ")) }
}

/// What is different in numbers: of files, and of bytes that come and go.
fn sums(changes: &[Change<'_>]) -> String {
    let bytes = |node: Option<Node<'_>>| match node {
        Some(Node::File(file)) => file.original_size,
        _ => 0,
    };
    let mut text = String::new();
    let (mut come, mut gone) = (0, 0);
    for kind in [ChangeKind::Add, ChangeKind::Remove, ChangeKind::Change, ChangeKind::Rename] {
        let of_kind = || changes.iter().filter(|change| change.kind == kind);
        let number = of_kind().count() as u64;
        let counted = |change: &&Change<'_>| {
            kind != ChangeKind::Rename && (kind != ChangeKind::Change || change.aspects.content || change.aspects.kind)
        };
        come += of_kind().filter(counted).map(|change| bytes(change.after)).sum::<u64>();
        gone += of_kind().filter(counted).map(|change| bytes(change.before)).sum::<u64>();
        let name = match kind {
            ChangeKind::Add => "added",
            ChangeKind::Change => "changed",
            ChangeKind::Remove => "removed",
            ChangeKind::Rename => "renamed",
        };
        writeln!(text, "{:>8} {name}", number).expect("strings can be written to");
    }
    let all = count(changes.len() as u64, "difference");
    writeln!(text, "{all}, {} came, {} went", size(come), size(gone)).expect("strings can be written to");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_told_from_an_address() {
        let address = |text: &str| Place::Archive(text.parse().unwrap());
        for (text, want) in [
            (".", Place::Directory(".".into())),
            ("./a.b/c", Place::Directory("./a.b/c".into())),
            ("/srv/site", Place::Directory("/srv/site".into())),
            ("src", Place::Directory("src".into())),
            ("a.b/c:v1", address("a.b/c:v1")),
            ("oci:src", address("oci:src")),
        ] {
            assert_eq!(place(text).unwrap(), want, "{text}");
        }
        assert_eq!(place("nowhere").unwrap_err().exit, Exit::Usage);
    }
}
