//! Carrying over: what is still needed of the data of an archive that is amended.

use std::io::Read;
use std::ops::Range;

use sha2::Digest as _;
use sha2::Sha256;

use super::super::BuildOptions;
use super::super::assemble::Packed;
use super::super::feed::failed;
use crate::decode::verify;
use crate::error::Error;
use crate::error::Result;
use crate::format::Index;
use crate::pages::write_all;

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// What errors call the data that is read.
const DATA: &str = "the data of the archive";

/// Copies what files refer to behind what was packed, and tells them where it is now.
///
/// All of the data is read and held to its hash, unless nothing of it is needed. `report` is told how many bytes of it
/// were read.
pub(super) fn carry(
    index: &Index,
    data: impl Read,
    packed: &mut Packed,
    options: &BuildOptions,
    report: &dyn Fn(u64),
) -> Result<()> {
    let needed = needed(packed);
    if !needed.is_empty() {
        let starts = copy(index, data, &needed, packed, options, report)?;
        for stored in packed.stored.iter_mut().filter(|stored| stored.is_before) {
            // Without bytes it may lie anywhere; the first run is as good as another.
            let run = needed.partition_point(|run| run.start <= stored.offset).saturating_sub(1);
            let within = stored.offset.clamp(needed[run].start, needed[run].end) - needed[run].start;
            (stored.offset, stored.is_before) = (starts[run] + within, false);
        }
        return Ok(());
    }
    for stored in packed.stored.iter_mut().filter(|stored| stored.is_before) {
        (stored.offset, stored.is_before) = (0, false);
    }
    Ok(())
}

/// The runs of the data that files refer to, in order, with gaps between them.
fn needed(packed: &Packed) -> Vec<Range<u64>> {
    let referred = packed.stored.iter().filter(|stored| stored.is_before && stored.size > 0);
    let mut ranges: Vec<_> = referred.map(|stored| (stored.offset, stored.offset + stored.size)).collect();
    ranges.sort_unstable();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for (start, end) in ranges {
        match runs.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => runs.push(start..end),
        }
    }
    runs
}

/// Reads the data and appends the runs to the spool; gives where each of them begins there.
fn copy(
    index: &Index,
    data: impl Read,
    runs: &[Range<u64>],
    packed: &mut Packed,
    options: &BuildOptions,
    report: &dyn Fn(u64),
) -> Result<Vec<u64>> {
    let size = index.data_size();
    let want = index
        .data_hash()
        .ok_or_else(|| Error::index("it has no hash of its data, so what is to be kept of it cannot be verified"))?;
    let place = options.temporary_place();
    let (mut starts, mut end) = (Vec::with_capacity(runs.len()), packed.size);
    for run in runs {
        starts.push(end);
        end += run.end - run.start;
    }
    let mut data = data.take(size.saturating_add(1));
    let (mut hasher, mut block, mut at, mut runs) = (Sha256::new(), vec![0; BLOCK], 0, runs.iter().peekable());
    loop {
        options.cancel.check()?;
        let count = match data.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(failed(DATA, source)),
        };
        hasher.update(&block[..count]);
        let here = at..at + count as u64;
        while let Some(run) = runs.peek().filter(|run| run.start < here.end) {
            let is_over = run.end <= here.end;
            let piece = run.start.max(here.start)..run.end.min(here.end);
            let piece = &block[(piece.start - at) as usize..(piece.end - at) as usize];
            packed.hasher.update(piece);
            packed.size += piece.len() as u64;
            write_all(&packed.spool, piece, None)
                .map_err(|errno| Error::io("write a temporary file in", &place)(errno))?;
            if !is_over {
                break;
            }
            runs.next();
        }
        at = here.end;
        report(at);
    }
    if at != size {
        return Err(Error::SizeMismatch { path: DATA.to_owned(), want: size, came: at });
    }
    verify(DATA, want, hasher.finalize().into())?;
    Ok(starts)
}
