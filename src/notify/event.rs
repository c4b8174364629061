//! Events of `OpenLineage` 2-0-2: which streams a run asks, which datasets of the lake it writes, and how it went. Pure.
//!
//! Names follow the specification's conventions: a dataset of the lake is the folder of its files, within its bucket or
//! its file system; a stream is what is asked of one app, within its server.

use chrono::{DateTime, SecondsFormat, Utc};
use object_store::azure::AzureConfigKey;
use serde_json::{Map, Value, json};

use crate::config::{LakeSettings, LineageSettings, Location, Stream};
use crate::export::{self, RunId};
use crate::lake;
use crate::model::Dataset;
use crate::report::{Amount, Outcome, Report, exit};
use crate::table;

const PRODUCER: &str = concat!("urn:trendlake:", env!("CARGO_PKG_VERSION"));
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const NOMINAL_TIME: &str =
    "https://openlineage.io/spec/facets/1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet";
const ERROR_MESSAGE: &str =
    "https://openlineage.io/spec/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet";
const SCHEMA: &str =
    "https://openlineage.io/spec/facets/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet";
const STATISTICS: &str = "https://openlineage.io/spec/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json\
                          #/$defs/OutputStatisticsOutputDatasetFacet";
/// Our own: `docs/openlineage/TrendlakePartitionsOutputDatasetFacet.json`.
const PARTITIONS: &str = "urn:trendlake:openlineage:1-0-0:TrendlakePartitionsOutputDatasetFacet\
                          #/$defs/TrendlakePartitionsOutputDatasetFacet";
/// How many partitions an event names. Receivers refuse what is too large.
const MOST_PARTITIONS: usize = 10_000;

/// When a run was due by the schedule, and when the next one is.
#[derive(Clone, Copy, Debug)]
pub struct Nominal {
    /// Its tick.
    pub tick: DateTime<Utc>,
    /// The next tick, if there is one.
    pub next: Option<DateTime<Utc>>,
}

/// What is known of a run when it begins.
pub(super) struct Begun<'a> {
    pub lake: &'a LakeSettings,
    pub streams: &'a [Stream],
    pub run_id: RunId,
    /// Of a run that is on no schedule, it is when it began.
    pub nominal: Option<Nominal>,
}

impl Begun<'_> {
    /// The run has begun.
    pub(super) fn start(&self, settings: &LineageSettings) -> Value {
        self.event(settings, "START", self.run_id.started_at, None, None)
    }

    /// The run has ended, with a report or without.
    pub(super) fn end(
        &self,
        settings: &LineageSettings,
        result: &Result<Report, export::Error>,
        now: DateTime<Utc>,
    ) -> Value {
        let (kind, failure) = match result {
            Ok(report) => (kind(report.exit_code), failure(report)),
            Err(error) => (kind(error.exit_code()), Some(error.to_string())),
        };
        self.event(settings, kind, now, result.as_ref().ok(), failure.as_deref())
    }

    fn event(
        &self,
        settings: &LineageSettings,
        kind: &str,
        at: DateTime<Utc>,
        report: Option<&Report>,
        failure: Option<&str>,
    ) -> Value {
        let nominal = self.nominal.unwrap_or(Nominal { tick: self.run_id.started_at, next: None });
        let mut times = Map::from_iter([("nominalStartTime".to_owned(), time(nominal.tick))]);
        times.extend(nominal.next.map(|next| ("nominalEndTime".to_owned(), time(next))));
        let mut facets =
            Map::from_iter([("nominalTime".to_owned(), facet(NOMINAL_TIME, Value::Object(times)))]);
        facets.extend(failure.map(|text| {
            let error = json!({ "message": text, "programmingLanguage": "RUST" });
            ("errorMessage".to_owned(), facet(ERROR_MESSAGE, error))
        }));
        json!({
            "eventType": kind,
            "eventTime": time(at),
            "producer": PRODUCER,
            "schemaURL": EVENT,
            "run": { "runId": self.run_id.id, "facets": facets },
            "job": { "namespace": settings.namespace, "name": settings.job },
            "inputs": self.streams.iter().map(input).collect::<Vec<_>>(),
            "outputs": self.datasets().map(|dataset| output(self.lake, dataset, report)).collect::<Vec<_>>(),
        })
    }

    /// The datasets that these streams fill.
    fn datasets(&self) -> impl Iterator<Item = Dataset> {
        let filled = |dataset: &Dataset| {
            self.streams.iter().flat_map(Stream::unit_kinds).any(|kind| kind == dataset.unit_kind())
        };
        Dataset::ALL.into_iter().filter(filled)
    }
}

