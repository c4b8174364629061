//! The JSON of an answer, written straight into one buffer.
//!
//! A month of hours is some two thousand numbers and a rehearsal asks for millions of months, so
//! no tree of values is built.

use chrono::{Datelike, NaiveDate};

use super::ask::Ask;
use super::world::{Day, Figures, Users};
use crate::model::Grain;

/// The hours' keys, each with what separates it from the value before.
const HOUR_KEYS: [&str; 24] = [
    r#","0 - 1":"#,
    r#","1 - 2":"#,
    r#","2 - 3":"#,
    r#","3 - 4":"#,
    r#","4 - 5":"#,
    r#","5 - 6":"#,
    r#","6 - 7":"#,
    r#","7 - 8":"#,
    r#","8 - 9":"#,
    r#","9 - 10":"#,
    r#","10 - 11":"#,
    r#","11 - 12":"#,
    r#","12 - 13":"#,
    r#","13 - 14":"#,
    r#","14 - 15":"#,
    r#","15 - 16":"#,
    r#","16 - 17":"#,
    r#","17 - 18":"#,
    r#","18 - 19":"#,
    r#","19 - 20":"#,
    r#","20 - 21":"#,
    r#","21 - 22":"#,
    r#","22 - 23":"#,
    r#","23 - 0":"#,
];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Which of the users a trend shows.
type Pick = fn(&Users) -> u64;

