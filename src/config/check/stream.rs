//! One stream's table over the defaults.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use url::Url;

use super::raw::{self, Field, Raw};
use super::{Algorithm, Checker, OnMissing, RateLimit};
use crate::config::settings::{Credentials, Stream};
use crate::model::{Channel, Grain, Slice, StreamId};
use crate::secret::SecretRef;

/// The tables a stream's setting may stand in, nearest first.
pub(super) struct Layers<'a> {
    own: (String, &'a raw::Stream),
    defaults: &'a raw::Stream,
}

impl<'a> Layers<'a> {
    /// The nearest setting of a key, with the key's full name.
    pub(super) fn get<T>(
        &self,
        name: &str,
        field: impl Fn(&'a raw::Stream) -> &'a Field<T>,
    ) -> (String, &'a Field<T>) {
        let own = field(self.own.1);
        if own.is_some() || field(self.defaults).is_none() {
            (format!("{}.{name}", self.own.0), own)
        } else {
            (format!("defaults.{name}"), field(self.defaults))
        }
    }
}

/// A zone, refused in plain words.
pub(super) struct Zone(pub(super) chrono_tz::Tz);

impl std::str::FromStr for Zone {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "there is no such zone")
    }
}

/// A date, refused in plain words.
struct Day(NaiveDate);

impl std::str::FromStr for Day {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "there is no such day")
    }
}

