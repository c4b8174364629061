//! An answer's JSON, read straight into fixed places.
//!
//! The visitors are written out, and not derived, for what a derived one cannot do: find the hour
//! keys without a map of texts, refuse a key that stands twice (a map keeps the last in silence),
//! and tell keys that the vendor has added.

use std::borrow::Cow;
use std::fmt;

use chrono::NaiveDate;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

/// An answer is no JSON, or of another shape. The text says where, partly in the server's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// Declares a JSON object: each key at most once, any of them absent, others collected by name.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $ty:ty = $key:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $(#[doc = concat!("`", $key, "`")] pub $field: Option<$ty>,)+
            /// Keys that are not known.
            pub extra: Vec<String>,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut object = $name::default();
                        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                            match key.as_ref() {
                                $($key => {
                                    if object.$field.is_some() {
                                        return Err(A::Error::duplicate_field($key));
                                    }
                                    object.$field = Some(map.next_value()?);
                                })+
                                other => {
                                    object.extra.push(other.to_owned());
                                    skip(&mut map)?;
                                }
                            }
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}

object! {
    /// The whole answer.
    Answer {
        summary: Summary = "summary",
        unique: Series = "uniqueUsersTrend",
        new: Series = "newUsersTrend",
        returning: Series = "returningUsersTrend",
        filters: Filters = "filters",
        errors: IgnoredAny = "errors",
    }
}

object! {
    /// The figures over the whole range.
    Summary {
        unique: Count = "uniqueUsers",
        new: Count = "newUsers",
        returning: Count = "returningUsers",
        average_unique: Average = "avgUniqueUsersPerDay",
        average_new: Average = "avgNewUsersPerDay",
        average_returning: Average = "avgReturningUsersPerDay",
    }
}

object! {
    /// One of the three trends.
    Series { points: DataPoints = "dataPoints", }
}

/// The points of a trend, one for each date.
#[derive(Debug)]
pub struct DataPoints(
    /// In the order of the answer.
    pub Vec<Point>,
);

impl<'de> Deserialize<'de> for DataPoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seq;
        impl<'de> Visitor<'de> for Seq {
            type Value = DataPoints;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of points")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<DataPoints, A::Error> {
                // A month's, and one more, at which the end is found. Each is read into its place: points are
                // large, and so are not moved.
                let mut points = Vec::with_capacity(32);
                loop {
                    points.push(Point::default());
                    let place = points.last_mut().expect("one was just added");
                    if seq.next_element_seed(place)?.is_none() {
                        points.pop();
                        return Ok(DataPoints(points));
                    }
                }
            }
        }
        deserializer.deserialize_seq(Seq)
    }
}

object! {
    /// The question, as the server understood it.
    Filters {
        start: Date = "start",
        end: Date = "end",
        conversation_type: String = "conversationType",
        conversation_status: String = "conversationStatus",
        grain: String = "aggregationType",
        points: Count = "dataPointsCount",
    }
}

/// Reads past a value that is not known. As a [`Value`], since that one bounds how deep it nests.
fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<Value>().map(drop)
}

/// The figures of one date: `users` in a daily answer, 24 hour keys in an hourly one.
#[derive(Debug, Default)]
pub struct Point {
    /// The local date.
    pub date: Option<NaiveDate>,
    /// Of the whole day; the outer `None` where the key is absent.
    pub users: Option<Option<i64>>,
    /// By hour; the outer `None` where the key is absent.
    pub hours: [Option<Option<i64>>; 24],
    /// Whether any hour key is there.
    pub hourly: bool,
    /// Keys that are not known.
    pub extra: Vec<String>,
}

/// Fills a point that has nothing yet.
impl<'de> DeserializeSeed<'de> for &mut Point {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Point {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a date")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let point = self;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Hour(hour) => {
                    let place = &mut point.hours[usize::from(hour)];
                    if place.is_some() {
                        return Err(A::Error::custom(format_args!("the key of hour {hour} stands twice")));
                    }
                    *place = Some(map.next_value::<Count>()?.0);
                    point.hourly = true;
                }
                Key::Date if point.date.is_some() => return Err(A::Error::duplicate_field("date")),
                Key::Date => point.date = Some(map.next_value::<Date>()?.0),
                Key::Users if point.users.is_some() => return Err(A::Error::duplicate_field("users")),
                Key::Users => point.users = Some(map.next_value::<Count>()?.0),
                Key::Other(name) => {
                    point.extra.push(name);
                    skip(&mut map)?;
                }
            }
        }
        Ok(())
    }
}

