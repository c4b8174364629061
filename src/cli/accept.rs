//! `trendlake accept`: a person's judgement that a parked answer is right.

use serde::Serialize;

use super::Setup;
use super::args::{Accept, Common};
use super::failure::Failure;
use super::printer::Printer;
use crate::export::{self, Accepted};
use crate::lake::{self, Lake};
use crate::model::Unit;
use crate::report::exit;
use crate::shelf::Shelf;

#[derive(Serialize)]
struct AcceptResult {
    key: String,
    outcome: &'static str,
}

pub(super) async fn accept(common: &Common, command: &Accept, printer: &Printer) -> Result<u8, Failure> {
    let units = command.partitions.iter().map(|text| unit(text)).collect::<Result<Vec<_>, _>>()?;
    let setup = Setup::load(common)?;
    let mut lake = Lake::open(&setup.settings.lake)?;
    let _lock = lake.lock().await?;
    let shelf = Shelf::open(lake, &setup.settings, &setup.clock).await?;
    let mut results = Vec::new();
    for (unit, text) in units.iter().zip(&command.partitions) {
        let accepted = export::accept(&shelf, unit).await?;
        if accepted.is_empty() {
            return Err(Failure::usage(
                format!("no answer is parked for `{text}`"),
                "`trendlake status` lists those that are",
            ));
        }
        let result = |(partition, outcome)| AcceptResult {
            key: lake::key(&partition),
            outcome: match outcome {
                Accepted::Written => "accepted",
                Accepted::Unchanged => "unchanged",
                Accepted::Superseded => "superseded: the lake holds a newer answer",
            },
        };
        results.extend(accepted.into_iter().map(result));
    }
    printer.result(&results, || {
        results.iter().map(|r| format!("{}: {}", r.key, r.outcome)).collect::<Vec<_>>().join("\n")
    });
    Ok(exit::OK)
}

/// The unit of a partition as a person types it: its key, with or without the file's name.
fn unit(text: &str) -> Result<Unit, Failure> {
    let key = text.trim_end_matches('/').trim_end_matches("/data.parquet");
    let partition = lake::parse_key(&format!("{key}/data.parquet")).map_err(|_| {
        Failure::usage(
            format!("`{text}` is no partition"),
            "write it as `user_engagement_daily/stream=<id>/month=2025-01`",
        )
    })?;
    Ok(partition.unit())
}
