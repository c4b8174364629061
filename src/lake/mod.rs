//! The lake: named bytes in a folder or an object store, replaced whole and under conditions.
//!
//! Nothing here knows what the bytes say. A key is a pure function of its partition; an object is
//! listed, read, and replaced in one atomic step on condition that it is still what was read.

mod error;
mod folder;
mod keys;
mod lease;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
pub use error::{Error, Kind};
pub use folder::LakeLock;
use futures_util::TryStreamExt;
pub use keys::{
    ForeignKeyError, TABLE_LOG, Tree, key, pack_key, parse_key, parse_pack_key, parse_restatement_key,
    parse_table_key, restatement_key, table_folder, table_key, table_path, tree,
};
pub use lease::{BEAT, Bid, Contender, LEASE_TIME, Lease};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    PutPayloadMut, UpdateVersion, WriteMultipart,
};

use crate::config::{LakeSettings, Location};
use crate::model::{Dataset, Pack, Partition, StreamId, Unit};
use folder::{Folder, Place};

/// Where everything that is no data lies, relative to the root.
pub const INTERNAL: &str = "_trendlake";

/// The marker of a lake that holds everything due, relative to the root. Readers of tables pass over names that
/// begin so.
const SUCCESS: &str = "_SUCCESS";

/// An object that comes piece by piece is put in parts of this size if it is larger: S3 takes none under 5 MiB.
const PART: usize = 8 << 20;
/// How many parts are put at once.
const PARTS_AT_ONCE: usize = 2;

/// How often the probe of conditions is tried.
const PROBES: u32 = 4;

/// A lake that can be read, and written to by whoever holds its lock.
#[derive(Clone)]
pub struct Lake {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    writer: Writer,
}

/// How an object is replaced.
#[derive(Clone)]
enum Writer {
    /// By file, fsync and rename, under one lock for the whole lake.
    Folder(Folder),
    /// By a put that the store carries out only if the object is still as it was read.
    Conditional,
    /// By a plain put: the store knows no conditions and the user vouches for a single writer.
    LastWins,
}

/// What an object was when it was read or listed.
#[derive(Clone, Debug)]
pub struct Version(UpdateVersion);

impl Version {
    /// What stands for a version where a partition is there by the names of its files alone.
    #[must_use]
    pub fn named(names: &str) -> Self {
        Self(UpdateVersion { e_tag: Some(names.into()), version: None })
    }

    /// The names, where it has some; nothing else than [`Version::named`] is to be asked.
    #[must_use]
    pub fn names(&self) -> &str {
        self.0.e_tag.as_deref().unwrap_or_default()
    }
}

/// What the writer expects to find in an object's place.
#[derive(Clone, Debug)]
pub enum Expect {
    /// No object.
    Absent,
    /// The object that was read.
    Unchanged(Version),
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The object is in its place.
    Done,
    /// Something else than expected was in its place, and still is.
    Conflict,
}

/// A listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// When it was written, by the store's clock; whole seconds on some stores.
    pub written_at: DateTime<Utc>,
    /// Its length in bytes.
    pub size: u64,
}

/// The objects of one dataset, by what their keys say.
#[derive(Debug)]
pub struct Listing<T> {
    /// Our objects.
    pub objects: BTreeMap<T, Listed>,
    /// Keys that are none of ours.
    pub foreign: Vec<String>,
}

impl Lake {
    /// Opens the lake. A folder that does not exist reads as an empty lake.
    ///
    /// # Errors
    /// When the store's settings are unusable.
    pub fn open(settings: &LakeSettings) -> Result<Self, Error> {
        match &settings.location {
            Location::Folder(path) => {
                let store = store::folder(path)?;
                Ok(Self { store, prefix: Path::default(), writer: Writer::Folder(Folder::new(path)) })
            }
            Location::Remote(url) => {
                let (store, prefix) = store::remote(url, settings)?;
                let writer = if settings.single_writer { Writer::LastWins } else { Writer::Conditional };
                Ok(Self { store, prefix, writer })
            }
        }
    }

