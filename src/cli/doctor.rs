//! `trendlake doctor`: everything a run needs, tried one by one, each failure with its remedy.

use std::sync::Arc;
use std::time::Duration;

use chrono::Days;
use futures_util::StreamExt;
use serde::Serialize;

use super::args::{Common, Selection};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::config::{RetrySettings, Stream};
use crate::export::severity;
use crate::kore::{
    Answer, Claims, Client, Error, Signer, SignerError, Traffic, Transport, http_client, read_back,
};
use crate::lake::{Commit, Expect, INTERNAL, Lake};
use crate::model::{Grain, Layout, Question, local_now, windows};
use crate::report::exit;
use crate::shelf::Shelf;

/// One thing tried.
#[derive(Serialize)]
struct Finding {
    subject: String,
    ok: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    exit_code: u8,
}

impl Finding {
    fn good(subject: &str, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), ok: true, message: message.into(), hint: None, exit_code: exit::OK }
    }

    fn bad(subject: &str, failure: Failure) -> Self {
        Self {
            subject: subject.into(),
            ok: false,
            message: failure.message,
            hint: failure.hint,
            exit_code: failure.exit_code,
        }
    }
}

pub(super) async fn doctor(common: &Common, selection: &Selection, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    let streams = setup.streams(&selection.streams)?;
    let mut findings = vec![Finding::good("config", format!("{} is valid", common.config.display()))];
    let http =
        http_client(&setup.settings.http, streams.iter().all(Stream::is_local)).map_err(Failure::setting)?;
    let at_once = setup.settings.concurrency.streams;
    let tried = streams.iter().map(|stream| try_stream(&setup, stream, http.clone()));
    let tried: Vec<_> = futures_util::stream::iter(tried).buffered(at_once).collect().await;
    findings.extend(tried.into_iter().flatten());
    findings.extend(try_lake(&setup).await);
    printer.result(&findings, || render(&findings));
    // The first failure decides: later ones often follow from it.
    Ok(findings.iter().map(|f| f.exit_code).find(|code| *code != exit::OK).unwrap_or(exit::OK))
}

/// Signs a token, shows what it says, and asks for yesterday.
async fn try_stream(setup: &Setup, stream: &Stream, http: Arc<dyn Transport>) -> Vec<Finding> {
    let subject = format!("stream {}", stream.name);
    match signed(setup, stream) {
        Ok(token) => vec![Finding::good(&subject, token), probe(setup, stream, http, &subject).await],
        Err(error) => vec![Finding::bad(&subject, Failure::new(exit::PERMISSION, error.to_string(), None))],
    }
}

/// Signs a token and says what stands in it, without the token itself: that one would be good for use.
fn signed(setup: &Setup, stream: &Stream) -> Result<String, SignerError> {
    let signer = Signer::new(&stream.credentials)?;
    let now = setup.clock.now();
    let token = signer.sign(&signer.claims(now, setup.chance.id()))?;
    let (algorithm, claims) = read_back(&token).expect("a token just signed can be read");
    let Claims { app_id, sub, iat, exp, jti } = claims;
    Ok(format!(
        "signs with {algorithm} by {}: appId {app_id}, sub {sub}, jti {jti}, issued {} s ago, good for {} s",
        stream.credentials.key,
        now.timestamp() - iat,
        exp - now.timestamp()
    ))
}

async fn probe(setup: &Setup, stream: &Stream, http: Arc<dyn Transport>, subject: &str) -> Finding {
    // One look, without the patience of a run.
    let retry = RetrySettings { attempts: 2, max_rate_wait: Duration::ZERO, ..setup.settings.retry };
    let time = (setup.clock.clone(), setup.chance.clone());
    let max_body = setup.settings.http.max_body_bytes;
    let client = match Client::new(stream, http, max_body, retry, time, Arc::new(Traffic::default())) {
        Ok(client) => client,
        Err(error) => {
            return Finding::bad(subject, Failure::new(exit::PERMISSION, error.to_string(), None));
        }
    };
    let yesterday = local_now(setup.clock.now(), stream.zone).date() - Days::new(1);
    let question = Question {
        stream: stream.id.clone(),
        grain: Grain::Daily,
        slice: stream.slices[0].clone(),
        zone: stream.zone,
        window: windows(yesterday, yesterday).next().expect("one day is one window"),
    };
    let began = setup.clock.instant();
    match client.fetch(&question).await {
        Ok(answer) => found(subject, &question, &answer, setup.clock.instant() - began),
        Err(error) => Finding::bad(subject, unreachable_because(&error)),
    }
}

