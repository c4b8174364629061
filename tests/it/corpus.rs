//! The fuzzer's properties, held by every file of its corpora; each corpus grows with what it finds.

use std::path::Path;

#[path = "../../fuzz/properties.rs"]
mod properties;

#[test]
fn every_file_of_the_corpora_holds_its_property() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, property) in properties::ALL {
        let files = super::support::walk(&fuzz.join("corpus").join(name));
        assert!(files.len() >= 8, "the corpus of `{name}` has {} files", files.len());
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            let held = std::panic::catch_unwind(|| property(&bytes));
            assert!(held.is_ok(), "`{name}` does not hold for {}", file.display());
        }
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "`{name}` is not fuzzed");
    }
}
