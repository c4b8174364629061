//! What the API can do wrong, and what must come of it: one test per row of the table of faults, by
//! its number. KEEP: exit code, and nothing in the lake has changed. DONE: the lake is as if nothing
//! had happened.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use trendlake::model::Dataset;
use trendlake::simulator::FaultRule;

use super::spine::months_ago;
use super::support::{Ran, Sandbox, settled};

fn rules(rules: &[&str]) -> Vec<FaultRule> {
    rules.iter().map(|r| r.parse().unwrap()).collect()
}

/// Fetches last month again under a fault, over a good lake of two streams.
fn under(fault: &str, more: &str) -> (Sandbox, Ran, bool) {
    let sandbox = Sandbox::new(2, &months_ago(1), settled());
    let month = &months_ago(1)[..7];
    let backfill = ["backfill", "--from", month, "--to", month, "--force"];
    sandbox.run(&backfill).expect(0);
    let before = sandbox.data_files();
    sandbox.configure(2, &months_ago(1), more);
    sandbox.simulator.set_faults(rules(&[fault]));
    let ran = sandbox.run(&backfill);
    let kept = sandbox.data_files() == before;
    (sandbox, ran, kept)
}

/// The fault keeps the answer from the lake, which stays as it was.
#[track_caller]
fn keep(fault: &str, code: i32, class: &str, words: &str) {
    let (_sandbox, ran, kept) = under(fault, "");
    assert_eq!(ran.code, code, "{fault}: {ran:?}");
    assert!(kept, "{fault}: the lake has changed");
    assert!(ran.stderr.contains(&format!("{class}: ")), "{fault}: no class `{class}` in {}", ran.stderr);
    assert!(ran.stderr.contains(words), "{fault}: no `{words}` in {}", ran.stderr);
}

/// The fault does not keep the answer from an empty lake.
#[track_caller]
fn done(fault: &str) -> Ran {
    let month = &months_ago(1)[..7];
    let backfill = ["backfill", "--from", month, "--to", month];
    let hashes = |sandbox: &Sandbox| -> BTreeMap<String, String> {
        let hash = |(name, bytes): (String, Vec<u8>)| {
            let footer = trendlake::table::read_footer(&bytes.into()).unwrap();
            (name, footer.content_hash)
        };
        sandbox.data_files().into_iter().map(hash).collect()
    };
    let [good, faulty] = [(); 2].map(|()| Sandbox::new(2, &months_ago(1), settled()));
    good.run(&backfill).expect(0);
    faulty.simulator.set_faults(rules(&[fault]));
    let ran = faulty.run(&backfill).expect(0);
    assert_eq!(hashes(&faulty), hashes(&good), "{fault}");
    assert_eq!(hashes(&faulty).len(), 6);
    ran
}

#[test]
fn fault_04_a_body_that_breaks_off() {
    keep("truncated", 75, "truncated", "the answer broke off");
    done("truncated:first=2");
}

#[test]
fn fault_06_server_errors_within_the_budget_and_beyond() {
    for status in [500, 502, 503, 504] {
        let ran = done(&format!("http-{status}:first=3"));
        assert!(ran.stdout.contains("repeated requests: 3"), "{ran:?}");
    }
    keep("http-502", 75, "server", "the API answered 502");
}

#[test]
fn fault_07_too_many_requests_with_a_hint_when_to_come_back() {
    done("rate-limit-retry-after:first=1");
}

#[test]
fn fault_08_too_many_requests_without_a_hint() {
    keep("rate-limit", 75, "rate_limited", "Please try again after some time");
    keep("rate-limit-minute", 75, "rate_limited", "per-minute rate limit");
    keep("rate-limit-hour", 75, "rate_limited", "hourly rate limit");
}

#[test]
fn fault_10_a_redirect_is_not_followed() {
    keep("redirect", 65, "redirect", "which is not followed");
}

#[test]
fn fault_12_pages_and_errors_with_status_200() {
    keep("html-login", 65, "contract", "expected value at line 1 column 1");
    keep("errors-200", 65, "contract", "status 200 with errors");
}

#[test]
fn fault_13_a_stream_refused_for_good_holds_up_no_other() {
    for status in [400, 404, 405, 412, 422] {
        let month = &months_ago(1)[..7];
        let sandbox = Sandbox::new(2, &months_ago(1), settled());
        sandbox.simulator.set_faults(rules(&[&format!("http-{status}@st-1")]));
        let ran = sandbox.run(&["backfill", "--from", month, "--to", month]).expect(65);
        assert!(ran.stderr.contains(&format!("the API refused the request ({status})")), "{ran:?}");
        assert!(ran.stderr.contains("hint: "), "{ran:?}");
        let files = sandbox.data_files();
        assert!(files.len() == 3 && files.iter().all(|(name, _)| name.contains("stream=st-2")), "{status}");
    }
}

