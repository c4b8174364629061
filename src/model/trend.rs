//! A question to the API and the answer to it, free of any wire format.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use super::{Grain, Period, Slice, StreamId, Window};

/// What one request asks: it fixes the answer, but for what the vendor restates later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The stream.
    pub stream: StreamId,
    /// Daily or hourly figures.
    pub grain: Grain,
    /// The filters.
    pub slice: Slice,
    /// The zone in which days and hours are cut.
    pub zone: Tz,
    /// The days asked for.
    pub window: Window,
}

/// Users counted over one hour, one day or one period. `None` where the API gave no figure.
///
/// Unique users do not add up over hours, days or slices, and new and returning users together may
/// exceed the unique ones: a person can be new and returning in one range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Distinct users.
    pub unique: Option<i64>,
    /// Users seen for the first time.
    pub new: Option<i64>,
    /// Users seen before.
    pub returning: Option<i64>,
}

impl Counts {
    /// The three figures in the order of the lake's columns.
    #[must_use]
    pub const fn as_array(self) -> [Option<i64>; 3] {
        [self.unique, self.new, self.returning]
    }
}

/// The averages per day of a summary. `None` where the API gave no figure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Distinct users per day.
    pub unique: Option<f64>,
    /// New users per day.
    pub new: Option<f64>,
    /// Returning users per day.
    pub returning: Option<f64>,
}

impl Averages {
    /// The three figures in the order of the lake's columns.
    #[must_use]
    pub const fn as_array(self) -> [Option<f64>; 3] {
        [self.unique, self.new, self.returning]
    }
}

/// The figures over the whole range asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Users of the whole range.
    pub counts: Counts,
    /// Averages per day of the range.
    pub averages: Averages,
}

/// The figures of one period and slice, as a row of the lake.
#[derive(Clone, Debug, PartialEq)]
pub struct PeriodRow {
    /// The filters.
    pub slice: Slice,
    /// The kind of period.
    pub period: Period,
    /// Its first day.
    pub start: NaiveDate,
    /// Its last day asked for.
    pub end: NaiveDate,
    /// The figures. `None` where the API does not take so long a range: they are not to be had.
    pub summary: Option<Summary>,
    /// Whether they are not asked for again.
    pub is_final: bool,
    /// When they were first seen.
    pub fetched_at: DateTime<Utc>,
}

/// The users of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayPoint {
    /// The local date.
    pub date: NaiveDate,
    /// The day's users.
    pub counts: Counts,
}

/// The users of one local hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourPoint {
    /// The local date.
    pub date: NaiveDate,
    /// The local hour, 0 to 23.
    pub hour: u8,
    /// The hour's users.
    pub counts: Counts,
}

/// The points of a trend in order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Points {
    /// One point per day.
    Daily(Vec<DayPoint>),
    /// One point per local hour key, 24 to a day.
    Hourly(Vec<HourPoint>),
}

/// A checked answer: sorted, complete over the elapsed days and hours of the window, no point
/// twice, none in the future.
#[derive(Clone, Debug, PartialEq)]
pub struct Trend {
    /// The range's own figures.
    pub summary: Summary,
    /// The points.
    pub points: Points,
    /// How many elapsed days or hours the API left out; their points have no figures.
    pub missing: u32,
}
