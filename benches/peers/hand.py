"""A careful script: asyncio on uvloop, one session with its connections kept, orjson, columns built straight into
pyarrow, one file per partition, replaced in one step. It fetches and writes everything each time it runs.

    hand.py CONFIG FROM TO GRAINS FOLDER
"""

import asyncio
import datetime
import os
import pathlib
import sys
import zoneinfo

import aiohttp
import jwt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvloop

from questions import HOUR_KEYS, Job, claims, date_of

AT_ONCE = 32
UTC = datetime.timezone.utc
INSTANT = pa.timestamp("us", "UTC")
TEXTS = [pa.field(name, pa.string(), False) for name in
         ["stream_id", "stream_name", "conversation_type", "conversation_status", "channel", "time_zone"]]
COUNTS = [pa.field(name, pa.int64()) for name in ["unique_users", "new_users", "returning_users"]]
AVERAGES = [pa.field(f"avg_{name}_users_per_day", pa.float64()) for name in ["unique", "new", "returning"]]
ENDS = [pa.field("is_final", pa.bool_(), False), pa.field("fetched_at", INSTANT, False)]
SCHEMAS = {
    "daily": pa.schema(TEXTS + [pa.field("date", pa.date32(), False)] + COUNTS + ENDS),
    "hourly": pa.schema(TEXTS + [pa.field("date", pa.date32(), False), pa.field("hour", pa.int8(), False),
                                 pa.field("hour_start", INSTANT)] + COUNTS + ENDS),
    "summary": pa.schema(TEXTS + [pa.field("period", pa.string(), False), pa.field("period_start", pa.date32(), False),
                                  pa.field("period_end", pa.date32(), False)] + COUNTS + AVERAGES + ENDS),
}
TRENDS = ["uniqueUsersTrend", "newUsersTrend", "returningUsersTrend"]


def hour_starts(zone, dates):
    """Each hour's first instant; none for an hour that a change of the clocks skips."""
    starts = []
    for date in dates:
        for hour in range(24):
            local = datetime.datetime(date.year, date.month, date.day, hour, tzinfo=zone)
            instant = local.astimezone(UTC)
            exists = instant.astimezone(zone).hour == hour
            starts.append(instant if exists else None)
    return starts


def write(folder, dataset, stream, month, columns):
    schema = SCHEMAS[dataset]
    table = pa.Table.from_arrays(columns, schema=schema)
    place = folder / f"user_engagement_{dataset}/stream={stream['id']}/month={month[0]}-{month[1]:02}"
    place.mkdir(parents=True, exist_ok=True)
    staged = place / ".data.parquet.tmp"
    pq.write_table(table, staged, compression="zstd", use_dictionary=True)
    with open(staged, "rb") as file:
        os.fsync(file.fileno())
    os.replace(staged, place / "data.parquet")


def export(folder, stream, grain, month, answer, now, instants):
    zone = zoneinfo.ZoneInfo(stream["zone"])
    today = now.astimezone(zone).date()
    points = [[(date_of(p["date"]), p) for p in answer[trend]["dataPoints"]] for trend in TRENDS]
    for trend in points:
        trend.sort(key=lambda point: point[0])
    dates = [date for date, _ in points[0]]
    if any([date for date, _ in trend] != dates for trend in points):
        raise ValueError("the trends have different dates")
    texts = [stream["id"], stream["name"], "All", "All", "All", stream["zone"]]

    def columns(count, time, figures, final):
        constant = [pa.repeat(pa.scalar(text, pa.string()), count) for text in texts]
        return [*constant, *time, *figures, final, pa.repeat(pa.scalar(now, INSTANT), count)]

    settled = [today > date + datetime.timedelta(days=3) for date in dates]
    if grain == "daily":
        figures = [pa.array([p["users"] for _, p in trend], pa.int64()) for trend in points]
        write(folder, "daily", stream, month,
              columns(len(dates), [pa.array(dates, pa.date32())], figures, pa.array(settled)))
        said = answer["summary"]
        counts = [pa.array([said[k]], pa.int64()) for k in ["uniqueUsers", "newUsers", "returningUsers"]]
        averages = [pa.array([said[f"avg{k}UsersPerDay"]], pa.float64()) for k in ["Unique", "New", "Returning"]]
        time = [pa.array(["month"]), pa.array([dates[0]], pa.date32()), pa.array([dates[-1]], pa.date32())]
        write(folder, "summary", stream, month, columns(1, time, counts + averages, pa.array([settled[-1]])))
        return
    key = (stream["zone"], month)
    if key not in instants:
        instants[key] = pa.array(hour_starts(zone, dates), INSTANT)
    elapsed = 24 * len(dates) - (23 - now.astimezone(zone).hour if dates[-1] == today else 0)
    figures = [pa.array([p[k] for _, p in trend for k in HOUR_KEYS][:elapsed], pa.int64()) for trend in points]
    time = [
        pa.array([date for date in dates for _ in range(24)][:elapsed], pa.date32()),
        pa.array((list(range(24)) * len(dates))[:elapsed], pa.int8()),
        instants[key][:elapsed],
    ]
    final = pa.array([value for value in settled for _ in range(24)][:elapsed])
    write(folder, "hourly", stream, month, columns(elapsed, time, figures, final))


async def ask(session, gate, job, stream, grain, month):
    start, end = job.window(stream, month)
    async with gate:
        for attempt in range(5):
            token = jwt.encode(claims(stream), stream["secret"], "HS256")
            params = job.params(stream, grain, start, end)
            async with session.post(job.path(stream), params=params, headers={"auth": token}) as answer:
                if answer.status == 429 or answer.status >= 500:
                    await asyncio.sleep(2**attempt)
                    continue
                answer.raise_for_status()
                return orjson.loads(await answer.read())
        raise RuntimeError("no answer")


async def main():
    config, first, last, grains, folder = sys.argv[1:]
    job, folder, gate, instants = Job(config, first, last, grains), pathlib.Path(folder), asyncio.Semaphore(AT_ONCE), {}
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(job.base_url, connector=connector) as session:

        async def one(stream, grain, month):
            now = datetime.datetime.now(UTC)
            answer = await ask(session, gate, job, stream, grain, month)
            export(folder, stream, grain, month, answer, now, instants)

        async with asyncio.TaskGroup() as tasks:
            for question in job.questions():
                tasks.create_task(one(*question))


uvloop.run(main())
