//! Warehouses of the clouds, which read an object store through external tables.

use super::delta;
use super::files::{final_view, notes};
use super::script::{Script, Statements};
use super::table::{Column, SCHEMA, Table, Types, escaped, quoted};

pub(super) fn snowflake(root: &str, tables: &[Table]) -> Script {
    const FORMAT: &str = "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)";
    let types = Types {
        text: "VARCHAR",
        date: "DATE",
        small: "SMALLINT",
        count: "BIGINT",
        average: "DOUBLE",
        flag: "BOOLEAN",
        instant: "TIMESTAMP_LTZ",
    };
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    if tables.iter().any(Table::is_delta) {
        script.notes.push(delta::SNOWFLAKE.to_owned());
        script.setup.push(delta::snowflake_catalog());
    }
    script.setup.push(format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"));
    if !tables.iter().all(Table::is_delta) {
        script.notes.extend([
            "The storage integration `trendlake` has to be there, and allow this location.".to_owned(),
            "<dataset> is read from the store; <dataset>_loaded is a copy in Snowflake, loaded whole in one transaction. Keep the \
             statements of the one that you need."
                .to_owned(),
        ]);
        script.setup.push(format!(
            "CREATE STAGE IF NOT EXISTS {SCHEMA}.lake\n    URL = {}\n    STORAGE_INTEGRATION = trendlake",
            escaped(&format!("{root}/"))
        ));
    }
    for table in tables {
        if table.is_delta() {
            delta::snowflake(table, &mut script);
            script.setup.push(snowflake_view(table));
            script.setup.extend(final_view(table));
            continue;
        }
        let path = table.path();
        let pattern = format!(
            "PATTERN = '.*/{}'",
            table.glob.rsplit('/').next().unwrap_or_default().replace('.', "[.]").replace('*', "[^/]*")
        );
        let value = |c: &Column| {
            let kind = types.of(&c.data_type);
            format!("{} {kind} AS (VALUE:{}::{kind})", c.name, c.name)
        };
        let of_folder = |c: &Column| {
            format!(
                "{0} VARCHAR AS (REGEXP_SUBSTR(METADATA$FILENAME, '/{0}=([^/]+)/', 1, 1, 'e', 1))",
                c.name
            )
        };
        let folders: Vec<_> = table.folders().collect();
        let names: Vec<_> = folders.iter().map(|c| c.name.as_str()).collect();
        script.setup.push(format!(
            "CREATE OR REPLACE EXTERNAL TABLE {path}_files (\n{},\n{}\n)\nPARTITION BY ({})\nLOCATION = @{SCHEMA}.lake/{}/\n{pattern}\nAUTO_REFRESH = FALSE\n{FORMAT}",
            Table::lines(&table.columns, value),
            Table::lines(&folders, of_folder),
            names.join(", "),
            table.folder,
        ));
        script.setup.push(snowflake_view(table));
        script.setup.extend(final_view(table));
        script.setup.push(format!(
            "CREATE TABLE IF NOT EXISTS {path}_loaded (\n{}\n)\nCOMMENT = {}",
            Table::lines(&table.columns, |c| {
                let null = if c.is_nullable { "" } else { " NOT NULL" };
                format!("{} {}{null} COMMENT {}", c.name, types.of(&c.data_type), escaped(&c.comment))
            }),
            escaped(&table.comment)
        ));
        script.after_each_run.push(format!("ALTER EXTERNAL TABLE {path}_files REFRESH"));
        // A replaced file counts as a new one, whose rows would come beside those of before; so what was
        // loaded goes first.
        script.after_each_run.push("BEGIN".into());
        script.after_each_run.push(format!("DELETE FROM {path}_loaded"));
        script.after_each_run.push(format!(
            "COPY INTO {path}_loaded\nFROM @{SCHEMA}.lake/{}/\n{pattern}\n{FORMAT}\nMATCH_BY_COLUMN_NAME = CASE_INSENSITIVE\nFORCE = TRUE",
            table.folder
        ));
        script.after_each_run.push("COMMIT".into());
    }
    Script::Statements(script)
}

fn snowflake_view(table: &Table) -> String {
    view(
        table,
        |c| format!("{} COMMENT {}", c.name, escaped(&c.comment)),
        &format!("COMMENT = {}", escaped(&table.comment)),
    )
}

/// A view of all rows, where remarks stand with a view's columns and not with the external table's.
fn view(table: &Table, line: impl Fn(&Column) -> String, remark: &str) -> String {
    let columns = table.with_folders();
    let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
    format!(
        "CREATE OR REPLACE VIEW {0} (\n{1}\n)\n{remark} AS\n    SELECT {2}\n    FROM {0}_files",
        table.path(),
        Table::lines(&columns, line),
        names.join(", ")
    )
}

pub(super) fn bigquery(root: &str, tables: &[Table]) -> Script {
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    script
        .notes
        .push("Make the dataset where the bucket is: CREATE SCHEMA takes OPTIONS (location = '...').".into());
    if tables.iter().any(Table::is_delta) {
        script.notes.push(delta::BIGQUERY.into());
    }
    script.setup.push(format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"));
    for table in tables {
        let partitions: Vec<_> = table.folders().map(|c| format!("{} STRING", c.name)).collect();
        let folder = format!("{root}/{}", table.folder);
        let files = format!(
            "CREATE OR REPLACE EXTERNAL TABLE {}_files\nWITH PARTITION COLUMNS ({})\nOPTIONS (\n    format = 'PARQUET',\n    uris = [{}],\n    hive_partition_uri_prefix = {}\n)",
            table.path(),
            partitions.join(", "),
            escaped(&format!("{folder}/*")),
            escaped(&folder)
        );
        script.setup.push(if table.is_delta() { delta::bigquery(root, table) } else { files });
        script.setup.push(view(
            table,
            |c| format!("{} OPTIONS (description = {})", c.name, escaped(&c.comment)),
            &format!("OPTIONS (description = {})", escaped(&table.comment)),
        ));
        script.setup.extend(final_view(table));
    }
    Script::Statements(script)
}

pub(super) fn redshift(root: &str, tables: &[Table]) -> Script {
    let types = Types {
        text: "varchar(1024)",
        date: "date",
        small: "integer",
        count: "bigint",
        average: "double precision",
        flag: "boolean",
        instant: "timestamp",
    };
    let mut script = Statements { notes: notes(root), ..Statements::default() };
    script.notes.push(
        "Spectrum reads what is below a folder: without partitions, no folder has to be made known. The files' own statistics \
         tell what a query on stream_id and date need not read."
            .into(),
    );
    script.notes.push("External tables live in the data catalog; the cluster's default role has to reach it, and the bucket.".into());
    script.setup.push(format!(
        "CREATE EXTERNAL SCHEMA IF NOT EXISTS {SCHEMA}_files\nFROM DATA CATALOG DATABASE '{SCHEMA}_files'\nIAM_ROLE default\nCREATE EXTERNAL DATABASE IF NOT EXISTS"
    ));
    script.setup.push(format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}"));
    for table in tables {
        let (path, name) = (table.path(), table.name);
        // It takes no remarks on columns, so they stand beside them.
        let last = table.columns.len() - 1;
        let lines: Vec<_> = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, c)| {
                let comma = if index == last { "" } else { "," };
                format!("    {} {}{comma} -- {}", c.name, types.of(&c.data_type), c.comment)
            })
            .collect();
        script.setup.push(format!("DROP TABLE IF EXISTS {SCHEMA}_files.{name}"));
        script.setup.push(format!(
            "CREATE EXTERNAL TABLE {SCHEMA}_files.{name} (\n{}\n)\nSTORED AS PARQUET\nLOCATION {}",
            lines.join("\n"),
            quoted(&format!("{root}/{}/", table.folder))
        ));
        let bound_late = " WITH NO SCHEMA BINDING";
        script.setup.push(format!(
            "CREATE OR REPLACE VIEW {path} AS\n    SELECT * FROM {SCHEMA}_files.{name}{bound_late}"
        ));
        script.setup.extend(final_view(table).map(|view| view + bound_late));
        script.setup.push(format!("COMMENT ON VIEW {path} IS {}", quoted(&table.comment)));
    }
    Script::Statements(script)
}
