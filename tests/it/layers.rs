//! The layers hold: each module names only modules below it.

use std::path::{Path, PathBuf};

/// Every top-level module with those it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("chance", &[]),
    ("secret", &[]),
    ("model", &[]),
    ("config", &["model", "secret"]),
    ("plan", &["config", "model", "secret"]),
    ("report", &[]),
    ("wording", &[]),
    ("kore", &["chance", "clock", "config", "model", "secret"]),
    ("table", &["config", "model"]),
    ("lake", &["config", "model"]),
    ("sql", &["config", "lake", "model", "table"]),
    ("notify", &["config", "export", "kore", "lake", "model", "plan", "report", "secret", "table"]),
    ("simulator", &["clock", "model", "secret"]),
    (
        "serve",
        &[
            "chance", "clock", "config", "export", "kore", "lake", "model", "notify", "plan", "report",
            "shelf", "table", "wording",
        ],
    ),
    ("shelf", &["clock", "config", "lake", "model", "table"]),
    ("export", &["chance", "clock", "config", "kore", "lake", "model", "plan", "report", "shelf", "table"]),
    (
        "cli",
        &[
            "chance",
            "clock",
            "config",
            "export",
            "kore",
            "lake",
            "model",
            "notify",
            "plan",
            "report",
            "secret",
            "serve",
            "shelf",
            "simulator",
            "sql",
            "table",
            "wording",
        ],
    ),
];

fn sources(module: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = super::support::walk(&root.join(module));
    files.extend(Some(root.join(format!("{module}.rs"))).filter(|p| p.exists()));
    // A test may make up what its subject is handed by others.
    files.retain(|file| !file.to_string_lossy().ends_with("_tests.rs"));
    files
}

/// The top-level modules that a source names by `crate::`.
fn named(text: &str) -> Vec<String> {
    let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::").skip(1).map(word).filter(|w| !w.is_empty()).collect()
}

#[test]
fn a_module_names_only_lower_layers() {
    let mut checked = 0;
    for (module, allowed) in MAY_NAME {
        let files = sources(module);
        assert!(!files.is_empty(), "no source of `{module}`");
        for file in files {
            for name in named(&std::fs::read_to_string(&file).unwrap()) {
                assert!(
                    name == *module || allowed.contains(&name.as_str()),
                    "{} names `{name}`",
                    file.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "only {checked} names were found: the search is broken");
}

#[test]
fn every_module_has_its_place() {
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for line in lib.lines().filter_map(|l| l.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        assert!(MAY_NAME.iter().any(|(m, _)| *m == module), "`{module}` has no place among the layers");
    }
}

#[test]
fn the_search_finds_names() {
    assert_eq!(
        named("use crate::model::Month;\n// crate::no\nfn f() { crate::lake::key() }"),
        ["model", "lake"]
    );
}
