//! The configuration file as written: every key optional, every value still unchecked.
//!
//! A value of the wrong type does not end the reading: it is kept as the reason it was refused, so
//! that one look at the file finds all of its problems. Reasons name types and never values, since
//! a value in the wrong place may be a secret.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A key that may be absent, hold a value of the right type, or hold something else.
pub(super) type Field<T> = Option<Leaf<T>>;

/// A value, or the reason why it is none.
#[derive(Clone, Debug)]
pub(super) struct Leaf<T>(pub(super) Result<T, String>);

/// What a value of this type is called in front of a person.
pub(super) trait Named {
    const NAME: &'static str;
}

macro_rules! named {
    ($($ty:ty => $name:literal),+ $(,)?) => { $(impl Named for $ty { const NAME: &'static str = $name; })+ };
}

named! {
    String => "a text in quotes",
    u64 => "a whole number",
    f64 => "a number",
    bool => "`true` or `false`",
    Vec<String> => "a list of texts",
    Vec<RateLimit> => "a list of `{ requests = 60, per = \"1m\" }`",
    Slices => "a list of `\"all\"`, `\"dashboard\"` or tables with `conversation_type`, `conversation_status`, `channel`",
}

impl<'de, T: DeserializeOwned + Named> Deserialize<'de> for Leaf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        // A date without quotes reaches us as a map with one private key.
        if let Some(Value::String(date)) = value.get("$__toml_private_datetime") {
            value = Value::String(date.clone());
        }
        let found = match &value {
            Value::Null => "nothing",
            Value::Bool(_) => "`true` or `false`",
            Value::Number(n) if n.is_f64() => "a fraction",
            Value::Number(_) if T::NAME == "a whole number" => "one that is negative or too large",
            Value::Number(_) => "a whole number",
            Value::String(_) => "a text",
            Value::Array(_) if T::NAME.starts_with("a list") => "a list with something else in it",
            Value::Array(_) => "a list",
            Value::Object(_) => "a table",
        };
        Ok(Self(serde_json::from_value(value).map_err(|_| format!("expected {}, found {found}", T::NAME))))
    }
}

impl<T: JsonSchema> JsonSchema for Leaf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// The configuration of trendlake.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, title = "trendlake configuration")]
pub(super) struct Raw {
    /// Where the data goes.
    pub lake: Lake,
    /// Settings of every stream that does not say otherwise itself.
    pub defaults: Stream,
    /// One table per Kore.ai app. The table's name is the stream's name in the data.
    pub streams: BTreeMap<String, Stream>,
    /// How the API is spoken to.
    pub http: Http,
    /// What happens when a request fails.
    pub retry: Retry,
    /// How much happens at once.
    pub concurrency: Concurrency,
    /// When `trendlake serve` runs, and where it listens.
    pub serve: Serve,
    /// Who is told when a run has ended.
    pub notify: Notify,
    /// Where events of `OpenLineage` go.
    pub lineage: Lineage,
}

/// Where the data goes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Lake {
    /// A folder, or a URL with the scheme `file`, `s3`, `gs` or `az`.
    #[schemars(required)]
    pub url: Field<String>,
    /// Options of the object store by their usual names, such as `aws_region` or `aws_endpoint`.
    /// Credentials do not belong here: they are taken from the environment, as the cloud's own tools do.
    pub options: BTreeMap<String, Value>,
    /// A file of PEM certificates to trust, besides the system's, when speaking to the object store.
    pub ca_file: Field<String>,
    /// How long to try again when the object store fails, such as `2m`.
    pub retry_timeout: Field<String>,
    /// In which format the data is kept: `parquet` (files, each replaced whole) or `delta` (a Delta table per dataset).
    pub format: Field<String>,
    /// How the partitions are kept in objects: `stream` (an object per stream and month) or `packed` (an object per
    /// group of streams and month, for lakes of many streams).
    pub layout: Field<String>,
    /// Into how many groups the streams of a new packed lake are divided; by default one per hundred streams. A lake
    /// that exists keeps its own.
    pub groups: Field<u64>,
    /// Vouches that there is only ever one writer, for a store without conditional writes.
    pub single_writer: Field<bool>,
    /// Whether a run that leaves nothing open writes `_SUCCESS` into the lake's root, last of all.
    pub success_marker: Field<bool>,
}

