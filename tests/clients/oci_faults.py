"""What goes wrong between logs, functions and third parties: nothing is skipped, all is delivered at least once, and
each failure can be read afterwards, in `penstock function calls` and in the connector's run log.

One function of our own stands for all: it passes each record on by its id, after doing what its configuration says.
"""

import json
import unittest
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from as_oci import AsOci, rfc3339
from server import until

REQUIREMENTS = "fdk==0.1.128\nrequests==2.34.2\n"

RELAY = """
import io
import json
import logging
import os
import time

import requests

TODOS = "https://jsonplaceholder.typicode.com/todos"
MODE = os.environ.get("MODE", "")
if MODE == "import":
    import a_package_that_nobody_has


def handler(ctx, data: io.BytesIO = None):
    records = json.loads(data.getvalue())
    if MODE == "sleep":
        time.sleep(120)
    if MODE == "exit":
        os._exit(3)
    if MODE == "leak":
        kept = []
        while True:
            kept.append(bytearray(8 << 20))
            time.sleep(0.01)
    for record in records:
        answer = requests.post(TODOS, json={"record": record["id"]}, timeout=10)
        answer.raise_for_status()
    if MODE == "print":
        for _ in range(10 << 10):
            print("x" * 1023)
    return {"sent": len(records)}
"""

# Sends nothing and says which process it is.
NEIGHBOUR = """
import os


def handler(ctx, data=None):
    return str(os.getpid())
"""

# Says what it could read of what is not its own, and what it could write.
SNOOP = """
import io
import json
import os


def handler(ctx, data: io.BytesIO = None):
    asked = json.loads(data.getvalue())
    could = []
    for path in asked["read"]:
        try:
            could.append("list " + path if os.path.isdir(path) and os.listdir(path) is not None else "")
            with open(path, "rb") as file:
                file.read(1)
            could.append("read " + path)
        except OSError:
            pass
    for path in asked["write"]:
        try:
            with open(path, "wb"):
                could.append("write " + path)
        except OSError:
            pass
    environment = [name for name in os.environ if "PENSTOCK" in name or "TOKEN" in name]
    return json.dumps({"could": [one for one in could if one], "environment": environment, "me": __file__})
"""


