//! Raw answers: what the API has said, word for word, kept beside the data, so that partitions can be made
//! from it again without a request.
//!
//! An object holds all answers of one unit that were asked together. Its name says when they were first seen and
//! what is in it, so nothing is ever overwritten, and the last name of a unit is that of its newest answers. It
//! is put before the data: whatever the lake holds, its answers are there.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::{Stream, hex};
use crate::kore::{self, Answer, Piece, Rejection};
use crate::lake::{self, Lake};
use crate::model::{Grain, Month, Slice, StreamId, Trend, Unit, Window};
use crate::table::Footer;

/// Their folder, relative to the lake's own.
const RAW: &str = "raw";
const SUFFIX: &str = ".json.zst";
/// The version of what is in them.
const VERSION: u32 = 1;
/// How many are read at once to be inspected.
const AT_ONCE: usize = 16;
/// More than any unit's answers take.
const LARGEST: u64 = 1 << 28;

/// The answers of a unit.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    stream: String,
    grain: String,
    month: String,
    zone: String,
    start: NaiveDate,
    end: NaiveDate,
    fetched_at: DateTime<Utc>,
    answers: Vec<KeptAnswer>,
}

/// The answer for one slice, piece by piece.
#[derive(Debug, Serialize, Deserialize)]
struct KeptAnswer {
    conversation_type: String,
    conversation_status: String,
    channel: String,
    pieces: Vec<Piece>,
}

impl KeptAnswer {
    fn is_of(&self, slice: &Slice) -> bool {
        self.conversation_type == slice.conversation_type.as_str()
            && self.conversation_status == slice.conversation_status.as_str()
            && self.channel == slice.channel.as_str()
    }
}

/// Keeps the answers of a unit, of which a partition with this footer was made.
///
/// # Errors
/// When the lake cannot be written.
pub(super) async fn keep(
    lake: &Lake,
    unit: &Unit,
    stream: &Stream,
    &Footer { start, end, fetched_at, .. }: &Footer,
    answers: &[(Slice, Vec<Piece>)],
) -> Result<(), lake::Error> {
    let answer = |(slice, pieces): &(Slice, Vec<Piece>)| KeptAnswer {
        conversation_type: slice.conversation_type.to_string(),
        conversation_status: slice.conversation_status.to_string(),
        channel: slice.channel.as_str().to_owned(),
        pieces: pieces.clone(),
    };
    let kept = Kept {
        version: VERSION,
        stream: unit.stream.to_string(),
        grain: unit.kind.to_string(),
        month: unit.month.to_string(),
        zone: stream.zone.name().to_owned(),
        start,
        end,
        fetched_at,
        answers: answers.iter().map(answer).collect(),
    };
    let text = serde_json::to_string(&kept).expect("texts and dates are JSON");
    let time = fetched_at.format("%Y%m%dT%H%M%S%.6fZ");
    let name = format!("{}/{}-{time}-{}{SUFFIX}", folder(unit), unit.kind, hex(&text));
    let bytes = zstd::encode_all(text.as_bytes(), 0).expect("memory takes all bytes");
    lake.put_internal(&name, bytes.into()).await
}

fn folder(unit: &Unit) -> String {
    format!("{RAW}/stream={}/month={}", unit.stream, unit.month)
}

