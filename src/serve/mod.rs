//! The daemon: runs on a schedule, one of several at work, and shows how it goes.

mod alarm;
mod api;
mod daemon;
mod figures;
mod http;
mod meter;
mod pages;
mod recent;
mod restated;
mod shown;
mod site;
mod worker;

pub use alarm::WallAlarm;
pub use daemon::{Alarm, Pace, Round, Timetable, go_round};
pub use http::{router, serve};
pub use recent::RunSummary;
pub use shown::{Shown, State};
pub use site::Site;
pub use worker::{Outside, Reach, Worker, contender};
