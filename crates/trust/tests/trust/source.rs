//! Repositories with a policy of gittuf, made step by step by `git`, with keys that a number gives.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::Value;
use serde_json::json;
use ssh_key::HashAlg;
use ssh_key::LineEnding;
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;
use tempfile::TempDir;

pub(crate) const MAIN: &str = "refs/heads/main";
pub(crate) const LOG: &str = "refs/gittuf/reference-state-log";
pub(crate) const POLICY: &str = "refs/gittuf/policy";
pub(crate) const ATTESTATIONS: &str = "refs/gittuf/attestations";
pub(crate) const APPLICATION: &str = "https://gittuf.dev/github-app";
pub(crate) const ZERO: &str = "0000000000000000000000000000000000000000";

/// Somebody, by number.
pub(crate) type Who = u8;

fn key(who: Who) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[who; 32]))
}

pub(crate) fn public(who: Who) -> String {
    key(who).public_key().to_openssh().unwrap()
}

pub(crate) fn id(who: Who) -> String {
    key(who).fingerprint(HashAlg::Sha256).to_string()
}

pub(crate) fn ids(whom: &[Who]) -> Vec<String> {
    whom.iter().copied().map(id).collect()
}

fn signature(who: Who, message: &[u8]) -> String {
    key(who).sign("git", HashAlg::Sha512, message).unwrap().to_pem(LineEnding::LF).unwrap()
}

/// A key as metadata has it.
pub(crate) fn key_body(who: Who) -> Value {
    let public = STANDARD.encode(key(who).public_key().to_bytes().unwrap());
    json!({
        "keyid_hash_algorithms": null, "keytype": "ssh", "keyval": {"public": public}, "scheme": "ssh-ed25519", "keyid": id(who),
    })
}

fn principals(whom: &[Who]) -> Value {
    whom.iter().map(|who| (id(*who), key_body(*who))).collect()
}

/// Metadata of the root.
pub(crate) fn root_of(version: u64, root: &[Who], threshold: usize, targets: &[Who]) -> Value {
    json!({
        "type": "root", "schemaVersion": "https://gittuf.dev/policy/root/v0.2", "expires": "2020-01-01T00:00:00Z",
        "version": version, "principals": principals(&[root, targets].concat()),
        "roles": {
            "root": {"principalIDs": ids(root), "threshold": threshold},
            "targets": {"principalIDs": ids(targets), "threshold": 1},
        },
    })
}

/// A rule: so many of some may change what a pattern matches.
pub(crate) fn rule(name: &str, pattern: &str, whom: &[Who], threshold: usize) -> Value {
    json!({"name": name, "paths": [pattern], "terminating": false, "principalIDs": ids(whom), "threshold": threshold})
}

/// Metadata with rules.
pub(crate) fn rules(version: u64, whom: &[Who], rules: &[Value]) -> Value {
    let allow = json!({
        "name": "gittuf-allow-rule", "paths": ["*"], "terminating": true, "principalIDs": null, "threshold": 1,
    });
    let roles = [rules, &[allow]].concat();
    json!({
        "type": "targets", "schemaVersion": "http://gittuf.dev/policy/rule-file/v0.2", "expires": "2020-01-01T00:00:00Z",
        "version": version, "targets": null,
        "delegations": {"principals": principals(whom), "roles": roles},
    })
}

pub(crate) fn envelope(payload: &Value, signers: &[Who]) -> Vec<u8> {
    let (kind, payload) = ("application/vnd.gittuf+json", payload.to_string());
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = |who: &Who| json!({"keyid": id(*who), "sig": STANDARD.encode(signature(*who, signed.as_bytes()))});
    let signatures: Vec<_> = signers.iter().map(signature).collect();
    json!({"payloadType": kind, "payload": STANDARD.encode(payload), "signatures": signatures}).to_string().into_bytes()
}

/// A file of metadata: its name, what it says, and who signs.
pub(crate) type Metadata<'a> = (&'a str, Value, &'a [Who]);

/// A repository. It has a working tree, without which gittuf itself verifies nothing.
pub(crate) struct Source {
    directory: TempDir,
    number: u64,
    approvals: Vec<(String, Vec<u8>)>,
}

