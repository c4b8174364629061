//! Every path that is served, with its place in the document of the API.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa::openapi::OpenApiVersion;

use super::site::{Site, Trouble};
use super::{api, pages};

/// Serves until `stop` is given.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, site: Arc<Site>, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(site)).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Every path.
pub fn router(site: Arc<Site>) -> Router {
    let router = Router::new();
    let router = routes().into_iter().fold(router, |router, (path, route)| router.route(path, route));
    router.fallback(nothing_here).layer(axum::middleware::from_fn(guarded)).with_state(site)
}

type Route = MethodRouter<Arc<Site>>;

fn routes() -> Vec<(&'static str, Route)> {
    vec![
        ("/", get(pages::overview::show)),
        ("/streams/{id}", get(pages::stream::show)),
        ("/runs", get(pages::runs::all)),
        ("/runs/{id}", get(pages::runs::one)),
        ("/config", get(pages::config::show)),
        ("/assets/style.css", get(pages::style)),
        ("/assets/script.js", get(pages::script)),
        ("/healthz", get(alive)),
        ("/readyz", get(ready)),
        ("/metrics", get(metrics)),
        ("/api/v1/coverage", get(api::coverage)),
        ("/api/v1/runs", get(api::runs)),
        ("/api/v1/runs/last", get(api::last_run)),
        ("/api/v1/runs/{id}", get(api::run)),
        ("/api/v1/streams/{id}/trends", get(api::trends)),
        ("/api/v1/openapi.json", get(api::openapi)),
    ]
}

#[derive(OpenApi)]
#[openapi(
    info(title = "trendlake", description = "How the export goes, and what the lake holds. Everything is read-only."),
    paths(
        pages::overview::show,
        pages::stream::show,
        pages::runs::all,
        pages::runs::one,
        pages::config::show,
        pages::style,
        pages::script,
        alive,
        ready,
        metrics,
        api::coverage,
        api::runs,
        api::last_run,
        api::run,
        api::trends,
        api::openapi
    ),
    tags(
        (name = "coverage", description = "how the lake stands"),
        (name = "trends", description = "what it holds"),
        (name = "runs", description = "what the runs did"),
        (name = "health", description = "for whatever watches the daemon"),
        (name = "pages", description = "for people"),
        (name = "about", description = "this document")
    )
)]
struct Document;

/// The document of the API, in `OpenAPI` 3.1.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.openapi = OpenApiVersion::Version31;
    document
}

/// What every answer says of itself: a browser is to run nothing but what is served here, and to tell nobody
/// where it has been.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn nothing_here(State(site): State<Arc<Site>>, request: Request) -> Response {
    let trouble = Trouble::NotFound("there is nothing under this address".into());
    if request.uri().path().starts_with("/api/") {
        api::ApiTrouble::from(trouble).into_response()
    } else {
        pages::trouble(&site, &trouble)
    }
}

/// Whether the daemon lives.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain")))]
async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the first round has come to its end.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "It has", body = String, content_type = "text/plain"),
        (status = 503, description = "It has not", body = String, content_type = "text/plain")))]
async fn ready(State(site): State<Arc<Site>>) -> impl IntoResponse {
    if site.shown.state().ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first round is under way\n")
    }
}

/// What is counted and measured, as Prometheus reads it.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain")))]
async fn metrics(State(site): State<Arc<Site>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], site.shown.meter.render())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let routes: BTreeSet<_> = routes().into_iter().map(|(path, _)| path.to_owned()).collect();
        let document = serde_json::to_value(document()).unwrap();
        let documented: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(routes, documented);
        assert_eq!(document["openapi"], "3.1.0");
    }
}
