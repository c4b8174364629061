"""dlt with its declarative REST source: records to Parquet in a folder, appended, as its filesystem destination does
by default.

    dlt_records.py CONFIG FROM TO GRAINS FOLDER
"""

import datetime
import os
import pathlib
import sys
from urllib.parse import urlsplit

import dlt
import jwt
import orjson
from dlt.common.configuration import configspec
from dlt.sources.helpers.rest_client.auth import AuthConfigBase
from dlt.sources.rest_api import rest_api_source

from questions import Job, claims, rows

config, first, last, grains, folder = sys.argv[1:]
job = Job(config, first, last, grains)


@configspec
class Token(AuthConfigBase):
    """A token per request, of the stream that its path names."""

    def __call__(self, request):
        stream = job.by_id[urlsplit(request.url).path.split("/")[4]]
        request.headers["auth"] = jwt.encode(claims(stream), stream["secret"], "HS256")
        return request


def questions(grain):
    def generate():
        for stream in job.streams:
            for month in job.months:
                start, end = job.window(stream, month)
                yield [{"id": stream["id"], "zone": stream["zone"], "start": start.isoformat(), "end": end.isoformat()}]

    return dlt.resource(generate, name=f"{grain}_questions", selected=False)


def trend(grain):
    parent = f"resources.{grain}_questions"

    def flatten(response, *_, **__):
        """The answer is no list of records; it becomes one before the source looks at it."""
        stream = job.by_id[urlsplit(response.url).path.split("/")[4]]
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        response._content = orjson.dumps(list(rows(orjson.loads(response.content), stream, grain, now)))
        return response

    return {
        "name": grain,
        "endpoint": {
            "path": f"api/public/bot/{{{parent}.id}}/v2/userEngagementTrend",
            "method": "POST",
            "params": {
                "aggregation_type": grain,
                "start_date": f"{{{parent}.start}}",
                "end_date": f"{{{parent}.end}}",
                "conversationType": "All",
                "conversationStatus": "All",
                "timeZoneOffset": f"{{{parent}.zone}}",
            },
            "response_actions": [flatten],
            "paginator": "single_page",
        },
        "parallelized": True,
    }


source = rest_api_source({
    "client": {"base_url": job.base_url, "auth": Token()},
    "resources": [part for grain in job.grains for part in (questions(grain), trend(grain))],
})
pipeline = dlt.pipeline(
    "peer_records",
    pipelines_dir=os.path.join(folder, "state"),
    destination=dlt.destinations.filesystem(pathlib.Path(folder).absolute().as_uri()),
    dataset_name="data",
)
pipeline.run(source, loader_file_format="parquet", write_disposition="append")
