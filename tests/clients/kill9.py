"""Kills the server with -9 in the middle of heavy load, starts it again, and counts: what was acknowledged is there,
once.

A killed process loses nothing that it wrote to the page cache, so this says nothing about syncing; the simulated disk
of the `commit` crate does. What it does show is that a reply never runs ahead of the write, that recovery cuts no whole
frame and keeps no half one, and that sending again after a crash stores nothing twice.

Every record carries a mark, `m=RUN-ROUND-CONNECTION-SEQUENCE-INDEX;`, by which it is found again.
"""

import asyncio
import collections
import http.client
import json
import random
import re
import time
import unittest

from server import Server, until

BULK_CONNECTIONS = 8
BULK_RECORDS = 1200
SINGLE_CONNECTIONS = 64
MARK = re.compile(rb"m=([0-9a-f]+)-(\d+)-([bs]\d+)-(\d+)-(\d+);")


class Sender:
    """One connection that sends batch after batch, each once the one before it was answered."""

    def __init__(self, name, records, load):
        self.name, self.records, self.load = name, records, load
        self.acknowledged = 0
        self.in_flight = False

    def body(self):
        """The batch with the next number, so the same bytes again after a crash."""
        prefix = f"m={self.load.run}-{self.load.round}-{self.name}-{self.acknowledged}-".encode()
        entries = [
            b'{"log_text":"%s%d; %s"}' % (prefix, index, self.load.fillers[index % len(self.load.fillers)])
            for index in range(self.records)
        ]
        return b'{"log_type":"OKTA","entries":[' + b",".join(entries) + b"]}"

    async def send_until_it_breaks(self):
        """Sends until the connection breaks; what was on its way then stays `in_flight`."""
        try:
            reader, writer = await asyncio.open_connection(*self.load.address)
        except OSError:
            return
        try:
            while not self.load.over.is_set():
                await self.send_one(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def send_what_was_in_flight(self):
        if self.in_flight:
            reader, writer = await asyncio.open_connection(*self.load.address)
            before = self.acknowledged
            while self.acknowledged == before:
                await self.send_one(reader, writer)
            writer.close()

    async def send_one(self, reader, writer):
        body = self.body()
        self.in_flight = True
        writer.write(self.load.head % len(body))
        writer.write(body)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        answer = await reader.readexactly(int(length.group(1)))
        if status == 200:
            self.acknowledged += 1
            self.in_flight = False
            self.load.bytes += len(body)
        elif status in (429, 503):
            await asyncio.sleep(0.2)
        else:
            self.load.refusals.append((status, answer[:500]))
            raise ConnectionError("refused")


class Load:
    """All senders of one round."""

    def __init__(self, server, key, run, round_number, bulk=BULK_CONNECTIONS, singles=SINGLE_CONNECTIONS):
        host, port = server.address.rsplit(":", 1)
        self.address = (host, int(port))
        self.run, self.round = run, round_number
        self.over = asyncio.Event()
        self.bytes = 0
        self.refusals = []
        words = random.Random(round_number)
        self.fillers = [bytes(words.choices(b"abcdefghijklmnopqrstuvwxyz     0123456789", k=680)) for _ in range(256)]
        self.head = (
            f"POST /v2/unstructuredlogentries:batchCreate?key={key} HTTP/1.1\r\nHost: {server.address}\r\n"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        self.senders = [Sender(f"b{number}", BULK_RECORDS, self) for number in range(bulk)]
        self.senders += [Sender(f"s{number}", 1, self) for number in range(singles)]

    async def run_until(self, end):
        """Sends until `end`, an awaitable, is over."""
        tasks = [asyncio.create_task(sender.send_until_it_breaks()) for sender in self.senders]
        await end
        self.over.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)

    async def send_what_was_in_flight(self):
        await asyncio.gather(*(sender.send_what_was_in_flight() for sender in self.senders))

    def records_acknowledged(self):
        return sum(sender.acknowledged * sender.records for sender in self.senders)


class KilledUnderLoad(unittest.TestCase):
    def setUp(self):
        self.server = Server(self.options)
        self.addCleanup(self.server.close)

    def test_acknowledged_records_are_found_once(self):
        seed = self.options.seed if self.options.seed is not None else random.randrange(1 << 32)
        print(f"        {self.options.rounds} rounds, moments from seed {seed}")
        moments = random.Random(seed)
        run = f"{random.randrange(1 << 32):08x}"
        self.server.start()
        key = self.server.api_key()
        for number in range(self.options.rounds):
            asyncio.run(self.round(number, run, key, moments.uniform(0.1, 2.0)))

    async def round(self, number, run, key, moment):
        load = Load(self.server, key, run, number)
        began = time.time()

        def kill():
            time.sleep(moment)
            self.server.kill()

        # In a thread, or the moment would always be one at which this program's loop has nothing to do.
        await load.run_until(asyncio.to_thread(kill))
        self.assertEqual(load.refusals, [], "no answer but yes and slow down")
        before = load.records_acknowledged()
        await asyncio.to_thread(self.server.start)
        in_flight = sum(sender.in_flight for sender in load.senders)
        await load.send_what_was_in_flight()
        self.assertEqual(load.refusals, [])
        started = self.server.start_secs
        print(
            f"        round {number}: killed after {moment:.2f} s and {load.bytes / 1e6:.0f} MB, {before} records "
            f"acknowledged, {in_flight} requests in flight, started in {started:.2f} s",
            flush=True,
        )
        await asyncio.to_thread(self.server.wait_stored)
        await asyncio.to_thread(self.check, load, began)

    def check(self, load, began):
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began - 5))
        found = collections.Counter()
        for prefix in [f"b{number}-" for number in range(BULK_CONNECTIONS)] + ["s"]:
            found.update(self.marks(f"m={load.run}-{load.round}-{prefix}", since))
        expected = {
            (sender.name, sequence, index)
            for sender in load.senders
            for sequence in range(sender.acknowledged)
            for index in range(sender.records)
        }
        missing = sorted(expected - found.keys())
        twice = sorted(mark for mark, count in found.items() if count > 1)
        never_sent = sorted(found.keys() - expected)
        self.assertEqual(
            ([], [], []),
            (missing[:5], twice[:5], never_sent[:5]),
            f"{len(missing)} of {len(expected)} acknowledged records missing, {len(twice)} there more than once, "
            f"{len(never_sent)} that were never acknowledged",
        )

    def marks(self, prefix, since):
        """The marks of all raw logs whose text holds the prefix, read as they come."""
        connection = http.client.HTTPConnection(self.server.address, timeout=300)
        request = {"language": "raw", "query": prefix, "from": since, "limit": 1_000_000}
        headers = {"Authorization": f"Bearer {self.server.operator_token}", "Content-Type": "application/json"}
        connection.request("POST", "/api/search", json.dumps(request), headers)
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        last = b""
        for line in response:
            if line.strip():
                last = line
            mark = MARK.search(line)
            if mark:
                _, _, name, sequence, index = mark.groups()
                yield name.decode(), int(sequence), int(index)
        connection.close()
        done = json.loads(last)
        self.assertTrue(done.get("done") is True and not done.get("truncated"), done)


