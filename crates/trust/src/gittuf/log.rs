//! The reference state log: who said which reference stands where, one commit each.

use std::collections::HashSet;

use super::fault::Fault;
use super::fault::Result;
use super::object::ObjectId;
use super::repository::Repository;

/// Where the log is.
pub(super) const LOG: &str = "refs/gittuf/reference-state-log";

/// The entries, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    skipped: HashSet<ObjectId>,
}

impl Log {
    /// Reads the whole log; `None` when there is none.
    pub(super) fn read(repository: &Repository) -> Result<Option<Self>> {
        let Some(tip) = repository.reference(LOG)? else { return Ok(None) };
        let (mut entries, mut next, mut total) = (Vec::new(), Some(tip), 0);
        while let Some(id) = next {
            let commit = repository.commit(id, MAX_ENTRY).map_err(|fault| fault.of("log"))?;
            total += commit.signed.payload.len();
            if entries.len() == MAX_ENTRIES || total > MAX_LOG {
                return Err(Fault::unknown(format!("log: at most {MAX_ENTRIES} entries of {MAX_LOG} bytes")));
            }
            let message = String::from_utf8_lossy(&commit.message);
            let entry = Entry::parse(id, &message).map_err(|fault| fault.of(format!("log entry {id}")))?;
            next = match commit.parents[..] {
                [] => None,
                [parent] => Some(parent),
                _ => return Err(Fault::unknown(format!("log entry {id}: has several parents, the log has branched"))),
            };
            entries.push(entry);
        }
        entries.reverse();
        Self::new(entries).map(Some)
    }

    fn new(entries: Vec<Entry>) -> Result<Self> {
        for pair in entries.windows(2) {
            let [before, entry] = pair else { continue };
            // Logs that are older than numbers begin without them.
            if Some(entry.number.max(1)) != before.number.checked_add(1) {
                let why = format!("log entry {}: number {} after {}", entry.id, entry.number, before.number);
                return Err(Fault::unknown(why));
            }
        }
        let skips = entries.iter().filter_map(|entry| match &entry.content {
            Content::Annotation { about, is_skip: true } => Some(about),
            _ => None,
        });
        let skipped = skips.flatten().copied().collect();
        Ok(Self { entries, skipped })
    }

    pub(super) fn entry(&self, place: usize) -> &Entry {
        &self.entries[place]
    }

    /// The places of all entries that move a reference, in order, before a place.
    pub(super) fn of<'a>(&'a self, reference: &'a str, before: usize) -> impl DoubleEndedIterator<Item = usize> + 'a {
        let is_of = move |place: &usize| self.entries[*place].target(reference).is_some();
        (0..before.min(self.entries.len())).filter(is_of)
    }

    /// Whether somebody took an entry back.
    pub(super) fn is_skipped(&self, place: usize) -> bool {
        self.skipped.contains(&self.entries[place].id)
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: ObjectId,
    /// 0 in logs that are older than numbers.
    pub(super) number: u64,
    pub(super) content: Content,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Something about other entries.
    Annotation { about: Vec<ObjectId>, is_skip: bool },
    /// A reference was moved to what another repository has.
    Propagation { reference: String, target: ObjectId },
    /// A reference was moved.
    Reference { reference: String, target: ObjectId },
}

impl Entry {
    /// Parses the message of a commit.
    pub(super) fn parse(id: ObjectId, message: &str) -> Result<Self> {
        let mut lines = message.trim_end_matches('\n').split('\n').map(str::trim);
        let header = lines.next().unwrap_or_default();
        if lines.next() != Some("") {
            return Err(Fault::unknown(format!("wanted a header and an empty line, got {header:?}")));
        }
        let mut fields = Fields { lines, ahead: None };
        let content = match header {
            "RSL Annotation Entry" => {
                let mut about = vec![fields.take("entryID")?.parse()?];
                while let Some(id) = fields.take_if("entryID")? {
                    about.push(id.parse()?);
                }
                let is_skip = match fields.take("skip")? {
                    "true" => true,
                    "false" => false,
                    other => return Err(Fault::unknown(format!("skip: wanted true or false, got {other:?}"))),
                };
                Content::Annotation { about, is_skip }
            }
            "RSL Propagation Entry" => {
                let (reference, target) = fields.target()?;
                fields.take("upstreamRepository")?;
                fields.take("upstreamEntryID")?.parse::<ObjectId>()?;
                Content::Propagation { reference, target }
            }
            "RSL Reference Entry" => {
                let (reference, target) = fields.target()?;
                Content::Reference { reference, target }
            }
            other => return Err(Fault::unknown(format!("an entry of a kind that is not known: {other:?}"))),
        };
        let number = match fields.take_if("number")? {
            None => 0,
            Some(text) => text.parse().map_err(|_| Fault::unknown(format!("number: {text:?} is none")))?,
        };
        fields.end(matches!(content, Content::Annotation { .. }))?;
        Ok(Self { id, number, content })
    }

