//! Spark, Databricks, and those that keep tables in a Hive metastore: Athena and Trino.

use chrono::NaiveDate;

use super::delta;
use super::files::{final_view, notes};
use super::script::{Script, Statements};
use super::table::{Column, SCHEMA, Table, Types, escaped, quoted};
use crate::model::{Month, StreamId};

const SPARK: Types = Types {
    text: "STRING",
    date: "DATE",
    small: "TINYINT",
    count: "BIGINT",
    average: "DOUBLE",
    flag: "BOOLEAN",
    instant: "TIMESTAMP",
};

/// The first month that is looked for where no configuration says it.
const FIRST_MONTH: &str = "2020-01";

pub(super) fn spark(root: &str, tables: &[Table]) -> Script {
    let mut script = views(root, tables, |table| {
        format!("parquet.`{}`", format!("{root}/{}", table.folder).replace('`', "``"))
    });
    if tables.iter().any(Table::is_delta) {
        script.notes.push(
            "Spark needs the package io.delta:delta-spark, with spark.sql.extensions = io.delta.sql.DeltaSparkSessionExtension \
             and spark.sql.catalog.spark_catalog = org.apache.spark.sql.delta.catalog.DeltaCatalog."
                .into(),
        );
    }
    if !tables.iter().all(Table::is_delta) {
        // Otherwise `stream=42` becomes a number. A view remembers it.
        script.setup.insert(0, "SET spark.sql.sources.partitionColumnTypeInference.enabled = false".into());
    }
    Script::Statements(script)
}

pub(super) fn databricks(root: &str, tables: &[Table]) -> Script {
    let mut script = views(root, tables, |table| {
        let columns = table.with_folders();
        let schema: Vec<_> =
            columns.iter().map(|c| format!("{} {}", c.name, SPARK.of(&c.data_type))).collect();
        format!(
            "read_files(\n        {},\n        format => 'parquet',\n        schema => {})",
            escaped(&format!("{root}/{}", table.folder)),
            escaped(&schema.join(", "))
        )
    });
    script.notes.push("An external location of Unity Catalog has to lead there.".into());
    Script::Statements(script)
}

