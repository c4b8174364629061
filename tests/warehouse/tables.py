"""Engines that read a lake of Delta tables, as engines.py has those that read one of files. DuckDB is its program,
for which a wheel has the extension `delta`, as psql starts it too."""

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
from deltalake import DeltaTable

import engines

DUCKDB = Path(sys.executable).parent / "duckdb"


def at_home():
    """Makes a home in which DuckDB finds its extension where it would have put what it had downloaded."""
    home = Path(tempfile.mkdtemp(prefix="trendlake-duckdb-"))
    atexit.register(shutil.rmtree, home)
    platform = subprocess.check_output([DUCKDB, "-noheader", "-csv", "-c", "PRAGMA platform"], text=True).strip()
    wheel = Path(importlib.util.find_spec("duckdb_extension_delta").origin).parent
    for version in (wheel / "extensions").iterdir():
        folder = home / ".duckdb/extensions" / version.name / platform
        folder.mkdir(parents=True)
        (folder / "delta.duckdb_extension").symlink_to(version / "delta.duckdb_extension")
    os.environ["HOME"] = str(home)
    return home


def files(folder):
    """The files that count, with the stream that their folders say and their columns do not."""
    if not engines.is_table(folder):
        return engines.files(folder)
    stream = pa.dataset.partitioning(pa.schema([("stream_id", pa.string())]), flavor="hive")
    counting = DeltaTable(folder).file_uris()
    return pa.dataset.dataset(counting, format="parquet", partitioning=stream)


HOME = at_home()


class Duckdb:
    def __init__(self, lake, folder):
        self.database = HOME / "trends.db"
        for _ in range(2):
            self.run(["-bail"], Path(folder, "duckdb.sql").read_bytes())

    def run(self, arguments, text=b""):
        ran = subprocess.run([DUCKDB, *arguments, self.database], input=text, capture_output=True)
        if ran.returncode:
            raise RuntimeError(ran.stderr.decode())
        return ran.stdout

    def query(self, sql):
        out = self.run(["-c", f"SET TimeZone = 'UTC'; COPY ({sql}) TO '/dev/stdout' (FORMAT parquet)"])
        return pa.parquet.read_table(pa.BufferReader(out))

    def read(self, name, _reference):
        return self.query(f"SELECT * FROM trendlake.{name}")

    def comment(self, table, column):
        of = f"table_name = '{table}' AND column_name = '{column}'"
        return self.query(f"SELECT comment FROM duckdb_columns() WHERE {of}")["comment"][0].as_py()


class Clickhouse(engines.Clickhouse):
    def __init__(self, lake, folder):
        # Tables in folders it reads below the one that it runs in, and files anywhere.
        os.chdir(lake)
        super().__init__(lake, folder)


class Polars(engines.Polars):
    def read(self, name, reference):
        folder = engines.views(self.lake)[name]
        if not engines.is_table(folder):
            return super().read(name, reference)
        frame = self.pl.scan_delta(folder)
        if name.endswith("_final"):
            frame = frame.filter(self.pl.col("is_final"))
        return frame.collect().to_arrow()


class Datafusion(engines.Datafusion):
    def __init__(self, lake, folder):
        super().__init__(lake, folder)
        self.lake = lake

    def refresh(self):
        """A table stays at the version that it was registered with."""
        for name, folder in engines.tables(self.lake).items():
            if engines.is_table(folder):
                self.context.deregister_table(f"trendlake.{name}")
                self.context.register_table(f"trendlake.{name}", DeltaTable(folder))
                final = f"SELECT * FROM trendlake.{name} WHERE is_final"
                self.context.sql(f"CREATE OR REPLACE VIEW trendlake.{name}_final AS {final}")


class Pyarrow(engines.Pyarrow):
    """By the dataset that the package `deltalake` makes for it."""

    def read(self, name, reference):
        folder = engines.views(self.lake)[name]
        if not engines.is_table(folder):
            return super().read(name, reference)
        dataset = DeltaTable(folder).to_pyarrow_dataset()
        return dataset.to_table(filter=pa.dataset.field("is_final") if name.endswith("_final") else None)


ENGINES = {
    "duckdb": Duckdb,
    "clickhouse": Clickhouse,
    "postgres": engines.Postgres,
    "polars": Polars,
    "datafusion": Datafusion,
    "pyarrow": Pyarrow,
}
