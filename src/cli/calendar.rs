//! The coverage calendar: years down, months across, one sign a month.

use std::collections::BTreeMap;

use chrono::Datelike;
use console::{Style, style};

use crate::export::Condition;
use crate::model::Month;

/// The sign of a month in a terminal.
trait Glyph {
    fn glyph(self) -> String;
}

impl Glyph for Condition {
    fn glyph(self) -> String {
        let (glyph, look) = match self {
            Self::Final => ("●", Style::new().green()),
            Self::Provisional => ("◐", Style::new().cyan()),
            Self::Stale => ("◌", Style::new().yellow()),
            Self::Missing => ("·", Style::new().dim()),
            Self::Damaged => ("!", Style::new().red().bold()),
            Self::Suspect => ("?", Style::new().yellow().bold()),
            Self::Failed => ("✗", Style::new().red()),
        };
        look.apply_to(glyph).to_string()
    }
}

/// What the signs mean, those of `shown` only.
pub(super) fn legend(shown: impl Fn(Condition) -> bool) -> String {
    let entries =
        Condition::ALL.into_iter().filter(|s| shown(*s)).map(|s| format!("{} {}", s.glyph(), s.as_str()));
    entries.collect::<Vec<_>>().join("   ")
}

/// The calendar of one grain, each line indented.
pub(super) fn render(title: &str, months: &BTreeMap<Month, Condition>) -> Vec<String> {
    let mut lines = vec![format!("  {title:<8} {}", style("J F M A M J J A S O N D").dim())];
    let years: std::collections::BTreeSet<i32> = months.keys().map(|m| m.first_day().year()).collect();
    for year in years {
        let sign = |month0: u32| {
            let date = chrono::NaiveDate::from_ymd_opt(year, month0 + 1, 1).expect("a month of a year");
            months.get(&Month::of(date)).map_or_else(|| " ".to_owned(), |s| s.glyph())
        };
        lines.push(format!("  {year:<8} {}", (0..12).map(sign).collect::<Vec<_>>().join(" ").trim_end()));
    }
    lines
}
