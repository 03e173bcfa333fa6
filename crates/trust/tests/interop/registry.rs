//! Cosign and skep, through a registry: as the commands of people do it.

use std::sync::Arc;

use serde_json::json;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Server;
use skep_http::testing::Profile;
use skep_http::testing::Quirky;
use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::media_type;
use skep_trust::Kind;
use skep_trust::Predicate;
use skep_trust::Report;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::SignatureForm;
use skep_trust::Subject;
use skep_trust::attest;
use skep_trust::sign;
use tokio::net::TcpListener;

use crate::cosign::cosign;
use crate::cosign::private_key;
use crate::cosign::run;
use crate::cosign::sign_with;
use crate::cosign::verify_with;
use crate::peer::Expected;
use crate::peer::How;
use crate::peer::PROVENANCE;
use crate::peer::What;
use crate::skep;
use crate::world::EMAIL;
use crate::world::World;

/// Lets each verify what the other attached, in a registry that lists referrers and in one that has but tags.
pub(crate) async fn judge(own: &World) {
    let lists = Profile { repos_must_exist: false, ..Profile::default() };
    let tags = Profile { repos_must_exist: false, ..Profile::distribution2() };
    for (name, profile) in [("a registry that lists referrers", lists), ("a registry with tags only", tags)] {
        let place = Place::start(name, profile).await;
        for world in [own.with_log(1), own.with_log(2)] {
            for how in [How::Identity, How::Key] {
                // A key alone meets no log, of whatever version.
                if how == How::Key && world.log == 2 {
                    continue;
                }
                place.skep_to_cosign(&world, how).await;
                place.cosign_to_skep(&world, how).await;
            }
        }
        for how in [How::Identity, How::LoggedKey, How::Key] {
            place.old_cosign_to_skep(&own.with_log(1), how).await;
        }
    }
}

