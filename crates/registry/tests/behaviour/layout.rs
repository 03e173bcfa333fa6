//! `Layout` keeps every promise of the trait.
#![cfg(feature = "conformance")]

use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::conformance::PROMISES;

skep_registry::conformance_tests!({
    let dir = tempfile::tempdir().unwrap();
    (Layout::tree(dir.path(), LayoutOptions::default()).unwrap(), dir)
});

/// Promises about several repositories, or about one that is not called `a`.
const OF_TREES: [&str; 8] = [
    "blob_round_trips",
    "blobs_belong_to_their_repository",
    "deleted_blob_is_gone",
    "manifest_round_trips",
    "manifest_with_missing_blob_is_refused",
    "mounted_blob_is_there",
    "repositories_are_listed_in_pages",
    "upload_in_parts_makes_a_blob",
];

#[tokio::test]
async fn one_layout_keeps_the_promises_about_one_repository() {
    for (name, promise) in PROMISES.iter().filter(|(name, _)| !OF_TREES.contains(name)) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::single(dir.path(), "a".parse().unwrap(), LayoutOptions::default()).unwrap();
        println!("{name}");
        promise(&layout).await;
    }
}
