//! The configuration in force. Of secrets there is only where they are read from: their values are no part of
//! it.

use std::sync::Arc;

use axum::extract::State;
use chrono::TimeDelta;
use maud::{Markup, html};

use super::{Place, name, page, scrolled, ticked, words};
use crate::config::{Algorithm, OnMissing, RateLimit, Settings, Stream};
use crate::serve::site::Site;

/// The configuration in force.
#[utoipa::path(get, path = "/config", tag = "pages",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub(in crate::serve) async fn show(State(site): State<Arc<Site>>) -> Markup {
    let settings = site.settings();
    let body = html! {
        h1 { "Configuration" }
        p.lead { "What is in force now. The file is read again when it changes." }
        div.cards { (schedule(&site, &settings)) (lake(&settings)) (api(&settings)) }
        section {
            h2 { "Streams " span.soft { (words::number(settings.streams.len() as u64)) } }
            (scrolled("Streams", &streams(&settings.streams)))
        }
    };
    page(&site, Place::Config, "Configuration", &body)
}

fn facts(title: &str, facts: &[(&str, Markup)]) -> Markup {
    html! {
        section.card {
            h2 { (title) }
            dl { @for (what, value) in facts { div { dt { (what) } dd { (value) } } } }
        }
    }
}

fn text(text: impl std::fmt::Display) -> Markup {
    html! { (text.to_string()) }
}

fn span(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn schedule(site: &Site, settings: &Settings) -> Markup {
    let serve = &settings.serve;
    let now = site.now();
    let next = match serve.schedule.next_after(now) {
        Some(tick) => words::when(tick, now),
        None => text("never"),
    };
    let expressions = html! { @for cron in serve.schedule.expressions() { code { (cron) } " " } };
    facts(
        "Schedule",
        &[
            ("runs", expressions),
            ("zone", text(serve.schedule.zone().name())),
            ("next tick", next),
            ("begins up to", text(format_args!("{} later", span(serve.jitter)))),
            ("listens on", text(serve.listen)),
            ("tells of runs", told(settings)),
        ],
    )
}

/// Who is told of runs: the addresses of a webhook and a ping are secrets.
fn told(settings: &Settings) -> Markup {
    let Settings { notify, lineage, .. } = settings;
    html! {
        @if notify.webhook.is_none() && notify.ping.is_none() && lineage.is_none() { "nobody" }
        @for (what, reference) in [("a webhook", &notify.webhook), ("a ping", &notify.ping)] {
            @if let Some(reference) = reference { (what) ", address from " (ticked(&reference.to_string())) br; }
        }
        @if let Some(lineage) = lineage {
            @if let Some(url) = &lineage.url { "lineage, to " code { (url) } br; }
            @if let Some(file) = &lineage.file { "lineage, into " code { (file.display()) } }
        }
    }
}

fn lake(settings: &Settings) -> Markup {
    let lake = &settings.lake;
    let options = html! {
        @if lake.options.is_empty() { "none" }
        @for (key, value) in &lake.options { code { (key) " = " (value) } br; }
    };
    let writers = if lake.single_writer { "one, as vouched for" } else { "any number" };
    facts(
        "Lake",
        &[
            ("place", html! { code { (lake.location) } }),
            ("layout", text(lake.layout.as_str())),
            ("options", options),
            ("writers", text(writers)),
            ("tried again for", text(span(lake.retry_timeout))),
            (
                "certificates",
                text(lake.ca_file.as_ref().map_or("the system's".into(), |f| f.display().to_string())),
            ),
        ],
    )
}

fn api(settings: &Settings) -> Markup {
    let Settings { http, retry, concurrency, .. } = settings;
    facts(
        "API",
        &[
            (
                "time-out",
                text(format_args!("{}, to connect {}", span(http.timeout), span(http.connect_timeout))),
            ),
            ("largest answer", text(format_args!("{} MiB", http.max_body_bytes >> 20))),
            ("proxy", text(http.proxy.as_ref().map_or("none".into(), ToString::to_string))),
            (
                "attempts",
                text(format_args!(
                    "{}, {} to {} apart",
                    retry.attempts,
                    span(retry.base_delay),
                    span(retry.max_delay)
                )),
            ),
            (
                "at once",
                text(format_args!(
                    "{}, {} of each",
                    words::count(concurrency.streams as u64, "stream"),
                    words::count(concurrency.units_per_stream as u64, "month")
                )),
            ),
        ],
    )
}

fn streams(streams: &[Stream]) -> Markup {
    html! {
        table.config {
            thead {
                tr {
                    @for title in ["Stream", "API", "Signed by", "Zone, since", "Figures and slices", "Settles after", "Limits"] {
                        th scope="col" { (title) }
                    }
                }
            }
            tbody { @for stream in streams { (row(stream)) } }
        }
    }
}

fn row(stream: &Stream) -> Markup {
    let credentials = &stream.credentials;
    let grains: Vec<_> = stream.grains.iter().map(|g| g.as_str()).collect();
    html! {
        tr {
            th scope="row" {
                a href={ "/streams/" (stream.id) } { (name(&stream.name)) }
                span.id { (stream.id) }
            }
            td { code { (stream.base_url) } }
            td { (algorithm(credentials.algorithm)) ", client " code { (credentials.client_id) } br; span.soft { "key from " (ticked(&credentials.key.to_string())) } }
            td { (stream.zone.name()) br; span.soft { (stream.first_date) } }
            td {
                (grains.join(", "))
                @for slice in &stream.slices { br; span.soft { (slice) } }
                @for period in &stream.periods { br; span.soft { "periods of a " (period) } }
                @if stream.keep_raw { br; span.soft { "raw answers are kept" } }
            }
            td {
                (words::count(stream.settle_days.into(), "day"))
                @if stream.on_missing == OnMissing::Reject { br; span.soft { "answers with gaps are refused" } }
            }
            td { @for limit in &stream.rate_limits { span.nobreak { (rate(*limit)) } " " } }
        }
    }
}

fn rate(limit: RateLimit) -> String {
    let per = TimeDelta::from_std(limit.per).unwrap_or_default();
    match per.num_seconds() {
        60 => format!("{}/min", words::number(limit.requests)),
        3600 => format!("{}/h", words::number(limit.requests)),
        _ => format!("{} in {}", words::number(limit.requests), span(limit.per)),
    }
}

const fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Hs256 => "HS256",
        Algorithm::Hs512 => "HS512",
        Algorithm::Rs256 => "RS256",
        Algorithm::Rs512 => "RS512",
    }
}