fn found(subject: &str, question: &Question, answer: &Answer, took: Duration) -> Finding {
    let users = answer
        .trend
        .summary
        .counts
        .unique
        .map_or_else(|| "no figure".into(), |n| text::number(n.cast_unsigned()));
    let clock = answer.skew.map_or_else(
        || "the server does not tell the time".into(),
        |skew| match skew.num_seconds() {
            -2..=2 => "clocks agree".into(),
            secs => format!("the server's clock is {secs:+} s from ours"),
        },
    );
    let message = format!(
        "answers for {} ({}): {users} unique users; {} ms; {clock}",
        question.window.start,
        question.slice,
        took.as_millis()
    );
    Finding::good(subject, message)
}

fn unreachable_because(error: &Error) -> Failure {
    Failure::new(severity(error.class()).exit_code(), error.to_string(), error.hint())
}

/// Writes, reads, lists and deletes an object, and tries what conditional writes do.
async fn try_lake(setup: &Setup) -> Vec<Finding> {
    let subject = "lake";
    match try_lake_steps(setup).await {
        Ok(steps) => steps.into_iter().map(|step| Finding::good(subject, step)).collect(),
        Err(failure) => vec![Finding::bad(subject, failure)],
    }
}

async fn try_lake_steps(setup: &Setup) -> Result<Vec<String>, Failure> {
    let location = &setup.settings.lake.location;
    let mut lake = Lake::open(&setup.settings.lake)?;
    let _lock = lake.lock().await?;
    let name = format!("doctor/{}", setup.chance.id());
    let content = bytes::Bytes::from_static(b"written by trendlake doctor, to be deleted at once\n");
    lake.put_internal(&name, content.clone()).await?;
    let back = lake.read_internal(&name).await?;
    if back.as_ref() != Some(&content) {
        return Err(Failure::bug(format!("{location}: what was written is not what is read back")));
    }
    let listed = lake.list_internal("doctor").await?;
    if !listed.iter().any(|n| name.ends_with(n.as_str())) {
        return Err(Failure::bug(format!("{location}: what was written is not listed")));
    }
    let mut steps = vec![format!("{location}: writes, reads, lists")];
    let key = format!("{INTERNAL}/{name}");
    let version = lake.read(&key).await?.map(|(_, version)| version);
    let replaced = match version {
        Some(version) => lake.commit(&key, content, Expect::Unchanged(version)).await?,
        None => Commit::Conflict,
    };
    lake.delete_internal(&name).await?;
    steps.push("deletes".into());
    if replaced == Commit::Conflict {
        return Err(Failure::setting(format!("{location}: a replacement whose condition held was refused")));
    }
    match Shelf::open(lake, &setup.settings, &setup.clock).await?.layout() {
        Layout::Stream => {}
        Layout::Packed(groups) => {
            steps.push(format!("keeps streams packed: {}", text::count(groups.count().into(), "group")));
        }
        Layout::Delta => steps.push("keeps Delta tables".into()),
    }
    steps.push(if setup.settings.lake.single_writer {
        "replaces objects without conditions, as `single_writer` vouches for one writer".into()
    } else {
        "replaces an object only if it is unchanged".into()
    });
    Ok(steps)
}

fn render(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let sign =
            if finding.ok { console::style("ok  ").green() } else { console::style("FAIL").red().bold() };
        lines.push(format!("{sign} {}: {}", text::plain(&finding.subject), text::plain(&finding.message)));
        lines.extend(finding.hint.iter().map(|hint| format!("       {hint}")));
    }
    let bad = findings.iter().filter(|f| !f.ok).count();
    lines.push(if bad == 0 { "all is well".into() } else { text::count(bad as u64, "problem") });
    lines.join("\n")
}
