//! Pages for people: made whole here, without a build step, an outside asset, or the need of a script.
//!
//! Texts are escaped by maud. There is no inline style and no inline script, so that the policy of
//! [`http`](super::http) can forbid both.

mod calendar;
mod chart;
pub(super) mod config;
pub(super) mod overview;
mod restated;
pub(super) mod runs;
pub(super) mod stream;
mod tables;
mod words;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::shown::State;
use super::site::{Site, Trouble};

/// A picture of the tab: three bars. A browser asks for one anyway.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg \
    fill='%230f766e'%3E%3Crect x='1' y='8' width='4' height='7' rx='1'/%3E%3Crect x='6' y='4' width='4' \
    height='11' rx='1'/%3E%3Crect x='11' y='1' width='4' height='14' rx='1'/%3E%3C/g%3E%3C/svg%3E";

/// Where in the site a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Overview,
    Stream,
    Runs,
    Config,
    Nowhere,
}

/// A page: what is around `body` is the same everywhere.
fn page(site: &Site, place: Place, title: &str, body: &Markup) -> Markup {
    let state = site.shown.state();
    let links = [
        ("/", "Overview", Place::Overview),
        ("/runs", "Runs", Place::Runs),
        ("/config", "Configuration", Place::Config),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · trendlake" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/script.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    div.wide {
                        a.brand href="/" { "trendlake" }
                        nav aria-label="Pages" {
                            @for (path, text, here) in links {
                                @if here == place { a href=(path) aria-current="page" { (text) } }
                                @else { a href=(path) { (text) } }
                            }
                        }
                        span.pulse { (pulse(site, &state)) }
                    }
                }
                // What stands within is fetched again from time to time, where it goes on changing.
                main #main.wide tabindex="-1" data-refresh[matches!(place, Place::Overview | Place::Runs)] {
                    (alerts(&state))
                    (body)
                }
                footer.wide {
                    span { "trendlake " (env!("CARGO_PKG_VERSION")) }
                    a href="/api/v1/openapi.json" { "API" }
                    a href="/metrics" { "Metrics" }
                }
            }
        }
    }
}

/// What the daemon does now.
fn pulse(site: &Site, state: &State) -> Markup {
    let now = site.now();
    html! {
        @if let Some(began) = state.under_way {
            span.dot.busy {} "Run under way, began " (words::distance(began - now))
        } @else if let Some(tick) = site.settings().serve.schedule.next_after(now) {
            span.dot {} "Next run " (words::distance(tick - now))
        } @else {
            span.dot {} "No further run is scheduled"
        }
    }
}

/// What a person should know whatever they came for.
fn alerts(state: &State) -> Markup {
    html! {
        @if let Some(failure) = &state.failure {
            div.alert.bad role="alert" { strong { "The last round came to nothing. " } (failure) }
        }
        @if let Some(problems) = &state.refused {
            div.alert.bad role="alert" {
                strong { "A new configuration was refused, and the old one stays in force." }
                pre { (problems) }
            }
        }
    }
}

/// The page in place of one that cannot be had.
pub(super) fn trouble(site: &Site, trouble: &Trouble) -> Response {
    let status = trouble.status();
    let title = match trouble {
        Trouble::NotFound(_) => "Not found",
        Trouble::BadRequest(_) => "This cannot be shown",
        Trouble::Lake(_) | Trouble::TooSlow => "The lake cannot be read",
    };
    let body = html! {
        h1 { (title) }
        p.sentence { (ticked(&trouble.to_string())) "." }
        @if let Some(hint) = trouble.hint() { p.hint { "What to do: " (ticked(hint)) "." } }
        p { a href="/" { "To the overview" } }
    };
    (status, page(site, Place::Nowhere, title, &body)).into_response()
}

/// What may be wider than the screen, by a label for whoever does not see it.
fn scrolled(label: &str, content: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) { (content) }
    }
}

/// A name in the middle of a text, whatever the direction of its writing.
fn name(text: &str) -> Markup {
    html! { bdi { (text) } }
}

/// A text in which names of keys and commands stand between backticks.
fn ticked(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The look of all pages.
#[utoipa::path(get, path = "/assets/style.css", tag = "pages",
    responses((status = 200, description = "A style sheet", body = String, content_type = "text/css")))]
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

/// What the pages can do where scripts are allowed: figures under the pointer, and fresh ones each minute.
#[utoipa::path(get, path = "/assets/script.js", tag = "pages",
    responses((status = 200, description = "A script", body = String, content_type = "text/javascript")))]
pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("script.js"))
}
