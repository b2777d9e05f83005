"""The Python examples of Sekoia's document on its HTTPS intake, and all that it says about its endpoints.

Told twice: with the document's own programs, taken at test time from the folder that PENSTOCK_SEEDS names and run with
nothing changed but host, key and a misprint, and with calls of our own through the same library, which always run. What
was accepted is found by search under the id that the sender was given; of what was refused nothing is found.
"""

import contextlib
import glob
import gzip
import http.client
import io
import json
import os
import re
import socket
import textwrap
import time
import unittest
import uuid
import warnings
from collections import Counter
from pathlib import Path

from as_sekoia import AsSekoia, data_of
from bad import bomb
from server import until

DOCUMENTED_HOST = "https://intake.sekoia.io"

# How many examples the document has of each endpoint: a document that changed is to be noticed.
DOCUMENTED_EXAMPLES = {"/plain": 3, "/plain/batch": 3, "/jsons": 3, "/array": 1, "/": 2, "/batch": 1}

# One moment in the forms that senders write it in. What has no zone is UTC.
MOMENT = "2021-04-05T19:33:31Z"
MOMENTS = {
    "a zone": ("2021-04-05T21:33:31+02:00", MOMENT),
    "UTC": ("2021-04-05T19:33:31Z", MOMENT),
    "no zone": ("2021-04-05T19:33:31", MOMENT),
    "a blank between": ("2021-04-05 19:33:31", MOMENT),
    "microseconds": ("2021-04-05T19:33:31.123456+00:00", "2021-04-05T19:33:31.123456Z"),
    "nanoseconds": ("2021-04-05T21:33:31.123456789+02:00", "2021-04-05T19:33:31.123456789Z"),
    "a zone without a colon": ("2021-04-05T21:33:31+0200", MOMENT),
    "a mail's": ("Mon, 05 Apr 2021 21:33:31 +0200", MOMENT),
    "HTTP's": ("Mon, 05 Apr 2021 19:33:31 GMT", MOMENT),
    "C's": ("Mon Apr  5 19:33:31 2021", MOMENT),
    "a web server's": ("05/Apr/2021:21:33:31 +0200", MOMENT),
    "month and twelve hours": ("April 05, 2021 07:33:31 PM", MOMENT),
    "epoch seconds": ("1617651211", MOMENT),
    "epoch with a fraction": ("1617651211.123456", "2021-04-05T19:33:31.123456Z"),
    "epoch milliseconds": ("1617651211123", "2021-04-05T19:33:31.123Z"),
    "epoch microseconds": ("1617651211123456", "2021-04-05T19:33:31.123456Z"),
    "epoch nanoseconds": ("1617651211123456789", "2021-04-05T19:33:31.123456789Z"),
}

# What is no time.
NO_MOMENTS = ["yesterday", "2021-13-45T99:99:99Z", "2021-02-30T00:00:00Z", "1617651211x", "not a time at all"]

# Texts that somebody on the way might lose something of; `@` becomes a mark to find them by.
TEXTS = [
    "@ plain",
    '@ "quoted" \\backslash\\ \\u0041 \\n {"not": "parsed"}',
    "@ Malmö ☃ 港 ≠ Ω",
    "@ 😀 👩‍👩‍👧‍👦 🇫🇷",
    "@ e\u0301 beside \u00e9",
    "@\ttabs\tand trailing blanks   ",
    "   @ leading blanks",
    "@ carriage return\r",
    "@ in the middle\rof it",
    "@ \u2028 \u2029 \u0085 \ufeff \u00a0",
    "@ \x01\x02\x1b[31mred\x1b[0m\x7f",
    "@ +%20&=?#/ <b>&amp;</b>",
    "@ " + "long " * 2_000,
]
# Only where an event is not a line.
LINES = ["@ of\ntwo lines\n", "\n@ \r\n\r\n of\r\nsome\r\n"]


def marked(texts):
    """These texts with a mark of their own, and the mark."""
    mark = f"mark-{uuid.uuid4().hex[:12]}"
    return [text.replace("@", mark) for text in texts], mark


class Intakes(AsSekoia):
    """Two intakes of the default instance and one of another, and calls with `requests`."""

    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        super().setUpClass()
        cls.resolver = cls.intake("resolver", "BIND_DNS")
        cls.gate = cls.intake("gate", "OKTA", "--namespace", "harbour")
        cls.foreign = cls.intake("foreign", "NGINX", instance=cls.server.new_instance())

    def post(self, path, status=202, headers=None, intake=None, **how):
        """Posts with `requests`; what comes back is JSON and nothing else, and says enough. With an intake, its key is
        in the header."""
        import requests

        headers = {**(headers or {}), **(key_header(intake) if intake else {})}
        with warnings.catch_warnings():
            # Of a user that is `None`.
            warnings.simplefilter("ignore", DeprecationWarning)
            response = requests.post(self.server.url + path, headers=headers, timeout=60, **how)
        return self.checked(response, status)

    def checked(self, response, status=202):
        self.assertEqual(response.status_code, status, response.text)
        self.assertEqual(response.headers["Content-Type"].split(";")[0], "application/json")
        answer = response.json()
        if status < 300:
            self.assertTrue(answer.keys() <= {"event_id", "event_ids", "errors"}, answer)
            self.assertTrue(("event_id" in answer) != ("event_ids" in answer), answer)
            ids = answer.get("event_ids", [answer.get("event_id")])
            self.assertTrue(all(one is None or str(uuid.UUID(one)) == one for one in ids), answer)
            if any(ids):
                self.assertTrue(response.headers["X-Penstock-Batch"], "a success names its batch")
        else:
            self.assertEqual(answer["code"], status, answer)
            self.assertTrue(answer["message"], answer)
            self.assertLess(len(response.content), 8192)
        return answer

    def assert_found(self, ids, intake, texts, mark, at=None):
        """The events with these ids are these texts, in this order, and there are no others with the mark."""
        found = {row["id"]: row for row in self.rows(mark, len(texts))}
        self.assertEqual(len(ids), len(texts))
        for one, text in zip(ids, texts):
            self.assertIn(one, found, text)
            self.assert_event(found[one], intake, text, at)


