//! `trendlake serve`: the daemon.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};

use super::args::Common;
use super::failure::Failure;
use super::printer::Printer;
use super::signals::Stop;
use super::{Setup, text};
use crate::clock::Clock;
use crate::config::Settings;
use crate::report::exit;
use crate::serve::{self, Outside, Pace, Shown, Site, Timetable, WallAlarm, Worker};

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn serve(common: &Common, printer: &Printer) -> Result<u8, Failure> {
    let Setup { settings, clock, chance } = Setup::load(common)?;
    let listener = listen(&settings, printer).await?;
    let alarm = WallAlarm::start(clock.clone()).await.map_err(|e| broken("the scheduler cannot start", e))?;
    let stop = Stop::default();
    let shown = Arc::new(Shown::default());
    let (new_timetable, timetables) = watch::channel(timetable(&settings));
    let (new_settings, current) = watch::channel(settings);
    let worker = Worker {
        settings: current.clone(),
        clock: clock.clone(),
        chance: chance.clone(),
        stop: stop.token.clone(),
        reach: Arc::new(Outside),
        shown: shown.clone(),
    };
    let mut contender = serve::contender(&chance);
    let token = stop.token.clone();
    let pace = Pace { clock: clock.clone(), chance, alarm: &alarm, timetable: timetables, stop: token };
    let rounds = serve::go_round(
        pace,
        async |round| worker.round(&mut contender, round).await,
        |ticks| shown.skipped(ticks),
    );
    let take = |settings: Settings| {
        new_timetable.send_replace(timetable(&settings));
        new_settings.send_replace(Arc::new(settings));
    };
    let pages = async {
        let site = Site::new(shown.clone(), current, clock.clone());
        let served = serve::serve(listener, Arc::new(site), stop.token.clone()).await;
        served.map_err(|e| broken("pages cannot be served", e))?;
        // They end when the daemon is stopped; the round under way may take a little longer.
        std::future::pending::<Result<Infallible, Failure>>().await
    };
    let work = async {
        tokio::select! {
            () = rounds => Ok(exit::OK),
            Err(failure) = watch_configuration(common, &clock, &shown, take) => Err(failure),
            Err(failure) = pages => Err(failure),
        }
    };
    let code = Box::pin(stop.guard(work)).await?;
    let interrupted = shown.state().last.is_some_and(|report| report.exit_code == exit::TERMINATED);
    Ok(stop.code().filter(|_| interrupted).unwrap_or(code))
}

async fn listen(settings: &Settings, printer: &Printer) -> Result<TcpListener, Failure> {
    let address = settings.serve.listen;
    let cannot = |e: std::io::Error| Failure::setting(format!("cannot listen on {address}: {e}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    printer.result(&serde_json::json!({ "url": format!("http://{address}") }), || {
        format!("listening on http://{address}")
    });
    Ok(listener)
}

fn timetable(settings: &Settings) -> Timetable {
    Timetable { schedule: settings.serve.schedule.clone(), jitter: settings.serve.jitter }
}

fn broken(what: &str, error: impl Display) -> Failure {
    Failure::bug(format!("{what}: {error}"))
}

/// Takes up each new configuration: when the file has changed, and on SIGHUP. A bad one is told, and the
/// old one stays.
async fn watch_configuration(
    common: &Common,
    clock: &Clock,
    shown: &Shown,
    take: impl Fn(Settings),
) -> Result<Infallible, Failure> {
    let mut hangup = signal(SignalKind::hangup()).map_err(|e| broken("signals cannot be heard", e))?;
    let mut known = std::fs::read(&common.config).ok();
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = clock.sleep(LOOK) => false,
        };
        let found = std::fs::read(&common.config).ok();
        if !asked && (found.is_none() || found == known) {
            continue;
        }
        known = found;
        match Settings::load(&common.sources()) {
            Ok(settings) => {
                info!("the new configuration is in force");
                shown.reloaded(None);
                take(settings);
            }
            Err(problems) => {
                let problems = text::plain_lines(&problems.to_string());
                error!("the new configuration is refused, and the old one stays: {problems}");
                shown.reloaded(Some(problems));
            }
        }
    }
}
