"""A Singer target with the Meltano SDK that writes each of its batches as a Parquet file, as such targets do. The one
of this name on PyPI (target-parquet 0.0.1) asks for a pandas of 2019 and does not install on a Python of today.

    target.py --config FILE     where FILE is JSON with the folder
"""

import pathlib
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
from singer_sdk import BatchSink, Target
from singer_sdk import typing as th

TYPES = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "date-time": pa.timestamp("us", "UTC"),
}


class Files(BatchSink):
    max_size = 10000

    def process_batch(self, context):
        fields = [(name, self.type_of(spec)) for name, spec in self.schema["properties"].items()]
        folder = pathlib.Path(self.config["folder"]) / self.stream_name
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(context["records"], schema=pa.schema(fields))
        pq.write_table(table, folder / f"{uuid.uuid4()}.parquet", compression="zstd")

    @staticmethod
    def type_of(spec):
        kinds = [spec.get("format"), *spec["type"]]
        return next(TYPES[kind] for kind in kinds if kind in TYPES)


class TargetFiles(Target):
    name = "target-files"
    default_sink_class = Files
    config_jsonschema = th.PropertiesList(th.Property("folder", th.StringType, required=True)).to_dict()


TargetFiles.cli()
