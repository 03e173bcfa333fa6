//! One bundle, parsed and verified; and one policy in Rego, decided.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark says by a panic that it failed")]

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use skep_registry::Descriptor;
use skep_trust::Facts;
use skep_trust::Found;
use skep_trust::IdentityPattern;
use skep_trust::Rego;
use skep_trust::Rule;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;

/// An artifact that somebody signed with the public Sigstore, and the bundle.
const BUNDLES: [(&str, &str, &str); 2] = [
    ("signature", "cosign-v3-blob.txt", "cosign-v3-blob.sigstore.json"),
    ("attestation", "signed-package-2.1.0-hb0f4dca_0.conda", "conda-attestation.sigstore.json"),
];

const POLICY: &str = r#"
package blob.policy

deny contains sprintf("%s is not known", [a.signer.issuer]) if {
    some a in input.attestations
    not a.signer.issuer in {"https://token.actions.githubusercontent.com"}
}

allow if {
    some a in input.attestations
    startswith(a.signer.identity, "https://github.com/")
    some s in a.subject
    concat(":", ["sha256", s.digest.sha256]) == input.manifest.digest
}
"#;

fn fixture(name: &str) -> Bytes {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap().into()
}

fn subject(name: &str) -> Subject {
    let bytes = fixture(name);
    Subject::new(Descriptor::of("application/octet-stream", &bytes), bytes).unwrap()
}

fn benches(criterion: &mut Criterion) {
    let root = TrustedRoot::sigstore().unwrap();
    let verifier = Verifier::default().trust_root(&root).unwrap().accept(IdentityPattern::anyone());
    let mut group = criterion.benchmark_group("verify");
    for (name, artifact, bundle) in BUNDLES {
        let (subject, bundle) = (subject(artifact), fixture(bundle));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(verifier.verify_bundle(&subject, &bundle).unwrap()));
        });
    }
    group.finish();

    let subject = subject(BUNDLES[1].1);
    let report = verifier.judge(&subject, &Found::default().with_bundle(fixture(BUNDLES[1].2)));
    let facts = Facts::new("registry.example/acme/site:v1", &subject, &report);
    let rego = Rego::from_source("policy.rego", POLICY).unwrap();
    let mut group = criterion.benchmark_group("rego");
    group.bench_function("compile", |bencher| {
        bencher.iter(|| Rego::from_source("policy.rego", black_box(POLICY)).unwrap())
    });
    group.bench_function("decide", |bencher| bencher.iter(|| rego.check(black_box(&facts)).unwrap().len()));
    group.finish();
}

criterion_group!(verify, benches);
criterion_main!(verify);
