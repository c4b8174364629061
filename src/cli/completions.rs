//! `trendlake completions`: a script that a shell loads.

use clap::CommandFactory;

use super::args::{Args, Completions};
use super::printer::Printer;

pub(super) fn completions(command: &Completions, printer: &Printer) {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Args::command(), "trendlake", &mut script);
    printer.text(&String::from_utf8_lossy(&script));
}
