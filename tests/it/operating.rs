//! docs/OPERATING.md is right where a machine can tell: its table of sizes, and its exit codes.

use std::path::Path;
use std::time::Duration;

use trendlake::config::RateLimit;
use trendlake::plan::least_time;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The rows of the table with this heading, cell by cell.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_table_of_sizes_is_what_the_plan_computes() {
    let limit = |requests, secs| RateLimit { requests, per: Duration::from_secs(secs) };
    let vendor = [limit(60, 60), limit(1800, 3600)];
    let rows = table(&read("docs/OPERATING.md"), "| months | grains");
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let number = |index: usize| row[index].parse::<u64>().unwrap();
        assert_eq!(number(0) * number(1) * number(2), number(3), "{row:?}");
        let minutes = least_time(number(3), &vendor).as_secs() / 60;
        let told = match minutes / 60 {
            0 => format!("{minutes} min"),
            hours => format!("{hours} h {} min", minutes % 60),
        };
        assert_eq!(row[4], told, "{row:?}");
    }
}

#[test]
fn every_exit_code_is_explained() {
    let sources = read("src/report/mod.rs");
    let codes: Vec<_> = sources
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": u8 = "))
        .map(|(_, code)| code.trim_end_matches(';').to_owned())
        .collect();
    let told: Vec<_> =
        table(&read("docs/OPERATING.md"), "| code |").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(told, codes);
}
