"""Kills the server with -9 while logs are parsed, parsers switched and stored logs read again, and counts: each record
is there once, with the events of one parser version.

Numbered logs of two types are sent all the time. A program of a parser writes its version into what it makes, and so
does an extension, so that an event says which programs made it; its row says which are meant to have done so. Logs of
the first type are read again by reparses, those of the second never: what the store has of those must be what the
connector was given, to the byte. Now and then a log is one that no parser can read.
"""

import base64
import collections
import hashlib
import http.client
import http.server
import json
import random
import subprocess
import threading
import time
import unittest

from server import Server, until

# Read again by reparses, and never.
AGAIN, NEVER = "HARBOUR_GATE", "HARBOUR_QUAY"
# What parsers and extensions write into an event.
VERSIONS, EXTENSIONS = ["v0", "v1", "v2", "v3", "v4"], ["x0", "x1"]
# How often the server is killed at least, and what it is doing then.
ROUNDS = 32
MOMENTS = ("any time", "reparse", "activation")
BATCH_RECORDS = 20
# Of each log type so many are listed, the newest.
FAILURES_KEPT = 1_000
SENDERS = 5

# So that there are parts to read again, and that the log lets go of what is stored, and with it turns are forgotten.
SETTINGS = {"PENSTOCK_STORE__FLUSH_AFTER": "1s", "PENSTOCK_LOG__SEGMENT_BYTES": "131072"}

PARSER = r"""
filter {
  json { source => "message" }
  date {
    match => ["at", "ISO8601"]
    target => "event.idm.read_only_udm.metadata.event_timestamp"
  }
  mutate {
    replace => {
      "event.idm.read_only_udm.metadata.vendor_name" => "Harbour"
      "event.idm.read_only_udm.metadata.product_name" => "Gate"
      "event.idm.read_only_udm.metadata.product_version" => "VERSION"
      "event.idm.read_only_udm.metadata.event_type" => "USER_LOGIN"
      "event.idm.read_only_udm.extensions.auth.type" => "SSO"
      "event.idm.read_only_udm.target.user.userid" => "%{mark}"
    }
  }
  mutate { merge => { "@output" => "event" } }
}
"""

EXTENSION = r"""
filter {
  mutate { replace => { "event.idm.read_only_udm.metadata.description" => "VERSION" } }
  mutate { merge => { "@output" => "event" } }
}
"""


class Sender(threading.Thread):
    """Sends batch after batch, each again and again until it was acknowledged."""

    def __init__(self, name, load, seed):
        super().__init__(daemon=True)
        self.name, self.load, self.random = name, load, random.Random(seed)
        # By mark: the log type, and whether it can be read.
        self.acknowledged = {}
        self.refusal = None
        self.again = 0

    def run(self):
        while not self.load.over.is_set() and self.refusal is None:
            log_type = AGAIN if self.random.random() < 0.7 else NEVER
            first = len(self.acknowledged)
            marks = {}
            for number in range(first, first + self.random.randint(1, BATCH_RECORDS)):
                marks[f"{self.load.run}-{self.name}-{number};"] = (log_type, self.random.random() > 0.02)
            if self.send(log_type, marks):
                self.acknowledged.update(marks)
            self.load.over.wait(self.random.uniform(0, 0.18))

    def send(self, log_type, marks):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        note = "x" * self.random.randint(0, 400)
        texts = [
            json.dumps({"mark": mark, "at": at, "note": note}) if is_good else f"no JSON: {mark}"
            for mark, (_, is_good) in marks.items()
        ]
        body = json.dumps({"log_type": log_type, "entries": [{"log_text": text} for text in texts]}).encode()
        while True:
            # Without it, a server that never comes back would be waited for without end.
            if not self.load.up.wait(120):
                self.refusal = "the server is away"
                return False
            headers = {"Content-Type": "application/json"}
            reply = attempt(self.load.server, "POST", self.load.path, body, headers)
            if reply is None:
                self.again += 1
                self.load.over.wait(0.02)
            elif reply.status == 200:
                return True
            elif reply.status in (429, 503):
                self.load.over.wait(0.1)
            else:
                self.refusal = repr(reply)
                return False


