//! A part of the streams, for one of several processes.

use std::fmt;
use std::str::FromStr;

use twox_hash::XxHash3_128;

/// The share of one process among several that divide the streams between them: `0/3`, `1/3` and `2/3`.
///
/// Each stream falls to exactly one of them, since its rate limit must not be shared, by rendezvous: every
/// process of the group has a number that depends on it and the stream's id alone, and the highest one gets
/// the stream. So it matters neither which other streams there are nor in which order, and a group that
/// grows from N to N + 1 hands on one stream in N + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// A text that is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShard {
    /// It does not have the form.
    #[error("a shard is written as `0/3`: its number from 0, and how many there are")]
    Form,
    /// There is none, or more than are worth it.
    #[error("there are 1 to {max} shards, not {found}", max = Shard::MOST)]
    Count {
        /// How many were asked for.
        found: u32,
    },
    /// There is no shard of this number.
    #[error("of {count} shards, the last one is `{last}/{count}`, since the first one is `0/{count}`", last = count - 1)]
    Beyond {
        /// How many there are.
        count: u32,
    },
}

impl Shard {
    /// The most processes that may divide the streams.
    pub const MOST: u32 = 1000;

    /// How many processes there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Whether a stream, or a group of streams, falls to this process.
    #[must_use]
    pub fn holds(self, whom: impl fmt::Display) -> bool {
        // With the index beside it, so that no two are equal.
        let number = |index: u32| (XxHash3_128::oneshot(format!("{index}/{whom}").as_bytes()), index);
        (0..self.count).map(number).max() == Some(number(self.index))
    }
}

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| {
            let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u32>().ok().filter(|_| is_plain).ok_or(InvalidShard::Form)
        };
        let (index, count) = text.split_once('/').ok_or(InvalidShard::Form)?;
        let (index, count) = (number(index)?, number(count)?);
        if count == 0 || count > Self::MOST {
            return Err(InvalidShard::Count { found: count });
        }
        if index >= count {
            return Err(InvalidShard::Beyond { count });
        }
        Ok(Self { index, count })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::StreamId;
    use super::*;

    fn streams(count: usize) -> Vec<StreamId> {
        (0..count).map(|n| format!("st-00000000-0000-5000-8000-{n:012}").parse().unwrap()).collect()
    }

    /// To whom a stream falls; to exactly one.
    fn holder(stream: &StreamId, count: u32) -> u32 {
        let holders: Vec<_> = (0..count).filter(|&index| Shard { index, count }.holds(stream)).collect();
        assert_eq!(holders.len(), 1, "{stream} of {count}: {holders:?}");
        holders[0]
    }

    #[test]
    fn every_stream_falls_to_one_process_and_each_gets_its_share() {
        let streams = streams(1000);
        for count in [1, 2, 3, 7, 10] {
            let mut held = vec![0; count as usize];
            for stream in &streams {
                held[holder(stream, count) as usize] += 1;
            }
            assert_eq!(held.iter().sum::<u32>(), 1000);
            // Four standard deviations.
            let share = 1000.0 / f64::from(count);
            let off = 4.0 * (share * (1.0 - 1.0 / f64::from(count))).sqrt();
            assert!(held.iter().all(|&n| (f64::from(n) - share).abs() <= off), "{count}: {held:?}");
        }
    }

    #[test]
    fn one_more_process_takes_its_share_and_nothing_else_moves() {
        let streams = streams(1000);
        for count in [1, 2, 4, 9] {
            let moved: Vec<_> = streams
                .iter()
                .map(|stream| (holder(stream, count), holder(stream, count + 1)))
                .filter(|(before, after)| before != after)
                .collect();
            assert!(moved.iter().all(|(_, after)| *after == count), "moved between old ones");
            let share = 1000.0 / f64::from(count + 1);
            let moved = f64::from(u32::try_from(moved.len()).unwrap());
            assert!((moved - share).abs() <= 4.0 * share.sqrt(), "{count}: {moved} instead of {share}");
        }
    }

    /// Processes of different versions may be at work side by side during an upgrade.
    #[test]
    fn the_shares_are_the_same_for_all_times() {
        let holders: Vec<_> = streams(12).iter().map(|stream| holder(stream, 3)).collect();
        assert_eq!(holders, [0, 1, 2, 2, 1, 0, 1, 2, 0, 1, 0, 2]);
    }

    #[test]
    fn shards_are_read_strictly() {
        assert_eq!("2/3".parse::<Shard>().unwrap().to_string(), "2/3");
        assert_eq!("0/1".parse::<Shard>(), Ok(Shard { index: 0, count: 1 }));
        for text in
            ["", "3", "/", "1/", "/3", "a/3", "-1/3", "+1/3", "1/ 3", "1/3/5", "0.5/3", "1/99999999999"]
        {
            assert_eq!(text.parse::<Shard>(), Err(InvalidShard::Form), "{text}");
        }
        assert_eq!("0/0".parse::<Shard>(), Err(InvalidShard::Count { found: 0 }));
        assert_eq!("0/1001".parse::<Shard>(), Err(InvalidShard::Count { found: 1001 }));
        assert_eq!("3/3".parse::<Shard>(), Err(InvalidShard::Beyond { count: 3 }));
    }
}
