//! What a simulator is told: its streams, its limits, and how it differs from a healthy vendor.

use std::time::Duration;

use super::auth::VerifyingKey;
use super::faults::FaultRule;
use crate::model::StreamId;

/// How a simulator behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The streams that exist. Of two with one id, the later one counts.
    pub streams: Vec<SimulatedStream>,
    /// Rolling windows per stream: at most so many calls within any such time. None: no limit.
    pub limits: Vec<(u32, Duration)>,
    /// Whether a call that was answered with 429 counts in the windows. The vendor does not say.
    pub refused_calls_count: bool,
    /// How long every answer takes.
    pub latency: Duration,
    /// Whether a token must carry `jti`, expire within an hour, and works once.
    pub enforce_jti: bool,
    /// For how many local days after its end a day's figures still grow.
    pub restate_days: u16,
    /// What days and hours to come look like.
    pub future: Future,
    /// The longest range in days; a longer one is refused with 412. Without a figure, ten years.
    pub max_days: Option<u32>,
    /// What goes wrong. Of several rules that hold for a call, the first counts.
    pub faults: Vec<FaultRule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            limits: vec![(60, Duration::from_mins(1)), (1800, Duration::from_hours(1))],
            refused_calls_count: false,
            latency: Duration::ZERO,
            enforce_jti: true,
            restate_days: 2,
            future: Future::default(),
            max_days: None,
            faults: Vec::new(),
        }
    }
}

/// One stream that a simulator knows.
#[derive(Clone, Debug)]
pub struct SimulatedStream {
    /// Its id, a segment of the URL.
    pub id: StreamId,
    /// The `appId` that its tokens must carry.
    pub client_id: String,
    /// What its tokens are checked with.
    pub key: VerifyingKey,
}

/// What days and hours that lie in the future look like. The vendor does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Future {
    /// They are in the answer, with no users.
    #[default]
    Zeros,
    /// They are left out.
    Absent,
}
