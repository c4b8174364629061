//! A folder of this machine: replaced file by file, each in one atomic and durable step.
//!
//! A new file is written under `_trendlake/stage/`, synced, renamed into its place, and the place's
//! folder is synced. So a reader sees the old file or the new one, whenever the power goes. What a
//! killed writer leaves lies in the stage folder, which the next holder of the lock clears.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::error::{Error, Kind};
use super::{Commit, INTERNAL, Listed};

/// The folder of a lake.
#[derive(Clone)]
pub(super) struct Folder {
    root: Arc<Path>,
    /// Numbers the stage files of this process.
    staged: Arc<AtomicU64>,
    /// Folders of folders that were seen to be there, durably, since the lock was taken. Of those that hold files
    /// there are as many as partitions, and each is written to once in a run.
    known: Arc<Mutex<HashSet<PathBuf>>>,
    /// Puts that no thread has been given yet. A task of the one runtime that this folder is used in hands them over.
    waiting: Arc<Mutex<Vec<Job>>>,
}

/// Something to do off the async threads, which tells its outcome itself.
type Job = Box<dyn FnOnce() + Send>;

/// How many puts a thread is given at once: one that takes long holds up the others among them. But to wake a thread
/// for each takes as much CPU time as to put a file.
const TOGETHER: usize = 8;

/// What may be in a file's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Empty,
    Any,
}

/// The right to write to a lake. Dropping it, or the end of the process, gives it back.
#[derive(Debug)]
pub struct LakeLock(
    /// An advisory lock lives as long as its open file.
    #[expect(dead_code, reason = "held, not used")]
    Option<File>,
);

impl LakeLock {
    /// No lock, where each write is conditional.
    pub(super) const fn none() -> Self {
        Self(None)
    }
}

/// Runs file work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(shutting_down()),
        },
    }
}

