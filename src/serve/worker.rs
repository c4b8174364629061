//! One round: the lease, a run, and what is shown of it.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::daemon::Round;
use super::meter::Meter;
use super::recent::{self, AllRecent, RunSummary};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Settings, Stream};
use crate::export::{self, Context, Observer, Spent, StreamCoverage, Warnings};
use crate::kore::{Traffic, http_client};
use crate::lake::{self, BEAT, Bid, Contender, LEASE_TIME, Lake, Lease};
use crate::model::{Month, local_now};
use crate::notify;
use crate::plan::Scope;
use crate::report::{Report, UnitReport, exit};
use crate::shelf::Shelf;

/// What a daemon is made of.
pub struct Worker {
    /// The configuration in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Stops the run under way.
    pub stop: CancellationToken,
    /// What is shown.
    pub shown: Arc<Shown>,
}

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

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

struct Quiet;

impl Observer for Quiet {
    fn unit_done(&self, _: &UnitReport) {}
}

/// Why a round came to no report.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Export(#[from] export::Error),
    #[error("{0}")]
    Http(String),
}

impl From<lake::Error> for Failure {
    fn from(error: lake::Error) -> Self {
        Self::Export(error.into())
    }
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Export(error) => error.exit_code(),
            Self::Http(_) => exit::CONFIG,
        }
    }
}

impl Worker {
    /// One round: waits for the lease where the lake has one, runs, and shows what came of it. Where
    /// another daemon has done this round already, nothing is left to do.
    pub async fn round(&self, contender: &mut Contender, round: Round) {
        let settings = self.settings.borrow().clone();
        let now = self.clock.now();
        self.shown.change(|state| state.under_way = Some(now));
        if let Round::Start(_) = round {
            self.show_before(&settings).await;
        }
        if let Err(failure) = self.try_round(contender, &settings, round).await {
            if failure.exit_code() == exit::LOCKED {
                info!("{failure}; this tick is left to it");
            } else {
                error!("the round failed: {failure}");
            }
            self.shown.meter.run_failed(failure.exit_code(), self.clock.now());
            self.shown.change(|state| state.failure = Some(failure.to_string()));
        }
        self.shown.change(|state| {
            state.ready = true;
            state.under_way = None;
        });
    }

    /// What the lake holds already, for whoever looks before the first round has ended: it may take hours.
    /// If the lake cannot be read, the round itself will tell.
    async fn show_before(&self, settings: &Settings) {
        let show = async {
            let lake = Lake::open(&settings.lake)?;
            self.show(settings, &lake, None).await
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            shown = show => if let Err(error) = shown {
                debug!("the lake cannot be shown yet: {error}");
            }
        }
    }

    async fn try_round(
        &self,
        contender: &mut Contender,
        settings: &Arc<Settings>,
        round: Round,
    ) -> Result<(), Failure> {
        let mut lake = Lake::open(&settings.lake)?;
        let _lock = lake.lock().await?;
        if !lake.is_shared() {
            return self.run(settings, &lake, self.stop.clone()).await;
        }
        let Some((lease, done)) = self.win(contender, &lake).await? else { return Ok(()) };
        self.shown.meter.lease(true);
        let (tick, since) = match round {
            // Daemons that start together need not all catch up.
            Round::Start(now) => (now, now - LEASE_TIME),
            Round::Tick(tick) => (tick, tick),
        };
        let result = if done.is_some_and(|done| done >= since) {
            info!("another daemon has done this round");
            lease.give_back(&lake, done).await?;
            self.show(settings, &lake, None).await
        } else {
            self.run_under(lease, settings, &lake, tick).await
        };
        self.shown.meter.lease(false);
        result
    }

