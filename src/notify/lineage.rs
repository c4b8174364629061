//! Events of `OpenLineage` about one run: to an address, into a file, or both.

use std::io::Write;
use std::path::Path;

use serde_json::Value;
use tracing::{debug, warn};

use super::event::{Begun, Nominal};
use super::send::{Message, send, unreadable};
use crate::config::{LineageSettings, Stream};
use crate::export::{self, Context, RunId};
use crate::report::Report;
use crate::secret::SecretRef;

/// Who tells of the run; nobody where the configuration names no place.
pub(super) struct Lineage<'a> {
    context: &'a Context,
    settings: Option<&'a LineageSettings>,
    run: Begun<'a>,
}

impl<'a> Lineage<'a> {
    pub(super) fn new(
        context: &'a Context,
        streams: &'a [Stream],
        run_id: RunId,
        nominal: Option<Nominal>,
    ) -> Self {
        let lake = &context.settings.lake;
        let run = Begun { lake, streams, run_id, nominal };
        Self { context, settings: context.settings.lineage.as_ref(), run }
    }

    /// The run has begun.
    pub(super) async fn begun(&self) {
        if let Some(settings) = self.settings {
            self.tell(settings, &self.run.start(settings)).await;
        }
    }

    /// The run has ended.
    pub(super) async fn ended(&self, result: &Result<Report, export::Error>) {
        if let Some(settings) = self.settings {
            self.tell(settings, &self.run.end(settings, result, self.context.clock.now())).await;
        }
    }

    async fn tell(&self, settings: &LineageSettings, event: &Value) {
        let mut line = serde_json::to_vec(event).expect("an event is JSON");
        if let Some(url) = &settings.url {
            match settings.token.as_ref().map(SecretRef::read).transpose() {
                Ok(token) => {
                    let (url, body) = (url.clone(), Some(line.clone()));
                    send(self.context.http.as_ref(), &Message { whom: "lineage", url, token, body }).await;
                }
                Err(error) => unreadable("lineage", &error),
            }
        }
        if let Some(file) = &settings.file {
            line.push(b'\n');
            match append(file, &line) {
                Ok(()) => debug!("the lineage's file was told"),
                Err(error) => warn!("the lineage's file `{}` was not told: {error}", file.display()),
            }
        }
    }
}

/// Appends a line in one piece, so that those of several processes do not mingle.
fn append(file: &Path, line: &[u8]) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).open(file)?.write_all(line)
}
