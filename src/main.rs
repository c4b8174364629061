//! The command. Everything it does is in the library; here a result becomes an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    trendlake::cli::main(std::env::args_os()).into()
}
