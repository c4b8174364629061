//! From the texts of a person to checked [`Settings`].
//!
//! Sources, each over the one before: built-in defaults, a TOML file, the environment
//! (`TRENDLAKE__LAKE__URL` for `lake.url`), command-line flags. No secret passes through here, only
//! references to secrets.

mod check;
mod raw;
mod settings;
mod unknown;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};

pub use settings::{
    Algorithm, Concurrency, Credentials, HttpSettings, LakeLayout, LakeSettings, LineageSettings, Location,
    NotifySettings, OnMissing, RateLimit, RetrySettings, ServeSettings, Settings, Stream, hex,
};

/// The commented file that `trendlake init` writes.
pub const STARTER: &str = include_str!("../../config/trendlake.toml");

/// Where the settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file.
    pub file: PathBuf,
    /// Replaces `lake.url`.
    pub lake: Option<String>,
    /// Replaces `base_url` of every stream.
    pub base_url: Option<String>,
}

/// One thing to mend in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The key, such as `streams.support.zone`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The configuration cannot be used. Holds everything that was found, not only the first.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} problem{}", if count == 1 { "" } else { "s" })?;
        for Problem { key, message, hint } in &self.0 {
            write!(f, "\n  ")?;
            if !key.is_empty() {
                write!(f, "`{}`: ", key.escape_debug())?;
            }
            write!(f, "{message}")?;
            if let Some(hint) = hint {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl Settings {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Every problem of every source at once.
    pub fn load(sources: &Sources) -> Result<Self, Problems> {
        let file = &sources.file;
        if let Err(error) = std::fs::metadata(file) {
            return Err(Problems(vec![Problem {
                key: String::new(),
                message: format!("cannot read `{}`: {error}", file.display()),
                hint: Some("`trendlake init` writes a starter file; `--config` names another one".into()),
            }]));
        }
        let mut figment =
            Figment::new().merge(Toml::file_exact(file)).merge(Env::prefixed("TRENDLAKE__").split("__"));
        if let Some(lake) = &sources.lake {
            figment = figment.merge(Serialized::default("lake.url", lake));
        }
        Self::read(&figment, sources)
    }

    /// Reads and checks the text of a configuration file by itself: nothing is taken from the
    /// environment, and relative paths are relative to the working directory.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        Self::read(&Figment::from(Toml::string(text)), &Sources::default())
    }

    fn read(figment: &Figment, sources: &Sources) -> Result<Self, Problems> {
        let tree: serde_json::Value = figment.extract().map_err(|e| unreadable(&sources.file, &e))?;
        let (raw, mut problems) = unknown::parse(tree);
        // Once for all keys: asked for a key, figment puts the whole tree together anew.
        let merged = figment.find_value("").ok();
        let base = |key: &str| {
            let tag = merged.as_ref()?.find_ref(key)?.tag();
            let source = figment.get_metadata(tag)?.source.as_ref()?;
            Some(source.file_path()?.parent()?.to_path_buf())
        };
        let settings = check::check(&raw, sources, &base, &mut problems);
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(Problems(problems)),
        }
    }
}

/// The JSON Schema of the configuration file.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(raw::Raw).to_value()
}

/// What figment says of a file that is no TOML, without the excerpt: a line of the file may hold
/// what its owner took for a secret's place.
fn unreadable(file: &Path, error: &figment::Error) -> Problems {
    let problems = error.clone().into_iter().map(|e| {
        let text = e.kind.to_string();
        let lines: Vec<_> =
            text.lines().map(str::trim).filter(|l| !l.contains('|') && !l.is_empty()).collect();
        Problem {
            key: String::new(),
            message: format!("`{}`: {}", file.display(), lines.join(": ")),
            hint: None,
        }
    });
    Problems(problems.collect())
}
