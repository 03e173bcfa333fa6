//! Objects of Git: their ids, commits, tags and trees, and what of them is signed.

use std::fmt;
use std::str::FromStr;

use super::fault::Fault;
use super::fault::Result;

/// The id of an object: the SHA-1 of its kind, size and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ObjectId([u8; ObjectId::LENGTH]);

impl ObjectId {
    const LENGTH: usize = 20;

    /// What stands for the place before the first.
    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Whether these bytes have this id. Bytes that were made to collide have none.
    pub(super) fn is_of(self, kind: &str, bytes: &[u8]) -> bool {
        use sha1_checked::Digest;
        let mut hash = sha1_checked::Sha1::new();
        hash.update(format!("{kind} {}\0", bytes.len()));
        hash.update(bytes);
        let result = hash.try_finalize();
        !result.has_collision() && result.hash().as_slice() == self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ObjectId {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Fault::unknown(format!("wanted the id of an object, 40 digits of lower case, got {text:?}"));
        if text.len() != 2 * Self::LENGTH || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut id = [0; Self::LENGTH];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(id))
    }
}

/// Bytes and a signature that claims to be over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) payload: Vec<u8>,
    /// As it stands there, in armour; `None` when nobody signed.
    pub(super) signature: Option<String>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) tree: ObjectId,
    pub(super) parents: Vec<ObjectId>,
    pub(super) message: Vec<u8>,
    pub(super) signed: Signed,
}

impl Commit {
    /// Parses a commit; the signature is taken out of its payload, as Git does before it signs.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = |why: &str| Fault::unknown(format!("malformed commit: {why}"));
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| malformed("not in UTF-8"));
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or_else(|| malformed("no message"))?;
        let (head, message) = (&bytes[..end], &bytes[end + 2..]);
        let (mut tree, mut parents, mut signature) = (None, Vec::new(), None::<String>);
        let mut payload = Vec::with_capacity(bytes.len());
        let mut in_signature = false;
        for line in head.split(|byte| *byte == b'\n') {
            if let ([b' ', more @ ..], true) = (line, in_signature) {
                signature.get_or_insert_default().extend(["\n", &text(more)?]);
                continue;
            }
            // Names in headers are in the encoding of whoever wrote them.
            let space =
                line.iter().position(|byte| *byte == b' ').ok_or_else(|| malformed("a header without value"))?;
            let (key, value) = (&line[..space], &line[space + 1..]);
            in_signature = key == b"gpgsig";
            match key {
                b"gpgsig" if signature.is_some() => return Err(malformed("two signatures")),
                // Git leaves it out of what is signed, and nothing else does.
                b"gpgsig-sha256" => return Err(malformed("signed for SHA-256, which is not supported")),
                b"gpgsig" => {
                    signature = Some(text(value)?);
                    continue;
                }
                b"tree" if tree.is_some() => return Err(malformed("two trees")),
                b"tree" => tree = Some(text(value)?.parse()?),
                b"parent" => parents.push(text(value)?.parse()?),
                _ => {}
            }
            payload.extend_from_slice(line);
            payload.push(b'\n');
        }
        payload.push(b'\n');
        payload.extend_from_slice(message);
        let tree = tree.ok_or_else(|| malformed("no tree"))?;
        Ok(Self { tree, parents, message: message.to_vec(), signed: Signed { payload, signature } })
    }
}

/// An annotated tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) object: ObjectId,
    pub(super) signed: Signed,
}

impl Tag {
    /// Parses a tag; the signature is what its message ends with.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = |why: &str| Fault::unknown(format!("malformed tag: {why}"));
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("not in UTF-8"))?;
        let object = text.lines().next().and_then(|line| line.strip_prefix("object "));
        let object = object.ok_or_else(|| malformed("no object"))?.parse()?;
        let begins = |marker: &&str| text.rfind(&format!("\n{marker}")).map(|at| at + 1);
        let at = MARKERS.iter().filter_map(begins).max();
        let (payload, signature) = text.split_at(at.unwrap_or(text.len()));
        let signature = at.map(|_| signature.to_owned());
        Ok(Self { object, signed: Signed { payload: payload.as_bytes().to_vec(), signature } })
    }
}

/// The entries of a tree, by name.
pub(super) fn parse_tree(mut bytes: &[u8]) -> Result<Vec<(String, ObjectId)>> {
    let malformed = || Fault::unknown("malformed tree");
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
        let (_mode, name) = head.split_once(' ').ok_or_else(malformed)?;
        let (id, rest) = bytes[end + 1..].split_first_chunk().ok_or_else(malformed)?;
        entries.push((name.to_owned(), ObjectId(*id)));
        bytes = rest;
    }
    Ok(entries)
}

const MARKERS: [&str; 4] = [
    "-----BEGIN PGP SIGNATURE-----",
    "-----BEGIN PGP MESSAGE-----",
    "-----BEGIN SSH SIGNATURE-----",
    "-----BEGIN SIGNED MESSAGE-----",
];

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn ids_are_those_that_git_computes() {
        let empty: ObjectId = TREE.parse().unwrap();
        assert!(empty.is_of("tree", b""));
        assert!(!empty.is_of("blob", b""));
        assert_eq!(empty.to_string(), TREE);
        for wrong in ["", "4b82", &TREE.to_uppercase(), &format!("+{}", &TREE[1..]), &format!("{TREE}00")] {
            assert!(wrong.parse::<ObjectId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_signature_of_a_commit_is_taken_out_of_what_is_signed() {
        let signed = format!("tree {TREE}\nparent {TREE}\nauthor a\ncommitter b\n\nmessage\n\ngpgsig is a word\n");
        let with = signed.replace("\n\nmessage", "\ngpgsig BEGIN\n one\n \n END\n\nmessage");
        let commit = Commit::parse(with.as_bytes()).unwrap();
        assert_eq!(commit.signed.payload, signed.as_bytes());
        assert_eq!(commit.signed.signature.as_deref(), Some("BEGIN\none\n\nEND"));
        assert_eq!(commit.message, b"message\n\ngpgsig is a word\n");
        assert_eq!(Commit::parse(signed.as_bytes()).unwrap().signed.signature, None);
        let twice = with.replace("committer", "gpgsig BEGIN\ncommitter");
        assert!(Commit::parse(twice.as_bytes()).is_err());
    }

    #[test]
    fn the_signature_of_a_tag_is_its_end() {
        let body = format!("object {TREE}\ntype commit\ntag v1\ntagger a\n\nfirst\n");
        let signature = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n";
        let tag = Tag::parse(format!("{body}{signature}").as_bytes()).unwrap();
        assert_eq!(tag.signed, Signed { payload: body.clone().into_bytes(), signature: Some(signature.to_owned()) });
        assert_eq!(Tag::parse(body.as_bytes()).unwrap().signed.signature, None);
    }
}
