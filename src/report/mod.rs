//! What came of a run: one outcome per unit, totals, and the exit code.

mod units;

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use units::Units;

/// How long the pieces are into which a large report is cut, at the least.
const PIECE: usize = 256 * 1024;

/// Exit codes of the program, after sysexits where they fit.
pub mod exit {
    /// Every due unit committed, or none due.
    pub const OK: u8 = 0;
    /// The command line was misused.
    pub const USAGE: u8 = 2;
    /// Some units failed for a passing reason, others were committed.
    pub const PARTIAL: u8 = 10;
    /// A damaged or foreign object.
    pub const INTEGRITY: u8 = 11;
    /// Another live run holds the lake.
    pub const LOCKED: u8 = 12;
    /// The API broke its contract, refused for good, or an answer is parked as suspect.
    pub const DATA: u8 = 65;
    /// A bug.
    pub const BUG: u8 = 70;
    /// The lake's storage failed.
    pub const STORAGE: u8 = 74;
    /// The API failed for a passing reason.
    pub const TRY_AGAIN: u8 = 75;
    /// Credentials or permission.
    pub const PERMISSION: u8 = 77;
    /// The configuration.
    pub const CONFIG: u8 = 78;
    /// Stopped by SIGINT.
    pub const INTERRUPTED: u8 = 130;
    /// Stopped by SIGTERM.
    pub const TERMINATED: u8 = 143;
}

/// Who has to act on a failure, and so which exit code it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The API may be better later.
    PassingApi,
    /// The lake's storage may be better later.
    PassingStorage,
    /// The answer or the question is wrong.
    Data,
    /// Credentials or permission.
    Permission,
    /// A damaged or foreign object.
    Integrity,
    /// A bug of this program.
    Bug,
    /// The configuration does not fit the lake.
    Config,
}

impl Severity {
    /// The exit code of a command that failed for this alone.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::PassingApi => exit::TRY_AGAIN,
            Self::PassingStorage => exit::STORAGE,
            Self::Data => exit::DATA,
            Self::Permission => exit::PERMISSION,
            Self::Integrity => exit::INTEGRITY,
            Self::Bug => exit::BUG,
            Self::Config => exit::CONFIG,
        }
    }
}

/// Why a unit failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The kind, of a closed set.
    pub class: String,
    /// Who has to act.
    pub severity: Severity,
    /// What happened.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    /// This and that together.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self {
            objects: self.objects + more.objects,
            rows: self.rows + more.rows,
            bytes: self.bytes + more.bytes,
        }
    }
}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// At least one object was written.
    Committed {
        /// The keys written, relative to the lake.
        written: Vec<String>,
        /// Rows in the objects written.
        rows: u64,
        /// Bytes of the objects written.
        bytes: u64,
        /// The same by dataset.
        #[serde(default)]
        datasets: BTreeMap<String, Amount>,
    },
    /// The answers were what the lake already held.
    Unchanged,
    /// Another run committed a newer answer meanwhile; it stays.
    Superseded,
    /// Nothing changed in the lake.
    Failed(Failure),
    /// The run was stopped before the unit's turn or within it.
    Open,
}

impl Outcome {
    /// Whether the unit is still to be done.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Open)
    }
}

/// One unit of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnitReport {
    /// The stream's id.
    pub stream: String,
    /// The stream's name.
    pub stream_name: String,
    /// `daily`, `hourly` or `periods`.
    pub grain: String,
    /// The month.
    pub month: String,
    /// Why it was planned.
    pub reason: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The keys written, relative to the lake, of a unit that then failed or was stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partly: Vec<String>,
    /// Elapsed days or hours that the API left out.
    #[serde(default)]
    pub missing: u64,
    /// Figures that were in the lake and have changed after their day or hour was over.
    #[serde(default)]
    pub restated: u64,
}

impl UnitReport {
    /// The keys written, relative to the lake, whatever became of the unit.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        let whole = match &self.outcome {
            Outcome::Committed { written, .. } => written.as_slice(),
            _ => &[],
        };
        whole.iter().chain(&self.partly).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn example(outcome: Outcome) -> Self {
        Self {
            stream: "st-1".into(),
            stream_name: "one".into(),
            grain: "daily".into(),
            month: "2026-01".into(),
            reason: "missing".into(),
            outcome,
            partly: Vec::new(),
            missing: 0,
            restated: 0,
        }
    }

    fn into_written(self) -> impl Iterator<Item = String> {
        let whole = match self.outcome {
            Outcome::Committed { written, .. } => written,
            _ => Vec::new(),
        };
        whole.into_iter().chain(self.partly)
    }
}

