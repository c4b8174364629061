//! A store that fails as it is told, around one in memory that never does.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Notify;

/// What is done to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Update,
    Overwrite,
    Get,
    List,
    Delete,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 500, nothing was done.
    ServerError,
    /// 503, nothing was done.
    SlowDown,
    /// No answer in time, nothing was done.
    TimeoutBefore,
    /// No answer in time, and it was done.
    TimeoutAfter,
    /// The connection ended after it was done.
    LostReply,
    /// The store's client repeated a put that had landed: it exists already.
    ExistsByUs,
    /// The same, where the condition was the version: it has changed.
    ChangedByUs,
    /// 409, which the store's client takes for an object that exists; nothing was done.
    Conflict,
    /// The condition is said to fail; nothing was done.
    Refused,
    /// 403.
    Forbidden,
    /// 400 with S3's text for a token past its time.
    Expired,
    /// 404 with S3's text for a bucket that is gone.
    NoSuchBucket,
    /// A listing without anything.
    Empty,
    /// The first half, and then the end of the connection.
    CutShort,
    /// The first half, as if it were the whole.
    Truncated,
    /// Nothing, ever.
    Hangs,
}

/// What fails, and how often.
pub(crate) struct Rule {
    pub op: Op,
    pub fault: Fault,
    /// Only where this is a part of the key.
    pub within: &'static str,
    /// So many are let through before the first that fails.
    pub skip: u32,
    /// So many fail.
    pub times: u32,
}

/// A store with one rule at most.
pub(crate) struct Faulty {
    inner: InMemory,
    rule: Mutex<Option<Rule>>,
    fired: Mutex<u32>,
    /// Someone else's objects: each takes its place right before the first put there.
    others: Mutex<Vec<(Path, Bytes)>>,
    /// Told when an operation hangs.
    pub hung: Notify,
}

impl Faulty {
    /// A store with these objects.
    pub(crate) async fn holding(objects: &[(Path, Bytes)]) -> Arc<Self> {
        let inner = InMemory::new();
        for (path, bytes) in objects {
            inner.put(path, bytes.clone().into()).await.unwrap();
        }
        let (rule, fired, others, hung) = Default::default();
        Arc::new(Self { inner, rule, fired, others, hung })
    }

    /// Goes wrong by this rule from now on, and no more by the one before. How often that one has fired.
    pub(crate) fn obey(&self, rule: Option<Rule>) -> u32 {
        *self.rule.lock().unwrap() = rule;
        std::mem::take(&mut self.fired.lock().unwrap())
    }

    /// Lets someone else write these objects, each right before the first put in its place.
    pub(crate) fn let_others_write(&self, objects: Vec<(Path, Bytes)>) {
        *self.others.lock().unwrap() = objects;
    }

    /// Whether all of these have been written.
    pub(crate) fn others_have_written(&self) -> bool {
        self.others.lock().unwrap().is_empty()
    }

    /// Every object, by path.
    pub(crate) async fn objects(&self) -> Vec<(Path, Bytes)> {
        let metas: Vec<_> = self.inner.list(None).try_collect().await.unwrap();
        let mut objects = Vec::new();
        for ObjectMeta { location, .. } in metas {
            let bytes = self.inner.get(&location).await.unwrap().bytes().await.unwrap();
            objects.push((location, bytes));
        }
        objects
    }

    /// The fault that befalls this operation, if any.
    fn strike(&self, op: Op, key: &str) -> Option<Fault> {
        let mut rule = self.rule.lock().unwrap();
        let rule = rule.as_mut().filter(|rule| rule.op == op && key.contains(rule.within))?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times = rule.times.checked_sub(1)?;
        *self.fired.lock().unwrap() += 1;
        Some(rule.fault)
    }
}