/// One Kore.ai app, or the defaults of all of them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Stream {
    /// The id of the app, such as `st-...`. Not allowed in `[defaults]`.
    pub id: Field<String>,
    /// Where the API is, such as `https://platform.kore.ai`; a path prefix is kept.
    pub base_url: Field<String>,
    /// The client id of the app's JWT app.
    pub client_id: Field<String>,
    /// How requests are signed: `HS256` (default) or `HS512` with a client secret, `RS256` or `RS512`
    /// with a private key.
    pub algorithm: Field<String>,
    /// The `sub` claim of the tokens; any text.
    pub subject: Field<String>,
    /// A file that holds the client secret.
    pub client_secret_file: Field<String>,
    /// An environment variable that holds the client secret.
    pub client_secret_env: Field<String>,
    /// A file that holds the private key in PEM form.
    pub private_key_file: Field<String>,
    /// The IANA zone in which days and hours are cut, such as `Asia/Kolkata`.
    pub zone: Field<String>,
    /// The first day to export, as `YYYY-MM-DD`.
    pub first_date: Field<String>,
    /// `daily`, `hourly` or both.
    pub grains: Field<Vec<String>>,
    /// The filter combinations: `"all"`, `"dashboard"` or tables.
    pub slices: Field<Slices>,
    /// The periods whose users are counted as a whole: `month`, which comes with the daily figures and costs
    /// nothing, `week`, `rolling_7d`, `rolling_28d` and `quarter`, each at a request of its own per slice.
    pub summaries: Field<Vec<String>>,
    /// The day on which weeks begin, such as `monday`.
    pub week_start: Field<String>,
    /// For how many days after a month's end its figures may still change.
    pub settle_days: Field<u64>,
    /// The longest range to ask for at once, in days. Only for a server that does not take a month:
    /// the months' summaries then have no figures.
    pub max_range_days: Field<u64>,
    /// What a day or hour means that the API leaves out: `null` (a row without figures) or `reject`.
    pub on_missing: Field<String>,
    /// Whether the API's answers are kept word for word beside the data, for `trendlake replay`.
    pub keep_raw: Field<bool>,
    /// How many requests the API allows in any rolling period.
    pub rate_limits: Field<Vec<RateLimit>>,
    /// Which share of the limits is ours, above 0 and at most 1.
    pub rate_share: Field<f64>,
}

/// One rolling limit.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimit {
    /// How many requests.
    pub requests: u64,
    /// In how long a time, such as `60s` or `1h`.
    pub per: String,
}

/// A preset, or a list of presets and tables.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Slices {
    /// One preset.
    Preset(String),
    /// Several slices.
    List(Vec<Slice>),
}

/// A preset by name, or a combination of filters.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Slice {
    /// `all` or `dashboard`.
    Preset(String),
    /// A combination; what is left out is `All`.
    Filters(Filters),
}

/// A combination of filters; what is left out is `All`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filters {
    /// `All`, `Interactive` or `Non Interactive`.
    pub conversation_type: Option<String>,
    /// `All`, `Active` or `Closed`.
    pub conversation_status: Option<String>,
    /// `All`, or the vendor's name of one channel.
    pub channel: Option<String>,
}

/// How the API is spoken to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the keys are for people")]
pub(super) struct Http {
    /// How long to wait for a connection, such as `10s`.
    pub connect_timeout: Field<String>,
    /// How long one request may take from its first byte to the answer's last, such as `60s`.
    pub timeout: Field<String>,
    /// The largest answer in MiB, counted after decompression.
    pub max_body_mib: Field<u64>,
    /// A file of PEM certificates to trust besides the system's.
    pub ca_file: Field<String>,
    /// A proxy for all requests to the API, as a URL without credentials.
    pub proxy: Field<String>,
    /// Hosts that may be reached without TLS. Loopback addresses always may.
    pub allow_plain_http: Field<Vec<String>>,
}

/// What happens when a request fails for a passing reason.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Retry {
    /// How often a question is asked at the most, the first time included.
    pub attempts: Field<u64>,
    /// The wait before the second attempt; it doubles from there, with jitter.
    pub base_delay: Field<String>,
    /// The longest wait between two attempts.
    pub max_delay: Field<String>,
    /// How long one question may wait, all in all, because the API says its rate limit is reached.
    pub max_rate_wait: Field<String>,
}

/// How much happens at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Concurrency {
    /// How many streams are worked on at once.
    pub streams: Field<u64>,
    /// How many months of one stream are worked on at once.
    pub units_per_stream: Field<u64>,
}

/// When `trendlake serve` runs, and where it listens.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Serve {
    /// Cron expressions of five fields, such as `17 * * * *`.
    pub schedule: Field<Vec<String>>,
    /// The IANA zone of the schedule's wall clock.
    pub zone: Field<String>,
    /// Each run begins up to this much later than its tick, so that many daemons do not ask at once.
    pub jitter: Field<String>,
    /// The address and port for health, metrics and pages, such as `127.0.0.1:8080`.
    pub listen: Field<String>,
}

/// Who is told when a run has ended. The addresses are secrets, so they are given by reference.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Notify {
    /// A file that holds the URL that gets a summary of every run, as JSON.
    pub webhook_url_file: Field<String>,
    /// An environment variable that holds that URL.
    pub webhook_url_env: Field<String>,
    /// A file that holds the URL that is asked after each good run: a dead-man's switch.
    pub ping_url_file: Field<String>,
    /// An environment variable that holds that URL.
    pub ping_url_env: Field<String>,
}

/// Where events of `OpenLineage` go: what each run reads and writes. Off without `url` and `file`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Lineage {
    /// The address that events are posted to, such as `https://marquez.example/api/v1/lineage`.
    pub url: Field<String>,
    /// A file that holds the bearer token of that address.
    pub token_file: Field<String>,
    /// An environment variable that holds that token.
    pub token_env: Field<String>,
    /// A file that events are appended to, one JSON object per line.
    pub file: Field<String>,
    /// The namespace of the job.
    pub namespace: Field<String>,
    /// The name of the job.
    pub job: Field<String>,
}
