//! An answer held against its question, before anything of it may reach the lake.

use std::collections::BTreeSet;

use chrono::{NaiveDate, NaiveDateTime, Timelike};
use trendlake_codec::answer as wire;

use super::refusal::one_line;
use crate::config::OnMissing;
use crate::model::{
    Averages, Counts, DayPoint, Grain, HourPoint, Points, Question, Summary, Trend, hour_start,
};

/// A checked answer, with what was odd about it and still acceptable.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The figures.
    pub trend: Trend,
    /// Keys that this version does not know, as paths. Sorted, none twice.
    pub drift: BTreeSet<String>,
}

/// The answer is no data, or data that must not reach the lake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejection(pub(super) String);

/// Reads a body and checks it against the question. `local_now` is the time in the question's zone
/// when it was asked: days and hours after it are left out.
///
/// # Errors
/// When the body is no data, or data that does not answer this question.
pub fn check(
    body: &[u8],
    question: &Question,
    local_now: NaiveDateTime,
    on_missing: OnMissing,
) -> Result<Checked, Rejection> {
    let answer = wire::parse(body).map_err(|error| Rejection(one_line(&error.to_string())))?;
    if answer.errors.is_some() {
        let message = super::refusal::message(body).unwrap_or_else(|| "no message".into());
        return reject(format!("status 200 with errors: {message}"));
    }
    let mut drift = BTreeSet::new();
    note(&mut drift, "", &answer.extra);
    let summary = answer.summary.ok_or_else(|| missing("summary"))?;
    note(&mut drift, "summary.", &summary.extra);
    let [unique, new, returning] = [
        ("uniqueUsersTrend", answer.unique),
        ("newUsersTrend", answer.new),
        ("returningUsersTrend", answer.returning),
    ]
    .map(|(name, series)| by_date(name, series, question, &mut drift));
    let series = [unique?, new?, returning?];
    let present = |s: &Dated| s.places.iter().map(Option::is_some).collect::<Vec<_>>();
    if series.iter().any(|s| present(s) != present(&series[0])) {
        return reject("the three trends have different dates".into());
    }
    match &answer.filters {
        Some(filters) => {
            note(&mut drift, "filters.", &filters.extra);
            echo(filters, question, series[0].points.len())?;
        }
        // Without the echo the figures can still be right; that it is gone should be known.
        None => _ = drift.insert("filters (absent)".into()),
    }
    let (points, missing) = points(&series, question, local_now);
    if missing > 0 && on_missing == OnMissing::Reject {
        return reject(format!("{missing} elapsed figures are missing, and `on_missing` is `reject`"));
    }
    Ok(Checked { trend: Trend { summary: figures(&summary), points, missing }, drift })
}

fn reject<T>(text: String) -> Result<T, Rejection> {
    Err(Rejection(text))
}

fn missing(name: &str) -> Rejection {
    Rejection(format!("`{name}` is missing"))
}

fn note(drift: &mut BTreeSet<String>, prefix: &str, names: &[String]) {
    drift.extend(names.iter().map(|name| format!("{prefix}{}", one_line(name))));
}

fn figures(summary: &wire::Summary) -> Summary {
    let count = |c: Option<wire::Count>| c.and_then(|c| c.0);
    let average = |a: Option<wire::Average>| a.and_then(|a| a.0);
    Summary {
        counts: Counts {
            unique: count(summary.unique),
            new: count(summary.new),
            returning: count(summary.returning),
        },
        averages: Averages {
            unique: average(summary.average_unique),
            new: average(summary.average_new),
            returning: average(summary.average_returning),
        },
    }
}

/// The points of one trend.
struct Dated {
    points: Vec<wire::Point>,
    /// Which point is that of each day of the window. A point itself is too large to be moved for it.
    places: Vec<Option<usize>>,
}

