//! Texts that mean harm, in names, in the lake and in the server's mouth: fault 55.

use axum::body::Body;
use axum::response::Response;
use serde_json::Value;
use trendlake::table;

use super::spine::{decode, months_ago};
use super::support::{Ran, Sandbox, gateway, settled};

/// A line of the log that is none.
const FORGED: &str = "2026-01-01T00:00:00Z ERROR forged";

/// Fails if the text could move a cursor, turn the writing round, or begin a line of its own.
#[track_caller]
fn harmless(text: &str) {
    let bad = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(*c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
    };
    assert_eq!(text.chars().find(bad), None, "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with(FORGED)), "{text}");
}

/// Runs with each form of the log; every line of the JSON log is an event of ours.
fn harmless_in_every_form(sandbox: &Sandbox, arguments: &[&str], code: i32) -> Vec<Ran> {
    let forms = ["text", "json"].map(|form| {
        let mut command = sandbox.command(arguments);
        let ran = Ran::from(command.args(["--log-format", form]).env("RUST_LOG", "debug").output().unwrap());
        let ran = ran.expect(code);
        harmless(&ran.stdout);
        harmless(&ran.stderr);
        if form == "json" {
            let events = ran.stderr.lines().filter(|line| line.starts_with('{'));
            let events: Vec<Value> = events.map(|line| serde_json::from_str(line).unwrap()).collect();
            assert!(events.len() > 3 && events.iter().all(|e| e["timestamp"].is_string()), "{}", ran.stderr);
        }
        ran
    });
    forms.into()
}

#[test]
fn fault_55_names_that_mean_harm() {
    let names = ["<script>alert(1)</script>", "=HYPERLINK(\"http://x\")", "\u{202e}live", "a\u{200f}b"];
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let plain = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    for name in names {
        let key = toml_text(name);
        std::fs::write(
            sandbox.path("trendlake.toml"),
            plain.replace("streams.s1", &format!("streams.{key}")),
        )
        .unwrap();
        for subcommand in ["validate", "plan", "run", "status", "doctor"] {
            let ran = sandbox.run(&[subcommand]).expect(0);
            harmless(&ran.stdout);
            harmless(&ran.stderr);
        }
        harmless_in_every_form(&sandbox, &["run"], 0);
        // In the data, a name is what it is.
        let (file, bytes) = sandbox.data_files().remove(0);
        let (_, batch) = decode(&file, &bytes);
        let column = batch.column_by_name("stream_name").unwrap();
        assert_eq!(arrow::array::AsArray::as_string::<i32>(column).value(0), name);
    }
    for name in ["a\u{1b}[31mb", "a\n2026-01-01T00:00:00Z ERROR forged", "a\rb", "a\u{9b}31m", ""] {
        let key = toml_text(name);
        std::fs::write(
            sandbox.path("trendlake.toml"),
            plain.replace("streams.s1", &format!("streams.{key}")),
        )
        .unwrap();
        let ran = sandbox.run(&["run"]).expect(78);
        assert!(ran.stderr.contains("a stream's name has "), "{ran:?}");
        harmless(&ran.stderr);
    }
}

/// A text as a TOML key.
fn toml_text(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

#[test]
fn fault_55_a_servers_text_that_means_harm() {
    const MESSAGE: &str = r#"{"errors":[{"msg":"\u001b[31m<script>\n2026-01-01T00:00:00Z ERROR forged\r\u009b\u202e=1+1\u0000","code":"\u001b]0;x\u0007"}]}"#;
    for status in [401, 412, 429, 503] {
        let sandbox = Sandbox::new(1, &months_ago(0), settled());
        let base_url = gateway(&sandbox.simulator, move |_, _| {
            Some(Response::builder().status(status).body(Body::from(MESSAGE)).unwrap())
        });
        let code = match status {
            401 => 77,
            412 => 65,
            _ => 75,
        };
        let arguments = ["run", "--base-url", &base_url];
        for ran in harmless_in_every_form(&sandbox, &arguments, code) {
            assert!(ran.stderr.contains("forged"), "the server's words are not told: {}", ran.stderr);
        }
        let json = sandbox.run(&[&arguments[..], &["--output", "json"]].concat()).expect(code).json();
        harmless(json["units"][0]["message"].as_str().unwrap());
    }
    // The same words as an answer, as a key of it, and as a page.
    for body in [
        MESSAGE.to_owned(),
        format!("{{\"\\u001b[31m\\n{FORGED}\":1,{}", &MESSAGE[1..]),
        "<h1>\u{1b}[31m".into(),
    ] {
        let sandbox = Sandbox::new(1, &months_ago(0), settled());
        let base_url = gateway(&sandbox.simulator, move |_, _| Some(Response::new(Body::from(body.clone()))));
        harmless_in_every_form(&sandbox, &["run", "--base-url", &base_url], 65);
    }
}

#[test]
fn fault_55_files_in_the_lake_whose_names_mean_harm() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.run(&["run"]).expect(0);
    let folder = sandbox.path("lake/user_engagement_daily/stream=st-1");
    std::fs::write(folder.join(format!("x\n{FORGED} \u{1b}[31m\u{202e}")), "").unwrap();
    for subcommand in ["plan", "status", "run", "doctor"] {
        harmless(&sandbox.run(&[subcommand]).expect(0).stdout);
    }
    for ran in harmless_in_every_form(&sandbox, &["run"], 0) {
        assert!(ran.stderr.contains("is no file of trendlake"), "{}", ran.stderr);
    }
    // Someone's own text in the footer of a file under our name is not repeated either.
    let month = &months_ago(0)[..7];
    let name = format!("user_engagement_daily/stream=st-1/month={month}/data.parquet");
    let path = sandbox.path("lake").join(&name);
    let bytes = std::fs::read(&path).unwrap();
    let (dataset, batch) = decode(&name, &bytes);
    let mut footer = table::read_footer(&bytes.into()).unwrap();
    footer.fingerprint = format!("\u{1b}[31m\n{FORGED}");
    std::fs::write(&path, table::encode(dataset, &batch, &footer)).unwrap();
    harmless_in_every_form(&sandbox, &["run"], 0);
}
