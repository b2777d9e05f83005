"""What parsers make of logs on their way: those of the four documents, sent as each document says, are found by user,
by address, by domain and by kind of event, and arrive at a connector as events that carry the id of their log.

Where PENSTOCK_SEEDS names a folder, a document's own logs go by its own program; logs of our own, which always run, go
by the same libraries. Then what no parser reads, and what one cannot read.
"""

import contextlib
import functools
import glob
import json
import os
import re
import types
import unittest
import unittest.mock
from datetime import datetime, timedelta, timezone
from pathlib import Path

import sample
import sekoia_docs
from as_google import AsGoogle
from as_oci import FLOW, AsOci, flow, rfc3339
from as_sekoia import AsSekoia
from server import Collector, until

RAW = "/v2/unstructuredlogentries:batchCreate"

# An answer of a resolver's query log, as BIND and as Unbound write it: the client, and what it asks for.
BIND_LINE = re.compile(r"client (?P<client>[\d.]+)#\d+: query: (?P<name>\S+) IN \w+ .*?(?:\((?P<server>[\d.]+)\))?$")
UNBOUND_LINE = re.compile(r"\[\d+:\d\] info: (?P<client>[\d.]+) (?P<name>\S+?)\.? \w+ IN$")


class Normalised:
    """Comes before the class that starts the server: gives it a connector for what parsers make."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.collector = Collector()
        cls.addClassCleanup(cls.collector.close)
        connector = {
            "name": "events",
            "source": {"kinds": ["udm", "entity"]},
            "target": {"type": "http", "url": cls.collector.url, "batch_wait_ms": 20},
        }
        made = cls.server.api("POST", "/api/connectors", connector)
        assert made.status == 200, made

    @classmethod
    def document(cls, number):
        """A document's text, or why there is none."""
        files = glob.glob(os.path.join(cls.options.seeds or "", f"{number}*.txt")) if cls.options.seeds else []
        if not files:
            raise unittest.SkipTest(f"PENSTOCK_SEEDS names no folder with {number}*.txt")
        return Path(files[0]).read_text(encoding="utf-8")

    def record(self, text, among=None):
        """The row of the log with this text, or of the one with this id among them, once it is there."""

        def look():
            rows = self.server.cli_rows("search", "raw", text, "--limit", "1000")
            return [row for row in rows if among is None or row["id"] in among] or None

        rows = until(look, f"{text!r} is not found", 10)
        self.assertEqual(len(rows), 1, rows[:3])
        return rows[0]

    def events(self, record, count=1, kind="udm"):
        """What parsers made of a log, as its row says: complete, and the same at the connector."""
        events = record.get("events", [])
        self.assertEqual([event["kind"] for event in events], [kind] * count, record)
        self.assertEqual([event["ordinal"] for event in events], list(range(count)))
        self.assertEqual({event["parser"] for event in events}, {record["parser"]})

        def arrived():
            elements = self.collector.having(lambda element: element["id"] == record["id"])
            return sorted(elements, key=lambda element: element["ordinal"]) if len(elements) >= count else None

        elements = until(arrived, f"what was made of {record['id']} does not arrive", 10)
        for element, event in zip(elements, events, strict=True):
            self.assertEqual(element["kind"], kind)
            self.assertEqual(element[kind], event[kind])
            self.assertEqual((element["ordinal"], element["parser"]), (event["ordinal"], event["parser"]))
            self.assertEqual(element["event_time"], event["event_time"])
            self.assertEqual((element["instance"], element["log_type"]), (record["instance"], record["log_type"]))
        return [event[kind] for event in events]

    def assert_found(self, record, *queries, more=()):
        """Each query finds the one event of this log, seconds after it was sent."""
        [event] = self.events(record)
        for query in queries:
            rows = until(lambda: self.by_id(query, record["id"], more) or None, f"{query} does not find it", 10)
            self.assertEqual(len(rows), 1, query)
            self.assertEqual(rows[0]["udm"], event, query)
            self.assertEqual((rows[0]["parser"], rows[0]["ordinal"]), (record["parser"], 0), query)
        return event

    def by_id(self, query, record_id, more=()):
        rows = self.server.cli_rows("search", "udm", query, "--limit", "1000", *more)
        return [row for row in rows if row["id"] == record_id]

    def assert_ours(self, record, log_type):
        self.assertEqual(record["log_type"], log_type)
        self.assertRegex(record["parser"], rf"^{log_type}@[0-9a-f]+$")
        self.assertNotIn("issues", record)

    def assert_query_log(self, record, log_type, line):
        """A line of a resolver's query log."""
        self.assert_ours(record, log_type)
        found = line.search(record["text"])
        queries = [
            f'ip = "{found["client"]}"',
            f'principal.ip = "{found["client"]}"',
            f'domain = "{found["name"]}"',
            f'network.dns.questions.name = "{found["name"]}"',
            'metadata.event_type = "NETWORK_DNS"',
            f'ip = "{found["client"]}" and domain = "{found["name"]}" and metadata.log_type = "{log_type}"',
        ]
        server = found.groupdict().get("server")
        event = self.assert_found(record, *queries, *([f'target.ip = "{server}"'] if server else []))
        self.assertEqual(event["network"]["applicationProtocol"], "DNS")
        return event


