//! The client: the way to registries, pushing and tagging.

mod amend;
mod policy;
mod pull;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::ContentCache;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Result;
use skep_archive::Summary;
use skep_http::Credentials;
use skep_http::DockerConfig;
use skep_http::Mirrors;
use skep_http::Settings;
use skep_registry::Annotations;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Manifest;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Tag;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_trust::Policies;

use crate::address::Address;
use crate::address::Scheme;
use crate::address::Store;
use crate::caches::Caches;
use crate::client::policy::Wanted;
use crate::pack::Origin;
use crate::pack::on_thread;
use crate::pack::pack;
use crate::pack::source_date_epoch;
use crate::progress::OnProgress;
use crate::progress::Phase;
use crate::progress::Step;
use crate::remote::Remote;

pub use crate::client::pull::PullOptions;

/// The name that a layout's one repository goes by; it never leaves this machine.
const LAYOUT_REPO: &str = "layout";

/// How a [`Client`] behaves.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Who to be at registries; `None` is whoever docker's configuration says.
    pub credentials: Option<Arc<dyn Credentials>>,
    /// Speak to registries without TLS where an address does not say how. Those on this machine are spoken
    /// to without it anyway.
    pub plain_http: bool,
    /// How single registries are reached, by the host that addresses name, with its port if it has one.
    pub registries: BTreeMap<String, Settings>,
    /// What the client calls itself in requests; `skep/` and its version if nothing is said.
    pub user_agent: Option<String>,
    /// What to refuse in archives.
    pub limits: Limits,
    /// What to remember of registries.
    pub caches: Caches,
    /// What has to hold of a manifest before anything is done with it, by its [canonical name](Address::canonical).
    ///
    /// `docs/trust.md` has a table of what they apply to. Not to what [`Client::registry`] and [`Client::host`] give,
    /// and not to URLs.
    pub policies: Policies,
}

impl ClientOptions {
    /// The options of the clients of single registries.
    ///
    /// # Errors
    /// `Unauthorized` when docker's configuration is wanted and cannot be read.
    pub fn http(&self) -> skep_registry::Result<skep_http::ClientOptions> {
        let credentials: Arc<dyn Credentials> = match &self.credentials {
            Some(credentials) => credentials.clone(),
            None => Arc::new(DockerConfig::load()?),
        };
        let (plain_http, registries) = (self.plain_http, self.registries.clone());
        let mut options = skep_http::ClientOptions { credentials, plain_http, registries, ..Default::default() };
        if let Some(user_agent) = &self.user_agent {
            options.user_agent.clone_from(user_agent);
        }
        Ok(options)
    }
}

/// The way from directories to archives in registries, and back.
///
/// Cheap to clone; clones share connections, tokens and what is under way to [caches](ClientOptions::caches).
#[derive(Clone, Default)]
pub struct Client {
    options: Arc<ClientOptions>,
    content: Option<ContentCache>,
    remotes: Arc<Mutex<HashMap<String, Remote>>>,
}

/// How to push a directory.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// How to build the archive.
    pub build: BuildOptions,
    /// Tags besides that of the address.
    pub tags: Vec<Tag>,
    /// Annotations of the manifest.
    pub annotations: Annotations,
    /// Refuse to move tags that point to another manifest.
    pub if_absent: bool,
    /// Refuse to move the tag of the address unless it points to this manifest when all else is there; asked right before
    /// the tag moves, so that what happens in that one moment is not noticed.
    pub expected: Option<Digest>,
}

impl PushOptions {
    /// The manifest that a push would store for an archive that was built. Nobody is asked.
    ///
    /// # Errors
    /// `InvalidManifest` when `SOURCE_DATE_EPOCH` is no time of the calendar.
    pub fn manifest_of(&self, built: &Built, to: &Address) -> Result<Manifest> {
        skep_archive::manifest_of(built, &self.clone().of_archive(to))
    }

    fn of_archive(self, to: &Address) -> skep_archive::PushOptions {
        let mut tags = vec![to.tag_or_latest()];
        tags.extend(self.tags);
        skep_archive::PushOptions {
            tags,
            annotations: self.annotations,
            if_absent: self.if_absent,
            expected: self.expected,
            epoch: source_date_epoch(),
            upload: UploadSettings::default(),
        }
    }
}

/// What came of a push.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The manifest of the archive.
    pub manifest: Descriptor,
    /// What was packed, and what could not be carried.
    pub summary: Summary,
    /// Bytes of the index.
    pub index_size: u64,
    /// Blobs that had to be sent; the others were there.
    pub sent_blobs: u64,
    /// Bytes of these blobs.
    pub sent_bytes: u64,
}

