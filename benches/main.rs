//! Benchmarks: the steps of the work, timed by divan, and the floors under the whole program, which
//! `benches/export.py` calls. One executable, since each takes minutes to link.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::print_stdout, reason = "its result")]

mod common;
mod floors;
mod steps;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode, config, from, to] if ["network", "compute"].contains(&mode.as_str()) => {
            floors::measure(mode, config, from, to);
        }
        _ => divan::main(),
    }
}
