//! The least that packing and unpacking a tree can take here: the same work by threads that do nothing else.
//!
//! `floor pack DIR [LEVEL]` walks, reads, hashes, compresses and hashes again, and keeps nothing.
//! `floor unpack INDEX DATA DIR` reads, decompresses, hashes and writes, without a look at what is there.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sha2::Digest;
use sha2::Sha256;
use skep_archive::Archive;
use skep_archive::Codec;
use skep_archive::Limits;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let began = Instant::now();
    let bytes = match words[..] {
        ["pack", dir] => pack(dir.as_ref(), 3)?,
        ["pack", dir, level] => pack(dir.as_ref(), level.parse()?)?,
        ["unpack", index, data, dir] => unpack(index.as_ref(), data.as_ref(), dir.as_ref())?,
        _ => return Err("pack DIR [LEVEL], or unpack INDEX DATA DIR".into()),
    };
    println!("{bytes} bytes in {:?}", began.elapsed());
    Ok(())
}

/// Work in parts, by as many threads as there are processors.
fn work(count: usize, part: impl Fn() -> Result<Box<dyn FnMut(usize) -> Result<u64>>> + Sync) -> Result<u64> {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let run = || -> Result<()> {
            let mut part = part()?;
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= count {
                    return Ok(());
                }
                for at in from..(from + BATCH).min(count) {
                    bytes.fetch_add(part(at)?, Ordering::Relaxed);
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    Ok(bytes.into_inner())
}

fn pack(dir: &Path, level: i32) -> Result<u64> {
    let mut paths = Vec::new();
    walk(dir, &mut paths)?;
    paths.sort();
    let paths = std::sync::Arc::new(paths);
    work(paths.len(), || {
        let (paths, mut content, mut stored) = (paths.clone(), Vec::new(), Vec::new());
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        Ok(Box::new(move |at| {
            content.clear();
            File::open(&paths[at])?.read_to_end(&mut content)?;
            for chunk in content.chunks(if content.len() > WHOLE { CHUNK } else { WHOLE }) {
                stored.clear();
                stored.reserve(zstd::zstd_safe::compress_bound(chunk.len()));
                compressor.compress_to_buffer(chunk, &mut stored)?;
                std::hint::black_box((Sha256::digest(chunk), Sha256::digest(&stored)));
            }
            Ok(content.len() as u64)
        }))
    })
}

fn walk(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => walk(&entry.path(), paths)?,
            kind if kind.is_file() => paths.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

fn unpack(index: &Path, data: &Path, dir: &Path) -> Result<u64> {
    let archive = Archive::open_files(index, data, Limits::default())?;
    let mut made = Path::new("").to_owned();
    for entry in archive.entries() {
        let parent = Path::new(entry.path).parent().unwrap_or(Path::new(""));
        if parent != made {
            fs::create_dir_all(dir.join(parent))?;
            made = parent.to_owned();
        }
    }
    let (data, dir) = (std::sync::Arc::new(File::open(data)?), dir.to_owned());
    let count = archive.entries().len();
    work(count, || {
        let (archive, data, dir) = (archive.clone(), data.clone(), dir.clone());
        let (mut stored, mut content) = (Vec::new(), Vec::new());
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        Ok(Box::new(move |at| {
            let entry = archive.index().entry(at);
            let file = File::create_new(dir.join(entry.path))?;
            let whole = [entry.data_size as u32];
            let sizes: Vec<u32> = entry.chunks.map_or(whole.to_vec(), |chunks| {
                (0..).map_while(|at| chunks.get(at)).map(|(stored, _)| stored).collect()
            });
            let (mut from, mut to) = (entry.data_offset, 0);
            for size in sizes {
                stored.resize(size as usize, 0);
                data.read_exact_at(&mut stored, from)?;
                from += u64::from(size);
                let content = match entry.codec {
                    Codec::Zstd if size > 0 => {
                        content.clear();
                        let left = (entry.original_size - to) as usize;
                        content.reserve(entry.chunks.map_or(left, |chunks| left.min(chunks.size() as usize)));
                        decompressor.decompress_to_buffer(&stored, &mut content)?;
                        &content
                    }
                    _ => &stored,
                };
                std::hint::black_box(Sha256::digest(content));
                file.write_all_at(content, to)?;
                to += content.len() as u64;
            }
            Ok(to)
        }))
    })
}

/// Files that a thread takes at once.
const BATCH: usize = 64;
/// Bytes that are compressed at once of a larger file.
const CHUNK: usize = 256 << 10;
/// Bytes of a file that is compressed at once.
const WHOLE: usize = 1 << 20;
