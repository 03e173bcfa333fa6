//! Policies in Rego: what they are shown, what denies, and that nothing takes long.

use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use skep_registry::Memory;
use skep_trust::Facts;
use skep_trust::KeySigner;
use skep_trust::Policy;
use skep_trust::PolicyFile;
use skep_trust::Predicate;
use skep_trust::PrivateKey;
use skep_trust::PublicKey;
use skep_trust::Rego;
use skep_trust::Report;
use skep_trust::Rule;
use skep_trust::SignOptions;
use skep_trust::Signer;
use skep_trust::Subject;
use skep_trust::Verifier;
use skep_trust::attest;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

const REFERENCE: &str = "registry.example/acme/site:v1";
const FACTS: &str = "https://example.com/facts/v1";

/// A manifest with signatures and attestations, as a verifier sees it.
struct Case {
    registry: Memory,
    subject: Subject,
    key: PublicKey,
    signer: KeySigner,
}

impl Case {
    async fn new() -> Self {
        let (registry, subject) = site().await;
        let key = PrivateKey::generate().unwrap();
        Self { registry, subject, key: key.public_key().clone(), signer: KeySigner::new(key) }
    }

    async fn sign(&self, signer: &dyn Signer) {
        sign(&self.registry, &repo(), &self.subject, signer, &SignOptions::default()).await.unwrap();
    }

    async fn attest(&self, kind: &str, content: &Value) {
        let predicate = Predicate { kind, content, created: None };
        attest(&self.registry, &repo(), &self.subject, predicate, &self.signer).await.unwrap();
    }

    fn verifier(&self) -> Verifier {
        Verifier::default().trust_key(self.key.clone())
    }

    async fn report(&self) -> Report {
        self.verifier().inspect(&self.registry, &repo(), &self.subject).await.unwrap()
    }
}

/// Decides by a policy whose package is given to it; the reasons if it denies.
fn decide(case: &Case, report: &Report, text: &str) -> Result<(), Vec<String>> {
    let rego = Rego::from_source("policy.rego", &format!("package blob.policy\n{text}")).unwrap();
    check(&rego, case, report)
}

fn check(rego: &Rego, case: &Case, report: &Report) -> Result<(), Vec<String>> {
    let facts = Facts::new(REFERENCE, &case.subject, report);
    rego.check(&facts).map(|_| ()).map_err(|refusal| refusal.reasons().to_vec())
}

fn refused(text: &str) -> String {
    Rego::from_source("policy.rego", text).unwrap_err().to_string()
}

#[tokio::test]
async fn a_reason_in_deny_denies_whatever_allow_says() {
    let case = Case::new().await;
    case.attest("https://example.com/tests/v1", &json!({"failed": 2})).await;
    let report = case.report().await;
    let text = r#"
        allow := true
        deny contains sprintf("%d tests failed", [a.predicate.failed]) if {
            some a in input.attestations
            a.predicate.failed > 0
        }
    "#;
    assert_eq!(decide(&case, &report, text), Err(vec!["2 tests failed".to_owned()]));
    assert_eq!(decide(&case, &report, &text.replace("> 0", "> 2")), Ok(()));
}

