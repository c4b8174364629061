//! Random kills under load: `make crash POINTS=2000`. A larger job is killed at a random call, in whatever
//! thread comes to it first, again and again over one lake, which is finished only now and then.

use std::collections::BTreeSet;

use trendlake::chance::Chance;

use super::strace::{self, Blow};
use super::support::{Sandbox, contents, settled};
use super::{month, staged};

const STREAMS: usize = 3;

#[test]
#[expect(clippy::print_stdout, reason = "run by hand, for this line")]
#[ignore = "takes minutes: `make crash POINTS=2000`"]
fn fault_36_random_kills_under_load() {
    let wanted = std::env::var_os("POINTS").map_or(200, |n| n.to_str().unwrap().parse().unwrap());
    let first = format!("{}-01", month(4));
    let sandbox = Sandbox::new(STREAMS, &first, settled());
    let root = sandbox.dir.path().canonicalize().unwrap();
    let lake = root.join("lake");
    let configure = |dashboard: bool| {
        let slices = if dashboard { "[\"all\", \"dashboard\"]" } else { "[\"all\"]" };
        sandbox.configure(STREAMS, &first, "");
        let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
        let text = text.replace("[defaults]\n", &format!("[defaults]\nslices = {slices}\n"));
        std::fs::write(sandbox.path("trendlake.toml"), text).unwrap();
    };
    let program = || {
        let (from, to) = (month(4), month(2));
        sandbox.command(&["backfill", "--from", &from, "--to", &to, "--lake", lake.to_str().unwrap()])
    };
    let finish = || {
        let output = program().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(staged(&lake), 0);
        contents(sandbox.data_files())
    };
    let truths = [false, true].map(|dashboard| {
        configure(dashboard);
        finish()
    });
    assert!(truths.iter().all(|truth| truth.len() == STREAMS * 3 * 3));

    let stage: Vec<_> = (0..64).map(|n| format!("lake/_trendlake/stage/PID-{n}")).collect();
    let stage: Vec<_> = stage.iter().map(String::as_str).collect();
    let chance = Chance::from_os();
    let draw = |below: u64| chance.bits() % below;
    let (mut killed, mut round, mut seen) = (0, 0, BTreeSet::new());
    while killed < wanted {
        if draw(10) == 0 {
            std::fs::remove_dir_all(&lake).unwrap();
        }
        configure(round % 2 == 0);
        let truth = &truths[usize::from(round % 2 == 0)];
        // Kills over kills, then a run that is let be.
        for _ in 0..=draw(4) {
            // Calls on stage files; the folders that are made; and whatever is synced.
            let (call, most, is_staged) = [
                ("openat", 12, true),
                ("write", 12, true),
                ("rename", 12, true),
                ("mkdir", 12, false),
                ("fsync", 40, false),
            ][usize::try_from(draw(5)).unwrap()];
            let nth = 1 + draw(most);
            let paths = if is_staged { &stage[..] } else { &[] };
            let ended = strace::struck(&program(), &root, call, paths, &nth.to_string(), Blow::Kill);
            killed += u64::from(ended.was_killed);
            seen.extend(ended.was_killed.then_some((call, nth)));
            let case = format!("killed at {call} {nth}");
            for (key, hash) in contents(sandbox.data_files()) {
                assert!(truths.iter().any(|t| t[&key] == hash), "{case}: {key} is neither old nor new");
            }
        }
        assert_eq!(&finish(), truth);
        round += 1;
    }
    println!("{killed} kills at {} different calls, {round} runs that were let be", seen.len());
}
