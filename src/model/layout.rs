//! How the partitions of a lake are kept in objects.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use twox_hash::XxHash3_128;

use super::{Dataset, Month, Partition, StreamId};

/// How the partitions of a lake are kept in objects. A lake has one layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// An object per partition.
    #[default]
    Stream,
    /// An object per dataset, month and group of streams.
    Packed(Groups),
    /// A Delta table per dataset.
    Delta,
}

impl Layout {
    /// The word in the configuration and in front of people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Packed(_) => "packed",
            Self::Delta => "delta",
        }
    }
}

/// Into how many groups the streams of a packed lake are divided, as long as the lake has this layout: so no
/// stream moves from one object to another because others come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Groups(NonZeroU32);

impl Groups {
    /// The most groups a lake may have.
    pub const MOST: u32 = 1000;
    /// How many streams a group is meant for.
    const STREAMS: usize = 100;

    /// So many groups, if there may be so many.
    #[must_use]
    pub fn new(count: u32) -> Option<Self> {
        NonZeroU32::new(count).filter(|n| n.get() <= Self::MOST).map(Self)
    }

    /// As many as so many streams need.
    #[must_use]
    pub fn for_streams(streams: usize) -> Self {
        let count = u32::try_from(streams.div_ceil(Self::STREAMS)).unwrap_or(Self::MOST);
        Self::new(count.clamp(1, Self::MOST)).expect("within its bounds")
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.get()
    }

    /// The group of a stream: a function of its id and of how many groups there are.
    #[must_use]
    pub fn of(self, stream: &StreamId) -> Group {
        let number = XxHash3_128::oneshot(stream.as_str().as_bytes()) % u128::from(self.count());
        Group { index: u32::try_from(number).expect("below the count"), groups: self }
    }
}

/// One group of streams, written `0-of-4`: its number from 0, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    index: u32,
    groups: Groups,
}

impl Group {
    /// All groups of its kind.
    #[must_use]
    pub const fn groups(self) -> Groups {
        self.groups
    }

    /// Whether the stream belongs to it.
    #[must_use]
    pub fn holds(self, stream: &StreamId) -> bool {
        self.groups.of(stream) == self
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.index, self.groups.count())
    }
}

impl FromStr for Group {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let group = || {
            let (index, count) = text.split_once("-of-")?;
            let groups = Groups::new(count.parse().ok()?)?;
            let group = Self { index: index.parse().ok()?, groups };
            // A group has one spelling.
            (group.index < groups.count() && group.to_string() == text).then_some(group)
        };
        group().ok_or("expected a group as `0-of-4`")
    }
}

/// One object of the packed layout: a month of a group's streams in a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pack {
    /// The dataset.
    pub dataset: Dataset,
    /// The month of the data.
    pub month: Month,
    /// The streams.
    pub group: Group,
}

impl Pack {
    /// The pack that a partition belongs to.
    #[must_use]
    pub fn of(partition: &Partition, groups: Groups) -> Self {
        let Partition { dataset, month, stream } = partition;
        Self { dataset: *dataset, month: *month, group: groups.of(stream) }
    }

    /// A stream's partition in it.
    #[must_use]
    pub fn partition(self, stream: StreamId) -> Partition {
        Partition { dataset: self.dataset, stream, month: self.month }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(count: usize) -> Vec<StreamId> {
        (0..count).map(|n| format!("st-00000000-0000-5000-8000-{n:012}").parse().unwrap()).collect()
    }

    #[test]
    fn a_lake_is_divided_by_how_many_streams_it_begins_with() {
        let counts = [0, 1, 100, 101, 1000, 1_000_000].map(|n| Groups::for_streams(n).count());
        assert_eq!(counts, [1, 1, 1, 2, 10, 1000]);
        assert_eq!((Groups::new(0), Groups::new(1001)), (None, None));
    }

    #[test]
    fn streams_spread_over_the_groups() {
        let groups = Groups::new(10).unwrap();
        let mut held = [0; 10];
        for stream in streams(1000) {
            held[groups.of(&stream).index as usize] += 1;
        }
        assert!(held.iter().all(|n| (60..=140).contains(n)), "{held:?}");
    }

    /// An object keeps its streams for all times: another assignment would leave their rows twice.
    #[test]
    fn groups_are_the_same_for_all_times() {
        let groups = Groups::new(4).unwrap();
        let found: Vec<_> = streams(8).iter().map(|stream| groups.of(stream).to_string()).collect();
        assert_eq!(found.join(" "), "0-of-4 3-of-4 3-of-4 1-of-4 3-of-4 2-of-4 0-of-4 3-of-4");
    }

    #[test]
    fn a_group_has_one_spelling() {
        assert_eq!("3-of-4".parse::<Group>().unwrap().to_string(), "3-of-4");
        for text in ["", "4-of-4", "03-of-4", "+3-of-4", "3-of-04", "3-of-", "3of4", "0-of-0", "1-of-1001"] {
            assert!(text.parse::<Group>().is_err(), "{text}");
        }
    }
}
