//! The identity of a stream: one Kore.ai app.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The id of a stream, such as `st-0b6d3f0e-6a44-5b3a-9d5f-000000000000`.
///
/// An id becomes a folder of the lake and a segment of the request's URL. So it is held to letters,
/// digits, `-`, `_` and `.`, begins with a letter or digit, has no `..`, and is at most
/// [`StreamId::MAX_LEN`] bytes long: no allowed id needs an escape in a path, a URL or a Hive
/// partition, and none can climb out of its folder.
///
/// Clones share the text: every partition and unit of a large lake names its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(Arc<str>);

/// A text that is no stream id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStreamId {
    /// The text is empty or too long.
    #[error("a stream id has 1 to {max} characters, this one has {found}", max = StreamId::MAX_LEN)]
    Length {
        /// How many bytes were given.
        found: usize,
    },
    /// The text holds a character or a sequence that is not allowed.
    #[error("a stream id holds letters, digits, `-`, `_` and single `.`, and begins with a letter or digit")]
    Characters,
}

impl StreamId {
    /// The longest id, in bytes. It leaves room for `stream=` in a file name of 255 bytes.
    pub const MAX_LEN: usize = 128;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamId {
    type Err = InvalidStreamId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(InvalidStreamId::Length { found: text.len() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !text.chars().all(allowed)
            || text.contains("..")
        {
            return Err(InvalidStreamId::Characters);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_ids_are_allowed() {
        let id = "st-0b6d3f0e-6a44-5b3a-9d5f-000000000000";
        assert_eq!(id.parse::<StreamId>().unwrap().as_str(), id);
    }

    #[test]
    fn ids_that_could_climb_or_confuse_are_refused() {
        let long = "x".repeat(300);
        for id in [
            "",
            "../../etc",
            "a/b",
            "a\\..\\b",
            "%2e%2e",
            "x=y",
            "a\0b",
            "a\u{202e}b",
            "a..b",
            ".",
            "..",
            ".hidden",
            "-x",
            "a b",
            "a\nb",
            "é",
            &long,
        ] {
            assert!(id.parse::<StreamId>().is_err(), "{id:?} was allowed");
        }
    }
}
