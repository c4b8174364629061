//! The log of a Delta table, as the Delta kernel reads and writes it: in memory, so that it neither waits nor fails for
//! a store's reasons.
//!
//! Only this file names the kernel. The log's files are handed in by name, and what is to become a file is handed
//! out; where they are read and put, and under which conditions, is the lake's affair.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine_data::{
    FilteredEngineData, FilteredRowVisitor, GetData, MapItem, RowIndexIterator, TypedGetData,
};
use delta_kernel::expressions::{ColumnName, Scalar};
use delta_kernel::schema::{DataType as KernelType, MapType, StructType};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use delta_kernel::{FileMeta, KernelError, KernelResult};
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::parquet::DataFileMetadata;
use delta_kernel_default_engine::stats::FileStatsAccumulator;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder, build_add_file_metadata};
use futures_util::{FutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::tags::tagged;
use crate::lake::TABLE_LOG;
use crate::model::{Dataset, Month, Partition, StreamId};
use crate::table::{self, DamagedError, Footer};

/// The columns by which a table is partitioned, of which its files have none.
const STREAM_ID: &str = "stream_id";
const MONTH: &str = "month";
/// Who has written a version, in the table's history.
const ENGINE: &str = concat!("trendlake/", env!("CARGO_PKG_VERSION"));
/// Which checkpoint readers begin with.
pub(super) const LAST_CHECKPOINT: &str = "_last_checkpoint";

type Engine = DefaultEngine<TokioMultiThreadExecutor>;

/// The log cannot be understood or continued.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LogError(String);

impl From<KernelError> for LogError {
    fn from(error: KernelError) -> Self {
        Self(error.to_string())
    }
}

impl From<object_store::Error> for LogError {
    fn from(error: object_store::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for LogError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// A file that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Within the table.
    pub path: String,
    pub size: u64,
    pub written_at: DateTime<Utc>,
}

/// The files that count, by what the log says of their partitions; those of no partition of ours apart.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub partitions: BTreeMap<Partition, Vec<File>>,
    pub foreign: Vec<File>,
}

/// What the log says of files in their footers' stead, by path; of those that it says nothing of, or not all, nothing.
pub(super) type Said = HashMap<String, Result<Footer, DamagedError>>;

/// Of which files it is asked what the log says of them.
pub(super) type Asked<'a> = dyn Fn(&Partition, &File) -> bool + Sync + 'a;

/// A file that is to count.
pub(super) struct Added<'a> {
    pub partition: &'a Partition,
    pub file: &'a File,
    /// What it says of itself.
    pub footer: &'a Footer,
    /// All its rows, with the columns of the dataset.
    pub batch: &'a RecordBatch,
}

/// A table's log as far as it was read.
pub(super) struct Log {
    dataset: Dataset,
    store: Arc<InMemory>,
    engine: Engine,
    snapshot: Option<SnapshotRef>,
}

impl Log {
    pub(super) fn new(dataset: Dataset) -> Self {
        // The kernel is synchronous, and runs what its stores do on an executor. One for all tables, since a thread
        // that is there costs less than one that is made.
        static EXECUTOR: LazyLock<Arc<TokioMultiThreadExecutor>> = LazyLock::new(|| {
            Arc::new(
                TokioMultiThreadExecutor::new_owned_runtime(Some(1), None)
                    .expect("a thread can be started, as the runtime's own were"),
            )
        });
        let store = Arc::new(InMemory::new());
        let engine = DefaultEngineBuilder::new(store.clone()).with_task_executor(EXECUTOR.clone()).build();
        Self { dataset, store, engine, snapshot: None }
    }