/// The error that the store's client makes of a fault.
fn error(fault: Fault, path: &Path) -> Error {
    let path = path.to_string();
    let store = "S3";
    match fault {
        Fault::ServerError => Error::Generic { store, source: "500 Internal Server Error".into() },
        Fault::SlowDown => Error::Generic { store, source: "503 Slow Down".into() },
        Fault::TimeoutBefore | Fault::TimeoutAfter => {
            Error::Generic { store, source: "operation timed out".into() }
        }
        Fault::LostReply | Fault::CutShort => {
            Error::Generic { store, source: "connection closed before message completed".into() }
        }
        Fault::ExistsByUs | Fault::Conflict => Error::AlreadyExists { path, source: "409 or 412".into() },
        Fault::ChangedByUs | Fault::Refused => Error::Precondition { path, source: "412".into() },
        Fault::Forbidden => Error::PermissionDenied { path, source: "403: AccessDenied".into() },
        Fault::Expired => Error::Generic {
            store,
            source: "400 Bad Request: <Error><Code>ExpiredToken</Code></Error>".into(),
        },
        Fault::NoSuchBucket => Error::NotFound { path, source: "404: NoSuchBucket".into() },
        Fault::Empty | Fault::Truncated | Fault::Hangs => unreachable!("no error, but a wrong answer"),
    }
}

impl Fault {
    /// Whether the operation is carried out all the same.
    fn lands(self) -> bool {
        matches!(self, Self::TimeoutAfter | Self::LostReply | Self::ExistsByUs | Self::ChangedByUs)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
        let other = {
            let mut others = self.others.lock().unwrap();
            let found = others.iter().position(|(path, _)| path == at);
            found.map(|index| others.swap_remove(index))
        };
        if let Some((path, bytes)) = other {
            self.inner.put(&path, bytes.into()).await?;
        }
        let op = match options.mode {
            PutMode::Create => Op::Create,
            PutMode::Update(_) => Op::Update,
            PutMode::Overwrite => Op::Overwrite,
        };
        match self.strike(op, at.as_ref()) {
            None => self.inner.put_opts(at, bytes, options).await,
            Some(Fault::Hangs) => {
                self.hung.notify_one();
                std::future::pending().await
            }
            Some(fault) => {
                if fault.lands() {
                    self.inner.put_opts(at, bytes, options).await?;
                }
                Err(error(fault, at))
            }
        }
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(fault) = self.strike(Op::Get, at.as_ref()) else {
            return self.inner.get_opts(at, options).await;
        };
        if !matches!(fault, Fault::CutShort | Fault::Truncated) {
            return Err(error(fault, at));
        }
        let whole = self.inner.get_opts(at, options.clone()).await?.bytes().await?;
        let half = whole.slice(..whole.len() / 2);
        let end = (fault == Fault::CutShort).then(|| Err(error(fault, at)));
        let payload = GetResultPayload::Stream(stream::iter([Ok(half)].into_iter().chain(end)).boxed());
        Ok(GetResult { payload, ..self.inner.get_opts(at, options).await? })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let at = prefix.cloned().unwrap_or_default();
        let whole = self.inner.list(prefix);
        match self.strike(Op::List, at.as_ref()) {
            None => whole,
            Some(Fault::Empty) => stream::empty().boxed(),
            Some(Fault::CutShort) => {
                whole.take(1).chain(stream::iter([Err(error(Fault::CutShort, &at))])).boxed()
            }
            Some(Fault::NoSuchBucket) => {
                // A listing is answered with another error than an object.
                let source = "404 Not Found: <Error><Code>NoSuchBucket</Code></Error>".into();
                stream::iter([Err(Error::Generic { store: "S3", source })]).boxed()
            }
            Some(fault) => stream::iter([Err(error(fault, &at))]).boxed(),
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // The exporter deletes one object at a time, so the whole stream has one fate.
        match self.strike(Op::Delete, "") {
            None => self.inner.delete_stream(paths),
            Some(fault) => {
                let paths = if fault.lands() { self.inner.delete_stream(paths) } else { paths };
                paths.map(move |path| Err(error(fault, &path?))).boxed()
            }
        }
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

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that fails as it is told")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
