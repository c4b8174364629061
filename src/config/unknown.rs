//! Keys that mean nothing here: each is reported, with the key that was probably meant.

use serde_json::Value;

use super::raw::Raw;
use super::{Problem, Problems};

/// Reads the tree and reports every key that no setting has.
///
/// # Errors
/// When a whole section has the wrong type, since nothing below it can then be read.
pub(super) fn parse(tree: Value) -> Result<(Raw, Vec<Problem>), Problems> {
    let mut paths = Vec::new();
    let mut collect = |path: serde_ignored::Path<'_>| paths.push(segments(&path));
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(tree, &mut track);
    let raw = serde_ignored::deserialize(deserializer, &mut collect);
    let schema = super::schema();
    let unknown: Vec<_> = paths.iter().map(|path| problem(&schema, path)).collect();
    if let Ok(raw) = raw {
        Ok((raw, unknown))
    } else {
        // serde's own text would quote the value.
        let key = track.path().to_string();
        let hint = Some(format!("begin it with a line `[{key}]`"));
        let section = Problem { key, message: "expected a table".into(), hint };
        Err(Problems(std::iter::once(section).chain(unknown).collect()))
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
