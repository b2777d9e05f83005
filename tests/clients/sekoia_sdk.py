"""Sekoia's own SDK, as it comes from PyPI, its connectors both of threads and of asyncio, through a road with holes.

Between connector and server stands a proxy of ours that by a script answers 429 or 503 or drops the connection instead
of passing a request on. What the SDK then does is its own; nothing may be lost by it, and nothing be there twice.
"""

import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
import unittest

from as_sekoia import AsSekoia

# Connectors with nothing of their own, in a process of their own since they take over signals: a job for each line. How
# long they wait between two tries is the SDK's to say; the sleeping is replaced, as the library for retrying offers it to
# tests. What they would tell the platform of themselves they print.
PROGRAM = """
import asyncio, json, pathlib, sys, types
import tenacity.nap
from aiolimiter import AsyncLimiter
from sekoia_automation.aio.connector import AsyncConnector
from sekoia_automation.connector import Connector

waits = []
tenacity.nap.time = types.SimpleNamespace(sleep=waits.append)

class Quiet:
    def log(self, message, level="info", **more):
        print(level, message, file=sys.stderr)
    def log_exception(self, exception, **more):
        print("exception", repr(exception)[:500], file=sys.stderr)
    def run(self):
        pass

class Threads(Quiet, Connector):
    def push(self, pushes, sync):
        return [self.push_events_to_intakes(events, sync=sync) for events in pushes]

class Asyncio(Quiet, AsyncConnector):
    def get_rate_limiter(self):
        return AsyncLimiter(1000, 1)
    def push(self, pushes, sync):
        return asyncio.run(self.push_all(pushes))
    async def push_all(self, pushes):
        try:
            return [await self.push_data_to_intakes(events) for events in pushes]
        finally:
            await self._session.close()

for line in sys.stdin:
    job = json.loads(line)
    waits.clear()
    made = {"threads": Threads, "asyncio": Asyncio}[job["kind"]](data_path=pathlib.Path.cwd())
    made.configuration = {"intake_server": job["server"], "intake_key": job["key"]}
    ids = made.push(job["pushes"], job["sync"])
    made.stop()
    print(json.dumps({"ids": ids, "waits": len(waits)}), flush=True)
"""

# Longest that one job may take.
JOB_SECS = 120

# What the proxy does with one request after the other; after the last of them it passes everything on.
FAULTS = [429, "pass", 503, 503, "pass", "drop", "pass", "drop", 429, 503, "pass"]


