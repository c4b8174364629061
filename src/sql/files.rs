//! `DuckDB` and `ClickHouse`, which find the files, or the newest version of a Delta table, anew at each query, and
//! `PostgreSQL`, for which `DuckDB` reads them.

use super::script::{Script, Statements};
use super::table::{Column, NOT_ADDITIVE, SCHEMA, Table, Types, escaped, quoted};

/// The notes that every script begins with.
pub(super) fn notes(root: &str) -> Vec<String> {
    vec![format!("The lake at {root}"), NOT_ADDITIVE.to_owned()]
}

/// A view of settled figures, of a table that tells which are.
pub(super) fn final_view(table: &Table) -> Option<String> {
    let path = table.path();
    let view = || format!("CREATE OR REPLACE VIEW {path}_final AS\n    SELECT * FROM {path} WHERE is_final");
    table.has_final().then(view)
}

/// How `DuckDB` reads a dataset, with what its folders stand for.
fn scan(root: &str, table: &Table) -> String {
    if table.is_delta() {
        return bare_scan(root, table);
    }
    let types: Vec<_> = table.folders().map(|column| format!("'{}': VARCHAR", column.name)).collect();
    format!(
        "read_parquet(\n        {},\n        hive_partitioning = true, hive_types = {{{}}})",
        quoted(&format!("{root}/{}", table.glob)),
        types.join(", ")
    )
}

/// How `DuckDB` reads a dataset's own columns.
fn bare_scan(root: &str, table: &Table) -> String {
    let function = if table.is_delta() { "delta_scan" } else { "read_parquet" };
    format!("{function}({})", quoted(&format!("{root}/{}", table.glob)))
}

/// Remarks on a table or view, on its view of settled figures, and on all its columns.
fn comments(table: &Table, kind: &str, columns: &[Column]) -> Vec<String> {
    let path = table.path();
    let on_column = |c: &Column| format!("COMMENT ON COLUMN {path}.{} IS {}", c.name, quoted(&c.comment));
    let mut comments = vec![format!("COMMENT ON {kind} {path} IS {}", quoted(&table.comment))];
    if table.has_final() {
        let comment = quoted(&format!("Settled figures of {path}."));
        comments.push(format!("COMMENT ON VIEW {path}_final IS {comment}"));
    }
    comments.extend(columns.iter().map(on_column));
    comments
}

pub(super) fn duckdb(root: &str, tables: &[Table]) -> Script {
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    let secret = match root.split_once("://") {
        None => None,
        Some(("s3", _)) => Some("s3"),
        Some(("gs", _)) => Some("gcs"),
        Some(_) => Some("azure"),
    };
    script.notes.extend(
        secret.map(|kind| {
            format!("DuckDB needs credentials first, such as by CREATE SECRET (TYPE {kind}, ...).")
        }),
    );
    if tables.iter().any(Table::is_delta) {
        script.setup.extend(["INSTALL delta".into(), "LOAD delta".into()]);
    }
    script.setup.push(format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"));
    for table in tables {
        script.setup.push(format!(
            "CREATE OR REPLACE VIEW {} AS\n    SELECT * FROM {}",
            table.path(),
            scan(root, table)
        ));
        script.setup.extend(final_view(table));
        script.setup.extend(comments(table, "VIEW", &table.with_folders()));
    }
    Script::Statements(script)
}

pub(super) fn clickhouse(root: &str, tables: &[Table]) -> Script {
    let types = Types {
        text: "String",
        date: "Date32",
        small: "Int8",
        count: "Int64",
        average: "Float64",
        flag: "Bool",
        instant: "DateTime64(6, 'UTC')",
    };
    let function = match root.split_once("://") {
        None => "file",
        Some(("s3", _)) => "s3",
        Some(_) => "gcs",
    };
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    let is_delta = tables.iter().any(Table::is_delta);
    script.notes.push(match function {
        "file" if is_delta => "ClickHouse reads Delta tables only below its user_files_path, which for clickhouse-local and chDB is the \
             folder that they run in."
            .into(),
        "file" => "A ClickHouse server reads only below its user_files_path; clickhouse-local and chDB read everywhere.".into(),
        _ => "ClickHouse takes credentials from its own configuration or environment: none stand in the statements.".into(),
    });
    script.setup.push(format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"));
    for table in tables {
        let columns = table.with_folders();
        let type_of = |c: &Column| {
            let name = types.of(&c.data_type);
            if c.is_nullable { format!("Nullable({name})") } else { name.to_owned() }
        };
        let structure: Vec<_> = columns.iter().map(|c| format!("{} {}", c.name, type_of(c))).collect();
        let place = escaped(&format!("{root}/{}", table.glob));
        let source = match (table.is_delta(), function) {
            (true, "file") => format!("deltaLakeLocal({place})"),
            (true, _) => format!("deltaLake({place})"),
            (false, _) => format!(
                "{function}(\n        {place}, 'Parquet',\n        {})",
                escaped(&structure.join(", "))
            ),
        };
        script.setup.push(format!(
            "CREATE OR REPLACE VIEW {} (\n{}\n) AS\n    SELECT * FROM {source}\n    COMMENT {}",
            table.path(),
            Table::lines(&columns, |c| format!("{} {} COMMENT {}", c.name, type_of(c), escaped(&c.comment))),
            escaped(&table.comment)
        ));
        script.setup.extend(final_view(table));
    }
    Script::Statements(script)
}

pub(super) fn postgres(root: &str, tables: &[Table]) -> Script {
    let types = Types {
        text: "text",
        date: "date",
        small: "smallint",
        count: "bigint",
        average: "double precision",
        flag: "boolean",
        instant: "timestamptz",
    };
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    script.notes.push(
        "For psql, where the program duckdb is on the PATH: it reads the files, and needs what it takes to reach them."
            .into(),
    );
    script.notes.push("Where that fails nothing is lost: the rows of before stay.".into());
    script.setup.push(format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"));
    script.after_each_run.push("\\set ON_ERROR_STOP on\nBEGIN".into());
    for table in tables {
        // What may be null is no part of a primary key.
        let may_be_null = |c: &Column| c.is_nullable && table.key.contains(&c.name.as_str());
        let key = if table.columns.iter().any(may_be_null) {
            String::new()
        } else {
            format!(",\n    PRIMARY KEY ({})", table.key.join(", "))
        };
        script.setup.push(format!(
            "CREATE TABLE IF NOT EXISTS {} (\n{}{key}\n)",
            table.path(),
            Table::lines(&table.columns, |c| {
                let null = if c.is_nullable { "" } else { " NOT NULL" };
                format!("{} {}{null}", c.name, types.of(&c.data_type))
            }),
        ));
        script.setup.extend(final_view(table));
        script.setup.extend(comments(table, "TABLE", &table.columns));
        script.after_each_run.push(format!("DELETE FROM {}", table.path()));
        script.after_each_run.push(copy(root, table));
    }
    script.after_each_run.push("COMMIT".into());
    Script::Statements(script)
}

/// One line, as psql wants it, with the shell's quotes within those of psql.
fn copy(root: &str, table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(|c| c.name.as_str()).collect();
    let query = format!(
        "SET TimeZone = 'UTC'; COPY (SELECT {} FROM {}) TO '/dev/stdout' (FORMAT csv, HEADER)",
        columns.join(", "),
        bare_scan(root, table)
    );
    let query = query.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
    format!(
        "\\copy {} FROM PROGRAM {} WITH (FORMAT csv, HEADER)",
        table.path(),
        quoted(&format!("duckdb -c \"{query}\""))
    )
}
