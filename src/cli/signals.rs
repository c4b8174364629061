//! SIGINT and SIGTERM: the first one stops the run in order, the second one at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::failure::Failure;
use crate::export;
use crate::report::exit;

/// A handle on how the process is being stopped.
#[derive(Clone, Default)]
pub(super) struct Stop {
    /// Cancelled by the first signal.
    pub token: CancellationToken,
    code: Arc<AtomicU8>,
}

impl Stop {
    /// The exit code of the signal that came, if one has.
    pub(super) fn code(&self) -> Option<u8> {
        Some(self.code.load(Ordering::Relaxed)).filter(|code| *code != 0)
    }

    /// The failure of a run that came to no report, with the signal's exit code if one has ended it.
    pub(super) fn early(&self, error: export::Error) -> Failure {
        let is_stopped = matches!(error, export::Error::Stopped);
        let mut failure = Failure::from(error);
        if let Some(code) = self.code().filter(|_| is_stopped) {
            failure.exit_code = code;
        }
        failure
    }

    /// Runs `work` to its end, with the handle's token cancelled by the first signal; a second one
    /// leaves at once, with its exit code.
    pub(super) async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let cannot = |e: std::io::Error| Failure::bug(format!("signals cannot be heard: {e}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => exit::INTERRUPTED,
                _ = terminate.recv() => exit::TERMINATED,
            }
        };
        tokio::pin!(work);
        let code = tokio::select! {
            result = &mut work => return result,
            code = next() => code,
        };
        self.code.store(code, Ordering::Relaxed);
        self.token.cancel();
        info!("stopping: what is being written is finished; a second signal leaves at once");
        tokio::select! {
            result = &mut work => result,
            exit_code = next() => Err(Failure::new(exit_code, "left at once; the lake is sound, and the next run finishes the rest", None)),
        }
    }
}
