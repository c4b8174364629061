//! The daemon: runs on a schedule, one writer per lake, and shows how it goes.

mod alarm;
mod daemon;

pub use alarm::WallAlarm;
pub use daemon::{Alarm, Pace, Timetable, go_round};
