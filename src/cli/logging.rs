//! The log on stderr: text or JSON lines, and out of the way of the progress display. With the feature `otlp`, traces
//! to a collector beside it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic;

use tracing::{Level, error};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, registry};

use super::args::{Common, LogFormat};
#[cfg(feature = "otlp")]
use super::otlp::Traces;
use super::progress;

/// What is left to be sent is sent when this is dropped.
#[must_use]
pub(super) struct Log {
    #[cfg(feature = "otlp")]
    _traces: Traces,
}

/// Starts the log. `RUST_LOG` decides what is written; without it, warnings on a terminal (the
/// display shows the rest) or where `quiet`, and one line per unit elsewhere.
pub(super) fn start(common: &Common, quiet: bool) -> Log {
    let level = if quiet || progress::is_shown(common) { "warn" } else { "trendlake=info,warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let layer = fmt::layer()
        .with_writer(Stderr)
        .with_ansi(io::stderr().is_terminal() && console::colors_enabled_stderr());
    let layer = match common.log_format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => {
            panics_are_logged();
            layer.json().flatten_event(true).boxed()
        }
    };
    let log = registry().with(layer.with_filter(filter));
    #[cfg(feature = "otlp")]
    let (traces, problem) = Traces::from_environment();
    #[cfg(feature = "otlp")]
    let log = log.with(traces.layer());
    // A log that is already there, as in tests, stays.
    let _ = log.try_init();
    #[cfg(feature = "otlp")]
    if let Some(problem) = problem {
        tracing::warn!("no traces are sent: {problem}");
    }
    Log {
        #[cfg(feature = "otlp")]
        _traces: traces,
    }
}

/// Rust's own text of a panic is no JSON. Where the log leaves out errors, it is told all the same.
fn panics_are_logged() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !tracing::enabled!(Level::ERROR) {
            return usual(info);
        }
        let location = info.location().map(ToString::to_string);
        let text = info.payload_as_str().unwrap_or("no text");
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        error!(location, backtrace, "a bug: {text}");
    }));
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_panic_is_a_line_of_json() {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).json().flatten_event(true);
        // It stays: in the threads of the other tests, where there is no log, it gives the usual text.
        panics_are_logged();
        tracing::subscriber::with_default(registry().with(layer), || {
            panic::catch_unwind(|| panic!("a \"bug\"\nin two lines")).unwrap_err();
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"ERROR".into(), &"a bug: a \"bug\"\nin two lines".into())
        );
        assert!(line["location"].as_str().unwrap().contains("logging.rs:"), "{line}");
    }
}
