//! What every page and every answer is made from, and what may go wrong with one.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::figures::{self, Figures};
use super::recent::main_slice;
use super::restated::{self, Restated};
use super::shown::Shown;
use crate::clock::Clock;
use crate::config::{Settings, Stream};
use crate::export;
use crate::lake::{self, Kind, Lake};
use crate::model::{Dataset, Slice, local_now};
use crate::report::Report;
use crate::shelf::Shelf;

/// How many questions read the lake at once; others wait.
const READERS: usize = 4;
/// For how long a question may take, waiting included.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest range of days or months that one question may span, in days.
pub(super) const MOST_DAYS: i64 = 3_700;
/// The same for hours.
pub(super) const MOST_DAYS_OF_HOURS: i64 = 366;

/// What is served, as long as the daemon lives.
pub struct Site {
    /// What the rounds have shown.
    pub shown: Arc<Shown>,
    /// The configuration in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Time.
    pub clock: Clock,
    readers: Semaphore,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// The lake did not answer in time.
    #[error("the lake did not answer within {} s", PATIENCE.as_secs())]
    TooSlow,
}

impl Trouble {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Lake(error) => match error.kind() {
                Kind::Storage | Kind::Locked => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Permission | Kind::Foreign | Kind::Settings => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Lake(error) => error.hint(),
            _ => None,
        }
    }
}

/// Which days are asked for, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub from: NaiveDate,
    pub to: NaiveDate,
}

impl Range {
    /// The days asked for, each end with its default: up to today, from the first day of the month that
    /// began `months` months before.
    pub(super) fn new(
        (from, to): (Option<NaiveDate>, Option<NaiveDate>),
        (today, months): (NaiveDate, u32),
        most_days: i64,
    ) -> Result<Self, Trouble> {
        let to = to.unwrap_or(today).min(today);
        let default = || to.with_day(1).and_then(|first| first.checked_sub_months(Months::new(months)));
        let from = from.or_else(default).unwrap_or(to);
        let bad = |text: String| Err(Trouble::BadRequest(text));
        if from > to {
            return bad(format!("the range begins on {from}, after its end on {to}"));
        }
        if from.year() < 2000 {
            return bad("years begin with 2000".into());
        }
        if (to - from).num_days() >= most_days {
            return bad(format!("a range has {most_days} days at the most"));
        }
        Ok(Self { from, to })
    }
}

impl Site {
    /// A site that shows what is `shown`.
    #[must_use]
    pub fn new(shown: Arc<Shown>, settings: watch::Receiver<Arc<Settings>>, clock: Clock) -> Self {
        Self { shown, settings, clock, readers: Semaphore::new(READERS) }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The local date of a stream.
    pub(super) fn today(&self, stream: &Stream) -> NaiveDate {
        local_now(self.now(), stream.zone).date()
    }

    pub(super) fn stream(&self, id: &str) -> Result<Stream, Trouble> {
        let found = self.settings().streams.iter().find(|s| s.id.as_str() == id).cloned();
        found.ok_or_else(|| Trouble::NotFound("there is no stream with this id in the configuration".into()))
    }

    fn lake(&self) -> Result<Lake, Trouble> {
        Ok(Lake::open(&self.settings().lake)?)
    }

    /// The lake's partitions, to answer one question with: what the lake says of itself is read here.
    pub(super) async fn shelf(&self) -> Result<Shelf, Trouble> {
        let settings = self.settings();
        self.turn(Shelf::open(self.lake()?, &settings, &self.clock)).await
    }

    /// Reads a slice of a dataset.
    pub(super) async fn figures(
        &self,
        shelf: &Shelf,
        (dataset, stream, slice): (Dataset, &Stream, &Slice),
        range: Range,
    ) -> Result<Figures, Trouble> {
        self.turn(figures::read(shelf, (dataset, &stream.id, slice), (range.from, range.to))).await
    }

    /// Reads what was restated of a slice.
    pub(super) async fn restated(
        &self,
        shelf: &Shelf,
        (stream, slice): (&Stream, &Slice),
        range: Range,
    ) -> Result<Restated, Trouble> {
        self.turn(restated::read(shelf, (&stream.id, slice), (range.from, range.to))).await
    }

    /// Reads the report of a run.
    pub(super) async fn report(&self, id: &str) -> Result<Report, Trouble> {
        let none = || Trouble::NotFound("there is no report of this run".into());
        let id: Uuid = id.parse().map_err(|_| none())?;
        let lake = self.lake()?;
        self.turn(export::report_of(&lake, id)).await?.ok_or_else(none)
    }

    /// Takes a turn at the lake, and no longer than is bearable.
    async fn turn<T>(&self, read: impl Future<Output = Result<T, lake::Error>>) -> Result<T, Trouble> {
        let turn = async {
            let _turn = self.readers.acquire().await;
            read.await
        };
        Ok(tokio::time::timeout(PATIENCE, turn).await.map_err(|_| Trouble::TooSlow)??)
    }
}

/// The slice with this text, as the lake's three columns joined by ` / ` or as a preset's name. Without a
/// text, the one that stands for the stream.
pub(super) fn slice(stream: &Stream, text: Option<&str>) -> Result<Slice, Trouble> {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(main_slice(stream)) };
    match text {
        "all" => return Ok(Slice::ALL),
        "dashboard" => return Ok(Slice::DASHBOARD),
        _ => {}
    }
    let parts: Vec<_> = text.splitn(3, '/').map(str::trim).collect();
    let parsed = match parts[..] {
        [kind, status, channel] => (kind.parse().ok()).zip(status.parse().ok()).zip(channel.parse().ok()),
        _ => None,
    };
    let bad = || "a slice is `all`, `dashboard`, or `type / status / channel`, such as `Interactive / Closed / All`";
    let ((conversation_type, conversation_status), channel) =
        parsed.ok_or_else(|| Trouble::BadRequest(bad().into()))?;
    Ok(Slice { conversation_type, conversation_status, channel })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_have_defaults_and_bounds() {
        let today = date("2026-03-15");
        let range = |from: Option<&str>, to: Option<&str>| {
            Range::new((from.map(date), to.map(date)), (today, 11), 400).ok().map(|r| (r.from, r.to))
        };
        assert_eq!(range(None, None), Some((date("2025-04-01"), today)));
        assert_eq!(range(None, Some("2025-03-31")), Some((date("2024-04-01"), date("2025-03-31"))));
        assert_eq!(range(Some("2026-01-01"), Some("2030-01-01")), Some((date("2026-01-01"), today)));
        assert_eq!(range(Some("2026-03-16"), None), None);
        assert_eq!(range(Some("2024-01-01"), None), None);
        assert_eq!(range(Some("1999-12-31"), Some("2000-01-01")), None);
    }

    #[test]
    fn slices_by_text() {
        let stream = Stream { slices: vec![Slice::DASHBOARD], ..Stream::example() };
        let of = |text: Option<&str>| slice(&stream, text).ok();
        assert_eq!((of(None), of(Some("all"))), (Some(Slice::DASHBOARD), Some(Slice::ALL)));
        assert_eq!(of(Some(&Slice::DASHBOARD.to_string())), Some(Slice::DASHBOARD));
        let named = of(Some("all/all/a/b")).unwrap();
        assert_eq!(slice(&stream, Some(&named.to_string())).ok(), Some(named));
        assert_eq!((of(Some("x")), of(Some("All / All"))), (None, None));
    }
}