/// What an exit code means for whoever watches the job. A run that is done in part has failed.
const fn kind(exit_code: u8) -> &'static str {
    match exit_code {
        exit::OK => "COMPLETE",
        exit::INTERRUPTED | exit::TERMINATED => "ABORT",
        _ => "FAIL",
    }
}

/// What is open, and why the first of it is.
fn failure(report: &Report) -> Option<String> {
    let first = report.units.open().find_map(|unit| match &unit.outcome {
        Outcome::Failed(failure) => Some((failure.clone(), unit)),
        _ => None,
    });
    let open = report.units.open().count();
    let counted = format!("exit code {}: {open} of {} units are open", report.exit_code, report.units.len());
    match first {
        Some((failure, unit)) => Some(format!(
            "{counted}; {} {} {}: {}: {}",
            unit.stream, unit.grain, unit.month, failure.class, failure.message
        )),
        None => (report.exit_code != exit::OK).then_some(counted),
    }
}

fn facet(schema: &str, mut content: Value) -> Value {
    content["_producer"] = PRODUCER.into();
    content["_schemaURL"] = schema.into();
    content
}

fn time(at: DateTime<Utc>) -> Value {
    at.to_rfc3339_opts(SecondsFormat::Millis, true).into()
}

fn input(stream: &Stream) -> Value {
    let server = stream.base_url.as_str().trim_end_matches('/');
    json!({ "namespace": server, "name": format!("{}/userEngagementTrend", stream.id) })
}

fn output(lake: &LakeSettings, dataset: Dataset, report: Option<&Report>) -> Value {
    let (namespace, name) = place(lake, dataset);
    let mut output = json!({
        "namespace": namespace,
        "name": name,
        "facets": { "schema": facet(SCHEMA, schema(dataset)) },
    });
    if let Some(report) = report {
        output["outputFacets"] = written(dataset, report);
    }
    output
}

fn schema(dataset: Dataset) -> Value {
    let schema = table::schema(dataset);
    let fields = schema.fields().iter().enumerate().map(|(index, field)| {
        json!({
            "name": field.name(),
            "type": field.data_type().to_string(),
            "description": field.metadata().get("comment"),
            "ordinal_position": index + 1,
        })
    });
    json!({ "fields": fields.collect::<Vec<_>>() })
}

/// How much was written of a dataset, and which partitions.
fn written(dataset: Dataset, report: &Report) -> Value {
    let (mut sum, mut count, mut partitions) = (Amount::default(), 0, Vec::new());
    for unit in report.units.written() {
        if let Outcome::Committed { datasets, .. } = &unit.outcome
            && let Some(amount) = datasets.get(dataset.as_str())
        {
            sum = sum.and(*amount);
            count += 1;
            if partitions.len() < MOST_PARTITIONS {
                partitions.push(json!({ "stream": unit.stream, "month": unit.month }));
            }
        }
    }
    let statistics = json!({ "rowCount": sum.rows, "size": sum.bytes, "fileCount": sum.objects });
    json!({
        "outputStatistics": facet(STATISTICS, statistics),
        "trendlake_partitions": facet(PARTITIONS, json!({ "count": count, "partitions": partitions })),
    })
}

