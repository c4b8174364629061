//! One round: the lease, a run, and what is shown of it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::daemon::Round;
use super::recent;
use super::shown::Shown;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{HttpSettings, LakeSettings, Settings, Stream};
use crate::export::{self, Context, Observer, Overview, Spent, Turns, Warnings};
use crate::kore::{Traffic, Transport, http_client};
use crate::lake::{self, BEAT, Bid, Contender, LEASE_TIME, Lake, Lease};
use crate::model::{Month, local_now};
use crate::notify::{self, Nominal};
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
    /// The way to the lake and to the API.
    pub reach: Arc<dyn Reach>,
    /// What is shown.
    pub shown: Arc<Shown>,
}

/// How a daemon gets to its lake and to the API, anew for each round.
pub trait Reach: Send + Sync {
    /// Opens the lake.
    ///
    /// # Errors
    /// When the settings do not make a lake.
    fn lake(&self, settings: &LakeSettings) -> Result<Lake, lake::Error>;

    /// Opens the way to the API. `direct` leaves out every proxy.
    ///
    /// # Errors
    /// When the settings do not make a client.
    fn http(&self, settings: &HttpSettings, direct: bool) -> Result<Arc<dyn Transport>, String>;
}

/// Whatever the settings name.
pub struct Outside;

impl Reach for Outside {
    fn lake(&self, settings: &LakeSettings) -> Result<Lake, lake::Error> {
        Lake::open(settings)
    }

    fn http(&self, settings: &HttpSettings, direct: bool) -> Result<Arc<dyn Transport>, String> {
        http_client(settings, direct)
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
        let failure = self.try_round(contender, &settings, round).await.err();
        if let Some(failure) = &failure {
            if failure.exit_code() == exit::LOCKED {
                info!("{failure}; this tick is left to it");
            } else {
                error!("the round failed: {failure}");
            }
            self.shown.meter.run_failed(failure.exit_code(), self.clock.now());
        }
        self.shown.write_meters_down().await;
        self.shown.change(|state| {
            state.failure = failure.map(|failure| failure.to_string());
            state.ready = true;
            state.under_way = None;
        });
    }

    async fn try_round(
        &self,
        contender: &mut Contender,
        settings: &Arc<Settings>,
        round: Round,
    ) -> Result<(), Failure> {
        let mut lake = self.reach.lake(&settings.lake)?;
        let _lock = match lake.lock().await {
            Ok(lock) => lock,
            Err(error) => {
                self.show_first(settings, &lake).await;
                return Err(error.into());
            }
        };
        if !lake.is_shared() {
            return self.run(settings, &lake, round, self.stop.clone()).await;
        }
        let Some((lease, done)) = self.win(contender, settings, &lake).await? else { return Ok(()) };
        self.shown.meter.lease(true);
        let since = match round {
            // Daemons that start together need not all catch up.
            Round::Start(now) => now - LEASE_TIME,
            Round::Tick(tick) => tick,
        };
        let result = if done.is_some_and(|done| done >= since) {
            info!("another daemon has done this round");
            give_back(lease, &lake, done).await;
            self.show(settings, &lake, None).await;
            Ok(())
        } else {
            self.run_under(lease, settings, &lake, round).await
        };
        self.shown.meter.lease(false);
        result
    }

    /// Waits for the lease. `None` when the daemon is stopped meanwhile.
    async fn win(
        &self,
        contender: &mut Contender,
        settings: &Settings,
        lake: &Lake,
    ) -> Result<Option<(Lease, Option<DateTime<Utc>>)>, Failure> {
        loop {
            match contender.bid(lake, self.clock.instant()).await? {
                Bid::Won(lease, done) => return Ok(Some((lease, done))),
                Bid::Held => info!("another daemon holds the lease; waiting"),
            }
            self.show_first(settings, lake).await;
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
        round: Round,
    ) -> Result<(), Failure> {
        let stop = self.stop.child_token();
        let run = self.run(settings, lake, round, stop.clone());
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
            let done = (!self.stop.is_cancelled() && result.is_ok()).then_some(round.due());
            give_back(lease, lake, done).await;
        }
        result
    }

    async fn run(
        &self,
        settings: &Arc<Settings>,
        lake: &Lake,
        round: Round,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let traffic = Arc::new(Traffic::default());
        let streams = settings.streams.clone();
        let direct = streams.iter().all(Stream::is_local);
        let context = Context {
            settings: settings.clone(),
            shelf: Shelf::open(lake.clone(), settings, &self.clock).await?,
            http: self.reach.http(&settings.http, direct).map_err(Failure::Http)?,
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            traffic: traffic.clone(),
            observer: Arc::new(Quiet),
            stop: stop.clone(),
            warnings: Warnings::default(),
            spent: Spent::default(),
            turns: Turns::default(),
        };
        let stopped = || stop.is_cancelled().then_some(exit::TERMINATED);
        let known = self.known_before(settings, lake).await;
        let begin = |overview: &Overview| {
            if let Some(reports) = known {
                self.cover(overview, &reports);
                // Nothing waits for it: the run is about to begin.
                tokio::spawn(self.shown.write_meters_down());
            }
        };
        let nominal = Nominal { tick: round.due(), next: settings.serve.schedule.next_after(round.due()) };
        let nominal = Some(nominal);
        let report = notify::run(&context, &streams, &Scope::default(), nominal, begin, stopped).await?;
        self.shown.meter.run_ended(&report, &traffic);
        let report = Arc::new(report);
        self.shown.change(|state| state.last = Some(report.clone()));
        self.show(settings, lake, Some(report)).await;
        Ok(())
    }