/// The three trends.
const TRENDS: [(&str, Pick); 3] = [
    (r#","uniqueUsersTrend":{"dataPoints":["#, |users| users.unique),
    (r#","newUsersTrend":{"dataPoints":["#, |users| users.new),
    (r#","returningUsersTrend":{"dataPoints":["#, |users| users.returning),
];

/// The body of a good answer.
pub(super) fn body(ask: &Ask, figures: &Figures) -> Vec<u8> {
    let bytes_per_point = match ask.grain {
        Grain::Daily => 40,
        Grain::Hourly => 28 + 24 * 16,
    };
    let mut out = Writer(Vec::with_capacity(700 + TRENDS.len() * figures.days.len() * bytes_per_point));
    out.summary(figures);
    for (key, pick) in TRENDS {
        out.text(key);
        for (index, day) in figures.days.iter().enumerate() {
            if index > 0 {
                out.text(",");
            }
            match ask.grain {
                Grain::Daily => out.day(day, pick),
                Grain::Hourly => out.hours(day, pick),
            }
        }
        out.text("]}");
    }
    out.filters(ask, figures.days.len());
    out.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        if number < 10 {
            self.0.push(digit(number));
            return;
        }
        let mut digits = [0; 20];
        let mut rest = number;
        let mut start = digits.len();
        while rest > 0 {
            start -= 1;
            digits[start] = digit(rest % 10);
            rest /= 10;
        }
        self.0.extend_from_slice(&digits[start..]);
    }

    /// A number given in hundredths, in its shortest form: `34.4`, `34`.
    fn hundredths(&mut self, hundredths: u64) {
        self.number(hundredths / 100);
        let (tenth, hundredth) = (hundredths / 10 % 10, hundredths % 10);
        if (tenth, hundredth) != (0, 0) {
            self.0.extend_from_slice(&[b'.', digit(tenth)]);
        }
        if hundredth != 0 {
            self.0.push(digit(hundredth));
        }
    }

    fn date(&mut self, date: NaiveDate) {
        self.text(MONTHS[date.month0() as usize]);
        let (day, year) = (u64::from(date.day()), u64::from(date.year().unsigned_abs()));
        self.0.extend_from_slice(&[b' ', digit(day / 10), digit(day % 10), b' ']);
        self.number(year);
    }

    fn summary(&mut self, figures: &Figures) {
        let Users { unique, new, returning } = figures.total;
        let averages = figures.average_hundredths();
        for (key, count) in [
            (r#"{"summary":{"uniqueUsers":"#, unique),
            (r#","newUsers":"#, new),
            (r#","returningUsers":"#, returning),
        ] {
            self.text(key);
            self.number(count);
        }
        let keys =
            [r#","avgUniqueUsersPerDay":"#, r#","avgNewUsersPerDay":"#, r#","avgReturningUsersPerDay":"#];
        for (key, average) in keys.into_iter().zip(averages) {
            self.text(key);
            self.hundredths(average);
        }
        self.text("}");
    }

    fn day(&mut self, day: &Day, pick: Pick) {
        self.text(r#"{"date":""#);
        self.date(day.date);
        self.text(r#"","users":"#);
        self.number(pick(&day.users));
        self.text("}");
    }

    fn hours(&mut self, day: &Day, pick: Pick) {
        self.text(r#"{"date":""#);
        self.date(day.date);
        self.text(r#"""#);
        for (key, users) in HOUR_KEYS.iter().zip(&day.hours).take(day.hours_shown) {
            self.text(key);
            self.number(pick(users));
        }
        self.text("}");
    }

    fn filters(&mut self, ask: &Ask, dates: usize) {
        self.text(r#","filters":{"start":""#);
        self.date(ask.start);
        self.text(r#"","end":""#);
        self.date(ask.end);
        // The sample echoes the filters in lower case.
        self.text(r#"","conversationType":""#);
        self.text(&ask.slice.conversation_type.as_str().to_lowercase());
        self.text(r#"","conversationStatus":""#);
        self.text(&ask.slice.conversation_status.as_str().to_lowercase());
        self.text(r#"","aggregationType":""#);
        self.text(ask.grain.as_str());
        self.text(r#"","dataPointsCount":"#);
        self.number(u64::try_from(dates).unwrap_or(u64::MAX));
        self.text("}}");
    }
}

/// The lowest decimal digit; the caller passes a number below ten.
fn digit(number: u64) -> u8 {
    b'0' + number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::super::{Future, World};
    use super::*;
    use crate::model::Slice;
    use serde_json::Value;

    fn printed(grain: Grain) -> (Value, Figures) {
        let ask = Ask {
            grain,
            slice: Slice::ALL,
            zone: chrono_tz::Asia::Kolkata,
            start: "2026-03-27".parse().unwrap(),
            end: "2026-03-31".parse().unwrap(),
        };
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let figures = World::new(2, Future::Zeros).figures("st-demo", &ask, now);
        (serde_json::from_slice(&body(&ask, &figures)).unwrap(), figures)
    }

    /// The same keys, kinds and texts; only the counts are ours.
    fn assert_same_shape(ours: &Value, sample: &Value, at: &str) {
        match (ours, sample) {
            (Value::Object(ours), Value::Object(sample)) => {
                assert_eq!(ours.keys().collect::<Vec<_>>(), sample.keys().collect::<Vec<_>>(), "{at}");
                for (key, value) in ours {
                    assert_same_shape(value, &sample[key], &format!("{at}.{key}"));
                }
            }
            (Value::Array(ours), Value::Array(sample)) => {
                assert_eq!(ours.len(), sample.len(), "{at}");
                for (index, (ours, sample)) in ours.iter().zip(sample).enumerate() {
                    assert_same_shape(ours, sample, &format!("{at}[{index}]"));
                }
            }
            (Value::Number(_), Value::Number(_)) => {}
            (ours, sample) => assert_eq!(ours, sample, "{at}"),
        }
    }

    #[test]
    fn answers_have_the_shape_of_the_samples() {
        let daily = include_str!("../../tests/data/daily.json");
        let hourly = include_str!("../../tests/data/hourly.json");
        for (grain, sample) in [(Grain::Daily, daily), (Grain::Hourly, hourly)] {
            assert_same_shape(&printed(grain).0, &serde_json::from_str(sample).unwrap(), grain.as_str());
        }
    }

    #[test]
    fn every_figure_reaches_its_place() {
        let (json, figures) = printed(Grain::Hourly);
        assert_eq!(json["summary"]["returningUsers"], figures.total.returning);
        let day = &figures.days[3];
        let hours = &json["newUsersTrend"]["dataPoints"][3];
        assert_eq!(hours["9 - 10"], day.hours[9].new);
        assert_eq!(hours["23 - 0"], day.hours[23].new);
        let (json, figures) = printed(Grain::Daily);
        assert_eq!(json["uniqueUsersTrend"]["dataPoints"][4]["users"], figures.days[4].users.unique);
    }

    #[test]
    fn keys_follow_the_hours() {
        for (hour, key) in HOUR_KEYS.iter().enumerate() {
            assert_eq!(*key, format!(r#","{hour} - {}":"#, (hour + 1) % 24));
        }
    }

    #[test]
    fn numbers() {
        let shown = |write: fn(&mut Writer, u64), number| {
            let mut out = Writer(Vec::new());
            write(&mut out, number);
            String::from_utf8(out.0).unwrap()
        };
        for number in [0, 9, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(shown(Writer::number, number), number.to_string());
        }
        for (hundredths, text) in [(3440, "34.4"), (3400, "34"), (5, "0.05"), (1999, "19.99"), (0, "0")] {
            assert_eq!(shown(Writer::hundredths, hundredths), text);
        }
    }
}
