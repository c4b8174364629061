//! The columns of the datasets.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::model::Dataset;

/// The version of the columns and of the footer's entries.
pub const FORMAT_VERSION: u32 = 1;

/// In a field's metadata, `false`: its figures must not be added up over rows.
pub(super) const ADDITIVE: &str = "trendlake.additive";

/// The Arrow schema of a dataset. Every field's metadata has a `comment`, and the figures that must not be
/// added up over rows say `trendlake.additive = false`. Files leave these out; their footers name the latter
/// in one entry, `trendlake.not_additive`.
#[must_use]
pub fn schema(dataset: Dataset) -> SchemaRef {
    static SCHEMAS: LazyLock<[SchemaRef; 4]> = LazyLock::new(|| Dataset::ALL.map(|d| Arc::new(build(d))));
    let [daily, hourly, summary, periods] = &*SCHEMAS;
    match dataset {
        Dataset::Daily => daily.clone(),
        Dataset::Hourly => hourly.clone(),
        Dataset::Summary => summary.clone(),
        Dataset::Periods => periods.clone(),
    }
}

/// What a row of a dataset is.
#[must_use]
pub const fn about(dataset: Dataset) -> &'static str {
    match dataset {
        Dataset::Daily => "Users of a stream: one row per slice and local day",
        Dataset::Hourly => "Users of a stream: one row per slice, local day and local hour",
        Dataset::Summary => "Users of a stream: one row per slice and month, of the whole month",
        Dataset::Periods => {
            "Users of a stream: one row per slice and week, quarter or rolling period, of the whole period"
        }
    }
}

/// The columns by which the rows of a dataset are sorted, ascending: the slice, then time. Together
/// with the stream they are the key of a row.
#[must_use]
pub fn sort_columns(dataset: Dataset) -> &'static [&'static str] {
    const HOURLY: [&str; 5] = ["conversation_type", "conversation_status", "channel", "date", "hour"];
    const SUMMARY: [&str; 4] = ["conversation_type", "conversation_status", "channel", "period_start"];
    const PERIODS: [&str; 5] =
        ["conversation_type", "conversation_status", "channel", "period", "period_start"];
    match dataset {
        Dataset::Daily => &HOURLY[..4],
        Dataset::Hourly => &HOURLY,
        Dataset::Summary => &SUMMARY,
        Dataset::Periods => &PERIODS,
    }
}

/// What `period` says besides the month.
const PERIODS: &str = "quarter, week, and rolling_7d and rolling_28d, which stand for their last day";

fn build(dataset: Dataset) -> Schema {
    let text = |name, comment| field(name, DataType::Utf8, false, comment);
    let date = |name, comment| field(name, DataType::Date32, false, comment);
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        text("stream_id", "the vendor's id of the app"),
        text("stream_name", "the stream's name in the configuration"),
        text("conversation_type", "filter: All, Interactive or Non Interactive"),
        text("conversation_status", "filter: All, Active or Closed"),
        text("channel", "filter: All, or the vendor's name of one channel"),
        text("time_zone", "IANA zone in which days and hours are cut"),
    ];
    match dataset {
        Dataset::Daily => fields.push(date("date", "local date")),
        Dataset::Hourly => fields.extend([
            date("date", "local date"),
            field("hour", DataType::Int8, false, "local hour, 0 to 23"),
            field(
                "hour_start",
                instant.clone(),
                true,
                "when the hour began; null for an hour that a change of the clocks skips, the earlier instant for a repeated one",
            ),
        ]),
        Dataset::Summary | Dataset::Periods => fields.extend([
            text("period", if dataset == Dataset::Summary { "month" } else { PERIODS }),
            date("period_start", "first local date asked for"),
            date("period_end", "last local date asked for, inclusive"),
        ]),
    }
    let count = |name, comment| field(name, DataType::Int64, true, comment);
    let new_users = count("new_users", "users seen for the first time; null where the API gave no figure");
    // Periods overlap.
    let new_users = if dataset == Dataset::Periods { not_additive(new_users) } else { new_users };
    fields.extend([
        not_additive(count(
            "unique_users",
            "distinct users; do not add up over rows; null where the API gave no figure",
        )),
        new_users,
        not_additive(count(
            "returning_users",
            "users seen before; do not add up over rows; null where the API gave no figure",
        )),
    ]);
    if matches!(dataset, Dataset::Summary | Dataset::Periods) {
        let average = |name, comment| not_additive(field(name, DataType::Float64, true, comment));
        fields.extend([
            average("avg_unique_users_per_day", "distinct users per day of the period"),
            average("avg_new_users_per_day", "new users per day of the period"),
            average("avg_returning_users_per_day", "returning users per day of the period"),
        ]);
    }
    if dataset == Dataset::Periods {
        let comment =
            "false where the API does not take so long a range: the figures are null and not asked for again";
        fields.push(field("is_available", DataType::Boolean, false, comment));
    }
    fields.extend([
        field("is_final", DataType::Boolean, false, "whether the figures had settled when they were fetched"),
        field("fetched_at", instant, false, "when this answer was first seen"),
    ]);
    Schema::new(fields)
}

pub(super) fn field(name: &str, data_type: DataType, nullable: bool, comment: &str) -> Field {
    let metadata = HashMap::from([("comment".to_owned(), comment.to_owned())]);
    Field::new(name, data_type, nullable).with_metadata(metadata)
}

pub(super) fn not_additive(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(ADDITIVE, "false");
    field.with_metadata(metadata)
}
