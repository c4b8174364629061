//! How the lake stands, month by month, for a person's eyes.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use super::inventory::{Overview, StreamOverview};
use crate::config::Stream;
use crate::model::{Partition, Unit};
use crate::plan::State;
use crate::report::{Outcome, Report};

/// How a unit stands: what the lake says of it, and what the last run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It is there for good.
    Final,
    /// It is there, and its figures may still change.
    Provisional,
    /// It was asked differently than the configuration asks now.
    Stale,
    /// It is not there.
    Missing,
    /// An object of it cannot be read.
    Damaged,
    /// Its last answer is parked for a person to judge.
    Suspect,
    /// It failed in the last run.
    Failed,
}

impl Condition {
    /// Every condition, the best first.
    pub const ALL: [Self; 7] = [
        Self::Final,
        Self::Provisional,
        Self::Stale,
        Self::Missing,
        Self::Damaged,
        Self::Suspect,
        Self::Failed,
    ];

    /// The word shown to the user.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Provisional => "provisional",
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
        }
    }
}

/// How the units of one stream stand.
#[derive(Clone, Debug)]
pub struct StreamCoverage {
    /// The stream.
    pub stream: Stream,
    /// Every unit within the scope, newest month first.
    pub units: Vec<(Unit, Condition)>,
}

/// How every unit of an overview stands, in the light of the last runs; the newest comes first. Of each unit, the
/// newest report that knows of it counts: shards and backfills each tell of a part.
#[must_use]
pub fn coverage(overview: &Overview, reports: &[impl Borrow<Report>]) -> Vec<StreamCoverage> {
    let suspect: BTreeSet<Unit> = overview.parked.suspect.iter().map(Partition::unit).collect();
    let of_stream = |StreamOverview { stream, units }: &StreamOverview| {
        let failed = failed(stream, reports);
        let condition = |unit: &Unit, state: State| match state {
            State::Final => Condition::Final,
            _ if suspect.contains(unit) => Condition::Suspect,
            State::Damaged => Condition::Damaged,
            _ if failed.contains(&(unit.kind.to_string(), unit.month.to_string())) => Condition::Failed,
            State::Provisional => Condition::Provisional,
            State::Stale => Condition::Stale,
            State::Missing | State::Forced | State::Broken => Condition::Missing,
        };
        StreamCoverage {
            stream: stream.clone(),
            units: units.iter().map(|p| (p.unit.clone(), condition(&p.unit, p.state))).collect(),
        }
    };
    overview.streams.iter().map(of_stream).collect()
}

/// The grain and month of those units of a stream that failed the last time they were told of.
fn failed(stream: &Stream, reports: &[impl Borrow<Report>]) -> BTreeSet<(String, String)> {
    let (mut told, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for unit in reports.iter().flat_map(|report| report.borrow().units.of(stream.id.as_str())) {
        let name = (unit.grain, unit.month);
        if matches!(unit.outcome, Outcome::Failed(_)) && !told.contains(&name) {
            failed.insert(name.clone());
        }
        told.insert(name);
    }
    failed
}