class Google(Normalised, AsGoogle, unittest.TestCase):
    """Okta's logs by Google's library, BIND's by the Ingestion API as its document has it, and others by the same."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = cls.key_file("admin")
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, cls.environment(cls.admin)))
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, {"NO_PROXY": "", "no_proxy": ""}))
        cls.key = cls.server.api_key()

    @functools.cached_property
    def chronicle(self):
        from secops import SecOpsClient

        return SecOpsClient(service_account_path=str(self.admin)).chronicle(
            customer_id=self.server.customer_id, project_id="harbour", region="us"
        )

    def raw(self, log_type, *texts):
        """Sends logs by the Ingestion API; gives the id of their batch, which is that of the first of them."""
        body = json.dumps({"log_type": log_type, "entries": [{"log_text": text} for text in texts]}).encode()
        reply = self.server.ask("POST", f"{RAW}?key={self.key}", body, {"Content-Type": "application/json"})
        self.assertEqual((reply.status, reply.json()), (200, {}))
        return reply.headers["X-Penstock-Batch"]

    def assert_sign_in(self, record, log):
        self.assert_ours(record, "OKTA")
        who, where = log["actor"]["alternateId"], log["client"]["ipAddress"]
        event = self.assert_found(
            record,
            f'user = "{who}"',
            f'target.user.email_addresses = "{who}"',
            f'ip = "{where}"',
            f'principal.ip = "{where}"',
            'metadata.event_type = "USER_LOGIN"',
            f'metadata.event_type = "USER_LOGIN" and user = "{who}" and ip = "{where}"',
            f'metadata.product_event_type = "{log["eventType"]}"',
        )
        published = datetime.fromisoformat(log["published"].replace("Z", "+00:00"))
        self.assertEqual(time_of(event), published)
        self.assertEqual(event["securityResult"][0]["action"], ["ALLOW" if succeeded(log) else "BLOCK"])

    def test_the_documents_okta_log(self):
        program = re.search(r"^## Log Ingestion$.*?^```python\n(.*?)^```", self.document("000"), re.M | re.S).group(1)
        program = program.replace("your-chronicle-instance-id", self.server.customer_id)
        said = self.run_program(program + "\nprint(json.dumps(okta_log))", credentials=self.admin).splitlines()
        log = json.loads(said[-1])
        self.assert_sign_in(self.record(log["published"]), log)

    def test_okta_logs_of_our_own(self):
        now = datetime.now(timezone.utc)
        for number, result in enumerate(("SUCCESS", "FAILURE")):
            log = {
                "actor": {"type": "User", "displayName": "Tea Novák", "alternateId": f"tea.{number}@harbour.example"},
                "client": {"ipAddress": f"192.0.2.{10 + number}", "userAgent": {"os": "Linux", "browser": "FIREFOX"}},
                "displayMessage": "User login to Okta",
                "eventType": "user.session.start",
                "outcome": {"result": result, **({"reason": "INVALID_CREDENTIALS"} if number else {})},
                "published": rfc3339(now - timedelta(minutes=number)),
            }
            with contextlib.redirect_stdout(None):
                self.chronicle.ingest_log(log_type="OKTA", log_message=json.dumps(log))
            self.assert_sign_in(self.record(log["actor"]["alternateId"]), log)

    def test_the_documents_bind_lines(self):
        self.document("001")
        story = self.sample(sample.DocumentedSample)
        for body in story.raw_bodies():
            batch = story.send(RAW, body)
            [entry] = json.loads(body)["entries"]
            record = self.record(entry["log_text"], {batch})
            event = self.assert_query_log(record, "BIND_DNS", BIND_LINE)
            # Whatever the sender says of the time, the log says it as well, and that of the first event is in the line.
            written = re.match(r"(\S+ \S+) client", record["text"]).group(1)
            written = datetime.strptime(written, "%d-%b-%Y %H:%M:%S.%f").replace(tzinfo=timezone.utc)
            self.assertEqual(time_of(event), written)

    def test_bind_lines_of_our_own(self):
        lines = [
            "01-Mar-2026 08:00:00.250 client 10.20.30.41#4238: query: tides.harbour.example IN A + (192.0.2.53)",
            "01-Mar-2026 08:00:01.000 client 10.20.30.42#1116: query: crane-7.harbour.example IN AAAA +E(0)K",
        ]
        batch = self.raw("BIND_DNS", *lines)
        for line, at in zip(lines, ("2026-03-01T08:00:00.250Z", "2026-03-01T08:00:01Z")):
            record = self.record(line)
            self.assertEqual(record["batch"], batch)
            event = self.assert_query_log(record, "BIND_DNS", BIND_LINE)
            self.assertEqual((record["event_time"], event["metadata"]["eventTimestamp"]), (at, at))
            # Its time is that in the line, so it is found there.
            within = ("--from", "2026-03-01T08:00:00Z", "--to", "2026-03-01T08:01:00Z")
            self.assert_found(record, 'metadata.event_type = "NETWORK_DNS"', more=within)
            self.assertEqual(self.by_id('domain = /harbour/', record["id"], ("--from", "2026-03-01T08:01:00Z")), [])

    def whereabouts(self, batch):
        """Where the connector has each record of a batch, once it has come past it."""

        def look():
            receipt = json.loads(self.server.cli("receipt", batch, "-o", "json"))
            states = [record["connectors"][0]["state"] for record in receipt["records"]]
            return None if "waiting" in states else states

        return until(look, "the connector does not come past it", 10)

    @classmethod
    def sample(cls, base):
        """The sample program's client and bodies, against this server."""
        story = type("Sample", (base,), {"options": cls.options, "server": cls.server, "runTest": None})
        story.load()
        story.sign_in()
        return story()

    def test_entities(self):
        log = {
            "@odata.type": "#microsoft.graph.user",
            "id": "0c4f1b6a-2d7e-4f3b-8a90-5b6c7d8e9f01",
            "userPrincipalName": "vida.larsen@harbour.example",
            "displayName": "Vida Larsen",
            "mail": "vida.larsen@harbour.example",
            "department": "Pilots",
            "userType": "Member",
        }
        self.raw("AZURE_AD_CONTEXT", json.dumps(log))
        record = self.record(log["userPrincipalName"])
        self.assert_ours(record, "AZURE_AD_CONTEXT")
        [entity] = self.events(record, kind="entity")
        self.assertEqual(entity["metadata"]["entityType"], "USER")
        for query in (
            f'entity.user.email_addresses = "{log["mail"]}"',
            f'entity.user.product_object_id = "{log["id"]}"',
            f'metadata.entity_type = "USER" and entity.user.user_display_name = "{log["displayName"]}"',
        ):
            rows = self.by_id(query, record["id"])
            self.assertEqual([row["entity"] for row in rows], [entity], query)
            self.assertEqual((rows[0]["kind"], rows[0]["parser"]), ("entity", record["parser"]))

    def test_what_no_parser_reads_is_a_generic_event(self):
        self.server.cli("log-type", "add", "HARBOUR_LOCK")
        lines = {
            "<86>Mar  1 08:00:00 lock-3 gate[12]: opened by 192.0.2.61": 'principal.hostname = "lock-3"',
            '{"time": "2026-03-01T08:00:00Z", "src_ip": "192.0.2.61", "msg": "closed"}': 'ip = "192.0.2.61"',
            "just words: the tide is high": 'metadata.description = "just words: the tide is high"',
        }
        self.raw("HARBOUR_LOCK", *lines)
        for line, query in lines.items():
            with self.subTest(line):
                record = self.record(line)
                self.assertEqual(record["parser"], "generic")
                self.assertNotIn("issues", record)
                of_type = 'metadata.event_type = "GENERIC_EVENT" and metadata.log_type = "HARBOUR_LOCK"'
                event = self.assert_found(record, of_type, query)
                self.assertNotIn("productName", event["metadata"])

    def test_a_log_that_cannot_be_read_says_why(self):
        good = {"eventType": "user.session.start", "actor": {"alternateId": "beside@harbour.example"}}
        broken = '{"eventType": "user.session.start", "actor": {"alternateId": "half@harbour'
        batch = self.raw("OKTA", json.dumps(good), broken)
        record = self.record("half@harbour")
        self.assertEqual(record["batch"], batch)
        self.assertRegex(record["parser"], r"^OKTA@[0-9a-f]+$")
        self.assertNotIn("events", record)
        [issue] = record["issues"]
        self.assertEqual(issue["field"], "message")
        self.assertRegex(issue["message"], r"^not parsed: .*json.*\(line \d+, column \d+ of OKTA@[0-9a-f]+\)$")
        # The one beside it is none the worse.
        self.assert_found(self.record("beside@harbour"), 'user = "beside@harbour.example"')
        self.assertEqual(self.server.cli_rows("search", "udm", 'user = /half@/'), [])

        failures = json.loads(self.server.cli("parser", "failures", "--log-type", "OKTA", "-o", "json"))
        [failure] = [one for one in failures["failures"] if one["id"] == record["id"]]
        self.assertEqual((failure["parser"], failure["why"], failure["field"]), (record["parser"], "failed", "message"))
        place = re.search(r"\(line (\d+), column (\d+) of", issue["message"])
        self.assertEqual((failure["line"], failure["column"]), tuple(map(int, place.groups())))
        self.assertIn(failure["message"], issue["message"])
        [counted] = [one for one in failures["parsers"] if one["parser"] == record["parser"]]
        self.assertGreaterEqual(counted["failed"], 1)
        self.assertGreaterEqual(counted["parsed"], 1)
        page = self.server.cli("parser", "failures")
        self.assertIn(record["id"], page)
        self.assertIn(failure["message"], page)

        receipt = json.loads(self.server.cli("receipt", batch, "-o", "json"))
        read, failed = [one["parsing"] for one in receipt["records"]]
        self.assertEqual((read["state"], read["events"], read["parser"]), ("parsed", 1, record["parser"]))
        self.assertEqual((failed["state"], failed["events"], failed["parser"]), ("failed", 0, record["parser"]))
        self.assertIn(failure["message"], failed["reason"])
        self.assertIn(failure["message"], self.server.cli("receipt", record["id"]))
        # A connector of events has nothing to do with a log that gave none.
        self.assertEqual(self.whereabouts(batch), ["delivered", "not selected"])

        # The statement that failed is the last one that ran, and the command says so by its status.
        trace = self.server.cli("parser", "failures", "--trace", record["id"], status=1)
        self.assertIn(f"{failure['line']}:{failure['column']}", trace)
        self.assertIn("json {", trace)
        self.assertIn("! failed", trace)
        self.assertEqual(self.collector.having(lambda element: element["id"] == record["id"]), [])


