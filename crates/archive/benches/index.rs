//! An index of a million entries: what it takes to open it, and to find one.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark says by a panic that it failed")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::BatchSize;
use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use skep_archive::Codec;
use skep_archive::Entry;
use skep_archive::Index;
use skep_archive::Limits;
use skep_archive::write_index;

const ENTRIES: usize = 1_000_000;

fn paths() -> Vec<String> {
    let path = |at: usize| format!("packages/{:03}/module-{:04}/source-{:06}.rs", at / 10_000, at / 100 % 100, at);
    let mut paths: Vec<_> = (0..ENTRIES).map(path).collect();
    paths.sort_unstable();
    paths
}

fn index(paths: &[String]) -> Bytes {
    let hash = [7; 32];
    let entries: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(at, path)| Entry {
            path,
            data_offset: at as u64 * 10,
            data_size: 10,
            original_size: 30,
            hash: &hash,
            mode: 0o644,
            uid: 1000,
            gid: 1000,
            mtime_ns: 1_700_000_000_000_000_000 + at as i64,
            codec: Codec::Zstd,
            chunks: None,
        })
        .collect();
    write_index(entries.into_iter(), [].into_iter(), [].into_iter(), ENTRIES as u64 * 10, &hash).unwrap()
}

fn benches(criterion: &mut Criterion) {
    let paths = paths();
    let bytes = index(&paths);
    let limits = Limits::default();
    let open = || Index::parse(bytes.clone(), &limits).unwrap();
    let mut group = criterion.benchmark_group("index of 1,000,000 entries");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("open", |bencher| bencher.iter_batched(|| (), |()| open(), BatchSize::PerIteration));
    let index = open();
    // Another one each time, far from the last: nothing of the way to it is in the caches of the processor.
    let mut at = 0;
    group.bench_function("find", |bencher| {
        bencher.iter(|| {
            at = (at + 618_033) % ENTRIES;
            black_box(index.find(&paths[at]).unwrap().original_size)
        });
    });
    group.bench_function("find nothing", |bencher| {
        bencher.iter(|| {
            at = (at + 618_033) % ENTRIES;
            black_box(index.find(&paths[at][1..]).is_none())
        });
    });
    group.finish();
}

criterion_group!(index_of_a_million, benches);
criterion_main!(index_of_a_million);