/// Views that list the files anew at each query. A table would keep its list, and has to be told of
/// replaced files; but a Delta table's log tells it.
fn views(root: &str, tables: &[Table], read: impl Fn(&Table) -> String) -> Statements {
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    script.setup.push(format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"));
    for table in tables {
        if table.is_delta() {
            script.setup.push(delta::using(root, table));
            script.setup.extend(final_view(table));
            continue;
        }
        let columns = table.with_folders();
        let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
        script.setup.push(format!(
            "CREATE OR REPLACE VIEW {} (\n{}\n) COMMENT {} AS\n    SELECT {}\n    FROM {}",
            table.path(),
            Table::lines(&columns, |c| format!("{} COMMENT {}", c.name, escaped(&c.comment))),
            escaped(&table.comment),
            names.join(", "),
            read(table)
        ));
        script.setup.extend(final_view(table));
    }
    script
}

pub(super) fn athena(root: &str, tables: &[Table], streams: Option<&(Vec<StreamId>, NaiveDate)>) -> Script {
    let types = Types {
        text: "string",
        date: "date",
        small: "tinyint",
        count: "bigint",
        average: "double",
        flag: "boolean",
        instant: "timestamp",
    };
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    script.notes.push("Athena takes one statement at a time.".into());
    // A folder whose names nobody knows without looking is no column: what is below the others is read whole.
    let projected = |c: &Column| c.name != "pack";
    let by_stream = |table: &Table| table.folders().any(|c| c.name == "stream");
    let is_by_stream = tables.iter().any(by_stream);
    let is_projected = !tables.iter().all(Table::is_delta);
    let first = streams.map_or_else(|| FIRST_MONTH.to_owned(), |(_, first)| Month::of(*first).to_string());
    script.notes.extend(is_projected.then(|| match streams {
        _ if !is_by_stream => format!(
            "Months before {first} are not looked for: for earlier ones, drop the tables and make them anew. That touches no data."
        ),
        Some(_) => "The streams and the first month are those of the configuration: after a change of them, or a backfill of \
             earlier months, drop the tables and make them anew. That touches no data."
            .into(),
        None => format!(
            "Without a configuration each query on a table with the folder `stream` has to say `stream = '<id>'`, and months before {FIRST_MONTH} are not looked for."
        ),
    }));
    let stream = match streams {
        Some((ids, _)) => {
            let ids: Vec<_> = ids.iter().map(StreamId::as_str).collect();
            vec![("projection.stream.type", "enum".to_owned()), ("projection.stream.values", ids.join(","))]
        }
        None => vec![("projection.stream.type", "injected".to_owned())],
    };
    script.setup.push(format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"));
    for table in tables {
        if table.is_delta() {
            script.setup.push(delta::athena(root, table));
            script.setup.extend(final_view(table));
            continue;
        }
        let line =
            |c: &Column| format!("`{}` {} COMMENT {}", c.name, types.of(&c.data_type), escaped(&c.comment));
        let folder = format!("{root}/{}", table.folder);
        let folders: Vec<_> = table.folders().filter(projected).collect();
        let names: Vec<_> = folders.iter().map(|c| format!("{0}=${{{0}}}/", c.name)).collect();
        let template = format!("{folder}/{}", names.concat());
        let mut properties = vec![("projection.enabled", "true".to_owned())];
        properties.extend(stream.iter().filter(|_| by_stream(table)).cloned());
        properties.extend([
            ("projection.month.type", "date".to_owned()),
            ("projection.month.format", "yyyy-MM".to_owned()),
            // It is tomorrow in some zone before it is in UTC, where `NOW` is.
            ("projection.month.range", format!("{first},NOW+1DAYS")),
            ("projection.month.interval", "1".to_owned()),
            ("projection.month.interval.unit", "MONTHS".to_owned()),
            ("storage.location.template", template),
        ]);
        let properties: Vec<_> =
            properties.iter().map(|(name, value)| format!("    '{name}' = {}", escaped(value))).collect();
        script.setup.push(format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS {} (\n{}\n)\nCOMMENT {}\nPARTITIONED BY (\n{}\n)\nSTORED AS PARQUET\nLOCATION {}\nTBLPROPERTIES (\n{}\n)",
            table.path(),
            Table::lines(&table.columns, line),
            escaped(&table.comment),
            Table::lines(&folders, line),
            escaped(&format!("{folder}/")),
            properties.join(",\n")
        ));
        script.setup.extend(final_view(table));
    }
    Script::Statements(script)
}

pub(super) fn trino(root: &str, tables: &[Table]) -> Script {
    let types = Types {
        text: "varchar",
        date: "date",
        small: "tinyint",
        count: "bigint",
        average: "double",
        flag: "boolean",
        instant: "timestamp(3)",
    };
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    if tables.iter().any(Table::is_delta) {
        script.notes.extend(delta::TRINO.map(String::from));
    }
    if !tables.iter().all(Table::is_delta) {
        script
            .notes
            .push("For a session in the catalog of a Hive connector, such as `trino --catalog hive`.".into());
        script.notes.push(
            "Instants are UTC, without a zone and to the millisecond: the connector's own precision.".into(),
        );
    }
    script.setup.push(format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"));
    for table in tables {
        if table.is_delta() {
            script.setup.push(delta::trino(root, table));
            script.setup.extend(final_view(table));
            continue;
        }
        let partitions: Vec<_> = table.folders().map(|c| quoted(&c.name)).collect();
        script.setup.push(format!(
            "CREATE TABLE IF NOT EXISTS {} (\n{}\n)\nCOMMENT {}\nWITH (\n    external_location = {},\n    format = 'PARQUET',\n    partitioned_by = ARRAY[{}]\n)",
            table.path(),
            Table::lines(&table.with_folders(), |c| {
                format!("{} {} COMMENT {}", c.name, types.of(&c.data_type), quoted(&c.comment))
            }),
            quoted(&table.comment),
            quoted(&format!("{root}/{}", table.folder)),
            partitions.join(", ")
        ));
        script.setup.extend(final_view(table));
        // Replaced files are read as they are; it is new folders that the metastore has to be told of.
        script.after_each_run.push(format!(
            "CALL system.sync_partition_metadata({}, {}, 'FULL')",
            quoted(SCHEMA),
            quoted(table.name)
        ));
    }
    Script::Statements(script)
}
