//! Carries out a [`Fault`]: takes the place of an answer, or changes a good one.

use std::time::Duration;

use serde_json::{Value, json};

use super::auth::Refusal;
use super::faults::Fault;
use super::reply::Reply;

/// How late a slow answer is.
const SLOW: Duration = Duration::from_secs(30);

/// The trends of an answer.
const TRENDS: [&str; 3] = ["uniqueUsersTrend", "newUsersTrend", "returningUsersTrend"];

/// 2^64, which no number of the JSON library holds.
const HUGE: &str = "18446744073709551616";

/// The answer that takes the place of any other, for a fault that looks at none.
pub(super) fn replacement(fault: Fault) -> Option<Reply> {
    Some(match fault {
        Fault::Http400 => Reply::error(400, "Bad Request", "400"),
        Fault::Http403 => Reply::error(403, "Forbidden", "403"),
        Fault::Http404 => Reply::error(404, "Not Found", "404"),
        Fault::Http405 => Reply::error(405, "Method Not Allowed", "405"),
        Fault::Http412 => Reply::invalid_arguments(),
        Fault::Http422 => Reply::error(422, "Unprocessable Entity", "422"),
        Fault::Http500 => Reply::error(500, "Internal Server Error", "500"),
        Fault::Http502 => Reply::html(502, "502 Bad Gateway"),
        Fault::Http503 => Reply::html(503, "503 Service Temporarily Unavailable"),
        Fault::Http504 => Reply::html(504, "504 Gateway Time-out"),
        Fault::RateLimit => Reply::rate_limited(Duration::ZERO),
        Fault::RateLimitMinute => Reply::rate_limited(Duration::from_mins(1)),
        Fault::RateLimitHour => Reply::rate_limited(Duration::from_hours(1)),
        Fault::RateLimitRetryAfter => {
            Reply { extra: Some(("retry-after", "1")), ..Reply::rate_limited(Duration::ZERO) }
        }
        Fault::InvalidCredentials => Refusal::Credentials.into(),
        Fault::Scope => Refusal::Scope.into(),
        Fault::Replay => Refusal::Replay.into(),
        // The discard port: a client that follows fails at once, and leaves a trace in its log.
        Fault::Redirect => {
            Reply { extra: Some(("location", "http://127.0.0.1:9/")), ..Reply::html(302, "302 Found") }
        }
        Fault::HtmlLogin => Reply::html(200, "Log in"),
        Fault::Errors200 => Reply::error(200, "Internal Server Error", "500"),
        _ => return None,
    })
}

