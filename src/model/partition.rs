//! What is planned, fetched and committed together, and what a file of the lake holds.

use std::fmt;
use std::str::FromStr;

use super::{Month, StreamId};

/// How fine a trend is: the API's `aggregation_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grain {
    /// One figure per day, and the summary of the whole range.
    Daily,
    /// One figure per hour of each day.
    Hourly,
}

impl Grain {
    /// Every grain.
    pub const ALL: [Self; 2] = [Self::Daily, Self::Hourly];

    /// The text of the request's parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Hourly => "hourly",
        }
    }

    /// The datasets that an answer of this grain fills. The summary comes with the daily answer.
    #[must_use]
    pub const fn datasets(self) -> &'static [Dataset] {
        match self {
            Self::Daily => &[Dataset::Daily, Dataset::Summary],
            Self::Hourly => &[Dataset::Hourly],
        }
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Grain {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|g| g.as_str() == text).ok_or("expected `daily` or `hourly`")
    }
}

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dataset {
    /// Users per day.
    Daily,
    /// Users per hour.
    Hourly,
    /// Users of the whole month, which cannot be had by adding days.
    Summary,
}

impl Dataset {
    /// Every dataset.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Hourly, Self::Summary];

    /// The name of the dataset and of its folder.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "user_engagement_daily",
            Self::Hourly => "user_engagement_hourly",
            Self::Summary => "user_engagement_summary",
        }
    }

    /// The grain whose answer fills this dataset.
    #[must_use]
    pub const fn grain(self) -> Grain {
        match self {
            Self::Daily | Self::Summary => Grain::Daily,
            Self::Hourly => Grain::Hourly,
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One object of the lake: a month of a stream in a dataset, all slices together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The dataset.
    pub dataset: Dataset,
    /// The stream.
    pub stream: StreamId,
    /// The month of the data, never of the run.
    pub month: Month,
}

impl Partition {
    /// The unit that fills it.
    #[must_use]
    pub fn unit(&self) -> Unit {
        Unit { stream: self.stream.clone(), grain: self.dataset.grain(), month: self.month }
    }
}

/// What is planned, fetched, checked and committed together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// The stream.
    pub stream: StreamId,
    /// The grain.
    pub grain: Grain,
    /// The month.
    pub month: Month,
}

impl Unit {
    /// The partitions that the unit fills.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.grain.datasets().iter().map(|&dataset| Partition {
            dataset,
            stream: self.stream.clone(),
            month: self.month,
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.stream, self.grain, self.month)
    }
}
