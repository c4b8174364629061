"""What every peer is told: the streams of a configuration as `trendlake simulate` writes it, and its months."""

import calendar
import datetime
import pathlib
import tomllib
import uuid


class Job:
    def __init__(self, config, first, last, grains):
        path = pathlib.Path(config)
        settings = tomllib.loads(path.read_text())
        self.base_url = settings["defaults"]["base_url"]
        self.grains = grains.split(",")
        self.streams = [
            {"name": name, **stream, "secret": (path.parent / stream["client_secret_file"]).read_text().strip()}
            for name, stream in settings["streams"].items()
        ]
        self.by_id = {stream["id"]: stream for stream in self.streams}
        (y, m), end = map(int, first.split("-")), tuple(map(int, last.split("-")))
        self.months = []
        while (y, m) <= end:
            self.months.append((y, m))
            y, m = (y + 1, 1) if m == 12 else (y, m + 1)

    def window(self, stream, month):
        """The month's first and last day, cut at today in the stream's zone."""
        import zoneinfo

        year, number = month
        today = datetime.datetime.now(zoneinfo.ZoneInfo(stream["zone"])).date()
        last = datetime.date(year, number, calendar.monthrange(year, number)[1])
        return datetime.date(year, number, 1), min(last, today)

    def path(self, stream):
        return f"/api/public/bot/{stream['id']}/v2/userEngagementTrend"

    def params(self, stream, grain, start, end):
        return {
            "aggregation_type": grain,
            "start_date": start.isoformat(),
            "end_date": end.isoformat(),
            "conversationType": "All",
            "conversationStatus": "All",
            "timeZoneOffset": stream["zone"],
        }

    def questions(self):
        for stream in self.streams:
            for month in self.months:
                for grain in self.grains:
                    yield stream, grain, month


def claims(stream):
    now = int(datetime.datetime.now().timestamp())
    return {"sub": "peer", "appId": stream["client_id"], "iat": now - 30, "exp": now + 270, "jti": str(uuid.uuid4())}


def hour_key(hour):
    return f"{hour} - {(hour + 1) % 24}"


HOUR_KEYS = [hour_key(hour) for hour in range(24)]


def date_of(text):
    """`Dec 01 2025`, in English whatever the locale."""
    months = "JanFebMarAprMayJunJulAugSepOctNovDec"
    return datetime.date(int(text[7:11]), months.index(text[:3]) // 3 + 1, int(text[4:6]))


def rows(answer, stream, grain, fetched_at):
    """An answer as flat records, for the tools that take records."""
    series = [answer[f"{which}UsersTrend"]["dataPoints"] for which in ("unique", "new", "returning")]
    for unique, new, returning in zip(*series):
        record = {
            "stream_id": stream["id"],
            "stream_name": stream["name"],
            "conversation_type": "All",
            "conversation_status": "All",
            "channel": "All",
            "time_zone": stream["zone"],
            "date": date_of(unique["date"]).isoformat(),
            "fetched_at": fetched_at,
        }
        points = [(None, "users")] if grain == "daily" else list(enumerate(HOUR_KEYS))
        for hour, key in points:
            row = dict(record)
            if hour is not None:
                row["hour"] = hour
            row["unique_users"] = unique[key]
            row["new_users"] = new[key]
            row["returning_users"] = returning[key]
            yield row