/// The namespace and the name of a dataset of the lake.
fn place(settings: &LakeSettings, dataset: Dataset) -> (String, String) {
    let folder = lake::tree(settings.layout).map_or_else(|| dataset.to_string(), |tree| tree.folder(dataset));
    let url = match &settings.location {
        Location::Folder(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            return ("file".into(), path.join(folder).display().to_string());
        }
        Location::Remote(url) => url,
    };
    let bucket = url.host_str().unwrap_or_default();
    let prefix = url.path().trim_matches('/');
    let name = if prefix.is_empty() { folder } else { format!("{prefix}/{folder}") };
    let account =
        settings.options.iter().find(|(key, _)| matches!(key.parse(), Ok(AzureConfigKey::AccountName)));
    let namespace = match (url.scheme(), account) {
        ("az", Some((_, account))) => format!("abfss://{bucket}@{account}.dfs.core.windows.net"),
        (scheme, _) => format!("{scheme}://{bucket}"),
    };
    (namespace, name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::LakeLayout;
    use crate::report::UnitReport;

    fn settings(location: Location, options: &[(&str, &str)]) -> LakeSettings {
        LakeSettings {
            location,
            options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ca_file: None,
            retry_timeout: Duration::from_secs(1),
            layout: LakeLayout::Stream,
            single_writer: false,
            success_marker: false,
        }
    }

    #[test]
    fn datasets_are_named_as_the_specification_names_them() {
        let named = |location: Location, options: &[(&str, &str)]| {
            let (namespace, name) = place(&settings(location, options), Dataset::Daily);
            format!("{namespace} {name}")
        };
        let remote = |url: &str| Location::Remote(url.parse().unwrap());
        assert_eq!(
            named(Location::Folder("/data/lake".into()), &[]),
            "file /data/lake/user_engagement_daily"
        );
        assert_eq!(
            named(remote("s3://bucket/kore/lake/"), &[]),
            "s3://bucket kore/lake/user_engagement_daily"
        );
        assert_eq!(named(remote("gs://bucket"), &[]), "gs://bucket user_engagement_daily");
        let account = [("azure_storage_account_name", "acme")];
        let azure = "abfss://box@acme.dfs.core.windows.net lake/user_engagement_daily";
        assert_eq!(named(remote("az://box/lake"), &account), azure);
        // The account stands in the environment, which is not looked into.
        assert_eq!(named(remote("az://box/lake"), &[]), "az://box lake/user_engagement_daily");
    }

    #[test]
    fn what_a_run_without_a_report_tells() {
        let begun = Begun {
            lake: &settings(Location::Folder("/lake".into()), &[]),
            streams: &[Stream::example()],
            run_id: RunId { id: uuid::Uuid::nil(), started_at: DateTime::UNIX_EPOCH },
            nominal: None,
        };
        let settings =
            LineageSettings { url: None, token: None, file: None, namespace: "n".into(), job: "j".into() };
        let event = begun.end(&settings, &Err(export::Error::Stopped), DateTime::UNIX_EPOCH);
        assert_eq!(event["eventType"], "ABORT");
        let key = "user_engagement_daily".to_owned();
        let event =
            begun.end(&settings, &Err(export::Error::IncompleteListing { key }), DateTime::UNIX_EPOCH);
        assert_eq!(event["eventType"], "FAIL");
        let error = event["run"]["facets"]["errorMessage"]["message"].as_str().unwrap();
        assert!(error.contains("user_engagement_daily"), "{error}");
        assert!(event["outputs"][0].get("outputFacets").is_none());
    }

    #[test]
    fn an_event_has_an_end_whatever_was_written() {
        let amount = Amount { objects: 1, rows: 2, bytes: 3 };
        let outcome = Outcome::Committed {
            written: vec!["k".into()],
            rows: 2,
            bytes: 3,
            datasets: BTreeMap::from([(Dataset::Daily.to_string(), amount)]),
        };
        let units = std::iter::repeat_n(UnitReport::example(outcome), MOST_PARTITIONS + 1).collect();
        let report = Report { units, ..Report::default() };
        let daily = written(Dataset::Daily, &report);
        let partitions = &daily["trendlake_partitions"];
        assert_eq!(partitions["count"], MOST_PARTITIONS + 1);
        assert_eq!(partitions["partitions"].as_array().unwrap().len(), MOST_PARTITIONS);
        assert_eq!(daily["outputStatistics"]["rowCount"], 2 * (MOST_PARTITIONS + 1));
        assert_eq!(written(Dataset::Hourly, &report)["outputStatistics"]["fileCount"], 0);
    }
}
