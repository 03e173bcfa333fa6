//! The promises of the [`Registry`] trait, each a test function that any implementation must pass.
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each promise:
//!
//! ```
//! # use skep_registry::Memory;
//! // An expression that makes an empty registry, and whatever must live as long as it.
//! skep_registry::conformance_tests!((Memory::default(), ()));
//! # fn main() {}
//! ```
//!
//! The functions panic when a promise is broken. Each wants a registry that is empty.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;

use crate::body::Body;
use crate::body::ByteRange;
use crate::descriptor::Descriptor;
use crate::descriptor::OCTET_STREAM;
use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::ext::RegistryExt;
use crate::manifest::MAX_MANIFEST;
use crate::manifest::Manifest;
use crate::manifest::ManifestContent;
use crate::manifest::media_type;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Mount;
use crate::registry::PutManifest;
use crate::registry::ReferrerQuery;
use crate::registry::Registry;
use crate::registry::UploadOptions;

/// A promise and its name.
pub type Promise = (&'static str, for<'a> fn(&'a dyn Registry) -> BoxFuture<'a, ()>);

macro_rules! promises {
    (($d:tt) $($(#[$doc:meta])* async fn $name:ident($registry:ident: &dyn Registry) $body:block)*) => {
        $($(#[$doc])* pub async fn $name($registry: &dyn Registry) $body)*

        /// Every promise.
        pub const PROMISES: &[Promise] = &[$((stringify!($name), |registry| Box::pin($name(registry)))),*];

        /// Makes a test of each promise of the trait.
        ///
        /// The argument is an expression in an async block: a pair of an empty registry and of anything
        /// that has to be kept while it is in use, a temporary directory or a server for instance.
        #[macro_export]
        macro_rules! conformance_tests {
            ($d make:expr) => {$(
                #[tokio::test]
                async fn $name() {
                    let (registry, _kept) = $d make;
                    $crate::conformance::$name(&registry).await;
                }
            )*};
        }
    };
}

promises! {
    ($)

    /// What was stored comes back.
    async fn blob_round_trips(registry: &dyn Registry) {
        let blob = put(registry, "a/b", b"hello").await;
        let got = registry.get_blob(&repo("a/b"), &blob.digest, None).await.unwrap();
        assert_eq!((got.descriptor.digest, got.descriptor.size, got.range), (blob.digest, 5, 0..5));
        assert_eq!(got.body.bytes(100).await.unwrap(), "hello");
    }

    /// A blob may have no bytes.
    async fn empty_blob_round_trips(registry: &dyn Registry) {
        let blob = put(registry, "a", b"").await;
        let got = registry.get_blob(&repo("a"), &blob.digest, None).await.unwrap();
        assert_eq!((got.descriptor.size, got.range), (0, 0..0));
        assert_eq!(got.body.bytes(0).await.unwrap(), "");
    }

    /// Blobs may be addressed by SHA-512.
    async fn sha512_blob_round_trips(registry: &dyn Registry) {
        let blob = Descriptor::new(OCTET_STREAM, Digest::of(Algorithm::Sha512, b"hello"), 5);
        registry.put_blob(&repo("a"), &blob, Body::from(Bytes::from("hello"))).await.unwrap();
        assert_eq!(registry.read_blob(&repo("a"), &blob.digest, 100).await.unwrap(), "hello");
        assert_eq!(registry.head_blob(&repo("a"), &blob.digest).await.unwrap().digest, blob.digest);
    }

    /// A blob may come in many parts and need not say its length beforehand.
    async fn streamed_blob_round_trips(registry: &dyn Registry) {
        let content = noise(3 << 20);
        let parts: Vec<_> = content.chunks(70_001).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let descriptor = Descriptor::of(OCTET_STREAM, &content);
        registry.put_blob(&repo("a"), &descriptor, Body::new(None, stream::iter(parts))).await.unwrap();
        assert!(registry.read_blob(&repo("a"), &descriptor.digest, 4 << 20).await.unwrap() == content);
    }

    /// A blob is described by size and digest.
    async fn head_blob_tells_size_and_digest(registry: &dyn Registry) {
        let blob = put(registry, "a", b"hello").await;
        let head = registry.head_blob(&repo("a"), &blob.digest).await.unwrap();
        assert_eq!((head.digest, head.size), (blob.digest, 5));
    }

    /// What is not there is not found.
    async fn unknown_blob_is_not_found(registry: &dyn Registry) {
        put(registry, "a", b"other").await;
        let digest = Digest::sha256(b"hello");
        let error = registry.get_blob(&repo("a"), &digest, None).await.unwrap_err();
        assert_eq!(error.code(), &Code::BlobUnknown);
        let error = registry.get_blob(&repo("a"), &digest, Some(ByteRange::From(1))).await.unwrap_err();
        assert_eq!(error.code(), &Code::BlobUnknown);
        let error = registry.head_blob(&repo("a"), &digest).await.unwrap_err();
        assert_eq!(error.code(), &Code::BlobUnknown);
        let error = registry.delete_blob(&repo("a"), &digest).await.unwrap_err();
        assert_eq!(error.code(), &Code::BlobUnknown);
        assert!(!registry.has_blob(&repo("a"), &digest).await.unwrap());
    }

    /// A repository that does not exist has nothing.
    async fn unknown_repository_has_nothing(registry: &dyn Registry) {
        let (repo, digest) = (repo("no/where"), Digest::sha256(b"hello"));
        assert!(registry.get_blob(&repo, &digest, None).await.unwrap_err().is_not_found());
        assert!(registry.head_blob(&repo, &digest).await.unwrap_err().is_not_found());
        assert!(registry.delete_blob(&repo, &digest).await.unwrap_err().is_not_found());
        let reference = ManifestRef::Tag(tag("latest"));
        assert!(registry.get_manifest(&repo, &reference).await.unwrap_err().is_not_found());
        assert!(registry.head_manifest(&repo, &reference).await.unwrap_err().is_not_found());
        assert!(registry.delete_manifest(&repo, &reference).await.unwrap_err().is_not_found());
        let error = registry.list_tags(&repo, &Page::default()).await.unwrap_err();
        assert_eq!(error.code(), &Code::NameUnknown);
    }

    /// A range gives those bytes, and says so.
    async fn range_gives_those_bytes(registry: &dyn Registry) {
        let blob = put(registry, "a", b"hello world").await;
        for (range, want, text) in [
            (ByteRange::Span(1, 5), 1..5, "ello"),
            (ByteRange::Span(0, 1), 0..1, "h"),
            (ByteRange::Span(3, 500), 3..11, "lo world"),
            (ByteRange::Span(0, 11), 0..11, "hello world"),
            (ByteRange::From(6), 6..11, "world"),
            (ByteRange::From(0), 0..11, "hello world"),
            (ByteRange::Last(5), 6..11, "world"),
            (ByteRange::Last(500), 0..11, "hello world"),
        ] {
            let got = registry.get_blob(&repo("a"), &blob.digest, Some(range)).await.unwrap();
            assert_eq!(got.descriptor.size, 11, "{range}");
            let body = got.narrow(want).unwrap();
            assert_eq!(body.bytes(100).await.unwrap(), text, "{range}");
        }
    }

    /// A range without a byte is an error.
    async fn range_past_end_is_range_invalid(registry: &dyn Registry) {
        let blob = put(registry, "a", b"hello").await;
        for range in [ByteRange::From(5), ByteRange::Span(5, 6), ByteRange::Span(500, 600)] {
            let error = registry.get_blob(&repo("a"), &blob.digest, Some(range)).await.unwrap_err();
            assert_eq!(error.code(), &Code::RangeInvalid, "{range}");
        }
    }

    /// A blob that is not what it was said to be is not stored.
    async fn put_blob_with_wrong_content_stores_nothing(registry: &dyn Registry) {
        put(registry, "a", b"other").await;
        let right = Descriptor::of(OCTET_STREAM, b"hello");
        for (content, code) in [("hellO", Code::DigestInvalid), ("hell", Code::SizeInvalid), ("hello!", Code::SizeInvalid)] {
            let body = Body::new(None, stream::iter([Ok(Bytes::from(content))]));
            let error = registry.put_blob(&repo("a"), &right, body).await.unwrap_err();
            // A registry that was not told the size beforehand sees only that the digest is wrong.
            assert!(*error.code() == code || *error.code() == Code::DigestInvalid, "{content}: {error}");
            assert!(!registry.has_blob(&repo("a"), &right.digest).await.unwrap(), "{content}");
        }
    }

    /// A body that breaks off stores nothing.
    async fn put_blob_with_broken_body_stores_nothing(registry: &dyn Registry) {
        let blob = Descriptor::of(OCTET_STREAM, b"hello");
        let error = registry.put_blob(&repo("a"), &blob, broken("hel")).await;
        assert!(error.is_err());
        assert!(!registry.has_blob(&repo("a"), &blob.digest).await.unwrap());
        put(registry, "a", b"hello").await;
    }

    /// Storing what is there already changes nothing.
    async fn put_blob_twice_is_fine(registry: &dyn Registry) {
        put(registry, "a", b"hello").await;
        let blob = put(registry, "a", b"hello").await;
        assert_eq!(registry.read_blob(&repo("a"), &blob.digest, 100).await.unwrap(), "hello");
    }

    /// What is in one repository is not in another.
    async fn blobs_belong_to_their_repository(registry: &dyn Registry) {
        let blob = put(registry, "a/b", b"hello").await;
        put(registry, "a", b"other").await;
        put(registry, "a/b/c", b"other").await;
        for other in ["a", "a/b/c"] {
            assert!(!registry.has_blob(&repo(other), &blob.digest).await.unwrap(), "{other}");
        }
    }

    /// Deleted blobs are gone, others are not.
    async fn deleted_blob_is_gone(registry: &dyn Registry) {
        let blob = put(registry, "a", b"hello").await;
        let other = put(registry, "a", b"other").await;
        let elsewhere = put(registry, "b", b"hello").await;
        registry.delete_blob(&repo("a"), &blob.digest).await.unwrap();
        assert!(!registry.has_blob(&repo("a"), &blob.digest).await.unwrap());
        assert!(registry.has_blob(&repo("a"), &other.digest).await.unwrap());
        assert_eq!(registry.read_blob(&repo("b"), &elsewhere.digest, 100).await.unwrap(), "hello");
    }

    /// If a registry says where else a blob is, it says it of one that is there.
    async fn locate_blob_answers_for_a_blob(registry: &dyn Registry) {
        let blob = put(registry, "a", b"hello").await;
        registry.locate_blob(&repo("a"), &blob.digest).await.unwrap();
    }

    /// A mounted blob is there, and stays when it is deleted where it came from.
    async fn mounted_blob_is_there(registry: &dyn Registry) {
        let blob = put(registry, "a", b"hello").await;
        for from in [Some(repo("a")), None] {
            let target = repo(if from.is_some() { "b" } else { "c" });
            match registry.mount_blob(&target, &blob.digest, from.as_ref()).await {
                Ok(Mount::Mounted) => {
                    assert_eq!(registry.read_blob(&target, &blob.digest, 100).await.unwrap(), "hello");
                }
                Ok(Mount::Upload(mut upload)) => {
                    upload.append(Body::from(Bytes::from("hello"))).await.unwrap();
                    upload.commit(&blob.digest).await.unwrap();
                    assert!(registry.has_blob(&target, &blob.digest).await.unwrap());
                }
                Err(error) => assert_eq!(error.code(), &Code::Unsupported),
            }
        }
        registry.delete_blob(&repo("a"), &blob.digest).await.unwrap();
        put(registry, "b", b"hello").await;
        assert_eq!(registry.read_blob(&repo("b"), &blob.digest, 100).await.unwrap(), "hello");
    }

    /// What is not there cannot be mounted.
    async fn mount_of_unknown_blob_mounts_nothing(registry: &dyn Registry) {
        put(registry, "a", b"other").await;
        let digest = Digest::sha256(b"hello");
        for from in [Some(repo("a")), Some(repo("no/where")), None] {
            match registry.mount_blob(&repo("b"), &digest, from.as_ref()).await {
                Ok(Mount::Mounted) => panic!("mounted from {from:?} what is not there"),
                Ok(Mount::Upload(upload)) => upload.cancel().await.unwrap(),
                Err(error) => assert!(error.is_not_found() || *error.code() == Code::Unsupported, "{error}"),
            }
            assert!(!registry.has_blob(&repo("b"), &digest).await.unwrap());
        }
    }

    /// A blob may be uploaded in parts; the offset counts them.
    async fn upload_in_parts_makes_a_blob(registry: &dyn Registry) {
        let mut upload = registry.upload_blob(&repo("a/b"), UploadOptions::default()).await.unwrap();
        assert_eq!(upload.offset(), 0);
        let parts = [noise(100_000), noise(7), noise(200_000)];
        let mut all = Vec::new();
        for part in &parts {
            upload.append(Body::from(Bytes::from(part.clone()))).await.unwrap();
            all.extend_from_slice(part);
            assert_eq!(upload.offset(), all.len() as u64);
        }
        let digest = Digest::sha256(&all);
        assert!(!registry.has_blob(&repo("a/b"), &digest).await.unwrap(), "visible before commit");
        let descriptor = upload.commit(&digest).await.unwrap();
        assert_eq!(descriptor.digest, digest);
        assert!(registry.read_blob(&repo("a/b"), &digest, 1 << 20).await.unwrap() == all);
    }

    /// An upload without parts is the empty blob.
    async fn upload_of_nothing_is_the_empty_blob(registry: &dyn Registry) {
        let upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.commit(&Digest::sha256(b"")).await.unwrap();
        assert_eq!(registry.read_blob(&repo("a"), &Digest::sha256(b""), 1).await.unwrap(), "");
    }

    /// Uploads may be committed under SHA-512, announced or not.
    async fn upload_may_be_committed_by_sha512(registry: &dyn Registry) {
        for algorithm in Algorithm::ALL {
            let options = UploadOptions { algorithm, ..Default::default() };
            let mut upload = registry.upload_blob(&repo("a"), options).await.unwrap();
            upload.append(Body::from(Bytes::from(algorithm.as_str()))).await.unwrap();
            let digest = Digest::of(Algorithm::Sha512, algorithm.as_str().as_bytes());
            upload.commit(&digest).await.unwrap();
            assert_eq!(registry.read_blob(&repo("a"), &digest, 10).await.unwrap(), algorithm.as_str());
        }
    }

    /// An upload of other bytes than promised stores nothing.
    async fn upload_with_wrong_digest_stores_nothing(registry: &dyn Registry) {
        let mut upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.append(Body::from(Bytes::from("hello"))).await.unwrap();
        let digest = Digest::sha256(b"hellO");
        assert_eq!(upload.commit(&digest).await.unwrap_err().code(), &Code::DigestInvalid);
        assert!(!registry.has_blob(&repo("a"), &digest).await.unwrap());
        assert!(!registry.has_blob(&repo("a"), &Digest::sha256(b"hello")).await.unwrap());
    }

    /// A dropped upload can be taken up again.
    async fn dropped_upload_can_be_resumed(registry: &dyn Registry) {
        let mut upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.append(Body::from(Bytes::from("hello"))).await.unwrap();
        let options = UploadOptions { resume: Some(upload.id().to_owned()), ..Default::default() };
        drop(upload);
        let mut upload = registry.upload_blob(&repo("a"), options).await.unwrap();
        assert_eq!(upload.offset(), 5);
        upload.append(Body::from(Bytes::from(" world"))).await.unwrap();
        let digest = Digest::sha256(b"hello world");
        upload.commit(&digest).await.unwrap();
        assert_eq!(registry.read_blob(&repo("a"), &digest, 100).await.unwrap(), "hello world");
    }

    /// An upload without bytes can be resumed, and has none then.
    async fn fresh_upload_can_be_resumed(registry: &dyn Registry) {
        let upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        let options = UploadOptions { resume: Some(upload.id().to_owned()), ..Default::default() };
        let upload = registry.upload_blob(&repo("a"), options).await.unwrap();
        assert_eq!(upload.offset(), 0);
        upload.cancel().await.unwrap();
    }

    /// After a part that broke off, the offset that a resumed upload states is the truth.
    async fn broken_part_leaves_a_sound_upload(registry: &dyn Registry) {
        let mut upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.append(Body::from(Bytes::from("hello"))).await.unwrap();
        upload.append(broken(" wor")).await.unwrap_err();
        let options = UploadOptions { resume: Some(upload.id().to_owned()), ..Default::default() };
        drop(upload);
        let mut upload = registry.upload_blob(&repo("a"), options).await.unwrap();
        let at = upload.offset() as usize;
        assert!((5..=9).contains(&at), "{at}");
        upload.append(Body::from(Bytes::from(&"hello world"[at..]))).await.unwrap();
        upload.commit(&Digest::sha256(b"hello world")).await.unwrap();
    }

    /// Cancelled and unknown uploads cannot be resumed.
    async fn unknown_upload_cannot_be_resumed(registry: &dyn Registry) {
        let upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        let id = upload.id().to_owned();
        upload.cancel().await.unwrap();
        let options = UploadOptions { resume: Some(id), ..Default::default() };
        let error = registry.upload_blob(&repo("a"), options).await.unwrap_err();
        assert_eq!(error.code(), &Code::BlobUploadUnknown);
    }

    /// Uploads at the same time do not mix.
    async fn concurrent_uploads_are_separate(registry: &dyn Registry) {
        let mut one = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        let mut two = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        assert_ne!(one.id(), two.id());
        one.append(Body::from(Bytes::from("he"))).await.unwrap();
        two.append(Body::from(Bytes::from("wor"))).await.unwrap();
        one.append(Body::from(Bytes::from("llo"))).await.unwrap();
        two.append(Body::from(Bytes::from("ld"))).await.unwrap();
        one.commit(&Digest::sha256(b"hello")).await.unwrap();
        two.commit(&Digest::sha256(b"world")).await.unwrap();
    }

    /// A manifest comes back, byte for byte, by tag and by digest.
    async fn manifest_round_trips(registry: &dyn Registry) {
        let spaced = format!(" {}\n", image(registry, "a/b", "1").await);
        let manifest = Manifest::new(media_type::IMAGE, spaced);
        put_manifest(registry, "a/b", &manifest, &["latest"]).await.unwrap();
        for reference in [ManifestRef::Tag(tag("latest")), manifest.digest().clone().into()] {
            assert_eq!(registry.get_manifest(&repo("a/b"), &reference).await.unwrap(), manifest);
            assert_eq!(&registry.head_manifest(&repo("a/b"), &reference).await.unwrap(), manifest.descriptor());
        }
    }

    /// A manifest needs no tag.
    async fn manifest_without_tag_is_found_by_digest(registry: &dyn Registry) {
        let manifest = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        put_manifest(registry, "a", &manifest, &[]).await.unwrap();
        let got = registry.get_manifest(&repo("a"), &manifest.digest().clone().into()).await.unwrap();
        assert_eq!(got, manifest);
        assert_eq!(all_tags(registry, "a").await, [""; 0]);
    }

    /// Manifests may be addressed by SHA-512.
    async fn sha512_manifest_round_trips(registry: &dyn Registry) {
        let bytes = image(registry, "a", "1").await;
        let manifest = Manifest::with_algorithm(media_type::IMAGE, Algorithm::Sha512, bytes);
        put_manifest(registry, "a", &manifest, &[]).await.unwrap();
        let got = registry.get_manifest(&repo("a"), &manifest.digest().clone().into()).await.unwrap();
        assert_eq!(got, manifest);
    }

    /// One call may set several tags.
    async fn several_tags_are_set_at_once(registry: &dyn Registry) {
        let manifest = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        put_manifest(registry, "a", &manifest, &["v1", "v1.2", "latest"]).await.unwrap();
        assert_eq!(all_tags(registry, "a").await, ["latest", "v1", "v1.2"]);
        let got = registry.get_manifest(&repo("a"), &tag("v1.2").into()).await.unwrap();
        assert_eq!(got.digest(), manifest.digest());
    }

    /// A tag moves; what it pointed to stays.
    async fn tags_move(registry: &dyn Registry) {
        let one = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        let two = Manifest::new(media_type::IMAGE, image(registry, "a", "2").await);
        put_manifest(registry, "a", &one, &["latest"]).await.unwrap();
        put_manifest(registry, "a", &two, &["latest"]).await.unwrap();
        assert_eq!(registry.get_manifest(&repo("a"), &tag("latest").into()).await.unwrap(), two);
        assert_eq!(registry.get_manifest(&repo("a"), &one.digest().clone().into()).await.unwrap(), one);
        assert_eq!(all_tags(registry, "a").await, ["latest"]);
    }

    /// A tag that was to be new and points elsewhere does not move.
    async fn if_absent_moves_no_tag(registry: &dyn Registry) {
        let one = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        let two = Manifest::new(media_type::IMAGE, image(registry, "a", "2").await);
        let options = || PutManifest { tags: vec![tag("v1")], if_absent: true };
        registry.put_manifest(&repo("a"), &one, options()).await.unwrap();
        registry.put_manifest(&repo("a"), &one, options()).await.unwrap();
        let error = registry.put_manifest(&repo("a"), &two, options()).await.unwrap_err();
        assert_eq!(error.code(), &Code::PreconditionFailed);
        assert_eq!(registry.get_manifest(&repo("a"), &tag("v1").into()).await.unwrap(), one);
    }

    /// Manifests that are not there are not found.
    async fn unknown_manifest_is_not_found(registry: &dyn Registry) {
        put(registry, "a", b"other").await;
        for reference in [ManifestRef::Tag(tag("latest")), Digest::sha256(b"hello").into()] {
            let error = registry.get_manifest(&repo("a"), &reference).await.unwrap_err();
            assert_eq!(error.code(), &Code::ManifestUnknown);
            let error = registry.head_manifest(&repo("a"), &reference).await.unwrap_err();
            assert_eq!(error.code(), &Code::ManifestUnknown);
            let error = registry.delete_manifest(&repo("a"), &reference).await.unwrap_err();
            assert_eq!(error.code(), &Code::ManifestUnknown);
        }
    }

    /// A blob is not a manifest.
    async fn blob_is_not_a_manifest(registry: &dyn Registry) {
        let blob = put(registry, "a", image(registry, "a", "1").await.as_bytes()).await;
        let error = registry.get_manifest(&repo("a"), &blob.digest.into()).await.unwrap_err();
        assert_eq!(error.code(), &Code::ManifestUnknown);
    }

    /// A manifest whose blobs are not there is refused.
    async fn manifest_with_missing_blob_is_refused(registry: &dyn Registry) {
        let config = put(registry, "a", b"{}").await;
        put(registry, "b", b"layer").await;
        let content = ManifestContent {
            schema_version: 2,
            media_type: Some(media_type::IMAGE.to_owned()),
            config: Some(config),
            layers: Some(vec![Descriptor::of("text/plain", b"layer")]),
            ..Default::default()
        };
        let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
        let error = put_manifest(registry, "a", &manifest, &["latest"]).await.unwrap_err();
        assert_eq!(error.code(), &Code::ManifestBlobUnknown);
        assert!(registry.get_manifest(&repo("a"), &tag("latest").into()).await.unwrap_err().is_not_found());
    }

    /// Content with addresses of its own need not be there.
    async fn manifest_with_foreign_layer_is_stored(registry: &dyn Registry) {
        let config = put(registry, "a", b"{}").await;
        let foreign = Descriptor {
            urls: vec!["https://example.com/layer".to_owned()],
            ..Descriptor::of("application/vnd.oci.image.layer.nondistributable.v1.tar", b"layer")
        };
        let content = ManifestContent {
            schema_version: 2,
            media_type: Some(media_type::IMAGE.to_owned()),
            config: Some(config),
            layers: Some(vec![foreign]),
            ..Default::default()
        };
        let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
        put_manifest(registry, "a", &manifest, &["latest"]).await.unwrap();
    }

    /// An index is stored when its manifests are there, and refused when they are not.
    async fn index_needs_its_manifests(registry: &dyn Registry) {
        let child = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        let content = ManifestContent {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests: Some(vec![child.descriptor().clone()]),
            ..Default::default()
        };
        let index = Manifest::new(media_type::INDEX, content.to_bytes());
        let error = put_manifest(registry, "a", &index, &["all"]).await.unwrap_err();
        assert_eq!(error.code(), &Code::ManifestBlobUnknown);
        put_manifest(registry, "a", &child, &[]).await.unwrap();
        put_manifest(registry, "a", &index, &["all"]).await.unwrap();
        assert_eq!(registry.get_manifest(&repo("a"), &tag("all").into()).await.unwrap(), index);
        assert_eq!(registry.get_manifest(&repo("a"), &child.digest().clone().into()).await.unwrap(), child);
    }

    /// What is not a manifest is refused.
    async fn malformed_manifest_is_refused(registry: &dyn Registry) {
        put(registry, "a", b"other").await;
        for bytes in ["", "{", "[]", "{}", r#"{"schemaVersion":2}"#, r#"{"schemaVersion":2,"config":{}}"#] {
            let manifest = Manifest::new(media_type::IMAGE, bytes);
            let error = put_manifest(registry, "a", &manifest, &["latest"]).await.unwrap_err();
            assert_eq!(error.code(), &Code::ManifestInvalid, "{bytes}");
        }
        assert_eq!(all_tags(registry, "a").await, [""; 0]);
    }

    /// A manifest that is too large is refused.
    async fn oversized_manifest_is_refused(registry: &dyn Registry) {
        let mut bytes = image(registry, "a", "1").await.into_bytes();
        bytes.resize(MAX_MANIFEST as usize + 1, b' ');
        let error = put_manifest(registry, "a", &Manifest::new(media_type::IMAGE, bytes.clone()), &["v1"]).await;
        assert_eq!(error.unwrap_err().code(), &Code::SizeInvalid);
        bytes.pop();
        let manifest = Manifest::new(media_type::IMAGE, bytes);
        put_manifest(registry, "a", &manifest, &["v1"]).await.unwrap();
        assert_eq!(registry.get_manifest(&repo("a"), &tag("v1").into()).await.unwrap().digest(), manifest.digest());
    }

    /// Deleting a tag leaves the manifest and its other tags.
    async fn deleted_tag_leaves_the_manifest(registry: &dyn Registry) {
        let manifest = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        put_manifest(registry, "a", &manifest, &["v1"]).await.unwrap();
        put_manifest(registry, "a", &manifest, &["v2"]).await.unwrap();
        registry.delete_manifest(&repo("a"), &tag("v1").into()).await.unwrap();
        assert!(registry.get_manifest(&repo("a"), &tag("v1").into()).await.unwrap_err().is_not_found());
        assert_eq!(all_tags(registry, "a").await, ["v2"]);
        registry.delete_manifest(&repo("a"), &tag("v2").into()).await.unwrap();
        let got = registry.get_manifest(&repo("a"), &manifest.digest().clone().into()).await.unwrap();
        assert_eq!(got, manifest);
    }

    /// Deleting a manifest takes its tags with it.
    async fn deleted_manifest_takes_its_tags(registry: &dyn Registry) {
        let one = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        let two = Manifest::new(media_type::IMAGE, image(registry, "a", "2").await);
        put_manifest(registry, "a", &one, &["v1", "latest"]).await.unwrap();
        put_manifest(registry, "a", &two, &["v2"]).await.unwrap();
        registry.delete_manifest(&repo("a"), &one.digest().clone().into()).await.unwrap();
        for reference in [ManifestRef::Tag(tag("v1")), tag("latest").into(), one.digest().clone().into()] {
            assert!(registry.head_manifest(&repo("a"), &reference).await.unwrap_err().is_not_found());
        }
        assert_eq!(all_tags(registry, "a").await, ["v2"]);
        put_manifest(registry, "a", &one, &["v1"]).await.unwrap();
        assert_eq!(registry.get_manifest(&repo("a"), &tag("v1").into()).await.unwrap(), one);
    }

    /// Tags are listed in order, as many as asked for, after the one named.
    async fn tags_are_listed_in_pages(registry: &dyn Registry) {
        let manifest = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        let tags = ["bravo", "delta", "alpha", "echo", "charlie", "Zulu", "_", "10", "9"];
        put_manifest(registry, "a", &manifest, &tags).await.unwrap();
        let sorted = ["10", "9", "Zulu", "_", "alpha", "bravo", "charlie", "delta", "echo"];
        assert_eq!(all_tags(registry, "a").await, sorted);
        let mut seen = Vec::new();
        let mut page = Page { limit: Some(2), after: None };
        loop {
            let Listing { items, next } = registry.list_tags(&repo("a"), &page).await.unwrap();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(ToString::to_string));
            assert!(seen.len() <= sorted.len(), "{seen:?}");
            let Some(next) = next else { break };
            page.after = Some(next);
        }
        assert_eq!(seen, sorted);
        let page = Page { limit: Some(3), after: Some("alpha".to_owned()) };
        let some = registry.list_tags(&repo("a"), &page).await.unwrap();
        assert_eq!(some.items, ["bravo", "charlie", "delta"].map(tag));
        let page = Page { limit: Some(0), after: None };
        assert_eq!(registry.list_tags(&repo("a"), &page).await.unwrap(), Listing::complete(vec![]));
    }

    /// Referrers are found by their subject, described by type and annotations, and filtered by type.
    async fn referrers_are_found_by_subject(registry: &dyn Registry) {
        let subject = Manifest::new(media_type::IMAGE, image(registry, "a", "1").await);
        put_manifest(registry, "a", &subject, &["latest"]).await.unwrap();
        assert_eq!(all_referrers(registry, subject.digest(), None).await, []);
        let one = referrer(registry, subject.descriptor(), "application/one").await;
        let two = referrer(registry, subject.descriptor(), "application/two").await;
        let all = all_referrers(registry, subject.digest(), None).await;
        assert_eq!(all.len(), 2);
        assert!(all.contains(&one) && all.contains(&two), "{all:?}");
        assert_eq!(all_referrers(registry, subject.digest(), Some("application/two")).await, std::slice::from_ref(&two));
        assert_eq!(all_referrers(registry, subject.digest(), Some("application/none")).await, []);
        registry.delete_manifest(&repo("a"), &one.digest.into()).await.unwrap();
        assert_eq!(all_referrers(registry, subject.digest(), None).await, [two]);
    }

    /// A subject may be missing, and come later or never.
    async fn missing_subject_has_referrers(registry: &dyn Registry) {
        let subject = Descriptor::of(media_type::IMAGE, b"not there");
        let one = referrer(registry, &subject, "application/one").await;
        assert_eq!(all_referrers(registry, &subject.digest, None).await, [one]);
        let unknown = registry.list_referrers(&repo("no/where"), &subject.digest, &ReferrerQuery::default()).await;
        assert_eq!(unknown.unwrap(), Listing::complete(vec![]));
    }

    /// Repositories are listed in order, as many as asked for, after the one named.
    async fn repositories_are_listed_in_pages(registry: &dyn Registry) {
        let names = ["c/d", "a", "a/b", "b-c", "a/b/c", "blobs/uploads", "b/index.json", "b"];
        for name in names {
            let manifest = Manifest::new(media_type::IMAGE, image(registry, name, "1").await);
            put_manifest(registry, name, &manifest, &["latest"]).await.unwrap();
        }
        let mut sorted = names;
        sorted.sort_unstable();
        let all: Vec<_> = registry.repos().try_collect().await.unwrap();
        assert_eq!(all, sorted.map(repo));
        let page = Page { limit: Some(3), after: Some("a/b".to_owned()) };
        let some = registry.list_repos(&page).await.unwrap();
        assert_eq!(some.items, sorted[2..5].iter().map(|name| repo(name)).collect::<Vec<_>>());
        assert!(some.next.is_some());
    }
}

fn repo(name: &str) -> RepoName {
    name.parse().expect("a repository name")
}

fn tag(tag: &str) -> Tag {
    tag.parse().expect("a tag")
}

async fn put(registry: &dyn Registry, name: &str, content: &[u8]) -> Descriptor {
    registry.write_blob(&repo(name), Bytes::copy_from_slice(content)).await.expect("a blob can be stored")
}

async fn put_manifest(registry: &dyn Registry, name: &str, manifest: &Manifest, tags: &[&str]) -> Result<()> {
    let options = PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), ..Default::default() };
    registry.put_manifest(&repo(name), manifest, options).await
}

async fn all_tags(registry: &dyn Registry, name: &str) -> Vec<String> {
    let tags: Vec<Tag> = registry.tags(&repo(name)).try_collect().await.expect("tags can be listed");
    tags.iter().map(ToString::to_string).collect()
}

async fn all_referrers(registry: &dyn Registry, subject: &Digest, artifact_type: Option<&str>) -> Vec<Descriptor> {
    registry.referrers(&repo("a"), subject, artifact_type).try_collect().await.expect("referrers can be listed")
}

/// The manifest of an image whose blobs are there; `seed` makes it another one.
async fn image(registry: &dyn Registry, name: &str, seed: &str) -> String {
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        config: Some(Descriptor { media_type: media_type::EMPTY.to_owned(), ..put(registry, name, b"{}").await }),
        layers: Some(vec![put(registry, name, seed.as_bytes()).await]),
        ..Default::default()
    };
    String::from_utf8(content.to_bytes().to_vec()).expect("JSON is UTF-8")
}

async fn referrer(registry: &dyn Registry, subject: &Descriptor, artifact_type: &str) -> Descriptor {
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        artifact_type: Some(artifact_type.to_owned()),
        config: Some(Descriptor { media_type: media_type::EMPTY.to_owned(), ..put(registry, "a", b"{}").await }),
        layers: Some(vec![]),
        subject: Some(subject.clone()),
        annotations: [("key".to_owned(), artifact_type.to_owned())].into(),
        ..Default::default()
    };
    let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
    put_manifest(registry, "a", &manifest, &[]).await.expect("a referrer can be stored");
    content.describe(manifest.descriptor())
}

/// A body that yields some bytes and then an error.
fn broken(bytes: &'static str) -> Body {
    Body::new(None, stream::iter([Ok(Bytes::from(bytes)), Err(Error::new(Code::Unavailable, "broken off"))]))
}

/// Bytes that do not compress and are the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64 | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