impl Checker<'_> {
    pub(super) fn streams(
        &mut self,
        raw: &Raw,
        base_url: Option<&str>,
        plain_hosts: &[String],
    ) -> Option<Vec<Stream>> {
        if raw.defaults.id.is_some() {
            self.report("defaults.id", "an id belongs to one stream", Some("move it to `[streams.<name>]`"));
        }
        if raw.streams.is_empty() {
            self.report(
                "streams",
                "there is no stream",
                Some("add a table such as `[streams.support]` with an `id`"),
            );
        }
        let mut overridden = raw.defaults.clone();
        if let Some(url) = base_url {
            overridden.base_url = Some(raw::Leaf(Ok(url.to_owned())));
        }
        let mut ids = BTreeMap::new();
        let mut streams = Vec::new();
        for (name, own) in &raw.streams {
            let mut own = own.clone();
            if base_url.is_some() {
                own.base_url = None;
            }
            let layers = Layers { own: (format!("streams.{name}"), &own), defaults: &overridden };
            let stream = self.stream(name, &layers, plain_hosts);
            let id = own.id.as_ref().and_then(|leaf| leaf.0.as_ref().ok()).map(|id| id.to_ascii_lowercase());
            // Folders of some file systems do not tell case apart.
            if let Some(other) = id.and_then(|id| ids.insert(id, name.clone())) {
                self.report(
                    &format!("streams.{name}.id"),
                    format_args!("`streams.{other}` has the same id"),
                    Some("a stream has one table; use `slices` to ask for it in several ways"),
                );
            }
            streams.extend(stream);
        }
        (streams.len() == raw.streams.len()).then_some(streams)
    }

    fn stream(&mut self, name: &str, layers: &Layers<'_>, plain_hosts: &[String]) -> Option<Stream> {
        if name.trim().is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            let message = "a stream's name has 1 to 200 characters and no control characters";
            self.report(&format!("streams.{name}"), message, None);
        }
        let id = self.required::<StreamId>(layers.get("id", |s| &s.id), "the app's id, such as `st-...`");
        let base_url = self.stream_url(layers, plain_hosts);
        let credentials = self.credentials(layers);
        let zone: Option<Zone> =
            self.required(layers.get("zone", |s| &s.zone), "an IANA zone, such as `UTC` or `Asia/Kolkata`");
        let first_date = self.first_date(layers);
        let grains = self.grains(layers);
        let slices = self.slices(layers);
        let settle_days = {
            let (key, field) = layers.get("settle_days", |s| &s.settle_days);
            u16::try_from(self.count(&key, field, 3, 0..=365)).unwrap_or(3)
        };
        let max_range_days = {
            let (key, field) = layers.get("max_range_days", |s| &s.max_range_days);
            u32::try_from(self.count(&key, field, 31, 1..=31)).unwrap_or(31)
        };
        let periods = self.periods(layers, grains.as_deref(), max_range_days);
        let week_start = self.week_start(layers);
        let on_missing = self.on_missing(layers);
        let keep_raw = {
            let (key, field) = layers.get("keep_raw", |s| &s.keep_raw);
            self.value(&key, field).unwrap_or(false)
        };
        let rate_limits = self.rate_limits(layers);
        Some(Stream {
            name: name.to_owned(),
            id: id?,
            base_url: base_url?,
            credentials: credentials?,
            zone: zone?.0,
            first_date: first_date?,
            grains: grains?,
            slices: slices?,
            periods: periods?,
            week_start: week_start?,
            settle_days,
            max_range_days,
            on_missing: on_missing?,
            keep_raw,
            rate_limits: rate_limits?,
        })
    }

    fn required<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        (key, field): (String, &Field<String>),
        hint: &str,
    ) -> Option<T> {
        let parsed = self.parsed(&key, field, hint);
        if parsed.is_none() {
            self.report(&key, "missing", Some(hint));
        }
        parsed?
    }

    fn stream_url(&mut self, layers: &Layers<'_>, plain_hosts: &[String]) -> Option<Url> {
        let (key, field) = layers.get("base_url", |s| &s.base_url);
        let Some(text) = self.value(&key, field) else {
            if field.is_none() {
                self.report(&key, "missing", Some("where the API is, such as `https://platform.kore.ai`"));
            }
            return None;
        };
        match Url::parse(text.trim()) {
            Ok(url) => self.base_url(&key, url, plain_hosts),
            Err(error) => {
                // The text itself is not repeated: it may hold a password.
                self.report(&key, error, Some("write it as `https://platform.kore.ai`"));
                None
            }
        }
    }

    fn first_date(&mut self, layers: &Layers<'_>) -> Option<NaiveDate> {
        let (key, field) = layers.get("first_date", |s| &s.first_date);
        let hint = "a date as `YYYY-MM-DD`: the first day to export";
        let Day(date) = self.required((key.clone(), field), hint)?;
        let bounds = NaiveDate::from_ymd_opt(2010, 1, 1)?..NaiveDate::from_ymd_opt(2900, 1, 1)?;
        if !bounds.contains(&date) {
            self.report(&key, format_args!("`{date}` lies before 2010 or after 2899"), Some(hint));
            return None;
        }
        Some(date)
    }

    fn credentials(&mut self, layers: &Layers<'_>) -> Option<Credentials> {
        let client_id = {
            let (key, field) = layers.get("client_id", |s| &s.client_id);
            let is_text = field.as_ref().is_none_or(|leaf| leaf.0.is_ok());
            let text = self.value(&key, field).filter(|t| !t.trim().is_empty());
            if text.is_none() && is_text {
                self.report(&key, "missing", Some("the client id of the JWT app, such as `cs-...`"));
            }
            text
        };
        let algorithm = {
            let (key, field) = layers.get("algorithm", |s| &s.algorithm);
            match self.value(&key, field).map(|t| t.to_ascii_uppercase()).as_deref() {
                None | Some("HS256") => Some(Algorithm::Hs256),
                Some("HS512") => Some(Algorithm::Hs512),
                Some("RS256") => Some(Algorithm::Rs256),
                Some("RS512") => Some(Algorithm::Rs512),
                Some(other) => {
                    let jwe = other.contains("JWE") || other.contains("OAEP") || other == "DIR";
                    self.report(
                        &key,
                        format_args!("`{}` is not supported", other.escape_debug()),
                        Some(if jwe {
                            "encrypted tokens (JWE) are not documented by the vendor: turn JWE off for the JWT app"
                        } else {
                            "one of `HS256`, `HS512`, `RS256`, `RS512`, as chosen for the JWT app"
                        }),
                    );
                    None
                }
            }
        };
        let subject = {
            let (key, field) = layers.get("subject", |s| &s.subject);
            self.value(&key, field).unwrap_or_else(|| "trendlake".into())
        };
        let key = self.key(layers, algorithm);
        Some(Credentials { client_id: client_id?, subject, algorithm: algorithm?, key: key? })
    }

    /// The reference to the secret or the key, and whether it can be read now.
    fn key(&mut self, layers: &Layers<'_>, algorithm: Option<Algorithm>) -> Option<SecretRef> {
        // A stream's own reference replaces whatever reference the defaults hold.
        let (table, source) = [(layers.own.0.as_str(), layers.own.1), ("defaults", layers.defaults)]
            .into_iter()
            .find(|(_, s)| {
                s.client_secret_file.is_some()
                    || s.client_secret_env.is_some()
                    || s.private_key_file.is_some()
            })
            .unwrap_or((layers.own.0.as_str(), layers.own.1));
        let secret_file = format!("{table}.client_secret_file");
        let secret_env = format!("{table}.client_secret_env");
        let key_file = format!("{table}.private_key_file");
        let mut given = Vec::new();
        if let Some(path) = self.path(&secret_file, &source.client_secret_file) {
            given.push((&secret_file, false, SecretRef::File(path)));
        }
        if let Some(name) = self.value(&secret_env, &source.client_secret_env) {
            given.push((&secret_env, false, SecretRef::Env(name)));
        }
        if let Some(path) = self.path(&key_file, &source.private_key_file) {
            given.push((&key_file, true, SecretRef::File(path)));
        }
        // Without an algorithm, the kind of the first reference is taken for the intended one.
        let rsa =
            algorithm.map_or_else(|| given.first().is_some_and(|(_, is_key, _)| *is_key), Algorithm::is_rsa);
        let wanted = if rsa { &key_file } else { &secret_file };
        let [(key, is_key, reference)] = given.as_slice() else {
            let message = if given.is_empty() { "missing" } else { "more than one reference to a secret" };
            self.report(
                wanted,
                message,
                Some(if rsa {
                    "give exactly one: `private_key_file` with the RSA private key in PEM form"
                } else {
                    "give exactly one of `client_secret_file` and `client_secret_env`"
                }),
            );
            return None;
        };
        if *is_key != rsa {
            self.report(
                key,
                "does not fit the algorithm",
                Some("HS256 and HS512 take a client secret, RS256 and RS512 a private key"),
            );
            return None;
        }
        match reference.read() {
            Ok(_) => Some(reference.clone()),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
                self.report(key, format_args!("{error}{cause}"), None);
                None
            }
        }
    }

    fn grains(&mut self, layers: &Layers<'_>) -> Option<Vec<Grain>> {
        let (key, field) = layers.get("grains", |s| &s.grains);
        let Some(names) = self.value(&key, field) else {
            return field.is_none().then(|| Grain::ALL.to_vec());
        };
        let mut grains = BTreeSet::new();
        for name in &names {
            match name.parse::<Grain>() {
                Ok(grain) => _ = grains.insert(grain),
                Err(error) => self.report(&key, format_args!("`{}`: {error}", name.escape_debug()), None),
            }
        }
        if names.is_empty() {
            self.report(&key, "the list is empty", Some("`daily`, `hourly` or both"));
        }
        (!grains.is_empty()).then(|| grains.into_iter().collect())
    }

    fn slices(&mut self, layers: &Layers<'_>) -> Option<Vec<Slice>> {
        let (key, field) = layers.get("slices", |s| &s.slices);
        let Some(raw) = self.value(&key, field) else {
            return field.is_none().then(|| vec![Slice::ALL]);
        };
        let list = match raw {
            raw::Slices::Preset(name) => vec![raw::Slice::Preset(name)],
            raw::Slices::List(list) => list,
        };
        if list.is_empty() {
            self.report(&key, "the list is empty", Some("leave it out for all users, or write `[\"all\"]`"));
        }
        let mut slices = BTreeSet::new();
        for (index, slice) in list.iter().enumerate() {
            let Some(slice) = self.slice(&format!("{key}.{index}"), slice) else { continue };
            if !slices.insert(slice.clone()) {
                self.report(&key, format_args!("`{slice}` stands there twice"), None);
            }
        }
        Some(slices.into_iter().collect())
    }

    fn slice(&mut self, key: &str, raw: &raw::Slice) -> Option<Slice> {
        let filters = match raw {
            raw::Slice::Preset(name) => {
                return match name.as_str() {
                    "all" => Some(Slice::ALL),
                    "dashboard" => Some(Slice::DASHBOARD),
                    other => {
                        self.report(
                            key,
                            format_args!("there is no preset `{}`", other.escape_debug()),
                            Some("`all` or `dashboard`, or a table of filters"),
                        );
                        None
                    }
                };
            }
            raw::Slice::Filters(filters) => filters,
        };
        let field = |name: &str, value: &Option<String>| {
            let text = value.clone().unwrap_or_else(|| "All".into());
            (format!("{key}.{name}"), Some(raw::Leaf(Ok(text))))
        };
        let (type_key, type_field) = field("conversation_type", &filters.conversation_type);
        let (status_key, status_field) = field("conversation_status", &filters.conversation_status);
        let (channel_key, channel_field) = field("channel", &filters.channel);
        let conversation_type = self.parsed(&type_key, &type_field, "leave it out for `All`")?;
        let conversation_status = self.parsed(&status_key, &status_field, "leave it out for `All`")?;
        let channel =
            self.parsed::<Channel>(&channel_key, &channel_field, "one slice asks for one channel")?;
        Some(Slice {
            conversation_type: conversation_type?,
            conversation_status: conversation_status?,
            channel: channel?,
        })
    }

    fn on_missing(&mut self, layers: &Layers<'_>) -> Option<OnMissing> {
        let (key, field) = layers.get("on_missing", |s| &s.on_missing);
        match self.value(&key, field).as_deref() {
            None => field.is_none().then_some(OnMissing::Null),
            Some("null") => Some(OnMissing::Null),
            Some("reject") => Some(OnMissing::Reject),
            Some(other) => {
                self.report(
                    &key,
                    format_args!("`{}` is neither `null` nor `reject`", other.escape_debug()),
                    None,
                );
                None
            }
        }
    }

    /// The limits with our share applied, so that nothing later can forget the share.
    fn rate_limits(&mut self, layers: &Layers<'_>) -> Option<Vec<RateLimit>> {
        let (share_key, share_field) = layers.get("rate_share", |s| &s.rate_share);
        let share = self.value(&share_key, share_field).unwrap_or(1.0);
        if !(share > 0.0 && share <= 1.0) {
            self.report(&share_key, format_args!("{share} is not above 0 and at most 1"), None);
            return None;
        }
        let (key, field) = layers.get("rate_limits", |s| &s.rate_limits);
        let vendor = || {
            // The vendor's documented limits per bot, both rolling.
            let limit = |requests, per: &str| raw::RateLimit { requests, per: per.into() };
            vec![limit(60, "60s"), limit(1800, "1h")]
        };
        let raw = match self.value(&key, field) {
            Some(raw) => raw,
            None if field.is_none() => vendor(),
            None => return None,
        };
        if raw.is_empty() {
            self.report(&key, "the list is empty", Some("leave it out for the vendor's documented limits"));
            return None;
        }
        let mut limits = Vec::new();
        for (index, limit) in raw.into_iter().enumerate() {
            let key = format!("{key}.{index}");
            let per = self.duration(
                &format!("{key}.per"),
                &Some(raw::Leaf(Ok(limit.per))),
                std::time::Duration::ZERO,
            );
            if !(1..=1_000_000).contains(&limit.requests) {
                self.report(&format!("{key}.requests"), "expected 1 to 1000000", None);
                return None;
            }
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to a million"
            )]
            let requests = ((limit.requests as f64 * share) as u32).max(1);
            limits.push(RateLimit { requests, per });
        }
        Some(limits)
    }
}
