//! The units of a report, packed stream by stream: a run of thousands of streams has hundreds of thousands of
//! units, and what is said of them is nearly the same each time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Outcome, Severity, Totals, UnitReport};

/// The level at which most is gained for the least work, on texts as alike as these.
const LEVEL: i32 = 1;
/// Fewer bytes are kept as they are: a few units of a stream, as most runs have.
const WORTH_PACKING: usize = 4096;

/// What came of the units of a run, by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// By the stream's id.
    packs: BTreeMap<Box<str>, Pack>,
    sums: Sums,
}

/// The units of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pack {
    /// A unit as JSON in each line; under zstd, if they are longer than [`WORTH_PACKING`].
    lines: Box<[u8]>,
    /// How long they are.
    length: usize,
    has_open: bool,
    has_written: bool,
}

/// What is asked of all units together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    totals: Totals,
    severities: Vec<Severity>,
}

impl Units {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.sums.totals.planned).expect("they are in memory")
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Adds units, at best all of a stream at once: for more of them later on, those before are unpacked.
    pub fn add(&mut self, units: &[UnitReport]) {
        for units in units.chunk_by(|a, b| a.stream == b.stream) {
            for unit in units {
                self.sums.add(unit);
            }
            let stream = units[0].stream.as_str();
            let pack = match self.packs.get(stream) {
                None => Pack::of(units),
                Some(before) => Pack::of(&[&before.units(), units].concat()),
            };
            self.packs.insert(stream.into(), pack);
        }
    }

    /// Each of them, by the streams' ids, otherwise as they were added; unpacked stream by stream.
    pub fn iter(&self) -> impl Iterator<Item = UnitReport> {
        self.packs.values().flat_map(Pack::units)
    }

    /// Those of one stream.
    pub fn of(&self, stream: &str) -> impl Iterator<Item = UnitReport> {
        self.packs.get(stream).into_iter().flat_map(Pack::units)
    }

    /// The ids of the streams.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        self.packs.keys().map(AsRef::as_ref)
    }

    /// Those that are still to be done.
    pub fn open(&self) -> impl Iterator<Item = UnitReport> {
        let packs = self.packs.values().filter(|pack| pack.has_open);
        packs.flat_map(Pack::units).filter(|unit| unit.outcome.is_open())
    }

    /// Those that have written something, whatever became of them.
    pub fn written(&self) -> impl Iterator<Item = UnitReport> {
        let packs = self.packs.values().filter(|pack| pack.has_written);
        packs.flat_map(Pack::units).filter(|unit| unit.written().next().is_some())
    }

    /// Sums over them; what only a run knows is nothing yet.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.sums.totals
    }

    /// Whether one of them failed so.
    pub(super) fn has(&self, severity: Severity) -> bool {
        self.sums.severities.contains(&severity)
    }

    /// How many bytes the packs take.
    #[cfg(test)]
    pub(super) fn packed_bytes(&self) -> usize {
        self.packs.iter().map(|(id, pack)| id.len() + size_of::<Pack>() + pack.lines.len()).sum()
    }

    /// The units of each pack as JSON, one in each line.
    pub(super) fn lines(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.packs.values().map(Pack::lines)
    }
}

impl Pack {
    fn of(units: &[UnitReport]) -> Self {
        let mut lines = Vec::with_capacity(512 * units.len());
        for unit in units {
            serde_json::to_writer(&mut lines, unit).expect("a unit's report is JSON");
            // A text of JSON in one piece has no line end.
            lines.push(b'\n');
        }
        let length = lines.len();
        if length > WORTH_PACKING {
            lines = zstd::bulk::compress(&lines, LEVEL).expect("memory takes all bytes");
        }
        Self {
            lines: lines.into(),
            length,
            has_open: units.iter().any(|unit| unit.outcome.is_open()),
            has_written: units.iter().any(|unit| unit.written().next().is_some()),
        }
    }

    fn lines(&self) -> Cow<'_, [u8]> {
        if self.length > WORTH_PACKING {
            zstd::bulk::decompress(&self.lines, self.length).expect("this process has packed it").into()
        } else {
            self.lines.as_ref().into()
        }
    }

    fn units(&self) -> Vec<UnitReport> {
        let lines = self.lines();
        let units = serde_json::Deserializer::from_slice(&lines).into_iter();
        units.collect::<Result<_, _>>().expect("this process has written it")
    }
}

impl Sums {
    fn add(&mut self, unit: &UnitReport) {
        let totals = &mut self.totals;
        totals.planned += 1;
        totals.missing += unit.missing;
        totals.restated += unit.restated;
        totals.puts += unit.partly.len() as u64;
        match &unit.outcome {
            Outcome::Committed { written, rows, bytes, .. } => {
                totals.committed += 1;
                totals.puts += written.len() as u64;
                totals.rows += rows;
                totals.bytes += bytes;
            }
            Outcome::Unchanged | Outcome::Superseded => totals.unchanged += 1,
            Outcome::Failed(failure) => {
                totals.failed += 1;
                if !self.severities.contains(&failure.severity) {
                    self.severities.push(failure.severity);
                }
            }
            Outcome::Open => totals.open += 1,
        }
    }
}

impl FromIterator<UnitReport> for Units {
    fn from_iter<I: IntoIterator<Item = UnitReport>>(units: I) -> Self {
        let mut packed = Self::default();
        packed.add(&units.into_iter().collect::<Vec<_>>());
        packed
    }
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seq;
        impl<'de> Visitor<'de> for Seq {
            type Value = Units;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("units")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Units, A::Error> {
                let (mut units, mut stream) = (Units::default(), Vec::<UnitReport>::new());
                while let Some(unit) = seq.next_element::<UnitReport>()? {
                    if stream.first().is_some_and(|first| first.stream != unit.stream) {
                        units.add(&stream);
                        stream.clear();
                    }
                    stream.push(unit);
                }
                units.add(&stream);
                Ok(units)
            }
        }
        deserializer.deserialize_seq(Seq)
    }
}
