//! A command that could not do its work: what happened, why, and what to do next.

use std::fmt;

use serde::Serialize;

use crate::config::{Problem, Problems};
use crate::export;
use crate::lake;
use crate::report::exit;

/// Why a command failed.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub exit_code: u8,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What to mend in the configuration, one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Failure {
    pub(super) fn new(exit_code: u8, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { exit_code, message: message.into(), hint, problems: Vec::new() }
    }

    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(exit::USAGE, message, Some(hint.into()))
    }

    pub(super) fn bug(message: impl Into<String>) -> Self {
        Self::new(exit::BUG, message, None)
    }

    pub(super) fn config(problems: &Problems) -> Self {
        Self {
            problems: problems.0.clone(),
            ..Self::new(exit::CONFIG, super::text::plain_lines(&problems.to_string()), None)
        }
    }

    /// A setting that turned out unusable when it was used.
    pub(super) fn setting(message: impl Into<String>) -> Self {
        Self::new(exit::CONFIG, message, None)
    }

    pub(super) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(exit::STORAGE, format!("cannot {what} `{}`: {error}", path.display()), None)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<lake::Error> for Failure {
    fn from(error: lake::Error) -> Self {
        export::Error::from(error).into()
    }
}

impl From<export::Error> for Failure {
    fn from(error: export::Error) -> Self {
        Self::new(error.exit_code(), error.to_string(), error.hint().map(Into::into))
    }
}
