"""Syslog in all the ways that it comes in: over TLS and RELP as Sekoia's forwarder sends it, and plain from devices.

The forwarder is rsyslog itself, from Debian, with the forwarder's template; during its RELP run the server is killed
twice. What no rsyslog would send comes from sockets of our own.
"""

import contextlib
import json
import os
import random
import re
import socket
import ssl
import time
import unittest
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

from as_sekoia import AsSekoia, data_of, nanoseconds
from rsyslog import Rsyslog, unpacked
from server import Server, until

# How the certificate calls the server: a name that resolves nowhere, since only the certificate is asked for it.
NAME = "intake.penstock.test"

LINES = 10_000

# The ways in, as the server prints them.
ADDRESS = re.compile(r"^  (syslog TLS|RELP TLS|syslog udp|syslog tcp)\b.*?(\d+\.\d+\.\d+\.\d+:\d+)", re.MULTILINE)


class Syslog(AsSekoia):
    """A server with every way in for syslog, on ports that it keeps when it is started again."""

    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        cls.server = Server(cls.options)
        cls.addClassCleanup(cls.server.close)
        cls.ca, cls.certificate, cls.key = certificates(cls.server.folder)
        cls.server.start()
        cls.forwarder = cls.intake("forwarder", "BIND_DNS")
        cls.second = cls.intake("second", "OKTA", instance=cls.server.new_instance())
        cls.device = cls.intake("device", "CISCO_ASA_FIREWALL")
        cls.short = cls.intake("short", "NGINX")
        cls.server.stop()
        # Free ports first, then again with the same.
        cls.write_settings({})
        cls.start()
        cls.addresses = cls.printed()
        cls.server.stop()
        cls.write_settings(cls.addresses)
        cls.start()

    @classmethod
    def write_settings(cls, addresses):
        def way(section, name, number=0, **more):
            address = addresses.get(name, [])[number:] or ["127.0.0.1:0"]
            values = {"address": address[0], **more}
            return f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())

        tls = f"tls = {{ cert = {json.dumps(str(cls.certificate))}, key = {json.dumps(str(cls.key))} }}\n"
        path = cls.server.folder / "penstock.toml"
        path.write_text(
            way("listen.syslog", "syslog TLS")
            + tls
            + way("listen.relp", "RELP TLS")
            + tls
            + way("[listen.plain_syslog]", "syslog udp", transport="udp", intake=cls.device["id"])
            + way("[listen.plain_syslog]", "syslog tcp", transport="tcp", intake=cls.device["id"])
            + way("[listen.plain_syslog]", "syslog tcp", 1, transport="tcp", intake=cls.short["id"], text="message")
            + way("[listen.plain_syslog]", "syslog udp", 1, transport="udp", intake=cls.short["id"], text="message")
        )
        cls.server.settings["PENSTOCK_CONFIG"] = str(path)

    @classmethod
    def start(cls):
        out = cls.server.folder / "server.out"
        cls.said_before = out.stat().st_size
        cls.server.start()

    @classmethod
    def printed(cls):
        """The addresses that it printed at its last start, by the way in."""

        def look():
            text = (cls.server.folder / "server.out").read_bytes()[cls.said_before :].decode()
            found = {}
            for way, address in ADDRESS.findall(text):
                found.setdefault(way, []).append(address)
            return found if sum(map(len, found.values())) == 6 else None

        return until(look, "the server does not print six addresses for syslog")

    def address(self, way, number=0):
        host, port = self.addresses[way][number].rsplit(":", 1)
        return host, int(port)

    @contextlib.contextmanager
    def tls(self, way="syslog TLS", version=None):
        """A connection over TLS that believes in our authority alone. At its end it hangs up as TLS wants it: a socket
        that is closed with something unread resets the connection, and what was on its way may be lost."""
        context = ssl.create_default_context(cafile=self.ca)
        if version:
            context.minimum_version = context.maximum_version = version
        plain = socket.create_connection(self.address(way), timeout=30)
        with context.wrap_socket(plain, server_hostname=NAME) as connection:
            yield connection
            with contextlib.suppress(OSError):
                connection.unwrap().close()

    def keyed(self, text, key=None, elements="{}", host="crane-7", at="2026-03-01T08:00:00.123456+01:00"):
        """A line of RFC 5424 with an intake's key."""
        data = elements.format(f'[SEKOIA@53288 intake_key="{key or self.forwarder["intake_key"]}"]')
        return f"<134>1 {at} {host} gate 42 LOG {data} {text}"

    def committed(self):
        """How many records were committed, of all instances."""
        return sum(instance["committed"] for instance in self.server.status()["instances"])

    def more_than(self, count):
        committed = self.committed()
        return committed if committed > count else None


