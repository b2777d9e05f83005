"""The sample program of the Chronicle Ingestion API's document, and all that it says about its four endpoints.

One story told twice, against a server each: with the document's own program and bodies, taken at test time from the
folder that PENSTOCK_SEEDS names, and with lines and events of our own through the same libraries, which always runs.
What was accepted is found by search, arrives at a connector's target, and is stored once however often it is sent.
"""

import glob
import json
import os
import re
import unittest

from server import Collector, Server, until

# What the sample program's service account file is called in the document.
DOCUMENTED_KEY_FILE = "/customer-keys/apikeys-demo.json"


class Story:
    """The tests; a subclass says where program and bodies come from. They build on each other, in order of number."""

    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        cls.load()
        cls.server = Server(cls.options)
        cls.addClassCleanup(cls.server.close)
        cls.collector = Collector()
        cls.addClassCleanup(cls.collector.close)
        cls.server.start()
        cls.server.cli("connector", "create", "--name", "t", "--url", cls.collector.url)
        cls.sign_in()

    @classmethod
    def sign_in(cls):
        program = cls.program.replace(DOCUMENTED_KEY_FILE, str(cls.server.key_file))
        names = {}
        exec(compile(program, "sample program", "exec"), names)  # the program as the document prints it
        cls.client, cls.credentials = names["http_client"], names["credentials"]

    def send(self, path, body, expect=200):
        headers = {"Content-Type": "application/json"}
        url = self.server.url + path
        response, content = self.client.request(url, "POST", headers=headers, body=body.encode())
        self.assertEqual(response.status, expect, content.decode())
        parsed = json.loads(content)
        if expect == 200:
            self.assertEqual(parsed, {})
            self.assertTrue(response.get("x-penstock-batch"), "a success names its batch")
            return response["x-penstock-batch"]
        self.assertLess(len(content), 4096)
        self.assertEqual(parsed["error"]["code"], expect)
        return parsed["error"]

    def ours(self, body):
        """The body with nothing changed but the instance."""
        return re.sub(r'("customer_id"\s*:\s*)"[^"]*"', rf'\1"{self.server.customer_id}"', body)

    def raw_bodies(self):
        """The three entries of the document's batch, each by itself and with one kind of time or none."""
        whole = json.loads(self.repaired())
        bodies = []
        for entry in whole["entries"]:
            # The only date that the document prints wrong has its day and month the other way round.
            if "ts_rfc3339" in entry:
                entry["ts_rfc3339"] = re.sub(r"^(\d{4})-(\d\d)-(\d\d)T", self.swap, entry["ts_rfc3339"])
            bodies.append(json.dumps({**whole, "entries": [entry]}))
        return bodies

    @staticmethod
    def swap(match):
        year, second, third = match.groups()
        return f"{year}-{third}-{second}T" if int(second) > 12 else match.group(0)

    def repaired(self):
        """The document's raw batch as it was meant: with the comma before its entries, without the last semicolon."""
        body = re.sub(r'\]\s*\n(\s*)"entries"', r'],\n\1"entries"', self.ours(self.raw_body))
        return re.sub(r"\];", "]", body)

    def find_raw(self, text, count=1):
        return self.find(("search", "raw", text), count)

    def find_udm(self, expression, count=1):
        return self.find(("search", "udm", expression), count)

    def find(self, search, count):
        def look():
            rows = self.server.cli_rows(*search)
            return rows if len(rows) >= count else None

        rows = until(look, f"{search} does not find {count}")
        self.assertEqual(len(rows), count, rows)
        return rows

    def counts(self):
        """How many rows there are of everything that was sent so far."""
        texts = [json.loads(body)["entries"][0]["log_text"] for body in self.raw_bodies()]
        raw = [len(self.server.cli_rows("search", "raw", text)) for text in texts]
        events = json.loads(self.udm_body)["events"]
        names = sorted({event["metadata"]["product_name"] for event in events})
        udm = [len(self.server.cli_rows("search", "udm", f'metadata.product_name = "{name}"')) for name in names]
        return raw + udm

    def start_again(self):
        self.server.start()
        # httplib2 keeps connections without a look whether the other side still does.
        self.client.http.close()

    def send_all_again(self):
        self.send("/v2/udmevents:batchCreate", self.ours(self.udm_body))
        for body in self.raw_bodies():
            self.send("/v2/unstructuredlogentries:batchCreate", body)
        self.send("/v2/entities:batchCreate", self.entities_body)

    def pass_a_marker(self, text):
        """Sends one line that is new and waits until it is found: whatever was sent before it is then visible too."""
        entry = {"log_text": text}
        self.send("/v2/unstructuredlogentries:batchCreate", json.dumps({"log_type": "BIND_DNS", "entries": [entry]}))
        self.find_raw(text)

    def test_01_log_types_in_both_shapes(self):
        response, content = self.client.request(self.server.url + "/v2/logtypes", "GET")
        self.assertEqual(response.status, 200, content)
        answer = json.loads(content)
        self.assertTrue(all(isinstance(value, list) for value in answer.values()), "every value is a list")
        snake = {entry["log_type"]: entry["description"] for entry in answer["logtypes"]}
        camel = {entry["logType"]: entry["description"] for entry in answer["logTypes"]}
        self.assertEqual(snake, camel)
        for log_type in self.log_types:
            self.assertTrue(snake.get(log_type), log_type)

    def test_02_udm_events(self):
        self.send("/v2/udmevents:batchCreate", self.ours(self.udm_body))
        sent = json.loads(self.udm_body)["events"]
        for event in sent:
            name = event["metadata"]["product_name"]
            [row] = self.find_udm(f'metadata.product_name = "{name}"')
            self.assertEqual(row["udm"], event)
        shared = sent[0]["principal"]["ip"][0]
        self.find_udm(f'ip = "{shared}"', count=sum(shared in json.dumps(event) for event in sent))

    def test_03_the_batch_as_printed_is_refused_with_the_place(self):
        body = self.ours(self.raw_body)
        error = self.send("/v2/unstructuredlogentries:batchCreate", body, expect=400)
        self.assertEqual(error["status"], "INVALID_ARGUMENT")
        # The parser trips over the name after the missing comma: its offset, or the place one past it.
        place = len(body[: body.index('"entries"')].encode())
        numbers = {int(number) for number in re.findall(r"\d+", error["message"])}
        self.assertTrue(numbers & {place, place + 1}, f"offset {place} is not in {error['message']!r}")

    def test_04_two_kinds_of_times_are_refused_by_entry(self):
        error = self.send("/v2/unstructuredlogentries:batchCreate", self.repaired(), expect=400)
        self.assertEqual(error["status"], "INVALID_ARGUMENT")
        violations = [violation for detail in error["details"] for violation in detail.get("fieldViolations", [])]
        text = json.dumps(error)
        self.assertTrue(any(re.search(r"entries\W*[01]\b", violation["field"]) for violation in violations), text)
        self.assertIn("ts_epoch_microseconds", text)
        self.assertIn("ts_rfc3339", text)
        dates = [violation for violation in violations if re.search(r"entries\W*1\b", violation["field"])]
        self.assertTrue(any(re.search(r"month|date|26", violation["description"]) for violation in dates), text)

    def test_05_each_entry_by_itself_is_found_byte_for_byte(self):
        for body in self.raw_bodies():
            self.send("/v2/unstructuredlogentries:batchCreate", body)
        for body in self.raw_bodies():
            [entry] = json.loads(body)["entries"]
            [row] = self.find_raw(entry["log_text"])
            self.assertEqual(row["text"], entry["log_text"])
            self.assertEqual(row["log_type"], json.loads(body)["log_type"])
            self.assertEqual(
                [(label["key"], label["value"]) for label in row["labels"]],
                [(label["key"], label["value"]) for label in json.loads(body)["labels"]],
            )

    def test_06_entities_without_an_instance_in_the_body(self):
        self.assertNotIn("customer_id", self.entities_body)
        batch = self.send("/v2/entities:batchCreate", self.entities_body)

        def stored():
            receipt = self.server.cli("receipt", batch, "-o", "json")
            return receipt if "stored" in receipt else None

        until(stored, f"the receipt of {batch} does not say stored", 60)

    def test_07_everything_arrives_at_the_target(self):
        texts = sorted(json.loads(body)["entries"][0]["log_text"] for body in self.raw_bodies())
        events, entities = json.loads(self.udm_body)["events"], json.loads(self.entities_body)["entities"]
        everything = len(texts) + len(events) + len(entities)
        until(lambda: len(self.collector.elements) >= everything or None, f"not all {everything} arrived", 60)
        arrived = self.collector.having(lambda element: element["kind"] == "raw")
        self.assertEqual(sorted(element["text"] for element in arrived), texts)
        arrived = self.collector.having(lambda element: element["kind"] == "udm")
        self.assertEqual([element["udm"] for element in arrived], events)
        arrived = self.collector.having(lambda element: element["kind"] == "entity")
        self.assertEqual([element["entity"] for element in arrived], entities)
        for element in self.collector.having(lambda element: True):
            self.assertEqual(element["instance"], self.server.customer_id)
            self.assertTrue(element["id"] and element["received_at"] and element["event_time"], element)

    def test_08_sent_again_it_is_stored_once(self):
        before = self.counts()
        self.send_all_again()
        self.pass_a_marker("sent again: all of it is behind this line")
        self.assertEqual(self.counts(), before)

    def test_09_sent_again_after_a_restart_it_is_stored_once(self):
        before = self.counts()
        token = self.credentials.token
        self.server.stop()
        self.start_again()
        self.assertEqual(self.counts(), before)
        reply = self.server.ask("GET", "/v2/logtypes", headers={"Authorization": f"Bearer {token}"})
        self.assertEqual(reply.status, 200, "a token outlives a restart")
        self.send_all_again()
        self.pass_a_marker("sent again after a restart: all of it is behind this line")
        self.assertEqual(self.counts(), before)

    def test_10_sent_again_after_a_crash_it_is_stored_once(self):
        before = self.counts()
        self.server.kill()
        self.start_again()
        self.assertEqual(self.counts(), before)
        self.send_all_again()
        self.pass_a_marker("sent again after a crash: all of it is behind this line")
        self.assertEqual(self.counts(), before)

    def test_11_nothing_arrived_twice(self):
        last = "sent again after a crash: all of it is behind this line"
        until(lambda: self.collector.having(lambda element: element.get("text") == last) or None, "the last line", 60)
        by_id = {}
        for element in self.collector.having(lambda element: True):
            # A delivery that the crash cut off may come again, but then it is the same under the same id.
            self.assertEqual(by_id.setdefault(element["id"], element), element)
        texts = [element["text"] for element in by_id.values() if element["kind"] == "raw"]
        self.assertEqual(sorted(set(texts)), sorted(texts))

    def test_12_it_stops_in_time(self):
        self.assertLess(self.server.stop(), 10, "a clean stop takes at most 5 s, and some for a busy machine")


