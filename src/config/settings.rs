//! The checked configuration: what every other part of the program is handed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, NaiveDate, Utc, Weekday};
use chrono_tz::Tz;
use url::Url;

use crate::model::{
    Grain, Groups, Month, Period, Question, Schedule, Slice, Span, StreamId, UnitKind, Window, settled_at,
};
use crate::secret::SecretRef;

/// The whole configuration, free of problems.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the data goes.
    pub lake: LakeSettings,
    /// The streams in the order of their names, at least one, no id twice.
    pub streams: Vec<Stream>,
    /// How the API is spoken to.
    pub http: HttpSettings,
    /// What happens when a request fails.
    pub retry: RetrySettings,
    /// How much happens at once.
    pub concurrency: Concurrency,
    /// When the daemon runs, and where it listens.
    pub serve: ServeSettings,
    /// Who is told when a run has ended.
    pub notify: NotifySettings,
    /// Where events of `OpenLineage` go, if anywhere.
    pub lineage: Option<LineageSettings>,
}

/// Where events of `OpenLineage` go: an address, a file or both.
#[derive(Clone, Debug)]
pub struct LineageSettings {
    /// The address that events are posted to.
    pub url: Option<Url>,
    /// The bearer token for it.
    pub token: Option<SecretRef>,
    /// The file that events are appended to, one JSON object per line.
    pub file: Option<PathBuf>,
    /// The namespace of the job.
    pub namespace: String,
    /// The name of the job.
    pub job: String,
}

/// Who is told when a run has ended.
#[derive(Clone, Debug, Default)]
pub struct NotifySettings {
    /// The URL that gets a summary of every run.
    pub webhook: Option<SecretRef>,
    /// The URL that is asked after each good run.
    pub ping: Option<SecretRef>,
}

/// How the daemon goes about it.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// When runs are due.
    pub schedule: Schedule,
    /// The longest time between a tick and the beginning of its run.
    pub jitter: Duration,
    /// Where health, metrics and pages are served.
    pub listen: SocketAddr,
}

/// Where the data goes.
#[derive(Clone, Debug)]
pub struct LakeSettings {
    /// The root.
    pub location: Location,
    /// Options of the object store, names and values as the store's own crate knows them.
    pub options: BTreeMap<String, String>,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a failing store is tried again.
    pub retry_timeout: Duration,
    /// How partitions are to be kept in objects.
    pub layout: LakeLayout,
    /// Whether the user vouches that there is only ever one writer.
    pub single_writer: bool,
    /// Whether a run that leaves nothing open puts a marker into the root.
    pub success_marker: bool,
}

/// How partitions are to be kept in objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LakeLayout {
    /// An object per partition.
    #[default]
    Stream,
    /// An object per dataset, month and group of streams.
    Packed {
        /// Into how many groups; left to the lake, and for a new one to the number of streams, where none are given.
        groups: Option<Groups>,
    },
    /// A Delta table per dataset.
    Delta,
}

impl LakeLayout {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Packed { .. } => "packed",
            Self::Delta => "delta",
        }
    }
}

/// The root of a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine, absolute or relative to the working directory.
    Folder(PathBuf),
    /// A bucket or container, with a prefix: `s3`, `gs` or `az`.
    Remote(Url),
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Remote(url) => write!(f, "{url}"),
        }
    }
}

/// One Kore.ai app and how it is exported.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The name in the data and in front of people. Any text without control characters.
    pub name: String,
    /// The vendor's id.
    pub id: StreamId,
    /// Where its API is.
    pub base_url: Url,
    /// How its requests are signed.
    pub credentials: Credentials,
    /// The zone in which days and hours are cut.
    pub zone: Tz,
    /// The first local day to export.
    pub first_date: NaiveDate,
    /// Daily, hourly or both; sorted, at least one.
    pub grains: Vec<Grain>,
    /// The filter combinations; sorted, at least one, none twice.
    pub slices: Vec<Slice>,
    /// The periods, besides the month, whose users are counted as a whole; sorted, none twice.
    pub periods: Vec<Period>,
    /// The day on which weeks begin.
    pub week_start: Weekday,
    /// How many days after its end a day's figures count as settled.
    pub settle_days: u16,
    /// The longest range to ask for at once, in days.
    pub max_range_days: u32,
    /// What an absent day or hour means.
    pub on_missing: OnMissing,
    /// Whether what the API sends is kept beside the data.
    pub keep_raw: bool,
    /// The rolling limits, our share already applied; at least one.
    pub rate_limits: Vec<RateLimit>,
}

impl Stream {
    /// Whether its API is on this machine: a simulator.
    pub fn is_local(&self) -> bool {
        is_loopback(&self.base_url)
    }

    /// The instant from which an answer on days up to `last_day` counts as final.
    pub fn settled_at(&self, last_day: NaiveDate) -> DateTime<Utc> {
        settled_at(last_day, self.zone, self.settle_days)
    }

    /// What it is asked for, month by month.
    pub fn unit_kinds(&self) -> impl Iterator<Item = UnitKind> {
        let periods = (!self.periods.is_empty()).then_some(UnitKind::Periods);
        self.grains.iter().copied().map(UnitKind::from).chain(periods)
    }

