//! Traces of runs to a collector of OpenTelemetry: the spans `run`, `stream`, `unit` and `request`, each within the one
//! before, with the lines of the log that were written in them.
//!
//! Where to, with which headers and how often is told by OpenTelemetry's own variables, such as
//! `OTEL_EXPORTER_OTLP_ENDPOINT`. Without an endpoint nothing is collected and nothing sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::{Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

const NAME: &str = env!("CARGO_PKG_NAME");
/// For how long the end of the program waits for what is left to be sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What sends traces, if anything does.
pub(super) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// As the environment says; with why no traces are sent though it names a collector.
    pub(super) fn from_environment() -> (Self, Option<String>) {
        if !is_asked_for(variable) {
            return (Self(None), None);
        }
        // It has a thread and a client of its own, since the runtime that the work is done on has one thread only.
        match opentelemetry_otlp::SpanExporter::builder().with_http().build() {
            Ok(inner) => {
                let exporter = Exporter { inner, is_failing: AtomicBool::new(false) };
                let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
                (Self(Some(provider.with_resource(resource()).build())), None)
            }
            Err(error) => (Self(None), Some(error.to_string())),
        }
    }

    /// What hears of spans. Only the program's own: those of its libraries would tell addresses and headers.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.0.as_ref()?.tracer(NAME);
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_threads(false);
        Some(layer.with_filter(Targets::new().with_target(NAME, LevelFilter::DEBUG)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(PATIENCE)
        {
            warn!("what was left of the traces was not sent: {error}");
        }
    }
}

/// The exporter, whose failures are told: once, until one goes well again. The library's own log would tell what the
/// collector answers, which may repeat its headers.
#[derive(Debug)]
struct Exporter {
    inner: opentelemetry_otlp::SpanExporter,
    is_failing: AtomicBool,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&result, was_failing) {
            warn!("traces were not sent: {error}");
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Whether the environment names a collector and does not switch it off.
fn is_asked_for(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, value: &str| variable(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(value));
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        .iter()
        .any(|name| variable(name).is_some_and(|v| !v.trim().is_empty()))
        && !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables are OpenTelemetry's, which reads the others itself"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the traces are of. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before the program's own name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let found = Resource::builder().build();
    let unknown = |name: opentelemetry::Value| name.as_str().starts_with("unknown_service");
    if found.get(&Key::new("service.name")).is_none_or(unknown) {
        Resource::builder().with_service_name(NAME).with_attribute(version).build()
    } else {
        Resource::builder().with_attribute(version).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_sent_where_an_endpoint_is_named_and_nothing_forbids_it() {
        let asked = |variables: &[(&str, &str)]| {
            is_asked_for(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(
            asked(&[endpoint]) && asked(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/v1/traces")])
        );
        assert!(!asked(&[]) && !asked(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
        assert!(!asked(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]));
        assert!(!asked(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }
}