    /// The newest version that was read; nothing where there is no table.
    pub(super) fn version(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.version())
    }

    /// Takes in files of the log, by name: a checkpoint or the first version, and what comes after.
    pub(super) fn read(&mut self, files: Vec<(String, Bytes)>) -> Result<(), LogError> {
        if files.is_empty() {
            return Ok(());
        }
        for (name, bytes) in files {
            at_once(self.store.put(&place(&name), bytes.into()))?;
        }
        let snapshot = apart(|| match &self.snapshot {
            None => Snapshot::builder_for(ROOT).build(&self.engine),
            Some(snapshot) => Snapshot::builder_from(snapshot.clone()).build(&self.engine),
        })?;
        let columns = snapshot.schema();
        let expected = columns_of(self.dataset)?;
        let missing: Vec<_> = expected.fields().filter(|f| columns.field(f.name()).is_none()).collect();
        if let Some(field) = missing.first() {
            return Err(LogError(format!("the table has no column `{}`", field.name())));
        }
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// The files that count in the newest version, and what it says of those that are asked for. Only that is kept in
    /// memory of all that is said.
    pub(super) fn live(&self, asked: &Asked<'_>) -> Result<(Live, Said), LogError> {
        let mut counting =
            Counting { dataset: self.dataset, asked, live: Live::default(), said: Said::new() };
        let Some(snapshot) = &self.snapshot else { return Ok((counting.live, counting.said)) };
        apart(|| {
            let scan = snapshot.clone().scan_builder().build()?;
            for metadata in scan.scan_metadata(&self.engine)? {
                counting.visit_rows_of(&metadata?.scan_files)?;
            }
            Ok::<_, KernelError>((counting.live, counting.said))
        })
    }

    /// The first version: a table without rows.
    pub(super) fn created(&self) -> Result<(String, Bytes), LogError> {
        let columns = columns_of(self.dataset)?;
        apart(|| {
            let result = create_table(ROOT, Arc::new(columns), ENGINE, false)
                .with_data_layout(DataLayout::partitioned([STREAM_ID, MONTH]))
                .build(&self.engine, Box::new(FileSystemCommitter::new()))?
                .commit(&self.engine)?;
            committed(&result)
        })?;
        self.take_back(0)
    }

    /// The version after the newest, in which these files count no more and those do.
    pub(super) fn changed(
        &self,
        removed: &BTreeSet<&str>,
        added: &[Added<'_>],
    ) -> Result<(String, Bytes), LogError> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| LogError("there is no table".into()))?;
        apart(|| {
            let replaced = added.iter().map(|a| a.partition.stream.as_str()).collect::<BTreeSet<_>>().len();
            let mut txn = snapshot
                .clone()
                .update_table(UpdateTableOperation::Write, ENGINE, true)
                .with_operation_parameters([
                    ("mode", Some("Overwrite".to_owned())),
                    ("partitions", Some(added.len().to_string())),
                    ("streams", Some(replaced.to_string())),
                ])
                .build(&self.engine, Box::new(FileSystemCommitter::new()))?;
            let writes = txn.write_state()?;
            for Added { partition, file, batch, .. } in added {
                let month = partition.month.first_day().to_epoch_days();
                let values = HashMap::from([
                    (STREAM_ID.to_owned(), Scalar::String(partition.stream.as_str().into())),
                    (MONTH.to_owned(), Scalar::Date(month)),
                ]);
                let context = writes.write_context_builder().with_partition_values(values).build()?;
                let columns = context.physical_data_schema();
                let mut statistics = FileStatsAccumulator::new(context.stats_columns(), columns);
                statistics.merge(&table::bare(batch))?;
                let statistics = statistics.finish()?.ok_or_else(|| LogError("no statistics".into()))?;
                let url = Url::parse(ROOT).and_then(|root| root.join(&file.path));
                let url = url.map_err(|e| LogError(e.to_string()))?;
                let meta = FileMeta::new(url, file.written_at.timestamp_millis(), file.size);
                txn.add_files(build_add_file_metadata(DataFileMetadata::new(meta, statistics), &context)?);
            }
            if !removed.is_empty() {
                let scan = snapshot.clone().scan_builder().build()?;
                for metadata in scan.scan_metadata(&self.engine)? {
                    if let Some(chosen) = chosen(metadata?.scan_files, removed)? {
                        txn.remove_files(chosen);
                    }
                }
            }
            committed(&txn.commit(&self.engine)?)
        })?;
        let (name, version) = self.take_back(snapshot.version() + 1)?;
        let footers = added.iter().map(|added| (added.file.path.as_str(), added.footer)).collect();
        Ok((name, tagged(&version, &footers)?))
    }

    /// What has been written of a version, which is none yet.
    fn take_back(&self, version: u64) -> Result<(String, Bytes), LogError> {
        let name = commit_name(version);
        let bytes = at_once(async { self.store.get(&place(&name)).await?.bytes().await })?;
        at_once(self.store.delete(&place(&name)))?;
        Ok((name, bytes))
    }

    /// A checkpoint of the newest version, and what points to it, in the order in which they are to be put.
    pub(super) fn checkpoint(&self) -> Result<Vec<(String, Bytes)>, LogError> {
        let Some(snapshot) = &self.snapshot else { return Ok(Vec::new()) };
        let before = self.names()?;
        apart(|| snapshot.checkpoint(&self.engine, None).map(drop))?;
        let mut files = Vec::new();
        for name in self.names()?.difference(&before) {
            files.push((name.clone(), at_once(async { self.store.get(&place(name)).await?.bytes().await })?));
        }
        // What points to the checkpoint comes last, and is no part of what the kernel is to believe: it
        // may be another process's, read at another time.
        at_once(self.store.delete(&place(LAST_CHECKPOINT)))?;
        files.sort_by_key(|(name, _)| name == LAST_CHECKPOINT);
        Ok(files)
    }

    fn names(&self) -> Result<BTreeSet<String>, LogError> {
        let files = at_once(self.store.list(Some(&Path::from(TABLE_LOG))).try_collect::<Vec<_>>())?;
        Ok(files.iter().filter_map(|meta| meta.location.filename()).map(str::to_owned).collect())
    }
}

/// What is gathered of the rows of a scan.
struct Counting<'a> {
    dataset: Dataset,
    asked: &'a Asked<'a>,
    live: Live,
    said: Said,
}

