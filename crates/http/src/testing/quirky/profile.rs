//! Profiles: what a registry does differently, one named thing at a time.

use crate::testing::Login;
use crate::testing::TokenName;
use crate::testing::Tokens;

/// What a registry does differently from distribution-spec 1.1.
///
/// The default does nothing differently. The products are made of what is publicly known of them, each with where
/// it is known from; they change, so a profile is a claim about the day its sources speak of. What all of them
/// leave out is what nobody but skep's own server adds ([`Profile::plain`]). Profiles are put together at will:
///
/// ```
/// # use skep_http::testing::Profile;
/// let profile = Profile { redirects_blobs: true, max_body: Some(1 << 20), ..Profile::distribution2() };
/// # assert_ne!(profile, Profile::distribution2());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Who is let in. Everyone when there is none.
    pub login: Option<Login>,
    /// Answers 401 where a repository is unknown, to those who did not log in.
    pub hides_unknown: bool,
    /// GETs of manifests until the answer is 429; HEAD is free. The answers count down in `RateLimit-Remaining`.
    pub pull_limit: Option<u32>,
    /// Text of a `Warning` header on every answer (spec, "Warnings").
    pub warning: Option<String>,

    /// Where `Docker-Content-Digest` is.
    pub digest_header: DigestHeader,
    /// Answers GET with the whole blob, whatever `Range` says.
    pub ignores_ranges: bool,
    /// Sends whoever asks for a blob to a storage at another origin, which lets nobody in who shows a credential.
    ///
    /// The storage is the same service under another name: `localhost` to those who reach it by an address, and
    /// `127.0.0.1` to all others.
    pub redirects_blobs: bool,
    /// Leaves `Content-Length` out of what is said of manifests.
    pub omits_length: bool,

    /// The largest `n` that a list may be asked for; larger ones are 400 `UNSUPPORTED`.
    pub max_n: Option<usize>,
    /// Items of a page when no `n` is asked for.
    pub default_n: Option<usize>,
    /// Answers with all tags, whatever `n` and `last` say.
    pub ignores_paging_of_tags: bool,
    /// Lists the tags of a page in the wrong order.
    pub disorders_tags: bool,
    /// Says `null` where a list of tags is empty.
    pub null_tags: bool,
    /// How the next page is named.
    pub next_link: NextLink,
    /// Refuses to list the repositories: 401 where there are logins, else 404.
    pub no_catalog: bool,
    /// What there is at the path of the list of referrers.
    pub referrers: Referrers,

    /// What locations look like.
    pub location: Location,
    /// What `Range` says of an upload that has no bytes.
    pub fresh_range: FreshRange,
    /// What becomes of uploads in chunks.
    pub chunks: Chunks,
    /// The status of a chunk that was taken; 202 when there is none.
    pub chunk_status: Option<u16>,
    /// Bytes of the largest chunk that says where it belongs; larger ones are 416 with a code of the product's own.
    pub max_chunk: Option<u64>,
    /// Bytes that every chunk but the last must have. Nothing says so before the end, when all of them are refused.
    pub min_chunk: Option<u64>,
    /// Answers 404 to who asks how far an upload has come.
    pub no_upload_status: bool,
    /// Bytes of the largest request body; larger ones are 413 with a page for people.
    pub max_body: Option<u64>,
    /// Begins an upload instead of mounting.
    pub never_mounts: bool,
    /// Knows only the repositories that were made with [`Quirky::create`](crate::testing::Quirky::create).
    pub repos_must_exist: bool,
    /// Refuses to set a tag that is there, even to what it points to.
    pub immutable_tags: bool,
    /// Refuses manifests whose config is not that of an image, and those of OCI's artifacts of old.
    pub only_images: bool,
    /// Refuses to store manifests by digests other than SHA-256.
    pub only_sha256: bool,
    /// What can be deleted.
    pub deletes: Deletes,
    /// Knows nothing that is beyond distribution-spec 1.1: several tags at once (`?tag=`), conditions
    /// (`If-None-Match`), exact offsets of uploads (`Upload-Offset`).
    pub plain: bool,
}

/// Where `Docker-Content-Digest` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestHeader {
    /// Wherever it belongs.
    #[default]
    Everywhere,
    /// Nowhere.
    Nowhere,
    /// Not on GET of a manifest by tag; on HEAD it is.
    NotOnGetByTag,
}

/// How the next page of a list is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextLink {
    /// By the last item, as the specification has it.
    #[default]
    Last,
    /// Not at all.
    None,
    /// By an opaque token in `next_page`; `last` is ignored.
    Token,
    /// By the last item, at the path of a repository that does not exist: without the first part of its name.
    WrongPath,
}