class Sekoia(Normalised, AsSekoia, unittest.TestCase):
    """Unbound's lines by Sekoia's intake, as its document sends them."""

    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        super().setUpClass()
        cls.unbound = cls.intake("unbound", "UNBOUND_DNS")

    def test_the_documents_lines(self):
        story = types.SimpleNamespace(server=self.server, resolver=self.unbound, foreign=self.unbound)
        programs = sekoia_docs.examples(self.document("002"))
        sent, paths = {}, set()
        for program in programs:
            names, _ = sekoia_docs.Documented.run_program(story, program)
            answer = names["response"].json()
            texts = [text for text, *_ in sekoia_docs.Documented.events(story, names)]
            sent.update(zip(answer.get("event_ids") or [answer["event_id"]], texts, strict=True))
            paths.add(sekoia_docs.path_of(program))
        self.assertLessEqual({"/plain", "/plain/batch", "/jsons", "/array", "/batch", "/"}, paths)
        lines = {one: text for one, text in sent.items() if UNBOUND_LINE.search(text) or "info:" in text}
        self.assertGreater(len(lines), 10)
        self.server.wait_stored()
        # The same few lines come by every path: once each is looked at closely, and all have their event.
        for text in sorted(set(lines.values())):
            ids = {one for one, line in lines.items() if line == text}
            self.assert_line(self.record(text, {min(ids)}), text)
            rows = [row for row in self.server.cli_rows("search", "raw", text, "--limit", "1000") if row["id"] in ids]
            self.assertEqual({row["id"] for row in rows}, ids)
            for row in rows:
                self.events(row)

    def test_lines_of_our_own(self):
        import requests

        lines = [
            "[764008:0] info: 198.51.100.61 tides.harbour.example. A IN",
            "[2:0] info: 2.34.100.62 crane-7.harbour.example. AAAA IN",
        ]
        headers = {"X-SEKOIAIO-INTAKE-KEY": self.unbound["intake_key"]}
        for path, how in (("/plain", {"data": lines[0]}), ("/jsons", {"json": lines[1:]})):
            answer = requests.post(self.server.url + path, headers=headers, timeout=60, **how)
            self.assertEqual(answer.status_code, 202, answer.text)
            said = answer.json()
            [one] = said.get("event_ids") or [said["event_id"]]
            line = lines.pop(0)
            self.assert_line(self.record(line, {one}), line)

    def assert_line(self, record, line):
        self.assertEqual(record["text"], line)
        self.assertEqual(record["feed"], f"intakes/{self.unbound['id']}")
        self.assert_query_log(record, "UNBOUND_DNS", UNBOUND_LINE)