    /// Where the entry puts a reference, if it is about it.
    pub(super) fn target(&self, reference: &str) -> Option<ObjectId> {
        match &self.content {
            Content::Propagation { reference: of, target } | Content::Reference { reference: of, target } => {
                (of == reference).then_some(*target)
            }
            Content::Annotation { .. } => None,
        }
    }
}

/// Lines `key: value` in a fixed order.
struct Fields<'a, I: Iterator<Item = &'a str>> {
    lines: I,
    ahead: Option<&'a str>,
}

impl<'a, I: Iterator<Item = &'a str>> Fields<'a, I> {
    fn take(&mut self, key: &str) -> Result<&'a str> {
        let found = self.take_if(key)?;
        found.ok_or_else(|| Fault::unknown(format!("wanted {key}, got {:?}", self.ahead.unwrap_or("the end"))))
    }

    fn take_if(&mut self, key: &str) -> Result<Option<&'a str>> {
        let Some(line) = self.ahead.take().or_else(|| self.lines.next()) else { return Ok(None) };
        match line.split_once(':') {
            Some((found, value)) if found.trim() == key => Ok(Some(value.trim())),
            _ => {
                self.ahead = Some(line);
                Ok(None)
            }
        }
    }

    fn target(&mut self) -> Result<(String, ObjectId)> {
        Ok((self.take("ref")?.to_owned(), self.take("targetID")?.parse()?))
    }

    /// What is behind the fields that are known might change what they mean.
    fn end(mut self, may_have_message: bool) -> Result<()> {
        match self.ahead.take().or_else(|| self.lines.next()) {
            None => Ok(()),
            Some("-----BEGIN MESSAGE-----") if may_have_message => Ok(()),
            Some(line) => Err(Fault::unknown(format!("wanted the end, got {line:?}"))),
        }
    }
}

const MAX_ENTRIES: usize = 100_000;
const MAX_ENTRY: u64 = 64 << 10;
const MAX_LOG: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn parse(message: &str) -> Result<Entry> {
        Entry::parse(ID.parse().unwrap(), &message.replace('#', ID))
    }

    #[test]
    fn entries_are_read_as_gittuf_writes_them() {
        let id: ObjectId = ID.parse().unwrap();
        let entry = |number, content| Entry { id, number, content };
        let reference = "refs/heads/main".to_owned();
        let moved = Content::Reference { reference: reference.clone(), target: id };
        let text = "RSL Reference Entry\n\nref: refs/heads/main\ntargetID: #";
        assert_eq!(parse(text).unwrap(), entry(0, moved.clone()));
        assert_eq!(parse(&format!("{text}\nnumber: 7\n")).unwrap(), entry(7, moved));
        let text = "RSL Annotation Entry\n\nentryID: #\nentryID: #\nskip: true\nnumber: 8\n-----BEGIN MESSAGE-----\nb29wcw==\n-----END MESSAGE-----";
        assert_eq!(parse(text).unwrap(), entry(8, Content::Annotation { about: vec![id, id], is_skip: true }));
        let text = "RSL Propagation Entry\n\nref: refs/heads/main\ntargetID: #\nupstreamRepository: https://a.example/b\nupstreamEntryID: #\nnumber: 9";
        assert_eq!(parse(text).unwrap(), entry(9, Content::Propagation { reference, target: id }));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [
            "",
            "RSL Reference Entry",
            "RSL Reference Entry\nref: refs/heads/main\ntargetID: #",
            "RSL Reference Entry\n\nref: refs/heads/main",
            "RSL Reference Entry\n\ntargetID: #\nref: refs/heads/main",
            "RSL Reference Entry\n\nref: refs/heads/main\ntargetID: 12",
            "RSL Reference Entry\n\nref: refs/heads/main\ntargetID: #\nnumber: x",
            "RSL Reference Entry\n\nref: refs/heads/main\ntargetID: #\nnumber: 1\nref: refs/heads/other",
            "RSL Reference Entry v2\n\nref: refs/heads/main\ntargetID: #",
            "RSL Annotation Entry\n\nskip: true",
            "RSL Annotation Entry\n\nentryID: #\nskip: yes",
            "RSL Annotation Entry\n\nentryID: #\nskip: true\nskip: false",
            "RSL Propagation Entry\n\nref: refs/heads/main\ntargetID: #",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_have_to_follow_each_other() {
        let entry = |number| Entry { number, ..parse("RSL Annotation Entry\n\nentryID: #\nskip: false").unwrap() };
        let is_log = |numbers: &[u64]| Log::new(numbers.iter().map(|number| entry(*number)).collect()).is_ok();
        for good in [&[1, 2, 3][..], &[0, 0, 1, 2], &[0], &[5, 6], &[]] {
            assert!(is_log(good), "{good:?}");
        }
        for wrong in [&[1, 1][..], &[1, 3], &[0, 2], &[2, 1], &[1, 0], &[3, 1]] {
            assert!(!is_log(wrong), "{wrong:?}");
        }
    }
}
