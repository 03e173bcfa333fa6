//! Near: which name may have been meant by one that is not there.

/// The names with the fewest letters to change, the nearest first, three at most.
pub(crate) fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let bound = (wanted.len() / 2).max(1);
    let far = |name: &'a str| (distance(wanted, name), name);
    let mut near: Vec<_> = names.into_iter().map(far).filter(|(distance, _)| *distance <= bound).collect();
    near.sort_unstable();
    near.into_iter().take(MAX_NAMED).map(|(_, name)| name).collect()
}

/// Letters to add, leave out or change to make one word of another.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, candidate) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(byte != candidate);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// Names that are named.
const MAX_NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (one, other, want) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("v1", "v2", 1),
            ("latest", "lastest", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), want, "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["latest", "v1.2", "v1.20", "v2.2", "nightly", "v1.3"];
        assert_eq!(near("v1.1", names), ["v1.2", "v1.3", "v1.20"]);
        assert_eq!(near("lates", names), ["latest"]);
        assert_eq!(near("x", names), [""; 0]);
    }
}
