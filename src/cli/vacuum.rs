//! `trendlake vacuum`: removes raw answers that newer ones have taken the place of.

use serde::Serialize;

use super::args::Common;
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::export;
use crate::lake::Lake;
use crate::report::exit;

#[derive(Serialize)]
struct VacuumResult {
    removed: u64,
    removed_bytes: u64,
    left: u64,
    left_bytes: u64,
}

pub(super) async fn vacuum(common: &Common, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    let mut lake = Lake::open(&setup.settings.lake)?;
    let _lock = lake.lock().await?;
    let answers = export::raw_answers(&lake).await?;
    let (all, all_bytes) = answers.size();
    let (removed, removed_bytes) = answers.vacuum(&lake).await?;
    let result =
        VacuumResult { removed, removed_bytes, left: all - removed, left_bytes: all_bytes - removed_bytes };
    printer.result(&result, || {
        format!(
            "{} removed ({}), {} left ({})",
            text::count(removed, "raw answer"),
            text::bytes(removed_bytes),
            text::number(result.left),
            text::bytes(result.left_bytes)
        )
    });
    Ok(exit::OK)
}
