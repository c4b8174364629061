//! Charts as SVG, drawn here so that they need no script: lines by day, bars by month, and the small line of
//! the overview.
//!
//! A chart is as wide as its place, without its texts being stretched: heights are pixels, widths are
//! percentages, and only the lines themselves lie in a picture that is pulled to the width.

use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate};
use maud::{Markup, html};

use super::words;

/// The height of the part in which figures are drawn, in pixels.
const HEIGHT: f64 = 200.0;
/// What is above it, and below it for the dates.
const ABOVE: f64 = 10.0;
const BELOW: f64 = 26.0;
/// What the style sheet leaves to the left of a chart for the figures of its axis.
const LEFT: f64 = 56.0;

/// One line of a chart.
pub(super) struct Series<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// The class that gives it its colour.
    pub class: &'a str,
    /// One figure per day; a gap where there is none.
    pub values: Vec<Option<i64>>,
}

/// A chart's texts.
pub(super) struct Caption<'a> {
    /// The begin of every id within the chart.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// What is to be seen, for those who do not see it.
    pub description: String,
}

/// Round figures from 0 to at least `most`, at most six of them.
pub(super) fn ticks(most: i64) -> Vec<i64> {
    let most = most.max(1);
    let mut power = 1_i64;
    loop {
        for factor in [1, 2, 5] {
            let Some(step) = power.checked_mul(factor) else { return vec![0, most] };
            let steps = most / step + i64::from(most % step != 0);
            if steps <= 5 {
                return (0..=steps).map(|n| n.saturating_mul(step)).collect();
            }
        }
        let Some(next) = power.checked_mul(10) else { return vec![0, most] };
        power = next;
    }
}

/// Where a figure lies, from the top.
fn height_of(value: i64, top: i64, height: f64) -> f64 {
    height - height * share(value, top)
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A percentage with two digits.
fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// The path of a line, one unit of width to a figure: broken at gaps, a dot where a figure stands alone.
pub(super) fn path(values: &[Option<i64>], top: i64, height: f64) -> String {
    let mut path = String::new();
    let mut before = false;
    for (x, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let y = height_of(*value, top, height);
            let alone = !before && values.get(x + 1).copied().flatten().is_none();
            let _ = write!(path, "{}{x} {y:.1}", if before { 'L' } else { 'M' });
            path.push_str(if alone { "h0" } else { "" });
        }
        before = value.is_some();
    }
    path
}

/// The same, closed along the ground, to be filled.
fn area(values: &[Option<i64>], top: i64, height: f64) -> String {
    let mut area = String::new();
    for run in runs(values) {
        let _ = write!(area, "M{} {height:.1}", run.start);
        for x in run.clone() {
            let y = height_of(values[x].unwrap_or_default(), top, height);
            let _ = write!(area, "L{x} {y:.1}");
        }
        let _ = write!(area, "L{} {height:.1}Z", run.end - 1);
    }
    area
}

/// The stretches without a gap.
fn runs(values: &[Option<i64>]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (x, _) in values.iter().enumerate().filter(|(_, v)| v.is_some()) {
        match runs.last_mut() {
            Some(run) if run.end == x => run.end = x + 1,
            _ => runs.push(x..x + 1),
        }
    }
    runs
}

/// The height of a small line, in units of its own.
const SPARK: i64 = 100;

/// The path of a small line, in steps from day to day, since there are many on one page. If it is to be
/// filled, it goes back along the ground.
fn steps(values: &[Option<i64>], top: i64, filled: bool) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 100")]
    let y = |x: usize| height_of(values[x].unwrap_or_default(), top, 100.0).round() as i64;
    let mut path = String::with_capacity(values.len() * 4);
    for run in runs(values) {
        let _ = if filled {
            write!(path, "M{} {SPARK}V{}", run.start, y(run.start))
        } else {
            write!(path, "M{} {}", run.start, y(run.start))
        };
        path.push_str(if run.len() == 1 { "h0" } else { "l" });
        for x in run.start + 1..run.end {
            let step = y(x) - y(x - 1);
            let space = if x == run.start + 1 { "" } else { " " };
            let _ = write!(path, "{space}1{}{step}", if step < 0 { "" } else { " " });
        }
        if filled {
            let _ = write!(path, "V{SPARK}");
        }
    }
    path
}

/// The small line of the overview: from zero to the most, the newest day to the right.
pub(super) fn spark(values: &[Option<i64>], description: &str) -> Markup {
    let top = values.iter().flatten().copied().max().unwrap_or(0).max(1);
    let width = values.len().saturating_sub(1).max(1);
    html! {
        svg.spark viewBox={ "0 -5 " (width) " 110" } preserveAspectRatio="none" role="img" aria-label=(description) {
            path.area d=(steps(values, top, true)) {}
            path.line d=(steps(values, top, false)) {}
        }
    }
}

