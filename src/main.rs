//! The command. Everything it does is in the library; here a result becomes an exit code.

use std::process::ExitCode;

/// The encoder takes and gives back large blocks for each column of each file. The system's allocator
/// returns them to the kernel each time, which cost a quarter of the exporter's CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    trendlake::cli::main(std::env::args_os()).into()
}
