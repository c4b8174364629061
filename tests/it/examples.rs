//! Every configuration that is shipped can be loaded.

use std::path::Path;

use super::support::{program, walk};

#[test]
fn shipped_configurations_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files: Vec<_> =
        walk(&root).into_iter().filter(|f| f.extension().is_some_and(|e| e == "toml")).collect();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("trendlake.toml");
        std::fs::copy(&file, &copy).unwrap();
        std::fs::create_dir(dir.path().join("secrets")).unwrap();
        for name in ["support", "sales", "bank.pem"] {
            std::fs::write(dir.path().join("secrets").join(name), "made-up").unwrap();
        }
        let output = program()
            .args(["validate", "--config"])
            .arg(&copy)
            .envs([
                ("SUPPORT_CLIENT_SECRET", "made-up"),
                ("HR_CLIENT_SECRET", "made-up"),
                ("SALES_CLIENT_SECRET", "made-up"),
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
}
