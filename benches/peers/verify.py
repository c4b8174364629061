"""Holds what a tool has left in a folder against what the simulator says now, asked for one by one.

    verify.py CONFIG FROM TO GRAINS FOLDER     prints JSON by grain: rows, rows that stand more than once, keys that
                                               are missing, rows whose figures are not the simulator's

Days that are not over for a day in every zone are left out: their figures move.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import pathlib
import sys
import urllib.parse

import duckdb
import pyarrow as pa

from questions import HOUR_KEYS, Job, claims, date_of

config, first, last, grains, folder = sys.argv[1:]
job = Job(config, first, last, grains)
OVER = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)).date()


def token(stream):
    part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    text = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims(stream)).encode())
    return (text + b"." + part(hmac.new(stream["secret"].encode(), text, hashlib.sha256).digest())).decode()


def truth(grain):
    url = urllib.parse.urlsplit(job.base_url)
    server = http.client.HTTPConnection(url.hostname, url.port)
    columns = {name: [] for name in ["stream_id", "date", "hour", "unique_users", "new_users", "returning_users"]}
    for stream, _, month in (q for q in job.questions() if q[1] == grain):
        query = urllib.parse.urlencode(job.params(stream, grain, *job.window(stream, month)), quote_via=urllib.parse.quote)
        server.request("POST", f"{job.path(stream)}?{query}", headers={"auth": token(stream)})
        answer = json.loads(server.getresponse().read())
        series = [answer[f"{which}UsersTrend"]["dataPoints"] for which in ("unique", "new", "returning")]
        for points in zip(*series):
            date = date_of(points[0]["date"])
            if date >= OVER:
                continue
            for hour, key in [(0, "users")] if grain == "daily" else enumerate(HOUR_KEYS):
                for name, value in zip(columns, [stream["id"], date, hour, *[p[key] for p in points]]):
                    columns[name].append(value)
    return pa.table(columns)


def verdict(grain):
    said = truth(grain)
    files = [str(path) for path in pathlib.Path(folder).rglob("*.parquet")
             if {grain, f"user_engagement_{grain}"} & set(path.relative_to(folder).parts)]
    hour = "hour" if grain == "hourly" else "0"
    duckdb.sql(f"""create or replace table found as select stream_id, "date"::date as date, {hour}::int as hour,
        unique_users, new_users, returning_users from read_parquet({files}, hive_partitioning = false)
        where "date"::date < '{OVER}'""")
    duckdb.sql("create or replace table expected as select * from said")
    one = lambda query: duckdb.sql(query).fetchall()[0][0]
    keys = "stream_id, date, hour"
    return {
        "rows": one("select count(*) from found"),
        "expected": one("select count(*) from expected"),
        "duplicates": one(f"select count(*) - count(distinct ({keys})) from found"),
        "missing": one(f"select count(*) from (select {keys} from expected except select {keys} from found)"),
        "wrong": one("select count(*) from found f where not exists (select 1 from expected e where "
            "(e.stream_id, e.date, e.hour, e.unique_users, e.new_users, e.returning_users) = "
            "(f.stream_id, f.date, f.hour, f.unique_users, f.new_users, f.returning_users))"),
        "files": len(files),
    }


print(json.dumps({grain: verdict(grain) for grain in job.grains}))