/// What there is at the path of the list of referrers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Referrers {
    /// 404 with a page for people.
    Html,
    /// 404 with an error body.
    Json,
    /// The list, and `OCI-Subject` for who pushes.
    #[default]
    Listed,
    /// 404 with words.
    Text,
}

/// What locations look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Location {
    /// Absolute, with the state of uploads in `_state`, without which there is no going on.
    AbsoluteWithState,
    /// Uploads are at paths that are not below `/v2/`.
    Outside,
    /// A path.
    #[default]
    Path,
}

/// What `Range` says of an upload that has no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FreshRange {
    /// There is no such header, nor is there one later.
    Missing,
    /// `0--1`, which is arithmetic.
    MinusOne,
    /// `0-0`, which could be one byte.
    #[default]
    Zero,
}

/// What becomes of uploads in chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunks {
    /// They make a blob.
    #[default]
    Kept,
    /// Only the last one is kept, and all is said to be well.
    LastKept,
    /// They are refused.
    Refused,
    /// They make a blob, but `Range` always says what it said after the first.
    StaleRange,
}

/// What can be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletes {
    /// Tags, manifests and blobs.
    #[default]
    All,
    /// Manifests and blobs by digest; tags are 400.
    ByDigest,
    /// Nothing: 405.
    Nothing,
    /// Tags; manifests only when no tag points to them; blobs.
    Untagged,
}

