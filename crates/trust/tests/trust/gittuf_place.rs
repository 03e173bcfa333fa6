//! Where gittuf's rule looks: provenance that was verified, a repository here or a copy of one elsewhere, a policy file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use crate::gittuf::*;
use crate::source::*;
use serde_json::json;
use skep_trust::Gittuf;
use skep_trust::GittufKey;
use skep_trust::PolicyFile;

#[tokio::test]
async fn provenance_has_to_be_of_this_repository_and_this_commit() {
    let (mut source, first) = good();
    let elsewhere = source.change("elsewhere", &[], Some(DEV));
    source.put("refs/heads/other", &elsewhere, Some(DEV));
    let unknown = "1234567890123456789012345678901234567890";
    for (repository, reference, commit, why) in [
        ("https://github.com/acme/site.git", MAIN, first.as_str(), None),
        ("https://github.com/acme/site-evil", MAIN, &first, Some("wanted https://github.com/acme/site")),
        ("https://github.com/acme", MAIN, &first, Some("wanted https://github.com/acme/site")),
        (REPOSITORY, MAIN, &elsewhere, Some("does not lead to")),
        (REPOSITORY, MAIN, unknown, Some("wanted it, git says")),
        (REPOSITORY, "refs/heads/other", &elsewhere, Some("no rule protects it")),
        (REPOSITORY, "refs/heads/novel", &first, Some("the log has no entry")),
        (REPOSITORY, "refs/gittuf/policy", &first, Some("wanted a branch or a tag")),
        (REPOSITORY, "refs/pull/1/merge", &first, Some("wanted a branch or a tag")),
    ] {
        let built = Built::new().await;
        built.attest("https://slsa.dev/provenance/v1", built_from(repository, reference, commit)).await;
        match why {
            None => assert_eq!(built.decide(rooted(&source)).await, Ok(())),
            Some(why) => assert_denied(built.decide(rooted(&source)).await, why),
        }
    }
    let built = Built::new().await;
    let uri = format!("git+{REPOSITORY}@{MAIN}");
    let old = json!({"invocation": {"configSource": {"uri": uri, "digest": {"sha1": first}}}});
    built.attest("https://slsa.dev/provenance/v0.2", old).await;
    assert_eq!(built.decide(rooted(&source)).await, Ok(()));
}

#[tokio::test]
async fn missing_provenance_is_denied_unless_allowed() {
    let (source, first) = good();
    let built = Built::new().await;
    assert_denied(built.decide(rooted(&source)).await, "wanted provenance");
    assert_denied(built.decide(rooted(&source).allow_missing_provenance(true)).await, "which reference");
    let with = || rooted(&source).allow_missing_provenance(true).with_reference(MAIN);
    assert_eq!(built.decide(with()).await, Ok(()));
    // What a stranger signed is not provenance, and what is there has to fit.
    let stranger = Built { verifier: Arc::clone(&built.verifier), ..Built::from(&first).await };
    assert_denied(stranger.decide(rooted(&source)).await, "wanted provenance");
    built.attest("https://slsa.dev/provenance/v1", built_from("https://a.example/b", MAIN, &first)).await;
    assert_denied(built.decide(with()).await, "built from https://a.example/b");
}

#[tokio::test]
async fn a_repository_without_a_log_is_denied_unless_allowed() {
    let source = Source::new();
    let commit = source.change("one", &[], None);
    source.set(MAIN, &commit);
    assert_denied(verdict(&source, &commit).await, "has no log of gittuf");
    let allowing = rooted(&source).allow_missing_gittuf(true);
    assert_eq!(Built::from(&commit).await.decide(allowing).await, Ok(()));
    let nowhere = Gittuf::in_directory(REPOSITORY, source.path().join("nowhere")).unwrap().allow_missing_gittuf(true);
    assert_denied(Built::from(&commit).await.decide(nowhere).await, "not there");
}

#[tokio::test]
async fn a_shallow_repository_is_denied() {
    let (source, first) = good();
    std::fs::write(source.path().join(".git/shallow"), format!("{first}\n")).unwrap();
    assert_denied(verdict(&source, &first).await, "is shallow");
}

#[tokio::test]
async fn what_a_repository_replaces_is_not_believed() {
    let (mut source, first) = good();
    let bad = source.change("two", &[&first], None);
    let entry = source.put(MAIN, &bad, None);
    let text = format!("RSL Reference Entry\n\nref: {MAIN}\ntargetID: {bad}\nnumber: 3");
    let tree = source.git(&["mktree"], b"");
    let forged = source.commit(&tree, &[&source.git(&["rev-parse", &format!("{LOG}~1")], b"")], &text, Some(DEV));
    source.set(&format!("refs/replace/{entry}"), &forged);
    assert_denied(verdict(&source, &bad).await, "protect-main");
}

