//! What the lake holds, as far as the plan has to know: listings first, footers where they are needed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt};

use super::parked::{self, Parked};
use crate::config::{Location, Settings, Stream, hex};
use crate::lake::{self, Kind};
use crate::model::{Dataset, Partition, StreamId, UnitKind};
use crate::plan::{self, Inventory, Planned, Presence, Scope, State};
use crate::report::exit;
use crate::shelf::{Found, Shelf, Survey};
use crate::table::FORMAT_VERSION;

/// How many places are looked at at once.
const LOOKS_AT_ONCE: usize = 32;
/// Of how many partitions that no listing names the places are looked at, on a lake that was never complete.
const LOOKED_AT: usize = 4;
/// What was written so lately may have been written since the listing, by another run.
const JUST_WRITTEN: TimeDelta = TimeDelta::minutes(1);

/// What the lake holds of the streams looked at, and what is to be done.
#[derive(Debug)]
pub struct Overview {
    /// One entry per stream, in the configuration's order.
    pub streams: Vec<StreamOverview>,
    /// Keys in our folders that are no partition's.
    pub foreign: Vec<String>,
    /// Answers that did not become partitions.
    pub parked: Parked,
    location: String,
}

/// One stream of an overview.
#[derive(Debug)]
pub struct StreamOverview {
    /// The stream.
    pub stream: Stream,
    /// Every unit within the scope, final ones included, newest month first.
    pub units: Vec<Planned>,
}

/// Lists the lake and says what is to be done for `streams` within `scope`.
///
/// # Errors
/// When a listing or a footer cannot be read, or a later version of trendlake has written here.
pub async fn overview(
    shelf: &Shelf,
    settings: &Settings,
    streams: &[Stream],
    scope: &Scope,
    now: DateTime<Utc>,
) -> Result<Overview, Error> {
    let note = shelf.note();
    let location = place(&settings.lake.location);
    let is_verified = |stream: &Stream| {
        note.verified.get(stream.id.as_str()) == Some(&settings_fingerprint(stream, &location))
    };
    let known: BTreeMap<&StreamId, (&Stream, bool)> =
        streams.iter().map(|stream| (&stream.id, (stream, is_verified(stream)))).collect();
    let needs_footer = |partition: &Partition, written_at| {
        known.get(&partition.stream).is_some_and(|(stream, verified)| {
            plan::needs_footer(stream, partition, written_at, *verified, now)
        })
    };
    let are_asked = |kind| kind != UnitKind::Periods || streams.iter().any(|s| !s.periods.is_empty());
    let datasets: Vec<_> = Dataset::ALL.into_iter().filter(|d| are_asked(d.unit_kind())).collect();
    let ids: Vec<StreamId> = streams.iter().map(|stream| stream.id.clone()).collect();
    let Survey { mut found, foreign, shared } = shelf.survey(&datasets, &ids, &needs_footer).await?;
    found.sort_by(|(a, _), (b, _)| a.stream.cmp(&b.stream));
    let mut overviews = Vec::with_capacity(streams.len());
    for stream in streams {
        let start = found.partition_point(|(partition, _)| partition.stream < stream.id);
        let of_stream = found[start..].iter().take_while(|(partition, _)| partition.stream == stream.id);
        let mut inventory: Inventory = of_stream.map(|(p, found)| (p.clone(), presence(found))).collect();
        let mut units = plan::survey(stream, &inventory, scope, now);
        let was_complete = note.verified.contains_key(stream.id.as_str());
        let found = look_for_missing(shelf, &units, (&inventory, &shared), was_complete, now).await?;
        if !found.is_empty() {
            inventory.extend(found);
            units = plan::survey(stream, &inventory, scope, now);
        }
        overviews.push(StreamOverview { stream: stream.clone(), units });
    }
    let parked = parked::list(shelf.lake()).await?;
    Ok(Overview { streams: overviews, foreign, parked, location })
}

/// The overview cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake fails.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// The store's listing cannot be trusted.
    #[error("the listing of the lake leaves out `{key}`, which is there: nothing is fetched on its word")]
    IncompleteListing {
        /// The object.
        key: String,
    },
    /// The run was to stop before it knew what is due.
    #[error("stopped before it was known what is due; nothing was fetched")]
    Stopped,
}

