//! `trendlake migrate`: moves the lake into the configured layout.

use super::args::Common;
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::lake::Lake;
use crate::report::exit;
use crate::shelf::{self, Migrated};

pub(super) async fn migrate(common: &Common, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    let mut lake = Lake::open(&setup.settings.lake)?;
    let _lock = lake.lock().await?;
    let migrated = shelf::migrate(&lake, &setup.settings, &setup.clock).await?;
    printer.result(&migrated, || match &migrated {
        None => format!("the lake is in the layout `{}` already", setup.settings.lake.layout.as_str()),
        Some(Migrated { from, to, groups, copied, removed }) => format!(
            "moved from the layout `{from}` to `{to}`{}: {} copied, {} removed",
            groups.map_or_else(String::new, |n| format!(" of {}", text::count(n.into(), "group"))),
            text::count(*copied, "partition"),
            text::count(*removed, "old object")
        ),
    });
    Ok(exit::OK)
}
