//! The command line: arguments in, text or JSON out, an exit code at the end.
//!
//! Results go to stdout, everything else to stderr. `main` of the binary calls [`main`] and does
//! nothing else.

mod accept;
mod args;
mod backfill_range;
mod calendar;
mod changes;
mod completions;
mod demo;
mod doctor;
mod failure;
mod init;
mod lateness;
mod logging;
mod migrate;
#[cfg(feature = "otlp")]
mod otlp;
mod plan;
mod printer;
mod progress;
mod rehearsal;
mod run;
mod serve;
mod signals;
mod simulate;
mod sql;
mod status;
mod text;
mod vacuum;
mod validate;
mod verify;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use clap::Parser;
use tracing::{info, warn};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Settings, Stream};
use crate::lake::Lake;
use crate::model::Layout;
use crate::shelf::Shelf;
use args::{Args, Command, Common, Share};
use failure::Failure;
use printer::Printer;

/// Carries out one command line, the program's name first, and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    or_bug(|| carry_out(arguments))
}

/// The exit code of a command, also of one that panics where nothing below catches it: Rust's own code for
/// that, 101, says nothing to a scheduler. The panic has told its text by then.
fn or_bug(command: impl FnOnce() -> u8) -> u8 {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or(crate::report::exit::BUG)
}

fn carry_out(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are results, the rest is misuse; clap knows which is which.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(crate::report::exit::USAGE);
        }
    };
    let printer = Printer::new(args.common.output);
    let result = match args.command {
        Command::Init(command) => init::init(&command, &args.common.config, &printer),
        Command::Validate => validate::validate(&args.common, &printer),
        Command::Sql(command) => sql::sql(&command, &args.common, &printer),
        Command::Schema => {
            printer.json(&crate::config::schema());
            Ok(crate::report::exit::OK)
        }
        Command::Completions(command) => {
            completions::completions(&command, &printer);
            Ok(crate::report::exit::OK)
        }
        command => asynchronous(command, &args.common, &printer),
    };
    result.unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit_code
    })
}

/// How many file operations go on at once.
const FILE_THREADS: usize = 4;

/// Commands that talk to the API or the lake.
fn asynchronous(command: Command, common: &Common, printer: &Printer) -> Result<u8, Failure> {
    let _log = logging::start(common, matches!(command, Command::Demo(_)));
    // One thread for everything but files: what takes time is the vendor's rate limit, and to answer
    // a month costs less than a millisecond of work. More threads cost wake-ups and memory.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Each file operation is handed to a thread of this pool. By default it grows to hundreds of
        // threads, each with memory of its own, to wait for one disk.
        .max_blocking_threads(FILE_THREADS)
        .build()
        .map_err(|e| Failure::bug(format!("the runtime cannot start: {e}")))?;
    let result = runtime.block_on(async {
        match command {
            Command::Doctor(selection) => doctor::doctor(common, &selection, printer).await,
            Command::Plan(command) => plan::plan(common, &command, printer).await,
            Command::Run(command) => run::run(common, &command, printer).await,
            Command::Replay(command) => run::replay(common, &command, printer).await,
            Command::Backfill(command) => run::backfill(common, &command, printer).await,
            Command::Status(command) => status::status(common, &command, printer).await,
            Command::Changes(command) => changes::changes(common, &command, printer).await,
            Command::Serve => serve::serve(common, printer).await,
            Command::Verify(selection) => verify::verify(common, &selection, printer).await,
            Command::Repair(selection) => verify::repair(common, &selection, printer).await,
            Command::Accept(command) => accept::accept(common, &command, printer).await,
            Command::Migrate => migrate::migrate(common, printer).await,
            Command::Vacuum(command) => vacuum::vacuum(&command, common, printer).await,
            Command::Simulate(command) => simulate::simulate(common, command, printer).await,
            Command::Demo(command) => demo::demo(&command, printer).await,
            Command::Init(_)
            | Command::Validate
            | Command::Sql(_)
            | Command::Schema
            | Command::Completions(_) => {
                unreachable!("handled without a runtime")
            }
        }
    });
    // Whatever still runs after a second signal is not waited for.
    runtime.shutdown_background();
    result
}

/// What most commands begin with.
struct Setup {
    settings: Arc<Settings>,
    clock: Clock,
    chance: Chance,
}

impl Setup {
    fn load(common: &Common) -> Result<Self, Failure> {
        let settings = Settings::load(&common.sources()).map_err(|problems| Failure::config(&problems))?;
        Ok(Self { settings: Arc::new(settings), clock: Clock::system(), chance: Chance::from_os() })
    }

    /// The streams with these names or ids; all of them where none is named.
    fn streams(&self, wanted: &[String]) -> Result<Vec<Stream>, Failure> {
        let streams = &self.settings.streams;
        let known = |w: &str| streams.iter().any(|s| s.name == w || s.id.as_str() == w);
        if let Some(unknown) = wanted.iter().find(|w| !known(w)) {
            let names: Vec<_> = streams.iter().take(20).map(|s| format!("`{}`", s.name)).collect();
            return Err(Failure::usage(
                format!("there is no stream `{unknown}`"),
                format!("the configuration has {}", names.join(", ")),
            ));
        }
        let is_wanted =
            |s: &&Stream| wanted.is_empty() || wanted.iter().any(|w| s.name == *w || s.id.as_str() == w);
        Ok(streams.iter().filter(is_wanted).cloned().collect())
    }

    /// The lake's partitions, for whoever only reads.
    async fn shelf(&self) -> Result<Shelf, Failure> {
        Ok(Shelf::open(Lake::open(&self.settings.lake)?, &self.settings, &self.clock).await?)
    }

    /// The streams of a share; none where there are fewer streams than processes and it comes out so. Streams that
    /// share objects go to one process together.
    async fn share(&self, share: &Share) -> Result<Vec<Stream>, Failure> {
        let mut streams = self.streams(&share.selection.streams)?;
        if let Some(shard) = share.shard {
            match self.shelf().await?.layout() {
                Layout::Stream | Layout::Delta => streams.retain(|stream| shard.holds(&stream.id)),
                Layout::Packed(groups) => {
                    if shard.count() > groups.count() {
                        warn!(%shard, groups = groups.count(), "more shards than groups of streams: some get none");
                    }
                    streams.retain(|stream| shard.holds(groups.of(&stream.id)));
                }
            }
            info!(%shard, streams = streams.len(), "a share of the streams");
        }
        Ok(streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_50_a_panic_that_nothing_else_catches() {
        assert_eq!(or_bug(|| panic!("a bug")), crate::report::exit::BUG);
        assert_eq!(or_bug(|| 12), 12);
    }
}
