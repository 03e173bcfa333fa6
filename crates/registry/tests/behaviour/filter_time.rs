//! Limits and timeouts, by a clock that tests move.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use skep_registry::Body;
use skep_registry::Call;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Filter;
use skep_registry::Filtered;
use skep_registry::LimitOptions;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::UploadOptions;
use skep_registry::idle_timeout;
use skep_registry::limited;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn place_is_taken_until_the_body_has_ended() {
    let registry = limited(hello().await, at_once(1));
    let mut body = registry.get_blob(&repo(), &digest(), None).await.unwrap().body;
    assert!(waits(registry.head_blob(&repo(), &digest())).await);
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");
    assert!(waits(registry.head_blob(&repo(), &digest())).await);
    assert!(body.next().await.is_none());
    assert!(!waits(registry.head_blob(&repo(), &digest())).await);
    drop(body);
}

#[tokio::test(start_paused = true)]
async fn place_is_free_when_the_body_is_dropped() {
    let registry = limited(hello().await, at_once(1));
    drop(registry.get_blob(&repo(), &digest(), None).await.unwrap());
    assert!(!waits(registry.head_blob(&repo(), &digest())).await);
}

#[tokio::test(start_paused = true)]
async fn place_is_free_when_the_body_breaks_off() {
    let broken = Slow { part: Duration::MAX, ..Slow::default() };
    let stalling = idle_timeout(Filtered::new(hello().await, broken), SECOND);
    let registry = limited(stalling, at_once(1));
    let mut body = registry.get_blob(&repo(), &digest(), None).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap_err().code(), &Code::Unavailable);
    assert!(!waits(registry.head_blob(&repo(), &digest())).await);
    assert!(body.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn place_is_free_after_an_error_and_after_a_dropped_call() {
    let registry = limited(Filtered::new(hello().await, Slow { answer: 5 * SECOND, ..Slow::default() }), at_once(1));
    assert!(registry.head_blob(&repo(), &Digest::sha256(b"other")).await.is_err());
    assert!(timeout(SECOND, registry.head_blob(&repo(), &digest())).await.is_err());
    assert!(timeout(6 * SECOND, registry.head_blob(&repo(), &digest())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn upload_takes_a_place_for_each_of_its_calls_only() {
    let registry = limited(Memory::default(), at_once(1));
    let mut one = registry.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    let mut two = registry.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    let stalled = tokio::spawn(async move {
        let part = stream::iter([Ok(Bytes::from("hel"))]).chain(stream::pending());
        one.append(Body::new(None, part)).await
    });
    tokio::task::yield_now().await;
    assert!(waits(two.append(body("he"))).await);
    stalled.abort();
    two.append(body("hello")).await.unwrap();
    two.commit(&digest()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_run_as_there_are_places() {
    let registry = limited(Filtered::new(hello().await, Slow { answer: SECOND, ..Slow::default() }), at_once(3));
    let begun = Instant::now();
    join_all((0..7).map(|_| registry.head_blob(&REPO, &HELLO))).await;
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_place_counts_as_one() {
    let registry = limited(hello().await, at_once(0));
    assert!(!waits(registry.head_blob(&repo(), &digest())).await);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_in_the_order_in_which_they_came() {
    let registry = Arc::new(limited(hello().await, at_once(1)));
    let order = Arc::new(Mutex::new(Vec::new()));
    let held = registry.get_blob(&repo(), &digest(), None).await.unwrap();
    let mut waiting = Vec::new();
    for index in 0..5 {
        let (registry, order) = (registry.clone(), order.clone());
        waiting.push(tokio::spawn(async move {
            registry.head_blob(&repo(), &digest()).await.unwrap();
            order.lock().unwrap().push(index);
        }));
        tokio::task::yield_now().await;
    }
    drop(held);
    join_all(waiting).await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn calls_begin_at_a_rate() {
    let registry = limited(hello().await, per_second(10));
    for _ in 0..2 {
        let begun = Instant::now();
        let calls = (0..25).map(|_| async {
            registry.head_blob(&REPO, &HELLO).await.unwrap();
            begun.elapsed().as_millis()
        });
        let times = join_all(calls).await;
        // What rest saves up is a second's worth, however long it was.
        let want: Vec<u128> = (0..25).map(|index: u128| index.saturating_sub(9) * 100).collect();
        let close = |(got, want): (&u128, &u128)| got.abs_diff(*want) <= 5;
        assert!(times.iter().zip(&want).all(close), "{times:?}");
        sleep(10 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_give_up_do_not_count() {
    let registry = limited(hello().await, per_second(1));
    registry.head_blob(&repo(), &digest()).await.unwrap();
    let begun = Instant::now();
    let given_up = (0..100).map(|_| timeout(SECOND / 2, registry.head_blob(&REPO, &HELLO)));
    assert!(join_all(given_up).await.iter().all(Result::is_err));
    registry.head_blob(&repo(), &digest()).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn call_without_an_answer_is_unavailable() {
    let registry =
        idle_timeout(Filtered::new(hello().await, Slow { answer: Duration::MAX, ..Slow::default() }), SECOND);
    let begun = Instant::now();
    let error = registry.head_blob(&repo(), &digest()).await.unwrap_err();
    assert_eq!(error.to_string(), "registry unavailable: head_blob: nothing has moved for 1s");
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn body_that_stalls_is_unavailable_and_ends() {
    let stalling = Slow { part: Duration::MAX, ..Slow::default() };
    let registry = idle_timeout(Filtered::new(hello().await, stalling), SECOND);
    let mut body = registry.get_blob(&repo(), &digest(), None).await.unwrap().body;
    let error = body.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "registry unavailable: get_blob: nothing has moved for 1s");
    assert!(body.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn body_may_take_long_as_long_as_it_moves() {
    let slow = Slow { part: 9 * SECOND, ..Slow::default() };
    let registry = idle_timeout(Filtered::new(Memory::default(), slow), 10 * SECOND);
    let content = Bytes::from("0123456789");
    let descriptor = Descriptor::of("text/plain", &content);
    // Ten parts, nine seconds each, on their way in and again on their way out.
    registry.put_blob(&repo(), &descriptor, trickle(content.clone(), 9 * SECOND)).await.unwrap();
    let mut upload = registry.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    upload.append(trickle(content.clone(), 9 * SECOND)).await.unwrap();
    upload.commit(&descriptor.digest).await.unwrap();
    assert_eq!(registry.read_blob(&repo(), &descriptor.digest, 100).await.unwrap(), content);
}

#[tokio::test(start_paused = true)]
async fn body_on_its_way_in_that_stalls_stores_nothing() {
    let memory = Memory::default();
    let registry = idle_timeout(memory.clone(), 10 * SECOND);
    let descriptor = Descriptor::of("text/plain", b"0123456789");
    let error = registry.put_blob(&repo(), &descriptor, trickle("0123456789".into(), 11 * SECOND)).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert!(!memory.has_blob(&repo(), &descriptor.digest).await.unwrap());
    let mut upload = registry.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    let error = upload.append(trickle("0123456789".into(), 11 * SECOND)).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert_eq!(upload.offset(), 0);
}

#[tokio::test(start_paused = true)]
async fn slow_readers_are_not_the_registrys_fault() {
    let registry = idle_timeout(hello().await, SECOND);
    let mut body = registry.get_blob(&repo(), &digest(), None).await.unwrap().body;
    sleep(100 * SECOND).await;
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");
    sleep(100 * SECOND).await;
    assert!(body.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn timeout_around_a_limit_bounds_the_wait() {
    let registry = idle_timeout(limited(hello().await, at_once(1)), SECOND);
    let _held = registry.get_blob(&repo(), &digest(), None).await.unwrap();
    let error = registry.head_blob(&repo(), &digest()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
}

/// Takes its time for answers and for each byte of a body on its way out.
#[derive(Debug, Default)]
struct Slow {
    answer: Duration,
    part: Duration,
}

impl Filter for Slow {
    type Pass = ();

    fn admit(&self, _call: Call<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn hides(&self) -> bool {
        false
    }

    async fn enter(&self, _call: Call<'_>) -> Result<(), Error> {
        Ok(())
    }

    async fn around<T: Send>(&self, _pass: &mut (), call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        sleep(self.answer).await;
        call.await
    }

    fn send(&self, _pass: (), body: Body) -> Body {
        let part = self.part;
        Body::new(body.len(), body.map_ok(move |bytes| trickle(bytes, part)).try_flatten())
    }
}

/// A body of single bytes, each of which takes its time.
fn trickle(content: Bytes, each: Duration) -> Body {
    let len = content.len();
    let parts = stream::iter((0..len).map(move |at| content.slice(at..at + 1)));
    Body::new(
        Some(len as u64),
        parts.then(move |part| async move {
            sleep(each).await;
            Ok(part)
        }),
    )
}

/// Tells whether a call is still waiting after some time.
async fn waits<T>(call: impl Future<Output = T>) -> bool {
    timeout(SECOND, call).await.is_err()
}

fn at_once(concurrency: usize) -> LimitOptions {
    LimitOptions { concurrency, ..Default::default() }
}

fn per_second(calls: u32) -> LimitOptions {
    LimitOptions { per_second: NonZeroU32::new(calls), ..Default::default() }
}

async fn hello() -> Memory {
    let memory = Memory::default();
    memory.write_blob(&repo(), "hello".into()).await.unwrap();
    memory
}

fn body(text: &'static str) -> Body {
    Body::from(Bytes::from(text))
}

fn repo() -> RepoName {
    REPO.clone()
}

fn digest() -> Digest {
    HELLO.clone()
}

static REPO: LazyLock<RepoName> = LazyLock::new(|| "a".parse().unwrap());
static HELLO: LazyLock<Digest> = LazyLock::new(|| Digest::sha256(b"hello"));
const SECOND: Duration = Duration::from_secs(1);