    /// A lake on a store that honours conditions.
    #[must_use]
    pub fn on(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix, writer: Writer::Conditional }
    }

    /// Makes the lake ready to be written. On a folder: creates it, takes its lock, and clears away
    /// what a killed writer left. On a store: makes sure that it honours conditions.
    ///
    /// # Errors
    /// When another live process holds the lock, or the store ignores conditions.
    pub async fn lock(&mut self) -> Result<LakeLock, Error> {
        match &self.writer {
            Writer::Folder(folder) => {
                let (folder, task) = (folder.clone(), folder.clone());
                let lock = folder::blocking(move || task.lock()).await?;
                self.store = store::folder(folder.root())?;
                Ok(lock)
            }
            Writer::Conditional => {
                self.require_conditions().await?;
                Ok(LakeLock::none())
            }
            Writer::LastWins => Ok(LakeLock::none()),
        }
    }

    /// Whether several processes may work on the lake at once: one on a store that honours conditions.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.writer, Writer::Conditional)
    }

    /// Whether a commit that failed may have happened all the same. On a folder it has not: what stands there
    /// may not survive a loss of power.
    pub(crate) const fn loses_replies(&self) -> bool {
        !matches!(self.writer, Writer::Folder(_))
    }

    /// Lists the partitions of a dataset, of all streams or of one. Fails as a whole: half a
    /// listing would look like missing partitions.
    ///
    /// # Errors
    /// When the store cannot list, even for a part of the keys.
    pub async fn list(
        &self,
        dataset: Dataset,
        stream: Option<&StreamId>,
    ) -> Result<Listing<Partition>, Error> {
        let mut last: Option<StreamId> = None;
        let parse = move |key: &str| {
            let mut partition = parse_key(key)?;
            // Keys of one stream come one after the other, and share its id from here on.
            match &last {
                Some(stream) if *stream == partition.stream => partition.stream = stream.clone(),
                _ => last = Some(partition.stream.clone()),
            }
            Ok(partition)
        };
        self.listing(keys::folder(dataset, stream), parse).await
    }

    /// Lists the packs of a dataset, as [`Lake::list`] lists partitions.
    ///
    /// # Errors
    /// When the store cannot list, even for a part of the keys.
    pub async fn list_packs(&self, dataset: Dataset) -> Result<Listing<Pack>, Error> {
        self.listing(keys::pack_folder(dataset), parse_pack_key).await
    }

    async fn listing<T: Ord + Send + 'static>(
        &self,
        folder: String,
        mut parse: impl FnMut(&str) -> Result<T, ForeignKeyError> + Send + 'static,
    ) -> Result<Listing<T>, Error> {
        // No key is kept for longer than it takes to know what it says: a large lake has hundreds of thousands.
        let file = move |key: String, listed| match parse(&key) {
            Ok(ours) => Ok((ours, listed)),
            Err(ForeignKeyError) => Err(key),
        };
        let mut foreign = Vec::new();
        let ours = |file: Result<_, String>| file.map_err(|key| foreign.push(key)).ok();
        // Put into order all at once, which is much less than a place looked up for each.
        let objects = self.files(folder, file).await?.into_iter().filter_map(ours).collect();
        Ok(Listing { objects, foreign })
    }

    /// Lists the objects with restatements, of all streams or of one, by unit; and the keys that are none of
    /// theirs.
    ///
    /// # Errors
    /// When the store cannot list, even for a part of the keys.
    pub async fn list_restatements(&self, stream: Option<&StreamId>) -> Result<Listing<Unit>, Error> {
        self.listing(keys::restatement_folder(stream), parse_restatement_key).await
    }

    /// All files of a dataset that is kept as a table, or those of one of its folders, by key.
    ///
    /// # Errors
    /// When the store cannot list.
    pub async fn list_table(&self, dataset: Dataset, folder: &str) -> Result<Vec<(String, Listed)>, Error> {
        let folder = keys::table_key(dataset, folder);
        self.files(folder.trim_end_matches('/').to_owned(), |key, listed| (key, listed)).await
    }

    /// The names of all objects under a folder of [`INTERNAL`], relative to that folder, sorted.
    ///
    /// # Errors
    /// When the store cannot list.
    pub async fn list_internal(&self, folder: &str) -> Result<Vec<String>, Error> {
        Ok(self.listed_internal(folder).await?.into_keys().collect())
    }

    /// The same with when they were written.
    ///
    /// # Errors
    /// When the store cannot list.
    pub async fn listed_internal(&self, folder: &str) -> Result<BTreeMap<String, Listed>, Error> {
        let folder = format!("{INTERNAL}/{folder}");
        let above = format!("{folder}/");
        let name = move |key: String, listed| Some((key.strip_prefix(&above)?.to_owned(), listed));
        Ok(self.files(folder, name).await?.into_iter().flatten().collect())
    }

    /// What is made of everything under a folder, by key.
    async fn files<T: Send + 'static>(
        &self,
        folder: String,
        mut make: impl FnMut(String, Listed) -> T + Send + 'static,
    ) -> Result<Vec<T>, Error> {
        if let Writer::Folder(root) = &self.writer {
            let root = root.clone();
            return folder::blocking(move || root.list(&folder, make)).await;
        }
        let at = self.at(&folder);
        let file = |meta: ObjectMeta| {
            let listed = Listed { written_at: meta.last_modified, size: meta.size };
            make(self.relative(&meta.location), listed)
        };
        self.store.list(Some(&at)).map_ok(file).try_collect().await.map_err(|e| Error::of("list", &folder, e))
    }

    /// Reads an object, with the version that a later commit can be conditional on.
    ///
    /// # Errors
    /// When the store fails; an absent object is `None`.
    pub async fn read(&self, key: &str) -> Result<Option<(Bytes, Version)>, Error> {
        let found = self.get(key).await?;
        Ok(found.map(|(bytes, meta)| {
            (bytes, Version(UpdateVersion { e_tag: meta.e_tag, version: meta.version }))
        }))
    }

    /// Reads an object that a listing has left out, with when it was written. The listing of a folder
    /// leaves nothing out.
    ///
    /// # Errors
    /// When the store fails; an absent object is `None`.
    pub async fn find(&self, key: &str) -> Result<Option<(Bytes, DateTime<Utc>)>, Error> {
        if matches!(self.writer, Writer::Folder(_)) {
            return Ok(None);
        }
        Ok(self.get(key).await?.map(|(bytes, meta)| (bytes, meta.last_modified)))
    }

    /// Reads the end of an object that was listed with this size, with its length now; from a store that knows no
    /// ranges, all of it.
    ///
    /// # Errors
    /// When the store fails; an absent object is `None`.
    pub async fn read_end(&self, key: &str, size: u64, most: u64) -> Result<Option<(Bytes, u64)>, Error> {
        // From the listed size, since not every store counts from the end.
        let range = GetRange::Offset(size.saturating_sub(most));
        let found = self.get_range(key, Some(range)).await?;
        Ok(found.map(|(bytes, meta)| (bytes, meta.size)))
    }

    /// Reads the beginning of an object of [`INTERNAL`] that is longer than `most` bytes; from a store that knows no
    /// ranges, all of it.
    ///
    /// # Errors
    /// When the store fails; an absent object is `None`.
    pub async fn read_start_internal(&self, name: &str, most: u64) -> Result<Option<Bytes>, Error> {
        let found = self.get_range(&format!("{INTERNAL}/{name}"), Some(GetRange::Bounded(0..most))).await?;
        Ok(found.map(|(bytes, _)| bytes))
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, ObjectMeta)>, Error> {
        self.get_range(key, None).await
    }

    async fn get_range(
        &self,
        key: &str,
        range: Option<GetRange>,
    ) -> Result<Option<(Bytes, ObjectMeta)>, Error> {
        let options = GetOptions { range, ..GetOptions::default() };
        let result = match self.store.get_opts(&self.at(key), options).await {
            Ok(result) => result,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::of("read", key, error)),
        };
        let (meta, sent) = (result.meta.clone(), result.range.end - result.range.start);
        let bytes = result.bytes().await.map_err(|e| Error::of("read", key, e))?;
        // A file that came in part must not be taken for one that is damaged.
        if bytes.len() as u64 != sent {
            let text = format!("cannot read `{key}` in the lake: {} of {sent} bytes came", bytes.len());
            return Err(Error::new(Kind::Storage, text, None));
        }
        Ok(Some((bytes, meta)))
    }

    /// Puts a whole object in place of what is expected there.
    ///
    /// # Errors
    /// When the store fails. The put may then have happened all the same: read to find out.
    pub async fn commit(&self, key: &str, bytes: Bytes, expect: Expect) -> Result<Commit, Error> {
        let replaces = matches!(expect, Expect::Unchanged(_));
        let mode = match (&self.writer, expect) {
            (Writer::Folder(folder), expect) => {
                let place = match expect {
                    Expect::Absent => Place::Empty,
                    // The lake's lock keeps every writer away, so what was read is still there.
                    Expect::Unchanged(_) => Place::Any,
                };
                return folder.replace(key, bytes, place).await;
            }
            (Writer::LastWins, _) => PutMode::Overwrite,
            (Writer::Conditional, Expect::Absent) => PutMode::Create,
            (Writer::Conditional, Expect::Unchanged(Version(version))) => PutMode::Update(version),
        };
        match self.put(key, bytes, mode).await {
            Ok(()) => Ok(Commit::Done),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Commit::Conflict)
            }
            // The object has been deleted since. Where there was none, it is the bucket that is gone.
            Err(object_store::Error::NotFound { .. }) if replaces => Ok(Commit::Conflict),
            Err(error) => Err(Error::of("write", key, error)),
        }
    }

    /// Puts an object of [`INTERNAL`], whatever is there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_internal(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        self.put_hint(&format!("{INTERNAL}/{name}"), bytes).await
    }

    /// Puts an object of [`INTERNAL`] piece by piece, whatever is there: it need not be held in memory as a whole.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_pieces(&self, name: &str, pieces: impl Iterator<Item = Bytes>) -> Result<(), Error> {
        let key = format!("{INTERNAL}/{name}");
        if let Writer::Folder(folder) = &self.writer {
            return folder.replace_in_pieces(&key, pieces).await;
        }
        self.put_in_parts(&key, pieces).await.map_err(|e| Error::of("write", &key, e))
    }

    /// One put, unless it is too large for that.
    async fn put_in_parts(&self, key: &str, pieces: impl Iterator<Item = Bytes>) -> object_store::Result<()> {
        let (at, mut pieces) = (self.at(key), pieces.peekable());
        let mut begun = PutPayloadMut::new();
        while begun.content_length() < PART
            && let Some(piece) = pieces.next()
        {
            begun.push(piece);
        }
        if pieces.peek().is_none() {
            return self.store.put(&at, begun.freeze()).await.map(drop);
        }
        let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(&at).await?, PART);
        for piece in begun.freeze().into_iter().chain(pieces) {
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                // What has been uploaded would be paid for, and never be seen.
                let _ = upload.abort().await;
                return Err(error);
            }
            upload.put(piece);
        }
        upload.finish().await.map(drop)
    }

    /// Puts the marker of a whole lake, which says by which run it has become so.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn mark_success(&self, run: &str) -> Result<(), Error> {
        self.put_hint(SUCCESS, format!("{run}\n").into()).await
    }

    /// Puts an object of which any version does, whatever is there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_hint(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        if let Writer::Folder(folder) = &self.writer {
            return folder.replace(key, bytes, Place::Any).await.map(drop);
        }
        self.put(key, bytes, PutMode::Overwrite).await.map_err(|e| Error::of("write", key, e))
    }

    /// Reads an object of [`INTERNAL`].
    ///
    /// # Errors
    /// When the store fails; an absent object is `None`.
    pub async fn read_internal(&self, name: &str) -> Result<Option<Bytes>, Error> {
        Ok(self.read(&format!("{INTERNAL}/{name}")).await?.map(|(bytes, _)| bytes))
    }

    /// Removes an object of [`INTERNAL`]; one that is not there is fine.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_internal(&self, name: &str) -> Result<(), Error> {
        self.delete(&format!("{INTERNAL}/{name}")).await
    }

    /// Removes an object whose partitions have been moved elsewhere, and on a folder those folders that are empty
    /// then. One that is not there is fine.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        self.delete(key).await?;
        if let Writer::Folder(folder) = &self.writer {
            let (folder, key) = (folder.clone(), key.to_owned());
            folder::blocking(move || {
                folder.prune(&key);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&self.at(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::of("delete", key, error)),
        }
    }

    /// Finds out whether the store carries out a put only under its conditions: one object is
    /// created twice, then replaced as a version that it never had. It stays, so that the next look
    /// takes two requests.
    ///
    /// # Errors
    /// When the store fails, or does not honour conditions.
    pub async fn require_conditions(&self) -> Result<(), Error> {
        const NAME: &str = "_trendlake/probe";
        let content =
            Bytes::from_static(b"trendlake tries out whether this store honours conditional writes\n");
        // A put whose reply was lost may have landed all the same: the next try finds out.
        let retried = |error| {
            let error = Error::of("write", NAME, error);
            if error.kind() == Kind::Storage { Ok(error) } else { Err(error) }
        };
        let (mut created, mut failed) = (false, None);
        for _ in 0..PROBES {
            match self.put(NAME, content.clone(), PutMode::Create).await {
                Ok(()) if created => return Err(Error::no_conditions("a creation")),
                Ok(()) => {
                    created = true;
                    continue;
                }
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                }
                Err(error) => {
                    failed = Some(retried(error)?);
                    continue;
                }
            }
            // As long as a hash: a store that counts its versions may begin with 0.
            let never = UpdateVersion { e_tag: Some(format!("\"{:032}\"", 0)), version: Some("0".into()) };
            match self.put(NAME, content.clone(), PutMode::Update(never)).await {
                Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {
                    return Ok(());
                }
                Ok(()) => return Err(Error::no_conditions("a replacement")),
                Err(error) => failed = Some(retried(error)?),
            }
        }
        Err(failed.expect("two creations have been told apart"))
    }

    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        self.store.put_opts(&self.at(key), PutPayload::from_bytes(bytes), options).await.map(drop)
    }

    fn at(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    fn relative(&self, location: &Path) -> String {
        let parts: Vec<_> = match location.prefix_match(&self.prefix) {
            Some(parts) => parts.map(|p| p.as_ref().to_owned()).collect(),
            None => location.parts().map(|p| p.as_ref().to_owned()).collect(),
        };
        parts.join("/")
    }
}