class Receiver:
    """A third party that keeps what it is given, and now and then says no: before it has, or although it did."""

    def __init__(self, seed):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        # By record: each element with its key. By key: the hash of the body.
        self.elements = collections.defaultdict(list)
        self.bodies = {}
        self.refused = 0
        self.faults = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(self.headers["Idempotency-Key"], body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Listening(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A killed server's connections break."""

        self.server = Listening(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, key, body):
        with self.lock:
            mood = self.random.random()
            if mood < 0.02:
                self.refused += 1
                return 503
            print_of = hashlib.sha256(body).digest()
            if self.bodies.setdefault(key, print_of) != print_of:
                self.faults.append(f"two bodies under the key {key}")
            for element in json.loads(body):
                self.elements[element["id"]].append((key, element))
            if mood < 0.04:
                self.refused += 1
                return 503
            return 200

    def lacks(self, ids):
        with self.lock:
            return [one for one in ids if one not in self.elements]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Reparse(threading.Thread):
    """Has stored logs read again, in a thread; `last` is the last line of the answer, if it came."""

    def __init__(self, server, **asked):
        super().__init__(daemon=True)
        self.server, self.asked = server, {"log_type": AGAIN, **asked}
        self.last = None
        self.took = None
        self.start()

    def run(self):
        began = time.monotonic()
        connection = http.client.HTTPConnection(self.server.address, timeout=300)
        headers = {"Authorization": f"Bearer {self.server.operator_token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/api/parsing/reparse", json.dumps(self.asked), headers)
            for line in connection.getresponse():
                if line.strip():
                    said = json.loads(line)
                    if said.get("done") or "error" in said:
                        self.last = said
        except (OSError, http.client.HTTPException, ValueError):
            # Cut off in the middle, maybe of a line.
            pass
        finally:
            connection.close()
        self.took = time.monotonic() - began

    @property
    def is_done(self):
        return self.last is not None and self.last.get("done") is True


class Flips(threading.Thread):
    """Activates one version after the other, as fast as the answers come."""

    def __init__(self, activate):
        super().__init__(daemon=True)
        self.activate = activate
        self.answered = 0
        self.was_cut = False
        self.error = None
        self.start()

    def run(self):
        try:
            while self.activate() is not None:
                self.answered += 1
            self.was_cut = True
        except AssertionError as error:
            self.error = error


class Load:
    """The senders, and what they share."""

    def __init__(self, server, key, run, seeds):
        self.server, self.run = server, run
        self.path = f"/v2/unstructuredlogentries:batchCreate?key={key}"
        # Set while there is a server, and at the end.
        self.up, self.over = threading.Event(), threading.Event()
        self.up.set()
        self.senders = [Sender(f"s{number}", self, seeds.random()) for number in range(SENDERS)]

    def start(self):
        for sender in self.senders:
            sender.start()

    def stop(self):
        """Ends it once what is on its way was acknowledged; gives what was, by mark."""
        self.over.set()
        acknowledged = {}
        for sender in self.senders:
            sender.join(60)
            if sender.refusal or sender.is_alive():
                raise AssertionError(f"{sender.name} was not acknowledged: {sender.refusal}")
            acknowledged.update(sender.acknowledged)
        return acknowledged


class KilledWhileNormalising(unittest.TestCase):
    def setUp(self):
        seed = self.options.seed if self.options.seed is not None else random.randrange(1 << 32)
        self.rounds = max(ROUNDS, self.options.rounds)
        print(f"        {self.rounds} rounds, moments from seed {seed}", flush=True)
        self.random = random.Random(seed)
        self.server = Server(self.options, SETTINGS)
        self.addCleanup(self.server.close)
        self.receiver = Receiver(self.random.random())
        self.addCleanup(self.receiver.close)
        self.server.start()
        self.operator = {"Authorization": f"Bearer {self.server.operator_token}", "Content-Type": "application/json"}
        self.log_types = f"/v1alpha/projects/penstock/locations/us/instances/{self.server.customer_id}/logTypes"
        connector = {
            "name": "events",
            "source": {"kinds": ["udm"]},
            "target": {"type": "http", "url": self.receiver.url, "batch_wait_ms": 100, "batch_records_max": 300},
        }
        self.assertEqual(self.server.api("POST", "/api/connectors", connector).status, 200)
        # What each program writes into an event, by its id; and those ids.
        self.writes, self.parsers, self.extensions = {}, {}, {}
        for log_type in (AGAIN, NEVER):
            self.server.cli("log-type", "add", log_type)
            self.parsers[log_type], self.extensions[log_type] = [], []
            for version in VERSIONS + EXTENSIONS:
                self.assertEqual(self.make(log_type, version).status, 200)
            self.assertEqual(self.switch(log_type, self.parsers[log_type][0]).status, 200)
        self.load = Load(self.server, self.server.api_key(), f"r{self.random.randrange(1 << 32):08x}", self.random)
        # A failure leaves no senders behind.
        self.addCleanup(self.load.over.set)

    # Parsers and extensions, over Google's calls.

    def make(self, log_type, version):
        """Keeps a program that writes this version. `None` when the call was cut off, here and below."""
        is_parser = version.startswith("v")
        program = (PARSER if is_parser else EXTENSION).replace("VERSION", version)
        code = base64.b64encode(program.encode()).decode()
        # Some are tried on stored logs at each activation, which takes a while, and some are not.
        skipped = {"validation_skipped": self.random.random() < 0.7}
        body = {"cbn": code, "validated_on_empty_logs": True, **skipped} if is_parser else {"cbn_snippet": code}
        reply = self.call("POST", log_type, version, "", body)
        if reply is not None and reply.status == 200:
            made = reply.json()["name"].split("/")[-1]
            self.writes[made] = version
            (self.parsers if is_parser else self.extensions)[log_type].append(made)
        return reply

    def call(self, method, log_type, version, which, body=None):
        collection = "parsers" if version.startswith("v") else "parserExtensions"
        path = f"{self.log_types}/{log_type}/{collection}{which}"
        body = None if body is None else json.dumps(body).encode()
        reply = attempt(self.server, method, path, body, self.operator)
        self.assertIn(reply and reply.status, (200, None), reply)
        return reply

    def switch(self, log_type, program, verb="activate"):
        return self.call("POST", log_type, self.writes[program], f"/{program}:{verb}", {})

    def replace(self, log_type):
        """Makes one of these parsers anew and deletes it, though it may be in use, and logs of its time may wait."""
        deleted = self.random.choice(self.parsers[log_type])
        version = self.writes[deleted]
        if self.make(log_type, version) is None:
            return None
        self.parsers[log_type].remove(deleted)
        return self.call("DELETE", log_type, version, f"/{deleted}?force=true")

    def switch_any(self):
        """Puts another version in use, of any parser or extension, or for a moment none."""
        log_type = self.random.choice((AGAIN, NEVER))
        what = self.random.random()
        if what < 0.1:
            return self.replace(log_type)
        if what < 0.3:
            return self.switch(log_type, self.random.choice(self.extensions[log_type]))
        parser = self.random.choice(self.parsers[log_type])
        return self.switch(log_type, parser, "deactivate" if what < 0.4 else "activate")

    # The story.

    def test_each_record_has_the_events_of_one_version(self):
        self.load.start()
        self.reparse_secs = 0.5
        cut = collections.Counter()
        moments = [MOMENTS[number % len(MOMENTS)] for number in range(self.rounds)]
        self.random.shuffle(moments)
        for number, moment in enumerate(moments):
            cut[moment] += self.round(number, moment)
        self.assertGreater(cut["reparse"], 0, "none was cut off in the middle")
        self.assertGreater(cut["activation"], 0, "none was cut off in the middle")
        acknowledged = self.load.stop()
        self.assertGreater(position(self.server.status()["log"]["first"]), 0, "the log let go of something")
        again = sum(sender.again for sender in self.load.senders)
        print(f"        {len(acknowledged)} records acknowledged, {again} requests sent again; cut off: {dict(cut)}")

        self.server.wait_stored()
        stored = self.check_stored(acknowledged)
        self.check_delivered(stored)
        self.check_counts(stored)

        last = self.parsers[AGAIN][-1]
        self.switch(AGAIN, self.parsers[AGAIN][0])
        self.assertEqual(self.switch(AGAIN, last).status, 200)
        reparse = self.reparse_whole()
        of_type = [mark for mark, (log_type, _) in acknowledged.items() if log_type == AGAIN]
        self.assertTrue(reparse.is_done, reparse.last)
        self.assertEqual(reparse.last["records"], len(of_type))
        for when in ("after a reparse of all", "after a reparse of all and a kill"):
            with self.subTest(when):
                rows = self.check_stored(acknowledged)
                self.check_counts(rows)
                programs = {rows[mark]["parser"].split("+")[0] for mark in of_type}
                self.assertEqual(programs, {last})
                never = {mark for mark, (log_type, _) in acknowledged.items() if log_type == NEVER}
                self.assertEqual(kept(rows, never), kept(stored, never))
            self.server.kill()
            self.server.start()
            self.server.wait_stored()

    def round(self, number, moment):
        """Lets it run for a while, kills it and starts it again; says whether something was cut off in the middle."""
        began = time.monotonic()
        self.load.over.wait(self.random.uniform(0.1, 1.0))
        for _ in range(self.random.randint(0, 2)):
            self.assertIsNotNone(self.switch_any(), self.server.log())
        was_cut, told = False, ""
        if moment == "reparse":
            was_cut, told = self.kill_in_reparse()
        elif moment == "activation":
            flips = Flips(self.switch_any)
            flips.join(self.random.uniform(0.02, 0.6))
            self.kill()
            flips.join(30)
            self.assertIsNone(flips.error)
            # The one whose connection broke has no answer.
            was_cut, told = flips.was_cut, f" in activation {flips.answered + 1} of many"
        else:
            if self.random.random() < 0.5:
                told = " after a whole reparse"
                self.assertTrue(self.reparse_whole().is_done, self.server.log())
            self.kill()
        self.assertEqual(self.receiver.faults, [])
        if self.random.random() < 0.25:
            told += " and again while it started"
            self.start_and_kill()
        self.server.start()
        self.load.up.set()
        took = time.monotonic() - began
        print(f"        round {number}: killed{told}, {took:.1f} s, up in {self.server.start_secs:.2f} s", flush=True)
        return was_cut

    def kill(self):
        self.load.up.clear()
        self.server.kill()

    def start_and_kill(self):
        """Ends a start, which reads what the store did not get to write, somewhere in its middle."""
        command = [self.options.binary, "serve", "--data", str(self.server.data), "--listen", self.server.address]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=self.server.environment(), cwd=self.server.folder, **quiet)
        self.load.over.wait(self.random.uniform(0.01, 0.5))
        process.kill()
        process.wait(30)

    def reparse_whole(self):
        reparse = Reparse(self.server)
        reparse.join(120)
        self.reparse_secs = reparse.took
        return reparse

    def kill_in_reparse(self):
        """At a moment that is drawn from how long reparses take. One that is over by then was one that succeeded."""
        for attempts in range(1, 6):
            reparse = Reparse(self.server)
            moment = self.random.uniform(0, 1.1) * self.reparse_secs / attempts
            reparse.join(moment)
            if not reparse.is_done:
                self.kill()
                reparse.join(30)
                return reparse.last is None, f" {moment:.2f} s into a reparse ({attempts})"
            self.reparse_secs = reparse.took
            self.switch_any()
        self.kill()
        return False, " after five reparses"

    # What is there in the end.

    def check_stored(self, acknowledged):
        """Each record once, and once what came of it, by the programs that it names. Gives the rows of the records by
        mark, with `event` instead of `events`."""
        rows, done = self.server.search("raw", self.load.run, events=True, limit=1_000_000)
        self.assertFalse(done["truncated"])
        by_mark = collections.defaultdict(list)
        for row in rows:
            by_mark[mark_of(row["text"])].append(row)
        wrong = {
            "missing": sorted(acknowledged.keys() - by_mark.keys()),
            "never sent": sorted(by_mark.keys() - acknowledged.keys()),
            "twice": sorted(mark for mark, found in by_mark.items() if len(found) > 1),
            "of another type": sorted(
                mark
                for mark, (log_type, _) in acknowledged.items()
                if any(row["log_type"] != log_type for row in by_mark.get(mark, []))
            ),
        }
        self.assert_none(wrong, acknowledged)
        stored = {}
        for mark, [row] in by_mark.items():
            events = row.pop("events", [])
            row["event"] = events[0] if events else None
            stored[mark] = row
            is_read = acknowledged[mark][1] or row["parser"] == "generic"
            if len(events) != is_read:
                wrong.setdefault(f"not {int(is_read)} but {len(events)} events", []).append(mark)
            elif is_read and not self.is_by(row["event"]["udm"], row["event"]["parser"], mark):
                wrong.setdefault("not of the version that is named", []).append(mark)
            elif is_read and row["event"]["parser"] != row["parser"]:
                wrong.setdefault("a record and its event name two parsers", []).append(mark)
            elif not is_read and "not parsed" not in json.dumps(row.get("issues", "")):
                wrong.setdefault("failed without a reason", []).append(mark)
        self.assert_none(wrong, acknowledged)
        # The same from the other side: events by themselves, also those that no record would show.
        of_run = " or ".join(f'metadata.log_type = "{log_type}"' for log_type in (AGAIN, NEVER))
        rows, done = self.server.search("udm", of_run, limit=1_000_000)
        self.assertFalse(done["truncated"])
        found = collections.Counter((row["id"], row["parser"]) for row in rows)
        expected = collections.Counter((row["id"], row["parser"]) for row in stored.values() if row["event"])
        self.assertEqual(list((found - expected).items())[:5], [], "events that are there too often")
        self.assertEqual(list((expected - found).items())[:5], [], "events that are missing")
        return stored

    def assert_none(self, wrong, acknowledged):
        told = {what: (len(marks), marks[:5]) for what, marks in wrong.items() if marks}
        self.assertEqual(told, {}, f"of {len(acknowledged)}\n{self.server.log()}")

    def is_by(self, udm, parser, mark):
        """Whether the programs that a row names wrote this event."""
        metadata = udm["metadata"]
        if parser == "generic":
            return "productVersion" not in metadata
        program, _, extension = parser.partition("+")
        is_of = metadata.get("productVersion") == self.writes.get(program)
        is_extended = metadata.get("description") == self.writes.get(extension)
        return is_of and is_extended and udm["target"]["user"]["userid"] == mark

    def check_delivered(self, stored):
        """Each record's event arrived, always the same one."""
        ids = {row["id"]: mark for mark, row in stored.items()}
        wanted = [row["id"] for mark, row in stored.items() if not row["text"].startswith("no JSON")]
        until(lambda: not self.receiver.lacks(wanted) or None, f"not all of {len(wanted)} events arrived", 120)
        wrong = collections.defaultdict(list)
        with self.receiver.lock:
            self.assertEqual(self.receiver.faults, [])
            for one, elements in self.receiver.elements.items():
                mark = ids.get(one)
                (_, first), *others = elements
                if mark is None:
                    wrong["of no record"].append(one)
                    continue
                if any(element != first for _, element in others):
                    wrong["not always the same"].append(mark)
                if len({key for key, _ in elements}) > 1:
                    wrong["under several keys"].append(mark)
                if not self.is_by(first["udm"], first["parser"], mark):
                    wrong["not of the version that is named"].append(mark)
                event = stored[mark]["event"]
                if stored[mark]["log_type"] == NEVER:
                    if (event or {}).get("udm") != first["udm"] or event["parser"] != first["parser"]:
                        wrong["not what is stored"].append(mark)
            repeats = sum(len(elements) - 1 for elements in self.receiver.elements.values())
            keys, refused = len(self.receiver.bodies), self.receiver.refused
        self.assert_none(wrong, stored)
        print(f"        {len(wanted)} events arrived under {keys} keys, {repeats} again, {refused} requests refused")

    def check_counts(self, stored):
        """Failures are listed once each. Logs that are never read again are counted once, under the parser that read
        them. And the server itself finds that nothing is missing."""
        for log_type in (AGAIN, NEVER):
            reply = self.server.api("GET", f"/api/parsing/failures?log_type={log_type}&limit=1000000")
            listed = collections.Counter((one["id"], one["parser"]) for one in reply.json()["failures"])
            failed = [row for row in stored.values() if row["log_type"] == log_type and not row["event"]]
            self.assertLess(len(failed), FAILURES_KEPT, "more than are kept could not be compared")
            self.assertEqual(listed, collections.Counter((row["id"], row["parser"]) for row in failed))
        [instance] = self.server.status()["instances"]
        self.assertEqual(instance["conservation"]["holds"], True, instance)
        counted = self.server.api("GET", "/api/parsing/counts").json()["parsers"]
        told = {row["parser"]: (row["parsed"], row["failed"]) for row in counted if row["log_type"] == NEVER}
        expected = collections.defaultdict(lambda: [0, 0])
        for row in stored.values():
            if row["log_type"] == NEVER:
                expected[row["parser"]][row["event"] is None] += 1
        self.assertEqual(told, {parser: tuple(counts) for parser, counts in expected.items()})


def position(text):
    """The offset of a position."""
    return int(text.split(":")[1])


def attempt(server, *request):
    """An answer, or `None` where the connection broke."""
    try:
        return server.ask(*request)
    except (OSError, http.client.HTTPException):
        return None


def mark_of(text):
    return json.loads(text)["mark"] if text.startswith("{") else text.removeprefix("no JSON: ")


def kept(rows, marks):
    """What may not change of these."""
    return {mark: (rows[mark]["id"], rows[mark]["parser"], rows[mark]["event"]) for mark in marks}
