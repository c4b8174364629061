//! `trendlake changes`: what a loader has to load anew.

use super::args::{Changes, Common};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::export::{self, Since};
use crate::report::exit;

pub(super) async fn changes(common: &Common, command: &Changes, printer: &Printer) -> Result<u8, Failure> {
    let since: Since = command.since.parse().map_err(|error| {
        Failure::usage(format!("`--since {}`: {error}", text::plain(&command.since)), HINT)
    })?;
    let setup = Setup::load(common)?;
    let shelf = setup.shelf().await?;
    let changes = export::changes(&shelf, since).await?;
    if !changes.report_found {
        printer.note(&format!(
            "no report of run {} is left, as they are kept for 90 days: shown is everything written since it began, {}",
            command.since, changes.since
        ));
    }
    printer.result(&changes, || render(&changes));
    Ok(exit::OK)
}

const HINT: &str = "give what the last call said to continue with; `--since 2000-01-01` shows every object";

fn render(changes: &export::Changes) -> String {
    let mut lines: Vec<_> = changes.changed.iter().map(|c| text::plain(&c.key)).collect();
    let bytes = changes.changed.iter().map(|c| c.bytes).sum();
    let count = text::count(changes.changed.len() as u64, "object");
    lines.push(format!("{count}, {}; continue with --since {}", text::bytes(bytes), changes.continue_from));
    lines.join("\n")
}
