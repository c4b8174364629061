//! `trendlake validate`: every problem of the configuration, or what it says.

use serde_json::json;

use super::args::Common;
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::config::Stream;
use crate::model::UnitKind;
use crate::plan::{daily_budget, upkeep};
use crate::report::exit;

/// At a run an hour.
const RUNS_A_DAY: u64 = 24;

pub(super) fn validate(common: &Common, printer: &Printer) -> Result<u8, Failure> {
    let settings = Setup::load(common)?.settings;
    let streams: Vec<_> = settings
        .streams
        .iter()
        .map(|s| {
            json!({
                "name": s.name,
                "id": s.id.as_str(),
                "base_url": s.base_url.as_str(),
                "zone": s.zone.name(),
                "first_date": s.first_date,
                "grains": s.grains.iter().map(|g| g.as_str()).collect::<Vec<_>>(),
                "slices": s.slices.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "periods": s.periods.iter().map(|p| p.as_str()).collect::<Vec<_>>(),
                "settle_days": s.settle_days,
            })
        })
        .collect();
    let warnings: Vec<_> = settings.streams.iter().filter_map(too_dear).collect();
    let value =
        json!({ "lake": settings.lake.location.to_string(), "streams": streams, "warnings": warnings });
    printer.result(&value, || {
        let mut lines = vec![format!("{} is valid", common.config.display())];
        lines.push(format!("lake: {}", settings.lake.location));
        for s in &settings.streams {
            let kinds: Vec<_> = s.unit_kinds().map(UnitKind::as_str).collect();
            lines.push(format!(
                "stream {}: {}, {}, {} from {}, zone {}",
                text::plain(&s.name),
                s.id,
                text::count(s.slices.len() as u64, "slice"),
                kinds.join(" and "),
                s.first_date,
                s.zone
            ));
        }
        lines.extend(warnings.iter().map(|text| format!("warning: {}", text::plain(text))));
        lines.join("\n")
    });
    Ok(exit::OK)
}

/// Says so where a stream's periods would take more than half of what its rate limits allow.
fn too_dear(stream: &Stream) -> Option<String> {
    let (cost, budget) = (upkeep(stream) * RUNS_A_DAY, daily_budget(&stream.rate_limits));
    (cost > budget / 2).then(|| {
        format!(
            "stream {}: at a run an hour, its `summaries` take up to {cost} requests a day, and its rate limits allow \
             {budget} in all: leave out slices or periods, lower `settle_days`, or run less often",
            stream.name
        )
    })
}
