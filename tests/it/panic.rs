//! A bug in one stream's task: fault 50.

use std::sync::atomic::{AtomicBool, Ordering};

use trendlake::clock::Clock;
use trendlake::export::Observer;
use trendlake::report::{Outcome, UnitReport};

use super::inside::{run, run_at, settings};
use super::support::{SECRET, Sandbox, settled};

/// Panics within the task of the first stream, once.
struct Bug {
    text: String,
    done: AtomicBool,
}

impl Observer for Bug {
    fn unit_done(&self, unit: &UnitReport) {
        assert!(unit.stream != "st-1" || self.done.swap(true, Ordering::Relaxed), "{}", self.text);
    }
}

#[test]
fn fault_50_a_panic_in_one_streams_task_ends_that_stream_alone() {
    let clock = Clock::starting_at("2026-03-20T12:30:00Z".parse().unwrap());
    let sandbox = Sandbox::at(&clock, 3, "2026-01-01", settled());
    // A careless `expect` prints what it holds: here all that the exporter is handed.
    let text = format!("{:?}", settings(&sandbox));
    assert!(text.contains("cs-1") && !text.contains(SECRET), "{text}");
    let report = run_at(&clock, &sandbox, &sandbox.base_url, Bug { text, done: AtomicBool::new(false) });
    assert_eq!(report.exit_code, 70);
    assert_eq!(report.units.len(), 3 * 6);
    for unit in report.units.iter() {
        let failed = matches!(&unit.outcome, Outcome::Failed(failure) if failure.class == "panic");
        assert_eq!(failed, unit.stream == "st-1", "{unit:?}");
        assert!(failed || matches!(unit.outcome, Outcome::Committed { .. }), "{unit:?}");
    }
    assert!(!serde_json::to_string(&report).unwrap().contains(SECRET));
    let of_others = |name: &str| !name.contains("stream=st-1");
    assert_eq!(sandbox.data_files().iter().filter(|(name, _)| of_others(name)).count(), 2 * 9);

    // What was committed before the panic is sound, and the next run finishes the rest.
    assert_eq!(run(&clock, &sandbox).exit_code, 0);
    assert_eq!(sandbox.data_files().len(), 3 * 9);
}
