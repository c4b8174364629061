//! The words of the domain, as types whose invariants hold by construction.
//!
//! Nothing here reads a clock, a file or a socket. A value that exists is valid: it was parsed
//! once, at the edge, and the layers above need not look again.

mod calendar;
mod layout;
mod partition;
mod period;
mod schedule;
mod shard;
mod slice;
mod stream;
mod trend;

pub use calendar::{Month, ParseMonthError, Window, hour_start, local_now, settled_at, windows};
pub use layout::{Group, Groups, Layout, Pack};
pub use partition::{Dataset, Grain, Partition, RESTATEMENTS, Unit, UnitKind};
pub use period::{Period, Span};
pub use schedule::{InvalidCron, Schedule};
pub use shard::{InvalidShard, Shard};
pub use slice::{Channel, ConversationStatus, ConversationType, InvalidChannel, Slice};
pub use stream::{InvalidStreamId, StreamId};
pub use trend::{Averages, Counts, DayPoint, HourPoint, PeriodRow, Points, Question, Summary, Trend};
