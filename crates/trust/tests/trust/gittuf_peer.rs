//! gittuf itself decides the same about repositories that chance made, or is known to let pass what is denied here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use crate::gittuf::Built;
use crate::gittuf::REPOSITORY;
use crate::source::*;
use serde_json::Value;
use serde_json::json;
use skep_trust::Gittuf;

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    /// A number below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn some(&mut self, all: &[Who], percent: u64) -> Vec<Who> {
        all.iter().copied().filter(|_| self.is(percent)).collect()
    }

    /// Mostly one of those who may.
    fn signer(&mut self, good: &[Who]) -> Option<Who> {
        match self.below(20) {
            0 => None,
            1 => Some(9),
            _ => Some(self.of(good)),
        }
    }
}

const DEVELOPERS: [Who; 3] = [3, 4, 5];

/// What a repository has that gittuf does not look at as it should.
#[derive(Debug, Default)]
struct Traits {
    global: bool,
    skip: bool,
    policies: u64,
}

fn make(chance: &mut Chance) -> (Source, Traits) {
    let (mut source, mut traits) = (Source::new(), Traits::default());
    policy(&mut source, chance, &mut traits);
    let mut entries: Vec<String> = Vec::new();
    let mut last: Option<String> = None;
    for turn in 0..1 + chance.below(4) {
        if turn > 0 && chance.is(15) {
            policy(&mut source, chance, &mut traits);
        }
        // Some bring back what was before.
        let text = format!("text {}", chance.below(3));
        let parents: Vec<_> = last.iter().map(String::as_str).filter(|_| chance.is(92)).collect();
        let by = chance.signer(&DEVELOPERS);
        let commit = source.change(&text, &parents, by);
        let from = last.clone().unwrap_or_else(|| ZERO.to_owned());
        if chance.is(40) {
            let signers = chance.some(&[3, 4, 5, 9], 50);
            let from = if chance.is(90) { &from } else { ZERO };
            source.authorize(MAIN, from, &commit, &signers);
        }
        if chance.is(15) {
            let signers = if chance.is(80) { [6] } else { [9] };
            let approver = chance.of(&["octo+1", "octo+2"]);
            source.review(MAIN, &from, &commit, &[approver], &signers);
        }
        let by = chance.signer(&DEVELOPERS);
        entries.push(source.put(MAIN, &commit, by));
        if chance.is(12) {
            let of = entries[chance.below(entries.len() as u64) as usize].clone();
            source.skip(&of, Some(3));
            traits.skip = true;
        }
        if chance.is(10) {
            let other = source.change("other", &[], None);
            source.put("refs/heads/other", &other, None);
        }
        last = Some(commit);
    }
    let last = last.unwrap();
    match chance.below(40) {
        0 => source.set(MAIN, &source.change("unseen", &[&last], Some(3))),
        1 => drop(source.log("RSL Reference Entry\n\nref: refs/heads/main", Some(3))),
        2 => drop(source.log("RSL Reference Entry\n\nref: refs/heads/main\ntargetID: 12", Some(3))),
        3 => drop(source.log("RSL Novel Entry\n\nref: refs/heads/main", Some(3))),
        4 => {
            let entry = format!(
                "RSL Propagation Entry\n\nref: {MAIN}\ntargetID: {last}\nupstreamRepository: https://a.example\nupstreamEntryID: {last}"
            );
            source.log(&entry, Some(3));
        }
        5 => {
            // The log branches.
            let (tip, tree) = (source.reference(LOG).unwrap(), source.git(&["mktree"], b""));
            let text = format!("RSL Reference Entry\n\nref: {MAIN}\ntargetID: {last}\nnumber: 99");
            let id = source.commit(&tree, &[&tip, &entries[0]], &text, Some(3));
            source.set(LOG, &id);
        }
        6 => {
            // A number is left out.
            let (tip, tree) = (source.reference(LOG).unwrap(), source.git(&["mktree"], b""));
            let text = format!("RSL Reference Entry\n\nref: {MAIN}\ntargetID: {last}\nnumber: 99");
            let id = source.commit(&tree, &[&tip], &text, Some(3));
            source.set(LOG, &id);
        }
        _ => {}
    }
    (source, traits)
}

