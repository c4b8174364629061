"""dlt with resources that give pyarrow tables, which it writes as they are: its fastest way.

    dlt_arrow.py CONFIG FROM TO GRAINS FOLDER
"""

import datetime
import os
import pathlib
import sys

import dlt
import jwt
import orjson
import pyarrow as pa
from dlt.sources.helpers import requests

from questions import HOUR_KEYS, Job, claims, date_of

config, first, last, grains, folder = sys.argv[1:]
job = Job(config, first, last, grains)
session = requests.Client()
TEXTS = ["stream_id", "stream_name", "conversation_type", "conversation_status", "channel", "time_zone"]
TRENDS = {"unique_users": "uniqueUsersTrend", "new_users": "newUsersTrend", "returning_users": "returningUsersTrend"}


def table(answer, stream, grain):
    points = {name: answer[trend]["dataPoints"] for name, trend in TRENDS.items()}
    dates = [date_of(point["date"]) for point in points["unique_users"]]
    keys = ["users"] if grain == "daily" else HOUR_KEYS
    count = len(dates) * len(keys)
    texts = [stream["id"], stream["name"], "All", "All", "All", stream["zone"]]
    columns = {name: pa.repeat(pa.scalar(text), count) for name, text in zip(TEXTS, texts)}
    columns["date"] = pa.array([date for date in dates for _ in keys], pa.date32())
    if grain == "hourly":
        columns["hour"] = pa.array(list(range(24)) * len(dates), pa.int8())
    for name, trend in points.items():
        columns[name] = pa.array([point[key] for point in trend for key in keys], pa.int64())
    now = pa.scalar(datetime.datetime.now(datetime.timezone.utc), pa.timestamp("us", "UTC"))
    columns["fetched_at"] = pa.repeat(now, count)
    return pa.table(columns)


def trend(grain):
    @dlt.resource(name=f"{grain}_questions", selected=False)
    def questions():
        for stream in job.streams:
            for month in job.months:
                yield stream, month

    @dlt.transformer(data_from=questions, name=grain, write_disposition="append", parallelized=True)
    def answers(question):
        stream, month = question

        def ask():
            headers = {"auth": jwt.encode(claims(stream), stream["secret"], "HS256")}
            params = job.params(stream, grain, *job.window(stream, month))
            answer = session.post(job.base_url + job.path(stream), params=params, headers=headers)
            answer.raise_for_status()
            return table(orjson.loads(answer.content), stream, grain)

        yield ask()

    return answers


@dlt.source
def trends():
    return [trend(grain) for grain in job.grains]


pipeline = dlt.pipeline(
    "peer_arrow",
    pipelines_dir=os.path.join(folder, "state"),
    destination=dlt.destinations.filesystem(pathlib.Path(folder).absolute().as_uri()),
    dataset_name="data",
)
pipeline.run(trends(), loader_file_format="parquet")
