//! What must hold of any bytes that come from outside, one function per fuzz target. The targets feed them
//! with what the fuzzer makes up, an ordinary test with the files of `corpus/`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use trendlake::config::{OnMissing, Settings};
use trendlake::kore::{self, Checked};
use trendlake::lake;
use trendlake::model::{
    Channel, Counts, Dataset, Grain, Month, Period, Points, Question, Slice, StreamId, UnitKind, windows,
};
use trendlake::secret::Secret;
use trendlake::table;

/// A property by the name of its target.
pub(crate) type Property = fn(&[u8]);

/// Every property.
pub(crate) const ALL: [(&str, Property); 7] = [
    ("daily_json", daily_json),
    ("hourly_json", hourly_json),
    ("error_body", error_body),
    ("headers", headers),
    ("config_toml", config_toml),
    ("key", key),
    ("parquet_footer", parquet_footer),
];

/// The body of a daily answer.
pub(crate) fn daily_json(body: &[u8]) {
    answer(Grain::Daily, body);
}

/// The body of an hourly answer.
pub(crate) fn hourly_json(body: &[u8]) {
    answer(Grain::Hourly, body);
}

/// Asks for five days, once when they are over and once in the middle of them.
fn answer(grain: Grain, body: &[u8]) {
    let day = |text: &str| text.parse().expect("a date");
    let window = windows(day("2026-03-27"), day("2026-03-31")).next().expect("a window");
    let question = Question {
        stream: "st-1".parse().expect("an id"),
        grain,
        slice: Slice::ALL,
        // On the third of the days, the clocks skip the hour from 2 to 3.
        zone: chrono_tz::Europe::Berlin,
        window,
    };
    let time = |text: &str| text.parse::<NaiveDateTime>().expect("a time");
    for now in [time("2026-04-10T12:00:00"), time("2026-03-29T10:30:00")] {
        let null = kore::check(body, &question, now, OnMissing::Null);
        let reject = kore::check(body, &question, now, OnMissing::Reject);
        match &null {
            Err(error) => one_line(&error.to_string()),
            Ok(checked) => {
                checked.drift.iter().for_each(|name| one_line(name));
                whole(checked, &question, now);
            }
        }
        // What is missing is all that the setting decides about.
        let missing = null.as_ref().is_ok_and(|checked| checked.trend.missing > 0);
        assert_eq!(reject.is_ok(), null.is_ok() && !missing);
    }
}

/// An accepted answer has every elapsed day, or each of its hours, exactly once and in order.
fn whole(checked: &Checked, question: &Question, now: NaiveDateTime) {
    let elapsed: Vec<_> = question.window.dates().take_while(|date| *date <= now.date()).collect();
    let (counts, incomplete): (Vec<Counts>, Vec<bool>) = match &checked.trend.points {
        Points::Daily(points) => {
            assert_eq!(question.grain, Grain::Daily);
            assert!(points.iter().map(|p| p.date).eq(elapsed));
            points.iter().map(|p| (p.counts, true)).unzip()
        }
        Points::Hourly(points) => {
            assert_eq!(question.grain, Grain::Hourly);
            let hours = elapsed.iter().flat_map(|date| (0..24).map(move |hour| (*date, hour)));
            let begun = hours.filter(|(date, hour)| date.and_hms_opt(u32::from(*hour), 0, 0) <= Some(now));
            assert!(points.iter().map(|p| (p.date, p.hour)).eq(begun));
            let exists = |p: &trendlake::model::HourPoint| {
                trendlake::model::hour_start(question.zone, p.date, u32::from(p.hour)).is_some()
            };
            points.iter().map(|p| (p.counts, exists(p))).unzip()
        }
    };
    let lacks = |c: &Counts| c.as_array().contains(&None);
    let missing = counts.iter().zip(incomplete).filter(|(c, exists)| *exists && lacks(c)).count();
    assert_eq!(checked.trend.missing as usize, missing);
    let summary = checked.trend.summary;
    let all = counts.iter().chain([&summary.counts]).flat_map(|c| c.as_array()).flatten();
    assert!(all.into_iter().all(|count| (0..=1 << 53).contains(&count)));
    let averages = summary.averages.as_array();
    assert!(averages.iter().flatten().all(|average| average.is_finite() && *average >= 0.0));
}

/// A text that reaches a log or a terminal stays on its line and in its direction.
fn one_line(text: &str) {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(bad), "{text:?}");
}

/// The body of an answer that is an error: the first byte chooses the status.
pub(crate) fn error_body(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let statuses = [301, 400, 401, 403, 404, 405, 408, 412, 413, 422, 429, 500, 503];
    let status = statuses[usize::from(*first) % statuses.len()];
    // Shaped as a token is, so that an echo of it is found.
    let token = Secret::from("eyJhIjox.c3ViamVjdA.c2lnbmVk".to_owned());
    let now = DateTime::<Utc>::UNIX_EPOCH;
    let status = StatusCode::from_u16(status).expect("a status");
    if let Some(text) = kore::server_message(body) {
        one_line(&text);
    }
    let error = kore::refusal(status, &HeaderMap::new(), body, now).tidy(&token);
    let text = error.to_string();
    one_line(&text);
    assert!(text.chars().count() < 400, "{text}");
    assert!(!text.contains("c3ViamVjdA") && !text.contains("c2lnbmVk"), "{text}");
    assert!(!error.class().as_str().is_empty());
    if let Some(hint) = error.hint() {
        one_line(&hint);
    }
}

