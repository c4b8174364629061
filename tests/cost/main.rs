//! What the work costs, counted and not timed: allocations, allocated bytes, bytes written, requests, listings,
//! reads and puts of the job that a schedule does most often, and of the steps for one month of hours.
//!
//! Such figures are the same on every machine and under any load, so a change that costs more fails here and not
//! in production. Instructions would tell more, but differ with the processor: the C library and the compressors
//! choose their code by it. `docs/PERFORMANCE.md` has the times.
//!
//! What each line may cost is in `budget.json`. A figure may be a fiftieth above, since the standard library and
//! others grow their buffers as they like, or a tenth below: then the budget is too generous to be of use.
//! `UPDATE_BUDGET=1 cargo test --test cost` writes it anew; the change is to be read, and argued for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../benches/common/mod.rs"]
mod common;
mod counted;

use std::collections::BTreeMap;
use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use chrono::{DateTime, Utc};
use trendlake::config::{OnMissing, Settings};
use trendlake::export;
use trendlake::kore::check;
use trendlake::lake::Lake;
use trendlake::model::{Dataset, Grain, Month, Slice, UnitKind};
use trendlake::plan::Scope;
use trendlake::table::{self, FORMAT_VERSION, Footer};

use common::Replayed;
use counted::Counted;

const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cost/budget.json");

/// Figures by name, of one line of the budget.
type Cost = BTreeMap<String, u64>;

fn allocated(info: &AllocationInfo) -> Cost {
    let of = |name: &str, figure| (name.to_owned(), figure);
    [of("allocations", info.count_total), of("bytes", info.bytes_total), of("peak", info.bytes_max)].into()
}

/// One run over known answers, with what it asked of the API and the lake.
fn run(settings: &Settings, api: &Arc<Replayed>, store: &Arc<Counted>, scope: &Scope) -> Cost {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut requests = 0;
    store.reset();
    let info = measure(|| {
        runtime.block_on(async {
            let lake = Lake::on(store.clone(), "lake".into());
            let context = common::context(settings, &common::clock(), api.clone(), lake).await;
            let streams = &settings.streams;
            let report = export::run(&context, streams, scope, |_| {}, || None).await.unwrap();
            assert_eq!(report.exit_code, 0, "{:?}", report.units.open().next());
            requests = report.totals.requests;
        });
    });
    let mut cost = allocated(&info);
    cost.insert("requests".into(), requests);
    cost.extend(store.counts());
    cost
}

/// A job's first run, a second one over unchanged answers, and one over months that are final.
fn job(name: &str, streams: usize, first_date: &str, grains: &str, costs: &mut BTreeMap<String, Cost>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = common::settings(folder.path(), streams, first_date, grains);
    let within =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let api = {
        let _guard = within.enter();
        Arc::new(Replayed::new(&settings.streams, &common::clock()))
    };
    let everything = Scope::default();
    // So that answers are known, and what is made once in a process is made.
    run(&settings, &api, &Arc::default(), &everything);
    let store: Arc<Counted> = Arc::default();
    costs.insert(format!("{name}, first run"), run(&settings, &api, &store, &everything));
    costs.insert(format!("{name}, unchanged"), run(&settings, &api, &store, &everything));
    let settled = Scope { to: Some("2026-03".parse().unwrap()), ..Scope::default() };
    costs.insert(format!("{name}, final"), run(&settings, &api, &store, &settled));
}

/// A configuration of many streams, which costs by stream what one of few costs.
fn configuration(costs: &mut BTreeMap<String, Cost>) {
    let folder = tempfile::tempdir().unwrap();
    for streams in [100, 1_000] {
        let read = || drop(common::settings(folder.path(), streams, "2026-03-01", "[\"daily\"]"));
        // What is made once in a process is made.
        read();
        costs.insert(format!("a configuration of {streams} streams"), allocated(&measure(read)));
    }
}

