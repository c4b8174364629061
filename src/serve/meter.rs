//! What is counted and measured, as Prometheus reads it.
//!
//! Counters grow with each run's report; gauges say how the lake stood after the last run. Label sets are
//! closed: streams, statuses, outcomes, classes and conditions are all known beforehand.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, NaiveTime, TimeZone, Utc};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::config::Stream;
use crate::export::{Condition, StreamCoverage};
use crate::kore::Traffic;
use crate::model::local_now;
use crate::report::{Outcome, Report};

/// The meters of one daemon.
pub(super) struct Meter {
    /// Those of the daemon and its runs.
    own: Book,
    /// Those of each stream.
    of_streams: Book,
    /// What the streams' meters said when they were last written down: of a thousand streams that is half a megabyte
    /// and tens of milliseconds, which no scrape waits for.
    written: Mutex<Bytes>,
    /// Held by whoever writes them down, so that the last one to begin is the last one to end.
    writing: Mutex<()>,
    /// Streams with a gauge of their oldest missing month, which is taken back when nothing is missing.
    missing: Mutex<BTreeSet<String>>,
    /// What was waited for rate limits: a counter counts whole seconds only.
    waited_ms: AtomicU64,
}

/// Meters that are written down together.
struct Book {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Book {
    fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        Self { handle: recorder.handle(), recorder }
    }

    /// Whatever is counted or measured is so in here.
    fn with(&self, work: impl FnOnce()) {
        metrics::with_local_recorder(&self.recorder, work);
    }
}

