//! The program under strace: what it does to a lake on disk, call by call, and a call that goes wrong.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whatever changes a file system or makes a change durable.
const WRITING: &str = "openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,\
                       unlink,unlinkat,rmdir,ftruncate,link,linkat,symlink,symlinkat,flock";

/// One call. Paths are relative to a root, which is the lake's folder's parent. Stage files are named as in `stage/PID-0`, whatever the process's number was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub name: String,
    /// What it is about; of a rename, the file that is moved.
    pub path: String,
    /// Of a rename, where it is moved to.
    pub target: String,
}

/// What happens to the call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow<'a> {
    /// The process is killed as it enters the call, which is not carried out.
    Kill,
    /// The process is asked to stop as it enters the call, which is carried out.
    Stop,
    /// The call fails with this error.
    Fail(&'a str),
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, where there is one.
    pub code: Option<i32>,
    pub was_killed: bool,
    pub stderr: String,
}

/// Whether strace may be used here. Without it these tests are worth nothing, so they fail, unless the
/// user has said to go without.
pub(crate) fn is_there() -> bool {
    let works = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let goes_without = std::env::var_os("TRENDLAKE_NO_STRACE").is_some_and(|v| v == "1");
    assert!(
        works || goes_without,
        "strace is missing or may not trace here: `make setup` installs it; TRENDLAKE_NO_STRACE=1 skips what needs it"
    );
    if !works {
        // Past the test harness, which shows nothing of a test that passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED for want of strace: kills and disk errors at each call");
    }
    works
}

/// The program under strace with these options, which may use `$$` for its process id: `-D` makes the
/// tracer its grandchild, so that the program keeps the number of the shell.
fn traced(options: &str, program: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec strace -D -f -qq {options} -- \"$@\""), "sh"]);
    command.arg(program.get_program()).args(program.get_args()).env_clear();
    for (name, value) in program.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    command.current_dir(program.get_current_dir().unwrap()).stdin(Stdio::null());
    command
}

/// Runs the program to its end; every writing call within the root, in the order of their ends.
pub(crate) fn calls(program: &Command, root: &Path) -> Vec<Call> {
    let trace = root.join("trace");
    let options = format!("-y -o '{}' -e trace={WRITING}", trace.display());
    let output = traced(&options, program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The tracer writes to its end, which may come a little later: it holds the pipes until then.
    let text = std::fs::read_to_string(&trace).unwrap();
    parse(&text, root)
}

/// Runs the program with a blow to every `when`th call of this name that is about one of these paths.
pub(crate) fn struck(
    program: &Command,
    root: &Path,
    names: &str,
    paths: &[&str],
    when: &str,
    blow: Blow<'_>,
) -> Ended {
    let within = |path: &&str| {
        let path = root.join(path.replace("PID", "$$"));
        format!("-P \"{}\" ", path.to_str().unwrap().trim_end_matches('/'))
    };
    let paths: String = paths.iter().map(within).collect();
    let what = match blow {
        Blow::Kill => "signal=SIGKILL".to_owned(),
        Blow::Stop => "signal=SIGTERM".to_owned(),
        Blow::Fail(error) => format!("error={error}"),
    };
    let options = format!("-o /dev/null {paths} -e trace={names} -e inject={names}:{what}:when={when}");
    let output = traced(&options, program).output().unwrap();
    Ended {
        code: output.status.code(),
        was_killed: output.status.signal() == Some(9),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Reads a trace: lines of `pid name(arguments) = result`, some of them in two halves.
fn parse(text: &str, root: &Path) -> Vec<Call> {
    let mut halves: BTreeMap<&str, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let whole = if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            halves.insert(pid, first.to_owned());
            continue;
        } else if let Some((_, second)) = rest.split_once(" resumed>") {
            halves.remove(pid).unwrap_or_default() + second
        } else {
            rest.to_owned()
        };
        calls.extend(call(&whole, root));
    }
    calls
}

/// A call that was carried out within the root.
fn call(line: &str, root: &Path) -> Option<Call> {
    let (name, arguments) = line.split_once('(')?;
    let (arguments, result) = arguments.rsplit_once(" = ")?;
    // Reading changes nothing; nor does a call that failed.
    if result.starts_with('-') || (name == "openat" && !arguments.contains("O_CREAT")) {
        return None;
    }
    let is_about_open_file = ["write", "pwrite", "fsync", "fdatasync", "ftruncate", "flock"];
    let is_open = is_about_open_file.iter().any(|prefix| name.starts_with(prefix));
    let paths = paths(arguments, root, if is_open { '<' } else { '"' });
    let path = paths.first()?.clone();
    let target = paths.get(1).cloned().unwrap_or_default();
    Some(Call { name: name.to_owned(), path, target })
}

/// The paths within the root among a call's arguments: those in quotes, or those of open files, by the mark
/// before them. What is written may hold the other.
fn paths(arguments: &str, root: &Path, mark: char) -> Vec<String> {
    let root = root.to_str().unwrap();
    let mut paths = Vec::new();
    for (index, _) in arguments.match_indices(root) {
        let rest = &arguments[index + root.len()..];
        let end = rest.find(['"', '>']).unwrap_or(rest.len());
        if arguments[..index].ends_with(mark) && (end == 0 || rest.starts_with('/')) {
            paths.push(neutral(rest[..end].trim_matches('/')));
        }
    }
    paths
}

/// The path with `PID` in place of the process id in a stage file's name.
fn neutral(path: &str) -> String {
    const STAGE: &str = "_trendlake/stage/";
    let number =
        |(folder, name): (&str, &str)| Some(format!("{folder}{STAGE}PID-{}", name.split_once('-')?.1));
    path.split_once(STAGE).and_then(number).unwrap_or_else(|| path.to_owned())
}

#[test]
fn a_trace_is_read_with_its_halves() {
    let text = "1 openat(AT_FDCWD</d>, \"/d/lake/_trendlake/stage/77-3\", O_WRONLY|O_CREAT, 0666) = 13</d/lake/_trendlake/stage/77-3>\n\
                1 fsync(13</d/lake/_trendlake/stage/77-3> <unfinished ...>\n\
                2 write(2</dev/null>, \"/d/lake\", 7) = 7\n\
                2 mkdir(\"/d/lake\", 0777) = 0\n\
                1 <... fsync resumed>) = 0\n\
                1 rename(\"/d/lake/_trendlake/stage/77-3\", \"/d/lake/a/b\") = 0\n\
                1 mkdir(\"/d/lake/a\", 0777) = -1 EEXIST (File exists)\n";
    let call = |name: &str, path: &str, target: &str| Call {
        name: name.into(),
        path: path.into(),
        target: target.into(),
    };
    assert_eq!(
        parse(text, Path::new("/d")),
        [
            call("openat", "lake/_trendlake/stage/PID-3", ""),
            call("mkdir", "lake", ""),
            call("fsync", "lake/_trendlake/stage/PID-3", ""),
            call("rename", "lake/_trendlake/stage/PID-3", "lake/a/b"),
        ]
    );
}
