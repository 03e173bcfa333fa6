//! Over the wire: signatures are attached and found whatever the registry knows of referrers.

use std::sync::Arc;

use bytes::Bytes;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::Server;
use skep_http::testing::Profile;
use skep_http::testing::Quirky;
use skep_http::testing::Referrers;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::media_type;
use skep_trust::KeySigner;
use skep_trust::PrivateKey;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::Subject;
use skep_trust::Verifier;
use skep_trust::sign;
use tokio::net::TcpListener;

use crate::common::*;

#[tokio::test]
async fn signatures_are_attached_and_found_in_registries_of_every_product() {
    let mut without_list = 0;
    for (name, profile) in Profile::all() {
        // These take images only; nothing that is no image can be stored there, by nobody.
        if profile.only_images {
            continue;
        }
        without_list += usize::from(profile.referrers != Referrers::Listed);
        let profile = Profile { repos_must_exist: false, ..profile };
        let login = profile.login.clone();
        let credential = login.map(|login| Credential::Basic { user: login.user, password: login.password });
        let service = Quirky::new(Server::new(Arc::new(Memory::default())), profile);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(skep_http::serve(listener, service, std::future::pending()));
        let credentials = Arc::new(credential.unwrap_or_default());
        let client = Client::new(&host, ClientOptions { credentials, ..ClientOptions::default() }).unwrap();

        let subject = push(&client, name).await;
        let keys = [PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap()];
        let verifier =
            keys.iter().fold(Verifier::default(), |verifier, key| verifier.trust_key(key.public_key().clone()));
        assert!(verifier.inspect(&client, &repo(), &subject).await.unwrap().nearest().is_none(), "{name}");
        for key in keys {
            let signer = KeySigner::new(key);
            for format in [SignFormat::Statement, SignFormat::Message] {
                let options = SignOptions { format, created: None };
                sign(&client, &repo(), &subject, &signer, &options).await.unwrap();
            }
        }
        let report = verifier.inspect(&client, &repo(), &subject).await.unwrap();
        assert_eq!((report.signatures().count(), report.rejected.len()), (4, 0), "{name}: {report}");
        task.abort();
    }
    assert!(without_list >= 3);
}

#[tokio::test]
async fn signatures_that_are_attached_at_once_are_all_kept() {
    // A registry without list and without conditions cannot tell two programs from each other; one takes turns.
    for (referrers, programs) in [(Referrers::Listed, 2), (Referrers::Json, 1)] {
        let profile = Profile { referrers, ..Profile::default() };
        let service = Quirky::new(Server::new(Arc::new(Memory::default())), profile);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(skep_http::serve(listener, service, std::future::pending()));
        let client = |_| Arc::new(Client::new(&host, ClientOptions::default()).unwrap());
        let clients: Vec<_> = (0..programs).map(client).collect();
        let subject = push(&*clients[0], "site").await;
        let mut signers = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (client, subject) = (clients[number % programs].clone(), subject.clone());
            signers.spawn(async move {
                let key = PrivateKey::generate().unwrap();
                let public = key.public_key().clone();
                sign(&*client, &repo(), &subject, &KeySigner::new(key), &SignOptions::default()).await.unwrap();
                public
            });
        }
        let keys = signers.join_all().await;
        let verifier = keys.into_iter().fold(Verifier::default(), Verifier::trust_key);
        let report = verifier.inspect(&*clients[0], &repo(), &subject).await.unwrap();
        assert_eq!(report.signatures().count(), 8, "{referrers:?}: {report}");
        task.abort();
    }
}

#[tokio::test]
async fn images_and_indexes_of_images_are_signed_as_archives_are() {
    let registry = Memory::default();
    let (config, layer) = (&b"{}"[..], &b"layer"[..]);
    let put = async |kind: &str, bytes: &'static [u8]| {
        let descriptor = Descriptor::of(kind, bytes);
        registry.put_blob(&repo(), &descriptor, Body::from(Bytes::from_static(bytes))).await.unwrap();
        descriptor
    };
    let image = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::IMAGE,
        "config": put("application/vnd.oci.image.config.v1+json", config).await,
        "layers": [put("application/vnd.oci.image.layer.v1.tar", layer).await],
    });
    let image = Manifest::new(media_type::IMAGE, image.to_string());
    registry.put_manifest(&repo(), &image, PutManifest::default()).await.unwrap();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [image.descriptor()],
    });
    let index = Manifest::new(media_type::INDEX, index.to_string());
    registry.put_manifest(&repo(), &index, PutManifest::default()).await.unwrap();
    let docker = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": put("application/vnd.docker.container.image.v1+json", config).await,
        "layers": [put("application/vnd.docker.image.rootfs.diff.tar.gzip", layer).await],
    });
    let docker = Manifest::new("application/vnd.docker.distribution.manifest.v2+json", docker.to_string());
    registry.put_manifest(&repo(), &docker, PutManifest::default()).await.unwrap();
    let key = PrivateKey::generate().unwrap();
    let verifier = Verifier::default().trust_key(key.public_key().clone());
    let signer = KeySigner::new(key);
    let manifests = [&image, &index, &docker];
    for (place, manifest) in manifests.into_iter().enumerate() {
        let subject = Subject::from(manifest);
        for format in [SignFormat::Statement, SignFormat::Message] {
            let options = SignOptions { format, created: None };
            sign(&registry, &repo(), &subject, &signer, &options).await.unwrap();
        }
        let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
        assert_eq!((report.signatures().count(), report.rejected.len()), (2, 0), "{report}");
        let verified = report.require_signature().unwrap();
        assert_eq!(verified.subject().media_type, manifest.descriptor().media_type);
        // The signature of an index says nothing of its images by themselves, nor the other way round.
        for later in &manifests[place + 1..] {
            let report = verifier.inspect(&registry, &repo(), &Subject::from(*later)).await.unwrap();
            assert!(report.require_signature().is_err(), "{report}");
        }
    }
}
