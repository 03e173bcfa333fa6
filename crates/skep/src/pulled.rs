//! Archives that were pulled, or looked at.

use std::ops::Deref;
use std::path::Path;

use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::ExtractOptions;
use skep_archive::Extracted;
use skep_archive::Index;
use skep_archive::Progress;
use skep_archive::Result;
use skep_registry::Descriptor;
use skep_registry::Digest;

use crate::address::Address;
use crate::client::Client;
use crate::progress::OnProgress;
use crate::progress::Phase;
use crate::progress::Step;

/// An archive in a registry, with its index read and its files still there.
///
/// It is an [`Archive`]: list it, look files up, read them or parts of them.
#[derive(Clone, Debug)]
pub struct Pulled {
    manifest: ArchiveManifest,
    archive: Archive,
}

impl Pulled {
    pub(crate) fn new(manifest: ArchiveManifest, archive: Archive) -> Self {
        Self { manifest, archive }
    }

    /// What the manifest says.
    pub fn manifest(&self) -> &ArchiveManifest {
        &self.manifest
    }

    /// Extracts files, links and directories below a directory, and tells how far it is.
    ///
    /// # Errors
    /// As [`Archive::extract`], which says all else, too.
    ///
    /// # Cancel safety
    /// When the future is dropped, the work stops, and what is not whole is removed.
    pub async fn extract(&self, dest: &Path, options: ExtractOptions, progress: OnProgress) -> Result<Extracted> {
        let report =
            move |at: Progress| progress(Step { phase: Phase::Extract, done: at.bytes, total: at.bytes_total });
        self.archive.extract(dest, &options, report).await
    }

    /// The digest of the manifest, which names this archive and no other.
    pub fn digest(&self) -> &Digest {
        &self.manifest.descriptor.digest
    }

    /// The archive, without the memory of where it came from.
    pub fn into_archive(self) -> Archive {
        self.archive
    }
}

impl Deref for Pulled {
    type Target = Archive;

    fn deref(&self) -> &Archive {
        &self.archive
    }
}

/// What an archive is, in numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspected {
    /// What the manifest says.
    pub manifest: ArchiveManifest,
    /// Regular files.
    pub files: u64,
    /// Directories that are recorded.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of content.
    pub original_size: u64,
    /// Stored bytes of all files; those that several files share count for each, in the data blob they are once.
    pub stored_size: u64,
    client: Client,
    address: Address,
}

impl Inspected {
    pub(crate) fn new(manifest: ArchiveManifest, index: &Index, client: Client, address: Address) -> Self {
        Self {
            client,
            address,
            stored_size: index.entries_as_written().map(|entry| entry.data_size).sum(),
            manifest,
            files: index.len() as u64,
            directories: index.directories().len() as u64,
            symlinks: index.symlinks().len() as u64,
            original_size: index.entries_as_written().map(|entry| entry.original_size).sum(),
        }
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.manifest.descriptor.digest
    }

    /// When the archive was made, if it says so.
    pub fn created(&self) -> Option<jiff::Timestamp> {
        self.manifest.created
    }

    /// Bytes of the data blob.
    pub fn data_size(&self) -> u64 {
        self.manifest.data.size
    }

    /// Bytes of the index blob.
    pub fn index_size(&self) -> u64 {
        self.manifest.index.size
    }

    /// Asks the registry what refers to the archive, all or those of one type.
    ///
    /// # Errors
    /// As [`Client::referrers`].
    pub async fn referrers(&self, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        self.client.referrers(&self.address, artifact_type).await
    }

    /// Bytes of the data blob for each byte of content, 1 when there is none.
    pub fn ratio(&self) -> f64 {
        if self.original_size == 0 {
            return 1.0;
        }
        self.data_size() as f64 / self.original_size as f64
    }
}