/// The steps of one unit: a month of hours.
fn steps(costs: &mut BTreeMap<String, Cost>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = common::settings(folder.path(), 1, "2026-03-01", "[\"hourly\"]");
    let stream = &settings.streams[0];
    let month: Month = "2026-03".parse().unwrap();
    let within =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let api = {
        let _guard = within.enter();
        Arc::new(Replayed::new(&settings.streams, &common::clock()))
    };
    run(&settings, &api, &Arc::default(), &Scope::default());

    let body = api.body(stream, Grain::Hourly, month);
    let window = common::whole(month);
    let question = common::question(stream, Grain::Hourly, window);
    let late = window.end.and_hms_opt(23, 59, 59).unwrap() + chrono::TimeDelta::days(1);
    let fetched_at: DateTime<Utc> = "2026-04-20T12:00:00Z".parse().unwrap();
    let mut step = |name: &str, work: &mut dyn FnMut()| {
        work();
        costs.insert(format!("a month of hours: {name}"), allocated(&measure(work)));
    };
    let decode = || check(&body, &question, late, OnMissing::Null).unwrap().trend;
    step("decode", &mut || drop(decode()));
    let answers = [(Slice::ALL, decode())];
    let build = || table::batch(Dataset::Hourly, stream, window, &answers, fetched_at);
    step("batch", &mut || drop(build()));
    let batch = build();
    step("hash", &mut || drop(table::content_hash(&batch)));
    let footer = Footer {
        format_version: FORMAT_VERSION,
        fingerprint: stream.fingerprint(UnitKind::Hourly),
        start: window.start,
        end: window.end,
        settle_days: 3,
        is_final: true,
        content_hash: table::content_hash(&batch),
        fetched_at,

        restatement: None,
    };
    let encode = || table::encode(Dataset::Hourly, &batch, &footer);
    step("encode", &mut || drop(encode()));
    let bytes = encode();
    step("read the footer", &mut || drop(table::read_footer(&bytes)));
    step("read the rows", &mut || drop(table::decode(Dataset::Hourly, &bytes)));
    costs.insert("a month of hours: file".into(), [("size".to_owned(), bytes.len() as u64)].into());
}

/// What is dearer than its budget, or far cheaper.
fn deviations(costs: &BTreeMap<String, Cost>, budget: &BTreeMap<String, Cost>) -> Vec<String> {
    let mut found = Vec::new();
    for (line, cost) in costs {
        for (what, &figure) in cost {
            let Some(&allowed) = budget.get(line).and_then(|b| b.get(what)) else {
                found.push(format!("{line}: {what}: {figure}, with no budget"));
                continue;
            };
            // What is asked of others is exact.
            let is_exact = ["requests", "lists", "reads", "puts"].contains(&what.as_str());
            let (low, high) =
                if is_exact { (allowed, allowed) } else { (allowed * 9 / 10, allowed + allowed / 50) };
            if !(low..=high).contains(&figure) {
                found.push(format!("{line}: {what}: {figure}, where the budget says {allowed}"));
            }
        }
    }
    found
}

#[test]
fn the_work_costs_what_it_may() {
    let mut costs = BTreeMap::new();
    configuration(&mut costs);
    steps(&mut costs);
    job("a tick of 1 stream, 1 month, daily", 1, "2026-04-01", "[\"daily\"]", &mut costs);
    job("20 streams, 4 months, both grains", 20, "2026-01-01", "[\"daily\", \"hourly\"]", &mut costs);
    #[expect(clippy::disallowed_methods, reason = "a setting of this test, not of the program")]
    let update = std::env::var("UPDATE_BUDGET").is_ok();
    if update {
        std::fs::write(BUDGET, serde_json::to_string_pretty(&costs).unwrap() + "\n").unwrap();
    }
    let budget = serde_json::from_str(&std::fs::read_to_string(BUDGET).unwrap()).unwrap();
    let found = deviations(&costs, &budget);
    assert!(
        found.is_empty(),
        "{}\nIf it has to be so: UPDATE_BUDGET=1 cargo test --test cost, and say why",
        found.join("\n")
    );
}
