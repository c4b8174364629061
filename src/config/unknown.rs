//! Keys that mean nothing here: each is reported, with the key that was probably meant.

use serde_json::Value;

use super::Problem;
use super::raw::Raw;

/// The sections of the file, each a table.
const SECTIONS: [&str; 6] = ["lake", "defaults", "streams", "http", "retry", "concurrency"];

/// Reads the tree and reports every key that no setting has, and every section that is no table.
pub(super) fn parse(mut tree: Value) -> (Raw, Vec<Problem>) {
    let mut problems = Vec::new();
    for section in SECTIONS {
        require_table(&mut tree, &[section], &mut problems);
    }
    require_table(&mut tree, &["lake", "options"], &mut problems);
    let names: Vec<String> = tree
        .get("streams")
        .and_then(Value::as_object)
        .map(|s| s.keys().cloned().collect())
        .unwrap_or_default();
    for name in &names {
        require_table(&mut tree, &["streams", name], &mut problems);
    }
    let mut paths = Vec::new();
    let raw = serde_ignored::deserialize(tree, |path: serde_ignored::Path<'_>| paths.push(segments(&path)));
    let schema = super::schema();
    problems.extend(paths.iter().map(|path| problem(&schema, path)));
    (raw.expect("tables of lenient values take anything"), problems)
}

/// Replaces what is no table by an empty one, and says so.
fn require_table(tree: &mut Value, path: &[&str], problems: &mut Vec<Problem>) {
    let place = path.iter().try_fold(tree, |node, key| node.get_mut(key));
    if let Some(value) = place.filter(|value| !value.is_object()) {
        *value = Value::Object(serde_json::Map::new());
        let key = path.join(".");
        let hint = Some(format!("begin it with a line `[{key}]`"));
        problems.push(Problem { key, message: "expected a table".into(), hint });
    }
}

fn segments(path: &serde_ignored::Path<'_>) -> Vec<String> {
    use serde_ignored::Path;
    match path {
        Path::Root => Vec::new(),
        Path::Seq { parent, index } => [segments(parent), vec![index.to_string()]].concat(),
        Path::Map { parent, key } => [segments(parent), vec![key.clone()]].concat(),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            segments(parent)
        }
    }
}

fn problem(schema: &Value, path: &[String]) -> Problem {
    let (key, parents) = path.split_last().map_or(("", path), |(key, parents)| (key.as_str(), parents));
    let hint = if matches!(key, "client_secret" | "private_key" | "secret") {
        Some(
            "a secret is given by reference: `client_secret_file`, `client_secret_env` or `private_key_file`"
                .into(),
        )
    } else {
        let known = known_keys(schema, parents);
        let near =
            known.iter().max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
        match near.filter(|near| strsim::jaro_winkler(near, key) > 0.8) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if known.is_empty() => None,
            None => Some(format!(
                "known keys here: {}",
                known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
            )),
        }
    };
    Problem { key: path.join("."), message: "unknown key".into(), hint }
}

/// The keys that the schema knows in the table at `path`.
fn known_keys(schema: &Value, path: &[String]) -> Vec<String> {
    let resolve = |node: &Value| match node.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).cloned().unwrap_or_default(),
        None => node.clone(),
    };
    let mut node = schema.clone();
    for segment in path {
        let next =
            node.get("properties").and_then(|p| p.get(segment)).or_else(|| node.get("additionalProperties"));
        node = next.map(resolve).unwrap_or_default();
    }
    node.get("properties").and_then(Value::as_object).map(|p| p.keys().cloned().collect()).unwrap_or_default()
}
