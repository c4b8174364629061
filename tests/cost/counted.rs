//! A store in memory that counts what is asked of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// See the top.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    store: InMemory,
    lists: AtomicU64,
    reads: AtomicU64,
    puts: AtomicU64,
    written: AtomicU64,
}

impl Counted {
    /// Forgets what was counted.
    pub(crate) fn reset(&self) {
        for counter in [&self.lists, &self.reads, &self.puts, &self.written] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// What was asked since, by name.
    pub(crate) fn counts(&self) -> [(String, u64); 4] {
        [("lists", &self.lists), ("reads", &self.reads), ("puts", &self.puts), ("written", &self.written)]
            .map(|(name, counter)| (name.to_owned(), counter.load(Ordering::Relaxed)))
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.written.fetch_add(bytes.content_length() as u64, Ordering::Relaxed);
        self.store.put_opts(at, bytes, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.get_opts(at, options).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.store.list(prefix)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(paths)
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

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that counts")
    }
}
