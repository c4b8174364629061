//! The raw configuration to checked settings, with every problem reported.
//!
//! A checker goes on after a problem with whatever it can still read, so each function gives
//! `None` once it has reported why.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use super::raw::{self, Field, Raw};
use super::settings::{
    Algorithm, Concurrency, HttpSettings, OnMissing, RateLimit, RetrySettings, Settings, is_loopback,
};
use super::{Problem, Sources};

mod lake;
mod lineage;
mod notify;
mod periods;
mod serve;
mod stream;

/// Finds the folder of the file that a key was set in; `None` for flags and the environment.
pub(super) type BaseDir<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Collects problems while values are read.
pub(super) struct Checker<'a> {
    problems: &'a mut Vec<Problem>,
    base: BaseDir<'a>,
}

/// Checks everything. `None` where a problem kept a setting from existing.
pub(super) fn check(
    raw: &Raw,
    sources: &Sources,
    base: BaseDir<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let mut checker = Checker { problems, base };
    let lake = checker.lake(&raw.lake, sources.lake.is_some());
    let plain_hosts = checker.value("http.allow_plain_http", &raw.http.allow_plain_http).unwrap_or_default();
    let http = checker.http(&raw.http);
    let retry = checker.retry(&raw.retry);
    let concurrency = Concurrency {
        streams: checker.count("concurrency.streams", &raw.concurrency.streams, 8, 1..=256),
        units_per_stream: checker.count(
            "concurrency.units_per_stream",
            &raw.concurrency.units_per_stream,
            4,
            1..=64,
        ),
    };
    let serve = checker.serve(&raw.serve);
    let notify = checker.notify(&raw.notify);
    let lineage = checker.lineage(&raw.lineage, &plain_hosts);
    let streams = checker.streams(raw, sources.base_url.as_deref(), &plain_hosts);
    deduplicate(checker.problems);
    Some(Settings {
        lake: lake?,
        streams: streams?,
        http: http?,
        retry: retry?,
        concurrency,
        serve: serve?,
        notify,
        lineage,
    })
}

/// A problem of `[defaults]` is found once per stream that relies on it, and told once.
fn deduplicate(problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    problems.retain(|p| seen.insert((p.key.clone(), p.message.clone())));
}

