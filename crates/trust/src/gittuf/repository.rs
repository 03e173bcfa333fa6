//! A repository on disk, read by `git`: objects whose ids are checked, references, and how commits hang together.

use std::cell::RefCell;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Stdio;

use super::fault::Fault;
use super::fault::Result;
use super::git;
use super::object;
use super::object::Commit;
use super::object::ObjectId;
use super::object::Tag;

/// A repository on disk.
///
/// What its objects say is believed by their ids, which are checked for every object that is read here. Which commits
/// lead to which is told by `git`, without what could be made up: replacements, grafts, the file of the commit graph.
#[derive(Debug)]
pub(super) struct Repository {
    directory: PathBuf,
    objects: RefCell<Option<Objects>>,
}

/// A process that prints objects.
#[derive(Debug)]
struct Objects {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Repository {
    /// Opens a repository: a bare one, or one with a working tree.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let inner = directory.join(".git");
        let directory = if inner.is_dir() { inner } else { directory.to_owned() };
        let why = |why: &str| Fault::unknown(format!("repository {}: {why}", directory.display()));
        if !directory.join("objects").is_dir() {
            return Err(why("not there, or no repository of git"));
        }
        // It would look as if there were no commits before its end.
        if directory.join("shallow").exists() {
            return Err(why("is shallow; wanted the whole history"));
        }
        let directory = directory.canonicalize().map_err(|error| why(&error.to_string()))?;
        Ok(Self { directory, objects: RefCell::new(None) })
    }

    /// Where a reference stands, if it is there.
    pub(super) fn reference(&self, name: &str) -> Result<Option<ObjectId>> {
        let output =
            git::run(git::read(&self.directory).args(["show-ref", "--verify", "--hash", "--", name]), MAX_LINE)?;
        match output.is_success {
            false => Ok(None),
            true => output.text()?.trim_end().parse().map(Some),
        }
    }

    pub(super) fn commit(&self, id: ObjectId, limit: u64) -> Result<Commit> {
        Commit::parse(&self.object(id, "commit", limit)?).map_err(|fault| fault.of(id))
    }

    pub(super) fn tree(&self, id: ObjectId) -> Result<Vec<(String, ObjectId)>> {
        object::parse_tree(&self.object(id, "tree", MAX_TREE)?).map_err(|fault| fault.of(id))
    }

    pub(super) fn blob(&self, id: ObjectId, limit: u64) -> Result<Vec<u8>> {
        self.object(id, "blob", limit)
    }

    /// The blob at a path below a tree, if it is there.
    pub(super) fn blob_at(&self, tree: ObjectId, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut at = tree;
        for name in path.split('/') {
            let found = self.tree(at)?.into_iter().find(|(entry, _)| entry == name);
            let Some((_, id)) = found else { return Ok(None) };
            at = id;
        }
        self.blob(at, limit).map(Some)
    }

    /// An annotated tag, or none when it is a commit that has the name.
    pub(super) fn tag(&self, id: ObjectId) -> Result<Option<Tag>> {
        match self.any(id, MAX_COMMIT)? {
            (kind, bytes) if kind == "tag" => Tag::parse(&bytes).map(Some).map_err(|fault| fault.of(id)),
            (kind, _) if kind == "commit" => Ok(None),
            (kind, _) => Err(Fault::unknown(format!("{id}: wanted a tag or a commit, got a {kind}"))),
        }
    }

    /// The commit that a tag is of, or the commit itself.
    pub(super) fn peel(&self, id: ObjectId) -> Result<ObjectId> {
        let mut at = id;
        for _ in 0..MAX_TAGS {
            match self.tag(at)? {
                None => return Ok(at),
                Some(tag) => at = tag.object,
            }
        }
        Err(Fault::unknown(format!("{id}: a tag of a tag, {MAX_TAGS} times")))
    }

    /// The commits that lead to one and not to another.
    pub(super) fn commits_between(&self, old: Option<ObjectId>, new: ObjectId) -> Result<Vec<ObjectId>> {
        let range = old.map_or_else(|| new.to_string(), |old| format!("{old}..{new}"));
        let output =
            git::run(git::read(&self.directory).args(["rev-list", "--end-of-options", &range, "--"]), MAX_LIST)?;
        output.lines()?.map(str::parse).collect()
    }