    /// Looks at the lake, for whoever asks how it stands; of the runs, `ours` is known already. Once the daemon is
    /// stopped, nobody looks any more. What fails here says nothing about the round.
    async fn show(&self, settings: &Settings, lake: &Lake, ours: Option<Arc<Report>>) {
        let show = async {
            let reports = self.gather(settings, lake, ours).await?;
            let shelf = Shelf::open(lake.clone(), settings, &self.clock).await?;
            let now = self.clock.now();
            let overview =
                export::overview(&shelf, settings, &settings.streams, &Scope::default(), now).await?;
            self.cover(&overview, &reports);
            Ok::<_, export::Error>(())
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            shown = show => if let Err(error) = shown {
                warn!("how the lake stands cannot be shown: {error}");
            }
        }
    }

    /// Shows how the lake stands while another one works on it, if that was not shown yet.
    async fn show_first(&self, settings: &Settings, lake: &Lake) {
        if self.shown.state().coverage.is_empty() {
            self.show(settings, lake, None).await;
            self.shown.write_meters_down().await;
        }
    }

    /// What the lake tells without a survey, for whoever looks before the first run has ended: it may take hours.
    /// The survey is the run's own. `None` later on, or if the lake cannot be read: the run itself will tell.
    async fn known_before(&self, settings: &Settings, lake: &Lake) -> Option<Vec<Arc<Report>>> {
        if !self.shown.state().coverage.is_empty() {
            return None;
        }
        tokio::select! {
            () = self.stop.cancelled() => None,
            reports = self.gather(settings, lake, None) => match reports {
                Ok(reports) => Some(reports),
                Err(error) => {
                    debug!("the lake cannot be shown yet: {error}");
                    None
                }
            }
        }
    }

    /// Shows the runs and the newest days. Gives the reports that say how each stream went last.
    async fn gather(
        &self,
        settings: &Settings,
        lake: &Lake,
        ours: Option<Arc<Report>>,
    ) -> Result<Vec<Arc<Report>>, lake::Error> {
        let reports = match ours {
            Some(report) => vec![report],
            None => export::last_reports(lake, &settings.streams).await?.into_iter().map(Arc::new).collect(),
        };
        let shelf = Shelf::open(lake.clone(), settings, &self.clock).await?;
        let recent = recent::recent(&shelf, &settings.streams, self.clock.now()).await?;
        let runs = recent::runs(lake, &self.shown.state().runs).await?;
        for report in reports.iter().rev() {
            for stream in settings.streams.iter().filter(|stream| is_fresh(report, stream)) {
                self.shown.meter.fresh(stream, report.started_at);
            }
        }
        self.shown.change(|state| {
            state.last = reports.first().cloned().or_else(|| state.last.take());
            state.recent = Arc::new(recent);
            state.runs = Arc::new(runs);
        });
        Ok(reports)
    }

    /// Shows how the lake stands by a survey of it.
    fn cover(&self, overview: &Overview, reports: &[Arc<Report>]) {
        let coverage = export::coverage(overview, reports);
        self.shown.meter.covered(&coverage);
        self.shown.change(|state| state.coverage = Arc::new(coverage));
    }
}

/// Gives the lease back. Where that fails it runs out by itself, and the round was what it was.
async fn give_back(lease: Lease, lake: &Lake, done: Option<DateTime<Utc>>) {
    if let Err(error) = lease.give_back(lake, done).await {
        warn!("the lease was not given back, and runs out: {error}");
    }
}

/// Whether a run has brought every day of a stream that had ended when it began: it has asked for the month of that
/// day, and neither there nor in the day before's is anything open. A backfill of other months says nothing.
fn is_fresh(report: &Report, stream: &Stream) -> bool {
    let today = local_now(report.started_at, stream.zone).date();
    let [today, yesterday] = [today, today - TimeDelta::days(1)].map(|day| Month::of(day).to_string());
    let units: Vec<_> = report.units.of(stream.id.as_str()).collect();
    units.iter().any(|u| u.month == today)
        && units.iter().filter(|u| [&today, &yesterday].contains(&&u.month)).all(|u| !u.outcome.is_open())
}

/// A contender that no other daemon is.
#[must_use]
pub fn contender(chance: &Chance) -> Contender {
    let id: Uuid = chance.id();
    Contender::new(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    #[test]
    fn what_makes_a_stream_fresh() {
        let stream = Stream::example();
        let fresh = |now: &str, units: &[(&str, Outcome)]| {
            let unit = |(month, outcome): &(&str, Outcome)| UnitReport {
                stream: stream.id.to_string(),
                month: (*month).into(),
                ..UnitReport::example(outcome.clone())
            };
            let units = units.iter().map(unit).collect();
            let report = Report { started_at: now.parse().unwrap(), units, ..Report::default() };
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
