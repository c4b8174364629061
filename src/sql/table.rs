//! A dataset as every engine is told of it, and how its files are found.

use arrow::datatypes::{DataType, FieldRef, Schema};

use crate::lake::Tree;
use crate::model::{Dataset, RESTATEMENTS};
use crate::table;

/// The schema, or database, in which every engine keeps the tables.
pub(super) const SCHEMA: &str = "trendlake";

/// What every script says first.
pub(super) const NOT_ADDITIVE: &str = "Unique and returning users do not add up over rows, days or slices: one person counts once in each. \
     A month's are in user_engagement_summary, from a request over the whole month, and never a sum of days.";

/// A dataset, or the restatements.
pub(super) struct Table {
    pub name: &'static str,
    pub comment: String,
    pub columns: Vec<Column>,
    /// The columns of which no two rows have the same.
    pub key: Vec<&'static str>,
    /// The column that says since when a row is there.
    pub loaded_at: &'static str,
    /// Its folder, relative to the lake's root.
    pub folder: String,
    /// What finds its files, or the folder of a Delta table, relative to the lake's root.
    pub glob: String,
    /// How its layout names its folders; nothing of a Delta table, whose log tells engines which files count.
    tree: Option<Tree>,
}

/// A column of the files.
#[derive(Clone)]
pub(super) struct Column {
    pub name: String,
    pub data_type: DataType,
    pub is_nullable: bool,
    pub is_additive: bool,
    pub comment: String,
}

impl Table {
    pub(super) fn of(dataset: Dataset, tree: Option<Tree>) -> Self {
        let folder = tree.map_or_else(|| dataset.to_string(), |tree| tree.folder(dataset));
        Self {
            name: dataset.as_str(),
            comment: format!("{}. {NOT_ADDITIVE}", table::about(dataset)),
            columns: columns(&table::schema(dataset)),
            key: [&["stream_id"], table::sort_columns(dataset)].concat(),
            loaded_at: "fetched_at",
            glob: tree.map_or_else(|| folder.clone(), |tree| tree.glob(dataset)),
            folder,
            tree,
        }
    }

    /// The figures that have changed after their time. No row of it is settled or not.
    pub(super) fn restatements() -> Self {
        Self {
            name: RESTATEMENTS,
            comment: format!(
                "Figures that have changed after their day or hour was over: one row per figure and change. {NOT_ADDITIVE}"
            ),
            columns: columns(&table::restatement_schema()),
            key: [&["stream_id", "grain"], &table::RESTATEMENT_SORT[..]].concat(),
            loaded_at: "restated_at",
            folder: RESTATEMENTS.to_owned(),
            glob: Tree::restatement_glob(),
            tree: Some(Tree::BY_STREAM),
        }
    }

    /// Whether its rows say whether they have settled.
    pub(super) fn has_final(&self) -> bool {
        self.columns.iter().any(|column| column.name == "is_final")
    }

    /// Its name within the schema.
    pub(super) fn path(&self) -> String {
        format!("{SCHEMA}.{}", self.name)
    }

    /// Whether a log tells which files count.
    pub(super) const fn is_delta(&self) -> bool {
        self.tree.is_none()
    }

    /// The columns that the folders stand for and the files lack: an engine that is asked for some of their values
    /// opens only the files of these.
    pub(super) fn folders(&self) -> impl Iterator<Item = Column> + use<> {
        let folders = match self.tree {
            Some(tree) => tree.folders.map(|(name, comment)| (name, DataType::Utf8, comment)).to_vec(),
            None => vec![("month", DataType::Date32, "first day of the month")],
        };
        folders.into_iter().map(|(name, data_type, comment)| Column {
            name: name.into(),
            data_type,
            is_nullable: false,
            is_additive: true,
            comment: comment.into(),
        })
    }

    /// The columns of the files, and those that the folders stand for.
    pub(super) fn with_folders(&self) -> Vec<Column> {
        self.columns.iter().cloned().chain(self.folders()).collect()
    }

    /// One line for each column, or for each of other columns.
    pub(super) fn lines(columns: &[Column], line: impl Fn(&Column) -> String) -> String {
        columns.iter().map(|column| format!("    {}", line(column))).collect::<Vec<_>>().join(",\n")
    }
}

/// The columns of the files.
fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &FieldRef| Column {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        is_nullable: field.is_nullable(),
        is_additive: !field.metadata().contains_key("trendlake.additive"),
        comment: field.metadata().get("comment").cloned().unwrap_or_default(),
    };
    schema.fields().iter().map(column).collect()
}

/// An engine's names of the types.
pub(super) struct Types {
    pub text: &'static str,
    pub date: &'static str,
    pub small: &'static str,
    pub count: &'static str,
    pub average: &'static str,
    pub flag: &'static str,
    pub instant: &'static str,
}

impl Types {
    pub(super) fn of(&self, data_type: &DataType) -> &'static str {
        match data_type {
            DataType::Utf8 => self.text,
            DataType::Date32 => self.date,
            DataType::Int8 => self.small,
            DataType::Int64 => self.count,
            DataType::Float64 => self.average,
            DataType::Boolean => self.flag,
            DataType::Timestamp(..) => self.instant,
            other => unreachable!("no dataset has a column of type {other}"),
        }
    }
}

/// A literal of SQL as the standard has it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A literal where a backslash is an escape.
pub(super) fn escaped(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
