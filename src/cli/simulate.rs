//! `trendlake simulate`: the API's stand-in on a loopback port.

use std::time::Duration;

use chrono::{Datelike, Months};
use tokio::net::TcpListener;

use super::args::{Common, Simulate};
use super::failure::Failure;
use super::printer::Printer;
use super::signals::Stop;
use super::{Setup, rehearsal};
use crate::model::local_now;
use crate::report::exit;
use crate::simulator::Simulator;

pub(super) async fn simulate(common: &Common, command: Simulate, printer: &Printer) -> Result<u8, Failure> {
    let address = ("127.0.0.1", command.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|e| Failure::setting(format!("cannot listen on port {}: {e}", command.port)))?;
    let port = listener.local_addr().map_err(|e| Failure::bug(e.to_string()))?.port();
    let base_url = format!("http://127.0.0.1:{port}");
    let mut config = common.config.clone();
    if let (Some(count), Some(folder)) = (command.streams, &command.write) {
        let names: Vec<_> = (1..=count).map(|n| format!("stream-{n:04}")).collect();
        let (clock, chance) = (crate::clock::Clock::system(), crate::chance::Chance::from_os());
        let today = local_now(clock.now(), chrono_tz::UTC).date();
        let first = today.with_day(1).unwrap_or(today) - Months::new(12);
        config = rehearsal::write(folder, &names, &base_url, first, &chance)?;
    }
    let sources = super::Common { config, lake: None, base_url: Some(base_url.clone()), ..*common };
    let setup = Setup::load(&sources)?;
    let mut settings = rehearsal::serving(&setup.settings, command.faults)?;
    settings.latency = Duration::from_millis(command.latency_ms);
    settings.restate_days = command.restate_days;
    if command.no_limits {
        settings.limits.clear();
    }
    let count = settings.streams.len();
    let simulator = Simulator::new(settings, setup.clock.clone());
    printer.result(
        &serde_json::json!({ "base_url": base_url, "config": sources.config, "streams": count }),
        || {
            format!(
                "serving {} on {base_url}; try\n  trendlake run --config {} --base-url {base_url} --lake ./rehearsal",
                super::text::count(count as u64, "stream"),
                sources.config.display()
            )
        },
    );
    let stop = Stop::default();
    let served = stop.guard(async {
        let served = simulator.serve(listener, stop.token.clone()).await;
        served.map_err(|e| Failure::bug(format!("the simulator failed: {e}")))
    });
    served.await?;
    Ok(exit::OK)
}
