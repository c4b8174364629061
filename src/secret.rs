//! Secrets as values: where they come from, and how they stay out of every output.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Where a secret is read from. Only the reference stands in a configuration, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// The content of a file; trailing line ends are cut.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

/// A secret could not be read. The text names the reference and never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable is not set, or not UTF-8.
    #[error("the environment variable `{name}` is not set")]
    NotSet {
        /// The variable.
        name: String,
    },
    /// The secret is there and has no characters.
    #[error("the secret from {origin} is empty")]
    Empty {
        /// The reference.
        origin: SecretRef,
    },
    /// The file is no UTF-8 text, or larger than any key.
    #[error("the secret file `{}` is no text of at most 64 KiB", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl SecretRef {
    /// Reads the secret anew.
    ///
    /// # Errors
    /// When it is missing, empty or no text.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::File(path) => read_file(path)?,
            #[expect(clippy::disallowed_methods, reason = "a secret by reference to a variable is read here")]
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::NotSet { name: name.clone() })?,
        };
        let trimmed = text.trim_end_matches(['\n', '\r']);
        if trimmed.trim().is_empty() {
            return Err(SecretError::Empty { origin: self.clone() });
        }
        Ok(Secret(trimmed.into()))
    }
}

/// More than any key has. A device such as `/dev/zero` would else be read until the memory is full.
const MOST_BYTES: u64 = 64 * 1024;

fn read_file(path: &Path) -> Result<String, SecretError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| SecretError::Read { path: path.into(), source })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(SecretError::NotText { path: path.into() });
    }
    String::from_utf8(bytes).map_err(|_| SecretError::NotText { path: path.into() })
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            Self::Env(name) => write!(f, "the environment variable `{name}`"),
        }
    }
}

/// A secret text. It is wiped when dropped, and its `Debug` form shows nothing of it.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// The text itself. The caller keeps it out of every output.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_newline_is_cut_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, " s3cr3t \r\n").unwrap();
        assert_eq!(SecretRef::File(path).read().unwrap().expose(), " s3cr3t ");
    }

    #[test]
    fn missing_and_empty_secrets_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let at = SecretRef::File(path.clone());
        assert!(matches!(at.read(), Err(SecretError::Read { .. })));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(at.read(), Err(SecretError::Empty { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(at.read(), Err(SecretError::NotText { .. })));
        assert!(matches!(SecretRef::File("/dev/zero".into()).read(), Err(SecretError::NotText { .. })));
        let unset = SecretRef::Env("TRENDLAKE_TEST_NEVER_SET".into()).read().unwrap_err();
        assert_eq!(unset.to_string(), "the environment variable `TRENDLAKE_TEST_NEVER_SET` is not set");
    }

    #[test]
    fn debug_shows_nothing() {
        assert!(!format!("{:?}", Secret::from("hunter2".to_owned())).contains("hunter2"));
    }
}
