//! Pages: lists as they come over the wire, one part at a time.

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many items. `None` leaves it to the registry; `Some(0)` gets an empty list.
    pub limit: Option<usize>,
    /// Only what comes after: an item of the list, or what [`Listing::next`] said.
    pub after: Option<String>,
}

/// One part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items, in lexical order.
    pub items: Vec<T>,
    /// [`Page::after`] of the next part, when there may be one. Opaque.
    pub next: Option<String>,
}

impl<T> Listing<T> {
    /// A list that is complete.
    pub fn complete(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// Cuts a page out of all items, which are given in lexical order.
    pub fn cut<K: AsRef<str>>(all: impl IntoIterator<Item = T>, page: &Page, key: impl Fn(&T) -> K) -> Self {
        let after = |item: &T| page.after.as_deref().is_none_or(|after| key(item).as_ref() > after);
        let mut rest = all.into_iter().filter(after);
        let limit = page.limit.unwrap_or(usize::MAX);
        let items: Vec<T> = rest.by_ref().take(limit).collect();
        let next = match items.last() {
            Some(last) if rest.next().is_some() => Some(key(last).as_ref().to_owned()),
            _ => None,
        };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gaps() {
        let tags = ["alpha", "bravo", "charlie", "delta", "echo"];
        for (limit, after, want, next) in [
            (None, None, &tags[..], None),
            (Some(100), None, &tags[..], None),
            (Some(5), None, &tags[..], None),
            (Some(3), None, &tags[..3], Some("charlie")),
            (Some(0), None, &[], None),
            (Some(2), Some("bravo"), &tags[2..4], Some("delta")),
            (None, Some("bravo"), &tags[2..], None),
            (Some(2), Some("c"), &tags[2..4], Some("delta")),
            (Some(2), Some("zulu"), &[], None),
        ] {
            let page = Page { limit, after: after.map(str::to_owned) };
            let got = Listing::cut(tags, &page, |tag| *tag);
            assert_eq!(got, Listing { items: want.to_vec(), next: next.map(str::to_owned) }, "{page:?}");
        }
    }
}
