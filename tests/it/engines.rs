//! A lake as other engines read it: `DuckDB` and pyarrow find what Rust decodes, with and without Hive
//! partitioning.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{concat_batches, max, min, sum};
use arrow::datatypes::{DataType, Date32Type, Int8Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::NaiveDate;
use serde_json::{Map, Value, json};
use trendlake::lake::parse_key;
use trendlake::model::Dataset;
use trendlake::table;

use super::moto::python;
use super::s3::first_of_month;
use super::support::{Sandbox, settled};

/// How many months lie before the one under way: enough for both changes of the clocks.
const MONTHS_AGO: u32 = 12;

#[test]
fn duckdb_and_pyarrow_read_what_was_written() {
    let sandbox = Sandbox::new(2, &first_of_month(MONTHS_AGO).to_string(), settled());
    // The second stream's zone has changes of the clocks.
    sandbox.configure(2, &first_of_month(MONTHS_AGO).to_string(), "zone = \"America/New_York\"\n");
    let config = sandbox.path("trendlake.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "[defaults]\n",
        "[defaults]\nslices = [\"all\", \"dashboard\"]\nsummaries = [\"month\", \"rolling_7d\"]\n",
    );
    std::fs::write(&config, text).unwrap();
    sandbox.run(&["run"]).expect(0);

    let found = read_with_engines(&sandbox.path("lake"));
    let files = sandbox.data_files();
    let months: Vec<_> =
        (0..=MONTHS_AGO).rev().map(|ago| first_of_month(ago).to_string()[..7].to_owned()).collect();
    for dataset in Dataset::ALL {
        let batches: Vec<_> = files
            .iter()
            .filter(|(name, _)| parse_key(name).unwrap().dataset == dataset)
            .map(|(_, bytes)| table::decode(dataset, &Bytes::copy_from_slice(bytes)).unwrap())
            .collect();
        assert_eq!(batches.len(), 2 * months.len());
        let whole = concat_batches(&batches[0].schema(), &batches).unwrap();
        let expected = figures(dataset, &whole);
        for (engine, name) in [("duckdb", duckdb_type as fn(&DataType) -> String), ("pyarrow", pyarrow_type)]
        {
            for mode in ["plain", "hive"] {
                let mut found = found[engine][mode][dataset.as_str()].clone();
                let found = found.as_object_mut().unwrap();
                let mut columns = columns(dataset, name);
                if mode == "hive" {
                    for key in ["stream", "month"] {
                        let text = Value::from(name(&DataType::Utf8));
                        assert_eq!(
                            columns.insert(key.into(), text),
                            None,
                            "`{key}` is a column of the files"
                        );
                    }
                    assert_eq!(found.remove("hive_mismatches"), Some(json!(0)));
                    assert_eq!(found.remove("months"), Some(json!(months)));
                }
                assert_eq!(
                    found.remove("columns"),
                    Some(Value::Object(columns)),
                    "{engine} {mode} {dataset}"
                );
                assert_eq!(Value::Object(found.clone()), expected, "{engine} {mode} {dataset}");
            }
        }
    }
    footers_say_what_helps_readers(&found["footers"], &files);
}

fn read_with_engines(lake: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/read_lake.py");
    let output = Command::new(python("python")).arg(script).arg(lake).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What every engine must find, from the batch that Rust has decoded.
fn figures(dataset: Dataset, batch: &RecordBatch) -> Value {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let sums = ["unique_users", "new_users", "returning_users"]
        .map(|name| sum(column(name).as_primitive::<Int64Type>()).unwrap());
    assert!(sums.iter().all(|n| *n > 0), "{sums:?}");
    let date = match dataset {
        Dataset::Daily | Dataset::Hourly => "date",
        Dataset::Summary => "period_start",
        Dataset::Periods => "period_end",
    };
    let dates = column(date).as_primitive::<Date32Type>();
    let day = |days: Option<i32>| NaiveDate::from_epoch_days(days.unwrap()).unwrap().to_string();
    let instants = |name: &str| {
        let instants = column(name).as_primitive::<TimestampMicrosecondType>();
        (min(instants), max(instants))
    };
    let is_final = column("is_final").as_boolean().true_count();
    assert!(is_final > 0 && is_final < batch.num_rows());
    let mut figures = json!({
        "rows": batch.num_rows(),
        "sums": sums,
        "dates": [day(min(dates)), day(max(dates))],
        "final": is_final,
        "fetched_at": instants("fetched_at"),
    });
    if dataset == Dataset::Hourly {
        let starts = column("hour_start");
        // One hour that the clocks skip, in each of the two slices.
        assert_eq!(starts.null_count(), 2);
        let (first, last) = instants("hour_start");
        let hours: i64 =
            column("hour").as_primitive::<Int8Type>().values().iter().map(|h| i64::from(*h)).sum();
        figures["hours"] = json!([batch.num_rows() - starts.null_count(), first, last, hours]);
    }
    figures
}

fn columns(dataset: Dataset, name: fn(&DataType) -> String) -> Map<String, Value> {
    let schema = table::schema(dataset);
    schema.fields().iter().map(|f| (f.name().clone(), Value::from(name(f.data_type())))).collect()
}

fn duckdb_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "VARCHAR",
        DataType::Boolean => "BOOLEAN",
        DataType::Date32 => "DATE",
        DataType::Int8 => "TINYINT",
        DataType::Int64 => "BIGINT",
        DataType::Float64 => "DOUBLE",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        other => panic!("no dataset has a column of type {other}"),
    }
    .into()
}

