"""A Singer tap with the Meltano SDK: one stream per grain, a partition per app and month, one request each.

    tap.py --config FILE     where FILE is JSON with config, first, last, grains
"""

import datetime

import jwt
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th

from questions import Job, claims, rows

TEXTS = ["stream_id", "stream_name", "conversation_type", "conversation_status", "channel", "time_zone"]
COUNTS = ["unique_users", "new_users", "returning_users"]


class Trend(RESTStream):
    http_method = "POST"
    path = ""

    def __init__(self, tap, grain, job):
        hour = [th.Property("hour", th.IntegerType)] if grain == "hourly" else []
        schema = th.PropertiesList(
            *[th.Property(name, th.StringType) for name in TEXTS],
            th.Property("date", th.DateType), *hour,
            *[th.Property(name, th.IntegerType) for name in COUNTS],
            th.Property("fetched_at", th.DateTimeType),
        ).to_dict()
        self.grain, self.job = grain, job
        self.primary_keys = ["stream_id", "date"] + (["hour"] if hour else [])
        super().__init__(tap, name=grain, schema=schema)

    @property
    def url_base(self):
        return self.job.base_url

    @property
    def partitions(self):
        return [{"stream": s["id"], "year": y, "month": m} for s in self.job.streams for y, m in self.job.months]

    # The bookmarks of thousands of partitions would be written out after each of them.
    state_partitioning_keys = []

    def get_url(self, context):
        return self.url_base + self.job.path(self.job.by_id[context["stream"]])

    def get_url_params(self, context, next_page_token):
        stream = self.job.by_id[context["stream"]]
        return self.job.params(stream, self.grain, *self.job.window(stream, (context["year"], context["month"])))

    def prepare_request(self, context, next_page_token):
        request = super().prepare_request(context, next_page_token)
        stream = self.job.by_id[context["stream"]]
        request.headers["auth"] = jwt.encode(claims(stream), stream["secret"], "HS256")
        self.asked = stream
        return request

    def parse_response(self, response):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        yield from rows(response.json(), self.asked, self.grain, now)


class TapTrends(Tap):
    name = "tap-trends"
    config_jsonschema = th.PropertiesList(
        *[th.Property(name, th.StringType, required=True) for name in ["config", "first", "last", "grains"]]
    ).to_dict()

    def discover_streams(self):
        job = Job(*[self.config[name] for name in ["config", "first", "last", "grains"]])
        return [Trend(self, grain, job) for grain in job.grains]


TapTrends.cli()