def labels_of(row):
    return {label["key"].removeprefix("syslog."): label["value"] for label in row["labels"]}


class FromRsyslog(Syslog, unittest.TestCase):
    """rsyslog in the forwarder's place."""

    @classmethod
    def setUpClass(cls):
        unpacked()
        super().setUpClass()

    def rsyslog(self, way, intake=None):
        address = self.addresses["RELP TLS" if way == "relp" else "syslog TLS"][0]
        key = (intake or self.forwarder)["intake_key"]
        return Rsyslog(way, address, NAME, self.ca, key, self.server.folder)

    def lines(self, mark, count=LINES):
        """What devices send to the forwarder; and what is to be found of it."""
        lines, expected = [], {}
        now = datetime.now(timezone.utc)
        for index in range(count):
            host, app, procid, text = f"crane-{index % 4}", f"gate{index % 3}", 40 + index % 5, f"{mark} {index:05} é☃"
            if index % 2:
                lines.append(f"<134>{now:%b %e %H:%M:%S} {host} {app}[{procid}]: {text}")
            else:
                lines.append(f'<165>1 {now:%Y-%m-%dT%H:%M:%S}Z {host} {app} {procid} ID47 [a@1 b="c"] {text}')
            priority = ("local0", "info") if index % 2 else ("local4", "notice")
            expected[text] = (*priority, host, app, str(procid), "LOG")
        return lines, expected

    def assert_lines(self, mark, expected, began, doubled=False):
        """All of them are there with what their headers said; gives how many more than once."""

        def look():
            rows = self.server.search("raw", mark, limit=1_000_000)[0]
            return rows if len({row["text"] for row in rows}) >= len(expected) else None

        rows = until(look, f"not all {len(expected)} lines are found", 120, every=0.5)
        counts = Counter(row["text"] for row in rows)
        self.assertEqual(set(counts), set(expected))
        for row in rows:
            labels = labels_of(row)
            names = ("facility", "severity", "hostname", "appname", "procid", "msgid")
            self.assertEqual(tuple(labels.get(name) for name in names), expected[row["text"]], row)
            self.assertNotIn("structured_data", labels)
            self.assertEqual((row["log_type"], row["feed"]), ("BIND_DNS", f"intakes/{self.forwarder['id']}"))
            # The forwarder's own clock: the device's time is gone.
            self.assertTrue(began - 5 <= nanoseconds(row["sender_time"]) / 1e9 <= time.time() + 5, row["sender_time"])
        more = sum(counts.values()) - len(counts)
        if not doubled:
            self.assertEqual(more, 0, "each line once")
        return more

    def test_over_tls(self):
        for way, count in (("gtls", LINES), ("ossl", 1_000)):
            with self.subTest(way):
                mark, began = f"forwarded by {way}", time.time()
                lines, expected = self.lines(mark, count)
                with self.rsyslog(way) as rsyslog:
                    rsyslog.feed(lines)
                    self.assert_lines(mark, expected, began)
                print(f"        {count} lines over TLS ({way}) found in {time.time() - began:.1f} s")

    def test_over_relp_with_the_server_killed_twice(self):
        mark, began = "forwarded by relp", time.time()
        lines, expected = self.lines(mark)
        seed = self.options.seed if self.options.seed is not None else random.randrange(1 << 32)
        print(f"        moments from seed {seed}")
        moments, killed_with = random.Random(seed), []
        with self.rsyslog("relp") as rsyslog:
            # It reconnects only when it has something to send, so each kill is followed by more lines.
            for portion in (lines[:4_000], lines[4_000:7_000]):
                before = self.committed()
                rsyslog.feed(portion)
                enough = before + moments.randrange(2_500)
                seen = until(lambda: self.more_than(enough), "not enough comes over RELP", 60, every=0.002)
                self.server.kill()
                killed_with.append(f"{seen - before} of {len(portion)}")
                self.start()
            rsyslog.feed(lines[7_000:])
            more = self.assert_lines(mark, expected, began, doubled=True)
        print(
            f"        {LINES} lines over RELP found in {time.time() - began:.1f} s; killed with {killed_with[0]} and "
            f"{killed_with[1]} lines committed; {more} lines are there twice"
        )

    def test_a_key_that_is_unknown(self):
        """The forwarder goes on, whatever becomes of such lines, and those with a good key arrive."""
        with self.rsyslog("relp", {"intake_key": "x" * 32}) as stranger, self.rsyslog("relp") as known:
            stranger.feed([f"<134>Mar  1 08:00:00 crane-7 gate[1]: stranger {index}" for index in range(300)])
            known.feed([f"<134>Mar  1 08:00:00 crane-7 gate[1]: known {index};" for index in range(300)])
            self.rows("known", 300)
        self.assert_nothing("stranger")