impl Client {
    /// A client with options.
    pub fn new(options: ClientOptions) -> Self {
        let content = options.caches.content.clone().map(ContentCache::new);
        Self { options: Arc::new(options), content, remotes: Arc::default() }
    }

    /// How it behaves.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// The registry that an address is in, and the repository there.
    ///
    /// Where tags point is what it says now, unless the client is [offline](Caches::offline). Manifests come from the
    /// cache when there is one, blobs and lists never. What is written through it is seen by all who share the store.
    ///
    /// It is the registry as it is, for which there are no [policies](ClientOptions::policies).
    ///
    /// # Errors
    /// `NameInvalid` for a host that cannot be one; an error of the disk for a layout that cannot be opened;
    /// malformed credentials.
    pub fn registry(&self, store: &Store) -> Result<(Arc<dyn Registry>, RepoName)> {
        self.remote(store).map(|(remote, repo)| (remote.acting, repo))
    }

    /// A registry by its host, `registry.example.com:5000`.
    ///
    /// # Errors
    /// As [`registry`](Self::registry).
    pub fn host(&self, host: &str, scheme: Option<Scheme>) -> Result<Arc<dyn Registry>> {
        self.remote_host(host, scheme).map(|remote| remote.acting)
    }

    fn remote(&self, store: &Store) -> Result<(Remote, RepoName)> {
        match store {
            Store::Layout(dir) => {
                let repo: RepoName = LAYOUT_REPO.parse()?;
                let open = || Ok(Remote::here(Arc::new(Layout::single(dir, repo.clone(), LayoutOptions::default())?)));
                Ok((self.shared(format!("oci:{}", dir.display()), open)?, repo))
            }
            Store::Repository { host, repo, scheme } => Ok((self.remote_host(host, *scheme)?, repo.clone())),
        }
    }

    fn remote_host(&self, host: &str, scheme: Option<Scheme>) -> Result<Remote> {
        self.shared(format!("{scheme:?} {host}"), || self.connect(host, scheme))
    }

    /// The remote of a key, made when it is first asked for.
    fn shared(&self, key: String, make: impl FnOnce() -> Result<Remote>) -> Result<Remote> {
        let mut remotes = self.remotes.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(remote) = remotes.get(&key) {
            return Ok(remote.clone());
        }
        let remote = make()?;
        remotes.insert(key, remote.clone());
        Ok(remote)
    }

    fn connect(&self, host: &str, scheme: Option<Scheme>) -> Result<Remote> {
        let plain_http = self.options.plain_http || self.options.registries.get(host).is_some_and(|it| it.plain_http);
        let host = match scheme {
            Some(Scheme::Http) => format!("http://{host}"),
            Some(Scheme::Https) => format!("https://{host}"),
            None => host.to_owned(),
        };
        let namespace = skep_http::base_url(&host, plain_http)?.to_string();
        let upstream = Arc::new(Mirrors::of(&host, self.options.http()?)?);
        Ok(Remote::new(upstream, namespace, &self.options.caches))
    }

    /// Packs a directory, or what else an archive is [made of](Origin), and stores it under the tag of the address and those
    /// of the options.
    ///
    /// A directory that the tag has already, by all that an index says of it, is read and not packed, unless what the tag
    /// has is not [allowed](ClientOptions::policies) to be used.
    ///
    /// Nothing is visible in the registry before all of it is there. What is there already is not sent. For a layout, what is packed
    /// lies beside it, unless [`BuildOptions::spool_dir`] is set, and becomes its blob.
    ///
    /// # Errors
    /// What goes wrong with what is packed or with the registry; `PreconditionFailed` of the registry when a
    /// tag points elsewhere and [`PushOptions::if_absent`] is set.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work. No tag has moved then; blobs that arrived stay.
    pub async fn push(
        &self,
        from: impl Into<Origin>,
        to: &Address,
        options: PushOptions,
        progress: OnProgress,
    ) -> Result<Pushed> {
        let from = from.into();
        // A registry that cannot be written is found out before all the work.
        self.remote(&to.store)?.0.writable(to)?;
        if let Origin::Directory(dir) = &from
            && let Some(pushed) = self.push_unchanged(dir, to, &options, progress.clone()).await?
        {
            return Ok(pushed);
        }
        let built = pack(from, spooled(&options.build, to), progress.clone()).await?;
        self.push_built(&built, to, options, progress).await
    }