def key_header(intake):
    return {"X-SEKOIAIO-INTAKE-KEY": intake["intake_key"]}


class Documented(Intakes, unittest.TestCase):
    """With the document's own programs."""

    @classmethod
    def setUpClass(cls):
        if not cls.options.seeds:
            raise unittest.SkipTest("PENSTOCK_SEEDS is not set, so there is no document to take the examples from")
        files = glob.glob(os.path.join(cls.options.seeds, "002*.txt"))
        if not files:
            raise unittest.SkipTest(f"there is no 002*.txt in {cls.options.seeds}")
        cls.programs = examples(Path(files[0]).read_text(encoding="utf-8"))
        super().setUpClass()

    def test_how_many_there_are(self):
        paths = Counter(path_of(program) for program in self.programs)
        self.assertEqual(paths, DOCUMENTED_EXAMPLES)
        self.assertEqual(sum("request.auth." in program for program in self.programs), 3, "the misprint")

    def test_every_example(self):
        for number, program in enumerate(self.programs, 1):
            with self.subTest(number=number, path=path_of(program)):
                names, printed = self.run_program(program)
                answer = self.checked(names["response"])
                self.assertEqual(json.loads(printed), answer)
                # What the document says that the program prints.
                events = self.events(names)
                single = path_of(program) in ("/", "/plain")
                self.assertEqual(set(answer), {"event_id"} if single else {"event_ids"})
                ids = [answer["event_id"]] if single else answer["event_ids"]
                self.assertEqual(len(ids), len(events))
                self.assertEqual(len(set(ids)), len(ids))
                for one, (text, intake, at) in zip(ids, events):
                    self.assert_event(self.found(text, one), intake, text, at)
                    self.assertIn(one, self.server.cli("receipt", one))

    def run_program(self, program):
        """Runs it as the document prints it, but for host and key, and for the module that no Python has."""
        for documented, ours in {
            DOCUMENTED_HOST: self.server.url,
            "YOUR_INTAKE_KEY": self.resolver["intake_key"],
            "ANOTHER_INTAKE_KEY": self.foreign["intake_key"],
            "request.auth.": "requests.auth.",
        }.items():
            program = re.sub(rf"\b{re.escape(documented)}", lambda _: ours, program)
        names, printed = {}, io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            exec(compile(program, "documented example", "exec"), names)
        return names, printed.getvalue()

    def events(self, names):
        """What the program sent, as its own variables say: each event's text, intake and time."""
        intakes = {one["intake_key"]: one for one in (self.resolver, self.foreign)}
        content, events = names.get("content"), names.get("events")
        if isinstance(content, dict):
            texts, given = content.get("jsons", [content.get("json")]), intakes[content["intake_key"]]
            return [(text, given, content.get("@timestamp")) for text in texts]
        if events and isinstance(events[0], dict):
            return [(one["json"], intakes[one["intake_key"]], one.get("timestamp")) for one in events]
        return [(text, self.resolver, None) for text in events or [content]]

    def found(self, text, one):
        """The row of an event: the command finds its text, and among what it finds is the id."""

        def look():
            rows = self.server.cli_rows("search", "raw", text, "--limit", "1000")
            return [row for row in rows if row["id"] == one] or None

        rows = until(look, f"{text!r} is not found as {one}")
        self.assertEqual(len(rows), 1)
        return rows[0]


def examples(document):
    """The Python programs of a document in Markdown, tabs and all."""
    blocks = re.findall(r"^([ ]*)```python\n(.*?)^\1```", document, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in blocks]


def path_of(program):
    return re.search(rf'"{re.escape(DOCUMENTED_HOST)}([^"]*)"', program).group(1) or "/"