/// Where the dates of an axis stand, from 0 to 1, with their texts: the days on which months begin, or every
/// week or so where there are few months. No more than about a dozen.
pub(super) fn dates(first: NaiveDate, days: usize) -> Vec<(f64, String)> {
    let last = days.saturating_sub(1).max(1);
    #[expect(clippy::cast_precision_loss, reason = "days of a chart")]
    let place = |x: usize| x as f64 / last as f64;
    let dates = || first.iter_days().take(days).enumerate();
    let months: Vec<_> = dates().filter(|(_, date)| date.day() == 1).collect();
    if days <= 130 {
        let step = [1, 2, 7].into_iter().find(|step| days.div_ceil(*step) <= 13).unwrap_or(14);
        return dates()
            .step_by(step)
            .map(|(x, date)| (place(x), date.format("%-d %b").to_string()))
            .collect();
    }
    let step = months.len().div_ceil(13);
    // Of every third month, or of whole years, rather than of any that come.
    let step = [1, 2, 3, 6, 12, 24, 48].into_iter().find(|s| *s >= step).unwrap_or(120);
    let number = |date: &NaiveDate| date.year().cast_unsigned() as usize * 12 + date.month0() as usize;
    let regular = |date: &NaiveDate| number(date).is_multiple_of(step);
    let text = |date: NaiveDate| {
        let form = if date.month() == 1 || step > 6 { "%b %Y" } else { "%b" };
        date.format(form).to_string()
    };
    months.into_iter().filter(|(_, d)| regular(d)).map(|(x, date)| (place(x), text(date))).collect()
}

/// The picture around a chart: texts for those who listen, the axis of figures, and what is drawn within.
fn picture(caption: &Caption<'_>, unit: &str, ticks: &[i64], within: &Markup) -> Markup {
    let top = ticks.last().copied().unwrap_or(1);
    let Caption { id, title, description } = caption;
    html! {
        svg.chart role="img" aria-labelledby={ (id) "-t " (id) "-d" } height=(ABOVE + HEIGHT + BELOW) {
            title id={ (id) "-t" } { (title) }
            desc id={ (id) "-d" } { (description) }
            text.unit x=(-LEFT) y=(ABOVE + HEIGHT + 20.0) { (unit) }
            svg.plot y=(ABOVE) height=(HEIGHT) overflow="visible" {
                @for tick in ticks {
                    @let y = height_of(*tick, top, HEIGHT);
                    line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
                    text.tick x="-8" y=(y + 4.0) text-anchor="end" { (words::number(*tick)) }
                }
                (within)
            }
        }
    }
}

/// Means of the seven days up to each, where at least four of them have a figure: what a week's ups and downs
/// hide over a long time.
pub(super) fn weekly(values: &[Option<i64>]) -> Vec<Option<i64>> {
    let mean = |end: usize| {
        let week: Vec<i64> = values[(end + 1).saturating_sub(7)..=end].iter().flatten().copied().collect();
        let count = i64::try_from(week.len()).ok().filter(|n| *n >= 4 && end >= 6)?;
        Some(week.iter().fold(0_i64, |sum, n| sum.saturating_add(*n)) / count)
    };
    (0..values.len()).map(mean).collect()
}

/// Lines by day over the `ground` of one of them. From `provisional` on, figures may still change.
pub(super) fn lines(
    caption: &Caption<'_>,
    first: NaiveDate,
    (series, ground): (&[Series<'_>], &[Option<i64>]),
    provisional: Option<usize>,
) -> Markup {
    let days = ground.len();
    let all = series.iter().flat_map(|s| &s.values).chain(ground).flatten();
    let most = all.copied().max().unwrap_or(0);
    let ticks = ticks(most);
    let top = ticks.last().copied().unwrap_or(1);
    let width = days.saturating_sub(1).max(1);
    #[expect(clippy::cast_precision_loss, reason = "days of a chart")]
    let place = |x: usize| x as f64 / width as f64;
    let labels = dates(first, days);
    let within = html! {
        @if let Some(x) = provisional {
            rect.soft-part x=(percent(place(x))) y="0" width=(percent(1.0 - place(x))) height=(HEIGHT) {}
        }
        @for (index, (x, text)) in labels.iter().enumerate() {
            line.mark x1=(percent(*x)) x2=(percent(*x)) y1=(HEIGHT) y2=(HEIGHT + 5.0) {}
            text.tick.minor[index % 2 == 1] x=(percent(*x)) y=(HEIGHT + 20.0) text-anchor=(anchor(*x)) { (text) }
        }
        svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" width="100%" height=(HEIGHT) overflow="visible" {
            path.area d=(area(ground, top, HEIGHT)) {}
            @for line in series.iter().rev() {
                path.line.{ (line.class) } d=(path(&line.values, top, HEIGHT)) {}
            }
        }
        line.cursor x1="0" x2="0" y1="0" y2=(HEIGHT) visibility="hidden" {}
    };
    picture(caption, "users", &ticks, &within)
}

/// A text at an edge stays within the chart.
fn anchor(place: f64) -> &'static str {
    match place {
        ..0.02 => "start",
        0.98.. => "end",
        _ => "middle",
    }
}