    /// Waits for the lease. `None` when the daemon is stopped meanwhile.
    async fn win(
        &self,
        contender: &mut Contender,
        lake: &Lake,
    ) -> Result<Option<(Lease, Option<DateTime<Utc>>)>, Failure> {
        loop {
            match contender.bid(lake, self.clock.instant()).await? {
                Bid::Won(lease, done) => return Ok(Some((lease, done))),
                Bid::Held => info!("another daemon holds the lease; waiting"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = self.clock.sleep(BEAT) => {}
            }
        }
    }

    /// Runs while the lease beats. A lease that is lost stops the run before its next put.
    async fn run_under(
        &self,
        mut lease: Lease,
        settings: &Arc<Settings>,
        lake: &Lake,
        tick: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let stop = self.stop.child_token();
        let run = self.run(settings, lake, stop.clone());
        tokio::pin!(run);
        let mut is_ours = true;
        let result = loop {
            tokio::select! {
                result = &mut run => break result,
                () = self.clock.sleep(BEAT), if is_ours => {
                    is_ours = lease.beat(lake, self.clock.instant()).await;
                    if !is_ours {
                        warn!("the lease is lost: the run is stopped");
                        stop.cancel();
                    }
                }
            }
        };
        if is_ours {
            // A round that was stopped has not done its tick.
            let done = (!self.stop.is_cancelled() && result.is_ok()).then_some(tick);
            lease.give_back(lake, done).await?;
        }
        result
    }

    async fn run(
        &self,
        settings: &Arc<Settings>,
        lake: &Lake,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let traffic = Arc::new(Traffic::default());
        let streams = settings.streams.clone();
        let direct = streams.iter().all(Stream::is_local);
        let context = Context {
            settings: settings.clone(),
            shelf: Shelf::new(lake.clone()),
            http: http_client(&settings.http, direct).map_err(Failure::Http)?,
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            traffic: traffic.clone(),
            observer: Arc::new(Quiet),
            stop: stop.clone(),
            warnings: Warnings::default(),
            spent: Spent::default(),
        };
        let stopped = || stop.is_cancelled().then_some(exit::TERMINATED);
        let report = export::run(&context, &streams, &Scope::default(), |_| {}, stopped).await?;
        self.shown.meter.run_ended(&report, &traffic);
        notify::tell(&settings.notify, context.http.as_ref(), &report).await;
        self.show(settings, lake, Some(report)).await
    }

    /// Looks at the lake, for whoever asks how it stands.
    async fn show(&self, settings: &Settings, lake: &Lake, report: Option<Report>) -> Result<(), Failure> {
        let report = match report {
            Some(report) if self.stop.is_cancelled() => {
                // Nobody looks any more, and whoever stops a daemon does not wait for long.
                self.shown.change(|state| state.last = Some(Arc::new(report)));
                return Ok(());
            }
            Some(report) => Some(report),
            None => export::last_report(lake).await?,
        };
        let (now, shelf) = (self.clock.now(), Shelf::new(lake.clone()));
        let overview = export::overview(&shelf, settings, &settings.streams, &Scope::default(), now).await?;
        let coverage = export::coverage(&overview, report.as_ref());
        let recent = recent::recent(&shelf, &settings.streams, now).await?;
        let runs = recent::runs(lake, &self.shown.state().runs).await?;
        self.shown.meter.covered(&coverage);
        if let Some(report) = &report {
            for stream in &settings.streams {
                if is_fresh(report, stream) {
                    self.shown.meter.fresh(stream, report.started_at);
                }
            }
        }
        self.shown.change(|state| {
            state.last = report.map(Arc::new);
            state.coverage = Arc::new(coverage);
            state.recent = Arc::new(recent);
            state.runs = Arc::new(runs);
            state.failure = None;
        });
        Ok(())
    }
}

/// Whether a run has brought every day of a stream that had ended when it began: it has asked for the month of that
/// day, and neither there nor in the day before's is anything open. A backfill of other months says nothing.
fn is_fresh(report: &Report, stream: &Stream) -> bool {
    let today = local_now(report.started_at, stream.zone).date();
    let [today, yesterday] = [today, today - TimeDelta::days(1)].map(|day| Month::of(day).to_string());
    let units = || report.units.iter().filter(|u| u.stream == stream.id.as_str());
    units().any(|u| u.month == today)
        && units().filter(|u| [&today, &yesterday].contains(&&u.month)).all(|u| !u.outcome.is_open())
}

/// A contender that no other daemon is.
#[must_use]
pub fn contender(chance: &Chance) -> Contender {
    let id: Uuid = chance.id();
    Contender::new(id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::{Outcome, Totals};

    #[test]
    fn what_makes_a_stream_fresh() {
        let stream = Stream::example();
        let fresh = |now: &str, units: &[(&str, Outcome)]| {
            let unit = |(month, outcome): &(&str, Outcome)| UnitReport {
                stream: stream.id.to_string(),
                stream_name: stream.name.clone(),
                grain: "daily".into(),
                month: (*month).into(),
                reason: "provisional".into(),
                outcome: outcome.clone(),
                missing: 0,
                restated: 0,
            };
            let now = now.parse().unwrap();
            let report = Report {
                run_id: Uuid::nil(),
                version: "0".into(),
                started_at: now,
                ended_at: now,
                exit_code: 0,
                totals: Totals::default(),
                requests: BTreeMap::new(),
                warnings: vec![],
                units: units.iter().map(unit).collect(),
            };
            is_fresh(&report, &stream)
        };
        let (done, open) = (Outcome::Unchanged, Outcome::Open);
        let middle = "2026-03-15T12:00:00Z";
        assert!(fresh(middle, &[("2026-03", done.clone())]));
        assert!(fresh(middle, &[("2026-03", done.clone()), ("2026-02", open.clone())]));
        assert!(!fresh(middle, &[("2026-03", open.clone())]));
        assert!(!fresh(middle, &[]));
        // A backfill that ended well, and says nothing of today.
        assert!(!fresh(middle, &[("2025-12", done.clone())]));
        // The last day of February has ended, and is not there.
        assert!(!fresh("2026-03-01T00:30:00Z", &[("2026-03", done.clone()), ("2026-02", open)]));
        assert!(fresh("2026-03-01T00:30:00Z", &[("2026-03", done.clone()), ("2026-02", done)]));
    }
}
