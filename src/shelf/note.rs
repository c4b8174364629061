//! What the lake remembers besides the data, in `lake.json`: in which layout it is kept, and which footers have been
//! looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::newer;
use crate::lake::{self, Commit, Expect, INTERNAL, Lake};
use crate::model::{Groups, Layout};
use crate::table::FORMAT_VERSION;

/// The name of the lake's own note.
const NAME: &str = "lake.json";

/// What the lake remembers besides the data. All but the layout is a shortcut, made anew from the footers when lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    format_version: u32,
    /// By stream id: the settings against which all footers of the stream have been held.
    pub verified: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layout: Option<Noted>,
    /// The layout from which the lake has been moved, as long as objects of it may be left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<Noted>,
}

/// A layout as it is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Noted {
    Stream,
    Packed { groups: u32 },
    Delta,
}

impl Noted {
    fn layout(self) -> Option<Layout> {
        match self {
            Self::Stream => Some(Layout::Stream),
            Self::Packed { groups } => Groups::new(groups).map(Layout::Packed),
            Self::Delta => Some(Layout::Delta),
        }
    }
}

impl From<Layout> for Noted {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Stream => Self::Stream,
            Layout::Packed(groups) => Self::Packed { groups: groups.count() },
            Layout::Delta => Self::Delta,
        }
    }
}

impl Note {
    /// Reads the note. One that is missing or damaged says nothing, which costs one reading of all footers.
    pub(super) async fn read(lake: &Lake) -> Result<Self, lake::Error> {
        let nothing =
            Self { format_version: FORMAT_VERSION, verified: BTreeMap::new(), layout: None, leaving: None };
        let Some(bytes) = lake.read_internal(NAME).await? else { return Ok(nothing) };
        // The version is looked for first: a later version may have changed all the rest.
        let found = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
        let version =
            found.as_ref().and_then(|v| v.get("format_version")).and_then(serde_json::Value::as_u64);
        match version {
            Some(found) if found > u64::from(FORMAT_VERSION) => {
                Err(newer(&format!("{INTERNAL}/{NAME}"), u32::try_from(found).unwrap_or(u32::MAX)))
            }
            _ => {
                let found = found.and_then(|v| serde_json::from_value::<Self>(v).ok());
                // One that names no layout is from before there were others.
                let whole = |note: Self| Self { layout: note.layout.or(Some(Noted::Stream)), ..note };
                Ok(found.map_or(nothing, whole))
            }
        }
    }

    /// Writes the note, whatever is there.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn write(&self, lake: &Lake) -> Result<(), lake::Error> {
        lake.put_internal(NAME, self.bytes().into()).await
    }

    /// Writes the layout down where nothing says which one it is, and gives the one that stands there then: two who
    /// make a lake at once agree on what one of them wrote.
    pub(super) async fn settle(mut self, lake: &Lake, layout: Layout) -> Result<Layout, lake::Error> {
        self.layout = Some(layout.into());
        let put = lake.commit(&format!("{INTERNAL}/{NAME}"), self.bytes().into(), Expect::Absent).await;
        if let Ok(Commit::Done) = put {
            return Ok(layout);
        }
        if let Some(layout) = Self::read(lake).await?.layout() {
            return Ok(layout);
        }
        put?;
        self.write(lake).await?;
        Ok(layout)
    }

    /// The layout of the lake, where it is known.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.layout.and_then(Noted::layout)
    }

    /// The layout of which objects may be left.
    #[must_use]
    pub fn leaving(&self) -> Option<Layout> {
        self.leaving.and_then(Noted::layout)
    }

    /// The note of a lake whose footers are to be looked at anew.
    pub(super) fn forgetful(self) -> Self {
        Self { verified: BTreeMap::new(), ..self }
    }

    /// The note of a lake that is in this layout, and was in that one.
    pub(super) fn moved(self, layout: Layout, leaving: Option<Layout>) -> Self {
        Self { layout: Some(layout.into()), leaving: leaving.map(Into::into), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a note of texts is JSON")
    }
}