/// `Retry-After` in the first line, `Date` in the second.
pub(crate) fn headers(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [RETRY_AFTER, DATE] {
        if let Some(value) = lines.next().and_then(|line| HeaderValue::from_bytes(line).ok()) {
            headers.insert(name, value);
        }
    }
    let now = "2026-03-01T12:00:00Z".parse::<DateTime<Utc>>().expect("a time");
    let wait = kore::retry_after(&headers, now);
    // Nothing to wait for is no hint; what is left can be bounded by the caller, and added to.
    assert_ne!(wait, Some(Duration::ZERO));
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds > 0);
        assert_eq!(wait, seconds.map(Duration::from_secs));
    }
    let most = Duration::from_mins(65);
    assert!(wait.unwrap_or_default().min(most) <= most);
    if let Some(skew) = kore::skew(&headers, now) {
        // A token is dated by it.
        assert!(now.checked_add_signed(TimeDelta::seconds(skew.num_seconds())).is_some());
        assert_eq!(kore::skew(&headers, now + skew), Some(TimeDelta::zero()));
    }
}

/// A configuration file.
pub(crate) fn config_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Settings::from_toml(text) {
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let distinct: BTreeSet<_> = problems.0.iter().map(|p| (&p.key, &p.message)).collect();
            assert_eq!(distinct.len(), problems.0.len(), "a problem is told twice: {problems}");
        }
        Ok(settings) => {
            let ids: BTreeSet<_> =
                settings.streams.iter().map(|s| s.id.as_str().to_ascii_lowercase()).collect();
            assert!(!ids.is_empty() && ids.len() == settings.streams.len());
            for stream in &settings.streams {
                let url = &stream.base_url;
                assert!(matches!(url.scheme(), "https" | "http") && url.host().is_some());
                assert!(url.username().is_empty() && url.password().is_none());
                assert!(url.query().is_none() && url.fragment().is_none());
                assert!(!stream.name.chars().any(char::is_control));
                assert!(stream.slices.is_sorted_by(|a, b| a < b) && !stream.slices.is_empty());
                assert!(stream.grains.is_sorted_by(|a, b| a < b) && !stream.grains.is_empty());
                assert!(stream.rate_limits.iter().all(|l| l.requests > 0 && !l.per.is_zero()));
                assert!((1..=31).contains(&stream.max_range_days) && !stream.rate_limits.is_empty());
                assert!(
                    stream.periods.is_sorted_by(|a, b| a < b) && !stream.periods.contains(&Period::Month)
                );
                assert!(
                    stream
                        .periods
                        .iter()
                        .all(|&p| stream.asked_alike(&stream.fingerprint(UnitKind::Periods), p))
                );
            }
        }
    }
}

/// Texts that become parts of a key, and whole keys.
pub(crate) fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Whatever has a meaning has one spelling.
    if let Ok(partition) = lake::parse_key(text) {
        assert_eq!(lake::key(&partition), text);
        assert!(!text.starts_with('/') && text.split('/').all(|part| !part.is_empty() && part != ".."));
    }
    if let Ok(pack) = lake::parse_pack_key(text) {
        assert_eq!(lake::pack_key(&pack), text);
    }
    if let Ok(month) = text.parse::<Month>() {
        assert_eq!(month.to_string(), text);
        assert!(month.first_day() <= month.last_day() && month.next().first_day() > month.last_day());
    }
    if let Ok(stream) = text.parse::<StreamId>() {
        assert_eq!(stream.as_str(), text);
        let month = "2026-03".parse().expect("a month");
        for dataset in Dataset::ALL {
            let partition = trendlake::model::Partition { dataset, stream: stream.clone(), month };
            assert_eq!(lake::parse_key(&lake::key(&partition)), Ok(partition));
        }
    }
    if let Ok(channel) = text.parse::<Channel>() {
        assert_eq!(channel.as_str().parse(), Ok(channel));
    }
}

/// A file of the lake. Neither its footer nor its rows may end the reader.
pub(crate) fn parquet_footer(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let footer = table::read_footer(&bytes);
    for dataset in Dataset::ALL {
        if let Ok(packed) = table::unpack(dataset, &bytes) {
            // What is carried over stays what it was.
            let again = table::unpack(dataset, &table::pack(dataset, &packed)).expect("it was written now");
            let said = |packed: &table::Packed| {
                let part = |part: &table::Sound| (part.footer.clone(), table::content_hash(&part.batch));
                packed.iter().map(|(stream, sound)| (stream.clone(), part(sound))).collect::<Vec<_>>()
            };
            assert_eq!(said(&again), said(&packed));
        }
        let Ok(batch) = table::decode(dataset, &bytes) else { continue };
        let hash = table::content_hash(&batch);
        let Ok(footer) = &footer else { continue };
        // What can be read can be written again, and then says the same.
        let Ok(batch) = arrow::array::RecordBatch::try_new(table::schema(dataset), batch.columns().to_vec())
        else {
            continue;
        };
        let again = table::encode(dataset, &batch, footer);
        assert_eq!(table::read_footer(&again).as_ref(), Ok(footer));
        let batch = table::decode(dataset, &again).expect("it was written now");
        assert_eq!(table::content_hash(&batch), hash);
    }
}