class OverTls(Syslog, unittest.TestCase):
    """What a socket of our own says to the keyed listeners."""

    def test_versions_of_tls(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for way, send in (("syslog TLS", self.send_framed), ("RELP TLS", self.send_relp)):
                with self.subTest(version=version.name, way=way):
                    text = f"by {version.name} {way};"
                    with self.tls(way, version) as connection:
                        self.assertEqual(connection.version(), version.name.replace("_", "."))
                        send(connection, [self.keyed(text)])
                        self.rows(text, 1)

    def send_framed(self, connection, lines):
        for line in lines:
            data = line.encode() + b"\n"
            connection.sendall(b"%d %s" % (len(data), data))

    def send_relp(self, connection, lines):
        relp = Relp(connection)
        self.assertEqual([relp.send(line)[0] for line in lines], ["200"] * len(lines))
        relp.close()

    def test_framing(self):
        for name, frames, texts in [
            ("counted, the line's end inside", ["counted\n"], ["counted"]),
            ("counted, without", ["counted"], ["counted"]),
            ("counted, lines in it", ["counted\nof\nthree\n"], ["counted\nof\nthree"]),
            ("counted, many", [f"{index}\n" for index in range(50)], [str(index) for index in range(50)]),
        ]:
            with self.subTest(name):
                mark = f"framing: {name};"
                with self.tls() as connection:
                    whole = b"".join(
                        b"%d %s" % (len(data), data)
                        for data in (self.keyed(f"{mark} {frame}").encode() for frame in frames)
                    )
                    # In pieces that have nothing to do with frames.
                    for start in range(0, len(whole), 997):
                        connection.sendall(whole[start : start + 997])
                self.assert_texts(self.rows(mark, len(texts)), [f"{mark} {text}" for text in texts])
        with self.subTest("lines"):
            texts = [f"framing: by lines {index} é ☃ 😀" for index in range(50)]
            with self.tls() as connection:
                connection.sendall("".join(self.keyed(text) + "\n" for text in texts).encode())
            self.assert_texts(self.rows("framing: by lines", 50), texts)
        with self.subTest("a last line without an end"):
            with self.tls() as connection:
                connection.sendall(self.keyed("framing: no end").encode())
            self.assert_texts(self.rows("framing: no end", 1), ["framing: no end"])

    def test_what_the_header_said(self):
        nxlog = '[NXLOG@14506 EventID="4624" note="a \\] b \\" c \\\\"]'
        for name, line, at, labels in [
            ("all of it", self.keyed("header: all"), "2026-03-01T07:00:00.123456Z", {}),
            ("after", self.keyed("header: after", elements="{}" + nxlog), None, {"structured_data": nxlog}),
            ("before", self.keyed("header: before", elements=nxlog + "{}"), None, {"structured_data": nxlog}),
            (
                "around",
                self.keyed("header: around", elements='[a@1 b="c"]{}[d@2 e="f"]'),
                None,
                {"structured_data": '[a@1 b="c"][d@2 e="f"]'},
            ),
            (
                "nothing but the key",
                re.sub(r"^.*? LOG", "<13>1 - - - - -", self.keyed("header: bare")),
                "none",
                {"facility": "user", "severity": "notice", **dict.fromkeys(("hostname", "appname", "procid", "msgid"))},
            ),
            ("blanks before the text", self.keyed("  header: blanks  "), None, {}),
            ("no zone but Z", self.keyed("header: Z", at="2026-03-01T07:00:00Z"), "2026-03-01T07:00:00Z", {}),
        ]:
            with self.subTest(name):
                with self.tls() as connection:
                    self.send_framed(connection, [line])
                text = re.search(r"\] ( *header: .*)$", line).group(1)
                [row] = self.rows(text.strip(), 1)
                self.assertEqual(row["text"], text)
                if at == "none":
                    self.assertIsNone(row["sender_time"])
                else:
                    at = at or "2026-03-01T07:00:00.123456Z"
                    self.assertEqual(nanoseconds(row["sender_time"]), nanoseconds(at))
                expected = {"facility": "local0", "severity": "info", "hostname": "crane-7", "appname": "gate"}
                expected |= {"procid": "42", "msgid": "LOG", **labels}
                self.assertEqual(labels_of(row), {name: value for name, value in expected.items() if value is not None})
                self.assertNotIn("SEKOIA", json.dumps(row))

    def test_keys_of_two_instances_on_one_connection(self):
        intakes = [self.forwarder, self.second] * 10
        with self.tls() as connection:
            self.send_framed(
                connection,
                [self.keyed(f"mixed {index};", intake["intake_key"]) for index, intake in enumerate(intakes)],
            )
        for index, intake in enumerate(intakes):
            [row] = self.rows(f"mixed {index};", 1)
            self.assertEqual((row["instance"], row["log_type"]), (intake["instance"], intake["log_type"]))

    def test_a_key_that_is_unknown(self):
        """Logged and counted, not stored, and the connection goes on."""
        bad = {
            "unknown": self.keyed("unknown key", "x" * 32),
            "none": self.keyed("no key", elements='[a@1 b="c"]'),
            "no data": "<134>1 2026-03-01T08:00:00Z crane-7 gate 42 LOG - no data at all",
            "no syslog": "no syslog at all",
        }
        before = refused(self.server.status())
        with self.tls() as connection:
            for name, line in bad.items():
                self.send_framed(connection, [line, self.keyed(f"after {name};")])
            for name in bad:
                self.rows(f"after {name};", 1)
        for text in ("unknown key", "no key", "no data at all", "no syslog at all"):
            self.assert_nothing(text)
        until(lambda: refused(self.server.status()) >= before + len(bad) or None, "the refusals are not counted")
        log = (self.server.folder / "server.log").read_text()
        self.assertRegex(log, r"(?i)key")
        self.assertNotIn("x" * 32, log)

    def test_a_frame_that_is_too_large(self):
        """It is left out; what comes before and after it on the same connection is not."""
        header = len(self.keyed("").encode())
        fits = "fits: ".ljust(256_000 - header, "f")
        for name, framed in (("counted", True), ("lines", False)):
            with self.subTest(name):
                before = refused(self.server.status())
                mark = f"large by {name}"
                with self.tls() as connection:
                    for text in (f"{mark} before", f"{mark} {'x' * 300_000}", f"{mark} after"):
                        if framed:
                            self.send_framed(connection, [self.keyed(text)])
                        else:
                            connection.sendall(self.keyed(text).encode() + b"\n")
                    self.rows(f"{mark} after", 1)
                self.assert_texts(self.rows(mark, 2), [f"{mark} before", f"{mark} after"])
                until(lambda: refused(self.server.status()) > before or None, "the refusal is not counted")
        with self.tls() as connection:
            self.send_framed(connection, [self.keyed(fits)])
            self.assert_texts(self.rows("fits:", 1), [fits])

    def test_connections_that_make_no_sense(self):
        """Each ends by itself and troubles no other."""
        for name, data in [
            ("no TLS", None),
            ("a length without end", b"9" * 100 + b" <134>"),
            ("a length too large", b"999999999 <134>1 " + b"x" * 10_000),
            ("a length of nothing", b"0 0 0 0 "),
            ("zeros", bytes(10_000)),
            ("half a frame", b"500 <134>1 2026"),
        ]:
            for way in ("syslog TLS", "RELP TLS"):
                with self.subTest(name, way=way):
                    if data is None:
                        with socket.create_connection(self.address(way), timeout=30) as connection:
                            connection.sendall(b"<134>1 plain text where TLS is spoken\n" * 10)
                    else:
                        with self.tls(way) as connection, contextlib.suppress(OSError):
                            connection.sendall(data)
        with self.tls() as connection:
            self.send_framed(connection, [self.keyed("sense again")])
            self.rows("sense again", 1)


class OverRelp(Syslog, unittest.TestCase):
    """RELP by hand."""

    def test_what_is_acknowledged_is_there_after_a_kill(self):
        with self.tls("RELP TLS") as connection:
            relp = Relp(connection)
            texts = [f"acknowledged {index};" for index in range(500)]
            answers = relp.send_all([self.keyed(text) for text in texts])
            self.assertEqual(set(answers), {"200"})
            self.server.kill()
        self.start()
        self.assert_texts(self.rows("acknowledged", len(texts)), texts)

    def test_what_it_offers(self):
        with self.tls("RELP TLS") as connection:
            relp = Relp(connection)
            self.assertIn("relp_version=0", relp.offered)
            self.assertRegex(relp.offered, r"(?m)^commands=.*\bsyslog\b")
            self.assertEqual(relp.send(self.keyed("offered;"))[0], "200")
            relp.close()
            # The server hangs up after `close`.
            self.assertIsNone(relp.hint())
        self.rows("offered;", 1)

    def test_what_can_never_be_taken_does_not_hold_the_rest_up(self):
        """An answer for each: without one the sender would stop at its window, and send it again for ever."""
        with self.tls("RELP TLS") as connection:
            relp = Relp(connection)
            lines = []
            for index in range(200):
                lines += [self.keyed(f"stuck {index}", "x" * 32), self.keyed(f"goes on {index};")]
            lines += [self.keyed("stuck " + "x" * 300_000), self.keyed("goes on at the end;")]
            answers = relp.send_all(lines)
            self.assertEqual(len(answers), len(lines))
            self.assertEqual(set(answers[1::2]), {"200"})
            print(f"        what can never be taken is answered with {', '.join(sorted(set(answers[::2])))}")
        self.rows("goes on", 201)
        self.assert_nothing("stuck")


class Plain(Syslog, unittest.TestCase):
    """Devices without TLS and without keys: the port says which intake it is."""

    MOMENT = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)

    # A line, what its header says, where its text begins, and its time. Who sent it is said beside that.
    CASES = [
        (
            f"<34>{MOMENT:%b %e %H:%M:%S} dock su[230]: 'su root' failed for lonvick on /dev/pts/8",
            {"facility": "auth", "severity": "crit", "hostname": "dock", "appname": "su", "procid": "230"},
            "'su root'",
            f"{MOMENT:%Y-%m-%dT%H:%M:%S}Z",
        ),
        (
            f"<13>{MOMENT:%b %e %H:%M:%S} dock kernel: eth0 up é ☃",
            {"facility": "user", "severity": "notice", "hostname": "dock", "appname": "kernel"},
            "eth0",
            f"{MOMENT:%Y-%m-%dT%H:%M:%S}Z",
        ),
        (
            '<165>1 2026-03-01T08:00:00.003Z dock.example.com evntslog 77 ID47 [ex@32473 iut="3"] An event for ☃',
            {
                "facility": "local4",
                "severity": "notice",
                "hostname": "dock.example.com",
                "appname": "evntslog",
                "procid": "77",
                "msgid": "ID47",
                "structured_data": '[ex@32473 iut="3"]',
            },
            "An event",
            "2026-03-01T08:00:00.003Z",
        ),
        (
            "<165>1 2026-03-01T08:00:00.003-07:00 192.0.2.1 proc 8710 - - %% It's time to make the do-nuts.",
            {"facility": "local4", "severity": "notice", "hostname": "192.0.2.1", "appname": "proc", "procid": "8710"},
            "%% It's",
            "2026-03-01T15:00:00.003Z",
        ),
        # Without a priority a line is user.notice (RFC 3164, 4.3.3).
        ("no header at all, only a text", {"facility": "user", "severity": "notice"}, "no header", None),
        ('{"raw": "json without a header"}', {"facility": "user", "severity": "notice"}, '{"raw"', None),
    ]

    def check(self, send, cases=CASES):
        """Every case comes in, its line or its text as the listener says."""
        for number, (intake, whole) in enumerate(((self.device, True), (self.short, False))):
            for index, (line, labels, text, at) in enumerate(cases):
                with self.subTest(line, text="line" if whole else "message"):
                    mark = f"{self.id()} {number} {index};"
                    line = f"{line} {mark}"
                    send(number, line)
                    [row] = self.rows(mark, 1)
                    self.assertEqual(data_of(row).decode(), line if whole else line[line.index(text) :])
                    self.assertEqual(labels_of(row), {**labels, "peer": "127.0.0.1"})
                    self.assertEqual((row["log_type"], row["feed"]), (intake["log_type"], f"intakes/{intake['id']}"))
                    if at is None:
                        self.assertIsNone(row["sender_time"])
                    else:
                        self.assertEqual(nanoseconds(row["sender_time"]), nanoseconds(at))

    def test_over_udp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            self.check(lambda number, line: sender.sendto(line.encode(), self.address("syslog udp", number)))

    def test_over_tcp_by_lines(self):
        def send(number, line):
            with socket.create_connection(self.address("syslog tcp", number), timeout=30) as connection:
                connection.sendall(line.encode() + b"\n")

        self.check(send)

    def test_over_tcp_counted(self):
        def send(number, line):
            with socket.create_connection(self.address("syslog tcp", number), timeout=30) as connection:
                connection.sendall(b"%d %s" % (len(line.encode()), line.encode()))

        # What has no header would be a line that begins with a number.
        self.check(send, [case for case in self.CASES if case[0].startswith("<")])

    def test_many_lines_on_one_connection(self):
        lines = [f"<13>Mar  1 08:00:00 dock gate[{index % 7}]: many lines {index}" for index in range(5_000)]
        with socket.create_connection(self.address("syslog tcp"), timeout=30) as connection:
            connection.sendall("".join(line + "\n" for line in lines).encode())
        self.assert_texts(self.rows("many lines", len(lines)), lines)

    def test_a_line_that_is_too_large(self):
        with socket.create_connection(self.address("syslog tcp"), timeout=30) as connection:
            for text in ("large plain before", "large plain " + "x" * 300_000, "large plain after"):
                connection.sendall(f"<13>Mar  1 08:00:00 dock gate: {text}\n".encode())
            self.rows("large plain after", 1)
        self.rows("large plain", 2)


