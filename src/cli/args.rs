//! The arguments, as clap reads them.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::Sources;
use crate::model::Shard;
use crate::simulator::FaultRule;
use crate::sql::Engine;

/// Exports the user-engagement trends of Kore.ai apps to partitioned Parquet, and keeps them right.
#[derive(Debug, Parser)]
#[command(name = "trendlake", version, max_term_width = 100, arg_required_else_help = true)]
pub(super) struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "TRENDLAKE_CONFIG",
        default_value = "trendlake.toml"
    )]
    pub config: PathBuf,
    /// Use this lake instead of the configured one.
    #[arg(long, global = true, value_name = "URL")]
    pub lake: Option<String>,
    /// Ask this server instead of the configured ones, such as a simulator.
    #[arg(long, global = true, value_name = "URL")]
    pub base_url: Option<String>,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// How the log on stderr is written.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

impl Common {
    /// Where the settings come from.
    pub(super) fn sources(&self) -> Sources {
        Sources { file: self.config.clone(), lake: self.lake.clone(), base_url: self.base_url.clone() }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a commented starter configuration.
    Init(Init),
    /// Check the configuration and report every problem in it.
    Validate,
    /// Try everything a run needs: tokens, one day per stream, the clock, the lake.
    Doctor(Selection),
    /// Show what a run would do: units with reasons, requests, and the least time they take.
    Plan(Plan),
    /// Bring the lake up to date, then exit.
    Run(Run),
    /// Fetch a range of months, also before a stream's first date.
    Backfill(Backfill),
    /// Show what the lake holds: a calendar per stream.
    Status(Status),
    /// Show which objects have been written since a run, for a loader that loads only these.
    Changes(Changes),
    /// Stay, and run on the configured schedule; show health, metrics and how it goes over HTTP.
    Serve,
    /// Read every object of the lake back, and report what is damaged, missing or foreign.
    Verify(Selection),
    /// Fetch again what `verify` finds damaged or missing.
    ///
    /// What is replaced is kept under `_trendlake/damaged/`. Foreign files are left alone.
    Repair(Selection),
    /// Put a parked answer in its place.
    ///
    /// An answer is parked when it has lost all users of settled days. Accepting it says that its figures
    /// are right, such as past the vendor's retention.
    Accept(Accept),
    /// Move the lake into the configured layout.
    ///
    /// What is there is copied, then the lake is switched over, then the old objects are removed. A migration that
    /// was cut short goes on where it was. Nothing else may write to the lake meanwhile.
    Migrate,
    /// Make partitions that are missing or of an older format from raw answers, without a request.
    ///
    /// Raw answers are kept under `_trendlake/raw/` of streams with `keep_raw = true`. An older answer never
    /// replaces a newer one.
    Replay(Replay),
    /// Remove what counts no more: raw answers that newer ones have replaced, and old files of Delta tables.
    ///
    /// A version of a table that replaces a month leaves its old file in the table's folder, for readers under way and
    /// for time travel. What no version has named for a while is removed here.
    Vacuum(Vacuum),
    /// Print what makes an engine or a warehouse read the lake: tables, views, comments.
    ///
    /// Nothing is looked up in the lake, and nothing is sent anywhere. docs/WAREHOUSE.md has a recipe for each.
    Sql(Sql),
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// Serve a stand-in of the API, to try things without credentials.
    Simulate(Simulate),
    /// See it work: export a year of three made-up streams into `./trendlake-demo`.
    Demo(Demo),
    /// Print a completion script for a shell.
    Completions(Completions),
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// Where to write it; by default where `--config` says.
    pub path: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// Only this stream, by name or id. Can be given several times.
    #[arg(long = "stream", short, value_name = "NAME")]
    pub streams: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Changes {
    /// A run's id, which the last call has said to continue with, or a time such as 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "RUN|TIME")]
    pub since: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub selection: Selection,
    /// Show instead how late figures still change, and which `settle_days` would cover that.
    #[arg(long)]
    pub restatements: bool,
}

/// The streams of one process among several.
#[derive(Debug, clap::Args)]
pub(super) struct Share {
    #[command(flatten)]
    pub selection: Selection,
    /// Of these streams, only the share of process I, from 0, of N that run side by side.
    ///
    /// Each stream falls to exactly one of them. A folder has room for one process at a time, so this is
    /// for a lake on an object store.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub share: Share,
}

#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    #[command(flatten)]
    pub share: Share,
    /// Plan a backfill from this month on.
    #[arg(long, value_name = "YYYY-MM")]
    pub from: Option<String>,
    /// Plan a backfill up to this month, inclusive.
    #[arg(long, value_name = "YYYY-MM")]
    pub to: Option<String>,
    /// Plan to fetch final months again.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Backfill {
    #[command(flatten)]
    pub share: Share,
    /// The first month, as `YYYY-MM`; a date stands for its month.
    #[arg(long, value_name = "YYYY-MM")]
    pub from: String,
    /// The last month, inclusive. Without it, the current one.
    #[arg(long, value_name = "YYYY-MM")]
    pub to: Option<String>,
    /// Fetch months again that are final.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    pub selection: Selection,
    /// The first month, as `YYYY-MM`; a date stands for its month.
    #[arg(long, value_name = "YYYY-MM")]
    pub from: Option<String>,
    /// The last month, inclusive. Without it, the current one.
    #[arg(long, value_name = "YYYY-MM")]
    pub to: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Accept {
    /// The partition, as `status` lists it. The answer's other partitions go with it.
    #[arg(required = true, value_name = "PARTITION")]
    pub partitions: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Sql {
    /// Who reads.
    pub engine: Engine,
    /// Where the engine finds the lake, without a configuration: a folder, or an `s3`, `gs`, `az` or `abfss`
    /// URL.
    #[arg(long, value_name = "URL", conflicts_with = "lake")]
    pub location: Option<String>,
    /// The lake at that location is in the layout `packed`.
    #[arg(long, requires = "location")]
    pub packed: bool,
    /// The lake at that location is kept as Delta tables.
    #[arg(long, requires = "location", conflicts_with = "packed")]
    pub delta: bool,
    /// Also the table of figures that have changed after their day or hour was over. Some engines fail
    /// while the lake has none.
    #[arg(long)]
    pub restatements: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Vacuum {
    /// For how long a table's files are kept after they have ceased to count, and with them the versions that name them.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub retention: humantime::Duration,
    /// Only tell what would be removed.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// The port to listen on, on the loopback address; 0 takes a free one.
    #[arg(long, default_value_t = 8787)]
    pub port: u16,
    /// Make up this many streams and write a configuration for them to the folder `--write`.
    /// Without it, the streams of the configuration are served.
    #[arg(long, value_name = "N", requires = "write")]
    pub streams: Option<usize>,
    /// Where to write the configuration of made-up streams.
    #[arg(long, value_name = "FOLDER", requires = "streams")]
    pub write: Option<PathBuf>,
    /// Answer as fast as possible: no rate limits.
    #[arg(long)]
    pub no_limits: bool,
    /// Wait this many milliseconds before each answer.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// For how many days a day's figures still grow.
    #[arg(long, value_name = "DAYS", default_value_t = 2)]
    pub restate_days: u16,
    /// Do something wrong: `name[@stream][:rate=0.1][:first=3]`. Can be given several times;
    /// `--fault help` lists the names.
    #[arg(long = "fault", value_name = "RULE", value_parser = fault)]
    pub faults: Vec<FaultRule>,
}

fn fault(text: &str) -> Result<FaultRule, String> {
    if text == "help" {
        let lines: Vec<_> = crate::simulator::Fault::ALL
            .iter()
            .map(|f| format!("  {:<24} {}", f.name(), f.about()))
            .collect();
        return Err(format!("the faults are\n{}", lines.join("\n")));
    }
    text.parse().map_err(|e: crate::simulator::InvalidFaultRule| e.to_string())
}

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Where to put the demo's configuration and lake.
    #[arg(default_value = "trendlake-demo")]
    pub folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}
