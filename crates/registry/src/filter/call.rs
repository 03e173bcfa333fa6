//! Calls as filters see them: which one, on what, and what kind of access that is.

use std::fmt;

use crate::name::RepoName;

/// What one call is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Which call.
    pub op: Op,
    /// The repository it is about; none for the list of repositories.
    pub repo: Option<&'a RepoName>,
}

impl Call<'_> {
    /// What kind of access it is.
    pub fn access(&self) -> Access {
        self.op.access()
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.as_str())?;
        match self.repo {
            Some(repo) => write!(f, " in {repo}"),
            None => Ok(()),
        }
    }
}

/// What kind of access a call is. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Removing content or tags.
    Delete,
    /// Listing tags, referrers or repositories.
    List,
    /// Reading content, or learning about it.
    Read,
    /// Adding content, or moving tags.
    Write,
}

macro_rules! ops {
    ($($(#[$doc:meta])* $variant:ident $name:literal $access:ident;)*) => {
        /// A call to a registry, or to an upload into one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Op {
            $($(#[$doc])* $variant,)*
        }

        impl Op {
            /// Every call.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name of the call, for logs and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What kind of access the call is.
            pub fn access(self) -> Access {
                match self { $(Self::$variant => Access::$access,)* }
            }
        }
    };
}

ops! {
    /// [`Upload::append`](crate::Upload::append).
    AppendUpload "append_upload" Write;
    /// [`Upload::cancel`](crate::Upload::cancel).
    CancelUpload "cancel_upload" Write;
    /// [`Upload::commit`](crate::Upload::commit).
    CommitUpload "commit_upload" Write;
    /// [`Registry::delete_blob`](crate::Registry::delete_blob).
    DeleteBlob "delete_blob" Delete;
    /// [`Registry::delete_manifest`](crate::Registry::delete_manifest), of a manifest or of a tag.
    DeleteManifest "delete_manifest" Delete;
    /// [`Registry::get_blob`](crate::Registry::get_blob).
    GetBlob "get_blob" Read;
    /// [`Registry::get_manifest`](crate::Registry::get_manifest).
    GetManifest "get_manifest" Read;
    /// [`Registry::head_blob`](crate::Registry::head_blob).
    HeadBlob "head_blob" Read;
    /// [`Registry::head_manifest`](crate::Registry::head_manifest).
    HeadManifest "head_manifest" Read;
    /// [`Registry::list_referrers`](crate::Registry::list_referrers).
    ListReferrers "list_referrers" List;
    /// [`Registry::list_repos`](crate::Registry::list_repos).
    ListRepos "list_repos" List;
    /// [`Registry::list_tags`](crate::Registry::list_tags).
    ListTags "list_tags" List;
    /// [`Registry::locate_blob`](crate::Registry::locate_blob).
    LocateBlob "locate_blob" Read;
    /// [`Registry::mount_blob`](crate::Registry::mount_blob), into this repository.
    MountBlob "mount_blob" Write;
    /// [`Registry::put_blob`](crate::Registry::put_blob).
    PutBlob "put_blob" Write;
    /// [`Registry::put_manifest`](crate::Registry::put_manifest).
    PutManifest "put_manifest" Write;
    /// [`Registry::upload_blob`](crate::Registry::upload_blob), to begin or to go on.
    UploadBlob "upload_blob" Write;
}
