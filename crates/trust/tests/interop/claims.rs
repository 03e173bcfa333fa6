//! What Fulcio certifies of a run on GitHub, skep reads and matches.

use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::media_type;
use skep_trust::Claim;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::IdentityToken;
use skep_trust::KeylessSigner;
use skep_trust::Pattern;
use skep_trust::SignOptions;
use skep_trust::Stage;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
use skep_trust::sign;
use skep_trust::testing::Who;

use crate::services::Services;

pub(crate) async fn judge(services: &Services) {
    let (world, runner) = (services.world(), services.runner());
    let who = Who::workflow("acme/site", "release.yml", "refs/tags/v1").with_claim("iss", runner.url());
    let token = IdentityToken::new(&runner.token(&who).unwrap()).unwrap();
    let signer = KeylessSigner::new(skep_trust::Services::from_signing_config(&world.config(true)).unwrap(), token);
    let (registry, repo) = (Memory::default(), "acme/site".parse().unwrap());
    let subject = Subject::from(&Manifest::new(media_type::INDEX, r#"{"schemaVersion": 2, "manifests": []}"#));
    let bundle = sign(&registry, &repo, &subject, &signer, &SignOptions::default()).await.unwrap().bundle;

    let root = TrustedRoot::from_json(&world.root, Evidence::default()).unwrap();
    let workflow = "https://github.com/acme/site/.github/workflows/release.yml@refs/tags/v1";
    let verify = |wanted: &[(Claim, &str)]| {
        let pattern = IdentityPattern::new(Pattern::exact(workflow), Pattern::exact(runner.url()));
        let pattern =
            wanted.iter().fold(pattern, |pattern, (claim, text)| pattern.with_claim(*claim, Pattern::exact(*text)));
        Verifier::default().trust_root(&root).unwrap().accept(pattern).verify_bundle(&subject, &bundle)
    };
    let claims = [
        (Claim::Builder, workflow),
        (Claim::Commit, "c0ffee0000000000000000000000000000000000"),
        (Claim::Owner, "https://github.com/acme"),
        (Claim::Ref, "refs/tags/v1"),
        (Claim::Repository, "https://github.com/acme/site"),
        (Claim::Runner, "github-hosted"),
        (Claim::Trigger, "push"),
        (Claim::Workflow, workflow),
    ];
    let verified = verify(&claims).unwrap();
    let run = verified.signer().certificate().unwrap().claims.run.clone();
    assert_eq!(run.as_deref(), Some("https://github.com/acme/site/actions/runs/1/attempts/1"));
    println!("{}: a workflow -> skep: {} claims and the run hold", world.name, claims.len());
    for (claim, _) in claims {
        assert_eq!(verify(&[(claim, "another")]).unwrap_err().stage, Stage::Identity);
        println!("{}: a workflow -> skep: refused for another {claim:?}", world.name);
    }
}
