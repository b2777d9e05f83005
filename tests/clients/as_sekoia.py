"""A server in Sekoia's place: what the tests of its intake share.

`AsSekoia` comes first among the bases of a case. It starts one server for the whole case, makes intakes with the
command, and looks up what was sent: a row must have the id that the sender was given, its bytes, its time and its log
type. Only the standard library, so that tests without packages can use it too.
"""

import base64
import json
import re
from collections import Counter
from datetime import datetime, timezone

from server import Server, until


class AsSekoia:
    # Settings of the server, by the names of its environment variables.
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.options, dict(cls.settings))
        cls.addClassCleanup(cls.server.close)
        cls.server.start()

    @classmethod
    def intake(cls, name, log_type="BIND_DNS", *more, instance=None):
        """A new intake as the command prints it, `intake_key` among the rest; of the default instance or of this one."""
        of = ("--instance", instance or cls.server.customer_id)
        made = cls.server.cli("intake", "create", "--name", name, "--format", log_type, *of, *more, "-o", "json")
        return json.loads(made)

    def rows(self, query, count, **more):
        """The rows of a search once there are so many, and not one more."""

        def look():
            rows = self.server.search("raw", query, limit=count + 100, **more)[0]
            return rows if len(rows) >= count else None

        rows = until(look, f"{query!r} does not find {count}")
        self.assertEqual(len(rows), count, f"{query!r} finds {rows[:3]} and so on")
        return rows

    def assert_nothing(self, query, **more):
        """What was refused is nowhere, once everything that was taken can be seen."""
        self.server.wait_stored()
        self.assertEqual(self.server.search("raw", query, **more)[0], [], query)

    def assert_event(self, row, intake, data, at=None):
        """A row has what was sent, came by this intake, and has the time that was given, or none."""
        self.assertEqual(data_of(row), data if isinstance(data, bytes) else data.encode())
        self.assertEqual((row["kind"], row["log_type"]), ("raw", intake["log_type"]))
        self.assertEqual((row["instance"], row["namespace"]), (intake["instance"], intake["namespace"]))
        self.assertEqual((row["feed"], row["sender"]), (f"intakes/{intake['id']}", f"intake:{intake['id']}"))
        if at is None:
            self.assertIsNone(row["sender_time"])
            self.assertEqual(row["event_time"], row["received_at"])
        else:
            self.assertEqual(nanoseconds(row["sender_time"]), nanoseconds(at), f"{row['sender_time']} is not {at}")
            self.assertEqual(nanoseconds(row["event_time"]), nanoseconds(at))

    def assert_texts(self, rows, texts):
        self.assertEqual(Counter(data_of(row) for row in rows), Counter(text.encode() for text in texts))


def data_of(row):
    """The bytes of a raw log."""
    return base64.b64decode(row["data_base64"]) if "data_base64" in row else row["text"].encode()


def nanoseconds(text):
    """RFC 3339 as nanoseconds since 1970: Python's times have no room for the last three digits."""
    whole, fraction, zone = re.fullmatch(r"(.{19})(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text).groups()
    seconds = datetime.fromisoformat(whole + zone.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()
    return int(seconds) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