impl Checker<'_> {
    fn report(&mut self, key: &str, message: impl Display, hint: Option<&str>) {
        self.problems.push(Problem {
            key: key.into(),
            message: message.to_string(),
            hint: hint.map(Into::into),
        });
    }

    /// The value of a key, if it is there and has the right type.
    fn value<T: Clone>(&mut self, key: &str, field: &Field<T>) -> Option<T> {
        match &field.as_ref()?.0 {
            Ok(value) => Some(value.clone()),
            Err(reason) => {
                self.report(key, reason, None);
                None
            }
        }
    }

    /// A text read by `T`'s own parser. The outer `None` means absent, the inner one refused.
    fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &str,
        field: &Field<String>,
        hint: &str,
    ) -> Option<Option<T>> {
        field.as_ref()?;
        let text = self.value(key, field);
        Some(text.and_then(|text| match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(key, format_args!("`{}`: {error}", text.escape_debug()), Some(hint));
                None
            }
        }))
    }

    fn duration(&mut self, key: &str, field: &Field<String>, default: Duration) -> Duration {
        let Some(text) = self.value(key, field) else { return default };
        match humantime::parse_duration(&text) {
            Ok(duration) if !duration.is_zero() && duration <= Duration::from_hours(168) => duration,
            _ => {
                self.report(
                    key,
                    format_args!("`{}` is no duration from above 0 to 7 days", text.escape_debug()),
                    Some("write a number and a unit, such as `500ms`, `30s`, `5m` or `1h`"),
                );
                default
            }
        }
    }

    fn count(
        &mut self,
        key: &str,
        field: &Field<u64>,
        default: usize,
        range: std::ops::RangeInclusive<u64>,
    ) -> usize {
        match self.value(key, field) {
            None => default,
            Some(n) if range.contains(&n) => usize::try_from(n).unwrap_or(default),
            Some(n) => {
                self.report(
                    key,
                    format_args!("{n} is not within {} to {}", range.start(), range.end()),
                    None,
                );
                default
            }
        }
    }

    /// A path; one that a file gives relative is relative to that file's folder.
    fn path(&mut self, key: &str, field: &Field<String>) -> Option<PathBuf> {
        let text = self.value(key, field)?;
        if text.is_empty() {
            self.report(key, "the path is empty", None);
            return None;
        }
        Some(self.resolve(key, Path::new(&text)))
    }

    fn resolve(&self, key: &str, path: &Path) -> PathBuf {
        (self.base)(key).map_or_else(|| path.to_path_buf(), |base| base.join(path))
    }

    /// A file that must be there now.
    fn existing_file(&mut self, key: &str, field: &Field<String>) -> Option<PathBuf> {
        let path = self.path(key, field)?;
        if let Err(error) = std::fs::File::open(&path) {
            self.report(key, format_args!("cannot read `{}`: {error}", path.display()), None);
        }
        Some(path)
    }

    fn http(&mut self, raw: &raw::Http) -> Option<HttpSettings> {
        let proxy =
            match self.parsed::<Url>("http.proxy", &raw.proxy, "a URL such as `http://proxy.example:3128`") {
                None => None,
                Some(url) => {
                    let url = url?;
                    if !url.username().is_empty() || url.password().is_some() {
                        self.report(
                            "http.proxy",
                            "credentials do not belong in this file",
                            Some("leave `http.proxy` out and set `HTTPS_PROXY` in the environment"),
                        );
                    }
                    Some(url)
                }
            };
        Some(HttpSettings {
            connect_timeout: self.duration(
                "http.connect_timeout",
                &raw.connect_timeout,
                Duration::from_secs(10),
            ),
            timeout: self.duration("http.timeout", &raw.timeout, Duration::from_mins(1)),
            max_body_bytes: (self.count("http.max_body_mib", &raw.max_body_mib, 8, 1..=1024) as u64) << 20,
            ca_file: self.existing_file("http.ca_file", &raw.ca_file),
            proxy,
        })
    }

    fn retry(&mut self, raw: &raw::Retry) -> Option<RetrySettings> {
        let attempts = self.count("retry.attempts", &raw.attempts, 5, 1..=100);
        Some(RetrySettings {
            attempts: u32::try_from(attempts).ok()?,
            base_delay: self.duration("retry.base_delay", &raw.base_delay, Duration::from_millis(500)),
            max_delay: self.duration("retry.max_delay", &raw.max_delay, Duration::from_secs(30)),
            max_rate_wait: self.duration("retry.max_rate_wait", &raw.max_rate_wait, Duration::from_mins(65)),
        })
    }

    /// A base URL: `https`, or `http` for hosts that need no TLS by name; nothing but host and path.
    fn base_url(&mut self, key: &str, url: Url, plain_hosts: &[String]) -> Option<Url> {
        let hint = Some("write it as `https://platform.kore.ai`");
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            self.report(key, "a base URL has no user, password, query or fragment", hint);
            return None;
        }
        if url.host().is_none() {
            self.report(key, "a base URL names a host", hint);
            return None;
        }
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" => Some(url),
            "http" if loopback || plain_hosts.iter().any(|h| Some(h.as_str()) == url.host_str()) => Some(url),
            "http" => {
                self.report(
                    key,
                    "without TLS the tokens travel in the open",
                    Some("use `https://`, or name the host in `http.allow_plain_http`"),
                );
                None
            }
            other => {
                self.report(key, format_args!("the scheme `{other}` is not supported"), hint);
                None
            }
        }
    }
}