/// Sums over a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// Units planned.
    pub planned: u64,
    /// Units with something written.
    pub committed: u64,
    /// Units whose answers were what the lake held, or older.
    pub unchanged: u64,
    /// Units that failed.
    pub failed: u64,
    /// Units that were not finished because the run was stopped.
    pub open: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Requests that were a repetition.
    pub retries: u64,
    /// Milliseconds waited for rate limits, over all streams.
    pub rate_wait_ms: u64,
    /// Objects written.
    pub puts: u64,
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Elapsed days or hours that the API left out.
    pub missing: u64,
    /// Figures that were in the lake and have changed after their day or hour was over.
    pub restated: u64,
}

/// The report of a run, as it is kept in the lake.
#[cfg_attr(test, derive(Default))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The run's id: a `UUIDv7`, so that ids sort by time.
    pub run_id: Uuid,
    /// The version that ran.
    pub version: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// The exit code.
    pub exit_code: u8,
    /// Sums.
    pub totals: Totals,
    /// Requests sent, by stream id: a run that follows soon still has them in its rate limits.
    #[serde(default)]
    pub requests: BTreeMap<String, u64>,
    /// What was odd and did not fail anything. Each once.
    pub warnings: Vec<String>,
    /// The planned units.
    #[schema(value_type = Vec<UnitReport>)]
    pub units: Units,
}

impl Report {
    /// The keys of all objects with data that the run has written, relative to the lake: what a loader has to
    /// load anew.
    pub fn written(&self) -> impl Iterator<Item = String> {
        self.units.written().flat_map(UnitReport::into_written)
    }

    /// The report as JSON, in pieces: that of a large run is not put together in memory.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> {
        const END: &[u8] = b"]}";
        let head = Self {
            run_id: self.run_id,
            version: self.version.clone(),
            started_at: self.started_at,
            ended_at: self.ended_at,
            exit_code: self.exit_code,
            totals: self.totals.clone(),
            requests: self.requests.clone(),
            warnings: self.warnings.clone(),
            units: Units::default(),
        };
        let mut piece = serde_json::to_vec(&head).expect("a report is JSON");
        piece.truncate(piece.strip_suffix(END).expect("the units come last").len());
        let mut packs = self.units.lines().enumerate().map(Some).chain([None]);
        std::iter::from_fn(move || {
            while piece.len() < PIECE {
                match packs.next() {
                    Some(Some((index, lines))) => {
                        piece.extend((index > 0).then_some(b','));
                        // The last one has a line end as well.
                        let lines = lines.strip_suffix(b"\n").unwrap_or(&lines);
                        piece.extend(lines.iter().map(|&byte| if byte == b'\n' { b',' } else { byte }));
                    }
                    Some(None) => piece.extend_from_slice(END),
                    None => break,
                }
            }
            (!piece.is_empty()).then(|| std::mem::take(&mut piece).into())
        })
    }
}