impl Meter {
    pub(super) fn new() -> Self {
        let meter = Self {
            own: Book::new(),
            of_streams: Book::new(),
            written: Mutex::default(),
            writing: Mutex::default(),
            missing: Mutex::default(),
            waited_ms: AtomicU64::new(0),
        };
        meter.of_streams.with(|| describe_gauges(&OF_STREAMS));
        meter.own.with(|| {
            describe_gauges(&OWN);
            describe_counters();
            gauge!("trendlake_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
            gauge!("trendlake_lease_held").set(0);
            counter!("trendlake_ticks_skipped_total").absolute(0);
        });
        meter
    }

    /// The text of a scrape: the daemon's own meters as they are, and the streams' as they were last written down.
    pub(super) fn render(&self) -> Vec<u8> {
        let mut text = self.own.handle.render().into_bytes();
        text.extend_from_slice(&self.written());
        text
    }

    /// Writes the streams' meters down for the scrapes to come. Takes its time where there are many.
    pub(super) fn write_down(&self) {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.of_streams.handle.render();
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn written(&self) -> Bytes {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn skipped(&self, ticks: u64) {
        self.own.with(|| counter!("trendlake_ticks_skipped_total").increment(ticks));
    }

    pub(super) fn reloaded(&self, accepted: bool) {
        let result = if accepted { "accepted" } else { "refused" };
        self.own.with(|| counter!("trendlake_config_reloads_total", "result" => result).increment(1));
    }

    pub(super) fn lease(&self, held: bool) {
        self.own.with(|| gauge!("trendlake_lease_held").set(i32::from(held)));
    }

    /// A run has ended without a report, with this exit code.
    pub(super) fn run_failed(&self, exit_code: u8, at: DateTime<Utc>) {
        self.own.with(|| end_of_run(exit_code, at));
    }

    /// A run has ended.
    pub(super) fn run_ended(&self, report: &Report, traffic: &Traffic) {
        self.of_streams.with(|| {
            for (stream, share) in traffic.quotas() {
                gauge!("trendlake_stream_quota_used_ratio", "stream" => stream).set(share);
            }
        });
        self.own.with(|| {
            let totals = &report.totals;
            for (status, count) in traffic.by_status() {
                counter!("trendlake_requests_total", "status" => status).increment(count);
            }
            counter!("trendlake_retries_total").increment(totals.retries);
            let waited_ms =
                self.waited_ms.fetch_add(totals.rate_wait_ms, Ordering::Relaxed) + totals.rate_wait_ms;
            counter!("trendlake_rate_wait_seconds_total").absolute(waited_ms / 1000);
            counter!("trendlake_rows_written_total").increment(totals.rows);
            counter!("trendlake_bytes_written_total").increment(totals.bytes);
            counter!("trendlake_puts_total").increment(totals.puts);
            counter!("trendlake_restated_points_total").increment(totals.restated);
            counter!("trendlake_puts_skipped_total").increment(totals.unchanged);
            // One that nothing came to is told as well.
            for outcome in ["committed", "unchanged", "superseded", "failed", "open"] {
                counter!("trendlake_units_total", "outcome" => outcome).increment(0);
            }
            for unit in report.units.iter() {
                counter!("trendlake_units_total", "outcome" => name_of(&unit.outcome)).increment(1);
                if let Outcome::Failed(failure) = unit.outcome {
                    counter!("trendlake_unit_failures_total", "class" => failure.class).increment(1);
                }
            }
            let took = (report.ended_at - report.started_at).as_seconds_f64();
            gauge!("trendlake_last_run_duration_seconds").set(took.max(0.0));
            end_of_run(report.exit_code, report.ended_at);
        });
    }

    /// How the lake stands.
    pub(super) fn covered(&self, coverage: &[StreamCoverage]) {
        self.of_streams.with(|| {
            let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
            for StreamCoverage { stream, units } in coverage {
                for condition in Condition::ALL {
                    let count = units.iter().filter(|(_, c)| *c == condition).count();
                    let labels = [("stream", stream.name.clone()), ("condition", condition.as_str().into())];
                    #[expect(clippy::cast_precision_loss, reason = "months of one stream")]
                    gauge!("trendlake_units", &labels).set(count as f64);
                }
                let oldest =
                    units.iter().filter(|(_, c)| *c == Condition::Missing).map(|(u, _)| u.month).min();
                let gauge = || {
                    let name = stream.name.clone();
                    gauge!("trendlake_stream_oldest_missing_month_timestamp_seconds", "stream" => name)
                };
                match oldest {
                    Some(month) => {
                        missing.insert(stream.name.clone());
                        gauge().set(seconds(month.first_day().and_time(NaiveTime::MIN).and_utc()));
                    }
                    // A gauge cannot be taken back: nothing is missing is said by not a number.
                    None if missing.contains(&stream.name) => gauge().set(f64::NAN),
                    None => {}
                }
            }
        });
    }

    /// Every day of the stream that had ended at `at` is in the lake.
    pub(super) fn fresh(&self, stream: &Stream, at: DateTime<Utc>) {
        let today = local_now(at, stream.zone).date().and_time(NaiveTime::MIN);
        let Some(midnight) = stream.zone.from_local_datetime(&today).earliest() else { return };
        let name = stream.name.clone();
        self.of_streams.with(|| {
            gauge!("trendlake_stream_fresh_until_timestamp_seconds", "stream" => name)
                .set(seconds(midnight.to_utc()));
        });
    }
}

fn end_of_run(exit_code: u8, at: DateTime<Utc>) {
    counter!("trendlake_runs_total", "exit_code" => exit_code.to_string()).increment(1);
    gauge!("trendlake_last_run_exit_code").set(f64::from(exit_code));
    gauge!("trendlake_last_run_end_timestamp_seconds").set(seconds(at));
}

#[expect(clippy::cast_precision_loss, reason = "exact for millions of years")]
fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}

const fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Committed { .. } => "committed",
        Outcome::Unchanged => "unchanged",
        Outcome::Superseded => "superseded",
        Outcome::Failed(_) => "failed",
        Outcome::Open => "open",
    }
}

fn describe_counters() {
    let counters = [
        ("trendlake_requests_total", "requests to the API by status, `none` where no answer came"),
        ("trendlake_retries_total", "requests that were a repetition"),
        ("trendlake_rate_wait_seconds_total", "time waited for rate limits, over all streams"),
        ("trendlake_units_total", "units (stream, grain, month) by what came of them"),
        ("trendlake_unit_failures_total", "failed units by class"),
        ("trendlake_rows_written_total", "rows in objects written"),
        ("trendlake_bytes_written_total", "bytes of objects written"),
        ("trendlake_puts_total", "objects written"),
        ("trendlake_puts_skipped_total", "units whose answer was what the lake held"),
        ("trendlake_restated_points_total", "figures that were in the lake and have changed"),
        ("trendlake_ticks_skipped_total", "ticks during a run or while the machine slept"),
        ("trendlake_runs_total", "runs by exit code"),
        ("trendlake_config_reloads_total", "new configurations, accepted or refused"),
    ];
    for (name, text) in counters {
        describe_counter!(name, text);
    }
}