impl Source {
    pub(crate) fn new() -> Self {
        let source = Self { directory: tempfile::tempdir().unwrap(), number: 0, approvals: Vec::new() };
        source.git(&["-c", "core.bare=false", "init", "--quiet", "--initial-branch=main"], b"");
        source
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn git(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("git");
        command
            .arg("--git-dir")
            .arg(self.path().join(".git"))
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("these tests need git to be installed: {error}"));
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(crate) fn set(&self, reference: &str, id: &str) {
        self.git(&["update-ref", reference, id], b"");
    }

    fn blob(&self, bytes: &[u8]) -> String {
        self.git(&["hash-object", "-w", "--stdin"], bytes)
    }

    /// A tree of files by path.
    pub(crate) fn tree(&self, files: &[(String, Vec<u8>)]) -> String {
        let (mut lines, mut below) = (String::new(), std::collections::BTreeMap::<_, Vec<_>>::new());
        for (path, bytes) in files {
            match path.split_once('/') {
                None => lines += &format!("100644 blob {}\t{path}\n", self.blob(bytes)),
                Some((name, rest)) => below.entry(name).or_default().push((rest.to_owned(), bytes.clone())),
            }
        }
        for (name, files) in below {
            lines += &format!("040000 tree {}\t{name}\n", self.tree(&files));
        }
        self.git(&["mktree"], lines.as_bytes())
    }

    /// A commit, signed by somebody or nobody.
    pub(crate) fn commit(&self, tree: &str, parents: &[&str], message: &str, by: Option<Who>) -> String {
        let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        let person = "dev <dev@acme.example> 1700000000 +0000";
        let head = format!("tree {tree}\n{parents}author {person}\ncommitter {person}\n");
        let payload = format!("{head}\n{message}\n");
        let signature = by.map(|who| {
            let armoured = signature(who, payload.as_bytes());
            format!("gpgsig {}\n", armoured.trim_end().replace('\n', "\n "))
        });
        let object = format!("{head}{}\n{message}\n", signature.unwrap_or_default());
        self.git(&["hash-object", "-t", "commit", "-w", "--stdin"], object.as_bytes())
    }

    /// An annotated tag.
    pub(crate) fn tag(&self, name: &str, of: &str, by: Option<Who>) -> String {
        let person = "dev <dev@acme.example> 1700000000 +0000";
        let payload = format!("object {of}\ntype commit\ntag {name}\ntagger {person}\n\nrelease\n");
        let signature = by.map(|who| signature(who, payload.as_bytes())).unwrap_or_default();
        self.git(&["hash-object", "-t", "tag", "-w", "--stdin"], format!("{payload}{signature}").as_bytes())
    }

    /// A commit of one file with a text.
    pub(crate) fn change(&self, text: &str, parents: &[&str], by: Option<Who>) -> String {
        let tree = self.tree(&[("file".to_owned(), text.as_bytes().to_vec())]);
        self.commit(&tree, parents, text, by)
    }

    /// Writes the next entry of the log; the number goes behind what is given.
    pub(crate) fn log(&mut self, entry: &str, by: Option<Who>) -> String {
        self.number += 1;
        let message = format!("{entry}\nnumber: {}", self.number);
        let tip = self.reference(LOG);
        let tree = self.git(&["mktree"], b"");
        let id = self.commit(&tree, &tip.iter().map(String::as_str).collect::<Vec<_>>(), &message, by);
        self.set(LOG, &id);
        id
    }

    pub(crate) fn reference(&self, name: &str) -> Option<String> {
        let listed = self.git(&["for-each-ref", "--format=%(objectname)", name], b"");
        Some(listed).filter(|id| !id.is_empty())
    }

    /// Moves a reference and says so in the log.
    pub(crate) fn put(&mut self, reference: &str, id: &str, by: Option<Who>) -> String {
        self.set(reference, id);
        self.log(&format!("RSL Reference Entry\n\nref: {reference}\ntargetID: {id}"), by)
    }

    pub(crate) fn skip(&mut self, entry: &str, by: Option<Who>) -> String {
        self.log(&format!("RSL Annotation Entry\n\nentryID: {entry}\nskip: true"), by)
    }

    /// Makes a state of the policy the current one.
    pub(crate) fn policy(&mut self, files: &[Metadata<'_>]) -> String {
        let file = |(name, body, signers): &Metadata<'_>| (format!("metadata/{name}.json"), envelope(body, signers));
        let tree = self.tree(&files.iter().map(file).collect::<Vec<_>>());
        let before = self.reference(POLICY);
        let id = self.commit(&tree, &before.iter().map(String::as_str).collect::<Vec<_>>(), "policy", None);
        self.put(POLICY, &id, Some(1))
    }

    /// Lets some approve a move of a branch, from a commit to the tree of another.
    pub(crate) fn authorize(&mut self, reference: &str, from: &str, to: &str, signers: &[Who]) {
        let tree = self.git(&["rev-parse", &format!("{to}^{{tree}}")], b"");
        let statement = json!({
            "type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"gitTree": tree}}],
            "predicate_type": "https://gittuf.dev/reference-authorization/v0.2",
            "predicate": {"targetRef": reference, "fromID": from, "targetID": tree},
        });
        let path = format!("reference-authorizations/{reference}/{from}-{tree}");
        self.attest(path, envelope(&statement, signers));
    }

    /// Lets an application say who approved a move of a branch.
    pub(crate) fn review(&mut self, reference: &str, from: &str, to: &str, approvers: &[&str], signers: &[Who]) {
        let tree = self.git(&["rev-parse", &format!("{to}^{{tree}}")], b"");
        let statement = json!({
            "type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"gitTree": tree}}],
            "predicate_type": "https://gittuf.dev/github-pull-request-approval/v0.1",
            "predicate": {
                "targetRef": reference, "fromRevisionID": from, "targetTreeID": tree,
                "approvers": approvers, "dismissedApprovers": [],
            },
        });
        let application = URL_SAFE.encode(APPLICATION);
        let path = format!("code-review-approvals/{reference}/{from}-{tree}/github/{application}");
        self.attest(path, envelope(&statement, signers));
    }

    /// Puts something among the approvals.
    pub(crate) fn attest(&mut self, path: String, bytes: Vec<u8>) {
        self.approvals.retain(|(known, _)| *known != path);
        self.approvals.push((path, bytes));
        let tree = self.tree(&self.approvals.clone());
        let before = self.reference(ATTESTATIONS);
        let id = self.commit(&tree, &before.iter().map(String::as_str).collect::<Vec<_>>(), "approvals", None);
        self.put(ATTESTATIONS, &id, Some(1));
    }
}