#[tokio::test]
async fn a_copy_is_fetched_and_never_goes_back() {
    let (mut source, first) = good();
    let cache = tempfile::tempdir().unwrap();
    let url = format!("file://{}", source.path().display());
    let rule = || {
        let rule = Gittuf::mirrored_from(REPOSITORY, &url, cache.path()).unwrap().refresh_after(Duration::ZERO);
        rule.with_root_key(GittufKey::ssh(&public(ROOT)).unwrap())
    };
    assert_eq!(Built::from(&first).await.decide(rule()).await, Ok(()));
    let before = source.reference(LOG).unwrap();
    let second = source.change("two", &[&first], None);
    source.put(MAIN, &second, Some(DEV));
    assert_eq!(Built::from(&second).await.decide(rule()).await, Ok(()));
    // The host takes the last entry away, and the commit with it.
    source.set(LOG, &before);
    source.set(MAIN, &first);
    assert_denied(Built::from(&first).await.decide(rule()).await, "non-fast-forward");
    let stale = rule().allow_stale(Duration::from_secs(3600));
    assert_eq!(Built::from(&second).await.decide(stale).await, Ok(()));
    // It is gone altogether.
    std::fs::rename(source.path(), source.path().with_extension("gone")).unwrap();
    assert_denied(Built::from(&second).await.decide(rule().allow_missing_gittuf(true)).await, "git: ");
    let fresh = rule().refresh_after(Duration::from_secs(3600));
    assert_eq!(Built::from(&second).await.decide(fresh).await, Ok(()));
    std::fs::rename(source.path().with_extension("gone"), source.path()).unwrap();
}

#[test]
fn addresses_that_could_make_git_do_something_else_are_refused() {
    for wrong in [
        "",
        "-u",
        "--upload-pack=touch",
        "ext::sh -c touch",
        "ext://a",
        "http://github.com/acme/site",
        "https://",
        "ssh://-oProxyCommand=touch/a",
        "https://user:secret@github.com/acme/site",
        "https://github.com/acme/site --upload-pack",
        "git@github.com:acme/site",
        "/tmp/site",
    ] {
        assert!(Gittuf::mirrored_from(REPOSITORY, wrong, "cache").is_err(), "{wrong}");
    }
    assert!(Gittuf::mirrored_from(REPOSITORY, "ssh://git@github.com/acme/site", "cache").is_ok());
}

#[tokio::test]
async fn a_policy_file_asks_for_it() {
    let (source, first) = good();
    let built = Built::from(&first).await;
    let (directory, key) = (source.path().display(), public(ROOT));
    let decide = |extra: String| {
        let text = format!("gittuf:\n  repository: {REPOSITORY}\n  by: {{anyone: true}}\n{extra}");
        PolicyFile::parse(&text, Path::new("/")).and_then(|file| file.policy())
    };
    // The key that signed the provenance is not one of Sigstore's.
    let policy = decide(format!("  directory: {directory}\n  root-key: {key}\n")).unwrap();
    assert!(!policy.decide(&built.registry, &repo(), &built.subject, "a").await.unwrap().is_allowed());
    for (extra, why) in [
        (format!("  root-key: {key}\n"), "wanted a cache"),
        (format!("  directory: {directory}\n"), "wanted a root-key"),
        (format!("  directory: {directory}\n  cache: a\n  root-key: {key}\n"), "wanted a cache"),
        (format!("  directory: {directory}\n  root-key: nonsense\n"), "key: SSH"),
        ("  cache: a\n  url: ext::touch\n  trust-first-root: true\n".to_owned(), "wanted an address"),
        ("  cache: a\n  trust-frist-root: true\n".to_owned(), "trust-frist-root"),
    ] {
        let error = decide(extra).unwrap_err().to_string();
        assert!(error.contains(why), "wanted {why:?} in {error}");
    }
    assert!(decide("  cache: a\n  root-key: {identity: a, issuer: b}\n  whole-log: true\n".to_owned()).is_ok());
    let pem = built.public_key.replace('\n', "\n          ");
    let text = format!(
        "gittuf:\n  repository: {REPOSITORY}\n  directory: {directory}\n  root-key: {key}\n  by:\n    key:\n      pem: |\n          {pem}\n"
    );
    let policy = PolicyFile::parse(&text, Path::new("/")).and_then(|file| file.policy()).unwrap();
    let decision = policy.decide(&built.registry, &repo(), &built.subject, "a").await.unwrap();
    assert!(decision.is_allowed(), "{decision}");
}
