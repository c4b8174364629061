//! The store of the histories: one sea, several ships that sail it, and bad weather. It is a map of
//! objects that honours conditions; whatever goes wrong goes wrong on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use trendlake::chance::Chance;
use trendlake::clock::Clock;

use crate::shelves::unpacked;

/// What happened, in the order in which it did, and how often each fault did.
#[derive(Default)]
pub(crate) struct Log {
    pub lines: Mutex<Vec<String>>,
    pub faults: Mutex<BTreeMap<&'static str, u64>>,
}

impl Log {
    pub(crate) fn note(&self, clock: &Clock, line: fmt::Arguments<'_>) {
        self.lines.lock().unwrap().push(format!("{} {line}", clock.now().format("%F %T%.3f")));
    }

    pub(crate) fn fault(&self, name: &'static str) {
        *self.faults.lock().unwrap().entry(name).or_default() += 1;
    }
}

#[derive(Clone)]
pub(crate) struct Object {
    pub bytes: Bytes,
    version: u64,
    written_at: DateTime<Utc>,
}

impl Object {
    fn meta(&self, key: &str) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(key),
            last_modified: self.written_at,
            size: self.bytes.len() as u64,
            e_tag: Some(self.version.to_string()),
            version: None,
        }
    }
}

/// Judges what is put in an object's place, before it is there.
pub(crate) type Judge = dyn Fn(&str, &Bytes, Option<&Bytes>) + Send + Sync;

/// What all exporters write to.
pub(crate) struct Sea {
    pub objects: Mutex<BTreeMap<String, Object>>,
    versions: Mutex<u64>,
    /// The store's own clock, which is right.
    clock: Clock,
    log: Arc<Log>,
    judge: Box<Judge>,
    /// Nobody gets through.
    pub closed: AtomicBool,
}

impl Sea {
    pub(crate) fn new(clock: &Clock, log: &Arc<Log>, judge: Box<Judge>) -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            versions: Mutex::default(),
            clock: clock.clone(),
            log: log.clone(),
            judge,
            closed: AtomicBool::new(false),
        })
    }

    /// The bytes of every object under this prefix.
    pub(crate) fn under(&self, prefix: &str) -> BTreeMap<String, Bytes> {
        let objects = self.objects.lock().unwrap();
        let under = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        under.map(|(key, object)| (key.clone(), object.bytes.clone())).collect()
    }

    /// What readers find, as in a lake with an object per partition.
    pub(crate) fn data(&self) -> BTreeMap<String, Bytes> {
        let mut data = unpacked("lake/", self.under("lake/"));
        data.retain(|key, _| key.starts_with("lake/user_engagement"));
        data
    }

    fn put(&self, key: &str, bytes: &Bytes, mode: &PutMode) -> Result<PutResult> {
        let mut objects = self.objects.lock().unwrap();
        let there = objects.get(key);
        let path = key.to_owned();
        match (mode, there) {
            (PutMode::Create, Some(_)) => {
                return Err(Error::AlreadyExists { path, source: "there".into() });
            }
            (PutMode::Update(_), None) => return Err(Error::Precondition { path, source: "gone".into() }),
            (PutMode::Update(wanted), Some(there)) if wanted.e_tag != Some(there.version.to_string()) => {
                return Err(Error::Precondition { path, source: "changed".into() });
            }
            _ => {}
        }
        (self.judge)(key, bytes, there.map(|there| &there.bytes));
        let mut versions = self.versions.lock().unwrap();
        *versions += 1;
        // A copy of its own, so that what the lake takes of the memory is known.
        let bytes = Bytes::copy_from_slice(bytes);
        let object = Object { bytes, version: *versions, written_at: self.clock.now() };
        objects.insert(path, object);
        Ok(PutResult { e_tag: Some(versions.to_string()), version: None, extensions: Extensions::default() })
    }
}

/// How one process reaches the sea. A ship that has sunk has no effect any more, nor has one that is
/// becalmed until it sails again.
#[derive(Clone)]
pub(crate) struct Ship {
    pub sea: Arc<Sea>,
    pub number: usize,
    pub chance: Chance,
    /// Of a thousand operations so many fail.
    pub storms: u64,
    pub sunk: Arc<AtomicBool>,
    pub becalmed: Arc<AtomicBool>,
}

