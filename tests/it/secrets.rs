//! No secret and no token reaches any output, whatever is logged and whatever goes wrong.

use trendlake::simulator::{Fault, FaultRule};

use super::canary::{base64, clean, json_escaped, url_escaped};
use super::support::{SECRET, Sandbox, settled, walk};

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