    /// The periods that end in `month` and do not begin before `first`, sorted. One that began earlier would
    /// be a part of a figure.
    #[must_use]
    pub fn spans(&self, month: Month, first: NaiveDate) -> Vec<Span> {
        let of_kind = |period: &Period| period.ending_in(month, self.week_start);
        self.periods.iter().flat_map(of_kind).filter(|span| first <= span.start).collect()
    }

    /// What is asked of a slice of this stream.
    #[must_use]
    pub fn question(&self, grain: Grain, slice: &Slice, window: Window) -> Question {
        Question { stream: self.id.clone(), grain, slice: slice.clone(), zone: self.zone, window }
    }

    /// A fingerprint of what is asked of the API and written besides its figures. Where a
    /// partition carries another one, it was asked differently and is stale.
    ///
    /// That of periods is followed by what they are, so that it tells which rows of another one were asked
    /// as they would be now.
    #[must_use]
    pub fn fingerprint(&self, kind: UnitKind) -> String {
        // Texts are quoted, so that no two settings give one text.
        let slices: Vec<_> = self.slices.iter().map(|s| format!("{:?}", s.to_string())).collect();
        let figures = hex(&format!("{:?} {} {}", self.name, self.zone, slices.join(",")));
        match kind {
            UnitKind::Daily | UnitKind::Hourly => figures,
            UnitKind::Periods => {
                let periods = self.periods.iter().map(|&period| self.period_asked(period));
                std::iter::once(figures).chain(periods).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// Whether a partition with this fingerprint has rows of `period` that were asked as they would be now.
    #[must_use]
    pub fn asked_alike(&self, fingerprint: &str, period: Period) -> bool {
        let mut words = fingerprint.split(' ');
        words.next() == Some(&self.fingerprint(UnitKind::Daily))
            && words.any(|word| word == self.period_asked(period))
    }

    /// A kind of period with the setting that cuts it.
    fn period_asked(&self, period: Period) -> String {
        match period {
            Period::Week => format!("{period}:{}", self.week_start),
            _ => period.to_string(),
        }
    }
}

/// Whether a URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The first 16 bytes of the SHA-256 of `text`, in hexadecimal.
pub fn hex(text: &str) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, text.as_bytes()).as_ref()[..16].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// How the requests of a stream are signed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The `appId` claim.
    pub client_id: String,
    /// The `sub` claim.
    pub subject: String,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// Where the secret or the private key is read from.
    pub key: SecretRef,
}

/// The algorithms that the vendor's JWT apps offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256, by a client secret.
    Hs256,
    /// HMAC with SHA-512, by a client secret.
    Hs512,
    /// RSA with SHA-256, by a private key.
    Rs256,
    /// RSA with SHA-512, by a private key.
    Rs512,
}

impl Algorithm {
    /// Whether the key is an RSA private key instead of a secret text.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rs256 | Self::Rs512)
    }
}

/// What an elapsed day or hour means that an answer leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// A row without figures, and a warning.
    Null,
    /// The answer is refused.
    Reject,
}

/// At most `requests` requests in any rolling span of length `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many, at least one.
    pub requests: u32,
    /// The length of the span.
    pub per: Duration,
}

/// How the API is spoken to.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest time from a request's start to its answer's last byte.
    pub timeout: Duration,
    /// The largest answer in bytes, counted after decompression.
    pub max_body_bytes: u64,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// A proxy for all requests.
    pub proxy: Option<Url>,
}

/// What happens when a request fails for a passing reason.
#[derive(Clone, Copy, Debug)]
pub struct RetrySettings {
    /// How often a question is asked at the most, at least once.
    pub attempts: u32,
    /// The wait before the second attempt.
    pub base_delay: Duration,
    /// The longest wait between two attempts.
    pub max_delay: Duration,
    /// The longest wait of one question for the vendor's rate limit.
    pub max_rate_wait: Duration,
}

/// How much happens at once.
#[derive(Clone, Copy, Debug)]
pub struct Concurrency {
    /// Streams at once.
    pub streams: usize,
    /// Units of one stream at once.
    pub units_per_stream: usize,
}

#[cfg(test)]
impl Stream {
    /// A stream for unit tests: both grains, all users and the dashboard's, in UTC.
    pub(crate) fn example() -> Self {
        Self {
            name: "support".into(),
            id: "st-1".parse().unwrap(),
            base_url: "https://kore.example".parse().unwrap(),
            credentials: Credentials {
                client_id: "cs-1".into(),
                subject: "s".into(),
                algorithm: Algorithm::Hs256,
                key: SecretRef::Env("X".into()),
            },
            zone: Tz::UTC,
            first_date: "2026-01-15".parse().unwrap(),
            grains: Grain::ALL.to_vec(),
            slices: vec![Slice::ALL, Slice::DASHBOARD],
            periods: vec![],
            week_start: Weekday::Mon,
            settle_days: 3,
            max_range_days: 31,
            on_missing: OnMissing::Null,
            keep_raw: false,
            rate_limits: vec![],
        }
    }
}
