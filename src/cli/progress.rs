//! The progress display on a terminal: units done, rows, requests per second, what is waited for.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::args::{Common, Output};
use super::text;
use crate::export::Observer;
use crate::kore::Traffic;
use crate::report::{Outcome, UnitReport};

/// All that is drawn on the terminal.
static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Whether a display is drawn: on a terminal, for people.
pub(super) fn is_shown(common: &Common) -> bool {
    common.output == Output::Text && std::io::stderr().is_terminal()
}

/// Does something to the terminal with the display out of the way.
pub(super) fn aside(work: impl FnOnce()) {
    SCREEN.suspend(work);
}

/// The display of one run.
pub(super) struct Progress {
    bar: ProgressBar,
    rows: Arc<AtomicU64>,
}

impl Progress {
    /// A display for a run over this traffic. Nothing is drawn before [`Progress::begin`].
    pub(super) fn new(traffic: Arc<Traffic>, shown: bool) -> Self {
        let rows = Arc::new(AtomicU64::new(0));
        let bar = if shown { SCREEN.add(ProgressBar::no_length()) } else { ProgressBar::hidden() };
        let shown_rows = rows.clone();
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} units  {detail}  ETA {eta}")
            .expect("the template is well formed")
            .with_key("detail", move |state: &ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = w.write_str(&detail(state, &traffic, shown_rows.load(Ordering::Relaxed)));
            });
        bar.set_style(style);
        Self { bar, rows }
    }

    /// Draws the display, from nothing to `units`.
    pub(super) fn begin(&self, units: u64) {
        self.bar.set_length(units);
        self.bar.enable_steady_tick(Duration::from_millis(250));
    }

    /// Clears the display away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn detail(state: &ProgressState, traffic: &Traffic, rows: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let per_second = traffic.requests() as f64 / state.elapsed().as_secs_f64().max(0.001);
    let waiting = match traffic.waiting() {
        0 => String::new(),
        n => format!("  {} waiting for the rate limit", text::count(n, "stream")),
    };
    format!("{} rows  {per_second:.1} requests/s{waiting}", text::number(rows))
}

impl Observer for Progress {
    fn unit_done(&self, unit: &UnitReport) {
        if let Outcome::Committed { rows, .. } = &unit.outcome {
            self.rows.fetch_add(*rows, Ordering::Relaxed);
        }
        self.bar.inc(1);
    }
}
