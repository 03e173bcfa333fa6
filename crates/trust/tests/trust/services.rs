//! Signing configurations: whose time it is, the best of each operator, and as many as are wanted.

use serde_json::Value;
use serde_json::json;
use skep_trust::Check;
use skep_trust::Error;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::KeySigner;
use skep_trust::PrivateKey;
use skep_trust::Services;
use skep_trust::SignOptions;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
use skep_trust::Witnesses;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

/// A service that is there since a year, until another.
fn service(url: &str, version: u32, operator: &str, since: u32, until: Option<u32>) -> Value {
    let mut valid = json!({"start": format!("{since}-01-01T00:00:00Z")});
    if let Some(until) = until {
        valid["end"] = json!(format!("{until}-01-01T00:00:00Z"));
    }
    json!({"url": url, "majorApiVersion": version, "operator": operator, "validFor": valid})
}

fn config(fields: Value) -> String {
    let mut config = json!({
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [service("https://ca", 1, "a", 2020, None)],
        "oidcUrls": [service("https://id", 1, "a", 2020, None)],
        "rekorTlogUrls": [service("https://log", 1, "a", 2020, None)],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [service("https://time", 1, "a", 2020, None)],
        "tsaConfig": {"selector": "ANY"},
    });
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    config.to_string()
}

/// The services that are chosen, as they would be given.
fn chosen(fields: Value) -> Result<Witnesses, String> {
    let services = Services::from_signing_config(&config(fields)).map_err(|error| error.to_string())?;
    Ok(services.witnesses().clone())
}

#[test]
fn the_newest_of_the_highest_version_whose_time_it_is_is_chosen() {
    let log = |url, version| match Witnesses::default().with_timestamps("https://time") {
        witnesses if version == 2 => witnesses.with_log_tiles(url),
        witnesses => witnesses.with_log(url),
    };
    let logs = |services: Value| chosen(json!({"rekorTlogUrls": services}));
    let old = || service("https://1", 1, "a", 2020, None);
    assert_eq!(logs(json!([old()])), Ok(log("https://1", 1)));
    let tiles = |url, since, until| service(url, 2, "a", since, until);
    assert_eq!(logs(json!([old(), tiles("https://2025", 2025, None)])), Ok(log("https://2025", 2)));
    let both = json!([tiles("https://2024", 2024, None), tiles("https://2025", 2025, None)]);
    assert_eq!(logs(both), Ok(log("https://2025", 2)));
    // Over, and not yet.
    let over = json!([tiles("https://over", 2020, Some(2021)), tiles("https://soon", 2999, None), old()]);
    assert_eq!(logs(over), Ok(log("https://1", 1)));
    // Of a version that is not known.
    assert_eq!(logs(json!([service("https://3", 3, "a", 2020, None), old()])), Ok(log("https://1", 1)));
    let error = logs(json!([tiles("https://over", 2020, Some(2021))])).unwrap_err();
    assert!(error.contains("no transparency log of version [2, 1] whose time it is, of 1 there"), "{error}");
}

