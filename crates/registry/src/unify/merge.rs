//! Lists of several registries as one, page by page.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future;
use futures_util::future::BoxFuture;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Registry;
use crate::unify::Unified;

impl Unified {
    /// One page of what all registries list, in order and without doubles.
    ///
    /// The cursor is the last item, because the cursor of one registry means nothing to the others.
    pub(super) fn merge<'a, T: Send + 'a, L>(
        &'a self,
        page: &Page,
        list: impl Fn(&'a dyn Registry) -> L,
        key: fn(&T) -> String,
    ) -> BoxFuture<'a, Result<Listing<T>>>
    where
        L: Fn(Page) -> BoxFuture<'a, Result<Listing<T>>> + Send + Sync + 'a,
    {
        let pages = self.members.iter().map(|member| filled(list(&**member), page.clone()));
        let pages = future::join_all(pages);
        let limit = page.limit.unwrap_or(usize::MAX);
        async move { Ok(merged(self.answers(pages.await)?, limit, key)) }.boxed()
    }
}

fn merged<T>(pages: Vec<(usize, Listing<T>)>, limit: usize, key: fn(&T) -> String) -> Listing<T> {
    // What a registry lists behind its page is not known yet, so the shortest page is as far as all go.
    let mut known_to = None;
    let mut items = BTreeMap::new();
    for (_, listing) in pages {
        if let (Some(_), Some(last)) = (listing.next, listing.items.last()) {
            let last = key(last);
            known_to = Some(known_to.map_or(last.clone(), |end: String| end.min(last)));
        }
        for item in listing.items {
            items.entry(key(&item)).or_insert(item);
        }
    }
    let mut known = items.into_iter().filter(|(key, _)| known_to.as_ref().is_none_or(|end| key <= end));
    let page: Vec<_> = known.by_ref().take(limit).collect();
    let more = known_to.is_some() || known.next().is_some();
    let next = page.last().filter(|_| more).map(|(key, _)| key.clone());
    Listing { items: page.into_iter().map(|(_, item)| item).collect(), next }
}

/// A page with items in it, unless there are none any more or none are wanted.
async fn filled<'a, T>(list: impl Fn(Page) -> BoxFuture<'a, Result<Listing<T>>>, mut page: Page) -> Result<Listing<T>> {
    loop {
        let listing = list(page.clone()).await?;
        if !listing.items.is_empty() || listing.next.is_none() || page.limit == Some(0) {
            return Ok(listing);
        }
        if listing.next == page.after {
            return Err(Error::new(Code::Unsupported, "the registry's list does not advance"));
        }
        page.after = listing.next;
    }
}
