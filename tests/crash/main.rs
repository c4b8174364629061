//! Kills, disk errors and lost power at every system call by which the program changes a lake on disk.
//!
//! A run over one stream and one month writes three partitions. It is repeated once per call, with
//! something going wrong at just that call. Afterwards every visible partition must hold the old answer or
//! the new one, whole, and the next run must end with the new one everywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../it/canary.rs"]
mod canary;
mod load;
mod restated;
#[expect(dead_code, reason = "shared with the integration tests, which use more of it")]
#[path = "../it/shelves.rs"]
mod shelves;
mod strace;
#[expect(dead_code, reason = "shared with the integration tests, which use more of it")]
#[path = "../it/support.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{Datelike, Months, Utc};

use shelves::KEPT;
use strace::{Blow, Call};
use support::{Sandbox, contents, settled, walk};
use trendlake::model::RESTATEMENTS;

/// The content hashes of partitions by key.
type Contents = BTreeMap<String, String>;

/// A month that has settled, so that the truth does not depend on when it is asked.
#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
pub(crate) fn month(months_ago: u32) -> String {
    (Utc::now().date_naive().with_day(1).unwrap() - Months::new(months_ago)).to_string()[..7].to_owned()
}

/// A sandbox whose lake can be brought back to how it was before the run.
struct Scene {
    sandbox: Sandbox,
    /// The folder that the lake is in, as the program and strace both spell it.
    root: PathBuf,
    lake: PathBuf,
    /// The files before the run; none where there is to be no lake.
    before: Vec<(PathBuf, Vec<u8>)>,
    old: Contents,
    truth: Contents,
    /// What the run restates of what was there before.
    restated: restated::Lines,
    /// The writing calls of an undisturbed run.
    calls: Vec<Call>,
}

impl Scene {
    /// A run into nothing, or over a lake with other answers.
    fn new(replaces: bool, layout: &'static str) -> Self {
        let sandbox = Sandbox::new(1, "2026-01-01", settled()).in_layout(layout);
        let root = sandbox.dir.path().canonicalize().unwrap();
        let lake = root.join("lake");
        let (before, old, truth, restated, calls) = Default::default();
        let mut scene = Self { sandbox, root, lake, before, old, truth, restated, calls };
        if replaces {
            scene.configure("");
            scene.finish();
            restated::alter(&scene.lake);
            scene.before = restated::files(&scene.lake);
            scene.old = contents(scene.sandbox.data_files());
        }
        scene.configure("slices = [\"all\", \"dashboard\"]\n");
        scene.calls = strace::calls(&scene.program(), &scene.root);
        scene.truth = contents(scene.sandbox.data_files());
        assert_eq!(scene.truth.len(), 3);
        scene.restated = restated::expected(&scene.lake, &scene.before);
        assert_eq!(scene.restated.is_empty(), !replaces);
        restated::published(&scene.lake, &scene.restated);
        assert!(scene.old.iter().all(|(key, hash)| scene.truth[key] != *hash), "nothing would change");
        scene
    }

    /// One unit after the other, so that the calls come in one order.
    fn configure(&self, more: &str) {
        let first = format!("{}-01", month(2));
        self.sandbox.configure(1, &first, &format!("{more}[concurrency]\nunits_per_stream = 1\n"));
    }

    fn program(&self) -> Command {
        self.program_on(&self.lake)
    }

    fn program_on(&self, lake: &Path) -> Command {
        let (month, lake) = (month(2), lake.to_str().unwrap());
        self.sandbox.command(&["backfill", "--from", &month, "--to", &month, "--lake", lake])
    }

