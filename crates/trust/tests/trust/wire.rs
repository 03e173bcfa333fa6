//! Over the wire: signatures are attached and found whatever the registry knows of referrers.

use std::sync::Arc;

use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::Server;
use skep_http::testing::Profile;
use skep_http::testing::Quirky;
use skep_http::testing::Referrers;
use skep_registry::Memory;
use skep_trust::KeySigner;
use skep_trust::PrivateKey;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
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