impl Profile {
    /// Every profile, by name.
    pub fn all() -> [(&'static str, Self); 9] {
        [
            ("artifactory", Self::artifactory()),
            ("before-1.1", Self::before_1_1()),
            ("distribution-2", Self::distribution2()),
            ("docker-hub", Self::docker_hub()),
            ("ecr", Self::ecr()),
            ("ghcr", Self::ghcr()),
            ("google", Self::google()),
            ("nginx", Self::nginx()),
            ("quay", Self::quay()),
        ]
    }

    /// JFrog Artifactory.
    ///
    /// Uploads in chunks that end as their last chunk, with 201: <https://github.com/wasmCloud/wasmCloud/issues/3405>.
    /// Links to the next page that lack the first part of the repository's name, where repositories are reached by
    /// path: <https://github.com/renovatebot/renovate/issues/15030>. Tokens at the registry's own origin:
    /// <https://github.com/podman-container-tools/skopeo/issues/1326>. Referrers are listed since 7.90.1:
    /// <https://jfrog.com/help/r/jfrog-artifactory-documentation/use-referrers-rest-api-to-discover-oci-references>.
    pub fn artifactory() -> Self {
        Self {
            login: Some(Login::bearer(Tokens::default())),
            chunks: Chunks::LastKept,
            next_link: NextLink::WrongPath,
            plain: true,
            ..Self::default()
        }
    }

    /// No product: a registry from before most headers were thought of.
    ///
    /// Everything that distribution-spec 1.1 made a rule, and before that was a habit, is missing: digests, ranges,
    /// links, referrers, states of uploads.
    pub fn before_1_1() -> Self {
        Self {
            digest_header: DigestHeader::Nowhere,
            ignores_ranges: true,
            next_link: NextLink::None,
            referrers: Referrers::Html,
            plain: true,
            ..Self::default()
        }
    }

    /// CNCF Distribution 2, here 2.8.2, as it was found to behave when it was run.
    ///
    /// It has a profile so that tests need not have the program. Lists of tags know neither `n` nor `last`, have no
    /// order, and are `null` when the last tag is gone; uploads carry their state in an absolute location, and the
    /// status is 404 without it; tags are not deleted; a manifest by SHA-512 is refused.
    pub fn distribution2() -> Self {
        Self {
            ignores_paging_of_tags: true,
            disorders_tags: true,
            null_tags: true,
            referrers: Referrers::Text,
            location: Location::AbsoluteWithState,
            only_sha256: true,
            deletes: Deletes::ByDigest,
            plain: true,
            ..Self::default()
        }
    }

    /// Docker Hub.
    ///
    /// Nothing is deleted: <https://github.com/docker/hub-feedback/issues/2360>. No referrers:
    /// <https://github.com/docker/roadmap/issues/724>. Pulls are counted, by GET and not by HEAD, and 429 at the end:
    /// <https://docs.docker.com/docker-hub/usage/pulls/>. Blobs are at another host:
    /// <https://github.com/docker/hub-feedback/issues/2218>. A mount wants a token that may read where it comes from:
    /// <https://github.com/oras-project/rust-oci-client/issues/235>. Repositories are not listed, and those that are
    /// not there are 401: <https://github.com/google/go-containerregistry/issues/1679>.
    pub fn docker_hub() -> Self {
        Self {
            login: Some(Login::bearer(Tokens { answers_post: true, name: TokenName::Both, ..Tokens::default() })),
            hides_unknown: true,
            pull_limit: Some(100),
            redirects_blobs: true,
            no_catalog: true,
            referrers: Referrers::Text,
            deletes: Deletes::Nothing,
            plain: true,
            ..Self::default()
        }
    }

    /// Amazon ECR, a private registry.
    ///
    /// Repositories must be there before they are pushed to:
    /// <https://github.com/plexsystems/sinker/issues/55>. No digest on GET by tag:
    /// <https://github.com/aws/containers-roadmap/issues/1931>. At most 1000 items of a list:
    /// <https://github.com/google/go-containerregistry/issues/681>, and 100 when nobody asks:
    /// <https://github.com/docker-archive/migrator/issues/96>. Chunks are answered with 201 and have at least 5 MiB:
    /// <https://github.com/dotnet/sdk-container-builds/pull/279>; their range stays that of the first:
    /// <https://github.com/aws/containers-roadmap/issues/2831>; nobody can ask for it:
    /// <https://github.com/dotnet/sdk/pull/33019>. Blobs are in S3:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html>. User and password with each request:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>. Tags are immutable where that is
    /// chosen ([`Profile::immutable_tags`]), also to who repeats a push:
    /// <https://github.com/aws/containers-roadmap/issues/2380>.
    pub fn ecr() -> Self {
        Self {
            login: Some(Login::basic()),
            digest_header: DigestHeader::NotOnGetByTag,
            redirects_blobs: true,
            max_n: Some(1000),
            default_n: Some(100),
            chunks: Chunks::StaleRange,
            chunk_status: Some(201),
            min_chunk: Some(5 << 20),
            no_upload_status: true,
            repos_must_exist: true,
            plain: true,
            ..Self::default()
        }
    }

    /// GitHub's container registry.
    ///
    /// Chunks of 4 MiB at most: <https://github.com/oras-project/rust-oci-client/issues/35>. No referrers:
    /// <https://github.com/actions/attest-build-provenance/issues/91>. Nothing is deleted:
    /// <https://github.com/podman-container-tools/skopeo/issues/1880>. 100 tags when nobody asks for more:
    /// <https://github.com/smg-project/smg/pull/2348>. Blobs are at another host:
    /// <https://github.com/buildkite/cleanroom/pull/330>.
    pub fn ghcr() -> Self {
        Self {
            login: Some(Login::bearer(Tokens::default())),
            redirects_blobs: true,
            default_n: Some(100),
            referrers: Referrers::Text,
            max_chunk: Some(4 << 20),
            deletes: Deletes::Nothing,
            plain: true,
            ..Self::default()
        }
    }

    /// Google's Artifact Registry, and its Container Registry before that.
    ///
    /// No chunks: <https://cloud.google.com/artifact-registry/docs/reference/docker-api>; uploads are not below `/v2/`:
    /// <https://github.com/podman-container-tools/skopeo/issues/1101>. All tags at once:
    /// <https://github.com/google/go-containerregistry/issues/897>. A manifest is deleted when its tags are:
    /// <https://github.com/genuinetools/reg/issues/136>.
    pub fn google() -> Self {
        Self {
            login: Some(Login::bearer(Tokens::default())),
            ignores_paging_of_tags: true,
            location: Location::Outside,
            chunks: Chunks::Refused,
            deletes: Deletes::Untagged,
            plain: true,
            ..Self::default()
        }
    }

    /// An nginx, as it is unless told otherwise, before a registry.
    ///
    /// Requests of more than 1 MiB are 413, with a page for people:
    /// <https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size>. What passes a filter that may
    /// change it loses its length: <https://github.com/distribution/distribution/issues/2475>.
    pub fn nginx() -> Self {
        Self { omits_length: true, max_body: Some(1 << 20), plain: true, ..Self::default() }
    }

    /// Red Hat Quay, as it was until 2024.
    ///
    /// Pages are named by tokens: <https://github.com/regclient/regclient/issues/272>, 50 tags each (since then by the
    /// last tag: <https://github.com/deitch/docker_registry2/issues/106>). Configs of kinds that are not allowed are
    /// 400, artifacts of old 415: <https://github.com/oras-project/oras/issues/738>. No `OCI-Subject`:
    /// <https://github.com/opencontainers/distribution-spec/pull/563>. Tags are not deleted:
    /// <https://github.com/quay/quay/pull/3128>. Blobs are at another host:
    /// <https://github.com/quay/quay-docs/issues/149>.
    pub fn quay() -> Self {
        Self {
            login: Some(Login::bearer(Tokens::default())),
            redirects_blobs: true,
            default_n: Some(50),
            next_link: NextLink::Token,
            referrers: Referrers::Json,
            only_images: true,
            deletes: Deletes::ByDigest,
            plain: true,
            ..Self::default()
        }
    }
}