#[test]
fn as_many_as_are_wanted_are_chosen_each_of_another_operator() {
    let stamps = |selector: Value| {
        let tsa = json!([
            service("https://a1", 1, "a", 2024, None),
            service("https://a2", 1, "a", 2025, None),
            service("https://b", 1, "b", 2023, None),
        ]);
        chosen(json!({"tsaUrls": tsa, "tsaConfig": selector}))
    };
    let base = || Witnesses::default().with_log("https://log");
    assert_eq!(stamps(json!({"selector": "ANY"})), Ok(base().with_timestamps("https://a2")));
    let both = base().with_timestamps("https://a2").with_timestamps("https://b");
    assert_eq!(stamps(json!({"selector": "EXACT", "count": 2})), Ok(both.clone()));
    assert_eq!(stamps(json!({"selector": "ALL"})), Ok(both));
    for (selector, why) in [
        (json!({"selector": "EXACT", "count": 3}), "timestamp authority: wanted 3 of different operators, got 2"),
        (json!({"selector": "EXACT"}), "timestamp authority: wanted 0 of different operators"),
        (json!({"selector": "SERVICE_SELECTOR_UNDEFINED"}), "timestamp authority: wanted ALL, ANY or EXACT"),
        (json!({"selector": "MOST"}), "unknown variant `MOST`"),
    ] {
        let error = stamps(selector).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn somebody_has_to_certify_and_to_vouch_for_the_time() {
    let without = |names: &[&str], version: u32| {
        let mut fields = json!({"rekorTlogUrls": [service("https://log", version, "a", 2020, None)]});
        for name in names {
            fields[*name] = json!([]);
        }
        chosen(fields)
    };
    assert!(without(&["tsaUrls"], 1).is_ok(), "a log of version 1 gives a time");
    assert!(without(&["rekorTlogUrls"], 1).is_ok(), "a Sigstore without logs, as GitHub's");
    assert!(without(&["tsaUrls"], 2).unwrap_err().contains("nobody vouches for the time"));
    assert!(without(&["tsaUrls", "rekorTlogUrls"], 1).unwrap_err().contains("nobody vouches for the time"));
    assert!(without(&["caUrls"], 1).unwrap_err().contains("no authority of certificates"));
    let config = config(json!({"caUrls": [], "oidcUrls": []}));
    assert!(Witnesses::from_signing_config(&config).is_ok(), "a key needs no certificate");
    let error = Services::from_signing_config("{}").unwrap_err();
    assert!(matches!(error, Error::Trust { .. }), "{error}");
    let other = config.replace("v0.2+json", "v0.9+json");
    assert!(Witnesses::from_signing_config(&other).is_err());
}

#[test]
fn the_services_of_the_public_sigstore_are_known() {
    let services = Services::sigstore().unwrap();
    assert_eq!(services.issuer(), Some(skep_trust::IdentityToken::ISSUER));
}

#[tokio::test]
async fn several_logs_and_authorities_all_vouch_for_a_signature() {
    let (one, other) = (Sigstore::start().await.unwrap(), Sigstore::start().await.unwrap());
    let both = |path: &str, version| {
        let urls = [(one.url(), "a"), (other.url(), "b")];
        json!(urls.map(|(url, operator)| service(&format!("{url}{path}"), version, operator, 2020, None)))
    };
    let exact = json!({"selector": "EXACT", "count": 2});
    let config = config(json!({
        "caUrls": [service(one.url(), 1, "a", 2020, None)],
        "rekorTlogUrls": both("", 2), "rekorTlogConfig": exact,
        "tsaUrls": both("/timestamp", 1), "tsaConfig": exact,
    }));
    let mut root: Value = serde_json::from_str(&one.trusted_root()).unwrap();
    let second: Value = serde_json::from_str(&other.trusted_root()).unwrap();
    for name in ["tlogs", "timestampAuthorities"] {
        root[name].as_array_mut().unwrap().extend(second[name].as_array().unwrap().clone());
    }
    let root = TrustedRoot::from_json(&root.to_string(), Evidence::default()).unwrap();
    let key = PrivateKey::generate().unwrap();
    let verifier = Verifier::default().trust_root(&root).unwrap().accept(IdentityPattern::anyone());
    let verifier = verifier.trust_key(key.public_key().clone()).require_key_log(true);
    let (registry, subject) = site().await;
    let services = Services::from_signing_config(&config).unwrap();
    let person = signer(&one, services, &Who::person(EMAIL));
    sign(&registry, &repo(), &subject, &person, &SignOptions::default()).await.unwrap();
    let key = KeySigner::new(key).with_witnesses(Witnesses::from_signing_config(&config).unwrap());
    sign(&registry, &repo(), &subject, &key, &SignOptions::default()).await.unwrap();
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    assert_eq!(report.signatures().count(), 2, "{report}");
    for verified in report.signatures() {
        assert_eq!((verified.log_entries().len(), verified.times().len()), (2, 2));
        assert!(verified.checks().contains(&Check::Log) && verified.checks().contains(&Check::Timestamp));
    }
    // One of the two that is not known is one too many.
    let verifier = Verifier::default().trust_root(&crate::common::root(&one)).unwrap();
    let report = verifier.accept(IdentityPattern::anyone()).inspect(&registry, &repo(), &subject).await.unwrap();
    assert_eq!(report.verified, [], "{report}");
}