/// One bar.
pub(super) struct Bar {
    /// What stands below it.
    pub label: String,
    /// What it stands for, in full.
    pub title: String,
    /// How high it is; no bar where there is no figure.
    pub value: Option<i64>,
    /// Whether it may still change.
    pub provisional: bool,
}

/// Bars side by side.
pub(super) fn bars(caption: &Caption<'_>, bars: &[Bar]) -> Markup {
    let ticks = ticks(bars.iter().filter_map(|b| b.value).max().unwrap_or(0));
    let top = ticks.last().copied().unwrap_or(1);
    let every = bars.len().div_ceil(13).max(1);
    #[expect(clippy::cast_precision_loss, reason = "months of a chart")]
    let (wide, place) = (1.0 / bars.len().max(1) as f64, |index: usize| index as f64 / bars.len() as f64);
    let within = html! {
        @for (index, bar) in bars.iter().enumerate() {
            @if let Some(value) = bar.value {
                @let y = height_of(value, top, HEIGHT);
                rect.bar.unique.open[bar.provisional] x=(percent(place(index) + wide * 0.18)) y=(format!("{y:.1}"))
                    width=(percent(wide * 0.64)) height=(format!("{:.1}", HEIGHT - y)) {
                    title { (bar.title) }
                }
            }
            @if index % every == 0 {
                text.tick.minor[index / every % 2 == 1] x=(percent(place(index) + wide / 2.0)) y=(HEIGHT + 20.0)
                    text-anchor="middle" { (bar.label) }
            }
        }
    };
    picture(caption, "users", &ticks, &within)
}

/// How many shades the heat map has; the style sheet gives them their colours.
const SHADES: f64 = 9.0;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The means of a weekday's hours, from Monday.
pub(super) type Week = [[Option<f64>; 24]; 7];

/// The mean of each weekday's hour over all its hours with a figure.
pub(super) fn week(hours: impl Iterator<Item = (NaiveDate, u8, i64)>) -> Week {
    let mut sums = [[(0_i64, 0_i64); 24]; 7];
    for (date, hour, value) in hours {
        let day = &mut sums[date.weekday().num_days_from_monday() as usize];
        if let Some((sum, count)) = day.get_mut(usize::from(hour)) {
            *sum = sum.saturating_add(value);
            *count += 1;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean for the eye")]
    sums.map(|day| day.map(|(sum, count)| (count > 0).then(|| sum as f64 / count as f64)))
}

/// Which shade a mean has, from 0: a mean of nobody is the lightest one.
pub(super) fn shade(mean: f64, most: f64) -> u8 {
    let share = if most > 0.0 { mean / most } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8")]
    let shade = (share * SHADES).floor().clamp(0.0, SHADES - 1.0) as u8;
    shade
}

/// How the hours of a week differ.
pub(super) fn heat(caption: &Caption<'_>, week: &Week) -> Markup {
    const ROW: f64 = 24.0;
    let most = week.iter().flatten().flatten().copied().fold(0.0, f64::max);
    let Caption { id, title, description } = caption;
    let (wide, row) = (1.0 / 24.0, |index: usize| f64::from(u8::try_from(index).unwrap_or(0)) * ROW);
    html! {
        svg.chart.heat role="img" aria-labelledby={ (id) "-t " (id) "-d" } height=(7.0 * ROW + 30.0) {
            title id={ (id) "-t" } { (title) }
            desc id={ (id) "-d" } { (description) }
            svg.plot y="2" height=(7.0 * ROW) overflow="visible" {
                @for (day, hours) in week.iter().enumerate() {
                    text.tick x="-8" y=(row(day) + 16.0) text-anchor="end" { (WEEKDAYS[day]) }
                    @for (hour, mean) in hours.iter().enumerate() {
                        @let x = f64::from(u8::try_from(hour).unwrap_or(0)) * wide;
                        @let class = mean.map_or_else(|| "none".to_owned(), |mean| format!("h{}", shade(mean, most)));
                        rect.cell.{ (class) } x=(percent(x)) y=(row(day)) width=(percent(wide)) height=(ROW) {
                            title {
                                (WEEKDAYS[day]) " " (format!("{hour:02}:00")) ": "
                                (mean.map_or_else(|| "no figure".to_owned(), |mean| format!("{mean:.0} users")))
                            }
                        }
                    }
                }
                @for hour in (0..24_u8).step_by(3) {
                    text.tick x=(percent((f64::from(hour) + 0.5) * wide)) y=(7.0 * ROW + 18.0) text-anchor="middle" {
                        (format!("{hour:02}"))
                    }
                }
            }
        }
    }
}

/// What the shades mean, from none to the most.
pub(super) fn heat_legend(week: &Week) -> Markup {
    let most = week.iter().flatten().flatten().copied().fold(0.0, f64::max);
    html! {
        p.legend.shades aria-hidden="true" {
            "0"
            svg width="126" height="12" {
                @for shade in 0..9_u8 { rect.cell.{ "h" (shade) } x=(u32::from(shade) * 14) y="0" width="14" height="12" {} }
            }
            (format!("{most:.0} users"))
        }
    }
}

#[cfg(test)]
#[path = "chart_tests.rs"]
mod tests;
