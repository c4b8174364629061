//! `trendlake status --restatements`: how late figures still move, and what that says of `settle_days`.

use serde::Serialize;

use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::config::Stream;
use crate::export::{self, Lateness};
use crate::shelf::Shelf;

#[derive(Serialize)]
struct StreamLateness {
    stream: String,
    name: String,
    /// As it is configured.
    settle_days: u16,
    /// The least that would have covered 99 in 100 of the restated figures, and all of them. Nothing where none
    /// was.
    #[serde(skip_serializing_if = "Option::is_none")]
    settle_days_99: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settle_days_all: Option<u16>,
    grains: Vec<Lateness>,
}

/// Prints what the restatements of these streams tell.
pub(super) async fn show(
    shelf: &Shelf,
    setup: &Setup,
    streams: &[String],
    printer: &Printer,
) -> Result<(), Failure> {
    let mut results = Vec::new();
    for stream in setup.streams(streams)? {
        let grains = export::lateness(shelf, &stream).await?;
        results.push(of_stream(&stream, grains));
    }
    printer.result(&results, || render(&results));
    Ok(())
}

/// A day settles in all grains at once, so the later grain decides.
fn of_stream(stream: &Stream, grains: Vec<Lateness>) -> StreamLateness {
    StreamLateness {
        stream: stream.id.to_string(),
        name: stream.name.clone(),
        settle_days: stream.settle_days,
        settle_days_99: grains.iter().map(|g| g.p99_days).max(),
        settle_days_all: grains.iter().map(|g| g.max_days).max(),
        grains,
    }
}

fn render(results: &[StreamLateness]) -> String {
    let mut lines = Vec::new();
    for result in results {
        let StreamLateness { stream, name, settle_days, .. } = result;
        lines.push(format!("{} ({stream}), settle_days = {settle_days}", text::plain(name)));
        for Lateness { grain, figures, p50_days, p99_days, max_days } in &result.grains {
            lines.push(format!(
                "  {grain:<7} {} restated: half by day {p50_days} after their own, 99% by day {p99_days}, all by day {max_days}",
                text::count(*figures, "figure")
            ));
        }
        lines.push(match (result.settle_days_99, result.settle_days_all) {
            (Some(most), Some(all)) if most == all => {
                format!("  settle_days = {all} would cover all of this")
            }
            (Some(most), Some(all)) => {
                format!("  settle_days = {all} would cover all of this, settle_days = {most} 99% of it")
            }
            _ => "  nothing was restated".into(),
        });
    }
    lines.push("Only what is asked again can be seen to change: a month is, until it has settled.".into());
    lines.join("\n")
}
