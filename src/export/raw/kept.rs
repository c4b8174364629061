//! What an object of raw answers holds, and how it is written and read.

use std::io::Read;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{SUFFIX, folder};
use crate::config::{Stream, hex};
use crate::kore::Piece;
use crate::model::{Slice, Span, Unit, UnitKind};
use crate::table::Footer;

/// The version of what is in the objects.
const VERSION: u32 = 1;
/// More than any unit's answers take.
const LARGEST: u64 = 1 << 28;

/// An answer that is to be kept.
pub(in crate::export) struct Raw {
    pub slice: Slice,
    /// In a unit of periods: which one it is of, and the last day asked for.
    pub period: Option<(Span, NaiveDate)>,
    /// What the server has sent, request by request. Nothing where it takes no whole period.
    pub pieces: Vec<Piece>,
}

/// The answers of a unit that were asked together.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::export) struct Kept {
    version: u32,
    stream: String,
    grain: String,
    month: String,
    pub zone: String,
    pub start: NaiveDate,
    pub end: NaiveDate,
    pub fetched_at: DateTime<Utc>,
    answers: Vec<KeptAnswer>,
}

/// The answer for one slice, or for one period of it, piece by piece.
#[derive(Debug, Serialize, Deserialize)]
struct KeptAnswer {
    conversation_type: String,
    conversation_status: String,
    channel: String,
    /// In a unit of periods, and in no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    period: Option<KeptPeriod>,
    pieces: Vec<Piece>,
}

/// Which period an answer is of.
#[derive(Debug, Serialize, Deserialize)]
struct KeptPeriod {
    kind: String,
    /// The first day, which is the first one asked for.
    start: NaiveDate,
    /// The last day as scheduled.
    end: NaiveDate,
    /// The last day asked for.
    asked_to: NaiveDate,
}

/// Where an answer of a period belongs: its slice, and the period's kind and days.
pub(super) type Place = ([String; 3], String, NaiveDate, NaiveDate);

impl KeptAnswer {
    fn of(Raw { slice, period, pieces }: &Raw) -> Self {
        let period = period.map(|(Span { period, start, end }, asked_to)| KeptPeriod {
            kind: period.to_string(),
            start,
            end,
            asked_to,
        });
        Self {
            conversation_type: slice.conversation_type.to_string(),
            conversation_status: slice.conversation_status.to_string(),
            channel: slice.channel.as_str().to_owned(),
            period,
            pieces: pieces.clone(),
        }
    }

    fn is_of(&self, slice: &Slice) -> bool {
        self.conversation_type == slice.conversation_type.as_str()
            && self.conversation_status == slice.conversation_status.as_str()
            && self.channel == slice.channel.as_str()
    }
}

impl Kept {
    /// The answers of a unit, of which a partition with this footer was made.
    pub(super) fn new(
        unit: &Unit,
        stream: &Stream,
        &Footer { start, end, fetched_at, .. }: &Footer,
        answers: &[Raw],
    ) -> Self {
        Self {
            version: VERSION,
            stream: unit.stream.to_string(),
            grain: unit.kind.to_string(),
            month: unit.month.to_string(),
            zone: stream.zone.name().to_owned(),
            start,
            end,
            fetched_at,
            answers: answers.iter().map(KeptAnswer::of).collect(),
        }
    }

    /// The name of its object, and the object.
    pub(super) fn written(&self, unit: &Unit) -> (String, Vec<u8>) {
        let text = serde_json::to_string(self).expect("texts and dates are JSON");
        let time = self.fetched_at.format("%Y%m%dT%H%M%S%.6fZ");
        let name = format!("{}/{}-{time}-{}{SUFFIX}", folder(unit), unit.kind, hex(&text));
        (name, zstd::encode_all(text.as_bytes(), 0).expect("memory takes all bytes"))
    }

    /// Reads an object and holds it against its name.
    pub(super) fn read(name: &str, bytes: &[u8], unit: &Unit) -> Result<Self, String> {
        let mut text = String::new();
        let decoder = zstd::Decoder::new(bytes).map_err(|e| e.to_string())?;
        decoder.take(LARGEST).read_to_string(&mut text).map_err(|e| e.to_string())?;
        if !name.ends_with(&format!("-{}{SUFFIX}", hex(&text))) {
            return Err("its content is not what its name says".into());
        }
        let kept: Self = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let place = (kept.stream.as_str(), kept.grain.as_str(), kept.month.as_str());
        if kept.version > VERSION {
            return Err("a later version of trendlake wrote it".into());
        }
        if place != (unit.stream.as_str(), unit.kind.as_str(), &unit.month.to_string()) {
            return Err("it lies in another unit's place".into());
        }
        let are_of_periods = unit.kind == UnitKind::Periods;
        if kept.answers.iter().any(|answer| answer.period.is_some() != are_of_periods) {
            return Err("its answers are not those of such a unit".into());
        }
        Ok(kept)
    }

    /// The answer for a slice, of a unit of days or hours.
    pub(super) fn of_slice(&self, slice: &Slice) -> Option<&[Piece]> {
        let answer = self.answers.iter().find(|answer| answer.is_of(slice))?;
        Some(&answer.pieces)
    }

    /// The answer for a period of a slice up to this day. Without any piece where the API took no whole period,
    /// whatever the day.
    pub(in crate::export) fn of_period(
        &self,
        slice: &Slice,
        span: Span,
        asked_to: NaiveDate,
    ) -> Option<&[Piece]> {
        let is_it = |answer: &&KeptAnswer| {
            let is_of_span = |period: &KeptPeriod| {
                (period.kind.as_str(), period.start, period.end)
                    == (span.period.as_str(), span.start, span.end)
                    && (period.asked_to == asked_to || answer.pieces.is_empty())
            };
            answer.is_of(slice) && answer.period.as_ref().is_some_and(is_of_span)
        };
        self.answers.iter().find(is_it).map(|answer| answer.pieces.as_slice())
    }

    /// The places of the answers of periods.
    pub(super) fn into_places(self) -> impl Iterator<Item = Place> {
        self.answers.into_iter().filter_map(|answer| {
            let KeptPeriod { kind, start, end, .. } = answer.period?;
            let slice = [answer.conversation_type, answer.conversation_status, answer.channel];
            Some((slice, kind, start, end))
        })
    }
}