/// A gauge's name and what it says.
type Described = (&'static str, &'static str);

const OWN: [Described; 5] = [
    ("trendlake_last_run_duration_seconds", "how long the last run took"),
    ("trendlake_last_run_exit_code", "the last run's exit code"),
    ("trendlake_last_run_end_timestamp_seconds", "when the last run ended"),
    ("trendlake_lease_held", "whether this daemon holds the lake's lease"),
    ("trendlake_build_info", "the version"),
];

const OF_STREAMS: [Described; 4] = [
    ("trendlake_stream_fresh_until_timestamp_seconds", "end of the newest day that is wholly in the lake"),
    ("trendlake_stream_oldest_missing_month_timestamp_seconds", "first day of the oldest missing month"),
    (
        "trendlake_stream_quota_used_ratio",
        "which share of its rate limits a stream used at the most in the last run",
    ),
    ("trendlake_units", "units by stream and how they stand"),
];

fn describe_gauges(gauges: &[Described]) {
    for (name, text) in gauges {
        describe_gauge!(*name, *text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Unit, UnitKind};
    use crate::report::Totals;

    #[test]
    fn seconds_are_counted_from_the_sum_of_what_was_waited() {
        let meter = Meter::new();
        let totals = Totals { rate_wait_ms: 700, ..Totals::default() };
        let report = Report { totals, ..Report::default() };
        for expected in [0, 1, 2, 2] {
            meter.run_ended(&report, &Traffic::default());
            let text = text(&meter);
            assert!(text.contains(&format!("trendlake_rate_wait_seconds_total {expected}\n")), "{text}");
        }
    }

    /// A scrape, in an order of lines that two of them share.
    fn text(meter: &Meter) -> String {
        let text = String::from_utf8(meter.render()).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n") + "\n"
    }

    #[test]
    fn a_scrape_tells_what_changes_and_writes_no_streams_down() {
        let meter = Meter::new();
        let stream = Stream::example();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let covered = |conditions: &[Condition]| {
            let unit = |month: &str| Unit {
                stream: stream.id.clone(),
                kind: UnitKind::Daily,
                month: month.parse().unwrap(),
            };
            let units = ["2026-01", "2026-02"].map(unit).into_iter().zip(conditions.iter().copied());
            meter.covered(&[StreamCoverage { stream: stream.clone(), units: units.collect() }]);
        };
        let mut before = text(&meter);
        let mut changed = |what: &str| {
            let now = text(&meter);
            assert!(now != before, "{what} was not told");
            before = now;
        };
        meter.lease(true);
        changed("the lease");
        meter.skipped(1);
        changed("a tick");
        meter.reloaded(false);
        changed("a configuration");
        meter.run_failed(74, at("2026-03-01T00:00:00Z"));
        changed("a failed run");
        let mut changed_once_written = |what: &str| {
            let written = meter.written().as_ptr();
            meter.lease(false);
            assert!(text(&meter).contains("trendlake_lease_held 0\n"));
            assert_eq!(meter.written().as_ptr(), written, "{what}: a scrape has written it down");
            meter.write_down();
            changed(what);
        };
        meter.fresh(&stream, at("2026-03-01T00:00:00Z"));
        changed_once_written("a day");
        meter.fresh(&stream, at("2026-03-02T00:00:00Z"));
        changed_once_written("the next day");
        covered(&[Condition::Missing, Condition::Missing]);
        changed_once_written("missing months");
        covered(&[Condition::Missing, Condition::Final]);
        changed_once_written("a month");
        covered(&[Condition::Final, Condition::Final]);
        changed_once_written("the last month");
    }
}