class Oci(Normalised, AsOci, unittest.TestCase):
    """Audit and flow logs as those of the lab: made by what is done there, and put by Oracle's own command."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.compartment = json.loads(cls.server.cli("oci", "compartment", "create", "lab", "-o", "json"))["id"]

    def test_flow_logs(self):
        group = self.make_group("flows")
        log = self.make_log(group, "of-the-subnet", flows_of="ocid1.subnet.oc1.us-ashburn-1.lab")
        for action, port in (("ACCEPT", 22), ("REJECT", 3389)):
            seen = flow("132.145.1.2", "10.0.2.121", port, action)
            [one] = self.put(log, [seen], kind=FLOW, source="-", by_command=True)
            record = self.record(one)
            self.assert_ours(record, "OCI_FLOW")
            event = self.assert_found(
                record,
                'ip = "132.145.1.2"',
                'principal.ip = "132.145.1.2" and target.ip = "10.0.2.121"',
                f"target.port = {port}",
                'metadata.event_type = "NETWORK_CONNECTION"',
                f'metadata.product_log_id = "{one}"',
            )
            self.assertEqual(event["securityResult"][0]["action"], ["ALLOW" if action == "ACCEPT" else "BLOCK"])

    def test_audit_logs(self):
        instance = "compute-for-log-test"
        made = self.server.cli("demo", "oci", "reboot", "--name", instance, "--compartment", "lab", "-o", "json")
        ids = [record["id"] for record in json.loads(made)["records"]]
        self.assertEqual(len(ids), 2)
        for one in ids:
            record = self.record(one)
            self.assert_ours(record, "OCI_AUDIT")
            identity = json.loads(record["text"])["data"]["identity"]
            self.assert_found(
                record,
                f'user = "{identity["principalName"]}"',
                f'ip = "{identity["ipAddress"]}"',
                f'target.resource.name = "{instance}"',
                'metadata.event_type = "USER_RESOURCE_UPDATE_CONTENT"',
                'metadata.product_event_type = "InstanceAction"',
            )

    def test_audit_events_that_are_put(self):
        """Of a machine that could not be made."""
        data = {
            "eventName": "LaunchInstance",
            "compartmentName": "lab",
            "identity": {
                "authType": "natv",
                "principalName": "tea.novak@harbour.example",
                "principalId": "ocid1.user.oc1..tea",
                "ipAddress": "192.0.2.71",
                "userAgent": "Oracle-PythonSDK/2.189.0",
            },
            "request": {"action": "POST", "path": "/20160918/instances", "id": "r1/r2/r3"},
            "response": {"status": "404", "responseTime": "2026-03-01T08:00:00.250Z"},
            "message": "crane-7 LaunchInstance failed",
        }
        kind = "com.oraclecloud.ComputeApi.LaunchInstance"
        [one] = self.put("_Audit", [data], kind=kind, source="crane-7", by_command=True)
        record = self.record(one)
        self.assert_ours(record, "OCI_AUDIT")
        event = self.assert_found(
            record,
            'user = "tea.novak@harbour.example"',
            'principal.user.email_addresses = "tea.novak@harbour.example"',
            'ip = "192.0.2.71"',
            'target.resource.name = "crane-7"',
            'metadata.product_event_type = "LaunchInstance"',
        )
        self.assert_found(record, f'metadata.event_type = "{event["metadata"]["eventType"]}"')
        self.assertIn(event["securityResult"][0]["action"], (["BLOCK"], ["FAIL"]))


def time_of(event):
    return datetime.fromisoformat(event["metadata"]["eventTimestamp"].replace("Z", "+00:00"))


def succeeded(log):
    return log["outcome"]["result"] == "SUCCESS"
