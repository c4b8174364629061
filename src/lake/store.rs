//! Object stores from settings.

use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::error::{Error, Kind};
use crate::config::LakeSettings;

/// A folder as a store; one that does not exist is an empty store.
pub(super) fn folder(path: &FilePath) -> Result<Arc<dyn ObjectStore>, Error> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let store = LocalFileSystem::new_with_prefix(path)
                .map_err(|e| Error::of("open", &path.display().to_string(), e))?;
            Ok(Arc::new(store))
        }
        Ok(_) => Err(Error::new(
            Kind::Settings,
            format!("`{}` is no folder", path.display()),
            Some("set `lake.url` to a folder"),
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Arc::new(InMemory::new())),
        Err(e) => Err(Error::io("open", path, &e)),
    }
}

/// Builds one of the remote stores: the environment first, then the URL and the options over it.
macro_rules! build {
    ($builder:ty, $url:expr, $settings:expr, $client:expr) => {{
        let mut builder = <$builder>::from_env().with_url($url.as_str()).with_retry(retry($settings));
        if let Some(client) = $client {
            builder = builder.with_client_options(client);
        }
        for (name, value) in &$settings.options {
            let key = name.parse().map_err(|e| Error::of("open", $url.as_str(), e))?;
            builder = builder.with_config(key, value);
        }
        Arc::new(builder.build().map_err(|e| Error::of("open", $url.as_str(), e))?) as Arc<dyn ObjectStore>
    }};
}

/// A bucket or container, and the lake's prefix in it.
pub(super) fn remote(url: &Url, settings: &LakeSettings) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    let prefix = Path::from_url_path(url.path())
        .map_err(|e| Error::new(Kind::Settings, format!("`{url}` has an unusable prefix: {e}"), None))?;
    let client = client_options(settings)?;
    let store = match url.scheme() {
        "s3" => build!(AmazonS3Builder, url, settings, client),
        "gs" => build!(GoogleCloudStorageBuilder, url, settings, client),
        _ => build!(MicrosoftAzureBuilder, url, settings, client),
    };
    Ok((store, prefix))
}

fn retry(settings: &LakeSettings) -> RetryConfig {
    RetryConfig { retry_timeout: settings.retry_timeout, ..RetryConfig::default() }
}

fn client_options(settings: &LakeSettings) -> Result<Option<ClientOptions>, Error> {
    let Some(path) = &settings.ca_file else { return Ok(None) };
    let pem = std::fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|e| Error::of("read", &path.display().to_string(), e))?;
    Ok(Some(certificates.into_iter().fold(ClientOptions::new(), ClientOptions::with_root_certificate)))
}
