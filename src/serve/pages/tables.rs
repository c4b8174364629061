//! The figures of the charts as tables, for whoever reads rather than looks.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::chart::Week;
use super::{scrolled, words};
use crate::model::Month;
use crate::serve::figures::Row;

fn folded(summary: &str, table: &Markup) -> Markup {
    html! {
        details {
            summary { (summary) }
            (scrolled(summary, table))
        }
    }
}

fn counts(row: &Row) -> Markup {
    html! {
        @for count in row.counts.as_array() { td.num { (words::figure(count)) } }
    }
}

/// One row per day. The script takes from here what it shows under the pointer.
pub(super) fn days(rows: &[Row]) -> Markup {
    folded(
        "The days as a table",
        &html! {
            table #days-table {
                thead {
                    tr {
                        th scope="col" { "day" }
                        th.num scope="col" { "unique" }
                        th.num scope="col" { "new" }
                        th.num scope="col" { "returning" }
                        th scope="col" { "settled" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr data-day=(row.date) {
                            th scope="row" { (row.date) }
                            (counts(row))
                            td { @if row.is_final { "yes" } @else { "not yet" } }
                        }
                    }
                }
            }
        },
    )
}

/// One row per month, beside what its days would add up to.
pub(super) fn months(rows: &[Row], days: &[Row]) -> Markup {
    let mut sums: BTreeMap<Month, i64> = BTreeMap::new();
    for day in days {
        let sum = sums.entry(Month::of(day.date)).or_default();
        *sum = sum.saturating_add(day.counts.unique.unwrap_or(0));
    }
    let visits = |row: &Row| {
        let sum = sums.get(&Month::of(row.date)).copied().unwrap_or(0);
        let unique = row.counts.unique.filter(|n| *n > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
        Some(format!("{:.1}", sum as f64 / unique as f64))
    };
    folded(
        "The months as a table",
        &html! {
            table {
                thead {
                    tr {
                        th scope="col" { "month" }
                        th.num scope="col" { "unique" }
                        th.num scope="col" { "new" }
                        th.num scope="col" { "returning" }
                        th.num scope="col" { "days per user" }
                        th scope="col" { "settled" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { (Month::of(row.date)) }
                            (counts(row))
                            td.num { (visits(row).unwrap_or_else(|| "–".into())) }
                            td { @if row.is_final { "yes" } @else { "not yet" } }
                        }
                    }
                }
            }
        },
    )
}

/// The means of the heat map.
pub(super) fn week(week: &Week) -> Markup {
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    folded(
        "The hours as a table",
        &html! {
            table.hours {
                thead {
                    tr {
                        th scope="col" { "hour" }
                        @for day in days { th.num scope="col" { (day) } }
                    }
                }
                tbody {
                    @for hour in 0..24 {
                        tr {
                            th scope="row" { (format!("{hour:02}:00")) }
                            @for day in week {
                                td.num { (day[hour].map_or_else(|| "–".into(), |mean| format!("{mean:.1}"))) }
                            }
                        }
                    }
                }
            }
        },
    )
}
