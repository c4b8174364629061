//! `trendlake validate`: every problem of the configuration, or what it says.

use serde_json::json;

use super::args::Common;
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::report::exit;

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
                "settle_days": s.settle_days,
            })
        })
        .collect();
    let value = json!({ "lake": settings.lake.location.to_string(), "streams": streams });
    printer.result(&value, || {
        let mut lines = vec![format!("{} is valid", common.config.display())];
        lines.push(format!("lake: {}", settings.lake.location));
        for s in &settings.streams {
            let grains: Vec<_> = s.grains.iter().map(|g| g.as_str()).collect();
            lines.push(format!(
                "stream {}: {}, {}, {} from {}, zone {}",
                text::plain(&s.name),
                s.id,
                text::count(s.slices.len() as u64, "slice"),
                grains.join(" and "),
                s.first_date,
                s.zone
            ));
        }
        lines.join("\n")
    });
    Ok(exit::OK)
}