class SekoiaSdk(AsSekoia, unittest.TestCase):
    # What the server tells of requests must not have the key that the SDK puts into its name, however much it tells.
    settings = {"PENSTOCK_LOGGING__LEVEL": "debug"}

    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        super().setUpClass()
        cls.gate = cls.intake("connector", "OKTA")
        with open(cls.server.folder / "connectors.log", "wb") as log:
            cls.connectors = subprocess.Popen(
                [sys.executable, "-B", "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=cls.server.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(cls.server.folder)},
            )
        cls.addClassCleanup(cls.end_connectors)

    @classmethod
    def end_connectors(cls):
        cls.connectors.kill()
        cls.connectors.communicate()

    def push(self, kind, pushes, faults=(), path="", sync=False):
        """Runs a connector; gives the ids that each push came back with, how often it waited, and the proxy."""
        with Proxy(self.server.address, faults) as proxy:
            job = {"kind": kind, "pushes": pushes, "sync": sync}
            job |= {"server": proxy.url + path, "key": self.gate["intake_key"]}
            patience = threading.Timer(JOB_SECS, self.connectors.kill)
            patience.start()
            try:
                self.connectors.stdin.write(json.dumps(job) + "\n")
                self.connectors.stdin.flush()
                line = self.connectors.stdout.readline()
            finally:
                patience.cancel()
        if not line:
            raise AssertionError((self.server.folder / "connectors.log").read_text()[-3000:])
        answer = json.loads(line)
        self.assertEqual(proxy.script, [], "every fault happened")
        return answer["ids"], answer["waits"], proxy

    def assert_stored(self, pushes, ids, mark):
        """Each event once, under the id that the connector was given for it."""
        texts = [text if isinstance(text, str) else compact(text) for events in pushes for text in events]
        ids = [one for of_push in ids for one in of_push]
        rows = self.rows(mark, len(texts))
        self.assert_texts(rows, texts)
        found = {row["id"]: row for row in rows}
        self.assertEqual((len(ids), set(ids)), (len(texts), set(found)))
        for one, text in zip(ids, texts):
            self.assert_event(found[one], self.gate, text)

    def test_pushes_through_faults(self):
        for kind, sync in (("threads", True), ("threads", False), ("asyncio", False)):
            with self.subTest(kind=kind, sync=sync):
                mark = f"through faults {kind} {sync}"
                pushes = [[f'{mark} {push}-{index} é ☃ 😀 "\\' for index in range(300)] for push in range(4)]
                pushes[1][7] = {"message": f"{mark} an object", "é": [1, None, {"deep": "☃"}]}
                ids, waits, proxy = self.push(kind, pushes, FAULTS, sync=sync)
                self.assertEqual(waits, sum(fault != "pass" for fault in FAULTS))
                self.assertEqual(proxy.passed, len(pushes))
                self.assertEqual(proxy.statuses, {202})
                self.assert_stored(pushes, ids, mark)

    def test_chunks_side_by_side(self):
        """More than one chunk in one push: several requests at once, each with faults of its own."""
        for kind in ("threads", "asyncio"):
            with self.subTest(kind=kind):
                mark = f"side by side {kind}"
                pushes = [[f"{mark} {index} ".ljust(200_000, "x") for index in range(100)]]
                ids, waits, proxy = self.push(kind, pushes, [503, "drop", 429, "pass", 503])
                self.assertEqual((proxy.passed, waits), (3, 4))
                self.assert_stored(pushes, ids, mark)

    def test_a_chunk_that_is_larger_in_json(self):
        """The SDK counts characters and then writes six bytes for many of them: 10 MiB is no limit of its requests."""
        for kind, count, more_than in (("threads", 80, 50 << 20), ("asyncio", 20, 10 << 20)):
            with self.subTest(kind=kind):
                mark = f"larger in json {kind}"
                pushes = [[f"{mark} {index} ".ljust(120_000, "é") for index in range(count)]]
                ids, _, proxy = self.push(kind, pushes, [429])
                self.assertGreater(proxy.largest_bytes, more_than)
                self.assertEqual(proxy.statuses, {202})
                self.assert_stored(pushes, ids, mark)

    def test_an_event_that_is_too_large(self):
        """By characters the SDK drops it; by bytes the server does, and the others keep their places."""
        for kind in ("threads", "asyncio"):
            with self.subTest(kind=kind):
                mark = f"too large {kind}"
                long, wide = f"{mark} ".ljust(250_001, "x"), f"{mark} ".ljust(200_000, "é")
                events = [f"{mark} first", long, wide, f"{mark} last"]
                [ids], _, proxy = self.push(kind, [events])
                self.assertEqual(proxy.passed, 1)
                first, refused, last = ids
                self.assertIsNone(refused)
                self.assert_stored([[events[0], events[3]]], [[first, last]], mark)

    def test_under_a_prefix(self):
        for kind, path in (("threads", "/api/v1/intake-http"), ("asyncio", "/api/v1/intake-http/")):
            with self.subTest(kind=kind, path=path):
                mark = f"under a prefix {kind};"
                ids, _, proxy = self.push(kind, [[f"{mark} event"]], path=path)
                self.assertEqual((proxy.passed, proxy.statuses), (1, {202}))
                self.assert_stored([[f"{mark} event"]], ids, mark)

    def test_the_key_is_in_no_log(self):
        """The SDK calls itself by its key. Neither what is taken nor what is refused may tell it."""
        gone = self.intake("gone", "NGINX")
        keys = [self.gate["intake_key"], gone["intake_key"]]
        for kind in ("threads", "asyncio"):
            _, _, proxy = self.push(kind, [["who calls"]])
            self.assertEqual(proxy.agents, {f"sekoiaio-connector-{keys[0]}"})
        self.server.cli("intake", "disable", gone["id"])
        for key in keys:
            headers = {"User-Agent": f"sekoiaio-connector-{key}", "Content-Type": "application/json"}
            for path in ("/batch", f"/plain?intake_key={key}", f"/jsons?intake_key={key}&path=][", f"/nothing?{key}"):
                for body in ({"intake_key": key, "jsons": [None]}, {"intake_key": key, "jsons": ["x"]}):
                    reply = self.server.ask("POST", path, json.dumps(body).encode(), headers)
                    self.assertNotIn(key, reply.text)
        said = (self.server.folder / "server.log").read_text() + (self.server.folder / "server.out").read_text()
        self.assertTrue(said)
        status = self.server.cli("status", "-o", "json")
        for key in keys:
            self.assertNotIn(key, said)
            self.assertNotIn(key, status)


class Proxy:
    """Passes requests on to the server, unless its script says otherwise for the next one."""

    def __init__(self, address, script):
        self.script = list(script)
        self.lock = threading.Lock()
        self.passed, self.statuses, self.agents, self.largest_bytes = 0, set(), set(), 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with proxy.lock:
                    step = proxy.script.pop(0) if proxy.script else "pass"
                    proxy.agents.add(self.headers["User-Agent"])
                    proxy.largest_bytes = max(proxy.largest_bytes, len(body))
                if step == "drop":
                    self.close_connection = True
                elif step == "pass":
                    self.answer(*self.pass_on(body))
                else:
                    self.answer(step, b'{"message": "not now"}', "application/json")

            def pass_on(self, body):
                connection = http.client.HTTPConnection(address, timeout=60)
                connection.request("POST", self.path, body, dict(self.headers))
                response = connection.getresponse()
                answer = response.status, response.read(), response.headers["Content-Type"]
                connection.close()
                with proxy.lock:
                    proxy.passed += 1
                    proxy.statuses.add(response.status)
                return answer

            def answer(self, status, body, content_type):
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def compact(value):
    """As the SDK writes an object."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
