//! What the daemon shows of itself, kept in memory so that no reader costs the lake a request.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use super::meter::Meter;
use super::recent::{AllRecent, RunSummary};
use crate::export::StreamCoverage;
use crate::report::Report;

/// What the daemon shows: updated after each run.
pub struct Shown {
    pub(super) meter: Meter,
    state: RwLock<State>,
}

/// How it goes.
#[derive(Clone, Default)]
pub struct State {
    /// The last run's report.
    pub last: Option<Arc<Report>>,
    /// How the lake stood after it.
    pub coverage: Arc<Vec<StreamCoverage>>,
    /// The newest days of every stream.
    pub(super) recent: Arc<AllRecent>,
    /// The newest runs in short, the newest first.
    pub(super) runs: Arc<Vec<RunSummary>>,
    /// When the round under way began.
    pub under_way: Option<DateTime<Utc>>,
    /// Why the last round came to no report.
    pub failure: Option<String>,
    /// Why a new configuration was refused.
    pub refused: Option<String>,
    /// Whether a round has come to an end.
    pub ready: bool,
}

impl Default for Shown {
    fn default() -> Self {
        Self { meter: Meter::new(), state: RwLock::default() }
    }
}

impl Shown {
    /// How it goes now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ticks came while a round was under way.
    pub fn skipped(&self, ticks: u64) {
        if ticks > 0 {
            info!(ticks, "ticks skipped: one round stands for all of them");
            self.meter.skipped(ticks);
        }
    }

    /// A new configuration was taken up, or refused with its problems.
    pub fn reloaded(&self, refused: Option<String>) {
        self.meter.reloaded(refused.is_none());
        self.change(|state| state.refused = refused);
    }

    /// Lets scrapes tell how the streams stand now. Of many streams that takes a while to write down, in which nobody
    /// is held up but who waits for it.
    pub(super) fn write_meters_down(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let shown = self.clone();
        async move {
            if let Err(error) = tokio::task::spawn_blocking(move || shown.meter.write_down()).await {
                warn!("the metrics of streams are as they were: {error}");
            }
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}