#[test]
fn fault_14_refused_credentials_stop_the_stream_after_one_new_token() {
    let hints = [
        ("invalid-credentials", "check `client_id`"),
        ("scope", "publish the app"),
        ("http-403", "check `client_id`"),
    ];
    for (fault, hint) in hints {
        keep(fault, 77, "credentials", hint);
        done(&format!("{fault}@st-1:first=1"));
    }
}

#[test]
fn fault_15_a_replayed_token_is_replaced_once() {
    done("replay@st-1:first=1");
    keep("replay", 77, "credentials", "possibly a replay");
}

#[test]
fn fault_16_no_json() {
    keep("cut-json", 65, "contract", "EOF while parsing");
}

#[test]
fn fault_17_counts_that_are_none() {
    for fault in ["negative-count", "fractional-count", "huge-count"] {
        keep(fault, 65, "contract", "Trend.dataPoints[");
    }
}

#[test]
fn fault_18_counts_in_other_clothes() {
    done("string-counts");
    done("float-counts");
}

#[test]
fn fault_19_dates_out_of_order() {
    done("out-of-order");
}

#[test]
fn fault_20_dates_that_cannot_be() {
    keep("double-day", 65, "contract", "stands twice");
    keep("day-out-of-range", 65, "contract", "was not asked for");
    keep("unreadable-date", 65, "contract", "expected a date such as");
}

#[test]
fn fault_21_elapsed_days_and_hours_that_are_left_out() {
    for fault in ["missing-day", "missing-hour"] {
        let (_sandbox, ran, _) = under(fault, "");
        let ran = ran.expect(0);
        assert!(ran.stdout.contains("the API left out"), "{ran:?}");
        assert!(ran.stdout.contains("days or hours without figures: "), "{ran:?}");
        let (_sandbox, ran, kept) = under(&format!("{fault}@st-2"), "on_missing = \"reject\"\n");
        assert!(ran.code == 65 && kept && ran.stderr.contains("`on_missing` is `reject`"), "{ran:?}");
    }
}

#[test]
fn fault_22_hour_keys_that_are_unknown_or_stand_twice() {
    keep("unknown-hour", 65, "contract", "unknown hour key");
    keep("double-hour", 65, "contract", "stands twice");
}

#[test]
fn fault_23_an_answer_to_another_question() {
    keep("trends-disagree", 65, "contract", "different dates");
    keep("wrong-echo", 65, "contract", "`filters.");
    keep("wrong-count", 65, "contract", "`filters.dataPointsCount`");
}

#[test]
fn fault_24_fields_that_are_new() {
    let ran = done("extra-field");
    assert!(ran.stdout.contains("have a key that this version does not know"), "{ran:?}");
}

#[test]
fn fault_25_parts_that_are_missing() {
    keep("missing-summary", 65, "contract", "`summary` is missing");
    keep("missing-trend", 65, "contract", "UsersTrend` is missing");
}

#[test]
fn fault_28_a_stream_with_no_users_at_all() {
    let sandbox = Sandbox::new(1, &months_ago(2), settled());
    sandbox.simulator.set_faults(rules(&["all-zero"]));
    // Absent is not empty: each elapsed day and hour is a row, and no answer is suspect, now or later.
    for _ in 0..2 {
        sandbox.run(&["run"]).expect(0);
        assert!(!sandbox.run(&["status"]).expect(0).stdout.contains("suspect"));
    }
    let files = sandbox.data_files();
    assert_eq!(files.len(), 9);
    let last_day = |month: &str| -> usize {
        let month: trendlake::model::Month = month.parse().unwrap();
        month.days() as usize
    };
    for (name, bytes) in files {
        let (dataset, batch) = super::spine::decode(&name, &bytes);
        let month = trendlake::lake::parse_key(&name).unwrap().month.to_string();
        if month != months_ago(0)[..7] {
            let expected = match dataset {
                Dataset::Daily => last_day(&month),
                Dataset::Hourly => 24 * last_day(&month),
                Dataset::Summary => 1,
                Dataset::Periods => panic!("no periods were asked for"),
            };
            assert_eq!(batch.num_rows(), expected, "{name}");
        }
        for column in ["unique_users", "new_users", "returning_users"] {
            let counts = batch.column_by_name(column).unwrap().as_primitive::<Int64Type>();
            assert!(batch.num_rows() > 0 && counts.null_count() == 0, "{name}: {column}");
            assert!(counts.values().iter().all(|count| *count == 0), "{name}: {column}");
        }
    }
}