class DocumentedSample(Story, unittest.TestCase):
    """With the document's own program and bodies."""

    @classmethod
    def load(cls):
        if not cls.options.seeds:
            raise unittest.SkipTest("PENSTOCK_SEEDS is not set, so there is no document to take the sample from")
        files = glob.glob(os.path.join(cls.options.seeds, "001*.txt"))
        if not files:
            raise unittest.SkipTest(f"there is no 001*.txt in {cls.options.seeds}")
        with open(files[0], encoding="utf-8") as file:
            text = file.read()
        cls.program = between(text, "# Imports required for the sample", "# <your code continues here>")
        cls.udm_body = body_after(text, "/v2/udmevents:batchCreate")
        cls.raw_body = body_after(text, "/v2/unstructuredlogentries:batchCreate")
        cls.entities_body = body_after(text, "Sample request body")
        cls.log_types = [entry["log_type"] for entry in json.loads(body_after(text, "GET https://"))["logtypes"]]
        assert DOCUMENTED_KEY_FILE in cls.program and len(cls.log_types) == 4


class OwnSample(Story, unittest.TestCase):
    """With a program, lines and events of our own."""

    @classmethod
    def load(cls):
        cls.program = (
            "from google.oauth2 import service_account\n"
            "from googleapiclient import _auth\n"
            f"credentials = service_account.Credentials.from_service_account_file('{DOCUMENTED_KEY_FILE}',\n"
            "    scopes=['https://www.googleapis.com/auth/malachite-ingestion'])\n"
            "http_client = _auth.authorized_http(credentials)\n"
        )
        cls.log_types = ["OKTA", "BIND_DNS", "CATCH_ALL", "GCP_CLOUDAUDIT"]
        login = {
            "metadata": {
                "event_timestamp": "2026-03-01T08:00:00.250Z",
                "event_type": "USER_LOGIN",
                "product_name": "Harbour Gate",
                "vendor_name": "Harbour",
            },
            "principal": {"ip": ["10.20.30.40"], "hostname": "crane-7"},
            "target": {"user": {"userid": "tea.novak", "email_addresses": ["tea.novak@example.com"]}},
            "extensions": {"auth": {"type": "SSO"}},
        }
        fetch = {
            "metadata": {
                "event_timestamp": "2026-03-01T08:00:02Z",
                "event_type": "NETWORK_HTTP",
                "product_name": "Harbour Proxy",
                "vendor_name": "Harbour",
            },
            "principal": {"ip": ["10.20.30.40"], "port": 51515},
            "target": {"hostname": "tides.example.org", "url": "https://tides.example.org/today?place=Malmö"},
            "network": {"http": {"method": "GET", "response_code": 200}, "received_bytes": "9007199254740993"},
        }
        cls.udm_body = json.dumps({"customer_id": "x", "events": [login, fetch]}, ensure_ascii=False)
        # With the same two slips as the document's: no comma before the entries, a semicolon at the end.
        cls.raw_body = (
            '{\n  "customer_id": "x",\n  "log_type": "BIND_DNS",\n'
            '  "labels": [{"key": "site", "value": "dock 4"}, {"key": "note", "value": "\\u00fcber"}]\n'
            '  "entries": [\n'
            '    {"log_text": "client 10.20.30.41#4238: query: tides.example.org IN A +", '
            '"ts_epoch_microseconds": 1772352000250000},\n'
            '    {"log_text": "client 10.20.30.42#1116: query: \\"quoted\\\\name\\".example IN TXT \\u2603 +", '
            '"ts_rfc3339": "2026-26-02T13:37:04.523-08:00"},\n'
            '    {"log_text": "client 10.20.30.43#3333: query: a\\tb.example IN A +"}\n'
            "  ];\n}\n"
        )
        user = {
            "metadata": {
                "collected_timestamp": "2026-03-01T09:00:00Z",
                "entity_type": "USER",
                "vendor_name": "Harbour",
                "product_name": "Harbour Directory",
            },
            "entity": {"user": {"userid": "tea.novak", "product_object_id": "h-1"}},
        }
        cls.entities_body = json.dumps({"log_type": "AZURE_AD_CONTEXT", "entities": [user]})


def between(text, start, end):
    """From one mark, with it, to the other, without it."""
    begin = text.index(start)
    return text[begin : text.index(end, begin)]


def body_after(text, mark):
    """The block in braces that follows a mark, as printed: from a line that is `{` to the first line that is `}`."""
    block = re.search(r"^\{\n.*?^\}|^\{\n.*?\]\}$", text[text.index(mark) :], re.MULTILINE | re.DOTALL)
    return block.group(0)
