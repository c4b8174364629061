//! What is printed: statements with remarks, or a document.

use std::fmt;

use serde::Serialize;

/// What an engine has to be told.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Script {
    /// SQL.
    Statements(Statements),
    /// A file's content.
    Document {
        /// The whole of it.
        document: String,
    },
}

/// Statements without their semicolons.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Statements {
    /// What a person has to know, one line each.
    pub notes: Vec<String>,
    /// What makes the tables and views. It can be carried out again.
    pub setup: Vec<String>,
    /// What makes the rows of a run visible, where they are not so by themselves.
    pub after_each_run: Vec<String>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statements(statements) => statements.fmt(f),
            Self::Document { document } => f.write_str(document),
        }
    }
}

impl fmt::Display for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.notes.iter().flat_map(|note| wrapped(note)) {
            writeln!(f, "-- {line}")?;
        }
        for statement in &self.setup {
            write!(f, "\n{statement};\n")?;
        }
        if !self.after_each_run.is_empty() {
            write!(f, "\n-- After each run.\n")?;
        }
        for statement in &self.after_each_run {
            write!(f, "\n{statement};\n")?;
        }
        Ok(())
    }
}

/// The longest line of a remark.
const WIDTH: usize = 100;

fn wrapped(text: &str) -> Vec<String> {
    text.split(' ').fold(vec![String::new()], |mut lines, word| {
        match lines.last_mut() {
            Some(line) if line.is_empty() => word.clone_into(line),
            Some(line) if line.len() + word.len() < WIDTH => *line = format!("{line} {word}"),
            _ => lines.push(word.to_owned()),
        }
        lines
    })
}
