//! A lake on this machine's disk with things in it that are not ours, and with others at work in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::spine::months_ago;
use super::support::{Ran, Sandbox, contents, settled, walk};

/// A sandbox of one stream and one settled month.
fn sandbox() -> Sandbox {
    Sandbox::new(1, &months_ago(2), settled())
}

fn export(sandbox: &Sandbox) -> Ran {
    let month = &months_ago(2)[..7];
    sandbox.run(&["backfill", "--from", month, "--to", month])
}

/// The folder of a partition's file, and of those it lies in.
fn daily(sandbox: &Sandbox) -> [PathBuf; 3] {
    let dataset = sandbox.path("lake/user_engagement_daily");
    let stream = dataset.join("stream=st-1");
    let month = stream.join(format!("month={}", &months_ago(2)[..7]));
    [dataset, stream, month]
}

/// Everything outside of the lake, links as what they point to.
fn outside(sandbox: &Sandbox) -> Vec<(PathBuf, Vec<u8>)> {
    walk(&sandbox.path("outside")).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A run that finds something in a place of ours: it is named, left alone and not followed, and the hourly
/// unit, which has nothing to do with it, is done.
#[track_caller]
fn refused(what: &str, put_there: impl Fn(&Sandbox), place: impl Fn(&Sandbox) -> PathBuf) {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.path("outside/folder")).unwrap();
    fs::write(sandbox.path("outside/file"), "theirs").unwrap();
    put_there(&sandbox);
    let (place, theirs) = (place(&sandbox), outside(&sandbox));
    let look = |path: &Path| {
        let kind = fs::symlink_metadata(path).unwrap().file_type();
        (kind, fs::read_link(path).ok(), kind.is_file().then(|| fs::read(path).unwrap()))
    };
    let before = look(&place);
    // The second run finds what the first one has left.
    for _ in 0..2 {
        let ran = export(&sandbox).expect(11);
        assert!(ran.stderr.contains("integrity: "), "{what}: {ran:?}");
        assert!(ran.stderr.contains("hint: "), "{what}: {ran:?}");
        assert_eq!(look(&place), before, "{what} has changed");
        assert_eq!(outside(&sandbox), theirs, "{what} was followed");
        let hourly = walk(&sandbox.path("lake/user_engagement_hourly"));
        assert_eq!(hourly.len(), 1, "{what}: {ran:?}");
    }
}

#[test]
fn fault_39_something_foreign_in_the_place_of_a_partition() {
    let file = |sandbox: &Sandbox| daily(sandbox)[2].join("data.parquet");
    let folder = |sandbox: &Sandbox| fs::create_dir_all(&daily(sandbox)[2]).unwrap();
    for target in ["outside/file", "outside/folder", "outside/nothing", "lake"] {
        let link = |sandbox: &Sandbox| {
            folder(sandbox);
            symlink(sandbox.path(target), file(sandbox)).unwrap();
        };
        refused(&format!("a link to {target}"), link, file);
    }
    let a_folder = |sandbox: &Sandbox| fs::create_dir_all(file(sandbox)).unwrap();
    refused("a folder", a_folder, file);
    for content in ["", "theirs", "PAR1, and then nothing that any reader knows, PAR1"] {
        let a_file = |sandbox: &Sandbox| {
            folder(sandbox);
            fs::write(file(sandbox), content).unwrap();
        };
        refused(&format!("a file with `{content}`"), a_file, file);
    }
}

#[test]
fn fault_39_links_and_files_in_the_place_of_folders() {
    for level in 0..3 {
        let place = |sandbox: &Sandbox| daily(sandbox)[level].clone();
        let parent = |sandbox: &Sandbox| fs::create_dir_all(place(sandbox).parent().unwrap()).unwrap();
        for target in ["outside/folder", "outside/nothing"] {
            let link = |sandbox: &Sandbox| {
                parent(sandbox);
                symlink(sandbox.path(target), place(sandbox)).unwrap();
            };
            refused(&format!("a link at level {level} to {target}"), link, place);
        }
        let a_file = |sandbox: &Sandbox| {
            parent(sandbox);
            fs::write(place(sandbox), "theirs").unwrap();
        };
        refused(&format!("a file at level {level}"), a_file, place);
    }
}

#[test]
fn fault_39_links_in_the_place_of_what_is_internal() {
    for name in ["_trendlake", "_trendlake/stage", "_trendlake/lock"] {
        for target in ["outside/file", "outside/folder"] {
            let sandbox = sandbox();
            fs::create_dir_all(sandbox.path("outside/folder")).unwrap();
            fs::write(sandbox.path("outside/file"), "theirs").unwrap();
            let place = sandbox.path("lake").join(name);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            symlink(sandbox.path(target), &place).unwrap();
            let ran = export(&sandbox).expect(11);
            assert!(ran.stderr.contains(name), "{ran:?}");
            assert_eq!(outside(&sandbox).len(), 1, "{name} to {target} was followed");
            assert_eq!(fs::read(sandbox.path("outside/file")).unwrap(), b"theirs");
            assert!(contents(sandbox.data_files().into_iter().filter(|(n, _)| n != "_trendlake")).is_empty());
        }
    }
}
