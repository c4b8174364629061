//! What files say of themselves, in the log as well: as tags of the actions that add them.
//!
//! The kernel writes none. So they are put into the text that it has made of a version, before that is put into the lake.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::table::Footer;

/// The text of a version, in which files have what their footers say, by path, for tags.
pub(super) fn tagged(version: &[u8], footers: &BTreeMap<&str, &Footer>) -> serde_json::Result<Bytes> {
    let mut text = Vec::with_capacity(2 * version.len());
    for line in version.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match with_tags(line, footers)? {
            Some(action) => serde_json::to_writer(&mut text, &action)?,
            None => text.extend_from_slice(line),
        }
        text.push(b'\n');
    }
    Ok(text.into())
}

/// An action as it is to be written; nothing where it stays as it is.
fn with_tags(
    line: &[u8],
    footers: &BTreeMap<&str, &Footer>,
) -> serde_json::Result<Option<Map<String, Value>>> {
    let mut action: Map<String, Value> = serde_json::from_slice(line)?;
    if let Some(Value::Object(add)) = action.get_mut("add") {
        let path = add.get("path").and_then(Value::as_str);
        let Some(footer) = path.and_then(|path| footers.get(path)) else { return Ok(None) };
        let tags: Map<_, _> = footer.entries().map(|(key, value)| (key, Value::from(value))).collect();
        add.insert("tags".into(), tags.into());
        return Ok(Some(action));
    }
    // What is taken out would keep its tags in the log for a week, and nobody asks for them.
    let is_shorter = |action: &mut Value| action.as_object_mut()?.remove("tags");
    Ok(action.get_mut("remove").and_then(is_shorter).is_some().then_some(action))
}
