//! No secret and no token reaches any output, whatever is logged and whatever goes wrong.

use base64_free::{base64, json_escaped, url_escaped};
use trendlake::simulator::{Fault, FaultRule};

use super::support::{SECRET, Sandbox, settled, walk};

/// The forms in which a secret could slip through.
mod base64_free {
    pub(crate) fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let group = |chunk: &[u8]| {
            let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            (0..=chunk.len()).map(|i| ALPHABET[(n >> (18 - 6 * i) & 63) as usize] as char).collect::<String>()
        };
        bytes.chunks(3).map(group).collect()
    }

    pub(crate) fn url_escaped(text: &str) -> String {
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
    }

    pub(crate) fn json_escaped(text: &str) -> String {
        serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
    }
}

/// Fails if the text holds the secret in any form, or anything that looks like a JWT.
#[track_caller]
fn clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for canary in [SECRET.to_owned(), base64(SECRET.as_bytes()), url_escaped(SECRET), json_escaped(SECRET)] {
        assert!(!text.contains(&canary), "{what} holds the secret as {canary}");
    }
    // Every token begins with the same header, base64 of `{"`.
    assert!(!text.contains("eyJ"), "{what} holds a token: {}", &text[text.find("eyJ").unwrap()..][..40]);
}

/// Runs the program with everything logged, and looks through all that it leaves.
fn looked_through(sandbox: &Sandbox, arguments: &[&str]) {
    let mut logged = 0;
    for format in ["text", "json"] {
        let output = sandbox
            .command(arguments)
            .args(["--log-format", format])
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        clean("stdout", &output.stdout);
        clean("stderr", &output.stderr);
        logged += output.stderr.len();
    }
    // Reading a folder logs nothing.
    let is_quiet = arguments == ["status"];
    assert!(is_quiet || logged > 2000, "{arguments:?}: nothing was logged, so nothing was looked through");
    for file in walk(&sandbox.path("lake")) {
        clean(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
}

#[test]
fn the_search_finds_every_form() {
    let found = |text: String| std::panic::catch_unwind(|| clean("a text", text.as_bytes())).is_err();
    assert!(found(format!("x{SECRET}x")) && found(base64(SECRET.as_bytes())) && found(url_escaped(SECRET)));
    assert!(
        found(json_escaped(SECRET)) && found("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0cmVuZGxha2Ui.sig".into())
    );
    assert!(!found("nothing".into()));
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw");
}

#[test]
fn fault_56_no_secret_in_any_output() {
    let first = super::spine::months_ago(1);
    let sandbox = Sandbox::new(2, &first, settled());
    looked_through(&sandbox, &["run"]);
    looked_through(&sandbox, &["doctor"]);
    looked_through(&sandbox, &["status"]);
    for fault in Fault::ALL.iter().filter(|f| !matches!(f.name(), "slow")) {
        sandbox.simulator.set_faults(vec![FaultRule::always(*fault)]);
        let output = sandbox
            .command(&["backfill", "--from", &first[..7], "--force", "--stream", "s1"])
            .env("RUST_LOG", "trace")
            .output()
            .unwrap();
        clean(&format!("stdout under {}", fault.name()), &output.stdout);
        clean(&format!("stderr under {}", fault.name()), &output.stderr);
    }
    for file in walk(&sandbox.path("lake")) {
        clean(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
}