struct Place {
    name: &'static str,
    host: String,
    repo: RepoName,
    client: Client,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Place {
    async fn start(name: &'static str, profile: Profile) -> Self {
        let service = Quirky::new(Server::new(Arc::new(Memory::default())), profile);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(skep_http::serve(listener, service, std::future::pending()));
        let client = Client::new(&host, ClientOptions::default()).unwrap();
        Self { name, host, repo: "acme/site".parse().unwrap(), client, task }
    }

    /// A new manifest, which nobody has signed yet.
    async fn push(&self, title: &str) -> Subject {
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [], "annotations": {"title": title},
        });
        let manifest = Manifest::new(media_type::INDEX, index.to_string());
        self.client.put_manifest(&self.repo, &manifest, PutManifest::default()).await.unwrap();
        Subject::from(&manifest)
    }

    fn reference(&self, subject: &Subject) -> String {
        format!("{}/{}@{}", self.host, self.repo, subject.digest())
    }

    async fn inspect(&self, world: &World, how: How, expected: &Expected, subject: &Subject) -> Report {
        skep::verifier(world, how, expected).inspect(&self.client, &self.repo, subject).await.unwrap()
    }

    fn say(&self, world: &World, how: How, what: &str) {
        println!("{}, log {}: {how:?}: {what}", self.name, world.log);
    }

    async fn skep_to_cosign(&self, world: &World, how: How) {
        let title = format!("by skep, {how:?}, log {}", world.log);
        let (subject, unsigned) = (self.push(&title).await, self.push(&format!("not {title}")).await);
        let signer = skep::signer(world, how);
        sign(&self.client, &self.repo, &subject, &*signer, &SignOptions::default()).await.unwrap();
        let content = What::Attestation.predicate();
        let predicate = Predicate { kind: PROVENANCE, content: &content, created: None };
        attest(&self.client, &self.repo, &subject, predicate, &*signer).await.unwrap();

        let (expected, stranger) = expected(world);
        let verify = |subject: &Subject, expected: &Expected, verb: &[&str]| {
            let mut command = cosign(world, verb[0]);
            command.args(&verb[1..]).arg("--allow-http-registry=true");
            run(verify_with(&mut command, world, how, expected).arg(self.reference(subject)))
        };
        for (what, verb) in
            [("signature", &["verify"][..]), ("attestation", &["verify-attestation", "--type", PROVENANCE])]
        {
            verify(&subject, &expected, verb).unwrap_or_else(|error| panic!("{title}: {what}: {error}"));
            self.say(world, how, &format!("skep -> cosign: {what} holds"));
            verify(&subject, &stranger, verb).unwrap_err();
            verify(&unsigned, &expected, verb).unwrap_err();
            self.say(world, how, &format!("skep -> cosign: {what} refused for another signer and another artifact"));
        }
        let options = SignOptions { format: SignFormat::Message, created: None };
        sign(&self.client, &self.repo, &unsigned, &*signer, &options).await.unwrap();
        let error = verify(&unsigned, &expected, &["verify"]).unwrap_err();
        self.say(world, how, &format!("skep -> cosign cannot verify a message signature: {error}"));
    }

    async fn cosign_to_skep(&self, world: &World, how: How) {
        let title = format!("by cosign, {how:?}, log {}", world.log);
        let (subject, unsigned) = (self.push(&title).await, self.push(&format!("not {title}")).await);
        let predicate = world.file("predicate.json", What::Attestation.predicate().to_string());
        let mut command = cosign(world, "sign");
        command.args(["--yes", "--allow-http-registry=true"]).arg(self.reference(&subject));
        run(sign_with(&mut command, world, how)).unwrap_or_else(|error| panic!("{title}: {error}"));
        let mut command = cosign(world, "attest");
        command.args(["--yes", "--allow-http-registry=true", "--type", PROVENANCE]);
        command.arg("--predicate").arg(&predicate).arg(self.reference(&subject));
        run(sign_with(&mut command, world, how)).unwrap_or_else(|error| panic!("{title}: {error}"));
        self.judged_by_skep(world, how, "cosign", &subject, &unsigned, SignatureForm::Statement).await;
    }

    /// As cosign wrote before version 3: under tags, with everything in annotations.
    async fn old_cosign_to_skep(&self, world: &World, how: How) {
        let title = format!("by cosign as before version 3, {how:?}");
        let (subject, unsigned) = (self.push(&title).await, self.push(&format!("not {title}")).await);
        let predicate = world.file("predicate.json", What::Attestation.predicate().to_string());
        for verb in ["sign", "attest"] {
            let mut command = cosign(world, verb);
            command.args(["--yes", "--allow-http-registry=true", "--new-bundle-format=false"]);
            command.args(["--use-signing-config=false", "--rekor-url", world.issuer()]);
            command.arg("--trusted-root").arg(world.path("trusted_root.json"));
            command.arg(format!("--tlog-upload={}", how != How::Key));
            match how {
                How::Identity => {
                    command.args(["--fulcio-url", world.issuer()]);
                    command.arg("--identity-token").arg(world.file("token", world.token()));
                }
                How::Key | How::LoggedKey => {
                    command.arg("--key").arg(private_key(world));
                }
            }
            if verb == "attest" {
                command.args(["--type", PROVENANCE]).arg("--predicate").arg(&predicate);
            }
            run(command.arg(self.reference(&subject))).unwrap_or_else(|error| panic!("{title}: {verb}: {error}"));
        }
        self.judged_by_skep(world, how, "cosign before 3", &subject, &unsigned, SignatureForm::SimpleSigning).await;
    }

    async fn judged_by_skep(
        &self,
        world: &World,
        how: How,
        signer: &str,
        subject: &Subject,
        unsigned: &Subject,
        form: SignatureForm,
    ) {
        let (expected, stranger) = expected(world);
        let report = self.inspect(world, how, &expected, subject).await;
        let signature = report.require_signature().unwrap_or_else(|error| panic!("{signer}: {error}\n{report}"));
        assert_eq!(signature.kind(), &Kind::Signature { form });
        self.say(world, how, &format!("{signer} -> skep: signature holds"));
        let attestation = report.require_attestation(PROVENANCE).unwrap_or_else(|error| panic!("{error}\n{report}"));
        assert_eq!(attestation.attestation().unwrap().predicate, What::Attestation.predicate());
        assert_eq!(report.verified.len(), 2);
        self.say(world, how, &format!("{signer} -> skep: attestation holds"));
        assert_eq!(self.inspect(world, how, &stranger, subject).await.verified, []);
        assert_eq!(self.inspect(world, how, &expected, unsigned).await.verified, []);
        self.say(world, how, &format!("{signer} -> skep: both refused for another signer and another artifact"));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who signs, and somebody else.
fn expected(world: &World) -> (Expected, Expected) {
    let expected = Expected { artifact: Default::default(), identity: EMAIL.to_owned(), key: world.public_key() };
    let other = skep_trust::PrivateKey::generate().unwrap().public_key().to_pem();
    let stranger = Expected { identity: format!("not-{EMAIL}"), key: other, ..expected.clone() };
    (expected, stranger)
}
