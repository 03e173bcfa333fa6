//! Forwarding: the calls that a registry leaves to another one.

/// For crates that do not know of it themselves.
pub use url::Url;

/// Writes calls of [`Registry`](crate::Registry) that go on to another registry as they came.
///
/// This is for wrappers and test doubles. In their `impl Registry` stands what they do themselves, and the
/// other calls are named here, one by one: what is neither written nor named is an error of the compiler. So
/// no call is forgotten, and one that is new in the trait is decided about in each wrapper.
///
/// With `after METHOD`, `self.METHOD(name).await?` is done before each call, where `name` is that of the call.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use skep_registry::{Body, Code, Descriptor, Digest, Memory, Registry, RegistryExt, RepoName, Result};
///
/// /// A registry that takes no empty blob.
/// #[derive(Debug)]
/// struct Picky(Memory);
///
/// #[async_trait]
/// impl Registry for Picky {
///     async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
///         match descriptor.size {
///             0 => Err(Code::Denied.into()),
///             _ => self.0.put_blob(repo, descriptor, body).await,
///         }
///     }
///
///     skep_registry::forward_registry!(self => self.0, after count; get_blob, head_blob, locate_blob);
///     skep_registry::forward_registry!(self => self.0; get_manifest, head_manifest, put_manifest, delete_manifest,
///         upload_blob, mount_blob, delete_blob, list_tags, list_referrers, list_repos);
/// }
///
/// impl Picky {
///     async fn count(&self, call: &'static str) -> Result<()> {
///         println!("{call}");
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let registry = Picky(Memory::default());
/// let repo = "library/greetings".parse()?;
/// let blob = registry.write_blob(&repo, "hello".into()).await?;
/// assert_eq!(registry.read_blob(&repo, &blob.digest, 100).await?, "hello");
/// assert_eq!(registry.write_blob(&repo, "".into()).await.unwrap_err().code(), &Code::Denied);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! forward_registry {
    (@get_blob $($to:tt)*) => {
        $crate::forward_registry!(@write get_blob ['repo 'digest] (
            repo: &'repo $crate::RepoName, digest: &'digest $crate::Digest, range: Option<$crate::ByteRange>
        ) -> $crate::Blob; $($to)*);
    };
    (@head_blob $($to:tt)*) => {
        $crate::forward_registry!(@write head_blob ['repo 'digest] (
            repo: &'repo $crate::RepoName, digest: &'digest $crate::Digest
        ) -> $crate::Descriptor; $($to)*);
    };
    (@locate_blob $($to:tt)*) => {
        $crate::forward_registry!(@write locate_blob ['repo 'digest] (
            repo: &'repo $crate::RepoName, digest: &'digest $crate::Digest
        ) -> Option<$crate::forward::Url>; $($to)*);
    };
    (@get_manifest $($to:tt)*) => {
        $crate::forward_registry!(@write get_manifest ['repo 'reference] (
            repo: &'repo $crate::RepoName, reference: &'reference $crate::ManifestRef
        ) -> $crate::Manifest; $($to)*);
    };
    (@head_manifest $($to:tt)*) => {
        $crate::forward_registry!(@write head_manifest ['repo 'reference] (
            repo: &'repo $crate::RepoName, reference: &'reference $crate::ManifestRef
        ) -> $crate::Descriptor; $($to)*);
    };
    (@put_blob $($to:tt)*) => {
        $crate::forward_registry!(@write put_blob ['repo 'descriptor] (
            repo: &'repo $crate::RepoName, descriptor: &'descriptor $crate::Descriptor, body: $crate::Body
        ) -> (); $($to)*);
    };
    (@upload_blob $($to:tt)*) => {
        $crate::forward_registry!(@write upload_blob ['repo] (
            repo: &'repo $crate::RepoName, options: $crate::UploadOptions
        ) -> Box<dyn $crate::Upload>; $($to)*);
    };
    (@mount_blob $($to:tt)*) => {
        $crate::forward_registry!(@write mount_blob ['repo 'digest 'from] (
            repo: &'repo $crate::RepoName, digest: &'digest $crate::Digest, from: Option<&'from $crate::RepoName>
        ) -> $crate::Mount; $($to)*);
    };
    (@put_manifest $($to:tt)*) => {
        $crate::forward_registry!(@write put_manifest ['repo 'manifest] (
            repo: &'repo $crate::RepoName, manifest: &'manifest $crate::Manifest, options: $crate::PutManifest
        ) -> (); $($to)*);
    };
    (@delete_blob $($to:tt)*) => {
        $crate::forward_registry!(@write delete_blob ['repo 'digest] (
            repo: &'repo $crate::RepoName, digest: &'digest $crate::Digest
        ) -> (); $($to)*);
    };
    (@delete_manifest $($to:tt)*) => {
        $crate::forward_registry!(@write delete_manifest ['repo 'reference] (
            repo: &'repo $crate::RepoName, reference: &'reference $crate::ManifestRef
        ) -> (); $($to)*);
    };
    (@list_tags $($to:tt)*) => {
        $crate::forward_registry!(@write list_tags ['repo 'page] (
            repo: &'repo $crate::RepoName, page: &'page $crate::Page
        ) -> $crate::Listing<$crate::Tag>; $($to)*);
    };
    (@list_referrers $($to:tt)*) => {
        $crate::forward_registry!(@write list_referrers ['repo 'subject 'query] (
            repo: &'repo $crate::RepoName, subject: &'subject $crate::Digest, query: &'query $crate::ReferrerQuery
        ) -> $crate::Listing<$crate::Descriptor>; $($to)*);
    };
    (@list_repos $($to:tt)*) => {
        $crate::forward_registry!(@write list_repos ['page] (
            page: &'page $crate::Page
        ) -> $crate::Listing<$crate::RepoName>; $($to)*);
    };
    // What `#[async_trait]` makes of an `async fn` of the trait. It cannot do that here, since it sees no calls
    // of macros; and the other registry's future can be handed on as it is.
    (@write $call:ident [$($life:lifetime)*] ($($arg:ident: $type:ty),*) -> $output:ty; $self:ident => $($to:tt)*) => {
        fn $call<'registry, $($life,)* 'async_trait>(
            &'registry $self,
            $($arg: $type),*
        ) -> ::std::pin::Pin<Box<dyn ::std::future::Future<Output = $crate::Result<$output>> + Send + 'async_trait>>
        where
            'registry: 'async_trait,
            $($life: 'async_trait,)*
            Self: 'async_trait,
        {
            $crate::forward_registry!(@call $call ($($arg),*) $self => $($to)*)
        }
    };
    (@call $call:ident ($($arg:ident),*) $self:ident => $to:expr) => {
        $to.$call($($arg),*)
    };
    (@call $call:ident ($($arg:ident),*) $self:ident => $to:expr, after $before:ident) => {
        Box::pin(async move {
            $self.$before(stringify!($call)).await?;
            $to.$call($($arg),*).await
        })
    };
    ($self:ident => $to:expr; $($call:ident),+ $(,)?) => {
        $($crate::forward_registry!(@$call $self => $to);)+
    };
    ($self:ident => $to:expr, after $before:ident; $($call:ident),+ $(,)?) => {
        $($crate::forward_registry!(@$call $self => $to, after $before);)+
    };
}
