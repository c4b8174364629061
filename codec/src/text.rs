//! Columns of texts that say the same in every row.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::ArrowNativeType;

use crate::memory::Memory;

/// The largest column in bytes that is remembered: more than a month of hours takes that all say a name of eighty bytes.
const LARGEST: usize = 64 * 1024;

/// Some for each of the streams that are under way.
static KNOWN: LazyLock<Memory<Box<str>, StringArray, 32>> = LazyLock::new(Memory::default);

/// A column with this text in every row. Most files of a stream have the same ones: what was made lately is shared,
/// unless it is large.
#[must_use]
pub fn repeated(text: &str, rows: usize) -> ArrayRef {
    if rows * (text.len() + size_of::<i32>()) > LARGEST {
        return Arc::new(StringArray::new_repeated(text, rows));
    }
    let column = KNOWN.get(text).filter(|column| column.len() >= rows).unwrap_or_else(|| {
        let column = StringArray::new_repeated(text, rows);
        KNOWN.put(text.into(), column.clone());
        column
    });
    Arc::new(column.slice(0, rows))
}

/// The text that stands in every row.
pub(crate) fn only_text(texts: &StringArray) -> Option<&str> {
    let first = (!texts.is_empty() && texts.null_count() == 0).then(|| texts.value(0))?;
    if KNOWN.get(first).is_some_and(|column| is_start(texts, &column)) {
        return Some(first);
    }
    let (offsets, step) = (texts.offsets(), i32::try_from(first.len()).ok()?);
    let bytes = &texts.values()[offsets[0].as_usize()..offsets[texts.len()].as_usize()];
    // Texts of one length, each of which is the one before.
    let is_only = offsets.windows(2).all(|ends| ends[1] - ends[0] == step)
        && bytes[first.len()..] == bytes[..bytes.len() - first.len()];
    is_only.then_some(first)
}

/// Whether these are the first rows of the column: not as they read, but the same place in memory.
fn is_start(texts: &StringArray, column: &StringArray) -> bool {
    texts.len() <= column.len()
        && texts.offsets().as_ptr() == column.offsets().as_ptr()
        && texts.values().as_ptr() == column.values().as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    #[test]
    fn a_repeated_text_is_what_it_says_however_many_rows_it_had_before() {
        for (text, rows) in
            [("one", 31), ("one", 744), ("one", 3), ("", 5), ("one", 100_000), ("two", 0), ("two", 1)]
        {
            let column = repeated(text, rows);
            let texts: &StringArray = column.as_string();
            assert_eq!(texts, &StringArray::from(vec![text; rows]));
            assert_eq!(only_text(texts), (rows > 0).then_some(text));
        }
    }

    #[test]
    fn a_text_is_the_only_one_if_no_other_stands_beside_it() {
        let _known = repeated("a", 3);
        assert_eq!(only_text(&StringArray::from(vec!["a", "a"])), Some("a"));
        for texts in [vec![Some("a"), Some("b")], vec![Some("a"), Some("aa")], vec![Some("a"), None], vec![]]
        {
            assert_eq!(only_text(&StringArray::from(texts)), None);
        }
        let texts = StringArray::from(vec!["a", "b", "b"]);
        assert_eq!(only_text(&texts.slice(1, 2)), Some("b"));
    }
}
