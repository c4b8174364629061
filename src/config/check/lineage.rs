//! The table of where events of `OpenLineage` go.

use reqwest::header::HeaderValue;
use url::Url;

use super::{Checker, raw};
use crate::config::LineageSettings;
use crate::config::raw::Field;
use crate::config::settings::is_loopback;
use crate::secret::SecretRef;

/// Who is meant where the configuration does not say.
const NAMESPACE: &str = "trendlake";
const JOB: &str = "export";

impl Checker<'_> {
    /// `None` where the table names no place, or where a problem was told.
    pub(super) fn lineage(&mut self, raw: &raw::Lineage, plain_hosts: &[String]) -> Option<LineageSettings> {
        let token = self.token(raw);
        let url = self.events_url(raw, token.is_some(), plain_hosts);
        let file = self.path("lineage.file", &raw.file);
        let namespace = self.named("lineage.namespace", &raw.namespace, NAMESPACE);
        let job = self.named("lineage.job", &raw.job, JOB);
        let needs_url = [&raw.token_file, &raw.token_env].into_iter().any(Option::is_some);
        let needs_place = needs_url || raw.namespace.is_some() || raw.job.is_some();
        if raw.url.is_none() && (needs_url || (needs_place && raw.file.is_none())) {
            let hint = if needs_url {
                "the token is for this address"
            } else {
                "or `file`: without a place, no event is told"
            };
            self.report("lineage.url", "missing", Some(hint));
        }
        (url.is_some() || file.is_some()).then_some(LineageSettings { url, token, file, namespace, job })
    }

    fn token(&mut self, raw: &raw::Lineage) -> Option<SecretRef> {
        let (key, reference) = self.reference("lineage.token", &raw.token_file, &raw.token_env)?;
        match reference.read().map(|token| HeaderValue::from_str(token.expose())) {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                self.report(&key, format_args!("{reference} holds no token"), Some("one line of plain text"));
            }
            Err(error) => self.report(&key, error, None),
        }
        Some(reference)
    }

    fn events_url(&mut self, raw: &raw::Lineage, has_token: bool, plain_hosts: &[String]) -> Option<Url> {
        const KEY: &str = "lineage.url";
        let url =
            self.parsed::<Url>(KEY, &raw.url, "a URL such as `https://marquez.example/api/v1/lineage`")??;
        let names_host =
            |url: &Url| is_loopback(url) || plain_hosts.iter().any(|h| Some(h.as_str()) == url.host_str());
        if !url.username().is_empty() || url.password().is_some() {
            let hint = "name a file with the token in `lineage.token_file`";
            self.report(KEY, "credentials do not belong in this file", Some(hint));
        } else if !matches!(url.scheme(), "http" | "https") {
            self.report(
                KEY,
                format_args!("the scheme `{}` is not supported", url.scheme()),
                Some("an `https://` URL"),
            );
        } else if has_token && url.scheme() == "http" && !names_host(&url) {
            let hint = "use `https://`, or name the host in `http.allow_plain_http`";
            self.report(KEY, "without TLS the token travels in the open", Some(hint));
        }
        Some(url)
    }

    fn named(&mut self, key: &str, field: &Field<String>, default: &str) -> String {
        let name = self.value(key, field).unwrap_or_else(|| default.to_owned());
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            self.report(key, "a name has characters, and none of them ends a line", None);
        }
        name
    }
}
