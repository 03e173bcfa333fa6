//! Ranges: which bytes of a blob are there.

use std::ops::Range;

/// A set of bytes: ranges in order, none empty, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Takes ranges as [`Ranges::iter`] gave them; none if they are not such.
    pub(super) fn from_ordered(ranges: Vec<Range<u64>>) -> Option<Self> {
        let apart = ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
        (apart && ranges.iter().all(|range| range.start < range.end)).then_some(Self(ranges))
    }

    /// The ranges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// Adds a range.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        let first = self.0.partition_point(|there| there.end < range.start);
        let behind = self.0.partition_point(|there| there.start <= range.end);
        let touched = self.0.get(first..behind).unwrap_or_default();
        let start = touched.first().map_or(range.start, |there| there.start.min(range.start));
        let end = touched.last().map_or(range.end, |there| there.end.max(range.end));
        self.0.splice(first..behind, std::iter::once(start..end));
    }

    /// Up to where bytes are there without a gap, from an offset on; the offset itself if its byte is not there.
    pub(super) fn reach(&self, at: u64) -> u64 {
        let next = self.0.partition_point(|there| there.end <= at);
        self.0.get(next).filter(|there| there.start <= at).map_or(at, |there| there.end)
    }

    /// The end of the last range.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    /// How many bytes are there.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// What of the first `size` bytes is not there, in order.
    pub(super) fn missing(&self, size: u64) -> Vec<Range<u64>> {
        let starts = std::iter::once(0).chain(self.0.iter().map(|range| range.end));
        let ends = self.0.iter().map(|range| range.start).chain([size]);
        starts.zip(ends).map(|(start, end)| start..end.min(size)).filter(|gap| gap.start < gap.end).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_has_the_bytes_that_were_added(added in prop::collection::vec((0u64..64, 0u64..16), 0..20)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 80];
            for (start, len) in added {
                ranges.insert(start..start + len);
                bytes[start as usize..(start + len) as usize].fill(true);
            }
            let has = |at: usize| ranges.iter().any(|range| range.contains(&(at as u64)));
            prop_assert!((0..80).all(|at| has(at) == bytes[at]));
            prop_assert_eq!(ranges.total(), bytes.iter().filter(|there| **there).count() as u64);
            let gaps: Vec<u64> = ranges.missing(80).into_iter().flatten().collect();
            prop_assert!((0..80).all(|at| gaps.contains(&(at as u64)) != bytes[at]));
            for at in 0..80 {
                let end = (at..80).find(|at| !bytes[*at]).unwrap_or(80);
                prop_assert_eq!(ranges.reach(at as u64), end as u64);
            }
            prop_assert_eq!(Ranges::from_ordered(ranges.iter().cloned().collect()), Some(ranges));
        }
    }

    #[test]
    fn ranges_out_of_order_are_no_set() {
        for ranges in [vec![4..8, 0..2], vec![0..4, 4..8], vec![0..4, 2..8], vec![0..1, 3..3]] {
            assert_eq!(Ranges::from_ordered(ranges.clone()), None, "{ranges:?}");
        }
    }
}
