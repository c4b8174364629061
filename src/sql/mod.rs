//! Statements with which engines and warehouses read the lake.
//!
//! They are made from the schemas, so a new column or dataset appears in all of them by itself. Each
//! engine gets what it takes to read `trendlake.<dataset>` and `trendlake.<dataset>_final`, in which only
//! settled figures are, out of files that a pattern finds or out of Delta tables. Pure: nothing here looks
//! at the lake or speaks to an engine.

mod dbt;
mod delta;
mod files;
mod hive;
mod place;
mod script;
mod table;
mod warehouse;

pub use place::{Place, PlaceError};
pub use script::Script;

use chrono::NaiveDate;
use clap::ValueEnum;

use crate::config::{LakeLayout, Settings, Stream};
use crate::lake::{self, Tree};
use crate::model::{Dataset, StreamId};
use table::Table;

/// Who reads the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Views over the files.
    Duckdb,
    /// Views over the files.
    Clickhouse,
    /// Tables, filled through the `duckdb` program; a script for `psql`.
    Postgres,
    /// External tables with views, and tables filled by `COPY INTO`.
    Snowflake,
    /// External tables with views, for a lake on Google Cloud Storage.
    Bigquery,
    /// External tables with partition projection, for a lake on S3.
    Athena,
    /// External tables of the Hive connector.
    Trino,
    /// External tables of Spectrum with views, for a lake on S3.
    Redshift,
    /// Views over the files.
    Databricks,
    /// Views over the files.
    Spark,
    /// A `sources.yml` with descriptions and tests, for the tables that one of the others makes.
    Dbt,
}

/// A lake as engines are told of it.
#[derive(Clone, Debug)]
pub struct Source {
    place: Place,
    /// How its files are found; nothing where they are those of Delta tables.
    tree: Option<Tree>,
    /// The streams and the first day of any of them; nothing is known of them without a configuration.
    streams: Option<(Vec<StreamId>, NaiveDate)>,
    datasets: Vec<Dataset>,
    /// Whether the figures that have changed are among the tables.
    restatements: bool,
}

impl Source {
    /// A lake of which only the place and the layout are known: the datasets that a stream fills unless told
    /// otherwise.
    #[must_use]
    pub fn at(place: Place, layout: LakeLayout) -> Self {
        let datasets = vec![Dataset::Daily, Dataset::Hourly, Dataset::Summary];
        Self { place, tree: lake::tree(layout), streams: None, datasets, restatements: false }
    }

    /// The lake of a configuration: only the datasets that some stream fills.
    ///
    /// # Errors
    /// When no engine could be told of the place.
    pub fn of(settings: &Settings) -> Result<Self, PlaceError> {
        let streams = &settings.streams;
        let is_filled = |dataset: &Dataset| {
            streams.iter().flat_map(Stream::unit_kinds).any(|kind| kind == dataset.unit_kind())
        };
        let first = streams.iter().map(|s| s.first_date).min();
        let ids = streams.iter().map(|s| s.id.clone()).collect();
        Ok(Self {
            place: Place::of(&settings.lake)?,
            tree: lake::tree(settings.lake.layout),
            streams: first.map(|first| (ids, first)),
            datasets: Dataset::ALL.into_iter().filter(is_filled).collect(),
            restatements: false,
        })
    }

    /// With the figures that have changed after their time, or without. Engines that look at the files when they are
    /// told of a table fail until there is one, so whoever reads decides.
    #[must_use]
    pub fn with_restatements(self, restatements: bool) -> Self {
        Self { restatements, ..self }
    }

    /// What an engine has to be told.
    ///
    /// # Errors
    /// When the engine cannot read from where the lake is, or what is there.
    pub fn script(&self, engine: Engine) -> Result<Script, PlaceError> {
        let tables = self.datasets.iter().map(|&dataset| Table::of(dataset, self.tree));
        let tables: Vec<_> = tables.chain(self.restatements.then(Table::restatements)).collect();
        let root = || self.place.root(engine);
        Ok(match engine {
            Engine::Duckdb => files::duckdb(&root()?, &tables),
            Engine::Clickhouse => files::clickhouse(&root()?, &tables),
            Engine::Postgres => files::postgres(&root()?, &tables),
            Engine::Spark => hive::spark(&root()?, &tables),
            Engine::Databricks => hive::databricks(&root()?, &tables),
            Engine::Athena => hive::athena(&root()?, &tables, self.streams.as_ref()),
            Engine::Trino => hive::trino(&root()?, &tables),
            Engine::Snowflake => warehouse::snowflake(&root()?, &tables),
            Engine::Bigquery => warehouse::bigquery(&root()?, &tables),
            Engine::Redshift if self.tree.is_none() => return Err(place::no_tables()),
            Engine::Redshift => warehouse::redshift(&root()?, &tables),
            Engine::Dbt => dbt::sources(&tables),
        })
    }
}
