//! The promises of the trait, kept over HTTP: by a client of a server, and by a client of a proxy.

mod over_memory {
    skep_registry::conformance_tests!({
        let server = crate::support::memory().await;
        (server.client(), server)
    });
}

mod over_a_proxy {
    skep_registry::conformance_tests!({
        let origin = crate::support::memory().await;
        let proxy = crate::support::Served::new(std::sync::Arc::new(origin.client())).await;
        (proxy.client(), (proxy, origin))
    });
}

mod over_a_layout {
    skep_registry::conformance_tests!({
        let dir = tempfile::tempdir().unwrap();
        let layout = skep_registry::Layout::tree(dir.path(), Default::default()).unwrap();
        let server = crate::support::Served::new(std::sync::Arc::new(layout)).await;
        (server.client(), (server, dir))
    });
}

mod over_a_registry_that_ignores_ranges {
    skep_registry::conformance_tests!({
        let odd = crate::support::odd::Odd { ignores_ranges: true, ..Default::default() };
        let server = crate::support::Served::new(std::sync::Arc::new(odd)).await;
        (server.client(), server)
    });
}

/// Over registries that behave as others do: what cannot be promised there is named, and nothing else fails.
#[cfg(feature = "testing")]
mod over_imitations {
    use skep_http::testing::Profile;
    use skep_registry::conformance::PROMISES;

    /// The promises that do not hold.
    async fn broken(profile: Profile) -> Vec<&'static str> {
        let mut broken = Vec::new();
        for (name, promise) in PROMISES {
            let (client, _server) = crate::support::quirky(profile.clone()).await;
            // A promise that is broken panics.
            if tokio::spawn(async move { promise(&client).await }).await.is_err() {
                broken.push(*name);
            }
        }
        broken
    }

    #[tokio::test]
    async fn artifactory() {
        assert_eq!(
            broken(Profile::artifactory()).await,
            ["upload_in_parts_makes_a_blob", "dropped_upload_can_be_resumed"]
        );
    }

    #[tokio::test]
    async fn before_1_1() {
        assert_eq!(broken(Profile::before_1_1()).await, [""; 0]);
    }

    #[tokio::test]
    async fn distribution2() {
        assert_eq!(
            broken(Profile::distribution2()).await,
            [
                "unknown_repository_has_nothing",
                "sha512_manifest_round_trips",
                "unknown_manifest_is_not_found",
                "deleted_tag_leaves_the_manifest"
            ]
        );
    }

    #[tokio::test]
    async fn docker_hub() {
        assert_eq!(
            broken(Profile::docker_hub()).await,
            [
                "unknown_blob_is_not_found",
                "unknown_repository_has_nothing",
                "deleted_blob_is_gone",
                "mounted_blob_is_there",
                "unknown_manifest_is_not_found",
                "deleted_tag_leaves_the_manifest",
                "deleted_manifest_takes_its_tags",
                "referrers_are_found_by_subject",
                "repositories_are_listed_in_pages"
            ]
        );
    }

    #[tokio::test]
    async fn ecr() {
        assert_eq!(
            broken(Profile::ecr()).await,
            [
                "upload_in_parts_makes_a_blob",
                "dropped_upload_can_be_resumed",
                "fresh_upload_can_be_resumed",
                "broken_part_leaves_a_sound_upload",
                "concurrent_uploads_are_separate"
            ]
        );
    }

    #[tokio::test]
    async fn ghcr() {
        assert_eq!(
            broken(Profile::ghcr()).await,
            [
                "unknown_blob_is_not_found",
                "unknown_repository_has_nothing",
                "deleted_blob_is_gone",
                "mounted_blob_is_there",
                "unknown_manifest_is_not_found",
                "deleted_tag_leaves_the_manifest",
                "deleted_manifest_takes_its_tags",
                "referrers_are_found_by_subject"
            ]
        );
    }

    #[tokio::test]
    async fn google() {
        assert_eq!(
            broken(Profile::google()).await,
            [
                "upload_in_parts_makes_a_blob",
                "upload_may_be_committed_by_sha512",
                "upload_with_wrong_digest_stores_nothing",
                "dropped_upload_can_be_resumed",
                "broken_part_leaves_a_sound_upload",
                "concurrent_uploads_are_separate",
                "deleted_manifest_takes_its_tags"
            ]
        );
    }

    #[tokio::test]
    async fn nginx() {
        assert_eq!(broken(Profile::nginx()).await, ["streamed_blob_round_trips", "oversized_manifest_is_refused"]);
    }

    /// Where the configs of the suite are allowed.
    #[tokio::test]
    async fn quay() {
        assert_eq!(
            broken(Profile { only_images: false, ..Profile::quay() }).await,
            ["unknown_repository_has_nothing", "unknown_manifest_is_not_found", "deleted_tag_leaves_the_manifest"]
        );
    }
}
