//! `trendlake sql`: what makes an engine read the lake.

use super::Setup;
use super::args::{Common, Sql};
use super::failure::Failure;
use super::printer::Printer;
use crate::config::LakeLayout;
use crate::report::exit;
use crate::sql::{PlaceError, Source};

pub(super) fn sql(command: &Sql, common: &Common, printer: &Printer) -> Result<u8, Failure> {
    let source = match &command.location {
        Some(text) => {
            let layout = match command {
                Sql { packed: true, .. } => LakeLayout::Packed { groups: None },
                Sql { delta: true, .. } => LakeLayout::Delta,
                Sql { .. } => LakeLayout::Stream,
            };
            Source::at(text.parse()?, layout)
        }
        None => Source::of(&Setup::load(common)?.settings)?,
    };
    let script = source.with_restatements(command.restatements).script(command.engine)?;
    printer.result(&script, || script.to_string());
    Ok(exit::OK)
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Self {
        Self::usage(error.to_string(), error.hint)
    }
}
