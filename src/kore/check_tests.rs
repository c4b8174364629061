use super::*;
use crate::model::{Slice, windows};
use serde_json::{Value, json};

fn question(grain: Grain) -> Question {
    let day = |d: &str| d.parse().unwrap();
    Question {
        stream: "st-1".parse().unwrap(),
        grain,
        slice: Slice::ALL,
        zone: chrono_tz::UTC,
        window: windows(day("2026-03-27"), day("2026-03-31")).next().unwrap(),
    }
}

fn sample(grain: Grain) -> Value {
    let text = std::fs::read_to_string(format!("tests/data/{grain}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn later() -> NaiveDateTime {
    "2026-04-10T12:00:00".parse().unwrap()
}

fn checked(grain: Grain, answer: &Value) -> Result<Checked, String> {
    let body = serde_json::to_vec(answer).unwrap();
    check(&body, &question(grain), later(), OnMissing::Null).map_err(|e| e.to_string())
}

/// The sample with one thing changed is refused, for a reason that holds the given words.
#[track_caller]
fn refused(grain: Grain, change: impl FnOnce(&mut Value), words: &str) {
    let mut answer = sample(grain);
    change(&mut answer);
    let reason = checked(grain, &answer).expect_err("it was accepted");
    assert!(reason.contains(words), "{reason}");
}

#[test]
fn the_samples_are_read_figure_by_figure() {
    let daily = checked(Grain::Daily, &sample(Grain::Daily)).unwrap();
    let Points::Daily(days) = &daily.trend.points else { panic!("not daily") };
    let unique: Vec<_> = days.iter().map(|d| d.counts.unique.unwrap()).collect();
    assert_eq!(unique, [52, 53, 56, 59, 68]);
    assert_eq!(daily.trend.summary.counts, Counts { unique: Some(172), new: Some(73), returning: Some(99) });
    assert_eq!(daily.trend.summary.averages.unique, Some(34.4));
    assert!(daily.drift.is_empty());

    let sample = sample(Grain::Hourly);
    let hourly = checked(Grain::Hourly, &sample).unwrap();
    let Points::Hourly(hours) = &hourly.trend.points else { panic!("not hourly") };
    assert_eq!(hours.len(), 5 * 24);
    for point in hours {
        let day = usize::try_from((point.date - question(Grain::Hourly).window.start).num_days()).unwrap();
        let key = format!("{} - {}", point.hour, (point.hour + 1) % 24);
        let figure = |trend: &str| sample[trend]["dataPoints"][day][&key].as_i64();
        let expected = [figure("uniqueUsersTrend"), figure("newUsersTrend"), figure("returningUsersTrend")];
        assert_eq!(point.counts.as_array(), expected, "{} {key}", point.date);
        assert!(expected[0].is_some());
    }
}

#[test]
fn doubtful_answers_are_refused() {
    use Grain::{Daily, Hourly};
    refused(Daily, |a| _ = a.as_object_mut().unwrap().remove("summary"), "`summary` is missing");
    refused(Hourly, |a| _ = a.as_object_mut().unwrap().remove("newUsersTrend"), "`newUsersTrend` is missing");
    refused(
        Daily,
        |a| a["errors"] = json!([{"msg": "no", "code": 1}]),
        "status 200 with errors: no (code 1)",
    );
    refused(
        Daily,
        |a| a["newUsersTrend"]["dataPoints"][1]["users"] = json!(-1),
        "newUsersTrend.dataPoints[1].users",
    );
    refused(Hourly, |a| a["newUsersTrend"]["dataPoints"][1]["3 - 4"] = json!(0.5), "dataPoints[1].3 - 4");
    let same_date =
        |trend: &'static str| move |a: &mut Value| a[trend]["dataPoints"][1]["date"] = json!("Mar 27 2026");
    refused(Daily, same_date("uniqueUsersTrend"), "2026-03-27 stands twice");
    refused(Hourly, same_date("returningUsersTrend"), "2026-03-27 stands twice");
    refused(
        Daily,
        |a| a["uniqueUsersTrend"]["dataPoints"][0]["date"] = json!("Apr 01 2026"),
        "was not asked for",
    );
    refused(
        Daily,
        |a| a["uniqueUsersTrend"]["dataPoints"][0]["date"] = json!("Feb 29 2026"),
        "expected a date",
    );
    refused(Daily, |a| _ = a["newUsersTrend"]["dataPoints"].as_array_mut().unwrap().pop(), "different dates");
    refused(Daily, |a| a["filters"]["dataPointsCount"] = json!(6), "`filters.dataPointsCount` is 6");
    refused(Daily, |a| a["filters"]["start"] = json!("Mar 26 2026"), "`filters.start`");
    refused(Daily, |a| a["filters"]["conversationType"] = json!("interactive"), "`filters.conversationType`");
    refused(Hourly, |a| a["filters"]["aggregationType"] = json!("daily"), "`filters.aggregationType`");
    refused(Daily, |a| *a = sample(Hourly), "is not daily");
    refused(Hourly, |a| *a = sample(Daily), "is not hourly");
    refused(Daily, |a| *a = json!([1]), "expected an object");
}

#[test]
fn dates_out_of_order_are_sorted() {
    let mut answer = sample(Grain::Daily);
    for trend in ["uniqueUsersTrend", "newUsersTrend", "returningUsersTrend"] {
        answer[trend]["dataPoints"].as_array_mut().unwrap().reverse();
    }
    let expected = checked(Grain::Daily, &sample(Grain::Daily)).unwrap();
    assert_eq!(checked(Grain::Daily, &answer).unwrap(), expected);
}

#[test]
fn absent_figures_become_null_and_are_counted() {
    let mut answer = sample(Grain::Hourly);
    for trend in ["uniqueUsersTrend", "newUsersTrend", "returningUsersTrend"] {
        answer[trend]["dataPoints"].as_array_mut().unwrap().remove(2);
    }
    answer["filters"]["dataPointsCount"] = json!(4);
    answer["newUsersTrend"]["dataPoints"][0].as_object_mut().unwrap().remove("5 - 6");
    let trend = checked(Grain::Hourly, &answer).unwrap().trend;
    assert_eq!(trend.missing, 25);
    let Points::Hourly(hours) = &trend.points else { panic!("not hourly") };
    assert_eq!(hours.len(), 5 * 24);
    assert_eq!(hours[5].counts.new, None);
    assert!(hours[5].counts.unique.is_some());
    assert!(hours[48..72].iter().all(|h| h.counts == Counts::default()));
    let body = serde_json::to_vec(&answer).unwrap();
    let strict = check(&body, &question(Grain::Hourly), later(), OnMissing::Reject).unwrap_err();
    assert!(strict.to_string().contains("25 elapsed figures"));
}

#[test]
fn the_future_is_left_out() {
    let body = serde_json::to_vec(&sample(Grain::Hourly)).unwrap();
    let now = "2026-03-29T06:59:00".parse().unwrap();
    let trend = check(&body, &question(Grain::Hourly), now, OnMissing::Reject).unwrap().trend;
    let Points::Hourly(hours) = &trend.points else { panic!("not hourly") };
    assert_eq!(hours.len(), 2 * 24 + 7);
    let body = serde_json::to_vec(&sample(Grain::Daily)).unwrap();
    let trend = check(&body, &question(Grain::Daily), now, OnMissing::Reject).unwrap().trend;
    assert!(matches!(trend.points, Points::Daily(days) if days.len() == 3));
}

#[test]
fn an_hour_that_does_not_exist_is_not_missing() {
    // Berlin skips 2 o'clock on 2026-03-29, the third day of the sample.
    let mut answer = sample(Grain::Hourly);
    for trend in ["uniqueUsersTrend", "newUsersTrend", "returningUsersTrend"] {
        answer[trend]["dataPoints"][2].as_object_mut().unwrap().remove("2 - 3");
    }
    let question = Question { zone: chrono_tz::Europe::Berlin, ..question(Grain::Hourly) };
    let body = serde_json::to_vec(&answer).unwrap();
    let trend = check(&body, &question, later(), OnMissing::Reject).unwrap().trend;
    let Points::Hourly(hours) = &trend.points else { panic!("not hourly") };
    assert_eq!((hours.len(), hours[2 * 24 + 2].counts), (120, Counts::default()));
}

#[test]
fn new_keys_are_noted_and_the_figures_kept() {
    let mut answer = sample(Grain::Daily);
    answer["version"] = json!({"deep": [1]});
    answer["newUsersTrend"]["dataPoints"][0]["bots"] = json!(3);
    answer.as_object_mut().unwrap().remove("filters");
    let checked = checked(Grain::Daily, &answer).unwrap();
    let drift: Vec<_> = checked.drift.iter().map(String::as_str).collect();
    assert_eq!(drift, ["filters (absent)", "newUsersTrend.dataPoints.bots", "version"]);
    assert_eq!(checked.trend, self::checked(Grain::Daily, &sample(Grain::Daily)).unwrap().trend);
}
