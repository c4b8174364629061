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
    /// Users of weeks, quarters and rolling periods, which cannot either.
    Periods,
}

impl Dataset {
    /// Every dataset.
    pub const ALL: [Self; 4] = [Self::Daily, Self::Hourly, Self::Summary, Self::Periods];

    /// The name of the dataset and of its folder.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "user_engagement_daily",
            Self::Hourly => "user_engagement_hourly",
            Self::Summary => "user_engagement_summary",
            Self::Periods => "user_engagement_periods",
        }
    }

    /// The units that fill this dataset.
    #[must_use]
    pub const fn unit_kind(self) -> UnitKind {
        match self {
            Self::Daily | Self::Summary => UnitKind::Daily,
            Self::Hourly => UnitKind::Hourly,
            Self::Periods => UnitKind::Periods,
        }
    }

    /// The grain of the questions whose answers fill this dataset.
    #[must_use]
    pub const fn grain(self) -> Grain {
        self.unit_kind().grain()
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The table of figures that changed after their time was over: its name and that of its folder. It is no
/// [`Dataset`]: nobody asks for it, and nothing of it is planned, provisional or final.
pub const RESTATEMENTS: &str = "user_engagement_restatements";

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
        Unit { stream: self.stream.clone(), kind: self.dataset.unit_kind(), month: self.month }
    }
}

/// What a unit asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnitKind {
    /// A month's days, and with them the month as a whole.
    Daily,
    /// A month's hours.
    Hourly,
    /// The periods besides the month that end in a month, each by a question of its own.
    Periods,
}

impl UnitKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Hourly, Self::Periods];

    /// The word shown to the user.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Hourly => "hourly",
            Self::Periods => "periods",
        }
    }

    /// The grain of its questions.
    #[must_use]
    pub const fn grain(self) -> Grain {
        match self {
            Self::Daily | Self::Periods => Grain::Daily,
            Self::Hourly => Grain::Hourly,
        }
    }

    /// The datasets that it fills. The month's summary comes with the daily answer.
    #[must_use]
    pub const fn datasets(self) -> &'static [Dataset] {
        match self {
            Self::Daily => &[Dataset::Daily, Dataset::Summary],
            Self::Hourly => &[Dataset::Hourly],
            Self::Periods => &[Dataset::Periods],
        }
    }
}

impl From<Grain> for UnitKind {
    /// The unit of a month's figures in this grain.
    fn from(grain: Grain) -> Self {
        match grain {
            Grain::Daily => Self::Daily,
            Grain::Hourly => Self::Hourly,
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is planned, fetched, checked and committed together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// The stream.
    pub stream: StreamId,
    /// What is asked for.
    pub kind: UnitKind,
    /// The month.
    pub month: Month,
}

impl Unit {
    /// The partitions that the unit fills.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.kind.datasets().iter().map(|&dataset| Partition {
            dataset,
            stream: self.stream.clone(),
            month: self.month,
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.stream, self.kind, self.month)
    }
}