impl Error {
    /// The exit code of a command that fails with this.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Lake(error) => match error.kind() {
                Kind::Storage => exit::STORAGE,
                Kind::Permission => exit::PERMISSION,
                Kind::Locked => exit::LOCKED,
                Kind::Foreign => exit::INTEGRITY,
                Kind::Settings => exit::CONFIG,
            },
            Self::IncompleteListing { .. } => exit::STORAGE,
            Self::Stopped => exit::TERMINATED,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Lake(error) => error.hint(),
            Self::IncompleteListing { .. } => {
                Some("run again; if it stays so, the store's listings cannot be relied on")
            }
            Self::Stopped => None,
        }
    }
}

/// Which settings the footers of a stream are held against. The lake's place is a part of it: in a
/// copied lake, the time at which an object was written says nothing of when it was fetched.
fn settings_fingerprint(stream: &Stream, location: &str) -> String {
    let Stream { first_date, settle_days, .. } = stream;
    hex(&format!(
        "{} {first_date} {settle_days} {FORMAT_VERSION} {location:?}",
        stream.fingerprint(UnitKind::Periods)
    ))
}

/// Where the lake is, whatever folder the program was started in.
fn place(location: &Location) -> String {
    match location {
        Location::Folder(path) => {
            std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
        }
        Location::Remote(url) => url.to_string(),
    }
}

/// What a plan has to know of what was found.
fn presence(found: &Found) -> Presence {
    match found {
        Found::Damaged => Presence::Damaged,
        Found::Listed { written_at } => Presence::Listed { written_at: *written_at },
        Found::Footer(footer) => Presence::Known {
            fetched_at: footer.fetched_at,
            old_format: footer.format_version < FORMAT_VERSION,
            is_final: footer.is_final,
            fingerprint: footer.fingerprint.clone(),
            start: footer.start,
            settle_days: footer.settle_days,
        },
    }
}

/// Looks at the places of partitions that the listing does not name, and gives those that are there all
/// the same. A listing that comes back empty by mistake would otherwise have everything fetched again.
///
/// All places are looked at where the stream has been complete once: little is missing then, or
/// something is wrong. Else the newest ones are, which every run fills first; and all of them where one of
/// these turns up.
async fn look_for_missing(
    shelf: &Shelf,
    units: &[Planned],
    (listed, shared): (&Inventory, &BTreeSet<String>),
    was_complete: bool,
    now: DateTime<Utc>,
) -> Result<Inventory, Error> {
    // An object that holds others of them was looked at: what is not in it is missing.
    let is_left_out =
        |p: &Partition| !listed.contains_key(p) && (shared.is_empty() || !shared.contains(&shelf.key(p)));
    let missing: Vec<_> = units.iter().flat_map(|u| u.unit.partitions()).filter(is_left_out).collect();
    let (first, rest) =
        missing.split_at(if was_complete { missing.len() } else { LOOKED_AT.min(missing.len()) });
    let mut found = Inventory::new();
    for places in [first, rest] {
        let looks = places.iter().map(|partition| async move {
            let Some((found, written_at)) = shelf.find(partition).await? else { return Ok(None) };
            if written_at < now - JUST_WRITTEN {
                return Err(Error::IncompleteListing { key: shelf.key(partition) });
            }
            Ok(Some((partition.clone(), presence(&found))))
        });
        let looks = futures_util::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
        found.extend(looks.try_collect::<Vec<_>>().await?.into_iter().flatten());
        if found.is_empty() {
            break;
        }
    }
    Ok(found)
}

impl Overview {
    /// The units that are to be fetched, by stream. What is left of the overview has no units.
    pub(super) fn take_due(&mut self) -> Vec<(Stream, Vec<Planned>)> {
        let due = |stream: &mut StreamOverview| {
            let mut units = std::mem::take(&mut stream.units);
            units.retain(|planned| planned.state != State::Final);
            (stream.stream.clone(), units)
        };
        self.streams.iter_mut().map(due).collect()
    }

    /// Notes in the lake for which streams every footer has now been held against the settings:
    /// those without an open unit. Writes nothing if that was known before.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub async fn remember(
        &self,
        shelf: &Shelf,
        is_complete: impl Fn(&StreamId) -> bool,
    ) -> Result<(), lake::Error> {
        let complete = self.streams.iter().filter(|s| is_complete(&s.stream.id)).map(|s| &s.stream);
        let verified = complete.map(|s| (s.id.to_string(), settings_fingerprint(s, &self.location)));
        shelf.remember(verified.collect()).await
    }
}