/// The points of one trend with their places by date.
fn by_date(
    name: &str,
    series: Option<wire::Series>,
    question: &Question,
    drift: &mut BTreeSet<String>,
) -> Result<Dated, Rejection> {
    let series = series.ok_or_else(|| missing(name))?;
    note(drift, &format!("{name}."), &series.extra);
    let points = series.points.ok_or_else(|| missing(&format!("{name}.dataPoints")))?.0;
    let window = question.window;
    let mut places = vec![None; window.days() as usize];
    for (index, point) in points.iter().enumerate() {
        let date = point.date.ok_or_else(|| Rejection(format!("`{name}`: a point has no date")))?;
        if !point.extra.is_empty() {
            note(drift, &format!("{name}.dataPoints."), &point.extra);
        }
        let other_grain = match question.grain {
            Grain::Daily => point.hourly,
            Grain::Hourly => point.users.is_some(),
        };
        if other_grain {
            return reject(format!("`{name}`: {date} is not {}", question.grain));
        }
        let place = usize::try_from((date - window.start).num_days()).ok().and_then(|i| places.get_mut(i));
        match place {
            None => return reject(format!("`{name}`: {date} was not asked for")),
            Some(Some(_)) => return reject(format!("`{name}`: {date} stands twice")),
            Some(place) => *place = Some(index),
        }
    }
    Ok(Dated { points, places })
}

/// The server's echo of the question must be the question. It spells filters in lower case.
fn echo(filters: &wire::Filters, question: &Question, dates: usize) -> Result<(), Rejection> {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let slice = &question.slice;
    let texts = [
        ("conversationType", &filters.conversation_type, slice.conversation_type.as_str()),
        ("conversationStatus", &filters.conversation_status, slice.conversation_status.as_str()),
        ("aggregationType", &filters.grain, question.grain.as_str()),
    ];
    for (name, echoed, asked) in texts {
        if echoed.as_ref().is_some_and(|e| plain(e) != plain(asked)) {
            return reject(format!("`filters.{name}` is not what was asked for (`{asked}`)"));
        }
    }
    let ends = [("start", filters.start, question.window.start), ("end", filters.end, question.window.end)];
    for (name, echoed, asked) in ends {
        if let Some(echoed) = echoed.map(|d| d.0).filter(|d| *d != asked) {
            return reject(format!("`filters.{name}` is {echoed}, asked was {asked}"));
        }
    }
    match filters.points.and_then(|c| c.0) {
        Some(count) if usize::try_from(count) != Ok(dates) => {
            reject(format!("`filters.dataPointsCount` is {count}, but there are {dates} dates"))
        }
        _ => Ok(()),
    }
}

/// Every elapsed day or hour of the window, and how many figures among them are missing.
fn points(series: &[Dated; 3], question: &Question, local_now: NaiveDateTime) -> (Points, u32) {
    let elapsed = question.window.dates().enumerate().take_while(|(_, date)| *date <= local_now.date());
    let mut missing = 0;
    let points = match question.grain {
        Grain::Daily => {
            let point = |(index, date)| {
                let counts = counts(of_day(series, index), |p| p.users);
                missing += u32::from(incomplete(counts));
                DayPoint { date, counts }
            };
            Points::Daily(elapsed.map(point).collect())
        }
        Grain::Hourly => {
            let mut points = Vec::with_capacity(24 * series[0].points.len());
            for (index, date) in elapsed {
                let day = of_day(series, index);
                for hour in 0..hours_elapsed(date, local_now) {
                    let counts = counts(day, |p| p.hours[usize::from(hour)]);
                    // An hour that a change of the clocks skips is not missing.
                    if incomplete(counts) && hour_start(question.zone, date, u32::from(hour)).is_some() {
                        missing += 1;
                    }
                    points.push(HourPoint { date, hour, counts });
                }
            }
            Points::Hourly(points)
        }
    };
    (points, missing)
}

/// How many hours of the date have begun.
fn hours_elapsed(date: NaiveDate, local_now: NaiveDateTime) -> u8 {
    if date < local_now.date() { 24 } else { u8::try_from(local_now.hour() + 1).unwrap_or(24) }
}

fn incomplete(counts: Counts) -> bool {
    counts.as_array().iter().any(Option::is_none)
}

/// The points of the day with this number in the window.
fn of_day(series: &[Dated; 3], day: usize) -> [Option<&wire::Point>; 3] {
    series.each_ref().map(|trend| trend.places[day].map(|place| &trend.points[place]))
}

fn counts(
    [unique, new, returning]: [Option<&wire::Point>; 3],
    figure: impl Fn(&wire::Point) -> Option<Option<i64>>,
) -> Counts {
    let figure = |point: Option<&wire::Point>| point.and_then(&figure).flatten();
    Counts { unique: figure(unique), new: figure(new), returning: figure(returning) }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
