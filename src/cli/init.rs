//! `trendlake init`: a commented starter file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::args::Init;
use super::failure::Failure;
use super::printer::Printer;
use crate::config::STARTER;
use crate::report::exit;

pub(super) fn init(command: &Init, config: &Path, printer: &Printer) -> Result<u8, Failure> {
    let path = command.path.as_deref().unwrap_or(config);
    let mut options = OpenOptions::new();
    options.write(true);
    if command.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| file.write_all(STARTER.as_bytes()));
    match written {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(
                format!("`{}` is there already", path.display()),
                "`--force` replaces it",
            ));
        }
        Err(e) => {
            let message = format!("cannot write `{}`: {e}", path.display());
            return Err(Failure::usage(message, "name a file in a folder that exists and can be written to"));
        }
    }
    printer.result(&serde_json::json!({ "written": path }), || {
        format!(
            "wrote {0}\n\n\
             next:\n  \
             1. put your streams into it, and each secret into the file it names\n  \
             2. trendlake validate    reports every problem of the file\n  \
             3. trendlake doctor      tries tokens, one day per stream, and the lake\n  \
             4. trendlake plan        shows what a run will do, and what it costs\n  \
             5. trendlake run",
            path.display()
        )
    });
    Ok(exit::OK)
}
