//! How long each step of a unit takes, on a month of hours as the simulator answers it, and how long it takes to
//! find out that nothing is due in a lake of many streams.
//!
//!     cargo bench --bench steps [-- part of a name]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use divan::{Bencher, black_box};
use object_store::memory::InMemory;
use trendlake::config::{OnMissing, Stream};
use trendlake::export;
use trendlake::kore::check;
use trendlake::lake::Lake;
use trendlake::model::{Dataset, Grain, Month, Partition, Question, Slice, Trend, UnitKind, Window};
use trendlake::plan::{Inventory, Presence, Scope, survey};
use trendlake::shelf::Shelf;
use trendlake::table::{self, FORMAT_VERSION, Footer};

use super::common::{self, Replayed};

/// A month of hours in each of its forms.
struct Sample {
    stream: Stream,
    window: Window,
    question: Question,
    late: NaiveDateTime,
    fetched_at: DateTime<Utc>,
    body: Bytes,
    answers: [(Slice, Trend); 1],
    batch: RecordBatch,
    footer: Footer,
    bytes: Bytes,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let settings = common::settings(folder.path(), 1, "2026-03-01", "[\"hourly\"]");
    let stream = settings.streams[0].clone();
    let month: Month = "2026-03".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let body = runtime.block_on(async {
        let clock = common::clock();
        let api = Arc::new(Replayed::new(&settings.streams, &clock));
        let lake = Lake::on(Arc::new(InMemory::new()), "lake".into());
        let context = common::context(&settings, &clock, api.clone(), lake).await;
        export::run(&context, &settings.streams, &Scope::default(), |_| {}, || None).await.unwrap();
        api.body(&stream, Grain::Hourly, month)
    });
    let window = common::whole(month);
    let question = common::question(&stream, Grain::Hourly, window);
    let late = window.end.and_hms_opt(23, 59, 59).unwrap() + TimeDelta::days(1);
    let fetched_at = "2026-04-20T12:00:00Z".parse().unwrap();
    let answers = [(Slice::ALL, check(&body, &question, late, OnMissing::Null).unwrap().trend)];
    let batch = table::batch(Dataset::Hourly, &stream, window, &answers, fetched_at);
    let footer = Footer {
        format_version: FORMAT_VERSION,
        fingerprint: stream.fingerprint(UnitKind::Hourly),
        start: window.start,
        end: window.end,
        settle_days: stream.settle_days,
        is_final: true,
        content_hash: table::content_hash(&batch),
        fetched_at,

        restatement: None,
    };
    let bytes = table::encode(Dataset::Hourly, &batch, &footer);
    Sample { stream, window, question, late, fetched_at, body, answers, batch, footer, bytes }
});

#[divan::bench]
fn step_1_decode(bencher: Bencher<'_, '_>) {
    let Sample { body, question, late, .. } = &*SAMPLE;
    bencher.bench(|| check(black_box(body), question, *late, OnMissing::Null).unwrap());
}

#[divan::bench]
fn step_2_batch(bencher: Bencher<'_, '_>) {
    let Sample { stream, window, answers, fetched_at, .. } = &*SAMPLE;
    bencher.bench(|| table::batch(Dataset::Hourly, stream, *window, black_box(answers), *fetched_at));
}

#[divan::bench]
fn step_3_hash(bencher: Bencher<'_, '_>) {
    bencher.bench(|| table::content_hash(black_box(&SAMPLE.batch)));
}

#[divan::bench]
fn step_4_encode(bencher: Bencher<'_, '_>) {
    bencher.bench(|| table::encode(Dataset::Hourly, black_box(&SAMPLE.batch), &SAMPLE.footer));
}

#[divan::bench]
fn read_footer(bencher: Bencher<'_, '_>) {
    bencher.bench(|| table::read_footer(black_box(&SAMPLE.bytes)).unwrap());
}

#[divan::bench]
fn read_rows(bencher: Bencher<'_, '_>) {
    bencher.bench(|| table::decode(Dataset::Hourly, black_box(&SAMPLE.bytes)).unwrap());
}

/// Months of every stream of the large lakes.
const MONTHS: u32 = 36;

/// A lake whose listing alone decides nearly everything: the listing, the newest footers, the plan.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 3, sample_size = 1)]
fn overview_of_36_months(bencher: Bencher<'_, '_>, streams: usize) {
    let folder = tempfile::tempdir().unwrap();
    let settings = common::settings(folder.path(), streams, "2023-05-01", "[\"daily\", \"hourly\"]");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let clock = {
        let _guard = runtime.enter();
        common::clock()
    };
    let lake = Lake::on(Arc::new(InMemory::new()), "lake".into());
    let scope = Scope::default();
    let look = async || {
        let shelf = Shelf::open(lake.clone(), &settings, &clock).await.unwrap();
        let overview = export::overview(&shelf, &settings, &settings.streams, &scope, clock.now()).await;
        (shelf, overview.unwrap())
    };
    // Made now, since it has a runtime of its own.
    let bytes = SAMPLE.bytes.clone();
    runtime.block_on(async {
        for stream in &settings.streams {
            for (dataset, month) in places() {
                let key = trendlake::lake::key(&Partition { dataset, stream: stream.id.clone(), month });
                lake.commit(&key, bytes.clone(), trendlake::lake::Expect::Absent).await.unwrap();
            }
        }
        // From then on, listings are believed.
        let (shelf, overview) = look().await;
        overview.remember(&shelf, |_| true).await.unwrap();
    });
    bencher.bench_local(|| runtime.block_on(look()));
}

/// The plan alone, over an inventory that is known.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 3, sample_size = 1)]
fn plan_of_36_months(bencher: Bencher<'_, '_>, streams: usize) {
    let folder = tempfile::tempdir().unwrap();
    let settings = common::settings(folder.path(), streams, "2023-05-01", "[\"daily\", \"hourly\"]");
    let now: DateTime<Utc> = "2026-04-20T12:00:00Z".parse().unwrap();
    let of_stream = |stream: &Stream| -> Inventory {
        let there = Presence::Listed { written_at: now };
        let partition = |(dataset, month)| Partition { dataset, stream: stream.id.clone(), month };
        places().map(|place| (partition(place), there.clone())).collect()
    };
    let inventories: BTreeMap<_, _> = settings.streams.iter().map(|s| (s.id.clone(), of_stream(s))).collect();
    bencher.bench_local(|| {
        let plan = |s: &Stream| survey(s, &inventories[&s.id], &Scope::default(), now).len();
        settings.streams.iter().map(plan).sum::<usize>()
    });
}

fn places() -> impl Iterator<Item = (Dataset, Month)> {
    let first: Month = "2023-05".parse().unwrap();
    let months = std::iter::successors(Some(first), |m| Some(m.next())).take(MONTHS as usize);
    months.flat_map(|month| Dataset::ALL.map(|dataset| (dataset, month)))
}