/// The exit code of a run with these outcomes; `stopped` is the code of the signal that ended it.
///
/// Integrity, bugs and configuration come before everything. Then whatever another run can mend, so
/// that a scheduler tries again: partial success, or 74 and 75 where nothing was committed. Then
/// what only a person can mend.
#[must_use]
pub fn exit_code(units: &Units, stopped: Option<u8>) -> u8 {
    let has = |severity| units.has(severity);
    let Totals { committed, unchanged, open, .. } = units.totals();
    let (done, open) = (committed + unchanged > 0, *open > 0);
    let (api, storage) = (has(Severity::PassingApi), has(Severity::PassingStorage));
    if has(Severity::Integrity) {
        exit::INTEGRITY
    } else if has(Severity::Bug) {
        exit::BUG
    } else if has(Severity::Config) {
        exit::CONFIG
    } else if let (true, Some(code)) = (open, stopped) {
        code
    } else if (api || storage) && done {
        exit::PARTIAL
    } else if storage {
        exit::STORAGE
    } else if api {
        exit::TRY_AGAIN
    } else if has(Severity::Permission) {
        exit::PERMISSION
    } else if has(Severity::Data) {
        exit::DATA
    } else {
        exit::OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(outcome: Outcome) -> UnitReport {
        UnitReport::example(outcome)
    }

    fn failed(severity: Severity) -> UnitReport {
        unit(Outcome::Failed(Failure { class: "x".into(), severity, message: "m".into(), hint: None }))
    }

    #[test]
    fn the_exit_code_when_several_apply() {
        use Severity::{Bug, Config, Data, Integrity, PassingApi, PassingStorage, Permission};
        let done = || unit(Outcome::Unchanged);
        let code = |units: &[UnitReport]| exit_code(&units.iter().cloned().collect(), None);
        assert_eq!(code(&[]), exit::OK);
        assert_eq!(code(&[done()]), exit::OK);
        assert_eq!(code(&[done(), failed(PassingApi)]), exit::PARTIAL);
        assert_eq!(code(&[failed(Data), failed(PassingApi)]), exit::TRY_AGAIN);
        assert_eq!(code(&[failed(PassingStorage), failed(PassingApi)]), exit::STORAGE);
        assert_eq!(code(&[done(), failed(Data), failed(Permission)]), exit::PERMISSION);
        assert_eq!(code(&[done(), failed(Data)]), exit::DATA);
        assert_eq!(code(&[failed(Config), failed(Bug)]), exit::BUG);
        assert_eq!(code(&[failed(Bug), failed(Integrity)]), exit::INTEGRITY);
        let open = || unit(Outcome::Open);
        let stopped =
            |units: Vec<UnitReport>| exit_code(&units.into_iter().collect(), Some(exit::TERMINATED));
        assert_eq!(stopped(vec![done(), open()]), exit::TERMINATED);
        assert_eq!(stopped(vec![done()]), exit::OK);
    }

    #[test]
    fn reports_round_trip_as_json() {
        let units = [
            unit(Outcome::Unchanged),
            UnitReport { stream: "st-2".into(), ..failed(Severity::Data) },
            unit(Outcome::Committed {
                written: vec!["k".into()],
                rows: 1,
                bytes: 2,
                datasets: BTreeMap::from([("d".into(), Amount { objects: 1, rows: 1, bytes: 2 })]),
            }),
        ];
        let report = Report {
            requests: BTreeMap::from([("st-1".into(), 3)]),
            units: units.iter().cloned().collect(),
            ..Report::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        let read: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(read, report);
        assert!(text.contains(r#""outcome":"unchanged""#));
        assert_eq!(report.pieces().collect::<Vec<_>>().concat(), text.as_bytes());
        let by_stream = [0, 2, 1].map(|index: usize| units[index].clone());
        assert_eq!(read.units.iter().collect::<Vec<_>>(), by_stream);
        assert_eq!(read.written().collect::<Vec<_>>(), ["k"]);
        assert_eq!(read.units.of("st-2").collect::<Vec<_>>(), units[1..2]);
        assert_eq!(read.units.open().collect::<Vec<_>>(), units[1..2]);
        let Totals { planned, committed, unchanged, failed, puts, rows, .. } = *read.units.totals();
        assert_eq!((planned, committed, unchanged, failed, puts, rows), (3, 1, 1, 1, 1, 1));
    }

    #[test]
    fn a_large_report_comes_in_pieces_and_takes_little_memory() {
        let of_stream = |stream: usize| {
            let unit = move |index: u32| {
                let month = format!("{}-{:02}", 2024 + index / 12, 1 + index % 12);
                UnitReport {
                    stream: format!("st-{stream}"),
                    stream_name: format!("a name\n\"of\" {stream}"),
                    ..unit(Outcome::Committed {
                        written: vec![format!("user_engagement_daily/stream=st-{stream}/month={month}")],
                        rows: 31,
                        bytes: 2000 + u64::from(index),
                        datasets: BTreeMap::new(),
                    })
                }
            };
            (0..36).map(unit).collect::<Vec<_>>()
        };
        let mut report = Report::default();
        (0..300).for_each(|stream| report.units.add(&of_stream(stream)));
        let pieces: Vec<_> = report.pieces().collect();
        assert!(pieces.len() > 2 && pieces[1..].iter().all(|piece| piece.len() < 2 * PIECE));
        assert_eq!(serde_json::from_slice::<Report>(&pieces.concat()).unwrap(), report);
        let packed = report.units.packed_bytes();
        assert!(packed < 50 * report.units.len(), "{packed} bytes for {} units", report.units.len());
    }
}
