//! Delta tables in a catalog: it is told where they are. Their columns, what is remarked on these, and which files
//! count, every engine reads from the table's log, at each query where nothing else is said.

use super::script::Statements;
use super::table::{SCHEMA, Table, escaped, quoted};

/// Where a table is.
fn location(root: &str, table: &Table) -> String {
    format!("{root}/{}", table.folder)
}

/// For Spark and Databricks.
pub(super) fn using(root: &str, table: &Table) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} USING DELTA LOCATION {}",
        table.path(),
        escaped(&location(root, table))
    )
}

pub(super) fn athena(root: &str, table: &Table) -> String {
    format!(
        "CREATE EXTERNAL TABLE IF NOT EXISTS {}\nLOCATION {}\nTBLPROPERTIES ('table_type' = 'DELTA')",
        table.path(),
        escaped(&format!("{}/", location(root, table)))
    )
}

pub(super) fn trino(root: &str, table: &Table) -> String {
    format!(
        "CALL system.register_table(\n    schema_name => {},\n    table_name => {},\n    table_location => {})",
        quoted(SCHEMA),
        quoted(table.name),
        quoted(&location(root, table))
    )
}

/// What has to be there before Trino can be told of a table.
pub(super) const TRINO: [&str; 2] = [
    "For a session in the catalog of a Delta Lake connector, such as `trino --catalog delta`, that has \
     delta.register-table-procedure.enabled = true.",
    "A table that is registered already is refused, and stays as it is.",
];

/// What has to be there before Snowflake can be told of a table.
pub(super) const SNOWFLAKE: &str = "The external volume `trendlake` has to be there, lead to the place above, and have ALLOW_WRITES = FALSE: \
     else Snowflake writes metadata of its own into the lake.";

/// The catalog of Snowflake that reads the tables' logs.
pub(super) fn snowflake_catalog() -> String {
    format!(
        "CREATE CATALOG INTEGRATION IF NOT EXISTS {SCHEMA}_delta\n    CATALOG_SOURCE = OBJECT_STORE\n    TABLE_FORMAT = DELTA\n    ENABLED = TRUE"
    )
}

/// The table of which Snowflake makes views: it knows the version of which it was told last.
pub(super) fn snowflake(table: &Table, script: &mut Statements) {
    let path = table.path();
    script.setup.push(format!(
        "CREATE ICEBERG TABLE IF NOT EXISTS {path}_files\n    EXTERNAL_VOLUME = 'trendlake'\n    CATALOG = '{SCHEMA}_delta'\n    BASE_LOCATION = {}",
        escaped(&format!("{}/", table.folder))
    ));
    script.after_each_run.push(format!("ALTER ICEBERG TABLE {path}_files REFRESH"));
}

/// What has to be there before `BigQuery` can be told of a table.
pub(super) const BIGQUERY: &str = "The project's default connection for this location has to be there, and may read the bucket; or write the name of another \
     in its place.";

/// The table of which `BigQuery` makes views.
pub(super) fn bigquery(root: &str, table: &Table) -> String {
    format!(
        "CREATE OR REPLACE EXTERNAL TABLE {}_files\nWITH CONNECTION DEFAULT\nOPTIONS (\n    format = 'DELTA_LAKE',\n    uris = [{}]\n)",
        table.path(),
        escaped(&location(root, table))
    )
}
