//! The lake's table.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::{Checker, raw};
use crate::config::settings::{LakeLayout, LakeSettings, Location};
use crate::model::Groups;

impl Checker<'_> {
    /// `elsewhere` says that a flag names the lake: the options of the configured one are not its own.
    pub(super) fn lake(&mut self, raw: &raw::Lake, elsewhere: bool) -> Option<LakeSettings> {
        let ca_file = self.existing_file("lake.ca_file", &raw.ca_file);
        let retry_timeout = self.duration("lake.retry_timeout", &raw.retry_timeout, Duration::from_mins(1));
        let single_writer = self.value("lake.single_writer", &raw.single_writer).unwrap_or(false);
        let success_marker = self.value("lake.success_marker", &raw.success_marker).unwrap_or(false);
        let Some(text) = self.value("lake.url", &raw.url) else {
            if raw.url.is_none() {
                self.report(
                    "lake.url",
                    "missing",
                    Some("a folder such as `./lake`, or a URL such as `s3://bucket/prefix`"),
                );
            }
            return None;
        };
        let layout = self.kept(raw);
        if let (Some(LakeLayout::Delta), true) = (layout, single_writer) {
            let message = "the versions of a Delta table are told apart by conditional writes alone, also those of one writer";
            let hint = Some(
                "remove it, and use a store with conditional writes; or set `lake.format = \"parquet\"`",
            );
            self.report("lake.single_writer", message, hint);
        }
        let location = self.location(&text);
        let mut options = self.options(&raw.options, location.as_ref());
        let location = location?;
        if matches!(location, Location::Folder(_)) && !options.is_empty() {
            if !elsewhere {
                let hint = Some("remove the table, or set `lake.url` to an object store");
                self.report("lake.options", "a folder has no options", hint);
            }
            options.clear();
        }
        Some(LakeSettings {
            location,
            options,
            ca_file,
            retry_timeout,
            layout: layout?,
            single_writer,
            success_marker,
        })
    }

    /// The format and the layout.
    fn kept(&mut self, raw: &raw::Lake) -> Option<LakeLayout> {
        const KEY: &str = "lake.format";
        let format = self.value(KEY, &raw.format);
        match format.as_deref() {
            None | Some("parquet") => self.layout(raw),
            Some("delta") if !cfg!(feature = "delta") => {
                let message = "this build of trendlake does not know Delta tables";
                let hint = "use the image, or build with `cargo build --release --features delta`";
                self.report(KEY, message, Some(hint));
                None
            }
            Some("delta") => {
                for (key, is_set) in
                    [("lake.layout", raw.layout.is_some()), ("lake.groups", raw.groups.is_some())]
                {
                    if is_set {
                        self.report(key, "Delta tables have no layout", Some("remove it"));
                    }
                }
                Some(LakeLayout::Delta)
            }
            Some(other) => {
                let message = format_args!("`{}` is no format", other.escape_debug());
                self.report(KEY, message, Some("write `parquet` or `delta`"));
                None
            }
        }
    }

    fn layout(&mut self, raw: &raw::Lake) -> Option<LakeLayout> {
        let most = u64::from(Groups::MOST);
        let groups = raw.groups.is_some().then(|| self.count("lake.groups", &raw.groups, 1, 1..=most));
        let groups = groups.and_then(|n| Groups::new(u32::try_from(n).ok()?));
        let text = self.value("lake.layout", &raw.layout);
        match text.as_deref() {
            Some("packed") => Some(LakeLayout::Packed { groups }),
            None | Some("stream") if groups.is_none() => Some(LakeLayout::Stream),
            None | Some("stream") => {
                let hint = Some("remove it, or set `lake.layout = \"packed\"`");
                self.report("lake.groups", "only a packed lake is divided into groups", hint);
                None
            }
            Some(other) => {
                let message = format_args!("`{}` is no layout", other.escape_debug());
                self.report("lake.layout", message, Some("write `stream` or `packed`"));
                None
            }
        }
    }

    fn location(&mut self, text: &str) -> Option<Location> {
        const KEY: &str = "lake.url";
        const HINT: Option<&str> = Some(
            "a folder, `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`",
        );
        if text.trim().is_empty() {
            self.report(KEY, "the URL is empty", HINT);
            return None;
        }
        if !text.contains("://") {
            return Some(Location::Folder(self.resolve(KEY, Path::new(text))));
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                self.report(KEY, error, HINT);
                return None;
            }
        };
        // A password in a URL would reach logs and reports; what it says is not repeated here.
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            self.report(KEY, "a lake's URL has no user, password, query or fragment", HINT);
            return None;
        }
        match url.scheme() {
            "file" => {
                if let Ok(path) = url.to_file_path() {
                    Some(Location::Folder(path))
                } else {
                    self.report(
                        KEY,
                        "a `file` URL names a folder of this machine",
                        Some("write `file:///folder`"),
                    );
                    None
                }
            }
            "s3" | "gs" | "az" if url.host().is_some() => Some(Location::Remote(url)),
            "s3" | "gs" | "az" => {
                self.report(KEY, "the bucket is missing", HINT);
                None
            }
            other => {
                self.report(KEY, format_args!("the scheme `{other}` is not supported"), HINT);
                None
            }
        }
    }

    fn options(
        &mut self,
        raw: &BTreeMap<String, Value>,
        location: Option<&Location>,
    ) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        for (name, value) in raw {
            let key = format!("lake.options.{name}");
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => {
                    self.report(&key, "expected a text, a number, `true` or `false`", None);
                    continue;
                }
            };
            let secret = [
                "secret",
                "password",
                "customer_key",
                "encryption_key",
                "token",
                "sas",
                "private",
                "credential",
                "account_key",
                "master_key",
            ];
            let lower = name.to_ascii_lowercase();
            if secret.iter().any(|s| lower.contains(s))
                || lower.ends_with("access_key")
                || lower.ends_with("storage_key")
            {
                self.report(
                    &key,
                    "credentials do not belong in this file",
                    Some("set the variable of the same name in the environment, such as `AWS_SECRET_ACCESS_KEY`"),
                );
                continue;
            }
            if !is_known_option(location, &lower) {
                self.report(
                    &key,
                    "the object store has no such option",
                    Some("options have the names of the store's own tools, such as `aws_region`"),
                );
                continue;
            }
            options.insert(lower, value);
        }
        options
    }
}

fn is_known_option(location: Option<&Location>, name: &str) -> bool {
    match location {
        // Told as one problem, not as one for each option.
        None | Some(Location::Folder(_)) => true,
        Some(Location::Remote(url)) => match url.scheme() {
            "s3" => name.parse::<object_store::aws::AmazonS3ConfigKey>().is_ok(),
            "gs" => name.parse::<object_store::gcp::GoogleConfigKey>().is_ok(),
            _ => name.parse::<object_store::azure::AzureConfigKey>().is_ok(),
        },
    }
}
