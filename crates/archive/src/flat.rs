//! FlatBuffers, read: tables and vectors in bytes that nobody vouches for.
//!
//! Every position is checked before it is used, so that no bytes, however wrong, lead outside of the buffer.
//! (The accessors that the `flatbuffers` crate generates are `unsafe` to call on unverified bytes.)
//! <https://flatbuffers.dev/internals/>

/// The bytes are not FlatBuffers, or not of this shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// A table: fields in numbered slots, each of which may be absent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    len: usize,
    slots: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table that the buffer begins with a reference to.
    pub(crate) fn root(bytes: &'a [u8]) -> Result<Self> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    /// The table at a position.
    ///
    /// A table begins with the distance back to its vtable: two u16, the lengths of the vtable and of the
    /// table, then for each slot a u16, the position of the field in the table or 0.
    pub(crate) fn at(bytes: &'a [u8], at: usize) -> Result<Self> {
        let back = i32::from_le_bytes(array(bytes, at)?);
        let vtable = usize::try_from(at as i64 - i64::from(back)).map_err(|_| Malformed)?;
        let vtable_len = usize::from(u16::from_le_bytes(array(bytes, vtable)?));
        let len = usize::from(u16::from_le_bytes(array(bytes, vtable + 2)?));
        if vtable_len < 4 || vtable_len % 2 != 0 || len < 4 || bytes.len() - at < len {
            return Err(Malformed);
        }
        let slots = bytes.get(vtable + 4..vtable + vtable_len).ok_or(Malformed)?;
        Ok(Self { bytes, at, len, slots })
    }

    fn field<const N: usize>(&self, slot: usize) -> Result<Option<[u8; N]>> {
        let position = self.position(slot, N)?;
        position.map(|at| array(self.bytes, at)).transpose()
    }

    fn position(&self, slot: usize, size: usize) -> Result<Option<usize>> {
        let Some(&[low, high]) = self.slots.get(slot * 2..slot * 2 + 2) else { return Ok(None) };
        match usize::from(u16::from_le_bytes([low, high])) {
            0 => Ok(None),
            offset if offset < 4 || offset + size > self.len => Err(Malformed),
            offset => Ok(Some(self.at + offset)),
        }
    }

    pub(crate) fn u8(&self, slot: usize) -> Result<u8> {
        Ok(self.field(slot)?.map_or(0, u8::from_le_bytes))
    }

    pub(crate) fn u32(&self, slot: usize, default: u32) -> Result<u32> {
        Ok(self.field(slot)?.map_or(default, u32::from_le_bytes))
    }

    pub(crate) fn u64(&self, slot: usize) -> Result<u64> {
        Ok(self.field(slot)?.map_or(0, u64::from_le_bytes))
    }

    pub(crate) fn i64(&self, slot: usize) -> Result<i64> {
        Ok(self.field(slot)?.map_or(0, i64::from_le_bytes))
    }

    /// A vector of elements of a size, as their bytes.
    pub(crate) fn vector(&self, slot: usize, element: usize) -> Result<Option<&'a [u8]>> {
        let Some(reference) = self.position(slot, 4)? else { return Ok(None) };
        let at = follow(self.bytes, reference)?;
        let len = u32::from_le_bytes(array(self.bytes, at)?) as usize;
        let size = len.checked_mul(element).ok_or(Malformed)?;
        self.bytes[at + 4..].get(..size).map(Some).ok_or(Malformed)
    }

    /// A string: a vector of bytes with a NUL byte behind it.
    pub(crate) fn str(&self, slot: usize) -> Result<Option<&'a str>> {
        let Some(reference) = self.position(slot, 4)? else { return Ok(None) };
        let at = follow(self.bytes, reference)?;
        let len = u32::from_le_bytes(array(self.bytes, at)?) as usize;
        match self.bytes[at + 4..].get(..len.checked_add(1).ok_or(Malformed)?) {
            Some([text @ .., 0]) => str::from_utf8(text).map(Some).map_err(|_| Malformed),
            _ => Err(Malformed),
        }
    }

    /// A vector of tables: the position of its first reference, and how many there are.
    pub(crate) fn tables(&self, slot: usize) -> Result<Option<(usize, usize)>> {
        let Some(references) = self.vector(slot, 4)? else { return Ok(None) };
        let reference = self.position(slot, 4)?.ok_or(Malformed)?;
        Ok(Some((follow(self.bytes, reference)? + 4, references.len() / 4)))
    }
}

/// The position that a reference leads to: where it stands, and so many bytes on.
pub(crate) fn follow(bytes: &[u8], at: usize) -> Result<usize> {
    let offset = u32::from_le_bytes(array(bytes, at)?) as usize;
    at.checked_add(offset).filter(|&to| to < bytes.len()).ok_or(Malformed)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Malformed)
}
