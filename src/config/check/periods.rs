//! Which periods a stream's users are counted over.

use std::collections::BTreeSet;

use chrono::Weekday;

use super::Checker;
use super::stream::Layers;
use crate::model::{Grain, Period};

/// A weekday by its full name, refused in plain words.
struct Day(Weekday);

impl std::str::FromStr for Day {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let known = names.contains(&text.to_ascii_lowercase().as_str());
        text.parse().ok().filter(|_| known).map(Self).ok_or("there is no such weekday")
    }
}

impl Checker<'_> {
    /// The periods besides the month, which costs nothing where there are daily figures.
    pub(super) fn periods(
        &mut self,
        layers: &Layers<'_>,
        grains: Option<&[Grain]>,
        max_range_days: u32,
    ) -> Option<Vec<Period>> {
        let (key, field) = layers.get("summaries", |s| &s.summaries);
        let Some(names) = self.value(&key, field) else { return field.is_none().then(Vec::new) };
        let mut periods = BTreeSet::new();
        for name in &names {
            match name.parse::<Period>() {
                Ok(period) if periods.insert(period) => {}
                Ok(period) => self.report(&key, format_args!("`{period}` stands there twice"), None),
                Err(error) => self.report(&key, format_args!("`{}`: {error}", name.escape_debug()), None),
            }
        }
        if names.is_empty() {
            self.report(
                &key,
                "the list is empty",
                Some("leave it out for `[\"month\"]`, which costs nothing"),
            );
        }
        if periods.remove(&Period::Month) && grains.is_some_and(|grains| !grains.contains(&Grain::Daily)) {
            self.report(
                &key,
                "`month` comes with the daily figures, and `grains` leaves those out",
                Some("add `daily` to `grains`, or leave `month` out"),
            );
        }
        let (_, range) = layers.get("max_range_days", |s| &s.max_range_days);
        for period in periods.iter().filter(|p| range.is_some() && p.most_days() > max_range_days) {
            self.report(
                &key,
                format_args!(
                    "`{period}` is a question over {} days, and `max_range_days` allows {max_range_days}",
                    period.most_days()
                ),
                Some("users of shorter ranges do not add up: leave one of the two out"),
            );
        }
        Some(periods.into_iter().collect())
    }

    pub(super) fn week_start(&mut self, layers: &Layers<'_>) -> Option<Weekday> {
        let (key, field) = layers.get("week_start", |s| &s.week_start);
        match self.parsed::<Day>(&key, field, "a weekday in English, such as `monday` or `sunday`") {
            None => Some(Weekday::Mon),
            Some(day) => day.map(|Day(day)| day),
        }
    }
}
