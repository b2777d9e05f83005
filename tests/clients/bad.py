"""Clients that behave badly, by malice or mistake: each gets its status, memory stays within the budget, and a good
sender is served all the while."""

import gzip
import http.client
import json
import resource
import socket
import struct
import threading
import time
import unittest
import zlib

from server import Server, until

RAW = "/v2/unstructuredlogentries:batchCreate"
UDM = "/v2/udmevents:batchCreate"

# What the server may take at most, whatever comes: the budget of design and performance targets.
MEMORY_MAX = 350 << 20

# Longest that a client may take for a head, or leave a body without a byte, and some for a busy machine.
HEAD_SECS = BODY_IDLE_SECS = 15
BODY_SECS = 90
SLACK_SECS = 15


class BadClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.options)
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        cls.key = cls.server.api_key()
        host, port = cls.server.address.rsplit(":", 1)
        cls.address = (host, int(port))
        # Of another instance: what one tenant's clients do must not be felt by another's.
        cls.good = GoodSender(cls.address, cls.server.api_key(instance=cls.server.new_instance()))
        cls.good.start()
        cls.addClassCleanup(cls.good.stop)

    def setUp(self):
        self.served_before = self.good.served
        self.good.failures.clear()

    def tearDown(self):
        """After every one of them: others were served meanwhile, and memory was within the budget."""
        until(lambda: self.good.served > self.served_before or None, "the good sender is not served", 30)
        self.assertEqual(self.good.failures, [])
        peak = self.server.memory_peak()
        self.assertLess(peak, MEMORY_MAX, f"the server held {peak >> 20} MiB")

    # What they do.

    def test_a_slow_head(self):
        connection = self.connect()
        connection.sendall(b"POST /v2/udmevents:batchCreate HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        self.drip(connection, b"X-Slow: yes\r\n", every=1, until=HEAD_SECS + SLACK_SECS)
        status, _ = self.read(connection)
        # Before a whole head there is nobody to answer to: closing is as good as 408.
        self.assertIn(status, (None, 408))
        self.assertLess(time.monotonic() - began, HEAD_SECS + SLACK_SECS)

    def test_a_body_that_stops(self):
        connection = self.connect()
        connection.sendall(self.head(RAW, 500_000) + b'{"log_type":"OKTA","entries":[')
        began = time.monotonic()
        connection.settimeout(BODY_IDLE_SECS + SLACK_SECS)
        status, body = self.read(connection)
        self.assertEqual(status, 408, body)
        self.assertEqual(json.loads(body)["error"]["code"], 408)
        self.assertLess(time.monotonic() - began, BODY_IDLE_SECS + SLACK_SECS)

    def test_a_body_that_drips(self):
        if not self.options.long:
            self.skipTest("takes 90 s; run with --long")
        connection = self.connect()
        connection.sendall(self.head(RAW, 500_000) + b'{"log_type":"OKTA","entries":[')
        self.drip(connection, b" ", every=1, until=BODY_SECS + SLACK_SECS)
        status, body = self.read(connection)
        self.assertEqual(status, 408, body)

    def test_many_bodies_that_stop(self):
        """As many open requests with announced megabytes as would fill the memory ten times, none of them coming."""
        held = []
        for _ in range(500):
            connection = self.connect()
            connection.sendall(self.head(RAW, 1_000_000) + b"{")
            held.append(connection)
        served = self.good.served
        until(lambda: self.good.served >= served + 5 or None, "the good sender is not served", 30)
        for connection in held:
            connection.close()

    def test_ten_thousand_idle_connections(self):
        wanted, soft, hard = 10_000, *resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = 200
        can = min(wanted, hard - spare) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(can + spare, hard) if hard > 0 else can + spare, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        held = []
        try:
            for _ in range(can):
                held.append(self.connect())
            served = self.good.served
            began = time.monotonic()
            until(lambda: self.good.served >= served + 20 or None, "the good sender is not served", 30)
            print(f"        {len(held)} idle connections; 20 good requests took {time.monotonic() - began:.2f} s")
            # The server answers on one of them too, whether or not it has run out of patience with the others.
            status, _ = self.get_on(self.connect())
            self.assertEqual(status, 200)
        finally:
            for connection in held:
                connection.close()
        if can < wanted:
            self.skipTest(f"this machine lets a process open {hard} files: held {can} connections instead of {wanted}")

    def test_a_hundred_thousand_entries(self):
        empty = b'{"log_type":"OKTA","entries":[' + b",".join([b"{}"] * 100_000) + b"]}"
        status, body = self.post(RAW, empty)
        self.assertEqual(status, 400, body)
        self.assertLess(len(body), 4096)
        self.assertLessEqual(len(json.loads(body)["error"]["details"][0]["fieldViolations"]), 20)
        most = (1_048_576 - 40) // 17
        good = b'{"log_type":"OKTA","entries":[' + b",".join([b'{"log_text":"k"}'] * most) + b"]}"
        status, body = self.post(RAW, good)
        self.assertEqual((status, body), (200, b"{}"))
        too_long = b'{"log_type":"OKTA","entries":[' + b",".join([b'{"log_text":"k"}'] * 100_000) + b"]}"
        status, body = self.post(RAW, too_long)
        self.assertIn(status, (400, 413), body)

    def test_deep_nesting(self):
        for depth in (10_000, 100_000):
            objects = b'{"events":[' + b'{"a":' * depth + b"1" + b"}" * depth + b"]}"
            lists = b'{"events":' + b"[" * depth + b"]" * depth + b"}"
            additional = b'{"events":[{"additional":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]}"
            endless = b'{"events":[' + b'{"a":' * depth
            for body in (objects, lists, additional, endless, b"[" * depth):
                status, answer = self.post(UDM, body)
                self.assertEqual(status, 400, answer[:500])
                self.assertLess(len(answer), 4096)

    def test_gzip_bombs(self):
        """1 MB that becomes 1 GB, 10 MB that become 10 GB, and sixteen of them at once."""
        for megabytes in (1_000, 10_000):
            body = bomb(megabytes)
            print(f"        a bomb of {len(body) / 1e6:.1f} MB for {megabytes} MB", flush=True)
            status, answer = self.post(RAW, body, {"Content-Encoding": "gzip"})
            self.assertIn(status, (400, 413), answer)
            self.assertIn("error", json.loads(answer))
        body, statuses = bomb(1_000), []
        posts = [
            threading.Thread(target=lambda: statuses.append(self.post(RAW, body, {"Content-Encoding": "gzip"})[0]))
            for _ in range(16)
        ]
        for post in posts:
            post.start()
        for post in posts:
            post.join()
        self.assertEqual(len(statuses), 16)
        self.assertTrue(set(statuses) <= {400, 413, 429, 503}, statuses)

    def test_false_packing(self):
        packed = gzip.compress(b'{"log_type":"OKTA","entries":[{"log_text":"packed"}]}')
        for name, body in [
            ("no gzip", b'{"log_type":"OKTA"}'),
            ("cut off", packed[:-12]),
            ("false checksum", packed[:-8] + b"\0" * 8),
            ("nothing", b""),
        ]:
            status, answer = self.post(RAW, body, {"Content-Encoding": "gzip"})
            self.assertEqual(status, 400, f"{name}: {answer}")
        status, answer = self.post(RAW, packed, {"Content-Encoding": "zstd"})
        self.assertIn(status, (400, 415), answer)

    def test_lengths_that_lie(self):
        for name, head, allowed in [
            ("ten GB announced", self.head(RAW, 10_000_000_000), (400, 413)),
            ("a negative length", self.head(RAW, -5), (400, None)),
            ("no number", self.head(RAW, 0).replace(b"Content-Length: 0", b"Content-Length: many"), (400, None)),
            ("two lengths", self.head(RAW, 5)[:-2] + b"Content-Length: 6\r\n\r\n{}   ", (400, None)),
            ("a huge head", b"GET / HTTP/1.1\r\nX-Filler: " + b"x" * 200_000 + b"\r\n\r\n", (400, 413, 431, None)),
            ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100 + b"\r\n\r\n", (400, None)),
        ]:
            connection = self.connect()
            try:
                connection.sendall(head)
            except OSError:
                pass
            status, body = self.read(connection)
            self.assertIn(status, allowed, f"{name}: {body}")

    def test_an_endless_chunked_body(self):
        connection = self.connect()
        head = self.head(RAW, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            connection.sendall(head)
            for _ in range(1600):
                connection.sendall(chunk)
        except OSError:
            pass
        status, body = self.read(connection)
        self.assertIn(status, (400, 413), body)

    # With plain sockets, since no library would do it.

    def connect(self):
        for attempt in range(20):
            try:
                return socket.create_connection(self.address, timeout=30)
            except (ConnectionRefusedError, socket.timeout):
                if attempt == 19:
                    raise
                time.sleep(0.1)

    def head(self, path, length, headers=None):
        lines = [f"POST {path}?key={self.key} HTTP/1.1", "Host: x", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def post(self, path, body, headers=None):
        """Sends all, or what the server lets it send, then reads the answer: a server may answer before it has heard
        everything, and a client that writes on must still get to read that."""
        with self.connect() as connection:
            try:
                connection.sendall(self.head(path, len(body), headers) + body)
            except OSError:
                pass
            return self.read(connection)

    def get_on(self, connection):
        connection.sendall(f"GET /v2/logtypes?key={self.key} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return self.read(connection)

    def read(self, connection):
        """Status and body, or `None` when the connection was closed without an answer."""
        response = http.client.HTTPResponse(connection, method="POST")
        try:
            response.begin()
            return response.status, response.read()
        except (http.client.HTTPException, ConnectionError):
            return None, b""

    def drip(self, connection, piece, every, until):
        """Writes a piece now and then until the other side has had enough."""
        end = time.monotonic() + until
        connection.settimeout(every)
        while time.monotonic() < end:
            try:
                connection.sendall(piece)
                if connection.recv(1, socket.MSG_PEEK) is not None:
                    break
            except socket.timeout:
                continue
            except OSError:
                break
        connection.settimeout(30)


class GoodSender(threading.Thread):
    """Sends one small batch after the other on one connection, as a well-behaved client on the same server."""

    def __init__(self, address, key):
        super().__init__(daemon=True)
        self.address, self.path = address, f"{RAW}?key={key}"
        self.served, self.failures, self.over = 0, [], threading.Event()

    def run(self):
        connection = None
        while not self.over.wait(0.05):
            body = json.dumps({"log_type": "OKTA", "entries": [{"log_text": f"good line {time.time_ns()}"}]})
            try:
                connection = connection or http.client.HTTPConnection(*self.address, timeout=60)
                began = time.monotonic()
                connection.request("POST", self.path, body)
                response = connection.getresponse()
                answer = response.read()
                if response.status != 200 or time.monotonic() - began > 20:
                    self.failures.append((response.status, time.monotonic() - began, answer[:500]))
                self.served += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection = None

    def stop(self):
        self.over.set()
        self.join(70)


def bomb(megabytes):
    """Spaces, so many that they inflate to this size, as one gzip member. Each deflated block stands for itself, so one
    is made and repeated; only a reader that inflates everything would notice the false checksum."""
    block_bytes = 10_000_000
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(b'{"log_type":"OKTA","entries":[') + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * block_bytes) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    count = megabytes * 1_000_000 // block_bytes
    member = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + start + block * count + end
    return member + struct.pack("<II", 0, (megabytes * 1_000_000) & 0xFFFF_FFFF)
