//! The coverage calendar: years down, months across, and the days of one month.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, Weekday};
use maud::{Markup, html};

use super::words;
use crate::export::Condition;
use crate::model::Month;
use crate::serve::figures::Row;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// One grain's months. Each is a link to the same page with the month's days.
pub(super) fn years(
    grain: &str,
    months: &BTreeMap<Month, Condition>,
    selected: Option<Month>,
    link: impl Fn(Month) -> String,
) -> Markup {
    let year = |month: &Month| month.first_day().year();
    let years = months.keys().next().map(year).zip(months.keys().next_back().map(year));
    html! {
        table.calendar {
            caption { (grain) }
            thead {
                tr {
                    td {}
                    @for month in MONTHS { th scope="col" { abbr title=(month) { (month[..1]) } } }
                }
            }
            tbody {
                @if let Some((first, last)) = years {
                    @for year in (first..=last).rev() {
                        tr {
                            th scope="row" { (year) }
                            @for month in 1..=12 {
                                td { (cell(grain, months, NaiveDate::from_ymd_opt(year, month, 1), selected, &link)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(
    grain: &str,
    months: &BTreeMap<Month, Condition>,
    date: Option<NaiveDate>,
    selected: Option<Month>,
    link: impl Fn(Month) -> String,
) -> Markup {
    let found = date.map(Month::of).and_then(|month| Some((month, months.get(&month)?)));
    html! {
        @if let Some((month, condition)) = found {
            @let text = format!("{} {grain}: {}", month.first_day().format("%B %Y"), condition.as_str());
            @let here = (selected == Some(month)).then_some("true");
            a.sign.{ (condition.as_str()) } href=(link(month)) title=(text) aria-label=(text) aria-current=[here] {
                (words::sign(*condition))
            }
        }
    }
}

/// Where the days of a month stand: weeks from Monday, with nothing before the first day and after the last.
pub(super) fn weeks(month: Month) -> Vec<[Option<NaiveDate>; 7]> {
    let mut weeks = Vec::new();
    for date in month.first_day().iter_days().take(month.days() as usize) {
        if weeks.is_empty() || date.weekday() == Weekday::Mon {
            weeks.push([None; 7]);
        }
        if let Some(week) = weeks.last_mut() {
            week[date.weekday().num_days_from_monday() as usize] = Some(date);
        }
    }
    weeks
}

/// The days of a month with their unique users, and how many of their hours have figures.
pub(super) fn month(month: Month, daily: &[Row], hourly: &[Row]) -> Markup {
    let days: BTreeMap<NaiveDate, &Row> = daily.iter().map(|row| (row.date, row)).collect();
    let mut hours: BTreeMap<NaiveDate, u32> = BTreeMap::new();
    for row in hourly {
        *hours.entry(row.date).or_default() += u32::from(row.counts.unique.is_some());
    }
    html! {
        table.month {
            caption { "Days of " (month.first_day().format("%B %Y")) }
            thead {
                tr {
                    @for day in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] { th scope="col" { (day) } }
                }
            }
            tbody {
                @for week in weeks(month) {
                    tr { @for date in week { td { @if let Some(date) = date { (day(date, days.get(&date).copied(), hours.get(&date).copied())) } } } }
                }
            }
        }
    }
}

fn day(date: NaiveDate, row: Option<&Row>, hours: Option<u32>) -> Markup {
    let (class, state) = match row {
        Some(row) if row.counts.unique.is_none() => ("damaged", "no figure"),
        Some(row) if row.is_final => ("final", "final"),
        Some(_) => ("provisional", "provisional"),
        None if hours.is_some() => ("hours-only", "hourly only"),
        None => ("missing", "not there"),
    };
    html! {
        div.day.{ (class) } {
            span.date { time datetime=(date) { (date.day()) } }
            span.users { (words::figure(row.and_then(|r| r.counts.unique))) }
            span.soft {
                (state)
                @if let Some(hours) = hours { ", " (hours) " h" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_hold_every_day_once_under_its_weekday() {
        for (text, count) in [("2026-02", 5), ("2027-02", 4), ("2026-03", 6), ("2024-02", 5)] {
            let month: Month = text.parse().unwrap();
            let weeks = weeks(month);
            assert_eq!(weeks.len(), count, "{text}");
            let days: Vec<_> = weeks.iter().flatten().flatten().copied().collect();
            let all: Vec<_> = month.first_day().iter_days().take(month.days() as usize).collect();
            assert_eq!(days, all);
            let at_place = |(place, date): (usize, &Option<NaiveDate>)| {
                date.is_none_or(|d| d.weekday().num_days_from_monday() as usize == place)
            };
            assert!(weeks.iter().all(|week| week.iter().enumerate().all(at_place)));
        }
    }

    #[test]
    fn years_have_a_cell_for_each_month_that_there_is() {
        let months = ["2025-11", "2026-02"].map(|m| (m.parse::<Month>().unwrap(), Condition::Missing));
        let drawn = years("daily", &BTreeMap::from(months), None, |m| format!("?month={m}")).into_string();
        assert_eq!(drawn.matches("<a ").count(), 2);
        assert_eq!(drawn.matches("<td>").count(), 1 + 24);
        assert!(drawn.contains("February 2026 daily: missing"), "{drawn}");
        assert!(!years("daily", &BTreeMap::new(), None, |m| m.to_string()).into_string().contains("<a "));
    }
}