/// A state of the policy, mostly a good one.
fn policy(source: &mut Source, chance: &mut Chance, traits: &mut Traits) {
    traits.policies += 1;
    let version = if chance.is(90) { traits.policies } else { 1 };
    let mut root_body = root_of(version, &[1, 7], if chance.is(80) { 1 } else { 2 }, &[2]);
    root_body["principals"][id(6)] = key_body(6);
    if chance.is(50) {
        root_body["githubApps"] =
            json!({APPLICATION: {"trusted": chance.is(80), "principalIDs": [id(6)], "threshold": 1}});
    }
    if chance.is(12) {
        traits.global = true;
        let paths = json!([chance.of(&["git:refs/heads/*", "git:refs/tags/*"])]);
        root_body["globalRules"] = match chance.is(50) {
            true => json!([{"name": "keep", "type": "block-force-pushes", "paths": paths}]),
            false => json!([{"name": "two", "type": "threshold", "paths": paths, "threshold": 2}]),
        };
    }
    let whom = chance.some(&DEVELOPERS, 80);
    let whom = if whom.is_empty() { vec![3] } else { whom };
    let threshold = if chance.is(70) { 1 } else { 2 };
    let pattern =
        chance.of(&["git:refs/heads/main", "git:refs/heads/*", "git:*", "git:refs/heads/[a-n]*", "git:refs/tags/*"]);
    let mut all = vec![rule("protect-main", pattern, &whom, threshold)];
    if chance.is(20) {
        let pattern = chance.of(&["file:*", "file:fi?e", "file:other"]);
        all.push(rule("files", pattern, &chance.some(&DEVELOPERS, 80).into_iter().chain([5]).collect::<Vec<_>>(), 1));
    }
    if chance.is(15) {
        all.push(rule("more", "git:refs/heads/main", &[chance.of(&[3, 9])], 1));
    }
    let mut targets = rules(version, &[3, 4, 5, 9], &all);
    if chance.is(40) {
        targets["delegations"]["principals"]["octo"] =
            json!({"personID": "octo", "keys": {}, "associatedIdentities": {APPLICATION: "octo+1"}, "custom": {}});
        targets["delegations"]["roles"][0]["principalIDs"].as_array_mut().unwrap().push(json!("octo"));
    }
    if chance.is(10) {
        first_version(&mut root_body, &mut targets);
    }
    let root_signers = if chance.is(94) { vec![1, 7] } else { chance.some(&[1, 7, 9], 50) };
    let signers = if chance.is(96) { vec![2] } else { chance.some(&[1, 9], 50) };
    let delegated = rules(version, &[9], &[rule("inner", "git:refs/heads/main", &[chance.of(&[9, 4])], 1)]);
    let delegated_signers = if chance.is(90) { whom.clone() } else { vec![9] };
    let (root_file, targets_file) = (("root", root_body, &root_signers[..]), ("targets", targets, &signers[..]));
    match chance.below(100) {
        0..12 => drop(source.policy(&[root_file, targets_file, ("protect-main", delegated, &delegated_signers)])),
        12..14 => drop(source.policy(&[root_file, targets_file, ("loose", delegated, &delegated_signers)])),
        _ => drop(source.policy(&[root_file, targets_file])),
    }
}

/// Turns metadata into that of version 0.1, unless there are persons in it.
fn first_version(root: &mut Value, targets: &mut Value) {
    if targets["delegations"]["principals"].get("octo").is_some() {
        return;
    }
    let rename = |value: &mut Value, old: &str, new: &str| {
        let map = value.as_object_mut().unwrap();
        let found = map.remove(old).unwrap();
        map.insert(new.to_owned(), found);
    };
    for body in [&mut *root, &mut *targets] {
        body.as_object_mut().unwrap().remove("schemaVersion");
    }
    rename(root, "principals", "keys");
    root["roles"].as_object_mut().unwrap().values_mut().for_each(|role| rename(role, "principalIDs", "keyids"));
    rename(&mut targets["delegations"], "principals", "keys");
    let roles = targets["delegations"]["roles"].as_array_mut().unwrap();
    roles.iter_mut().for_each(|role| rename(role, "principalIDs", "keyids"));
}

/// Why something is denied here that gittuf lets pass.
fn known(traits: &Traits, is_whole: bool, why: &str) -> Option<&'static str> {
    match () {
        () if why.contains("was taken back") => Some("the last entry was taken back"),
        () if why.contains("taken over from") => Some("an entry was taken over from elsewhere, signed by nobody"),
        () if why.contains("no signatures") => {
            Some("an approval that nobody signed is not looked at where none is needed")
        }
        () if traits.global && why.contains("wanted") => Some("a global rule makes gittuf forget its other rules"),
        () if is_whole && traits.skip => Some("what mends a broken entry was put there by somebody who may not"),
        () if is_whole && traits.policies > 1 && why.contains("policy of log entry") => {
            Some("an earlier policy was signed by the wrong ones")
        }
        () => None,
    }
}

/// Nothing when gittuf allows, or what it says.
fn peer(gittuf: &Path, source: &Source, is_whole: bool) -> Result<(), String> {
    let mut command = Command::new(gittuf);
    command.arg("verify-ref").args((!is_whole).then_some("--latest-only")).arg(MAIN).current_dir(source.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[tokio::test]
#[ignore = "needs gittuf itself, which .ci/judge-gittuf builds"]
async fn gittuf_itself_decides_the_same() {
    let gittuf = std::env::var_os("GITTUF").expect("GITTUF is the path of gittuf");
    let count = std::env::var("GITTUF_REPOSITORIES").map_or(500, |text| text.parse().unwrap());
    let seed = std::env::var("GITTUF_SEED").map_or(1, |text| text.parse::<u64>().unwrap());
    let built = Built::new().await;
    let mut counts = BTreeMap::<String, usize>::new();
    for number in 0..count {
        let mut chance = Chance((seed + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // The first of neighbouring numbers are alike.
        for _ in 0..8 {
            chance.below(2);
        }
        let (source, traits) = make(&mut chance);
        for is_whole in [false, true] {
            let rule =
                Gittuf::in_directory(REPOSITORY, source.path()).unwrap().trust_first_root(true).allow_unprotected(true);
            let rule = rule.allow_missing_provenance(true).with_reference(MAIN).verify_whole_log(is_whole);
            let ours = built.decide(rule).await;
            let theirs = peer(gittuf.as_ref(), &source, is_whole);
            let outcome = match (&ours, &theirs) {
                (Ok(()), Ok(())) => "both allow",
                (Err(_), Err(_)) => "both deny",
                (Err(why), Ok(())) if known(&traits, is_whole, why).is_some() => known(&traits, is_whole, why).unwrap(),
                _ => panic!("repository {number}, whole: {is_whole}: here {ours:?}, gittuf {theirs:?}"),
            };
            *counts.entry(outcome.to_owned()).or_default() += 1;
        }
    }
    println!("{count} repositories, each by its last entry and by all: {counts:#?}");
    assert!(counts["both allow"] > count as usize / 3, "too few that are good: {counts:?}");
}