impl Ship {
    /// Lets time pass on the way, for ever if the ship has sunk.
    pub(crate) async fn sail(&self) {
        self.sea.clock.sleep(Duration::from_millis(self.chance.bits() % 1500)).await;
        while self.becalmed.load(Ordering::Relaxed) {
            self.sea.clock.sleep(Duration::from_mins(7)).await;
        }
        if self.sunk.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Whether this is one of the operations that fail.
    pub(crate) fn storm(&self, name: &'static str) -> bool {
        let strikes = self.chance.bits() % 1000 < self.storms || self.sea.closed.load(Ordering::Relaxed);
        if strikes {
            self.sea.log.fault(name);
        }
        strikes
    }

    fn note(&self, line: fmt::Arguments<'_>) {
        self.sea.log.note(&self.sea.clock, format_args!("ship {} {line}", self.number));
    }

    async fn fails_before(&self, name: &'static str) -> Result<()> {
        self.sail().await;
        if self.storm(name) { Err(lost(name)) } else { Ok(()) }
    }
}

fn lost(what: &'static str) -> Error {
    Error::Generic { store: "sea", source: what.into() }
}

#[async_trait]
impl ObjectStore for Ship {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.fails_before("put lost on the way").await?;
        if self.storm("put refused though nothing is there") {
            return Err(Error::AlreadyExists { path: at.to_string(), source: "409".into() });
        }
        let result = self.sea.put(at.as_ref(), &bytes.into(), &options.mode);
        self.note(format_args!("put {at}: {}", if result.is_ok() { "done" } else { "conflict" }));
        self.sail().await;
        if self.storm("put done, reply lost") {
            return Err(lost("reply lost"));
        }
        if result.is_ok() && self.storm("put done twice") {
            return Err(Error::AlreadyExists { path: at.to_string(), source: "sent twice".into() });
        }
        result
    }

    async fn get_opts(&self, at: &Path, _: GetOptions) -> Result<GetResult> {
        self.fails_before("get lost").await?;
        let found = self.sea.objects.lock().unwrap().get(at.as_ref()).cloned();
        self.note(format_args!("get {at}: {}", if found.is_some() { "found" } else { "absent" }));
        let Some(object) = found else {
            return Err(Error::NotFound { path: at.to_string(), source: "absent".into() });
        };
        self.sail().await;
        let cut = self.storm("get cut short").then(|| Err(lost("cut short")));
        let end = if cut.is_some() { object.bytes.len() / 2 } else { object.bytes.len() };
        let chunks = [Ok(object.bytes.slice(..end))].into_iter().chain(cut);
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter(chunks).boxed()),
            range: 0..object.bytes.len() as u64,
            meta: object.meta(at.as_ref()),
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.map(|p| format!("{p}/")).unwrap_or_default();
        let ship = self.clone();
        let listing = async move {
            if let Err(error) = ship.fails_before("list lost").await {
                return vec![Err(error)];
            }
            let objects = ship.sea.objects.lock().unwrap();
            let under = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
            let mut metas: Vec<_> = under.map(|(key, object)| Ok(object.meta(key))).collect();
            ship.note(format_args!("list {prefix}: {}", metas.len()));
            if ship.storm("list cut short") {
                metas.truncate(metas.len() / 2);
                metas.push(Err(lost("cut short")));
            }
            metas
        };
        listing.map(stream::iter).flatten_stream().boxed()
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let ship = self.clone();
        let delete = move |path: Result<Path>| {
            let ship = ship.clone();
            async move {
                let path = path?;
                ship.fails_before("delete lost").await?;
                ship.note(format_args!("delete {path}"));
                ship.sea.objects.lock().unwrap().remove(path.as_ref());
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("objects are put whole")
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        unreachable!("listings are whole")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nothing is copied")
    }
}

impl fmt::Display for Ship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ship {}", self.number)
    }
}

impl fmt::Debug for Ship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