fn shutting_down() -> Error {
    Error::new(Kind::Storage, "the runtime is shutting down", None)
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into(), staged: Arc::default(), known: Arc::default(), waiting: Arc::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the folder where it is missing, takes its lock and clears the stage.
    pub(super) fn lock(&self) -> Result<LakeLock, Error> {
        self.create_root()?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.create_folders(Path::new(INTERNAL))?;
        let path = self.root.join(INTERNAL).join("lock");
        self.refuse_foreign(&path)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::new(
                    Kind::Locked,
                    format!("another process is writing to the lake `{}`", self.root.display()),
                    Some("wait for it to end; `status` and `plan` work meanwhile"),
                ));
            }
            Err(fs::TryLockError::Error(e)) => return Err(Error::io("lock", &path, &e)),
        }
        self.create_folders(&Path::new(INTERNAL).join("stage"))?;
        self.clear_stage()?;
        Ok(LakeLock(Some(file)))
    }

    /// Creates the lake's own folder where it is missing, with those it lies in, each durable in its parent.
    fn create_root(&self) -> Result<(), Error> {
        let root = std::path::absolute(&self.root).map_err(|e| Error::io("create", &self.root, &e))?;
        let missing: Vec<_> = root.ancestors().take_while(|path| !path.exists()).collect();
        fs::create_dir_all(&root).map_err(|e| Error::io("create", &root, &e))?;
        for parent in missing.iter().filter_map(|path| path.parent()) {
            sync_folder(parent)?;
        }
        if let (true, Some(parent)) = (missing.is_empty() && !root.join(INTERNAL).exists(), root.parent()) {
            // Whoever made it, or was killed while making it, may not have come to that. A parent that may
            // not be read is its owner's affair.
            let _ = sync_folder(parent);
        }
        Ok(())
    }

    fn clear_stage(&self) -> Result<(), Error> {
        let stage = self.root.join(INTERNAL).join("stage");
        let entries = match fs::read_dir(&stage) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("list", &stage, &e)),
        };
        for entry in entries {
            let path = entry.map_err(|e| Error::io("list", &stage, &e))?.path();
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
        Ok(())
    }

    /// Does what [`replace_now`](Self::replace_now) does, in a thread, together with whatever else is ready to be put.
    pub(super) async fn replace(&self, key: &str, bytes: Bytes, place: Place) -> Result<Commit, Error> {
        let (tell, told) = oneshot::channel();
        let (folder, key) = (self.clone(), key.to_owned());
        let job: Job = Box::new(move || {
            let put = || folder.replace_now(&key, &bytes, place);
            // Nobody may be listening any more: a put is carried out all the same.
            let _ = tell.send(catch_unwind(AssertUnwindSafe(put)));
        });
        if self.enqueue(job) {
            let waiting = self.waiting.clone();
            // A task of its own, since the one that is first may be dropped.
            tokio::spawn(async move {
                // Whatever else is ready has its turn first, and brings more.
                tokio::task::yield_now().await;
                let mut jobs = std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
                while !jobs.is_empty() {
                    let some: Vec<Job> = jobs.drain(..jobs.len().min(TOGETHER)).collect();
                    tokio::task::spawn_blocking(|| some.into_iter().for_each(|job| job()));
                }
            });
        }
        match told.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(shutting_down()),
        }
    }

    /// Lets a job wait for a thread; whether it is the first one to do so.
    fn enqueue(&self, job: Job) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(job);
        waiting.len() == 1
    }

    /// Puts a whole file in the place of `key`, unless it is to be new and something is there. On return
    /// it is there and survives a power loss; on an error the place is as it was, unless only the last
    /// sync failed.
    fn replace_now(&self, key: &str, bytes: &[u8], place: Place) -> Result<Commit, Error> {
        if self.make_room(key)? && place == Place::Empty {
            return Ok(Commit::Conflict);
        }
        let mut staged = self.stage(key)?;
        staged.write(bytes)?;
        staged.put()?;
        Ok(Commit::Done)
    }

    /// The same with what comes piece by piece, whatever is in the place.
    pub(super) async fn replace_in_pieces(
        &self,
        key: &str,
        pieces: impl Iterator<Item = Bytes>,
    ) -> Result<(), Error> {
        let (folder, key) = (self.clone(), key.to_owned());
        let mut staged = blocking(move || folder.make_room(&key).and_then(|_| folder.stage(&key))).await?;
        for piece in pieces {
            staged = blocking(move || staged.write(&piece).map(|()| staged)).await?;
        }
        blocking(move || staged.put()).await
    }

    /// Makes the folders above a place; whether there is a file in it.
    fn make_room(&self, key: &str) -> Result<bool, Error> {
        let is_new = self.create_folders(Path::new(key).parent().unwrap_or(Path::new("")))?;
        // Whoever else would put something there is kept away by the lake's lock.
        if is_new { Ok(false) } else { self.refuse_foreign(&self.root.join(key)) }
    }

    /// Begins a file for a place.
    fn stage(&self, key: &str) -> Result<Staged, Error> {
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let path = self.root.join(INTERNAL).join("stage").join(name);
        let create = OpenOptions::new().create_new(true).write(true).open(&path);
        let file = create.map_err(|e| Error::io("create", &path, &e))?;
        Ok(Staged { file, path, target: self.root.join(key), is_put: false })
    }

    /// Removes the folders above a place as far as they are empty.
    pub(super) fn prune(&self, key: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in Path::new(key).ancestors().skip(1).filter(|folder| *folder != Path::new("")) {
            if fs::remove_dir(self.root.join(folder)).is_err() {
                break;
            }
            known.remove(folder);
        }
    }

    /// What is made of every file under a relative folder, none of them through a link: a link is listed as itself.
    /// Where the folder itself is none, or in none, there are no files; whoever puts one there is told.
    pub(super) fn list<T>(
        &self,
        relative: &str,
        mut make: impl FnMut(String, Listed) -> T,
    ) -> Result<Vec<T>, Error> {
        let mut files = Vec::new();
        let is_other = |path: &Path| fs::symlink_metadata(self.root.join(path)).is_ok_and(|m| !m.is_dir());
        if Path::new(relative).ancestors().filter(|path| *path != Path::new("")).any(is_other) {
            return Ok(files);
        }
        let mut folders = vec![relative.to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.root.join(&folder);
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("list", &path, &e)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| Error::io("list", &path, &e))?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                // That something is a folder comes with the listing; half of what a lake has are folders.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(name);
                    continue;
                }
                let meta = match entry.metadata() {
                    Ok(meta) => meta,
                    // Removed since it was listed.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(Error::io("look at", &entry.path(), &e)),
                };
                let written_at = meta.modified().map_err(|e| Error::io("look at", &entry.path(), &e))?.into();
                // What is no plain file is no partition, whatever its name.
                let size = if meta.is_file() { meta.len() } else { 0 };
                files.push(make(name, Listed { written_at, size }));
            }
        }
        Ok(files)
    }

    /// Creates the folders of a relative path, each durable in its parent; whether the last one was missing.
    fn create_folders(&self, relative: &Path) -> Result<bool, Error> {
        let Some(above) = relative.parent() else { return Ok(false) };
        {
            // Held all the while: nobody may rely on a folder before it is durable.
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut path = PathBuf::new();
            for part in above {
                path.push(part);
                if !known.contains(&path) {
                    self.create_folder(&path)?;
                    known.insert(path.clone());
                }
            }
        }
        self.create_folder(relative)
    }

    /// Creates a folder, durable in its parent, also one that a killed writer had no time to sync; whether it was
    /// missing. A link would lead out of the lake, so none is followed.
    fn create_folder(&self, relative: &Path) -> Result<bool, Error> {
        let folder = self.root.join(relative);
        let is_new = match fs::create_dir(&folder) {
            Ok(()) => true,
            // Perhaps just now, by another process that is about to ask for the lock.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(&folder);
                if !meta.map_err(|e| Error::io("look at", &folder, &e))?.is_dir() {
                    return Err(foreign(&folder, "a folder"));
                }
                false
            }
            Err(e) => return Err(Error::io("create", &folder, &e)),
        };
        sync_folder(folder.parent().unwrap_or(&self.root))?;
        Ok(is_new)
    }

    /// Whether a plain file is in the place. Anything else there is an error.
    #[expect(clippy::unused_self, reason = "reads as a rule of the folder")]
    fn refuse_foreign(&self, path: &Path) -> Result<bool, Error> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => Ok(true),
            Ok(_) => Err(foreign(path, "a plain file")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("look at", path, &e)),
        }
    }
}

