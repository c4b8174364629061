//! The log on stderr: text or JSON lines, and out of the way of the progress display.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::args::{Common, LogFormat};
use super::progress;

/// Starts the log. `RUST_LOG` decides what is written; without it, warnings on a terminal (the
/// display shows the rest) or where `quiet`, and one line per unit elsewhere.
pub(super) fn start(common: &Common, quiet: bool) {
    let level = if quiet || progress::is_shown(common) { "warn" } else { "trendlake=info,warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Stderr)
        .with_ansi(io::stderr().is_terminal() && console::colors_enabled_stderr());
    // A log that is already there, as in tests, stays.
    let _ = match common.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Writes whole lines to stderr while the progress display is out of the way.
struct Stderr;

struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        progress::aside(|| _ = io::stderr().write_all(&self.0));
    }
}

impl MakeWriter<'_> for Stderr {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(Vec::with_capacity(256))
    }
}