    /// An undisturbed run.
    fn finish(&self) {
        let output = self.program().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn reset(&self) {
        if self.lake.exists() {
            std::fs::remove_dir_all(&self.lake).unwrap();
        }
        for (path, bytes) in &self.before {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// Each partition is the old one or the new one, whole, and nothing is beside them; how many are new.
    #[track_caller]
    fn nothing_torn(&self, case: &str) -> usize {
        let found = contents(self.sandbox.data_files());
        for (key, hash) in &found {
            let is_either = self.truth.get(key) == Some(hash) || self.old.get(key) == Some(hash);
            assert!(is_either, "{case}: {key} is neither old nor new");
        }
        assert!(self.old.keys().all(|key| found.contains_key(key)), "{case}: a partition is gone");
        restated::nothing_made_up(&self.lake, &self.restated, case);
        found.iter().filter(|(key, hash)| self.truth[*key] == **hash).count()
    }

    /// The next run finishes, and leaves nothing behind.
    #[track_caller]
    fn next_run_finishes(&self, case: &str) {
        self.finish();
        assert_eq!(contents(self.sandbox.data_files()), self.truth, "{case}: after the next run");
        assert_eq!(staged(&self.lake), 0, "{case}: the stage was not swept");
        // Restatements are there once each, and none waits for its data any more.
        restated::published(&self.lake, &self.restated);
    }

    /// The calls at which something can go wrong one by one. Of calls that come more than once, such as the
    /// sync of a folder that several others are made in, strace counts each thread's for itself: there it is
    /// the first. Nothing becomes visible between the others and their neighbours. Nor does anything between the
    /// removal of what was parked, whose name is another one in each run, and the sync before it.
    fn points(&self) -> BTreeSet<&Call> {
        let is_parked = |call: &Call| call.name == "unlink" && call.path.contains("/parked/restated/");
        self.calls.iter().filter(|call| !is_parked(call)).collect()
    }
}

/// How many files lie in the stage.
fn staged(lake: &Path) -> usize {
    walk(&lake.join("_trendlake/stage")).len()
}

impl Call {
    /// As strace is to find it.
    fn at(&self) -> [&str; 1] {
        [&self.path]
    }
}

/// Kills the run as it enters each call: so what came before it is done, and it is not. The last of them is
/// the sync of the report's folder, after which the program only says what it did.
#[track_caller]
fn killed_at_every_call(replaces: bool, layout: &'static str) {
    let scene = Scene::new(replaces, layout);
    let (mut killed, mut left_staged, mut by_new) = (0, 0, BTreeSet::new());
    for call in scene.points() {
        let case = format!("killed at {call:?}");
        scene.reset();
        let ended = strace::struck(&scene.program(), &scene.root, &call.name, &call.at(), "1", Blow::Kill);
        assert!(ended.was_killed, "{case}: {ended:?}");
        killed += 1;
        left_staged += staged(&scene.lake);
        by_new.insert(scene.nothing_torn(&case));
        scene.next_run_finishes(&case);
    }
    // Otherwise the kills did not come where they were meant to.
    assert!(killed >= if replaces { 25 } else { 40 }, "{killed} points");
    assert!(left_staged >= 8, "only {left_staged} stage files were left");
    assert_eq!(by_new, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn fault_36_killed_at_every_call_that_makes_a_lake() {
    if strace::is_there() {
        for &layout in KEPT {
            killed_at_every_call(false, layout);
        }
    }
}

#[test]
fn fault_36_killed_at_every_call_that_replaces_a_partition() {
    if strace::is_there() {
        for &layout in KEPT {
            killed_at_every_call(true, layout);
        }
    }
}

/// Errors of a disk, with what the operating system says of them.
const ERRORS: [(&str, &str); 5] = [
    ("ENOSPC", "No space left on device"),
    ("EIO", "Input/output error"),
    ("EROFS", "Read-only file system"),
    ("EACCES", "Permission denied"),
    ("EMFILE", "Too many open files"),
];

#[test]
fn fault_37_each_call_fails_once() {
    if !strace::is_there() {
        return;
    }
    let scene = Scene::new(false, "stream");
    for (index, call) in scene.points().into_iter().enumerate() {
        let (error, said) = ERRORS[index % ERRORS.len()];
        let case = format!("{error} at {call:?}");
        scene.reset();
        let blow = Blow::Fail(error);
        let ended = strace::struck(&scene.program(), &scene.root, &call.name, &call.at(), "1", blow);
        let new = scene.nothing_torn(&case);
        // What is not data is told and fails nothing, once the data is there.
        let (code, told) = (ended.code.unwrap(), ended.stderr.contains(said));
        assert!(told, "{case}: not told: {ended:?}");
        assert!(ended.stderr.contains(scene.root.to_str().unwrap()), "{case}: no path: {ended:?}");
        assert!(matches!((code, new), (0, 3) | (10, 1..) | (74, _)), "{case}: {new} are new: {ended:?}");
        scene.next_run_finishes(&case);
    }
}

#[test]
fn fault_37_a_disk_that_takes_nothing_more() {
    if !strace::is_there() {
        return;
    }
    let scene = Scene::new(true, "stream");
    let stage: Vec<_> = (0..8).map(|n| format!("lake/_trendlake/stage/PID-{n}")).collect();
    let stage: Vec<_> = stage.iter().map(String::as_str).collect();
    for (error, said) in ERRORS {
        for name in ["openat", "write", "fsync", "rename"] {
            let case = format!("{error} at each {name}");
            scene.reset();
            let ended = strace::struck(&scene.program(), &scene.root, name, &stage, "1+", Blow::Fail(error));
            assert_eq!(ended.code, Some(74), "{case}: {ended:?}");
            assert_eq!(scene.nothing_torn(&case), 0, "{case}");
            let told = ended.stderr.lines().filter(|l| l.contains("open: s1:") && l.contains(said)).count();
            assert_eq!(told, 2, "{case}: {ended:?}");
            assert!(ended.stderr.contains("storage: cannot "), "{case}: {ended:?}");
            // Where files can still be removed, none is left.
            assert_eq!(staged(&scene.lake), 0, "{case}");
            scene.next_run_finishes(&case);
        }
    }
}

/// Asked to stop at any call, the program finishes the file under way and begins no other, and says what is
/// left open.
#[test]
fn fault_48_stopped_at_every_call() {
    if !strace::is_there() {
        return;
    }
    for &layout in KEPT {
        let (scene, mut by_new) = (Scene::new(true, layout), BTreeSet::new());
        for call in scene.points() {
            // Each thread that makes a call for the first time is asked to stop there, and at the second time the
            // program leaves at once: so calls that come once.
            if scene.calls.iter().filter(|other| *other == call).count() > 1 {
                continue;
            }
            let case = format!("stopped at {call:?}");
            scene.reset();
            let ended =
                strace::struck(&scene.program(), &scene.root, &call.name, &call.at(), "1", Blow::Stop);
            let new = scene.nothing_torn(&case);
            by_new.insert(new);
            let told = ended.stderr.contains("open: s1: ") || ended.stderr.contains("nothing was fetched");
            let code = if new == 3 { 0 } else { 143 };
            assert_eq!((ended.code, told), (Some(code), new < 3), "{case}: {ended:?}");
            assert_eq!(staged(&scene.lake), 0, "{case}");
            scene.next_run_finishes(&case);
        }
        assert_eq!(by_new, BTreeSet::from([0, 1, 2, 3]));
    }
}

/// What was acknowledged survives a loss of power: each file is synced before it is renamed, its folder is
/// synced after, and each new folder is synced in its parent before anything is renamed into it.
#[test]
fn fault_38_the_order_of_syncs() {
    if !strace::is_there() {
        return;
    }
    for &layout in KEPT {
        let (new, old) = (Scene::new(false, layout), Scene::new(true, layout));
        let deep = strace::calls(&new.program_on(&new.root.join("several/folders/deep")), &new.root);
        assert!(deep.iter().any(|call| call.name == "mkdir" && call.path == "several/folders"), "{deep:?}");
        for calls in [&new.calls, &old.calls, &deep] {
            let parent =
                |path: &str| path.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned());
            let is_sync = |call: &Call, path: &str| call.name.ends_with("sync") && call.path == path;
            let is_data = |path: &str| path.ends_with(".parquet") && !path.contains(RESTATEMENTS);
            let renames: Vec<_> =
                calls.iter().enumerate().filter(|(_, c)| c.name.starts_with("rename")).collect();
            let data = renames.iter().filter(|(_, c)| is_data(&c.target)).count();
            assert_eq!((data, renames.len() > 3), (3, true), "{calls:?}");
            for (at, rename) in &renames {
                let written = calls[..*at].iter().rposition(|c| c.name == "write" && c.path == rename.path);
                let synced = calls[..*at].iter().rposition(|c| is_sync(c, &rename.path));
                assert!(synced > written && written.is_some(), "{rename:?} before it was synced");
                let next = renames.iter().find(|(next, _)| next > at).map_or(calls.len(), |(next, _)| *next);
                let folder = parent(&rename.target);
                let acknowledged = calls[*at..next].iter().any(|c| is_sync(c, &folder));
                assert!(acknowledged, "`{folder}` was not synced after {rename:?}");
            }
            for (at, made) in calls.iter().enumerate().filter(|(_, c)| c.name.starts_with("mkdir")) {
                let used = renames.iter().find(|(_, c)| c.target.starts_with(&format!("{}/", made.path)));
                let end = used.map_or(calls.len(), |(used, _)| *used);
                let synced = calls[at..end].iter().any(|c| is_sync(c, &parent(&made.path)));
                assert!(synced, "`{}` was not synced in its parent before it was used", made.path);
            }
        }
    }
}