fn pyarrow_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string",
        DataType::Boolean => "bool",
        DataType::Date32 => "date32[day]",
        DataType::Int8 => "int8",
        DataType::Int64 => "int64",
        DataType::Float64 => "double",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp[us, tz=UTC]",
        other => panic!("no dataset has a column of type {other}"),
    }
    .into()
}

fn footers_say_what_helps_readers(footers: &Value, files: &[(String, Vec<u8>)]) {
    let found: BTreeSet<_> = footers.as_object().unwrap().keys().cloned().collect();
    assert_eq!(found, files.iter().map(|(name, _)| name.clone()).collect());
    for (name, bytes) in files {
        let footer = &footers[name];
        let dataset = parse_key(name).unwrap().dataset;
        // Days and months are too few rows for compression to shorten anything.
        let codecs = if dataset == Dataset::Hourly {
            json!(["UNCOMPRESSED", "ZSTD"])
        } else {
            json!(["UNCOMPRESSED"])
        };
        assert_eq!(footer["codecs"], codecs, "{name}");
        // A column's only page needs no index: its statistics are the column's.
        for index in ["offset_index", "column_index"] {
            assert_eq!(footer[index], false, "{name}: {index}");
        }
        // Every day has all hours, so theirs would rule nothing out.
        let without =
            if dataset == Dataset::Hourly { json!(["hour", "time_zone"]) } else { json!(["time_zone"]) };
        assert_eq!(footer["without_statistics"], without, "{name}");
        let sorting: Vec<_> = table::sort_columns(dataset).iter().map(|c| json!([c, false, false])).collect();
        assert_eq!(footer["sorting"], json!([sorting]), "{name}");
        assert!(footer["created_by"].as_str().unwrap().starts_with("trendlake version "), "{name}");

        let entries = &footer["entries"];
        let read = table::read_footer(&Bytes::copy_from_slice(bytes)).unwrap();
        assert_eq!(entries["trendlake.format_version"], read.format_version.to_string());
        assert_eq!(entries["trendlake.fingerprint"], read.fingerprint);
        assert_eq!(entries["trendlake.final"], read.is_final.to_string());
        assert_eq!(entries["trendlake.content_hash"], read.content_hash);

        let schema = table::schema(dataset);
        let fields = schema.fields().iter();
        let not_additive: Vec<_> = fields
            .filter(|f| f.metadata().get("trendlake.additive").is_some())
            .map(|f| f.name().as_str())
            .collect();
        assert!(not_additive.contains(&"unique_users"), "{not_additive:?}");
        assert_eq!(entries["trendlake.not_additive"], not_additive.join(","), "{name}");
    }
}
