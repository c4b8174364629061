//! The exporter within this process, on a clock that the test sets: for what takes days, or needs the
//! clock to be wrong.

use std::sync::Arc;

use arrow::array::RecordBatch;
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::{Settings, Sources};
use trendlake::export::{self, Context, Observer, Spent, Turns, Warnings};
use trendlake::kore::{Traffic, http_client};
use trendlake::lake::Lake;
use trendlake::model::Dataset;
use trendlake::plan::Scope;
use trendlake::report::{Report, UnitReport};
use trendlake::shelf::Shelf;
use trendlake::table::{self, Footer};

use super::support::Sandbox;

/// Watches nothing.
pub(crate) struct Nobody;

impl Observer for Nobody {
    fn unit_done(&self, _: &UnitReport) {}
}

pub(crate) fn settings(sandbox: &Sandbox) -> Settings {
    Settings::load(&Sources { file: sandbox.path("trendlake.toml"), ..Sources::default() }).unwrap()
}

/// One run over the sandbox's configuration, its streams at `base_url`.
pub(crate) fn run_at(
    clock: &Clock,
    sandbox: &Sandbox,
    base_url: &str,
    observer: impl Observer + 'static,
) -> Report {
    run_within(clock, sandbox, base_url, observer, &Scope::default())
}

/// The same over a part of what is configured.
pub(crate) fn run_within(
    clock: &Clock,
    sandbox: &Sandbox,
    base_url: &str,
    observer: impl Observer + 'static,
    scope: &Scope,
) -> Report {
    let mut settings = settings(sandbox);
    for stream in &mut settings.streams {
        stream.base_url = base_url.parse().unwrap();
    }
    let streams = settings.streams.clone();
    let work = async {
        let mut lake = Lake::open(&settings.lake).unwrap();
        let _lock = lake.lock().await.unwrap();
        let context = Context {
            http: http_client(&settings.http, true).unwrap(),
            shelf: Shelf::open(lake, &settings, clock).await.unwrap(),
            settings: Arc::new(settings),
            clock: clock.clone(),
            chance: Chance::from_os(),
            traffic: Arc::new(Traffic::default()),
            observer: Arc::new(observer),
            stop: tokio_util::sync::CancellationToken::new(),
            warnings: Warnings::default(),
            spent: Spent::default(),
            turns: Turns::default(),
        };
        export::run(&context, &streams, scope, |_| {}, || None).await.unwrap()
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The same against the sandbox's own simulator, with nobody watching.
pub(crate) fn run(clock: &Clock, sandbox: &Sandbox) -> Report {
    run_at(clock, sandbox, &sandbox.base_url, Nobody)
}

/// A partition of the first stream.
pub(crate) fn partition(sandbox: &Sandbox, dataset: Dataset, month: &str) -> (Footer, RecordBatch) {
    let path = format!("lake/{dataset}/stream=st-1/month={month}/data.parquet");
    let bytes = std::fs::read(sandbox.path(&path)).unwrap().into();
    (table::read_footer(&bytes).unwrap(), table::decode(dataset, &bytes).unwrap())
}
