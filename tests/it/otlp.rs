//! Traces: what a collector of OpenTelemetry gets of a run, and what becomes of a run that none takes them from.

#![expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::canary::clean;
use super::spine::months_ago;
use super::support::{Ran, Sandbox, serve, settled};

const TOKEN: &str = "c4n4ry-of-the-collector";

/// What the collector has got: paths, tokens, bodies.
type Got = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// A collector that answers so, after so long.
fn collector(status: StatusCode, delay: Duration) -> (Got, String) {
    let got = Got::default();
    let kept = got.clone();
    let router = Router::new().fallback(async move |request: Request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        let token = head.headers.get("authorization").map_or("", |v| v.to_str().unwrap()).to_owned();
        kept.lock().unwrap().push((head.uri.path().to_owned(), token.clone(), body.to_vec()));
        tokio::time::sleep(delay).await;
        // As some do, it says what it was told.
        (status, token)
    });
    (got, serve(router))
}

fn run(sandbox: &Sandbox, endpoint: Option<&str>) -> Ran {
    let mut command = sandbox.command(&["run", "--output", "json"]);
    command
        .env("RUST_LOG", "trace")
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{TOKEN}"));
    if let Some(endpoint) = endpoint {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    }
    let ran: Ran = command.output().unwrap().into();
    assert!(!ran.stderr.contains(TOKEN) && !ran.stdout.contains(TOKEN), "{ran:?}");
    ran.expect(0)
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let value = |a: &KeyValue| a.value.as_ref().and_then(|v| v.value.as_ref()).map(text).unwrap_or_default();
    attributes.iter().map(|a| (a.key.as_str(), value(a))).collect()
}

#[test]
fn a_collector_gets_the_spans_of_a_run_each_within_its_own() {
    let (got, endpoint) = collector(StatusCode::OK, Duration::ZERO);
    let sandbox = Sandbox::new(2, &months_ago(1), settled());
    let report = run(&sandbox, Some(&endpoint)).json();
    let mut spans: Vec<Span> = Vec::new();
    for (path, token, body) in &*got.lock().unwrap() {
        assert_eq!((path.as_str(), token.as_str()), ("/v1/traces", &*format!("Bearer {TOKEN}")));
        clean("a trace", body);
        for resource_spans in ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans {
            let resource = texts(&resource_spans.resource.as_ref().unwrap().attributes).clone();
            assert_eq!(resource["service.name"], "trendlake");
            assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
            spans.extend(resource_spans.scope_spans.into_iter().flat_map(|s| s.spans));
        }
    }
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (span.span_id.clone(), span)).collect();
    let parent =
        |span: &Span| by_id.get(&span.parent_span_id).map_or("", |span| span.name.as_str()).to_owned();
    let mut nesting: BTreeMap<(String, String), u64> = BTreeMap::new();
    for span in &spans {
        *nesting.entry((parent(span), span.name.clone())).or_default() += 1;
        assert_eq!(span.trace_id, spans[0].trace_id);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    // Two streams, two months in two grains, one request for each.
    let expected =
        [(("", "run"), 1), (("run", "stream"), 2), (("stream", "unit"), 8), (("unit", "request"), 8)];
    let expected = expected.map(|((outer, inner), count)| ((outer.to_owned(), inner.to_owned()), count));
    assert_eq!(nesting, BTreeMap::from(expected));
    for span in &spans {
        let attributes = texts(&span.attributes);
        match span.name.as_str() {
            "run" => assert_eq!(Some(attributes["id"].as_str()), report["run_id"].as_str()),
            "stream" => assert!(attributes["id"].starts_with("st-"), "{attributes:?}"),
            "unit" => assert!(["daily", "hourly"].contains(&attributes["grain"].as_str()), "{attributes:?}"),
            _ => assert_eq!(attributes["http.response.status_code"], "200"),
        }
    }
}

#[test]
fn without_an_endpoint_nothing_is_sent_and_without_a_collector_the_run_goes_on() {
    let (got, endpoint) = collector(StatusCode::OK, Duration::ZERO);
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    run(&sandbox, None);
    assert!(got.lock().unwrap().is_empty());
    let ran = run(&sandbox, Some("not an address"));
    assert!(ran.stderr.contains("no traces are sent: "), "{ran:?}");
    drop(endpoint);

    let (refused, endpoint) = collector(StatusCode::UNAUTHORIZED, Duration::ZERO);
    let ran = run(&sandbox, Some(&endpoint));
    assert!(ran.stderr.contains("traces were not sent: "), "{ran:?}");
    assert!(!refused.lock().unwrap().is_empty());

    // One that never answers is not waited for.
    let (_, endpoint) = collector(StatusCode::OK, Duration::from_mins(10));
    let began = Instant::now();
    let ran = run(&sandbox, Some(&endpoint));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(ran.stderr.contains("what was left of the traces was not sent"), "{ran:?}");
}
