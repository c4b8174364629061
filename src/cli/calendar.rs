//! The coverage calendar: years down, months across, one sign a month.

use std::collections::BTreeMap;

use chrono::Datelike;
use console::{Style, style};

use crate::export::Condition;
use crate::model::Month;

/// The sign of a month in a terminal.
fn glyph(condition: Condition) -> String {
    let (glyph, look) = match condition {
        Condition::Final => ("●", Style::new().green()),
        Condition::Provisional => ("◐", Style::new().cyan()),
        Condition::Stale => ("◌", Style::new().yellow()),
        Condition::Missing => ("·", Style::new().dim()),
        Condition::Damaged => ("!", Style::new().red().bold()),
        Condition::Suspect => ("?", Style::new().yellow().bold()),
        Condition::Failed => ("✗", Style::new().red()),
    };
    look.apply_to(glyph).to_string()
}

/// What the signs mean, those of `shown` only.
pub(super) fn legend(shown: impl Fn(Condition) -> bool) -> String {
    let entries =
        Condition::ALL.into_iter().filter(|s| shown(*s)).map(|s| format!("{} {}", glyph(s), s.as_str()));
    entries.collect::<Vec<_>>().join("   ")
}

/// The calendar of one grain, each line indented.
pub(super) fn render(title: &str, months: &BTreeMap<Month, Condition>) -> Vec<String> {
    let mut lines = vec![format!("  {title:<8} {}", style("J F M A M J J A S O N D").dim())];
    let years: std::collections::BTreeSet<i32> = months.keys().map(|m| m.first_day().year()).collect();
    for year in years {
        let sign = |month0: u32| {
            let date = chrono::NaiveDate::from_ymd_opt(year, month0 + 1, 1).expect("a month of a year");
            months.get(&Month::of(date)).map_or_else(|| " ".to_owned(), |s| glyph(*s))
        };
        lines.push(format!("  {year:<8} {}", (0..12).map(sign).collect::<Vec<_>>().join(" ").trim_end()));
    }
    lines
}
