//! The documents hold: what they promise has a test, and what has a test is promised.

use std::collections::BTreeSet;
use std::path::Path;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The numbers of the faults that some test is named after.
fn tested() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests"].into_iter().flat_map(|folder| super::support::walk(&root.join(folder)));
    let sources = files.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let texts = sources.map(|path| std::fs::read_to_string(path).unwrap());
    let numbers = |text: String| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn fault_"))
            .map(|rest| rest[..2].to_owned())
            .collect()
    };
    texts.flat_map(numbers).collect()
}

#[test]
fn every_fault_in_the_table_has_a_test_and_the_other_way_round() {
    let text = read("docs/RELIABILITY.md");
    let table = text.split("\n## Faults\n").nth(1).unwrap();
    let row = |line: &str| Some(line.strip_prefix("| ")?.split_once(" | ")?.0.to_owned());
    let is_number = |cell: &String| cell.bytes().all(|b| b.is_ascii_digit());
    let promised: BTreeSet<_> = table.lines().filter_map(row).filter(is_number).collect();
    assert_eq!(promised, tested());
    assert!(promised.len() > 50, "{promised:?}");
}

#[test]
fn every_planted_mistake_is_in_the_document() {
    let text = read("docs/RELIABILITY.md");
    let defects = read("tests/planted/defects.toml");
    let names: Vec<_> = defects.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("- `{}`: ", name.trim_matches('"'))), "{name} is not told of");
    }
}