#[tokio::test]
async fn what_is_not_exactly_true_does_not_allow() {
    let case = Case::new().await;
    let report = case.report().await;
    for (text, reason) in [
        ("", "allow: wanted true, nothing makes it so"),
        ("other := true", "allow: wanted true, nothing makes it so"),
        ("allow := false", "allow: wanted true, got false"),
        ("allow := 1", "allow: wanted true, got 1"),
        (r#"allow := "true""#, r#"allow: wanted true, got "true""#),
        ("allow contains true", "allow: wanted true, got [true]"),
        ("allow := true\ndeny := true", "deny: true"),
        ("allow := true\ndeny := [7]", "7"),
        ("allow := true\ndeny := {\"a\": 1}", "a: 1"),
        ("allow := true\ndeny := \"no\"", "deny: wanted a set of reasons, got \"no\""),
        ("allow := true\ndeny := null", "deny: wanted a set of reasons, got null"),
    ] {
        assert_eq!(decide(&case, &report, text), Err(vec![reason.to_owned()]), "{text}");
    }
    for text in
        ["allow := true", "allow := true\ndeny := false", "allow := true\ndeny := []", "allow := true\ndeny := {}"]
    {
        assert_eq!(decide(&case, &report, text), Ok(()), "{text}");
    }
}

#[tokio::test]
async fn a_policy_decides_also_where_nothing_is_attested() {
    let case = Case::new().await;
    let report = case.report().await;
    assert_eq!(decide(&case, &report, "allow if count(input.attestations) == 0"), Ok(()));
    let text = r#"deny contains "nothing is attested" if count(input.attestations) == 0"#;
    assert_eq!(decide(&case, &report, text), Err(vec!["nothing is attested".to_owned()]));
}

#[tokio::test]
async fn the_input_is_what_was_verified_and_who_signed() {
    let sigstore = Sigstore::start().await.unwrap();
    let case = Case::new().await;
    let content = json!({"builder": {"id": "https://builder.example"}});
    case.attest(FACTS, &content).await;
    case.sign(&signer(&sigstore, sigstore.services(), &Who::person(EMAIL))).await;
    // Somebody whom nobody knows attests, too.
    let stranger = KeySigner::new(PrivateKey::generate().unwrap());
    let predicate = Predicate { kind: FACTS, content: &json!({"builder": "evil"}), created: None };
    attest(&case.registry, &repo(), &case.subject, predicate, &stranger).await.unwrap();

    let verifier = verifier(&sigstore).trust_key(case.key.clone());
    let report = verifier.inspect(&case.registry, &repo(), &case.subject).await.unwrap();
    let rego = Rego::from_source("policy.rego", "package blob.policy\nallow := true").unwrap();
    let mut input = rego.input(&Facts::new(REFERENCE, &case.subject, &report));
    let time = input["signatures"][0]["times"][0]["time"].take();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    assert_eq!(
        input,
        json!({
            "manifest": {
                "reference": REFERENCE,
                "digest": case.subject.digest().to_string(),
                "mediaType": "application/vnd.oci.image.index.v1+json",
            },
            "attestations": [{
                "_type": "https://in-toto.io/Statement/v1",
                "predicateType": FACTS,
                "subject": [{"name": "", "digest": {"sha256": case.subject.digest().hex()}}],
                "predicate": content,
                "signer": {"key": case.key.fingerprint().to_string()},
                "times": [],
            }],
            "signatures": [{
                "identity": EMAIL,
                "issuer": sigstore.url(),
                "claims": {},
                "form": "statement",
                "times": [{"source": "log", "time": null}],
            }],
            "complete": true,
        })
    );
    assert_eq!(report.rejected.len(), 1, "{report}");
}

#[tokio::test]
async fn attestations_of_other_types_are_not_shown() {
    let case = Case::new().await;
    case.attest(FACTS, &json!({})).await;
    case.attest("https://example.com/tests/v1", &json!({})).await;
    case.sign(&case.signer).await;
    let report = case.report().await;
    let text = "package blob.policy\nallow if { count(input.attestations) == 1; count(input.signatures) == 1 }";
    let rego = Rego::from_source("policy.rego", text).unwrap();
    assert!(check(&rego, &case, &report).is_err());
    let rego = rego.with_predicate_types([FACTS]);
    assert_eq!(check(&rego, &case, &report), Ok(()));
    let facts = Facts::new(REFERENCE, &case.subject, &report);
    assert_eq!(rego.check(&facts).unwrap().len(), 2, "what it rests on is what it was shown");
}

#[tokio::test]
async fn modules_and_documents_are_used_together() {
    let case = Case::new().await;
    let report = case.report().await;
    let modules = [
        ("policy.rego", "package blob.policy\nimport data.lib.names\nallow if names.is_known(data.repos[0])"),
        ("names.rego", "package lib.names\nis_known(name) if name in data.more.known"),
    ];
    let rego = Rego::from_modules("two modules", modules).unwrap();
    assert!(check(&rego, &case, &report).is_err());
    let rego = rego.with_data(&json!({"repos": ["acme/site"]})).unwrap();
    let rego = rego.with_data(&json!({"more": {"known": ["acme/site"]}})).unwrap();
    assert_eq!(check(&rego, &case, &report), Ok(()));
    for (document, why) in [
        (json!({"repos": []}), "multiple times"),
        (json!([1]), "object"),
        (json!({"blob": {"policy": {"allow": true}}}), "what the module data.blob.policy is to say"),
        (json!({"lib": {"names": {}}}), "what the module data.lib.names is to say"),
    ] {
        let error = rego.clone().with_data(&document).unwrap_err().to_string();
        assert!(error.starts_with("rego two modules: ") && error.contains(why), "{error}");
    }
}

#[test]
fn text_that_is_no_policy_is_refused_when_it_is_read() {
    for (text, why) in [
        ("", "package"),
        ("package blob.policy\nallow if {", "policy.rego:2"),
        ("package blob.polcy\nallow := true", "wanted the package data.blob.policy, got [\"data.blob.polcy\"]"),
        ("package blob.policy\nallow { true }", "policy.rego:2:7: "),
        (
            "package blob.policy\ndeny if startwith(\"a\", \"b\")",
            "policy.rego:2:18: the function startwith is not known",
        ),
        ("package blob.policy\ndeny if count(1, 2, 3)", "count has 1 arguments, got 3"),
        ("package blob.policy\nallow if http.send({\"url\": \"http://127.0.0.1\"})", "http.send is not known"),
        ("package blob.policy\nallow if opa.runtime()", "opa.runtime is not known"),
        ("package blob.policy\nf := 1\nf(x) := x", "policy.rego:3:1: f is something else before"),
        ("package blob.policy\nx := 1\nallow if x(1)", "x is no function"),
        ("package blob.policy\nallow if not startswith(input.a[_], \"x\")", "the variable _ is not safe"),
        ("package blob.policy\nallow if not startswith(input.a[i], \"x\")", "the variable i is not safe"),
        ("package blob.policy\nf(x) := f(x)\nallow if f(1)", "calls itself"),
        ("package blob.policy\nf(x) := g(x)\ng(x) := [y | y := f(x)]\nallow if f(1)", "calls itself"),
        ("package blob.policy\nf(x) := y if y := count(x) with count as f\nallow if f(1)", "calls itself"),
        ("package blob.policy\nallow if 1e1000000000 > 0", "policy.rego:2:10: invalid number"),
        ("package blob.policy\nallow if 0e99999999 == 0", "too large an exponent"),
        ("package blob.policy\nallow if 1E-99999999 > 0", "too large an exponent"),
        (&format!("package blob.policy\n{}", " \n".repeat(200_000)), "more than 262144 bytes"),
    ] {
        let error = refused(text);
        assert!(error.starts_with("rego policy.rego: ") && error.contains(why), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_name() {
    let error = Rego::from_file("/nowhere/policy.rego").unwrap_err().to_string();
    assert!(error.starts_with("rego /nowhere/policy.rego: ") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn what_takes_long_or_much_denies_and_ends() {
    let case = Case::new().await;
    let numbers = json!({"huge": 1_000_000_000_000_i64, "text": "1e1000000000", "long": "x".repeat(1 << 20)});
    case.attest(FACTS, &numbers).await;
    let report = case.report().await;
    for (text, why) in [
        (
            "allow if count([1 | some a in numbers.range(1, 9000); some b in numbers.range(1, 9000); a > b]) > 0",
            "200 ms",
        ),
        ("allow if count(numbers.range(1, p.huge)) > 0", "numbers.range: the result would be too large"),
        ("allow if count(numbers.range_step(p.huge, 1, 2)) > 0", "numbers.range_step: the result would be too large"),
        ("allow if bits.lsh(1, p.huge) > 0", "bits.lsh: the result would be too large"),
        ("allow if sprintf(\"%9999999999d\", [1]) != \"\"", "sprintf: the result would be too large"),
        ("allow if replace(p.long, \"\", p.long) != \"\"", "replace: the result would be too large"),
        ("allow if regex.replace(p.long, \"x\", p.long) != \"\"", "regex.replace: the result would be too large"),
        ("allow if strings.replace_n({\"x\": p.long}, p.long) != \"\"", "replace_n: the result would be too large"),
        ("allow if concat(p.long, numbers.range(1, 100)) != \"\"", "concat: the result would be too large"),
        ("allow if units.parse(p.text) > 0", "units.parse: the result would be too large"),
        ("allow if units.parse_bytes(p.text) > 0", "units.parse_bytes: the result would be too large"),
        ("allow if to_number(p.text) > 0", "to_number: the result would be too large"),
        ("allow if to_number(\"1e99999999\") > 0", "to_number: the result would be too large"),
        ("allow if json.unmarshal(p.text) > 0", "number out of range"),
    ] {
        let began = Instant::now();
        let reasons = decide(&case, &report, &format!("p := input.attestations[0].predicate\n{text}")).unwrap_err();
        assert!(reasons.len() == 1 && reasons[0].contains(why), "{text}: {reasons:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{text}: {:?}", began.elapsed());
    }
    // What could not be found out does not hold below a `not` either.
    let rego = |text: &str| Rego::from_source("policy.rego", &format!("package blob.policy\n{text}")).unwrap();
    for (text, allows) in
        [("allow := false", true), ("allow if bits.lsh(1, 4000000000) > 0", false), ("allow := 1", false)]
    {
        let policy = Policy::not(Policy::rule(case.verifier().into(), rego(text)));
        let decision = policy.decide(&case.registry, &repo(), &case.subject, REFERENCE).await.unwrap();
        assert_eq!(decision.is_allowed(), allows, "{text}: {decision}");
    }
}

#[tokio::test]
async fn what_nests_deeply_is_refused_or_decides() {
    let case = Case::new().await;
    let mut predicate = json!({});
    for _ in 0..100 {
        predicate = json!({"a": predicate});
    }
    case.attest(FACTS, &predicate).await;
    let report = case.report().await;
    let rules: String = (0..4000).map(|at| format!("r{at} if r{}\n", at + 1)).collect();
    let functions: String = (0..4000).map(|at| format!("f{at}(x) := f{}(x)\n", at + 1)).collect();
    for (text, is_policy) in [
        (format!("allow if r0\n{rules}r4000 := true"), true),
        (format!("allow if f0(true)\n{functions}f4000(x) := x"), true),
        ("allow if count([1 | walk(input, _)]) > 100".to_owned(), true),
        (format!("allow if 0{} > 5", " + 1".repeat(200)), true),
        (format!("allow if 0{} > 5", "\n+ 1".repeat(60_000)), false),
        (format!("allow if {}true{}", "[".repeat(400), "]".repeat(400)), false),
        (format!("allow if {}true{}", "[{".repeat(15), "}]".repeat(15)), false),
        (format!("allow if {}true", "not ".repeat(200)), false),
        (format!("allow if {}true{}", "(".repeat(400), ")".repeat(400)), false),
        (format!("allow if {}1{} == 1", "f(".repeat(400), ")".repeat(400)), false),
    ] {
        let began = Instant::now();
        let rego = Rego::from_source("policy.rego", &format!("package blob.policy\n{text}"));
        assert_eq!(rego.is_ok(), is_policy, "{}: {rego:?}", &text[..40]);
        if let Ok(rego) = rego {
            assert_eq!(check(&rego.with_time_limit(Duration::from_secs(5)), &case, &report), Ok(()), "{}", &text[..40]);
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{}: {:?}", &text[..40], began.elapsed());
    }
}

#[tokio::test]
async fn a_policy_file_names_policies_in_rego() {
    let case = Case::new().await;
    case.attest("https://example.com/tests/v1", &json!({"failed": 1})).await;
    case.sign(&case.signer).await;
    let directory = std::env::temp_dir().join(format!("skep-rego-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("cosign.pub"), case.key.to_pem()).unwrap();
    let file = "signature: {key: {path: cosign.pub}}\nrego: {file: tests.rego}\n";
    let text = "package blob.policy\nallow := true\ndeny contains \"a test failed\" if input.attestations[_].predicate.failed > ";
    for (most, allows) in [(0, false), (1, true)] {
        std::fs::write(directory.join("tests.rego"), format!("{text}{most}")).unwrap();
        let policy = PolicyFile::parse(file, &directory).unwrap().policy().unwrap();
        let decision = policy.decide(&case.registry, &repo(), &case.subject, REFERENCE).await.unwrap();
        assert_eq!(decision.is_allowed(), allows, "{decision}");
        assert_eq!(decision.to_string().contains("a test failed"), !allows, "{decision}");
    }
    std::fs::write(directory.join("tests.rego"), "package blob.policy\nallow {").unwrap();
    let error = PolicyFile::parse(file, &directory).unwrap().policy().unwrap_err().to_string();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(error.contains("tests.rego:2:"), "{error}");
}

#[tokio::test]
async fn every_decision_is_made_anew() {
    let (one, other) = (Case::new().await, Case::new().await);
    one.attest(FACTS, &json!({"n": 1})).await;
    other.attest(FACTS, &json!({"n": 2})).await;
    let (first, second) = (one.report().await, other.report().await);
    let text = "package blob.policy\nallow if input.attestations[0].predicate.n == 1";
    let rego = Rego::from_source("policy.rego", text).unwrap();
    for _ in 0..3 {
        assert_eq!(check(&rego, &one, &first), Ok(()));
        assert!(check(&rego, &other, &second).is_err());
    }
}

/// Inputs by rule: each has a predicate of facts whose fields differ, and some have more than that, or nothing at all.
async fn cases(sigstore: &Sigstore) -> Vec<(Case, Report)> {
    let numbers = [json!(5), json!(1), json!(3), json!(-2), json!(0), json!(7.5), json!(11), json!(2500.0), json!(-5)];
    let texts = ["release", "beta", "v1.2.3", "", "größer als 20 Zeichen und mehr", "red"];
    let lists =
        [json!([1, 2, 3]), json!([3, 1, 2, 3]), json!([]), json!([2]), json!(["a", 1, null]), json!([7, 8, 9, 10])];
    let tags = [json!(["red", "green", "blue"]), json!(["green"]), json!([]), json!(["blue", "red"])];
    let objects = [json!({"a": 1, "b": 2}), json!({"a": 1}), json!({}), json!({"z": 0, "a": "x"})];
    let versions = ["1.2.3", "1.2.0-rc.1", "v1.3", "2.0", "not", "10.20.30+build"];
    let times = ["2026-11-21T12:00:00Z", "2025-06-01T00:00:00+02:00", "2026-02-30T00:00:00Z", "yesterday"];
    let addresses = ["10.1.2.3", "192.168.0.1", "2001:db8::1", "nowhere"];
    let documents = [r#"{"ok": true}"#, r#"{"ok": 1"#, "[1, 2]", ""];
    let encoded = ["aGVsbG8=", "aGVsbG8", "!!"];
    let mut cases = Vec::new();
    for at in 0..12 {
        let case = Case::new().await;
        let mut facts = json!({
            "n": numbers[at % numbers.len()],
            "s": texts[at % texts.len()],
            "l": lists[at % lists.len()],
            "t": tags[at % tags.len()],
            "o": objects[at % objects.len()],
            "v": versions[at % versions.len()],
            "at": times[at % times.len()],
            "ip": addresses[at % addresses.len()],
            "j": documents[at % documents.len()],
            "b": encoded[at % encoded.len()],
            "nothing": null,
            "deep": {"er": (["found", "lost"][at % 2])},
        });
        match at {
            // Others of the fields are not there.
            9 => facts.as_object_mut().unwrap().retain(|name, _| name.as_str() < "n"),
            10 => facts.as_object_mut().unwrap().retain(|name, _| name.as_str() >= "n"),
            _ => {}
        }
        if at != 11 {
            case.attest(FACTS, &facts).await;
        }
        if at % 3 == 1 {
            let content = json!({"runDetails": {"builder": {"id": format!("https://builder.example/v{}", at % 2)}}});
            case.attest("https://slsa.dev/provenance/v1", &content).await;
        }
        if at % 4 == 2 {
            case.attest("https://example.com/tests/v1", &json!({"failed": at - 2, "names": ["one", "two"]})).await;
        }
        if at % 2 == 0 {
            case.sign(&case.signer).await;
        }
        if at % 5 == 0 {
            case.sign(&signer(sigstore, sigstore.services(), &Who::person(EMAIL))).await;
        }
        let verifier = verifier(sigstore).trust_key(case.key.clone());
        let report = verifier.inspect(&case.registry, &repo(), &case.subject).await.unwrap();
        cases.push((case, report));
    }
    cases
}

/// Writes what every policy says of every input to the file `SKEP_REGO_PAIRS`; `.ci/judge-opa` compares.
#[tokio::test]
#[ignore = "writes a file for a judge"]
async fn decisions_of_many_policies_are_written_down() {
    let path = std::env::var("SKEP_REGO_PAIRS").unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let sigstore = Sigstore::start().await.unwrap();
    let cases = cases(&sigstore).await;
    let anything = Rego::from_source("anything", "package blob.policy").unwrap();
    for policy in include_str!("../rego/policies.rego").split("\n#") {
        let Some((head, body)) = policy.split_once('\n').filter(|(head, _)| head.starts_with([':', '!'])) else {
            continue;
        };
        let name = head[1..].trim();
        let (imports, rules): (Vec<_>, Vec<_>) = body.lines().partition(|line| line.starts_with("import "));
        let text = format!(
            "package blob.policy\nimport rego.v1\n{}\np := fact.predicate if {{ some fact in input.attestations; fact.predicateType == \"{FACTS}\" }}\n{}\n",
            imports.join("\n"),
            rules.join("\n"),
        );
        let rego = Rego::from_source(name, &text).map(|rego| rego.with_time_limit(Duration::from_secs(1)));
        for (case, report) in &cases {
            let facts = Facts::new(REFERENCE, &case.subject, report);
            let verdict = match &rego {
                Ok(rego) => rego.check(&facts).map(|_| ()).map_err(|refusal| refusal.reasons().to_vec()),
                Err(error) => Err(vec![error.to_string()]),
            };
            let line = json!({
                "policy": name,
                "supported": head.starts_with(':'),
                "text": text,
                "input": anything.input(&facts),
                "allowed": verdict.is_ok(),
                "reasons": verdict.err().unwrap_or_default(),
            });
            writeln!(file, "{line}").unwrap();
        }
    }
    file.flush().unwrap();
}
