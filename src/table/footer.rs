//! What a partition says of itself, in the key-value metadata of its Parquet footer.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

use super::decode::DamagedError;
use super::schema::FORMAT_VERSION;

/// The `trendlake.*` entries of a footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The version of the columns.
    pub format_version: u32,
    /// What was asked, as [`Stream::fingerprint`](crate::config::Stream::fingerprint) says it.
    pub fingerprint: String,
    /// The first local date asked for.
    pub start: NaiveDate,
    /// The last local date asked for, inclusive.
    pub end: NaiveDate,
    /// The setting by which `is_final` was judged.
    pub settle_days: u16,
    /// Whether every row was final when it was written.
    pub is_final: bool,
    /// The hash over the rows without `fetched_at`.
    pub content_hash: String,
    /// When this content was first seen.
    pub fetched_at: DateTime<Utc>,
    /// The name of the change by which this content restated figures of the one before, if it did.
    pub restatement: Option<String>,
}

/// What the keys of our entries begin with.
pub(super) const PREFIX: &str = "trendlake.";

impl Footer {
    /// Whether the partition would be the same if it were written anew with `other`'s footer: all
    /// but the time of fetching, and what its content has restated.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let timeless = |f: &Self| Self { fetched_at: DateTime::UNIX_EPOCH, restatement: None, ..f.clone() };
        timeless(self) == timeless(other)
    }

    /// Its entries: what it says, under the names that a file's have.
    pub fn entries(&self) -> impl Iterator<Item = (String, String)> {
        self.said().map(|(name, value)| (format!("{PREFIX}{name}"), value))
    }

    /// Reads what such entries say.
    ///
    /// # Errors
    /// When one is missing or unreadable, or a later version of trendlake has made them.
    pub fn from_entries<'a>(entry: impl Fn(&str) -> Option<&'a str>) -> Result<Self, DamagedError> {
        match Self::from_said(|name| entry(&format!("{PREFIX}{name}"))) {
            Some(Self { format_version, .. }) if format_version > FORMAT_VERSION => {
                Err(DamagedError::Newer(format_version))
            }
            footer => footer.ok_or(DamagedError::Foreign),
        }
    }

    /// What it says, by name.
    pub(super) fn said(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("format_version", self.format_version.to_string()),
            ("fingerprint", self.fingerprint.clone()),
            ("start", self.start.to_string()),
            ("end", self.end.to_string()),
            ("settle_days", self.settle_days.to_string()),
            ("final", self.is_final.to_string()),
            ("content_hash", self.content_hash.clone()),
            ("fetched_at", self.fetched_at.to_rfc3339_opts(SecondsFormat::Micros, true)),
        ]
        .into_iter()
        .chain(self.restatement.clone().map(|name| ("restatement", name)))
    }

    /// Reads what was said, by name. `None` where something is missing or unreadable: a foreign file.
    pub(super) fn from_said<'a>(entry: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            format_version: entry("format_version")?.parse().ok()?,
            fingerprint: entry("fingerprint")?.to_owned(),
            start: entry("start")?.parse().ok()?,
            end: entry("end")?.parse().ok()?,
            settle_days: entry("settle_days")?.parse().ok()?,
            is_final: entry("final")?.parse().ok()?,
            content_hash: entry("content_hash")?.to_owned(),
            fetched_at: entry("fetched_at")?.parse().ok()?,
            restatement: entry("restatement").map(ToOwned::to_owned),
        })
    }
}
