//! The lake held against the API, figure by figure.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::{Settings, Stream};
use trendlake::kore::{Client, Transport};
use trendlake::model::{Dataset, Grain, Question, Slice, Unit, local_now};
use trendlake::plan::{Inventory, Scope, stream_windows, survey};
use trendlake::table::{self, inspect};

use super::FIGURES;
use super::sea::Sea;

/// Every due partition is there once, holds what the API answers now, and says that it is final where its month has
/// settled. Within an hour of the last run.
pub(super) async fn compare(
    sea: &Sea,
    settings: &Settings,
    transport: Arc<dyn Transport>,
    (clock, chance): (Clock, Chance),
) {
    let mut left = sea.data();
    left.retain(|key, _| !key.starts_with(super::restated::PUBLISHED));
    let now = clock.now();
    for stream in &settings.streams {
        let parts = (clock.clone(), chance.clone());
        let client = Client::new(stream, transport.clone(), 1 << 24, settings.retry, parts, Arc::default());
        let client = client.unwrap();
        for window in stream_windows(stream, &Scope::default(), now) {
            for &grain in &stream.grains {
                let (id, zone) = (stream.id.clone(), stream.zone);
                let question = Question { stream: id.clone(), grain, slice: Slice::ALL, zone, window };
                let trend = client.fetch(&question).await.unwrap().trend;
                for partition in (Unit { stream: id, kind: grain.into(), month: window.month }).partitions() {
                    let key = format!("lake/{}", trendlake::lake::key(&partition));
                    let bytes = left.remove(&key).unwrap_or_else(|| panic!("{key} is missing"));
                    let sound = inspect(&partition, &bytes).unwrap();
                    let answers = [(Slice::ALL, trend.clone())];
                    let fetched_at = sound.footer.fetched_at;
                    let truth = table::batch(partition.dataset, stream, window, &answers, fetched_at);
                    assert_eq!(sound.batch.num_rows(), truth.num_rows(), "{key}");
                    for name in FIGURES {
                        let (found, expected) =
                            (sound.batch.column_by_name(name), truth.column_by_name(name));
                        assert_eq!(found, expected, "{key}: {name}");
                    }
                    let settled = stream.settled_at(window.month.last_day()) <= now;
                    assert_eq!(sound.footer.is_final, settled, "{key}, fetched at {fetched_at}");
                }
            }
        }
        compare_periods(&mut left, stream, &client, now).await;
    }
    assert!(left.is_empty(), "what nobody asked for: {:?}", left.keys());
    assert_eq!(local_now(now, chrono_tz::UTC).date(), local_now(clock.now(), chrono_tz::UTC).date());
}

/// Every period that has begun is there once, with the users that it has now.
async fn compare_periods(
    left: &mut BTreeMap<String, Bytes>,
    stream: &Stream,
    client: &Client,
    now: DateTime<Utc>,
) {
    let today = local_now(now, stream.zone).date();
    for planned in survey(stream, &Inventory::new(), &Scope::default(), now) {
        let partition = planned.unit.partitions().find(|p| p.dataset == Dataset::Periods);
        let Some(partition) = partition else { continue };
        let key = format!("lake/{}", trendlake::lake::key(&partition));
        let bytes = left.remove(&key).unwrap_or_else(|| panic!("{key} is missing"));
        let sound = inspect(&partition, &bytes).unwrap();
        let rows = table::period_rows(&sound.batch);
        let spans = stream.spans(partition.month, stream.first_date);
        let windows: Vec<_> = spans.iter().filter_map(|span| span.window(today)).collect();
        assert_eq!(rows.len(), windows.len(), "{key}");
        for (row, window) in rows.iter().zip(windows) {
            let (id, zone) = (stream.id.clone(), stream.zone);
            let question = Question { stream: id, grain: Grain::Daily, slice: Slice::ALL, zone, window };
            let truth = client.fetch_period(&question).await.unwrap().map(|answer| answer.trend.summary);
            assert_eq!((row.start, row.end, row.summary), (window.start, window.end, truth), "{key}");
        }
        let settled = stream.settled_at(partition.month.last_day()) <= now;
        assert_eq!(sound.footer.is_final, settled, "{key}, fetched at {}", sound.footer.fetched_at);
    }
}
