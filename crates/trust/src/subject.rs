//! The subject: what is signed, as bytes in hand.

use bytes::Bytes;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Manifest;

use crate::error::Error;
use crate::error::Result;

/// A manifest whose bytes are in hand and have the digest that they go by.
///
/// Signatures are made over these bytes and checked against them; nothing is fetched again. Whoever uses the content
/// after a verification uses [`bytes`](Self::bytes), or what their digests lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    descriptor: Descriptor,
    bytes: Bytes,
}

impl Subject {
    /// Makes a subject of bytes, if they are what the descriptor says.
    ///
    /// # Errors
    /// `Subject` when size or digest differ.
    pub fn new(descriptor: Descriptor, bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        let came = Digest::of(descriptor.digest.algorithm(), &bytes);
        if came != descriptor.digest || bytes.len() as u64 != descriptor.size {
            let why = format!(
                "expected {} of {} bytes, got {came} of {} bytes",
                descriptor.digest,
                descriptor.size,
                bytes.len()
            );
            return Err(Error::Subject { why });
        }
        Ok(Self { descriptor: Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size), bytes })
    }

    /// Media type, digest and size, without annotations.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A manifest cannot be made with a digest that its bytes do not have.
impl From<&Manifest> for Subject {
    fn from(manifest: &Manifest) -> Self {
        let descriptor = manifest.descriptor();
        Self {
            descriptor: Descriptor::new(descriptor.media_type.clone(), descriptor.digest.clone(), descriptor.size),
            bytes: manifest.bytes().clone(),
        }
    }
}
