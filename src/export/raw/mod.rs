//! Raw answers: what the API has said, word for word, kept beside the data, so that partitions can be made
//! from it again without a request.
//!
//! An object holds all answers of one unit that were asked together. Its name says when they were first seen and
//! what is in it, so nothing is ever overwritten, and the last name of a unit is that of its newest answers. It
//! is put before the data: whatever the lake holds, its answers are there. A unit of periods asks only for those
//! that have not settled, so its answers are those of several objects; the newest one says up to which day.

mod again;
mod kept;
mod upkeep;

use std::collections::BTreeMap;

use futures_util::{Stream as Objects, StreamExt, TryStreamExt, stream};
use tracing::warn;

pub(super) use again::Again;
pub(super) use kept::{Kept, Raw};

use crate::config::Stream;
use crate::kore::Rejection;
use crate::lake::{self, Lake};
use crate::model::{Month, StreamId, Unit, UnitKind};
use crate::table::Footer;

/// Their folder, relative to the lake's own.
const RAW: &str = "raw";
const SUFFIX: &str = ".json.zst";

/// Keeps the answers of a unit, of which a partition with this footer was made.
///
/// # Errors
/// When the lake cannot be written.
pub(super) async fn keep(
    lake: &Lake,
    unit: &Unit,
    stream: &Stream,
    footer: &Footer,
    answers: &[Raw],
) -> Result<(), lake::Error> {
    let (name, bytes) = Kept::new(unit, stream, footer, answers).written(unit);
    lake.put_internal(&name, bytes.into()).await
}

fn folder(unit: &Unit) -> String {
    format!("{RAW}/stream={}/month={}", unit.stream, unit.month)
}

/// The unit of a name, relative to [`RAW`].
fn unit_of(name: &str) -> Option<Unit> {
    let mut parts = name.split('/');
    let (stream, month, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (kind, _) = file.strip_suffix(SUFFIX)?.split_once('-')?;
    Some(Unit {
        stream: stream.strip_prefix("stream=")?.parse().ok()?,
        kind: UnitKind::ALL.into_iter().find(|of| of.as_str() == kind)?,
        month: month.strip_prefix("month=")?.parse::<Month>().ok()?,
    })
}

/// Which raw answers are there: the names by unit, the oldest first, and the lengths of the objects.
#[derive(Debug, Default)]
pub struct RawAnswers(BTreeMap<Unit, Vec<(String, u64)>>);

/// Lists the raw answers.
///
/// # Errors
/// When the lake cannot be listed.
pub async fn raw_answers(lake: &Lake) -> Result<RawAnswers, lake::Error> {
    let mut answers = RawAnswers::default();
    for (name, listed) in lake.listed_internal(RAW).await? {
        if let Some(unit) = unit_of(&name) {
            answers.0.entry(unit).or_default().push((format!("{RAW}/{name}"), listed.size));
        }
    }
    Ok(answers)
}

/// Raw answers cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Lake(#[from] lake::Error),
    #[error("the raw answers that are kept do not fit what the configuration asks")]
    NoneFits,
    #[error("no raw answer that fits what the configuration asks is kept of {missing} of {all} periods")]
    Incomplete { missing: usize, all: usize },
    #[error("the raw answer was rejected: {0}")]
    Rejected(#[from] Rejection),
}

impl RawAnswers {
    /// Whether there are any of a unit.
    #[must_use]
    pub fn has(&self, unit: &Unit) -> bool {
        self.0.contains_key(unit)
    }

    /// How many objects there are, and their bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let all = || self.0.values().flatten();
        (all().count() as u64, all().map(|(_, size)| size).sum())
    }

    /// The same without those of streams that are not wanted.
    #[must_use]
    pub fn of(mut self, is_wanted: impl Fn(&StreamId) -> bool) -> Self {
        self.0.retain(|unit, _| is_wanted(&unit.stream));
        self
    }

    /// The objects of a unit that were asked in the stream's zone, the newest first, each read in its turn. What
    /// cannot be read is passed over.
    pub(super) fn newest_first<'a>(
        &'a self,
        lake: &'a Lake,
        stream: &'a Stream,
        unit: &'a Unit,
    ) -> impl Objects<Item = Result<Kept, lake::Error>> + 'a {
        let names = self.0.get(unit).into_iter().flatten().rev();
        let read = stream::iter(names).then(async move |(name, _)| open(lake, name, unit).await);
        read.try_filter_map(async move |kept| {
            Ok(match kept {
                Opened::Sound(kept) if kept.zone == stream.zone.name() => Some(kept),
                Opened::Sound(_) | Opened::Gone => None,
                Opened::Unsound { key, reason } => {
                    warn!("`{key}` is passed over: {reason}");
                    None
                }
            })
        })
    }
}

/// What came of an object that was listed.
enum Opened {
    Sound(Kept),
    Unsound { key: String, reason: String },
    Gone,
}

async fn open(lake: &Lake, name: &str, unit: &Unit) -> Result<Opened, lake::Error> {
    let Some(bytes) = lake.read_internal(name).await? else { return Ok(Opened::Gone) };
    Ok(match Kept::read(name, &bytes, unit) {
        Ok(kept) => Opened::Sound(kept),
        Err(reason) => Opened::Unsound { key: format!("{}/{name}", lake::INTERNAL), reason },
    })
}