class Relp:
    """The sending side of RELP."""

    def __init__(self, connection):
        self.connection, self.file, self.number = connection, connection.makefile("rb"), 0
        offer = "relp_version=0\nrelp_software=test\ncommands=syslog"
        code, self.offered = self.answer(self.write("open", offer))
        assert code == "200", code

    def send(self, line):
        """Code and text of the answer to one message."""
        return self.answer(self.write("syslog", line))

    def send_all(self, lines):
        """Sends all, a window of 128 at a time without an answer; gives the codes in the order of the lines."""
        codes, waiting = [], []
        for line in lines:
            waiting.append(self.write("syslog", line))
            if len(waiting) == 128:
                codes += [self.answer(number)[0] for number in waiting]
                waiting = []
        return codes + [self.answer(number)[0] for number in waiting]

    def close(self):
        self.answer(self.write("close", ""))

    def write(self, command, data):
        self.number += 1
        data = data.encode()
        blank = b" " if data else b""
        self.connection.sendall(b"%d %s %d%s%s\n" % (self.number, command.encode(), len(data), blank, data))
        return self.number

    def answer(self, number):
        """The next answer, which must be to this number: they come in the order of the frames."""
        got, command, data = self.read()
        assert (got, command) == (number, "rsp"), (got, command, data)
        head, _, rest = data.partition("\n")
        return head[:3], rest

    def hint(self):
        """What comes after the last answer, apart from the hint that the server closes: `None` for the end."""
        while True:
            try:
                got = self.read()
            except (EOFError, OSError):
                return None
            if got[:2] != (0, "serverclose"):
                return got

    def read(self):
        number, command, length, ended = self.word()[0], self.word()[0], *self.word()
        data = b""
        if ended == b" ":
            data = self.file.read(int(length))
            assert self.file.read(1) == b"\n"
        return int(number), command.decode(), data.decode()

    def word(self):
        word = b""
        while True:
            byte = self.file.read(1)
            if not byte:
                raise EOFError
            if byte in b" \n":
                return word, byte
            word += byte


def refused(status):
    """Whatever the status counts as refused, all together: of instances, and of strangers that have none."""
    return status["strangers_refused"] + sum(instance["refused"] for instance in status["instances"])


def certificates(folder):
    """The paths of an authority's certificate, of one of the server by this authority, and of its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def named(name):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def certificate(name, key, *extensions):
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder(named("Penstock tests"), named(name), key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        for extension in [
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
            *extensions,
        ]:
            builder = builder.add_extension(extension, isinstance(extension, (x509.BasicConstraints, x509.KeyUsage)))
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = certificate("Penstock tests", authority, x509.BasicConstraints(True, None), signs)
    name = x509.SubjectAlternativeName([x509.DNSName(NAME)])
    server = certificate(NAME, own, x509.BasicConstraints(False, None), name)
    private = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = []
    for name, content in (("ca.pem", ca), ("server.pem", server), ("server.key", private)):
        path = Path(folder) / name
        path.write_bytes(content)
        path.chmod(0o600)
        paths.append(path)
    return paths