class Faults(AsOci, unittest.TestCase):
    # The ids of all tests.
    pushed = set()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.compartment = cls.tenancy()
        cls.app = cls.make_app()
        cls.deploy(cls.write_function("relay", {"func.py": RELAY, "requirements.txt": REQUIREMENTS}))
        cls.relay = cls.function_id(cls.app, "relay")
        cls.server.cli("function", "config", "relay", "--timeout", "5", "--memory", "128", "--expects", "per-record")
        cls.deploy(cls.write_function("neighbour", {"func.py": NEIGHBOUR, "requirements.txt": "fdk==0.1.128\n"}))
        cls.neighbour = cls.function_id(cls.app, "neighbour")
        cls.server.cli("function", "config", "neighbour", "--expects", "nothing")
        cls.group = cls.default_group()
        cls.log = cls.make_log(cls.group, "app")
        cls.connector = cls.connect(
            "to-relay", {"logGroupId": cls.group, "logId": cls.log}, cls.relay, batchSizeInNum=20, batchTimeInSec=1
        )

    def setUp(self):
        self.began = rfc3339(datetime.now(timezone.utc))
        self.mode("")
        self.placeholder.forget()

    def mode(self, mode):
        """What the function does before its work, from its next call on."""
        self.server.cli("function", "config", "relay", f"MODE={mode}")

    def push(self, count):
        """Many small records in one request."""
        ids = self.put(self.log, [{"number": number} for number in range(count)])
        self.pushed.update(ids)
        return ids

    def arrived(self):
        return Counter(todo["record"] for todo in self.placeholder.bodies())

    def assert_all_arrive(self, ids, limit=90):
        """Each at least once, and none that was not pushed."""

        def look():
            return True if set(ids) <= self.arrived().keys() else None

        try:
            until(look, "not all arrived", limit)
        except AssertionError:
            missing = set(ids) - self.arrived().keys()
            calls = self.calls("relay", "--limit", "5")
            raise AssertionError(f"{len(missing)} of {len(ids)} did not arrive; {calls}\n{self.server.log()}") from None
        # What an earlier test pushed may come once more, after a kill.
        self.assertLessEqual(self.arrived().keys(), self.pushed)

    def assert_failed(self, note, status=None):
        """A call failed for this reason, and the run log says so."""

        def is_it(call):
            return call["state"] == "failed" and note in (call["note"] or "") and call["began"] > self.began

        call = self.call_that("relay", is_it, f"failed with {note!r}")
        self.assertEqual(call["status"], status, call)
        told = [run["message"] for run in self.runs("to-relay", call["call_id"]) if run["level"] == "ERROR"]
        self.assertTrue(told, "the run log does not name the call")
        self.assertIn("answered 502" if status else note, told[0])

    def assert_told(self, mode, note, status=None):
        """A record waits while the function fails in this way, and is passed on when it does not any more."""
        self.mode(mode)
        ids = self.push(3)
        self.assert_failed(note, status)
        self.assertFalse(self.arrived().keys() & set(ids))
        self.mode("")
        self.assert_all_arrive(ids)

    def test_a_function_that_sleeps_past_its_time(self):
        self.assert_told("sleep", "no answer within 5 s")

    def test_a_function_that_exits(self):
        self.assert_told("exit", "exit")

    def test_a_function_that_cannot_be_imported(self):
        self.assert_told("import", "a_package_that_nobody_has", status=502)

    def test_a_function_that_takes_more_and_more_memory(self):
        """It is killed, and alone."""
        before = self.server.cli("function", "invoke", "neighbour").strip()
        self.assert_told("leak", "128 MiB")
        self.assertEqual(self.server.cli("function", "invoke", "neighbour").strip(), before, "the same process")
        peak = max(call["memory_peak_bytes"] for call in self.calls("relay", "--limit", "100"))
        self.assertGreater(peak, 128 << 20)
        self.assertLess(peak, 300 << 20)

    def test_a_function_that_prints_ten_megabytes(self):
        """What is too much is not kept, and said so; the work is done."""
        self.mode("print")
        ids = self.push(2)
        self.assert_all_arrive(ids)
        call = self.call_that("relay", lambda call: call["records"] == 2, "has two records")
        self.assertEqual(call["status"], 200, call)
        self.server.wait_stored()
        kept = sum(len(line) for line in self.said("relay", "xxxx"))
        self.assertGreater(kept, 500_000)
        self.assertLessEqual(kept, 1 << 20)
        self.assertTrue(self.said("relay", "1048576"), "a line says that there was more")

    def test_a_third_party_that_is_down_for_a_while(self):
        self.placeholder.down()
        self.addCleanup(self.placeholder.up)
        ids = self.push(45)
        self.assert_failed("the handler raised an exception", status=502)
        self.assertFalse(self.arrived().keys() & set(ids))
        self.placeholder.up()
        self.assert_all_arrive(ids)

    def test_a_third_party_that_refuses_for_a_while(self):
        self.placeholder.status = 500
        self.addCleanup(setattr, self.placeholder, "status", None)
        ids = self.push(3)
        self.assert_failed("500", status=502)
        self.placeholder.status = None
        self.assert_all_arrive(ids)

    def test_a_server_killed_in_the_middle_of_a_batch(self):
        self.placeholder.delay = 0.05
        self.addCleanup(setattr, self.placeholder, "delay", 0.0)
        ids = self.push(120)
        self.placeholder.having(30, "records")
        processes = self.processes()
        self.assertTrue(processes, "functions run as processes")
        self.server.kill()
        # What the server started does not outlive it.
        until(lambda: True if not self.processes() else None, "functions outlive the server", 10)
        self.server.start()
        self.placeholder.delay = 0.0
        self.assert_all_arrive(ids)
        self.server.wait_stored()
        again = sum(count - 1 for record, count in self.arrived().items() if record in ids)
        self.assertLessEqual(again, 20, "only what was on its way is sent again")

    def processes(self):
        """Processes of functions of this server."""
        mark = str(self.server.data).encode()
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                content = environment.read_bytes()
            except OSError:
                continue
            if b"FN_FORMAT=http-stream" in content and mark in content:
                found.append(environment.parent.name)
        return found

    def test_a_function_that_feeds_itself(self):
        """A connector that reads what its own function logs would go on for ever; it is stopped, and says why."""
        looping = self.connect("looping", {"logGroupId": self.group}, self.neighbour, "subject = 'neighbour'")
        self.addCleanup(self.client("sch.ServiceConnectorClient").delete_service_connector, looping)
        self.server.cli("function", "invoke", "neighbour")

        def look():
            state, details = self.state_of(looping)
            return details if state == "NEEDS_ATTENTION" else None

        details = until(look, "the loop is not stopped", 60)
        self.assertIn("loop", details)
        (told,) = self.runs("looping", "Stopped")
        self.assertEqual(told["level"], "ERROR", told)
        calls = [call for call in self.calls("neighbour", "--limit", "1000") if call["by"] == "looping"]
        self.assertLess(len(calls), 20)
        # The other connector is none the worse.
        self.assert_all_arrive(self.push(1))

    def test_a_version_that_cannot_be_installed(self):
        """The version before goes on, and who deploys is told what is wrong."""
        for name, content, told in [
            ("requirements.txt", REQUIREMENTS + "a-package-that-nobody-has==1.0\n", "a-package-that-nobody-has"),
            ("func.py", "def handler(ctx, data=None)\n    return 1\n", "func.py"),
        ]:
            with self.subTest(name):
                good = {"func.py": RELAY, "requirements.txt": REQUIREMENTS}
                folder = self.write_function("relay", {**good, name: content})
                with self.assertRaises(AssertionError) as refused:
                    self.deploy(folder)
                self.assertIn("ended with 1", str(refused.exception))
                self.assertIn(told, str(refused.exception))
                self.assertIn("the version before goes on", str(refused.exception))
                self.assert_all_arrive(self.push(1))
                self.placeholder.forget()
        self.write_function("relay", good)

    def test_a_function_that_looks_at_what_is_not_its_own(self):
        greeting = (self.server.folder / "server.out").read_text()
        if "NO SANDBOX" in greeting:
            self.skipTest("this kernel has no Landlock, which keeps functions from other files")
        self.deploy(self.write_function("snoop", {"func.py": SNOOP, "requirements.txt": "fdk==0.1.128\n"}))
        data = self.server.data
        asked = {
            "read": [str(data), *map(str, data.rglob("*")), str(self.as_user / "key.pem"), "/etc/shadow"],
            "write": [str(data / "written"), str(self.server.folder / "written"), str(self.as_user / "config")],
        }
        nothing = json.dumps({"read": [], "write": []})
        answer = json.loads(self.server.cli("function", "invoke", "snoop", "--body", nothing))
        self.assertEqual(answer["environment"], [])
        # Its own code and packages it may read, and the certificate that it is to trust.
        own = Path(answer["me"]).parent.parent
        allowed = {own, *own.parents, data / "functions" / "ca.pem"}
        asked["read"] = [path for path in asked["read"] if Path(path) not in allowed and own not in Path(path).parents]
        self.assertTrue([path for path in asked["read"] if self.relay in path], "another function's folder")
        given = self.server.folder / "asked.json"
        given.write_text(json.dumps(asked))
        answer = json.loads(self.server.cli("function", "invoke", "snoop", "--body", f"@{given}"))
        self.assertEqual(answer["could"], [])