class OwnCalls(Intakes, unittest.TestCase):
    """With calls of our own."""

    # The endpoints, and the ways to give a key.

    def test_one_event_with_the_key_in_every_place(self):
        from requests.auth import HTTPBasicAuth

        key = self.resolver["intake_key"]
        ways = {
            "header": {"headers": {"X-SEKOIAIO-INTAKE-KEY": key}},
            "header in small letters": {"headers": {"x-sekoiaio-intake-key": key}},
            "Basic": {"auth": HTTPBasicAuth("somebody", key)},
            "Basic of nobody": {"auth": HTTPBasicAuth("", key)},
            "Basic of None": {"auth": HTTPBasicAuth(None, key)},
            "query": {"params": {"intake_key": key}},
            # The header goes before Basic, and Basic before the query.
            "header before all": {
                "headers": {"X-SEKOIAIO-INTAKE-KEY": key},
                "auth": HTTPBasicAuth("", "x" * 32),
                "params": {"intake_key": "x" * 32},
            },
            "Basic before the query": {"auth": HTTPBasicAuth("", key), "params": {"intake_key": "x" * 32}},
        }
        for name, way in ways.items():
            with self.subTest(name):
                [text], mark = marked([f"@ by {name}"])
                answer = self.post("/plain", data=text, **way)
                self.assert_found([answer["event_id"]], self.resolver, [text], mark)
                texts, mark = marked([f"@ by {name}", "@ again"])
                answer = self.post("/plain/batch", data="\n".join(texts), **way)
                self.assert_found(answer["event_ids"], self.resolver, texts, mark)
                texts, mark = marked([f"@ by {name}", "@ again"])
                answer = self.post("/jsons", json=texts, **way)
                self.assert_found(answer["event_ids"], self.resolver, texts, mark)

    def test_the_key_in_the_body(self):
        key = self.resolver["intake_key"]
        for name, keys in {
            "intake_key": {"intake_key": key},
            "the document's misprint": {"intakey_key": key},
            "both": {"intakey_key": key, "intake_key": key},
        }.items():
            with self.subTest(name):
                [text], mark = marked([f"@ {name}"])
                answer = self.post("/", json={**keys, "json": text})
                self.assert_found([answer["event_id"]], self.resolver, [text], mark)
                texts, mark = marked([f"@ {name}", "@ again"])
                answer = self.post("/batch", json={**keys, "jsons": texts})
                self.assert_found(answer["event_ids"], self.resolver, texts, mark)
                answer = self.post("/array", json=[{**keys, "json": text} for text in texts])
                self.assertEqual(len(answer["event_ids"]), 2)

    def test_a_key_in_the_body_and_the_same_in_the_head(self):
        [text], mark = marked(["@ twice the same key"])
        answer = self.post("/", intake=self.gate, json={"intake_key": self.gate["intake_key"], "json": text})
        self.assert_found([answer["event_id"]], self.gate, [text], mark)

    def test_an_array_with_keys_of_two_instances(self):
        texts, mark = marked([f"@ number {number}" for number in range(6)])
        intakes = [self.resolver, self.foreign, self.gate] * 2
        items = [
            {"intake_key": intake["intake_key"], "json": text, "timestamp": f"2021-04-05T21:33:3{number}+02:00"}
            for number, (intake, text) in enumerate(zip(intakes, texts))
        ]
        ids = self.post("/array", json=items)["event_ids"]
        found = {row["id"]: row for row in self.rows(mark, len(texts))}
        for number, (one, intake, text) in enumerate(zip(ids, intakes, texts)):
            self.assert_event(found[one], intake, text, f"2021-04-05T19:33:3{number}Z")
        [row] = [row for row in self.rows(texts[1], 1, instance=self.foreign["instance"])]
        self.assertEqual(row["id"], ids[1])

    def test_jsons_under_a_path(self):
        for name, where, body in [
            ("one deep", "/jsons?path=$.events", lambda texts: {"events": texts}),
            ("escaped", "/jsons?path=%24.events", lambda texts: {"jsonrpc": "2.0", "events": texts}),
            ("two deep", "/jsons?path=$.data.items", lambda texts: {"data": {"n": 1, "items": texts}, "items": []}),
            ("the older name", "/many?path=$.data.items", lambda texts: {"data": {"items": texts}}),
        ]:
            with self.subTest(name):
                texts, mark = marked(TEXTS)
                answer = self.post(where, intake=self.gate, json=body(texts))
                self.assert_found(answer["event_ids"], self.gate, texts, mark)

    def test_objects_are_events_as_they_stand(self):
        """Corelight, Logstash and others send them so."""
        events = ['{"a" : "@",  "ü":[1, 2.50,"\\u00e9"]}', '{"nested": {"z": null, "a": "@ 😀"}}', "{}"]
        events, mark = marked(events)
        listed = "[" + ", ".join(events) + "]"
        key = self.gate["intake_key"]
        items = ",".join(f'{{"intake_key":"{key}","json":{event}}}' for event in events)
        for name, path, body in [
            ("jsons", "/jsons", listed),
            ("under a path", "/jsons?path=$.events", f'{{"events":{listed}}}'),
            ("batch", "/batch", f'{{"intake_key": "{key}", "jsons": {listed}}}'),
            ("array", "/array", f"[{items}]"),
            ("one", "/", f'{{"json":{events[0]},"intake_key":"{key}"}}'),
        ]:
            with self.subTest(name):
                own = f"{mark}-{name}"
                body = body.replace(mark, own).encode()
                head = {"intake": self.gate} if "jsons" in path else {}
                answer = self.post(path, data=body, **head)
                ids = answer.get("event_ids") or [answer["event_id"]]
                sent = [event.replace(mark, own) for event in events[: len(ids)]]
                found = {row["id"]: row for row in self.rows(own, min(2, len(ids)))}
                # The empty object has no mark: it is looked for by itself.
                for row in self.server.search("raw", "", regex=r"^\{\}$")[0]:
                    found[row["id"]] = row
                self.assertEqual([data_of(found[one]).decode() for one in ids], sent)

    def test_a_body_that_is_one_event(self):
        """`/plain` looks into nothing, and `/` into nothing that is not its envelope."""
        for name, path, event in [
            ("JSON", "/plain", '{"a": ["@", 1 ]}\n'),
            ("a list to plain", "/plain", '["@", "b"]'),
            ("a list to plain/batch", "/plain/batch", '[{"a":"@"}, {"b":2}]'),
            ("a list without the envelope", "/", '[{"a":"@"}, {"b":2}]'),
            ("an object without the envelope", "/", '{"a" : "@"}'),
            ("lines", "/plain", "@ one\ntwo\r\n\r\nthree\n"),
        ]:
            with self.subTest(name):
                [event], mark = marked([event])
                headers = {"Content-Type": "application/json"}
                answer = self.post(path, intake=self.resolver, headers=headers, data=event.encode())
                ids = answer.get("event_ids") or [answer["event_id"]]
                self.assert_found(ids, self.resolver, [event], mark)

    def test_how_a_body_is_split_into_lines(self):
        for name, body, events in [
            ("an end at the end", "@ a\n@ b\n", ["@ a", "@ b"]),
            ("none", "@ a\n@ b", ["@ a", "@ b"]),
            ("CRLF", "@ a\r\n@ b\r\n", ["@ a", "@ b"]),
            ("one CR of two", "@ a\r\r\n@ b", ["@ a\r", "@ b"]),
            ("nothing between", "\n\n@ a\n\r\n\n@ b\n\n", ["@ a", "@ b"]),
            ("CR alone", "@ a\rstill a\n@ b\x0bstill b\u2028still b", ["@ a\rstill a", "@ b\x0bstill b\u2028still b"]),
            ("blanks stay", "  @ a \t\n\t@ b  ", ["  @ a \t", "\t@ b  "]),
        ]:
            with self.subTest(name):
                (body, *events), mark = marked([body, *events])
                answer = self.post("/plain/batch", intake=self.gate, data=body.encode())
                self.assert_found(answer["event_ids"], self.gate, events, mark)

    # Texts.

    def test_texts_come_back_as_they_went_in(self):
        key = self.gate["intake_key"]
        for path, texts in {"/batch": TEXTS + LINES, "/jsons": TEXTS + LINES, "/array": TEXTS + LINES}.items():
            for ensure_ascii in (True, False):
                with self.subTest(path=path, ensure_ascii=ensure_ascii):
                    sent, mark = marked(texts)
                    body = {
                        "/batch": {"intake_key": key, "jsons": sent},
                        "/jsons": sent,
                        "/array": [{"intake_key": key, "json": text} for text in sent],
                    }[path]
                    data = json.dumps(body, ensure_ascii=ensure_ascii).encode()
                    answer = self.post(path, intake=self.gate if path == "/jsons" else None, data=data)
                    self.assert_found(answer["event_ids"], self.gate, sent, mark)
        with self.subTest("/plain/batch"):
            # A CR at the end of a line is part of the line's end there.
            sent, mark = marked([text for text in TEXTS if not text.endswith("\r")])
            answer = self.post("/plain/batch", intake=self.gate, data="\n".join(sent).encode())
            self.assert_found(answer["event_ids"], self.gate, sent, mark)
        for text in TEXTS + LINES:
            with self.subTest("/plain", text=text[:40]):
                [sent], mark = marked([text])
                answer = self.post("/plain", intake=self.gate, data=sent.encode())
                self.assert_found([answer["event_id"]], self.gate, [sent], mark)
                [sent], mark = marked([text])
                answer = self.post("/", json={"intake_key": key, "json": sent})
                self.assert_found([answer["event_id"]], self.gate, [sent], mark)

    def test_bytes_that_are_no_text(self):
        (one, two), mark = marked(["@ \xe9 \xff\xfe \x80 latin", "@ \xc3\x28 two"])
        one, two = one.encode("latin-1"), two.encode("latin-1")
        answer = self.post("/plain", intake=self.gate, data=one)
        batch = self.post("/plain/batch", intake=self.gate, data=one + b"\n" + two)
        rows = {row["id"]: row for row in self.rows(mark, 3)}
        for event_id, data in zip([answer["event_id"], *batch["event_ids"]], [one, one, two]):
            self.assert_event(rows[event_id], self.gate, data)

    def test_an_empty_event(self):
        """A text of nothing is an event where events are texts."""
        quiet = self.intake("quiet", "NGINX")
        key = quiet["intake_key"]
        ids = [
            self.post("/", json={"intake_key": key, "json": ""})["event_id"],
            *self.post("/batch", json={"intake_key": key, "jsons": ["", ""]})["event_ids"],
            *self.post("/jsons", intake=quiet, json=[""])["event_ids"],
            *self.post("/array", json=[{"intake_key": key, "json": ""}])["event_ids"],
        ]
        rows = self.rows("", 5, regex="^$", log_types=["NGINX"], instance=quiet["instance"])
        self.assertEqual({row["id"] for row in rows}, set(ids))
        for row in rows:
            self.assert_event(row, quiet, "")

    def test_no_events(self):
        key = self.gate["intake_key"]
        self.assertEqual(self.post("/batch", json={"intake_key": key, "jsons": []}), {"event_ids": []})
        self.assertEqual(self.post("/jsons", intake=self.gate, json=[]), {"event_ids": []})
        self.assertEqual(self.post("/jsons?path=$.e", intake=self.gate, json={"e": []}), {"event_ids": []})

    def test_equal_events_are_two_events(self):
        texts, mark = marked(["@ the same"] * 3)
        first = self.post("/jsons", intake=self.gate, json=texts)["event_ids"]
        again = self.post("/jsons", intake=self.gate, json=texts)["event_ids"]
        self.assertEqual(len({*first, *again}), 6)
        self.assertEqual({row["id"] for row in self.rows(mark, 6)}, {*first, *again})

    # Heads, paths, times.

    def test_prefixes_and_slashes(self):
        bodies = {"/plain": "@", "/plain/batch": "@", "": '{"a":"@"}'}
        bodies |= {"/jsons": '["@"]', "/jsons?path=$.a": '{"a":["@"]}'}
        for prefix in ("", "/api/v1/intake-http", "/v1/intake-http"):
            for path, body in bodies.items():
                base, *query = path.split("?")
                for slash in ("", "/"):
                    with self.subTest(prefix + base + slash):
                        [body_sent], mark = marked([body])
                        where = "?".join([prefix + base + slash, *query])
                        answer = self.post(where or "/", intake=self.gate, data=body_sent)
                        ids = answer.get("event_ids") or [answer["event_id"]]
                        text = body_sent if "json" not in path else mark
                        self.assert_found(ids, self.gate, [text], mark)
            with self.subTest(prefix + "/batch and /array"):
                [text], mark = marked(["@"])
                key = self.gate["intake_key"]
                ids = self.post(f"{prefix}/batch", json={"intake_key": key, "jsons": [text]})["event_ids"]
                ids += self.post(f"{prefix}/array", json=[{"intake_key": key, "json": text}])["event_ids"]
                self.assert_found(ids, self.gate, [text] * 2, mark)

    def test_the_status_that_is_asked_for(self):
        for status in (200, 201, 202):
            for path, body in {"/plain": "x", "/plain/batch": "x\ny", "/jsons": '["x"]'}.items():
                self.post(f"{path}?status_code={status}", status, intake=self.gate, data=body)
        answer = self.post("/jsons?path=%24.events&status_code=200", 200, intake=self.gate, json={"events": ["x"]})
        self.assertEqual(len(answer["event_ids"]), 1)
        # Sekoia's own scripts ask for a response.
        key = self.gate["intake_key"]
        answer = self.post("/batch?return_response=true", json={"intake_key": key, "jsons": ["x"]})
        self.assertEqual(len(answer["event_ids"]), 1)

    def test_gzip(self):
        for path, pack in {
            "/plain": lambda texts: texts[0],
            "/plain/batch": "\n".join,
            "/jsons": json.dumps,
            "/batch": lambda texts: json.dumps({"intake_key": self.gate["intake_key"], "jsons": texts}),
        }.items():
            with self.subTest(path):
                texts, mark = marked(["@ packed ☃", "@ packed too"][: 1 if path == "/plain" else 2])
                headers = {"Content-Encoding": "gzip"}
                data = gzip.compress(pack(texts).encode())
                head = {} if path == "/batch" else {"intake": self.gate}
                answer = self.post(path, headers=headers, data=data, **head)
                ids = answer.get("event_ids") or [answer["event_id"]]
                self.assert_found(ids, self.gate, texts, mark)

    def test_times(self):
        key = self.gate["intake_key"]
        for name, (given, at) in MOMENTS.items():
            with self.subTest(name):
                headers = {"X-SEKOIAIO-EVENT-TIMESTAMP": given}
                [text], mark = marked([f"@ {name}"])
                ids = [self.post("/plain", intake=self.gate, headers=headers, data=text)["event_id"]]
                ids += self.post("/plain/batch", intake=self.gate, headers=headers, data=f"{text}\n{text}")["event_ids"]
                ids += self.post("/jsons", intake=self.gate, headers=headers, json=[text])["event_ids"]
                ids.append(self.post("/", json={"intake_key": key, "json": text, "@timestamp": given})["event_id"])
                ids += self.post("/array", json=[{"intake_key": key, "json": text, "timestamp": given}])["event_ids"]
                self.assert_found(ids, self.gate, [text] * 6, mark, at)
        for given in (1617651211, 1617651211123, 1617651211123456, 1617651211123456789):
            with self.subTest("a number", given=given):
                [text], mark = marked(["@ a number"])
                ids = [self.post("/", json={"intake_key": key, "json": text, "@timestamp": given})["event_id"]]
                ids += self.post("/array", json=[{"intake_key": key, "json": text, "timestamp": given}])["event_ids"]
                at = f"2021-04-05T19:33:31.{str(given)[10:] or '0'}Z"
                self.assert_found(ids, self.gate, [text] * 2, mark, at)
        with self.subTest("none for some"):
            texts, mark = marked(["@ none", "@ null"])
            items = [{"intake_key": key, "json": texts[0]}, {"intake_key": key, "json": texts[1], "timestamp": None}]
            self.assert_found(self.post("/array", json=items)["event_ids"], self.gate, texts, mark)

    # Sizes.

    def test_the_largest_event(self):
        key, size = self.gate["intake_key"], 256_000
        [text], mark = marked(["@ "])
        fits, one_more = text.ljust(size, "x"), text.ljust(size + 1, "y")
        # The limit is in bytes of UTF-8, whatever the JSON around it makes of it.
        wide = text + "ü" * ((size - len(text)) // 2)
        self.assertEqual(len(wide.encode()) // 2, size // 2)
        ids = [self.post("/plain", intake=self.gate, data=fits)["event_id"]]
        ids.append(self.post("/", json={"intake_key": key, "json": wide})["event_id"])
        for path, body in {
            "/batch": {"intake_key": key, "jsons": [fits, one_more, wide]},
            "/jsons": [fits, one_more, wide],
            "/array": [{"intake_key": key, "json": each} for each in (fits, one_more, wide)],
            "/plain/batch": f"{fits}\n{one_more}\n{wide}".encode(),
        }.items():
            with self.subTest(path):
                how = {"data": body} if isinstance(body, bytes) else {"json": body}
                head = {"intake": self.gate} if path in ("/jsons", "/plain/batch") else {}
                answer = self.post(path, **how, **head)
                first, second, third = answer["event_ids"]
                self.assertIsNone(second)
                [error] = answer["errors"]
                self.assertEqual((error["index"], error["status"]), (1, 413))
                self.assertRegex(error["message"], r"256[ ,_.]?000")
                ids += [first, third]
        found = {row["id"]: row for row in self.rows(mark, len(ids))}
        for number, one in enumerate(ids):
            self.assert_event(found[one], self.gate, wide if number % 2 else fits)

    # Receipts, keys.

    def test_an_event_id_leads_to_its_receipt(self):
        ids = self.post("/jsons", intake=self.gate, json=["receipt one", "receipt two", "receipt three"])["event_ids"]
        for index, one in enumerate(ids):

            def stored():
                receipt = json.loads(self.server.cli("receipt", one, "-o", "json"))
                records = receipt.get("records") or [receipt]
                [record] = [record for record in records if record.get("id") == one]
                return receipt if record["store"]["state"] == "stored" else None

            receipt = until(stored, f"the receipt of {one} does not say stored", 60)
            self.assertEqual((receipt["kind"], receipt["log_type"]), ("raw", self.gate["log_type"]))
            self.assertEqual(receipt["sender"], f"intake:{self.gate['id']}")

    def test_a_key_is_rotated_disabled_and_enabled(self):
        made = self.intake("comes and goes", "NGINX")
        texts, mark = marked(["@ first", "@ rotated", "@ enabled"])
        ids = [self.post("/plain", intake=made, data=texts[0])["event_id"]]
        rotated = json.loads(self.server.cli("intake", "rotate", made["id"], "-o", "json"))
        self.assertNotEqual(rotated["intake_key"], made["intake_key"])
        self.post("/plain", 401, intake=made, data=texts[1])
        made = {**made, "intake_key": rotated["intake_key"]}
        ids.append(self.post("/plain", intake=made, data=texts[1])["event_id"])
        self.server.cli("intake", "disable", made["id"])
        self.post("/plain", 401, intake=made, data=texts[2])
        self.server.cli("intake", "enable", made["id"])
        ids.append(self.post("/plain", intake=made, data=texts[2])["event_id"])
        self.assert_found(ids, made, texts, mark)
        self.server.cli("intake", "delete", made["id"])
        self.post("/plain", 401, intake=made, data=texts[2])
        # What it brought stays.
        self.rows(mark, 3)

    def test_keys_are_shown_once_and_nowhere_kept(self):
        made = self.intake("shown once")
        key = made["intake_key"]
        self.assertRegex(key, r"^[A-Za-z0-9]{32}$")
        self.post("/plain", intake=made, data="so that the key was used")
        for command in (["list"], ["show", made["id"]]):
            self.assertNotIn(key, self.server.cli("intake", *command, "-o", "json"))
        self.server.wait_stored()
        for path in self.server.data.rglob("*"):
            if path.is_file():
                self.assertNotIn(key.encode(), path.read_bytes(), path)

    def test_the_default_intake(self):
        """The first start makes one, writes its key down and prints a call that works."""
        path = self.server.data / "keys" / "intake.key"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn("/plain", (self.server.folder / "server.out").read_text())
        answer = self.post("/plain", headers={"X-SEKOIAIO-INTAKE-KEY": path.read_text().strip()}, data="default intake")
        [row] = self.rows("default intake", 1)
        self.assertEqual(row["id"], answer["event_id"])


REFUSED = "must not be stored"


class Refusals(Intakes, unittest.TestCase):
    """What is refused, with what status and words; and none of it is stored."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.unknown = {"intake_key": "x" * 32}
        cls.disabled, cls.deleted, cls.rotated = (cls.intake(name) for name in ("disabled", "deleted", "rotated"))
        cls.server.cli("intake", "disable", cls.disabled["id"])
        cls.server.cli("intake", "delete", cls.deleted["id"])
        cls.server.cli("intake", "rotate", cls.rotated["id"])

    def tearDown(self):
        """After every one of them: nothing was stored, and a good call works."""
        self.assert_nothing(REFUSED)
        self.post("/plain", intake=self.gate, data="good all the while")

    def refused(self, cases):
        """Each case: path, headers, body (text, bytes, or what becomes JSON), status or statuses, what it says."""
        for name, (path, headers, body, status, *words) in cases.items():
            with self.subTest(name):
                text = body if isinstance(body, (str, bytes)) else json.dumps(body)
                reply = self.send(path, headers, text.encode() if isinstance(text, str) else text)
                self.assertIn(reply.status, status if isinstance(status, tuple) else (status,), reply.body)
                self.assertEqual(reply.headers["Content-Type"].split(";")[0], "application/json")
                answer = json.loads(reply.body)
                self.assertEqual(answer["code"], reply.status)
                for word in words:
                    self.assertRegex(json.dumps(answer, ensure_ascii=False), word)
                self.assertTrue(answer["message"])
                self.assertLess(len(reply.body), 8192)
                if reply.status in (429, 503):
                    self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)

    def send(self, path, headers, body):
        """One request; reads the answer even if the server did not listen to the end."""
        with self.connection(path, {**headers, "Content-Length": len(body)}) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(body)
            return read_answer(connection)

    def connection(self, path, headers):
        """A connection on which a request's head was sent."""
        host, port = self.server.address.rsplit(":", 1)
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.server.address}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection = socket.create_connection((host, int(port)), timeout=60)
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        return connection

    def test_keys(self):
        good, unknown = key_header(self.gate), key_header(self.unknown)
        key, other = self.gate["intake_key"], self.unknown["intake_key"]
        event, events = {"json": REFUSED}, {"jsons": [REFUSED]}
        self.refused(
            {
                "none": ("/plain", {}, REFUSED, 401),
                "none in a batch": ("/batch", {}, events, 401),
                "none in an array": ("/array", {}, [event], (400, 401), r"\b0\b"),
                "unknown": ("/plain", unknown, REFUSED, 401),
                "unknown by query": (f"/jsons?intake_key={other}", {}, [REFUSED], 401),
                "unknown in a body": ("/batch", {}, {**events, "intake_key": other}, 401),
                "unknown for one of an array": (
                    "/array",
                    {},
                    [{**event, "intake_key": key}, {**event, "intake_key": other}],
                    401,
                    r"\b1\b",
                ),
                "disabled": ("/plain", key_header(self.disabled), REFUSED, 401),
                "deleted": ("/plain", key_header(self.deleted), REFUSED, 401),
                "rotated": ("/plain", key_header(self.rotated), REFUSED, 401),
                "no Basic": ("/plain", {"Authorization": "Basic ????"}, REFUSED, (400, 401)),
                "a number": ("/batch", {}, {**events, "intake_key": 7}, (400, 401)),
                # Of two that differ none is taken.
                "head and body": ("/", good, {**event, "intake_key": self.resolver["intake_key"]}, 400, "intake_key"),
                "head and batch": ("/batch", good, {**events, "intake_key": self.resolver["intake_key"]}, 400),
                "both spellings": ("/", {}, {**event, "intake_key": key, "intakey_key": other}, 400, "intakey_key"),
            }
        )

    def test_bodies(self):
        head, key = key_header(self.gate), {"intake_key": self.gate["intake_key"]}
        lone = '["%s", "\\ud800"]' % REFUSED
        self.refused(
            {
                "cut off": ("/jsons", head, f'["{REFUSED}", ', 400),
                "no JSON": ("/batch", {}, f"{REFUSED}\n{REFUSED}", (400, 401), "plain/batch"),
                "a comma too many": ("/jsons", head, f'["{REFUSED}",]', 400),
                "two documents": ("/jsons", head, f'["{REFUSED}"]["{REFUSED}"]', 400),
                "nothing to plain": ("/plain", head, b"", 400),
                "nothing to plain/batch": ("/plain/batch", head, b"", 400),
                "line ends to plain/batch": ("/plain/batch", head, b"\n\r\n\n", 400),
                "nothing to jsons": ("/jsons", head, b"", 400),
                "nothing to batch": ("/batch", {}, b"", (400, 401)),
                "nothing to the root": ("/", head, b"", 400),
                "a list to batch": ("/batch", head, [REFUSED], 400, "object"),
                "an object to array": ("/array", {}, {**key, "json": REFUSED}, 400),
                "an object to jsons": ("/jsons", head, {"events": [REFUSED]}, 400),
                "a text to jsons": ("/jsons", head, json.dumps(REFUSED), 400),
                "jsons that is a text": ("/batch", {}, {**key, "jsons": REFUSED}, 400, "jsons"),
                "no jsons": ("/batch", {}, {**key, "events": [REFUSED]}, 400, "jsons"),
                "no json in an array": ("/array", {}, [{**key, "text": REFUSED}], 400, r"\b0\b"),
                "a number in an array": ("/array", {}, [{**key, "json": REFUSED}, 7], 400, r"\b1\b"),
                **{
                    f"{name} in {path}": (path, path_head, wrap([REFUSED, REFUSED, item]), 400, r"\b2\b")
                    for name, item in {"null": None, "a number": 7, "true": True, "a list": [REFUSED]}.items()
                    for path, path_head, wrap in [
                        ("/jsons", head, lambda items: items),
                        ("/jsons?path=$.a", head, lambda items: {"a": items}),
                        ("/batch", {}, lambda items: {**key, "jsons": items}),
                        ("/array", {}, lambda items: [{**key, "json": item} for item in items]),
                    ]
                },
                **{
                    f"{item!r} at the root": ("/", {}, {**key, "json": item, "note": REFUSED}, 400, "json")
                    for item in (None, 7, True, [REFUSED])
                },
                "a path to nothing": ("/jsons?path=$.b", head, {"a": [REFUSED]}, 400, r"\$\.b"),
                "a path to a text": ("/jsons?path=$.a", head, {"a": REFUSED}, 400, "path"),
                "no path": ("/jsons?path=][", head, {"a": [REFUSED]}, 400, "path"),
                "many without a path": ("/many", head, {"a": [REFUSED]}, 400, "path"),
                "half a character": ("/jsons", head, lone, 400, r"\b1\b"),
                "U+0000": ("/jsons", head, '["%s", "\\u0000"]' % REFUSED, 400, r"\b1\b"),
                "no UTF-8 in JSON": ("/jsons", head, b'["%s", "\xff"]' % REFUSED.encode(), 400),
                "status 404": ("/plain?status_code=404", head, REFUSED, 400, "status_code"),
                "status that is none": ("/plain?status_code=abc", head, REFUSED, 400, "status_code"),
                "status 199": ("/plain?status_code=199", head, REFUSED, 400, "status_code"),
            }
        )

    def test_times(self):
        head, key = key_header(self.gate), {"intake_key": self.gate["intake_key"]}
        bodies = {"/plain": REFUSED, "/plain/batch": f"{REFUSED}\n{REFUSED}", "/jsons": [REFUSED]}
        name = "X-SEKOIAIO-EVENT-TIMESTAMP"
        self.refused(
            {
                **{
                    f"{given} to {path}": (path, {**head, name: given}, body, 400, re.escape(given))
                    for given in NO_MOMENTS
                    for path, body in bodies.items()
                },
                **{
                    f"{given!r} at the root": ("/", {}, {**key, "json": REFUSED, "@timestamp": given}, 400, "timestamp")
                    for given in [*NO_MOMENTS, True, {}, []]
                },
                **{
                    f"{given!r} in an array": (
                        "/array",
                        {},
                        [{**key, "json": REFUSED}, {**key, "json": REFUSED, "timestamp": given}],
                        400,
                        r"\b1\b",
                    )
                    for given in [*NO_MOMENTS, True, {}, []]
                },
            }
        )

    def test_sizes(self):
        head, key = key_header(self.gate), {"intake_key": self.gate["intake_key"]}
        big = REFUSED.ljust(256_001, "x")
        many = b"\n".join([REFUSED.encode()] * 2 + [b"x"] * 999_999)
        self.refused(
            {
                "one event": ("/plain", head, big, 413),
                "one event at the root": ("/", {}, {**key, "json": big}, 413),
                "one object": ("/jsons", head, [{"a": big}], 413),
                "a body without the envelope": ("/", head, {"a": big}, 413),
                "all events of a batch": ("/batch", {}, {**key, "jsons": [big, big]}, 413),
                "all events of a list": ("/jsons", head, [big, big], 413),
                "all events of an array": ("/array", {}, [{**key, "json": big}] * 2, 413),
                "all lines": ("/plain/batch", head, f"{big}\n{big}", 413),
                "too many events": ("/plain/batch", head, many, (400, 413), "1[ ,_.]?000[ ,_.]?000"),
            }
        )

    def test_requests_that_are_too_large(self):
        """Both announced and not, and each answered before it has come to its end."""
        head = key_header(self.gate)
        line = f"{REFUSED} ".ljust(999, "x").encode() + b"\n"
        large = line * (64 * 1024 * 1024 // len(line) + 2)
        self.refused({"by its length": ("/plain/batch", head, large, 413)})
        with self.connection("/plain/batch", {**head, "Transfer-Encoding": "chunked"}) as connection:
            with contextlib.suppress(OSError):
                for start in range(0, len(large), 1 << 20):
                    piece = large[start : start + (1 << 20)]
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                connection.sendall(b"0\r\n\r\n")
            reply = read_answer(connection)
        self.assertEqual((reply.status, json.loads(reply.body)["code"]), (413, 413))
        with self.connection("/plain", {**head, "Content-Length": "10000000000"}) as connection:
            reply = read_answer(connection)
        self.assertEqual((reply.status, json.loads(reply.body)["code"]), (413, 413))

    def test_packing(self):
        head = {**key_header(self.gate), "Content-Encoding": "gzip"}
        packed = gzip.compress(f'["{REFUSED}"]'.encode())
        self.refused(
            {
                "a bomb to plain": ("/plain", head, bomb(1_000), 413),
                "a bomb to plain/batch": ("/plain/batch", head, bomb(1_000), 413),
                "a bomb to jsons": ("/jsons", head, bomb(1_000), 413),
                "no gzip": ("/plain", head, REFUSED, 400),
                "cut off": ("/jsons", head, packed[:-9], 400),
                "a false checksum": ("/jsons", head, packed[:-8] + b"\0" * 8, 400),
                "twice": ("/jsons", {**head, "Content-Encoding": "gzip, gzip"}, gzip.compress(packed), (400, 415)),
                **{
                    name: ("/jsons", {**head, "Content-Encoding": name}, packed, (400, 415), name)
                    for name in ("zstd", "br", "compress", "made-up")
                },
            }
        )

    def test_other_methods(self):
        for path in ("/plain", "/plain/batch", "/jsons", "/batch", "/array", "/api/v1/intake-http/batch"):
            for method in ("GET", "PUT", "DELETE"):
                with self.subTest(f"{method} {path}"):
                    reply = self.server.ask(method, path, b"x" if method == "PUT" else None, key_header(self.gate))
                    self.assertEqual(reply.status, 405, reply)
                    self.assertTrue(reply.json()["message"])
        reply = self.server.ask("POST", "/api/v1/intake-http/nothing", b"x", key_header(self.gate))
        self.assertEqual(reply.status, 404, reply)
        # What no dialect knows is answered in none of their forms; JSON it is all the same.
        self.assertIn("message", json.dumps(reply.json()))


class Guesses(Intakes, unittest.TestCase):
    """A key that is guessed, or tried, too often."""

    def setUp(self):
        # What one test guessed is forgotten by a server that was started again.
        self.server.stop()
        self.server.start()

    def knock(self, keys):
        """Tries these keys until it is told to slow down; gives how many were answered before."""
        for number, key in enumerate(keys):
            reply = self.server.ask("POST", "/plain", REFUSED.encode(), {"X-SEKOIAIO-INTAKE-KEY": key})
            self.assertTrue(reply.json()["message"])
            if reply.status == 429:
                self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)
                return number
            self.assertEqual(reply.status, 401, reply)
        raise AssertionError("it never became slow")

    def assert_good_is_fast(self):
        began = time.monotonic()
        for _ in range(10):
            self.post("/plain", intake=self.gate, data="good while others guess")
        self.assertLess(time.monotonic() - began, 5)
        self.assert_nothing(REFUSED)

    def test_many_keys(self):
        self.assertEqual(self.knock(f"{number:032d}" for number in range(30)), 20)
        self.assert_good_is_fast()

    def test_one_disabled_key_again_and_again(self):
        """A connector of Sekoia's goes on for an hour."""
        intake = self.intake("knocks", "NGINX")
        self.server.cli("intake", "disable", intake["id"])
        self.assertEqual(self.knock([intake["intake_key"]] * 30), 20)
        self.assert_good_is_fast()


def read_answer(connection):
    """Status, head and body of the answer on a socket."""
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    response.body = response.read()
    return response
