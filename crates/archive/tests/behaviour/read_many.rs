//! Many files at once: how many requests they take, how long, and in how much memory.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::build;
use crate::support::data;
use crate::support::noise;
use crate::support::open_noted;
use crate::support::write;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::Compression;
use skep_archive::Limits;
use skep_archive::ReadOptions;
use skep_archive::Source;
use skep_registry::Body;
use tempfile::tempdir;
use tokio::time::Instant;

/// A tree of files, named by numbers and of no equal content, and its archive without compression.
fn files(count: usize, len: impl Fn(usize) -> usize) -> (BTreeMap<String, Vec<u8>>, Built) {
    let tree = tempdir().unwrap();
    let files: BTreeMap<_, _> =
        (0..count).map(|at| (format!("d/{at:05}"), at.to_le_bytes().repeat(len(at) / 8))).collect();
    for (path, content) in &files {
        write(tree.path(), path, content);
    }
    (files, build(tree.path(), &BuildOptions { compression: Compression::None, ..Default::default() }))
}

async fn read(archive: &Archive, paths: &[String], options: ReadOptions) -> Vec<(String, Bytes)> {
    let files = archive.read_many_with(paths.to_vec(), options).unwrap();
    files.map(|file| file.unwrap()).collect().await
}

#[tokio::test]
async fn every_second_file_of_a_directory_takes_few_requests() {
    let (files, built) = files(1000, |at| 4000 + at % 7 * 8);
    let (archive, source) = open_noted(&built);
    let wanted: Vec<String> = files.keys().step_by(2).cloned().collect();
    let mut asked = wanted.clone();
    asked.reverse();
    let came = read(&archive, &asked, ReadOptions::default()).await;
    assert_eq!(source.take().len(), 1);
    assert_eq!(came.iter().map(|(path, _)| path).collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
    assert!(came.iter().all(|(path, content)| *content == files[path]));
}

#[tokio::test]
async fn a_gap_is_read_through_when_it_costs_less_than_a_request() {
    let (files, built) = files(100, |_| 20_000);
    let (archive, source) = open_noted(&built);
    let wanted: Vec<String> = files.keys().step_by(3).cloned().collect();
    for (gap, requests) in [(40_000, 1), (39_999, 34), (0, 34), (u64::MAX, 1)] {
        let came = read(&archive, &wanted, ReadOptions { gap, ..Default::default() }).await;
        assert!(came.iter().all(|(path, content)| *content == files[path]));
        assert_eq!((came.len(), source.take().len()), (34, requests), "{gap}");
    }
}

#[tokio::test]
async fn files_of_no_bytes_and_files_with_the_same_bytes_cost_nothing() {
    let tree = tempdir().unwrap();
    for path in ["a", "b/empty", "c", "z/empty"] {
        write(tree.path(), path, if path.ends_with("empty") { "" } else { "same" });
    }
    let (archive, source) = open_noted(&build(tree.path(), &BuildOptions::default()));
    let came = read(&archive, &["z/empty", "a", "c", "b/empty", "a"].map(str::to_owned), ReadOptions::default()).await;
    let mut came: Vec<_> = came.iter().map(|(path, content)| (path.as_str(), content.len())).collect();
    came.sort_unstable();
    assert_eq!(came, [("a", 4), ("a", 4), ("b/empty", 0), ("c", 4), ("z/empty", 0)]);
    assert_eq!(source.take().len(), 1);
}

/// A line of a latency, on which all requests share so many bytes per second.
#[derive(Debug)]
struct Line {
    data: Bytes,
    latency: Duration,
    rate: f64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    free: Instant,
    requests: usize,
    open: usize,
    most: usize,
    /// Bytes that are asked for and were not sent yet.
    waiting: u64,
    most_waiting: u64,
}

impl Line {
    fn new(data: Bytes, latency: u64, megabits: f64) -> Self {
        let state = State { free: Instant::now(), requests: 0, open: 0, most: 0, waiting: 0, most_waiting: 0 };
        let state = Arc::new(Mutex::new(state));
        Self { data, latency: Duration::from_millis(latency), rate: megabits * 125_000.0, state }
    }
}

#[async_trait]
impl Source for Line {
    fn size(&self) -> u64 {
        self.data.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> skep_archive::Result<Body> {
        let (state, rate) = (self.state.clone(), self.rate);
        let len = range.end - range.start;
        {
            let mut state = state.lock().unwrap();
            state.requests += 1;
            state.open += 1;
            state.waiting += len;
            state.most = state.most.max(state.open);
            state.most_waiting = state.most_waiting.max(state.waiting);
        }
        tokio::time::sleep(self.latency).await;
        let data = self.data.slice(range.start as usize..range.end as usize);
        let part = async move {
            let until = {
                let mut state = state.lock().unwrap();
                state.free = state.free.max(Instant::now()) + Duration::from_secs_f64(len as f64 / rate);
                state.free
            };
            tokio::time::sleep_until(until).await;
            let mut state = state.lock().unwrap();
            state.open -= 1;
            state.waiting -= len;
            Ok(data)
        };
        Ok(Body::new(Some(len), stream::once(part)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_random_files_of_ten_thousand_take_as_long_as_the_line_does() {
    for (len, seed) in [(2_000, 1), (10_000, 2)] {
        let (files, built) = files(10_000, |_| len);
        let mut wanted: Vec<(u64, String)> = (0..10_000)
            .zip(noise(80_000, seed).chunks(8))
            .map(|(at, bytes)| (u64::from_le_bytes(bytes.try_into().unwrap()), format!("d/{at:05}")))
            .collect();
        wanted.sort();
        let wanted: Vec<String> = wanted.into_iter().take(1000).map(|(_, path)| path).collect();
        let line = Arc::new(Line::new(data(&built).await, 50, 100.0));
        let archive = Archive::new(built.index().clone(), line.clone(), Limits::default()).unwrap();
        let begun = Instant::now();
        let came = read(&archive, &wanted, ReadOptions::default()).await;
        let took = begun.elapsed().as_secs_f64();
        assert!(came.len() == 1000 && came.iter().all(|(path, content)| *content == files[path]));
        let transfer = 1000.0 * len as f64 / line.rate;
        let bound = transfer.max(1000.0 / 16.0 * 0.05);
        let requests = line.state.lock().unwrap().requests;
        assert!(took <= 1.5 * bound, "{len} bytes: {took} s, not within 1.5 of {bound} s, {requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_and_so_much_memory_and_no_more() {
    let (files, built) = files(60, |at| if at % 20 == 0 { 3 << 20 } else { 900_000 });
    let wanted: Vec<String> = files.keys().cloned().collect();
    for (memory, most_waiting, most) in [(32u64 << 20, 16u64 << 20, 16), (8 << 20, 4 << 20, 16), (0, 4 << 20, 1)] {
        let line = Arc::new(Line::new(data(&built).await, 50, 100.0));
        let archive = Archive::new(built.index().clone(), line.clone(), Limits::default()).unwrap();
        let came = read(&archive, &wanted, ReadOptions { memory, ..Default::default() }).await;
        assert!(came.iter().all(|(path, content)| *content == files[path]) && came.len() == 60);
        let state = line.state.lock().unwrap();
        assert!(state.most_waiting <= most_waiting, "{memory}: {} bytes", state.most_waiting);
        assert!(state.most <= most, "{memory}: {} requests", state.most);
    }
    let line = Arc::new(Line::new(data(&built).await, 50, 100.0));
    let archive = Archive::new(built.index().clone(), line.clone(), Limits::default()).unwrap();
    read(&archive, &wanted, ReadOptions { in_flight: 2, ..Default::default() }).await;
    assert_eq!(line.state.lock().unwrap().most, 2);
}