/// Changes a good answer. A fault that replaces answers leaves it as it is.
pub(super) fn changed(fault: Fault, good: Reply) -> Reply {
    match fault {
        Fault::Truncated => Reply { cut: true, ..good },
        Fault::Slow => Reply { delay: SLOW, ..good },
        Fault::CutJson => Reply { body: good.body.slice(..good.body.len() / 2), ..good },
        Fault::DoubleHour => {
            let text = String::from_utf8_lossy(&good.body).replace(r#""1 - 2":"#, r#""0 - 1":0,"1 - 2":"#);
            Reply { body: text.into(), ..good }
        }
        _ => {
            let Ok(mut answer) = serde_json::from_slice(&good.body) else { return good };
            change(fault, &mut answer);
            let text = answer.to_string().replace(&format!(r#""{HUGE}""#), HUGE);
            Reply { body: text.into(), ..good }
        }
    }
}

fn change(fault: Fault, answer: &mut Value) {
    match fault {
        Fault::StringCounts => each_count(answer, &|count| *count = Value::from(count.to_string())),
        Fault::FloatCounts => each_count(answer, &|count| *count = Value::from(count.as_f64())),
        Fault::AllZero => zero(answer),
        Fault::NegativeCount => first_count(answer, json!(-1)),
        Fault::FractionalCount => first_count(answer, json!(5.5)),
        Fault::HugeCount => first_count(answer, json!(HUGE)),
        Fault::MissingSummary => remove(answer, "summary"),
        Fault::MissingTrend => remove(answer, TRENDS[2]),
        Fault::TrendsDisagree => {
            if let Some(points) = points(answer, TRENDS[2]) {
                points.pop();
            }
        }
        Fault::WrongEcho => {
            let echo = &mut answer["filters"]["conversationType"];
            *echo = if *echo == "all" { json!("interactive") } else { json!("all") };
        }
        Fault::WrongCount => {
            let dates = answer["filters"]["dataPointsCount"].as_u64().unwrap_or(0);
            answer["filters"]["dataPointsCount"] = json!(dates + 1);
        }
        Fault::ExtraField => {
            answer["schemaVersion"] = json!(3);
            answer["summary"]["medianUsersPerDay"] = json!(7);
            each_trend(answer, |points| points.iter_mut().for_each(|point| point["locale"] = json!("en")));
        }
        _ => each_trend(answer, |points| change_points(fault, points)),
    }
}

/// Changes the points of one trend, so that the trends still agree.
fn change_points(fault: Fault, points: &mut Vec<Value>) {
    let Some(first) = points.first_mut() else { return };
    match fault {
        Fault::MissingDay => drop(points.remove(0)),
        Fault::MissingHour => remove(first, "0 - 1"),
        Fault::UnknownHour if first.get("users").is_none() => first["24 - 25"] = json!(0),
        Fault::DoubleDay => {
            let twice = first.clone();
            points.insert(0, twice);
        }
        Fault::OutOfOrder => points.reverse(),
        Fault::DayOutOfRange => {
            let mut early = first.clone();
            early["date"] = json!("Jan 01 1999");
            points.insert(0, early);
        }
        Fault::UnreadableDate => first["date"] = json!("Dez 01 2025"),
        _ => {}
    }
}

/// Changes every trend and keeps the count of dates right, so that a fault shows one mistake only.
fn each_trend(answer: &mut Value, change: impl Fn(&mut Vec<Value>)) {
    let mut dates = 0;
    for trend in TRENDS {
        if let Some(points) = points(answer, trend) {
            change(points);
            dates = points.len();
        }
    }
    answer["filters"]["dataPointsCount"] = json!(dates);
}

fn points<'a>(answer: &'a mut Value, trend: &str) -> Option<&'a mut Vec<Value>> {
    answer.get_mut(trend)?.get_mut("dataPoints")?.as_array_mut()
}

/// Changes every whole number of the trends and the summary.
fn each_count(answer: &mut Value, change: &dyn Fn(&mut Value)) {
    let visit = |object: &mut Value| {
        let values = object.as_object_mut().into_iter().flat_map(|object| object.values_mut());
        values.filter(|value| value.is_u64()).for_each(change);
    };
    visit(&mut answer["summary"]);
    for trend in TRENDS {
        points(answer, trend).into_iter().flatten().for_each(visit);
    }
}

fn zero(answer: &mut Value) {
    each_count(answer, &|count| *count = json!(0));
    let averages = answer["summary"].as_object_mut().into_iter().flat_map(|summary| summary.values_mut());
    averages.for_each(|average| *average = json!(0));
}

fn first_count(answer: &mut Value, count: Value) {
    let point =
        points(answer, TRENDS[0]).and_then(|points| points.first_mut()).and_then(Value::as_object_mut);
    if let Some(old) = point.and_then(|point| point.values_mut().find(|value| value.is_u64())) {
        *old = count;
    }
}

fn remove(object: &mut Value, key: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURLY: &str = include_str!("../../tests/data/hourly.json");
    const DAILY: &str = include_str!("../../tests/data/daily.json");

    /// The good answer in the vendor's layout without spaces, as the simulator prints it.
    fn good(sample: &str) -> Reply {
        Reply::json(200, serde_json::from_str::<Value>(sample).unwrap().to_string())
    }

    fn json(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn every_fault_does_something() {
        for &fault in Fault::ALL {
            let (before, after) = (good(HOURLY), changed(fault, good(HOURLY)));
            let differs = before.body != after.body || after.cut || after.delay == SLOW;
            assert_eq!(differs, replacement(fault).is_none(), "{fault}");
        }
    }

    #[test]
    fn daily_answers_change_too() {
        for fault in [Fault::MissingHour, Fault::UnknownHour, Fault::DoubleHour] {
            assert_eq!(json(&changed(fault, good(DAILY))), json(&good(DAILY)), "{fault}");
        }
        let text = |fault| String::from_utf8(changed(fault, good(DAILY)).body.to_vec()).unwrap();
        assert!(text(Fault::HugeCount).contains(r#""users":18446744073709551616}"#));
        assert!(text(Fault::FloatCounts).contains(r#""users":52.0}"#));
        assert!(text(Fault::StringCounts).contains(r#""users":"52"}"#));
        assert!(text(Fault::NegativeCount).contains(r#""users":-1}"#));
        let zero = json(&changed(Fault::AllZero, good(DAILY)));
        assert_eq!(
            (&zero["summary"]["avgUniqueUsersPerDay"], &zero["summary"]["newUsers"]),
            (&json!(0), &json!(0))
        );
    }

    #[test]
    fn a_changed_day_keeps_the_rest_right() {
        for (fault, dates) in [(Fault::MissingDay, 4), (Fault::DoubleDay, 6), (Fault::DayOutOfRange, 6)] {
            let answer = json(&changed(fault, good(HOURLY)));
            assert_eq!(answer["filters"]["dataPointsCount"], dates, "{fault}");
            for trend in TRENDS {
                assert_eq!(answer[trend]["dataPoints"].as_array().unwrap().len(), dates, "{fault}");
            }
        }
        let disagree = json(&changed(Fault::TrendsDisagree, good(HOURLY)));
        assert_eq!(disagree["filters"]["dataPointsCount"], 5);
        assert_eq!(disagree[TRENDS[2]]["dataPoints"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn an_answer_without_dates_survives_every_fault() {
        let mut empty: Value = serde_json::from_str(HOURLY).unwrap();
        each_trend(&mut empty, Vec::clear);
        for &fault in Fault::ALL {
            changed(fault, Reply::json(200, empty.to_string()));
        }
    }
}