/// The unit of a name, relative to [`RAW`].
fn unit_of(name: &str) -> Option<Unit> {
    let mut parts = name.split('/');
    let (stream, month, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (grain, _) = file.strip_suffix(SUFFIX)?.split_once('-')?;
    Some(Unit {
        stream: stream.strip_prefix("stream=")?.parse().ok()?,
        kind: grain.parse::<Grain>().ok()?.into(),
        month: month.strip_prefix("month=")?.parse::<Month>().ok()?,
    })
}

/// Which raw answers are there: the names by unit, the oldest first.
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

/// Answers that have been checked again, as if they had just come.
pub(super) struct Again {
    pub window: Window,
    pub fetched_at: DateTime<Utc>,
    pub trends: Vec<(Slice, Trend)>,
    pub missing: u64,
    pub in_pieces: bool,
}

/// Raw answers cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Lake(#[from] lake::Error),
    #[error("the raw answers that are kept do not fit what the configuration asks")]
    NoneFits,
    #[error("the raw answer was rejected: {0}")]
    Rejected(Rejection),
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

    /// Reads the newest answers of a unit that fit what is asked, and checks them as when they came.
    pub(super) async fn newest(&self, lake: &Lake, stream: &Stream, unit: &Unit) -> Result<Again, Error> {
        for (name, _) in self.0.get(unit).into_iter().flatten().rev() {
            let Some(bytes) = lake.read_internal(name).await? else { continue };
            match read(name, &bytes, unit) {
                Ok(kept) if fits(&kept, stream) => {
                    return again(&kept, stream, unit).map_err(Error::Rejected);
                }
                Ok(_) => {}
                Err(reason) => warn!("`{}/{name}` is passed over: {reason}", lake::INTERNAL),
            }
        }
        Err(Error::NoneFits)
    }

    /// The same without those of streams that are not wanted.
    #[must_use]
    pub fn of(mut self, is_wanted: impl Fn(&StreamId) -> bool) -> Self {
        self.0.retain(|unit, _| is_wanted(&unit.stream));
        self
    }

    /// Reads every object, and gives the keys of those that are unsound, with why.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn inspect(&self, lake: &Lake) -> Result<Vec<(String, String)>, lake::Error> {
        let all = self.0.iter().flat_map(|(unit, names)| names.iter().map(move |(name, _)| (unit, name)));
        let reads = all.map(|(unit, name)| async move {
            let Some(bytes) = lake.read_internal(name).await? else { return Ok(None) };
            let reason = read(name, &bytes, unit).err();
            Ok(reason.map(|reason| (format!("{}/{name}", lake::INTERNAL), reason)))
        });
        let reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        reads.try_filter_map(async |unsound| Ok(unsound)).try_collect().await
    }

    /// Removes all but the newest of each unit, unless it is a `dry_run`, and gives how many that are, and their bytes.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub async fn vacuum(&self, lake: &Lake, dry_run: bool) -> Result<(u64, u64), lake::Error> {
        let (mut count, mut bytes) = (0, 0);
        for names in self.0.values() {
            for (name, size) in &names[..names.len() - 1] {
                if !dry_run {
                    lake.delete_internal(name).await?;
                }
                count += 1;
                bytes += size;
            }
        }
        Ok((count, bytes))
    }
}

fn fits(kept: &Kept, stream: &Stream) -> bool {
    kept.zone == stream.zone.name() && stream.slices.iter().all(|s| kept.answers.iter().any(|a| a.is_of(s)))
}

/// Reads an object and holds it against its name.
fn read(name: &str, bytes: &Bytes, unit: &Unit) -> Result<Kept, String> {
    let mut text = String::new();
    let decoder = zstd::Decoder::new(bytes.as_ref()).map_err(|e| e.to_string())?;
    decoder.take(LARGEST).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if !name.ends_with(&format!("-{}{SUFFIX}", hex(&text))) {
        return Err("its content is not what its name says".into());
    }
    let kept: Kept = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let place = (kept.stream.as_str(), kept.grain.as_str(), kept.month.as_str());
    if kept.version > VERSION {
        return Err("a later version of trendlake wrote it".into());
    }
    if place != (unit.stream.as_str(), unit.kind.as_str(), &unit.month.to_string()) {
        return Err("it lies in another unit's place".into());
    }
    Ok(kept)
}

fn again(kept: &Kept, stream: &Stream, unit: &Unit) -> Result<Again, Rejection> {
    let window = Window { month: unit.month, start: kept.start, end: kept.end };
    let mut found =
        Again { window, fetched_at: kept.fetched_at, trends: Vec::new(), missing: 0, in_pieces: false };
    for slice in &stream.slices {
        let question = stream.question(unit.kind.grain(), slice, window);
        let pieces = kept.answers.iter().find(|a| a.is_of(slice)).map(|a| a.pieces.as_slice());
        let Answer { trend, in_pieces, .. } =
            kore::again(&question, pieces.unwrap_or_default(), stream.on_missing)?;
        found.missing += u64::from(trend.missing);
        found.in_pieces |= in_pieces;
        found.trends.push((slice.clone(), trend));
    }
    Ok(found)
}