/// A key of a point.
enum Key {
    Date,
    Users,
    Hour(u8),
    Other(String),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key, E> {
                match key {
                    // Something new that looks like an hour must not be passed over.
                    _ if key.starts_with(|c: char| c.is_ascii_digit()) => hour(key)
                        .map(Key::Hour)
                        .ok_or_else(|| E::custom(format_args!("unknown hour key `{key}`"))),
                    "date" => Ok(Key::Date),
                    "users" => Ok(Key::Users),
                    _ => Ok(Key::Other(key.to_owned())),
                }
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

/// The keys of the hours.
const HOURS: [&str; 24] = [
    "0 - 1", "1 - 2", "2 - 3", "3 - 4", "4 - 5", "5 - 6", "6 - 7", "7 - 8", "8 - 9", "9 - 10", "10 - 11",
    "11 - 12", "12 - 13", "13 - 14", "14 - 15", "15 - 16", "16 - 17", "17 - 18", "18 - 19", "19 - 20",
    "20 - 21", "21 - 22", "22 - 23", "23 - 0",
];

/// The hour that a key names by its beginning.
fn hour(key: &str) -> Option<u8> {
    let hour = match *key.as_bytes() {
        [d, b' ', ..] => d.wrapping_sub(b'0'),
        [t, d, ..] => t.wrapping_sub(b'0').wrapping_mul(10).wrapping_add(d.wrapping_sub(b'0')),
        _ => return None,
    };
    (HOURS.get(usize::from(hour)) == Some(&key)).then_some(hour)
}

/// A number of users: a whole number, also as `"5"` or `5.0`. `null` is no figure.
#[derive(Clone, Copy, Debug)]
pub struct Count(
    /// From 0 to 2^53.
    pub Option<i64>,
);

/// An average: a number that is not negative, also as a text. `null` is no figure.
#[derive(Clone, Copy, Debug)]
pub struct Average(
    /// Finite, and from 0.
    pub Option<f64>,
);

/// A date as `Dec 01 2025`, in English whatever the zone.
#[derive(Clone, Copy, Debug)]
pub struct Date(
    /// In the zone that was asked for.
    pub NaiveDate,
);

const NOT_A_COUNT: &str = "expected a whole number of users from 0 to 2^53";

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl Visitor<'_> for CountVisitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of users")
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Count, E> {
                match i64::try_from(n) {
                    Ok(n) if n <= 1 << 53 => Ok(Count(Some(n))),
                    _ => Err(E::custom(NOT_A_COUNT)),
                }
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Count, E> {
                u64::try_from(n).map_err(|_| E::custom(NOT_A_COUNT)).and_then(|n| self.visit_u64(n))
            }

            fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Count, E> {
                if n.fract() != 0.0 || !(0.0..=9_007_199_254_740_992.0).contains(&n) {
                    return Err(E::custom(NOT_A_COUNT));
                }
                #[expect(clippy::cast_possible_truncation, reason = "a whole number up to 2^53")]
                Ok(Count(Some(n as i64)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Count, E> {
                match text.parse::<u64>() {
                    Ok(n) if text.bytes().all(|b| b.is_ascii_digit()) => self.visit_u64(n),
                    _ => Err(E::custom(NOT_A_COUNT)),
                }
            }

            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(None))
            }
        }
        deserializer.deserialize_any(CountVisitor)
    }
}

impl<'de> Deserialize<'de> for Average {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Null => return Ok(Self(None)),
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(n) if n.is_finite() && n >= 0.0 => Ok(Self(Some(n))),
            _ => Err(D::Error::custom("expected an average that is a number from 0")),
        }
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        date(&text).map(Self).ok_or_else(|| D::Error::custom("expected a date such as `Dec 01 2025`"))
    }
}

/// The date that a text such as `Dec 01 2025` names. An answer has a hundred of them, and a parser of
/// formats takes longer over them than over all else about a daily answer.
fn date(text: &str) -> Option<NaiveDate> {
    const MONTHS: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let &[a, b, c, b' ', d1, d2, b' ', y1, y2, y3, y4] = text.as_bytes() else { return None };
    let name = [a, b, c].map(|byte| byte.to_ascii_lowercase());
    let month = MONTHS.iter().zip(1..).find(|(month, _)| **month == &name)?.1;
    let digit = |byte: u8| char::from(byte).to_digit(10);
    let [day, year] = [[0, 0, digit(d1)?, digit(d2)?], [digit(y1)?, digit(y2)?, digit(y3)?, digit(y4)?]]
        .map(|digits| digits.iter().fold(0, |number, digit| 10 * number + digit));
    NaiveDate::from_ymd_opt(year.cast_signed(), month, day)
}

