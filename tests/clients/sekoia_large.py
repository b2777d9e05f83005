"""As many and as large requests as an intake takes, all at once: none fails, each event has an id of its own, all are
stored, and the server's memory stays at its budget and 100 MiB.

By itself 8 senders of 16 MiB, since a binary without optimisation is slow; with --long 32 of 64 MiB, which wants a release
build.
"""

import http.client
import json
import threading
import unittest

from server import Server

# The default of limits.memory_bytes, and what the issue allows beside it.
MEMORY_MIB = 256 + 100

MIB = 1 << 20


class Large(unittest.TestCase):
    def setUp(self):
        self.server = Server(self.options)
        self.addCleanup(self.server.close)
        self.server.start()
        made = json.loads(self.server.cli("intake", "create", "--name", "large", "--format", "OKTA", "-o", "json"))
        self.key = made["intake_key"]
        self.senders, self.mib = (32, 64) if self.options.long else (8, 16)

    def lines(self):
        """Lines of about 270 bytes, quotes in them as logs have."""
        lines, size = [], 0
        while True:
            number = len(lines)
            line = json.dumps({
                "uuid": f"{number * 7919:032x}",
                "eventType": "user.session.start",
                "displayMessage": "User login to Okta",
                "actor": {"id": f"00u{number:017d}", "type": "User", "alternateId": "a.b@example.com"},
                "client": {"ipAddress": "203.0.113.7"},
            })
            # As JSON within JSON, with its quotes escaped and a separator.
            size += len(json.dumps(line)) + 2
            if size + 100 > self.mib * MIB:
                return lines
            lines.append(line)

    def push_all(self, path, body, count):
        """Every sender sends the same body at the same time."""
        begin = threading.Barrier(self.senders)
        seen, failed = [], []

        def push():
            begin.wait()
            try:
                connection = http.client.HTTPConnection(self.server.address, timeout=120)
                connection.request("POST", path, body, {"X-SEKOIAIO-INTAKE-KEY": self.key})
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status == 202:
                    seen.append(answer["event_ids"])
                else:
                    failed.append((response.status, answer))
                connection.close()
            except OSError as error:
                failed.append(repr(error))

        threads = [threading.Thread(target=push) for _ in range(self.senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        ids = {id for ids in seen for id in ids}
        self.assertEqual(len(ids), count * self.senders)

    def test_large_requests_at_once(self):
        lines = self.lines()
        batch = json.dumps({"intake_key": self.key, "jsons": lines}).encode()
        plain = "\n".join(lines).encode()
        for path, body in [("/batch", batch), ("/plain/batch", plain)]:
            with self.subTest(path):
                self.push_all(path, body, len(lines))
        self.server.wait_stored(600)
        instance = self.server.status()["instances"][0]
        self.assertEqual(instance["committed"], 2 * self.senders * len(lines))
        self.assertTrue(instance["conservation"]["holds"], instance)
        peak = self.server.memory_peak() / MIB
        print(f"peak memory {peak:.0f} MiB with {self.senders} senders of {self.mib} MiB")
        self.assertLessEqual(peak, MEMORY_MIB)