fn foreign(path: &Path, wanted: &str) -> Error {
    Error::new(
        Kind::Foreign,
        format!("`{}` is not {wanted}: it was not made by trendlake and is left alone", path.display()),
        Some("move it out of the lake"),
    )
}

/// A file on its way to its place. Dropped before it is there, it is removed.
struct Staged {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_put: bool,
}

impl Staged {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|e| Error::io("write", &self.path, &e))
    }

    fn put(mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(|e| Error::io("sync", &self.path, &e))?;
        fs::rename(&self.path, &self.target).map_err(|e| Error::io("replace", &self.target, &e))?;
        self.is_put = true;
        sync_folder(self.target.parent().unwrap_or(&self.target))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_put {
            // A file that stays all the same is cleared by the next lock.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| Error::io("sync", path, &e))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(&dir.path().join("lake"));
        (dir, folder)
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_in_the_stage() {
        let (_dir, folder) = folder();
        let _lock = folder.lock().unwrap();
        assert_eq!(folder.replace_now("a/b/data", b"one", Place::Empty).unwrap(), Commit::Done);
        assert_eq!(
            folder.replace_now("a/b/data", b"one and a half", Place::Empty).unwrap(),
            Commit::Conflict
        );
        assert_eq!(folder.replace_now("a/b/data", b"two", Place::Any).unwrap(), Commit::Done);
        assert_eq!(fs::read(folder.root.join("a/b/data")).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.root.join("_trendlake/stage")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn puts_that_come_together_have_each_an_outcome_of_its_own() {
        let (_dir, folder) = folder();
        let _lock = folder.lock().unwrap();
        fs::create_dir_all(folder.root.join("a/13")).unwrap();
        let keys: Vec<String> = (0..3 * TOGETHER).map(|number| format!("a/{number}")).collect();
        let put = |key, text| folder.replace(key, Bytes::from_static(text), Place::Empty);
        let (one, other) = (b"one".as_slice(), b"other".as_slice());
        // The first one is given up while it waits: it is put all the same, and keeps nobody else waiting.
        assert!(put("a/given-up", one).now_or_never().is_none());
        for (text, expected) in [(one, Commit::Done), (other, Commit::Conflict)] {
            for (key, outcome) in keys.iter().zip(join_all(keys.iter().map(|key| put(key, text))).await) {
                match key.as_str() {
                    "a/13" => assert_eq!(outcome.unwrap_err().kind(), Kind::Foreign),
                    _ => assert_eq!(outcome.unwrap(), expected, "{key}"),
                }
            }
        }
        for key in keys.iter().filter(|key| *key != "a/13").map(String::as_str).chain(["a/given-up"]) {
            assert_eq!(fs::read(folder.root.join(key)).unwrap(), one, "{key}");
        }
    }

    #[test]
    fn one_lock_and_a_cleared_stage() {
        let (_dir, folder) = folder();
        let lock = folder.lock().unwrap();
        assert_eq!(folder.lock().unwrap_err().kind(), Kind::Locked);
        drop(lock);
        folder.create_folders(Path::new("_trendlake/stage")).unwrap();
        fs::write(folder.root.join("_trendlake/stage/1-1"), "torn").unwrap();
        let _lock = folder.lock().unwrap();
        assert_eq!(fs::read_dir(folder.root.join("_trendlake/stage")).unwrap().count(), 0);
    }

    #[test]
    fn links_and_folders_in_our_places_are_left_alone() {
        let (dir, folder) = folder();
        let _lock = folder.lock().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("data"), "theirs").unwrap();
        std::os::unix::fs::symlink(&outside, folder.root.join("a")).unwrap();
        std::os::unix::fs::symlink(outside.join("data"), folder.root.join("data")).unwrap();
        fs::create_dir(folder.root.join("b")).unwrap();
        for key in ["a/data", "data", "b"] {
            assert_eq!(
                folder.replace_now(key, b"ours", Place::Any).unwrap_err().kind(),
                Kind::Foreign,
                "{key}"
            );
        }
        assert_eq!(fs::read(outside.join("data")).unwrap(), b"theirs");
    }
}