impl Counting<'_> {
    fn partition(&self, values: &MapItem<'_>) -> Option<Partition> {
        let stream: StreamId = values.get(STREAM_ID)?.parse().ok()?;
        let month: Month = values.get(MONTH)?.strip_suffix("-01")?.parse().ok()?;
        Some(Partition { dataset: self.dataset, stream, month })
    }
}

impl FilteredRowVisitor for Counting<'_> {
    fn selected_column_names_and_types(&self) -> (&'static [ColumnName], &'static [KernelType]) {
        static COLUMNS: LazyLock<(Vec<ColumnName>, Vec<KernelType>)> = LazyLock::new(|| {
            let texts = || KernelType::from(MapType::new(KernelType::STRING, KernelType::STRING, true));
            let columns: [(&[&str], _); 6] = [
                (&["path"], KernelType::STRING),
                (&["size"], KernelType::LONG),
                (&["modificationTime"], KernelType::LONG),
                (&["deletionVector", "storageType"], KernelType::STRING),
                (&["fileConstantValues", "partitionValues"], texts()),
                (&["fileConstantValues", "tags"], texts()),
            ];
            columns.into_iter().map(|(name, of)| (ColumnName::new(name.iter().copied()), of)).unzip()
        });
        (&COLUMNS.0, &COLUMNS.1)
    }

    fn visit_filtered<'a>(
        &mut self,
        columns: &[&'a dyn GetData<'a>],
        rows: RowIndexIterator<'_>,
    ) -> KernelResult<()> {
        let [path, size, modified, vector, values, tags] = columns else {
            return Err(KernelError::generic("the columns are not those that were asked for"));
        };
        for row in rows {
            // A row without a path adds no file.
            let Some(path): Option<&str> = path.get_opt(row, "path")? else { continue };
            let (size, modified): (i64, i64) =
                (size.get(row, "size")?, modified.get(row, "modificationTime")?);
            let file = File {
                path: path.to_owned(),
                size: u64::try_from(size).unwrap_or_default(),
                written_at: DateTime::from_timestamp_millis(modified).unwrap_or_default(),
            };
            let has_vector = vector.get_str(row, "deletionVector.storageType")?.is_some();
            let values: Option<MapItem<'_>> = values.get_opt(row, "partitionValues")?;
            let partition = values.and_then(|values| self.partition(&values)).filter(|_| !has_vector);
            let Some(partition) = partition else {
                self.live.foreign.push(file);
                continue;
            };
            if (self.asked)(&partition, &file) {
                let tags: Option<MapItem<'_>> = tags.get_opt(row, "tags")?;
                match Footer::from_entries(|key| tags.as_ref()?.get(key)) {
                    Err(DamagedError::Foreign) => {}
                    footer => _ = self.said.insert(file.path.clone(), footer),
                }
            }
            self.live.partitions.entry(partition).or_default().push(file);
        }
        Ok(())
    }
}

/// Where the table is for the kernel.
const ROOT: &str = "memory:///";

fn place(name: &str) -> Path {
    Path::from_iter([TABLE_LOG, name])
}

/// The name of a version's file.
pub(super) fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The name of a checkpoint in one piece.
pub(super) fn checkpoint_name(version: u64) -> String {
    format!("{version:020}.checkpoint.parquet")
}

/// The columns of a dataset as a table: its own, and the month.
fn columns_of(dataset: Dataset) -> Result<StructType, LogError> {
    let schema = table::schema(dataset);
    let comment = HashMap::from([("comment".to_owned(), "first day of the month".to_owned())]);
    let month = Field::new(MONTH, DataType::Date32, false).with_metadata(comment);
    let fields = schema.fields().iter().cloned().chain([Arc::new(month)]).collect::<Vec<_>>();
    StructType::try_from_arrow(&Schema::new(fields)).map_err(|e| LogError(e.to_string()))
}

fn committed<S>(result: &CommitResult<S>) -> Result<(), LogError> {
    if result.is_committed() { Ok(()) } else { Err(LogError("the version is there already".into())) }
}

/// Those rows of a scan that are the files of these paths.
fn chosen(files: FilteredEngineData, paths: &BTreeSet<&str>) -> Result<Option<FilteredEngineData>, LogError> {
    let (data, selected) = files.into_parts();
    let data = ArrowEngineData::try_from_engine_data(data)?;
    let column = data.record_batch().column_by_name("path").and_then(|path| path.as_string_opt::<i32>());
    let column = column.ok_or_else(|| LogError("the kernel gives no paths".into()))?;
    // Rows beyond the end of the selection are selected.
    let is_chosen = |(row, path): (usize, Option<&str>)| {
        selected.get(row).copied().unwrap_or(true) && path.is_some_and(|path| paths.contains(path))
    };
    let chosen: Vec<bool> = column.iter().enumerate().map(is_chosen).collect();
    if !chosen.contains(&true) {
        return Ok(None);
    }
    Ok(Some(FilteredEngineData::try_new(data, chosen)?))
}

/// What memory does is done at once.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("memory lets nobody wait")
}

/// Lets the kernel work on a thread outside of any runtime: within one, it would rely on what only some of them can.
fn apart<T: Send, E: Into<LogError> + Send>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, LogError> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done.map_err(Into::into),
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
