//! `trendlake vacuum`: removes what counts no more: raw answers that newer ones have taken the place of, and files of Delta
//! tables.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;

use super::args::{Common, Vacuum};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::export;
use crate::lake::Lake;
use crate::report::exit;
use crate::shelf::{Shelf, Vacuumed};

/// The shortest retention: a run puts its files before the version that names them, and readers read on for a while.
const LEAST: Duration = Duration::from_hours(1);

#[derive(Serialize)]
struct VacuumResult {
    removed: u64,
    removed_bytes: u64,
    left: u64,
    left_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vacuumed>,
}

pub(super) async fn vacuum(command: &Vacuum, common: &Common, printer: &Printer) -> Result<u8, Failure> {
    let Vacuum { retention, dry_run } = *command;
    let retention = Duration::from(retention);
    let age = TimeDelta::from_std(retention).ok().filter(|_| retention >= LEAST);
    let Some(age) = age else {
        return Err(Failure::usage(
            "the retention is too short, or longer than time itself",
            "an hour is the least: runs and readers of that time may need the files",
        ));
    };
    let setup = Setup::load(common)?;
    let mut lake = Lake::open(&setup.settings.lake)?;
    let _lock = lake.lock().await?;
    let shelf = Shelf::open(lake.clone(), &setup.settings, &setup.clock).await?;
    let answers = export::raw_answers(&lake).await?;
    let (all, all_bytes) = answers.size();
    let (removed, removed_bytes) = answers.vacuum(&lake, dry_run).await?;
    let tables = shelf.vacuum(age, dry_run).await?;
    let result = VacuumResult {
        removed,
        removed_bytes,
        left: all - removed,
        left_bytes: all_bytes - removed_bytes,
        tables,
    };
    let what = if dry_run { "would be removed" } else { "removed" };
    printer.result(&result, || {
        let answers = format!(
            "{} {what} ({}), {} left ({})",
            text::count(removed, "raw answer"),
            text::bytes(removed_bytes),
            text::number(result.left),
            text::bytes(result.left_bytes)
        );
        let Some(Vacuumed { files, bytes, kept }) = &result.tables else { return answers };
        let files_of_tables = format!(
            "{} of tables {what} ({}), {} left that counted within {}",
            text::count(files.len() as u64, "file"),
            text::bytes(*bytes),
            text::number(*kept),
            humantime::format_duration(retention)
        );
        let named = if dry_run { files.as_slice() } else { &[] };
        [named, &[answers, files_of_tables]].concat().join("\n")
    });
    Ok(exit::OK)
}
