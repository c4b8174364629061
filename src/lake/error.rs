//! Failures of the lake, by what the caller can do.

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The store failed, or the disk did; it may pass.
    Storage,
    /// Permission or credentials are missing; a person must act.
    Permission,
    /// Another live process holds the lake.
    Locked,
    /// Something that is not ours stands in a place of ours.
    Foreign,
    /// The settings cannot work with this store.
    Settings,
}

/// The lake could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: Kind,
    text: String,
    hint: Option<&'static str>,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { kind, text: text.into(), hint }
    }

    /// A failure of the store. Its own text already holds the causes.
    #[expect(clippy::needless_pass_by_value, reason = "used with `map_err`")]
    pub(super) fn of(what: &str, key: &str, error: object_store::Error) -> Self {
        use object_store::Error as E;
        // Stores answer a listing of a bucket that does not exist, or one without credentials, with an
        // error that only its text tells from a passing one.
        let text = error.to_string();
        let says = |words: &[&str]| words.iter().any(|w| text.contains(w));
        let (kind, hint) = match &error {
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => (
                Kind::Permission,
                Some(
                    "check the credentials in the environment, and that they may list, read and write under the lake's prefix",
                ),
            ),
            E::NotFound { .. } => (
                Kind::Permission,
                Some("check that the bucket or container exists, and its name in `lake.url`"),
            ),
            E::UnknownConfigurationKey { .. } | E::NotSupported { .. } | E::NotImplemented { .. } => {
                (Kind::Settings, None)
            }
            _ if says(&["NoSuchBucket", "ContainerNotFound"]) => (
                Kind::Permission,
                Some("check that the bucket or container exists, and its name in `lake.url`"),
            ),
            // S3 answers with 400 where a session has ended.
            _ if says(&["ExpiredToken", "TokenRefreshRequired", "InvalidToken"]) => (
                Kind::Permission,
                Some("the session's credentials have expired: renew them in the environment, and run again"),
            ),
            _ if says(&["169.254.169.254", "metadata.google.internal"]) => (
                Kind::Permission,
                Some(
                    "there are no credentials: set them in the environment, or run where the cloud provides them",
                ),
            ),
            _ => (Kind::Storage, None),
        };
        let detail: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
        Self::new(kind, format!("cannot {what} `{key}` in the lake: {detail}"), hint)
    }

    pub(super) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let hint = match error.kind() {
            K::StorageFull | K::QuotaExceeded => {
                Some("free some space; the next run goes on where this one stopped")
            }
            K::PermissionDenied => Some("give the user that runs trendlake the right to write there"),
            K::ReadOnlyFilesystem => Some("mount it writable, or choose another folder"),
            _ => None,
        };
        Self::new(Kind::Storage, format!("cannot {what} `{}`: {error}", path.display()), hint)
    }

    pub(super) fn no_conditions(what: &str) -> Self {
        Self::new(
            Kind::Settings,
            format!(
                "the object store carried out {what} whose condition did not hold: two writers could overwrite each other's data"
            ),
            Some(
                "use a store with conditional writes, or set `lake.single_writer = true` if there will only ever be one writer",
            ),
        )
    }

    /// The kind of the failure.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}
