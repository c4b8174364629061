//! The daemon's table.

use std::net::SocketAddr;
use std::time::Duration;

use chrono_tz::Tz;

use super::stream::Zone;
use super::{Checker, raw};
use crate::config::ServeSettings;
use crate::model::Schedule;

/// A run every hour, and not on the hour, when everybody else comes.
const HOURLY: &str = "17 * * * *";

impl Checker<'_> {
    pub(super) fn serve(&mut self, raw: &raw::Serve) -> Option<ServeSettings> {
        let jitter = self.duration("serve.jitter", &raw.jitter, Duration::from_mins(1));
        let zone = self.parsed::<Zone>("serve.zone", &raw.zone, "an IANA zone such as `Europe/Berlin`");
        let address = "an address and a port, such as `127.0.0.1:8080` or `[::]:8080`";
        let listen = self.parsed::<SocketAddr>("serve.listen", &raw.listen, address);
        let expressions =
            self.value("serve.schedule", &raw.schedule).unwrap_or_else(|| vec![HOURLY.to_owned()]);
        if expressions.is_empty() {
            self.report(
                "serve.schedule",
                "the list is empty",
                Some("a run every hour is `[\"17 * * * *\"]`"),
            );
            return None;
        }
        let schedule = Schedule::new(&expressions, zone.flatten().map_or(Tz::UTC, |zone| zone.0));
        let schedule = schedule.map_err(|(index, error)| {
            self.report(
                "serve.schedule",
                format_args!("`{}`: {error}", expressions[index].escape_debug()),
                Some("five fields: minute, hour, day of the month, month, weekday; a run every hour is `17 * * * *`"),
            );
        });
        Some(ServeSettings {
            schedule: schedule.ok()?,
            jitter,
            listen: listen.unwrap_or(Some(SocketAddr::from(([127, 0, 0, 1], 8080))))?,
        })
    }
}