    /// Whether a commit leads to another, or is it.
    pub(super) fn is_ancestor(&self, old: ObjectId, new: ObjectId) -> Result<bool> {
        // Both have to be there: the answer of git for what is not there is an error of another number.
        for id in [old, new] {
            self.commit(id, MAX_COMMIT)?;
        }
        let (old, new) = (old.to_string(), new.to_string());
        let output = git::run(git::read(&self.directory).args(["merge-base", "--is-ancestor", &old, &new]), MAX_LINE)?;
        Ok(output.is_success)
    }

    /// The paths that a commit changes, against each of its parents; none when it takes over the last one.
    pub(super) fn changed_paths(&self, id: ObjectId) -> Result<Vec<String>> {
        let commit = self.commit(id, MAX_COMMIT)?;
        let mut trees = Vec::new();
        for parent in &commit.parents {
            trees.push(self.commit(*parent, MAX_COMMIT)?.tree);
        }
        if trees.len() > 1 && trees.last() == Some(&commit.tree) {
            return Ok(Vec::new());
        }
        let arguments: Vec<_> = match trees.is_empty() {
            true => vec![vec!["ls-tree".to_owned(), commit.tree.to_string()]],
            false => trees
                .iter()
                .map(|tree| vec!["diff-tree".to_owned(), tree.to_string(), commit.tree.to_string()])
                .collect(),
        };
        let mut paths = Vec::new();
        for arguments in arguments {
            let (verb, trees) = arguments.split_at(1);
            let flags = ["-r", "-z", "--name-only"];
            let output = git::run(git::read(&self.directory).args(verb).args(flags).args(trees), MAX_LIST)?;
            paths.extend(output.text()?.split_terminator('\0').map(str::to_owned));
        }
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn object(&self, id: ObjectId, wanted: &str, limit: u64) -> Result<Vec<u8>> {
        match self.any(id, limit)? {
            (kind, bytes) if kind == wanted => Ok(bytes),
            (kind, _) => Err(Fault::unknown(format!("{id}: wanted a {wanted}, got a {kind}"))),
        }
    }

    fn any(&self, id: ObjectId, limit: u64) -> Result<(String, Vec<u8>)> {
        let mut objects = self.objects.borrow_mut();
        let asked = match &mut *objects {
            Some(objects) => objects.ask(id, limit),
            none => none.insert(Objects::start(&self.directory)?).ask(id, limit),
        };
        if asked.is_err() {
            // What is left of the answer would be taken for the next.
            *objects = None;
        }
        asked
    }
}

impl Objects {
    fn start(directory: &Path) -> Result<Self> {
        let mut command = git::read(directory);
        command.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(git::missing)?;
        let (Some(questions), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Fault::unknown("git: no pipes to a process"));
        };
        Ok(Self { process, questions, answers: BufReader::new(answers) })
    }

    /// Reads one object. After an error there may be more to read.
    fn ask(&mut self, id: ObjectId, limit: u64) -> Result<(String, Vec<u8>)> {
        let broken = |error: std::io::Error| Fault::unknown(format!("git cat-file {id}: {error}"));
        writeln!(self.questions, "{id}").and_then(|()| self.questions.flush()).map_err(broken)?;
        let mut head = String::new();
        self.answers.by_ref().take(MAX_LINE).read_line(&mut head).map_err(broken)?;
        let parts: Vec<_> = head.trim_end().split(' ').collect();
        let [_, kind, size] = parts[..] else {
            return Err(Fault::unknown(format!("object {id}: wanted it, git says {:?}", head.trim_end())));
        };
        let size: u64 = size.parse().map_err(|_| Fault::unknown(format!("object {id}: {size:?} is no size")))?;
        if size > limit {
            return Err(Fault::unknown(format!("object {id}: at most {limit} bytes, got {size}")));
        }
        let mut bytes = Vec::new();
        // A line feed stands behind every object.
        self.answers.by_ref().take(size + 1).read_to_end(&mut bytes).map_err(broken)?;
        let is_whole = bytes.pop() == Some(b'\n') && bytes.len() as u64 == size;
        if !is_whole || !id.is_of(kind, &bytes) {
            return Err(Fault::unknown(format!("object {id}: its bytes have another id")));
        }
        Ok((kind.to_owned(), bytes))
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Nothing is lost, it only reads.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) const MAX_COMMIT: u64 = 1 << 20;
const MAX_LINE: u64 = 1 << 10;
const MAX_LIST: u64 = 64 << 20;
const MAX_TAGS: usize = 8;
const MAX_TREE: u64 = 8 << 20;
