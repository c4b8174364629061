//! Where a lake is, and how each engine spells that.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use object_store::path::Path as Prefix;
use url::Url;

use super::Engine;
use crate::config::{LakeSettings, Location};

/// Where a lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An absolute folder of this machine.
    Folder(String),
    /// A bucket of S3.
    S3(Bucket),
    /// A bucket of Google Cloud Storage.
    Gcs(Bucket),
    /// A container of Azure, and its account where that is known.
    Azure(Bucket, Option<String>),
}

/// A bucket or container, with what comes before each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    name: String,
    /// Without slashes around it; may be empty.
    prefix: String,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// A place that an engine cannot be told of.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PlaceError {
    message: String,
    /// What to do about it.
    pub hint: &'static str,
}

const FORMS: &str = "a folder, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or \
     `abfss://container@account.dfs.core.windows.net/prefix`";

/// What ends the host of an Azure account's data lake.
const AZURE_HOST: &str = ".dfs.core.windows.net";

fn error(message: impl Into<String>, hint: &'static str) -> PlaceError {
    PlaceError { message: message.into(), hint }
}

/// An engine that takes every file below a folder for a part of the table, those too that have been replaced.
pub(super) fn no_tables() -> PlaceError {
    error(
        "Redshift reads no Delta tables: it would count rows twice, since files that have been replaced are still there",
        "read the tables with Athena, or load what another engine reads; docs/WAREHOUSE.md says more, under \"Delta tables\"",
    )
}

impl Place {
    /// The place of a configured lake.
    ///
    /// # Errors
    /// When its path has characters that are patterns or line ends to an engine.
    pub fn of(lake: &LakeSettings) -> Result<Self, PlaceError> {
        let account = || {
            let names = ["azure_storage_account_name", "account_name"];
            names.iter().find_map(|name| lake.options.get(*name).cloned())
        };
        match &lake.location {
            Location::Folder(path) => folder(path),
            Location::Remote(url) => match remote(url)? {
                Self::Azure(bucket, None) => Ok(Self::Azure(bucket, account())),
                place => Ok(place),
            },
        }
    }

    /// The root of the lake as this engine spells it, without a slash at its end.
    pub(super) fn root(&self, engine: Engine) -> Result<String, PlaceError> {
        use Engine::{Athena, Bigquery, Clickhouse, Duckdb, Postgres, Redshift, Snowflake, Spark};
        Ok(match (self, engine) {
            (Self::Folder(path), Duckdb | Clickhouse | Postgres) => path.clone(),
            (Self::Folder(path), Spark) => format!("file://{path}"),
            (Self::Folder(_), _) => {
                return Err(error(
                    "this engine reads from an object store, and the lake is a folder",
                    "`--location` says where the engine finds a copy of it",
                ));
            }
            (_, Bigquery) if !matches!(self, Self::Gcs(_)) => {
                return Err(error(
                    "BigQuery reads from Google Cloud Storage",
                    "`--location gs://bucket/prefix` says where it finds a copy of the lake",
                ));
            }
            (_, Athena | Redshift) if !matches!(self, Self::S3(_)) => {
                return Err(error(
                    "Athena and Redshift read from S3",
                    "`--location s3://bucket/prefix` says where they find a copy of the lake",
                ));
            }
            (Self::S3(bucket), Spark) => format!("s3a://{bucket}"),
            (Self::S3(bucket), _) => format!("s3://{bucket}"),
            (Self::Gcs(bucket), Clickhouse) => format!("https://storage.googleapis.com/{bucket}"),
            (Self::Gcs(bucket), Snowflake) => format!("gcs://{bucket}"),
            (Self::Gcs(bucket), _) => format!("gs://{bucket}"),
            (Self::Azure(..), Clickhouse) => {
                return Err(error(
                    "ClickHouse takes the credentials of Azure in the statement only",
                    "write the statement by hand with a named collection, or read from another store",
                ));
            }
            (Self::Azure(bucket, None), Duckdb | Postgres) => format!("az://{bucket}"),
            (Self::Azure(_, None), _) => {
                return Err(error(
                    "the lake's storage account is not known",
                    "set `azure_storage_account_name` in `[lake.options]`, or `--location \
                     abfss://container@account.dfs.core.windows.net/prefix`",
                ));
            }
            (Self::Azure(bucket, Some(account)), Snowflake) => {
                format!("azure://{account}.blob.core.windows.net/{bucket}")
            }
            (Self::Azure(Bucket { name, prefix }, Some(account)), _) => {
                format!("abfss://{name}@{account}{AZURE_HOST}/{prefix}").trim_end_matches('/').to_owned()
            }
        })
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text.contains("://") {
            return remote(&Url::parse(text).map_err(|e| error(e.to_string(), FORMS))?);
        }
        folder(Path::new(text))
    }
}

