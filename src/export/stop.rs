//! Why a unit ends before its time, and who has to act on it.

use super::raw;
use crate::kore::{self, Class, SignerError};
use crate::lake::{self, Kind};
use crate::report::{Failure, Severity};

/// The end of a unit before its time.
pub(super) enum Stop {
    /// The run is being stopped.
    Open,
    /// What is there is newer.
    Superseded,
    Failed(Failure),
    /// Failed for a reason that the stream's other units share.
    StreamFailed(Failure),
}

impl From<lake::Error> for Stop {
    fn from(error: lake::Error) -> Self {
        let failure = lake_failure(&error);
        match error.kind() {
            // Nothing can be written any more, so nothing more need be asked.
            Kind::Permission => Self::StreamFailed(failure),
            _ => Self::Failed(failure),
        }
    }
}

impl From<raw::Error> for Stop {
    fn from(error: raw::Error) -> Self {
        let (class, hint) = match &error {
            raw::Error::Lake(error) => return Self::Failed(lake_failure(error)),
            raw::Error::NoneFits | raw::Error::Incomplete { .. } => {
                ("not_kept", "`trendlake run` asks the API")
            }
            raw::Error::Rejected(_) => ("contract", "`trendlake run` asks the API"),
        };
        let (severity, message) = (Severity::Data, error.to_string());
        Self::Failed(Failure { class: class.into(), severity, message, hint: Some(hint.into()) })
    }
}

/// Who has to act on a failure of the API.
pub fn severity(class: Class) -> Severity {
    match class {
        Class::Network
        | Class::Timeout
        | Class::Truncated
        | Class::Tls
        | Class::Server
        | Class::RateLimited => Severity::PassingApi,
        Class::Credentials => Severity::Permission,
        Class::Refused | Class::Redirect | Class::TooLarge | Class::Contract => Severity::Data,
    }
}

pub(super) fn api_stop(error: &kore::Error) -> Stop {
    let failure = Failure {
        class: error.class().as_str().into(),
        severity: severity(error.class()),
        message: error.to_string(),
        hint: error.hint(),
    };
    if error.stops_stream() { Stop::StreamFailed(failure) } else { Stop::Failed(failure) }
}

/// A stream whose tokens cannot be made fails as a whole.
pub(super) fn signer_failure(error: &SignerError) -> Failure {
    Failure {
        class: "credentials".into(),
        severity: Severity::Permission,
        message: error.to_string(),
        hint: None,
    }
}

fn lake_failure(error: &lake::Error) -> Failure {
    let (class, severity) = match error.kind() {
        Kind::Storage | Kind::Locked => ("storage", Severity::PassingStorage),
        Kind::Permission => ("storage_permission", Severity::Permission),
        Kind::Foreign => ("integrity", Severity::Integrity),
        Kind::Settings => ("config", Severity::Config),
    };
    Failure { class: class.into(), severity, message: error.to_string(), hint: error.hint().map(Into::into) }
}