class StartWithUnreadLog(unittest.TestCase):
    def test_a_start_does_not_read_the_backlog(self):
        """Nobody reads the log: no store, and a connector whose target is dead. Then a start after kill -9 is timed."""
        self.server = Server(self.options, {"PENSTOCK_STORE__ENABLED": "false"})
        self.addCleanup(self.server.close)
        self.server.start()
        self.server.stop()
        self.server.start()
        empty = self.server.start_secs
        # Port 9 is discard: nothing listens there on a machine of today.
        self.server.cli("connector", "create", "--name", "dead", "--url", "http://127.0.0.1:9/")
        key = self.server.api_key()
        wanted = self.options.unread_mb * 1_000_000

        async def fill():
            load = Load(self.server, key, "feed", 0, singles=0)

            async def enough():
                end = time.monotonic() + 240
                while load.bytes < wanted and not load.refusals and time.monotonic() < end:
                    await asyncio.sleep(0.02)

            await load.run_until(enough())
            self.assertEqual(load.refusals, [])
            self.assertGreaterEqual(load.bytes, wanted, "the load went in within 240 s")
            return load.bytes

        taken_in = asyncio.run(fill())
        self.server.kill()
        self.server.start()
        full = self.server.start_secs
        print(f"        started in {full:.2f} s with {taken_in / 1e6:.0f} MB of unread log, {empty:.2f} s with none")
        self.assertLess(full - empty, 1.0, "a start takes no longer for the backlog")
        until(lambda: self.server.get_status("/readyz") == 200 or None, "ready again")
