//! The one place that writes results to stdout and errors to stderr.

use std::io::Write;

use serde::Serialize;

use super::args::Output;
use super::failure::Failure;

/// Prints in the form the user asked for. A reader that has gone away ends nothing.
pub(super) struct Printer {
    output: Output,
}

impl Printer {
    pub(super) const fn new(output: Output) -> Self {
        Self { output }
    }

    pub(super) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// A result, as text or as JSON.
    pub(super) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.is_json() {
            self.json(value);
        } else {
            self.text(&text());
        }
    }

    /// Text to stdout, with a line end.
    #[expect(clippy::unused_self, reason = "whoever prints holds the printer")]
    pub(super) fn text(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    }

    /// JSON to stdout.
    pub(super) fn json(&self, value: &impl Serialize) {
        self.text(&serde_json::to_string_pretty(value).expect("results are JSON"));
    }

    /// A remark to stderr.
    #[expect(clippy::unused_self, reason = "whoever prints holds the printer")]
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Why the command failed, to stderr; for programs also as JSON to stdout.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.is_json() {
            self.json(&serde_json::json!({ "error": failure }));
        }
        self.note(&failure.to_string());
    }
}
