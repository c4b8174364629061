//! `trendlake demo`: the main job, whole, on three made-up streams.

use chrono::{Datelike, Months};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::args::{Common, Demo, LogFormat, Output};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, rehearsal, run, status, text};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::local_now;
use crate::plan::Scope;
use crate::simulator::Simulator;

const STREAMS: [&str; 3] = ["support", "sales", "hr-desk"];

pub(super) async fn demo(command: &Demo, printer: &Printer) -> Result<u8, Failure> {
    let folder = &command.folder;
    let (clock, chance) = (Clock::system(), Chance::from_os());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| Failure::bug(e.to_string()))?;
    let port = listener.local_addr().map_err(|e| Failure::bug(e.to_string()))?.port();
    let base_url = format!("http://127.0.0.1:{port}");
    let today = local_now(clock.now(), chrono_tz::UTC).date();
    // Eleven whole months and the one under way.
    let first = today.with_day(1).unwrap_or(today) - Months::new(11);
    let config = rehearsal::write(folder, &STREAMS.map(Into::into), "http://127.0.0.1:8787", first, &chance)?;
    let common = Common {
        config,
        lake: None,
        base_url: Some(base_url),
        output: Output::Text,
        log_format: LogFormat::Text,
    };
    let setup = Setup::load(&common)?;
    let simulator = Simulator::new(rehearsal::serving(&setup.settings, Vec::new())?, clock);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let server = tokio::spawn(async move { simulator.serve(listener, stopped).await });

    printer.text(&format!(
        "A year of daily and hourly trends of three made-up streams, from a simulator of the API in this process,\n\
         into {}:\n",
        folder.join("lake").display()
    ));
    let streams = setup.streams(&[])?;
    let report = run::reconcile(&setup, &streams, &Scope::default(), false).await?;
    printer.text(&format!("{}\n", run::summary(&report)));
    status::show(&setup, &[], printer).await?;
    stop.cancel();
    let _ = server.await;
    if report.exit_code == crate::report::exit::OK {
        printer.text(&epilogue(folder));
    }
    Ok(report.exit_code)
}

fn epilogue(folder: &std::path::Path) -> String {
    let folder = text::plain(&folder.display().to_string());
    let config = format!("--config {folder}/trendlake.toml");
    let (nothing, width) = ("", config.chars().count());
    format!(
        "
Ask it something, for example with DuckDB:

  duckdb -c \"
    SELECT stream_name, strftime(period_start, '%Y-%m') AS month,
           s.unique_users AS unique_in_month, sum(d.unique_users) AS sum_of_days, s.is_final
    FROM '{folder}/lake/user_engagement_summary/**/*.parquet' s
    JOIN '{folder}/lake/user_engagement_daily/**/*.parquet' d USING (stream_id, stream_name, conversation_type, conversation_status, channel)
    WHERE d.date BETWEEN period_start AND period_end
    GROUP BY ALL ORDER BY ALL\"

The month's unique users are fewer than the days' sum: people come back. Only the API can tell, and
trendlake keeps what it tells.

Go on with it:

  trendlake simulate {config}     # serves the same streams on port 8787
  trendlake plan     {config}     # what a second run would fetch, and why
  trendlake init     {nothing:width$}     # a configuration of your own"
    )
}