fn folder(path: &Path) -> Result<Place, PlaceError> {
    let path = std::path::absolute(path).map_err(|e| error(e.to_string(), FORMS))?;
    let text = path.to_str().ok_or_else(|| error("the folder's name is not UTF-8", FORMS))?;
    Ok(Place::Folder(harmless(text)?.trim_end_matches('/').to_owned()))
}

fn remote(url: &Url) -> Result<Place, PlaceError> {
    // What it says is not repeated: it may hold a password.
    if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(error("a lake's URL has no password, query or fragment", FORMS));
    }
    if url.scheme() == "file" {
        return folder(&url.to_file_path().map_err(|()| error("the URL names no folder", FORMS))?);
    }
    let prefix = Prefix::from_url_path(url.path()).map_err(|e| error(e.to_string(), FORMS))?;
    let prefix = harmless(prefix.as_ref())?.to_owned();
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| error("the bucket is missing", FORMS))?.to_owned();
    let bucket = |name| Bucket { name, prefix };
    Ok(match (url.scheme(), url.username()) {
        ("s3" | "s3a", "") => Place::S3(bucket(host)),
        ("gs", "") => Place::Gcs(bucket(host)),
        ("az", "") => Place::Azure(bucket(host), None),
        ("abfss", container) if !container.is_empty() => {
            let account =
                host.strip_suffix(AZURE_HOST).ok_or_else(|| error("the account is missing", FORMS))?;
            Place::Azure(bucket(container.to_owned()), Some(account.to_owned()))
        }
        _ => return Err(error("no place of a lake", FORMS)),
    })
}

/// Engines take some characters of a path for patterns, and a line end would end a remark.
fn harmless(path: &str) -> Result<&str, PlaceError> {
    if path.contains(['*', '?', '[', ']', '{', '}']) || path.contains(char::is_control) {
        return Err(error(
            "the lake's path has a character that is a pattern to the engines, or a line end",
            "move the lake to a path without `*`, `?`, `[`, `]`, `{` and `}`",
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str, engine: Engine) -> String {
        match text.parse::<Place>().and_then(|place| place.root(engine)) {
            Ok(root) => root,
            Err(e) => format!("error: {e}"),
        }
    }

    #[test]
    fn each_engine_has_its_spelling() {
        let azure = "abfss://box@acme.dfs.core.windows.net/lake/a";
        for (place, engine, spelled) in [
            ("/srv/lake/", Engine::Duckdb, "/srv/lake"),
            ("file:///srv/a%20lake", Engine::Clickhouse, "/srv/a lake"),
            ("/srv/lake", Engine::Spark, "file:///srv/lake"),
            ("s3://bucket/a/b/", Engine::Duckdb, "s3://bucket/a/b"),
            ("s3://bucket", Engine::Athena, "s3://bucket"),
            ("s3a://bucket/a%20b", Engine::Spark, "s3a://bucket/a b"),
            ("gs://bucket/a", Engine::Bigquery, "gs://bucket/a"),
            ("gs://bucket/a", Engine::Clickhouse, "https://storage.googleapis.com/bucket/a"),
            ("gs://bucket/a", Engine::Snowflake, "gcs://bucket/a"),
            ("az://box/a", Engine::Duckdb, "az://box/a"),
            (azure, Engine::Trino, azure),
            (
                "abfss://box@acme.dfs.core.windows.net/",
                Engine::Spark,
                "abfss://box@acme.dfs.core.windows.net",
            ),
            (azure, Engine::Snowflake, "azure://acme.blob.core.windows.net/box/lake/a"),
        ] {
            assert_eq!(root(place, engine), spelled, "{place}");
        }
    }

    #[test]
    fn places_that_an_engine_does_not_reach() {
        for (place, engine, reason) in [
            ("/srv/lake", Engine::Snowflake, "this engine reads from an object store"),
            ("s3://bucket", Engine::Bigquery, "BigQuery reads from Google"),
            ("gs://bucket", Engine::Athena, "Athena and Redshift read from S3"),
            ("az://box", Engine::Redshift, "Athena and Redshift read from S3"),
            ("az://box", Engine::Trino, "the lake's storage account is not known"),
            ("az://box", Engine::Clickhouse, "ClickHouse takes"),
            ("s3://", Engine::Duckdb, "the bucket is missing"),
            ("s3://key:secret@bucket", Engine::Duckdb, "a lake's URL has no password"),
            ("s3://key@bucket", Engine::Duckdb, "no place of a lake"),
            ("abfss://box@acme.example/", Engine::Spark, "the account is missing"),
            ("https://bucket.example", Engine::Duckdb, "no place of a lake"),
            ("/srv/*", Engine::Duckdb, "the lake's path has a character"),
            ("/srv/a\nb", Engine::Duckdb, "the lake's path has a character"),
        ] {
            let said = root(place, engine);
            assert!(said.starts_with(&format!("error: {reason}")), "{place}: {said}");
        }
    }
}