    /// Pushes a directory that the tag has already, without packing it. None if it has not.
    async fn push_unchanged(
        &self,
        dir: &Path,
        to: &Address,
        options: &PushOptions,
        progress: OnProgress,
    ) -> Result<Option<Pushed>> {
        let (remote, repo) = self.remote(&to.store)?;
        let options = options.clone();
        let tag = to.tag_or_latest();
        let place = (remote, repo);
        let from = Address { digest: None, ..to.clone() };
        let open = |manifest: Manifest| {
            let parsed = ArchiveManifest::parse(&manifest);
            async {
                let before = parsed?;
                let (registry, limits) = (place.0.looking.clone(), options.build.limits.clone());
                let archive = Archive::open(registry, &place.1, &before, limits).await?;
                Ok((before, archive))
            }
        };
        let before = self.manifest_while(Wanted::acting(&from, &place), open);
        let (before, archive) = match before.await {
            Ok(before) => before,
            // Better now than when all is packed.
            Err(Error::Registry(error)) if *error.code() == Code::Unavailable => return Err(error.into()),
            // Whatever else is wrong with what is there, it is about to be replaced; and some may write and not read.
            Err(_) => return Ok(None),
        };
        let (dir, mut build) = (dir.to_owned(), options.build.clone());
        build.epoch = build.epoch.or_else(source_date_epoch);
        let looking = on_thread(options.build.cancel.clone(), move || {
            skep_archive::unchanged(&dir, &build, archive.index(), &|at| {
                progress(Step { phase: Phase::Pack, done: at.bytes, total: at.bytes_total });
            })
        });
        let Some(unchanged) = looking.await? else { return Ok(None) };
        let place = Place::new(place.0.acting, place.1);
        match skep_archive::push_again(&place, (&tag, &before), &unchanged, &options.of_archive(to)).await {
            Ok(pushed) => Ok(Some(Pushed {
                manifest: pushed.manifest.descriptor().clone(),
                summary: unchanged.summary,
                index_size: before.index.size,
                sent_blobs: 0,
                sent_bytes: 0,
            })),
            // It has lost what the archive is made of.
            Err(Error::Registry(error)) if *error.code() == Code::ManifestBlobUnknown => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an archive that was built, as [`push`](Self::push) does; of the options, `build` does not count.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_built(
        &self,
        built: &Built,
        to: &Address,
        options: PushOptions,
        progress: OnProgress,
    ) -> Result<Pushed> {
        let (remote, repo) = self.remote(&to.store)?;
        remote.writable(to)?;
        let total = built.data_descriptor().size + built.index_descriptor().size;
        let done = AtomicU64::new(0);
        let sent = move |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            progress(Step { phase: Phase::Upload, done, total });
        };
        let single = match to.store {
            // There is no line that could break, and each chunk would be synced.
            Store::Layout(_) => u64::MAX,
            Store::Repository { .. } => UploadSettings::default().single,
        };
        let mut options = options.of_archive(to);
        options.upload = UploadSettings { single, sent: Some(Arc::new(sent)), ..Default::default() };
        let pushed = skep_archive::push(&Place::new(remote.acting, repo), built, &options).await?;
        Ok(Pushed {
            manifest: pushed.manifest.descriptor().clone(),
            summary: built.summary().clone(),
            index_size: built.index_descriptor().size,
            sent_blobs: pushed.blobs_sent,
            sent_bytes: pushed.bytes_sent,
        })
    }
}

impl Client {
    /// Makes tags point to an archive, or to any other manifest, in its repository.
    ///
    /// The manifest is read by the tag or digest of the address, and what a tag stands for is asked for; so tags that move meanwhile do not mix.
    ///
    /// # Errors
    /// `ManifestUnknown` of the registry; `PreconditionFailed` when a tag points elsewhere and `if_absent`
    /// is set; `PolicyViolation`, before any tag is set.
    pub async fn tag(&self, from: &Address, tags: &[Tag], if_absent: bool) -> Result<Digest> {
        let (remote, repo) = self.remote(&from.store)?;
        remote.writable(from)?;
        let manifest = self.manifest(from).await?;
        let options = PutManifest { tags: tags.to_vec(), if_absent };
        remote.acting.put_manifest(&repo, &manifest, options).await?;
        Ok(manifest.digest().clone())
    }
}

/// Options to build what goes to an address: for a layout on its file system, where the spool can become the blob as it is.
fn spooled(options: &BuildOptions, to: &Address) -> BuildOptions {
    let mut options = options.clone();
    if options.spool_dir.is_none()
        && let Store::Layout(layout) = &to.store
        && let Ok(layout) = std::path::absolute(layout)
    {
        // The layout itself may not be there yet.
        options.spool_dir = layout.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned);
    }
    options
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}
