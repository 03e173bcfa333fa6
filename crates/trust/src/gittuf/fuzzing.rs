//! Properties of what reads a repository of strangers; see [`crate::fuzzing`].

use super::envelope::Envelope;
use super::log::Content;
use super::log::Entry;
use super::metadata::Root;
use super::metadata::RuleFile;
use super::object;
use super::object::Commit;
use super::object::ObjectId;
use super::object::Tag;
use super::path::PathPattern;

/// Entries of the log, and all else that is read on the way: what was understood says what stands there.
pub(crate) fn reference_log(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(entry) = Entry::parse(ObjectId::default(), &text) {
        let named = match &entry.content {
            Content::Annotation { about, .. } => about.iter().map(ObjectId::to_string).collect(),
            Content::Propagation { reference, target } | Content::Reference { reference, target } => {
                vec![reference.clone(), target.to_string()]
            }
        };
        assert!(named.iter().all(|name| text.contains(name)), "{entry:?}");
        assert!(text.contains(&entry.number.to_string()) || entry.number == 0, "{entry:?}");
    }
    if let Ok(commit) = Commit::parse(bytes) {
        let signed = &commit.signed;
        assert!(bytes.ends_with(&commit.message) && signed.payload.ends_with(&commit.message));
        assert!(signed.payload.len() + signed.signature.as_ref().map_or(0, String::len) <= bytes.len());
    }
    if let Ok(tag) = Tag::parse(bytes) {
        let signature = tag.signed.signature.unwrap_or_default();
        assert_eq!([&tag.signed.payload, signature.as_bytes()].concat(), bytes);
    }
    if let Ok(tree) = object::parse_tree(bytes) {
        assert!(tree.len() <= bytes.len() / 22);
    }
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert!(envelope.signed_bytes().ends_with(&envelope.payload));
    }
    if let Ok(root) = Root::parse(bytes) {
        assert!(root.root.threshold > 0 && root.root.principals.iter().all(|id| root.principals.contains_key(id)));
    }
    if let Ok(file) = RuleFile::parse(bytes) {
        assert!(file.rules.iter().all(|rule| rule.role.threshold > 0 && !rule.role.principals.is_empty()));
    }
    if let Ok(pattern) = PathPattern::parse(&text) {
        let is_plain = !text.contains(['*', '?', '[', '\\']);
        assert!(!is_plain || pattern.matches(&text));
    }
}
