//! Secrets in files that are not there, empty, or replaced while a run goes on: fault 29.

use trendlake::simulator::FaultRule;

use super::spine::{months_ago, requests};
use super::support::{Ran, SECRET, Sandbox, gateway, settled, stream_id};

#[test]
fn fault_29_a_secret_that_is_missing_or_empty_is_refused_by_its_key() {
    let sandbox = Sandbox::new(2, &months_ago(0), settled());
    sandbox.configure(2, &months_ago(0), "client_secret_file = \"own\"\n");
    let cases: [(Option<&[u8]>, &str); 5] = [
        (None, "cannot read the secret file"),
        (Some(b""), "is empty"),
        (Some(b"\r\n\n"), "is empty"),
        (Some(b" \n"), "is empty"),
        (Some(b"c4n4ry\xff\xfe"), "is no text"),
    ];
    for (content, words) in cases {
        if let Some(content) = content {
            std::fs::write(sandbox.path("own"), content).unwrap();
        }
        for subcommand in ["run", "plan", "doctor", "validate"] {
            let ran = sandbox.run(&[subcommand]).expect(78);
            assert!(ran.stderr.contains("`streams.s2.client_secret_file`: "), "{ran:?}");
            assert!(ran.stderr.contains(words), "{ran:?}");
            assert!(!ran.stderr.contains("c4n4ry") && !ran.stdout.contains("c4n4ry"), "{ran:?}");
        }
    }
    assert_eq!((requests(&sandbox), sandbox.data_files().len()), (0, 0), "nothing starts");
}

#[test]
fn fault_29_a_trailing_newline_is_no_part_of_the_secret() {
    for end in ["\n", "\r\n"] {
        let sandbox = Sandbox::new(1, &months_ago(0), settled());
        std::fs::write(sandbox.path("secret"), format!("{SECRET}{end}")).unwrap();
        sandbox.run(&["run"]).expect(0);
    }
}

/// A run that begins with an old secret in the file, which holds `later` from the first call on.
fn rotated(later: &str) -> (Sandbox, Ran) {
    let sandbox = Sandbox::new(1, &months_ago(2), settled());
    sandbox.configure(1, &months_ago(2), "[concurrency]\nunits_per_stream = 1\n");
    std::fs::write(sandbox.path("secret"), "the old one").unwrap();
    let (path, later) = (sandbox.path("secret"), later.to_owned());
    let base_url = gateway(&sandbox.simulator, move |call, _| {
        if call == 0 {
            std::fs::write(&path, &later).unwrap();
        }
        None
    });
    let ran = sandbox.run(&["run", "--base-url", &base_url]);
    (sandbox, ran)
}

#[test]
fn fault_29_a_secret_rotated_during_a_run_is_read_again() {
    let (sandbox, ran) = rotated(SECRET);
    ran.expect(0);
    assert_eq!(sandbox.data_files().len(), 9);
    // Once for the whole run, and not once for each question.
    let stats = &sandbox.simulator.stats().streams[&stream_id(1)];
    assert_eq!((stats.by_status[&401], stats.answered), (1, 6));
}

#[test]
fn fault_29_a_secret_gone_during_a_run_ends_in_the_first_refusal() {
    for later in ["", "not the one either"] {
        let (sandbox, ran) = rotated(later);
        let ran = ran.expect(77);
        assert!(ran.stderr.contains("Invalid SDK credentials"), "{ran:?}");
        assert_eq!((requests(&sandbox), sandbox.data_files().len()), (2, 0));
    }
    // A file that is empty for a moment costs nothing: the secret in use stays.
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let once: FaultRule = "invalid-credentials:first=1".parse().unwrap();
    sandbox.simulator.set_faults(vec![once]);
    let path = sandbox.path("secret");
    let base_url = gateway(&sandbox.simulator, move |call, _| {
        if call == 0 {
            std::fs::write(&path, "").unwrap();
        }
        None
    });
    sandbox.run(&["run", "--base-url", &base_url]).expect(0);
}
