//! The daemon: runs on a schedule, one of several at work, and shows how it goes.

mod alarm;
mod daemon;
mod http;
mod meter;
mod worker;

pub use alarm::WallAlarm;
pub use daemon::{Alarm, Pace, Round, Timetable, go_round};
pub use http::{router, serve};
pub use worker::{Shown, State, Worker, contender};