/// Reads an answer.
///
/// # Errors
/// When it is no JSON or has another shape; the text says where.
pub fn parse(body: &[u8]) -> Result<Answer, ParseError> {
    // Once for all of it: each of two thousand keys by itself takes ten times as long.
    let text = std::str::from_utf8(body).map_err(|error| ParseError(format!("no JSON: {error}")))?;
    serde_json::from_str(text).map_err(|error| {
        // Keeping the path costs as much as the decoding itself, so it is looked for only now.
        let mut json = serde_json::Deserializer::from_str(text);
        let path = match serde_path_to_error::deserialize::<_, Answer>(&mut json) {
            Err(traced) if traced.path().iter().len() > 0 => format!("`{}`: ", short(traced.path())),
            _ => String::new(),
        };
        ParseError(format!("{path}{error}"))
    })
}

/// Cut where it is long, since what is wrong comes after it and a log line has room for both.
fn short(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hour_keys_are_exactly_the_24() {
        let names: Vec<_> = (0..24).map(|h| format!("{h} - {}", (h + 1) % 24)).collect();
        for (h, name) in names.iter().enumerate() {
            assert_eq!(hour(name), u8::try_from(h).ok(), "{name}");
        }
        for other in [
            "",
            "0",
            "24 - 25",
            "23 - 24",
            "0 - 2",
            "00 - 1",
            "0-1",
            "0 -  1",
            "1 - 2 ",
            "é - 1",
            "5 - 6\u{0}",
        ] {
            assert_eq!(hour(other), None, "{other:?}");
        }
    }

    #[test]
    fn dates_have_one_form() {
        for days in 0..4000 {
            let day = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + chrono::Days::new(days);
            assert_eq!(date(&day.format("%b %d %Y").to_string()), Some(day));
        }
        for bad in [
            "",
            "Dez 01 2025",
            "Feb 29 2025",
            "Dec 1 2025",
            "Dec 01 25",
            "Dec  01 2025",
            "Dec 01 2025 ",
            "2025-12-01",
            "Dec +1 2025",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    fn count(json: &str) -> Result<Option<i64>, String> {
        serde_json::from_str::<Count>(json).map(|c| c.0).map_err(|e| e.to_string())
    }

    #[test]
    fn counts_in_other_clothes() {
        assert_eq!(count("5"), Ok(Some(5)));
        assert_eq!(count("\"5\""), Ok(Some(5)));
        assert_eq!(count("5.0"), Ok(Some(5)));
        assert_eq!(count("null"), Ok(None));
        for bad in [
            "-1",
            "5.5",
            "18446744073709551616",
            "\"abc\"",
            "\"+5\"",
            "\"\"",
            "\"-1\"",
            "{}",
            "[]",
            "true",
            "1e300",
        ] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_say_where() {
        let text = |body: &str| parse(body.as_bytes()).unwrap_err().to_string();
        let at = text(r#"{"newUsersTrend":{"dataPoints":[{"date":"Dec 01 2025","0 - 1":-4}]}}"#);
        assert!(at.starts_with("`newUsersTrend.dataPoints[0].0 - 1`: expected a whole number"), "{at}");
        assert!(text("\u{feff}{}").contains("line 1 column 1"));
        assert!(text(r#"{"summary":{"uniqueUsers":1,"uniqueUsers":2}}"#).contains("duplicate field"));
        assert!(
            text(r#"{"uniqueUsersTrend":{"dataPoints":[{"3 - 4":1,"3 - 4":1}]}}"#)
                .contains("hour 3 stands twice")
        );
        assert!(
            text(r#"{"uniqueUsersTrend":{"dataPoints":[{"23 - 24":1}]}}"#)
                .contains("unknown hour key `23 - 24`")
        );
        assert!(
            text(r#"{"uniqueUsersTrend":{"dataPoints":[{"date":"Dez 01 2025"}]}}"#)
                .contains("expected a date")
        );
        let deep = format!("{{\"more\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        assert!(text(&deep).contains("recursion limit"));
    }

    #[test]
    fn unknown_keys_are_told_apart() {
        let answer = parse(br#"{"summary":{"median":1},"uniqueUsersTrend":{"dataPoints":[{"date":"Dec 01 2025","users":1,"bots":2}]},"v":3}"#).unwrap();
        assert_eq!(answer.extra, ["v"]);
        assert_eq!(answer.summary.unwrap().extra, ["median"]);
        assert_eq!(answer.unique.unwrap().points.unwrap().0[0].extra, ["bots"]);
    }
}
