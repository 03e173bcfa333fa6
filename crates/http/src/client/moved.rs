//! Moved: where content that does not change was found, so that its next part is asked for there.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

/// Where a registry led to, for a while.
///
/// Most registries keep blobs in a storage of others and answer each request for one with a signed URL there, which is a
/// round trip more for each part that is read. Those URLs are good for five minutes at least; one that is not any more
/// costs a request, because the registry is asked again. What comes is verified wherever it comes from.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The oldest first.
    found: Mutex<VecDeque<Found>>,
}

#[derive(Debug)]
struct Found {
    from: Url,
    to: Url,
    since: Instant,
}

impl Moved {
    /// Where something was found, if that is not long ago.
    pub(super) fn of(&self, from: &Url) -> Option<Url> {
        let mut found = self.lock();
        found.retain(|one| one.since.elapsed() < LIFETIME);
        found.iter().find(|one| one.from == *from).map(|one| one.to.clone())
    }

    pub(super) fn note(&self, from: &Url, to: &Url) {
        let mut found = self.lock();
        found.retain(|one| one.from != *from);
        if found.len() == MOST {
            found.pop_front();
        }
        found.push_back(Found { from: from.clone(), to: to.clone(), since: Instant::now() });
    }

    /// Forgets where something was, unless it was found elsewhere meanwhile.
    pub(super) fn forget(&self, from: &Url, to: &Url) {
        self.lock().retain(|one| one.from != *from || one.to != *to);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Found>> {
        self.found.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// For how long the registry is not asked again: much shorter than signed URLs are good for, so few fail.
const LIFETIME: Duration = Duration::from_secs(60);
/// Blobs of which it is remembered.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn url(path: impl std::fmt::Display) -> Url {
        format!("http://registry.example.com/{path}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_is_remembered_for_a_while() {
        let moved = Moved::default();
        moved.note(&url("a"), &url("x"));
        tokio::time::advance(LIFETIME / 2).await;
        moved.note(&url("b"), &url("y"));
        assert_eq!(
            (moved.of(&url("a")), moved.of(&url("b")), moved.of(&url("c"))),
            (Some(url("x")), Some(url("y")), None)
        );
        tokio::time::advance(LIFETIME / 2).await;
        assert_eq!((moved.of(&url("a")), moved.of(&url("b"))), (None, Some(url("y"))));
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_failed_is_forgotten() {
        let moved = Moved::default();
        moved.note(&url("a"), &url("new"));
        moved.forget(&url("a"), &url("old"));
        assert_eq!(moved.of(&url("a")), Some(url("new")));
        moved.forget(&url("a"), &url("new"));
        assert_eq!(moved.of(&url("a")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_grow() {
        let moved = Moved::default();
        for at in 0..MOST + 2 {
            moved.note(&url(at), &url("x"));
            moved.note(&url(at), &url("y"));
        }
        assert_eq!(moved.lock().len(), MOST);
        assert_eq!((moved.of(&url(1)), moved.of(&url(2))), (None, Some(url("y"))));
    }
}
