//! The tables as sources of dbt: descriptions, tests, and what must not be added up.

use std::fmt::Write as _;

use serde_json::json;

use super::script::Script;
use super::table::{Column, NOT_ADDITIVE, SCHEMA, Table};
use crate::model::{ConversationStatus, ConversationType, Grain};
use crate::table::METRICS;

pub(super) fn sources(tables: &[Table]) -> Script {
    let mut text = format!(
        "# {NOT_ADDITIVE}\n# The tables are made by `trendlake sql <engine>`. The tests of keys need the package dbt-labs/dbt_utils; dbt 1.10.5\n\
         # or later.\nversion: 2\nsources:\n  - name: {SCHEMA}\n    schema: {SCHEMA}\n    description: {}\n    tables:\n",
        json!(
            "User-engagement trends of Kore.ai apps, kept by trendlake. Views whose names end in _final hold settled figures only."
        )
    );
    for table in tables {
        write_table(&mut text, table).expect("a text takes everything");
    }
    Script::Document { document: text }
}

fn write_table(text: &mut String, table: &Table) -> std::fmt::Result {
    let key = json!(table.key);
    writeln!(text, "      - name: {}", table.name)?;
    writeln!(text, "        description: {}", json!(table.comment))?;
    writeln!(text, "        loaded_at_field: {}", table.loaded_at)?;
    writeln!(text, "        config:\n          meta:\n            key: {key}")?;
    writeln!(text, "        data_tests:\n          - dbt_utils.unique_combination_of_columns:")?;
    writeln!(text, "              arguments:\n                combination_of_columns: {key}")?;
    writeln!(text, "        columns:")?;
    table.columns.iter().try_for_each(|column| write_column(text, column))
}

fn write_column(text: &mut String, column: &Column) -> std::fmt::Result {
    writeln!(text, "          - name: {}", column.name)?;
    writeln!(text, "            description: {}", json!(column.comment))?;
    if !column.is_additive {
        writeln!(text, "            config:\n              meta:\n                additive: false")?;
    }
    let accepted = accepted(&column.name);
    if !column.is_nullable || accepted.is_some() {
        writeln!(text, "            data_tests:")?;
    }
    if !column.is_nullable {
        writeln!(text, "              - not_null")?;
    }
    if let Some((values, quote)) = accepted {
        writeln!(text, "              - accepted_values:\n                  arguments:")?;
        writeln!(text, "                    values: {values}")?;
        if !quote {
            writeln!(text, "                    quote: false")?;
        }
    }
    Ok(())
}

/// The values that a column may have, and whether they are texts.
fn accepted(column: &str) -> Option<(serde_json::Value, bool)> {
    let texts = |values: Vec<&str>| Some((json!(values), true));
    match column {
        "conversation_type" => texts(ConversationType::ALL.iter().map(|v| v.as_str()).collect()),
        "conversation_status" => texts(ConversationStatus::ALL.iter().map(|v| v.as_str()).collect()),
        "grain" => texts(Grain::ALL.iter().map(|v| v.as_str()).collect()),
        "metric" => texts(METRICS.to_vec()),
        "hour" => Some((json!((0..24).collect::<Vec<_>>()), false)),
        _ => None,
    }
}
