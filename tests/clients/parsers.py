"""Parsers through Google's `secops` library and command, and through our own command without a server: the same
programs on the same logs make the same events, and fail with the same words. Then parsers that are kept: made, tried,
activated and taken back by the library, and what the stream makes of the logs that it sends.
"""

import base64
import collections
import concurrent.futures
import contextlib
import functools
import json
import os
import subprocess
import threading
import unittest
import unittest.mock

from as_google import AsGoogle, console_script

COMMAND = console_script("secops.cli:main")

# Sign-ins of a made-up product. Fails where there is no user, drops what is no JSON, makes an entity of some.
PARSER = r"""
filter {
  mutate { replace => { "user" => "" "from" => "" "kind" => "" } }
  json { source => "message" on_error => "not_json" }
  if [not_json] {
    drop { tag => "TAG_MALFORMED_ENCODING" }
  }
  statedump { label => "read" }
  mutate {
    replace => {
      "event.idm.read_only_udm.metadata.vendor_name" => "Harbour"
      "event.idm.read_only_udm.metadata.product_name" => "Gate"
      "event.idm.read_only_udm.metadata.event_type" => "USER_LOGIN"
      "event.idm.read_only_udm.extensions.auth.type" => "SSO"
    }
  }
  date {
    match => ["at", "ISO8601"]
    target => "event.idm.read_only_udm.metadata.event_timestamp"
    on_error => "no_time"
  }
  if [kind] == "profile" {
    mutate {
      replace => {
        "who.idm.entity.metadata.entity_type" => "USER"
        "who.idm.entity.entity.user.userid" => "%{user}"
      }
    }
    mutate { merge => { "@output" => "who" } }
  } else {
    if [user] == "" {
      mutate { replace => { "event.idm.read_only_udm.target.user.userid" => "%{nobody}" } }
    }
    mutate { replace => { "event.idm.read_only_udm.target.user.userid" => "%{user}" } }
    if [from] != "" {
      grok {
        match => { "from" => "%{IP:address}" }
        on_error => "no_address"
      }
      mutate { merge => { "event.idm.read_only_udm.principal.ip" => "address" } on_error => "not_merged" }
    }
    mutate { merge => { "@output" => "event" } }
  }
}
"""

EXTENSION = r"""
filter {
  mutate { replace => { "event.idm.read_only_udm.metadata.product_version" => "7" } }
  mutate { merge => { "@output" => "event" } }
}
"""

LOGS = [
    '{"user": "tea.novak", "from": "192.0.2.7:443", "at": "2026-03-01T08:00:00.250Z"}',
    '{"user": "☃", "at": "2026-03-01T08:00:01Z"}',
    '{"from": "192.0.2.8", "at": "2026-03-01T08:00:02Z"}',
    "no JSON at all",
    '{"kind": "profile", "user": "tea.novak"}',
]


class Parsers(AsGoogle, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.reader = cls.key_file("read")
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, cls.environment(cls.reader)))
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, {"NO_PROXY": "", "no_proxy": ""}))
        cls.parser = cls.written("gate.conf", PARSER)
        cls.logs = cls.written("gate.log", "\n".join(LOGS) + "\n")

    @property
    def chronicle(self):
        from secops import SecOpsClient

        return SecOpsClient(service_account_path=str(self.reader)).chronicle(
            customer_id=self.server.customer_id, project_id="harbour", region="us"
        )

    def here(self, parser, logs, *more):
        """What our own command says, without a server: a list of events or the words of an error for each log."""
        command = [self.server.options.binary, "parser", "run", str(parser), str(logs), "-o", "ndjson"]
        command += ["--log-type", "HARBOUR_GATE", *more]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env={"PATH": os.environ["PATH"]})
        self.assertIn(ran.returncode, (0, 1), ran.stderr)
        found = []
        for line in map(json.loads, ran.stdout.splitlines()):
            if "dropped" in line:
                found.append(f'LOG_PARSING_DROPPED_BY_FILTER: "{line["dropped"]}"')
            elif "error" in line:
                found.append(line["error"]["message"])
            else:
                found.append([bare(event) for event in line["events"]])
        return found

    def through(self, **how):
        """What Google's library says, in the same form."""
        answer = self.chronicle.run_parser(
            log_type="HARBOUR_GATE", parser_code=PARSER, parser_extension_code=how.pop("extension", None), logs=LOGS, **how
        )
        return [
            result["error"]["message"] if "error" in result else [timeless(event) for event in result["parsedEvents"]["events"]]
            for result in answer["runParserResults"]
        ]

    def test_the_library_and_the_command_say_the_same(self):
        here, there = self.here(self.parser, self.logs), self.through()
        self.assertEqual(here, there)
        self.assertEqual(len(here), len(LOGS))
        [event] = here[0]
        self.assertEqual(event["event"]["principal"], {"asset": {"ip": ["192.0.2.7"]}, "ip": ["192.0.2.7"]})
        self.assertIn('source field \\"nobody\\": field not set', here[2].replace('"nobody"', '\\"nobody\\"'))
        self.assertIn("TAG_MALFORMED_ENCODING", here[3])
        self.assertEqual(here[4][0]["entity"]["entity"], {"user": {"userid": "tea.novak"}})

    def test_an_extension_is_laid_over_the_events(self):
        plain, extended = self.through(), self.through(extension=EXTENSION)
        for before, after in zip(plain, extended):
            if isinstance(before, list) and "event" in before[0]:
                self.assertEqual(after[0]["event"]["metadata"].pop("productVersion"), "7")
            self.assertEqual(before, after)
        path = self.written("more.conf", EXTENSION)
        self.assertEqual(self.here(self.parser, self.logs, "--extension", str(path)), self.through(extension=EXTENSION))

    def test_statedumps_come_in_the_form_that_the_library_takes_apart(self):
        answer = self.chronicle.run_parser(
            log_type="HARBOUR_GATE",
            parser_code=PARSER,
            parser_extension_code=None,
            logs=LOGS[:1],
            statedump_allowed=True,
            parse_statedump=True,
        )
        [dump] = answer["runParserResults"][0]["statedumpResults"]
        self.assertIn("label=read", dump["statedumpResult"]["info"])
        self.assertEqual(dump["statedumpResult"]["state"]["user"], "tea.novak")

    def test_a_program_that_cannot_be_read_is_refused_with_its_place(self):
        from secops.exceptions import APIError

        with self.assertRaises(APIError) as refused:
            self.chronicle.run_parser(
                log_type="HARBOUR_GATE", parser_code='filter {\n  grok { match => { "message" => "%{IPP:x}" } }\n}',
                parser_extension_code=None, logs=["x"],
            )
        self.assertIn("line 2", str(refused.exception))

    def test_googles_command_runs_it(self):
        arguments = ["--customer-id", self.server.customer_id, "--project-id", "harbour", "--region", "us"]
        arguments += ["parser", "run", "--log-type", "HARBOUR_GATE"]
        arguments += ["--parser-code-file", str(self.parser), "--logs-file", str(self.logs)]
        said = self.run_program(COMMAND, "--service-account", str(self.reader), *arguments)
        self.assertIn("tea.novak", said)


class KeptParsers(AsGoogle, unittest.TestCase):
    """What the library does with parsers on a tenant of Google's, in the order in which its own tests do it."""

    LOG_TYPE = "HARBOUR_GATE"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.cli("log-type", "add", cls.LOG_TYPE)
        cls.admin = cls.key_file("admin")
        cls.reader = cls.key_file("read")
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, cls.environment(cls.admin)))
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, {"NO_PROXY": "", "no_proxy": ""}))

    def as_(self, key_file):
        from secops import SecOpsClient

        return SecOpsClient(service_account_path=str(key_file)).chronicle(
            customer_id=self.server.customer_id, project_id="harbour", region="us"
        )

    @property
    def chronicle(self):
        return self.as_(self.admin)

    def send(self, user):
        """A sign-in of this user; gives its event once the stream has made one."""
        log = json.dumps({"user": user, "from": "192.0.2.7", "at": "2026-03-01T08:00:00Z"})
        with contextlib.redirect_stdout(None):
            self.chronicle.ingest_log(log_type=self.LOG_TYPE, log_message=log)
        self.server.wait_stored()
        return self.server.search("udm", f'target.user.userid = "{user}"')[0]

    def test_a_parsers_life(self):
        from secops.exceptions import APIError

        chronicle = self.chronicle
        self.assertEqual(self.send("before"), [])
        made = chronicle.create_parser(self.LOG_TYPE, PARSER, validated_on_empty_logs=True)
        parser = made["name"].split("/")[-1]
        self.assertEqual((made["type"], made["state"], made["validationStage"]), ("CUSTOM", "INACTIVE", "PASSED"))
        found = chronicle.get_parser(self.LOG_TYPE, parser)
        self.assertEqual(base64.b64decode(found["cbn"]).decode(), PARSER)
        self.assertEqual(self.send("made"), [], "it reads nothing before it is activated")

        self.assertEqual(chronicle.activate_parser(self.LOG_TYPE, parser), {})
        [row] = self.send("active")
        self.assertEqual(row["udm"]["metadata"]["vendorName"], "Harbour")
        active = chronicle.list_parsers(self.LOG_TYPE, filter="STATE=ACTIVE")
        self.assertEqual([one["name"] for one in active], [made["name"]])

        # The copy is another one with the same program; what is in use is not deleted by a slip.
        copied = chronicle.copy_parser(self.LOG_TYPE, parser)
        self.assertEqual(copied["cbn"], found["cbn"])
        with self.assertRaises(APIError) as refused:
            chronicle.delete_parser(self.LOG_TYPE, parser)
        self.assertIn("FAILED_PRECONDITION", str(refused.exception))
        chronicle.activate_release_candidate_parser(self.LOG_TYPE, copied["name"].split("/")[-1])
        self.assertEqual(len(self.send("copy")), 1)

        chronicle.deactivate_parser(self.LOG_TYPE, copied["name"].split("/")[-1])
        self.assertEqual(self.send("after"), [])
        for one in (parser, copied["name"].split("/")[-1]):
            self.assertEqual(chronicle.delete_parser(self.LOG_TYPE, one, force=True), {})
        self.assertEqual(chronicle.list_parsers(self.LOG_TYPE), [])
        self.assertEqual(len(self.server.search("udm", 'target.user.userid = "active"')[0]), 1)

    def test_an_extensions_life(self):
        from secops.exceptions import APIError

        chronicle = self.chronicle
        parser = chronicle.create_parser(self.LOG_TYPE, PARSER, True)["name"].split("/")[-1]
        chronicle.activate_parser(self.LOG_TYPE, parser)
        made = chronicle.create_parser_extension(self.LOG_TYPE, log=LOGS[0], parser_config=EXTENSION)
        extension = made["name"].split("/")[-1]
        found = chronicle.get_parser_extension(self.LOG_TYPE, extension)
        self.assertEqual(found["state"], "VALIDATED")
        self.assertEqual(base64.b64decode(found["log"]).decode(), LOGS[0])
        listed = chronicle.list_parser_extensions(self.LOG_TYPE)["parserExtensions"]
        self.assertEqual([one["name"] for one in listed], [made["name"]])
        chronicle.activate_parser_extension(self.LOG_TYPE, extension)
        self.assertEqual(chronicle.get_parser_extension(self.LOG_TYPE, extension)["state"], "LIVE")
        [row] = self.send("extended")
        self.assertEqual(row["udm"]["metadata"]["productVersion"], "7")
        chronicle.delete_parser_extension(self.LOG_TYPE, extension)
        with self.assertRaises(APIError):
            chronicle.get_parser_extension(self.LOG_TYPE, extension)
        [row] = self.send("plain")
        self.assertNotIn("productVersion", row["udm"]["metadata"])
        chronicle.delete_parser(self.LOG_TYPE, parser, force=True)

        for described in ({"field_extractors": {"extractors": []}}, {"dynamic_parsing": {"opted_fields": []}}):
            with self.assertRaises(APIError) as refused:
                chronicle.create_parser_extension(self.LOG_TYPE, **described)
            self.assertIn("send a program in cbn_snippet", str(refused.exception))

    def test_what_is_refused_says_why(self):
        from secops.exceptions import APIError

        for call, words in [
            (lambda: self.chronicle.create_parser(self.LOG_TYPE, "filter {\n  grk { }\n}", True), "line 2, column 3"),
            (lambda: self.chronicle.create_parser("NO_SUCH_LOG_TYPE", PARSER, True), "unknown log type"),
            (lambda: self.chronicle.get_parser(self.LOG_TYPE, "pa_1"), "There is no parser"),
            (lambda: self.as_(self.reader).create_parser(self.LOG_TYPE, PARSER, True), "PERMISSION_DENIED"),
        ]:
            with self.assertRaises(APIError) as refused:
                call()
            self.assertIn(words, str(refused.exception))

    def test_ours_are_there_to_be_copied(self):
        reader = self.as_(self.reader)
        [ours] = reader.list_parsers("OKTA", filter="STATE=ACTIVE")
        self.assertEqual((ours["type"], ours["state"]), ("PREBUILT", "ACTIVE"))
        [candidate] = reader.fetch_parser_candidates("OKTA", "CLONE_PREBUILT")
        self.assertEqual(candidate["name"], ours["name"])
        self.assertIn(ours["name"], [one["name"] for one in reader.list_parsers()])

    def test_keys_and_values_of_a_log(self):
        log = json.dumps({"events": [{"id": "123", "user": "tea"}, {"id": "231"}]})
        answer = self.as_(self.reader).generate_udm_key_value_mappings(
            log_format="JSON", log=log, use_array_bracket_notation=True, compress_array_fields=False
        )
        self.assertEqual(
            answer["fieldMappings"], {"events[0].id": "123", "events[0].user": "tea", "events[1].id": "231"}
        )

    def test_googles_command_manages_them(self):
        where = ["--service-account", str(self.admin), "--customer-id", self.server.customer_id]
        where += ["--project-id", "harbour", "--region", "us"]
        program = self.written("kept.conf", PARSER)
        created = json.loads(self.run_program(
            COMMAND, *where, "parser", "create", "--log-type", self.LOG_TYPE, "--parser-code-file", str(program),
            "--validated-on-empty-logs",
        ))
        parser = created["name"].split("/")[-1]
        self.run_program(COMMAND, *where, "parser", "activate", "--log-type", self.LOG_TYPE, "--id", parser)
        listed = json.loads(self.run_program(COMMAND, *where, "parser", "list", "--log-type", self.LOG_TYPE))
        self.assertEqual([(one["name"], one["state"]) for one in listed], [(created["name"], "ACTIVE")])
        self.run_program(COMMAND, *where, "parser", "delete", "--log-type", self.LOG_TYPE, "--id", parser, "--force")

    def test_our_command_deploys_what_the_library_sees(self):
        program = self.written("deployed.conf", PARSER)
        said = self.server.cli("parser", "deploy", "--log-type", self.LOG_TYPE, str(program), "-o", "json")
        [row] = json.loads(said)
        self.assertEqual(row["change"], "activated")
        [active] = self.chronicle.list_parsers(self.LOG_TYPE, filter="STATE=ACTIVE")
        self.assertTrue(active["name"].endswith(row["id"]))
        self.server.cli("parser", "rollback", "--log-type", self.LOG_TYPE)
        self.assertEqual(self.chronicle.list_parsers(self.LOG_TYPE, filter="STATE=ACTIVE"), [])
        self.chronicle.delete_parser(self.LOG_TYPE, row["id"])


class Switched(AsGoogle, unittest.TestCase):
    """A parser and an extension of one's own for logs that ours reads: what comes next is read by what is in use, and
    what is stored is read again when somebody asks for it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = cls.key_file("admin")
        cls.key = cls.server.api_key()
        cls.server.cli("log-type", "add", "HARBOUR_GATE")
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, cls.environment(cls.admin)))
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, {"NO_PROXY": "", "no_proxy": ""}))

    @functools.cached_property
    def chronicle(self):
        from secops import SecOpsClient

        return SecOpsClient(service_account_path=str(self.admin)).chronicle(
            customer_id=self.server.customer_id, project_id="harbour", region="us"
        )

    @staticmethod
    def log(user):
        """A sign-in as Okta tells of it, with beside it what our parser above wants."""
        return json.dumps({
            "eventType": "user.session.start", "outcome": {"result": "SUCCESS"}, "published": "2026-03-01T08:00:00Z",
            "actor": {"alternateId": f"{user}@harbour.example"}, "client": {"ipAddress": "192.0.2.7"},
            "user": user, "from": "192.0.2.7", "at": "2026-03-01T08:00:00Z",
        })

    def ingest(self, user):
        with contextlib.redirect_stdout(None):
            self.chronicle.ingest_log(log_type="OKTA", log_message=self.log(user))

    def ingest_many(self, users):
        """By the older API, in one request."""
        body = json.dumps({"log_type": "OKTA", "entries": [{"log_text": self.log(user)} for user in users]}).encode()
        path = f"/v2/unstructuredlogentries:batchCreate?key={self.key}"
        reply = self.server.ask("POST", path, body, {"Content-Type": "application/json"})
        self.assertEqual(reply.status, 200, reply)

    def found(self, query, count, prefix):
        """Whose events a query finds once everything is stored: as many, and each once."""
        self.server.wait_stored()
        rows = self.server.search("udm", query, limit=100_000, log_types=["OKTA"])[0]
        rows = [row for row in rows if user_of(row).startswith(prefix)]
        self.assertEqual((len(rows), len({user_of(row) for row in rows})), (count, count), query)
        return rows

    def made(self):
        """Our program above as a parser that is kept for the test."""
        made = self.chronicle.create_parser("OKTA", PARSER, validated_on_empty_logs=True)
        parser = made["name"].split("/")[-1]
        self.addCleanup(self.chronicle.delete_parser, "OKTA", parser, force=True)
        return parser

    def reparse(self, *how):
        return json.loads(self.server.cli("parser", "reparse", "--log-type", "OKTA", *how, "-o", "json"))

    # Fields that only our program above sets, and only the parser that comes with the server.
    GATES = 'metadata.vendor_name = "Harbour" and metadata.product_name = "Gate"'
    OURS = 'metadata.vendor_name = "Okta" and metadata.product_event_type = "user.session.start"'

    def test_the_next_log_is_read_by_what_is_in_use(self):
        chronicle = self.chronicle
        self.ingest("switch-0")
        [row] = self.found(self.OURS, 1, "switch-")
        shipped = row["parser"]
        self.assertTrue(shipped.startswith("OKTA@"), shipped)

        parser = self.made()
        self.ingest("switch-1")
        self.found(self.OURS, 2, "switch-")
        chronicle.activate_parser("OKTA", parser)
        self.ingest("switch-2")
        [row] = self.found(self.GATES, 1, "switch-")
        self.assertEqual((user_of(row), row["parser"]), ("switch-2", parser))
        self.assertNotIn("productVersion", row["udm"]["metadata"])
        self.found(self.OURS, 2, "switch-")

        made = chronicle.create_parser_extension("OKTA", log=self.log("sample"), parser_config=EXTENSION)
        extension = made["name"].split("/")[-1]
        chronicle.activate_parser_extension("OKTA", extension)
        self.ingest("switch-3")
        [row] = self.found('metadata.product_version = "7"', 1, "switch-")
        self.assertEqual((user_of(row), row["parser"]), ("switch-3", f"{parser}+{extension}"))
        self.found(self.GATES, 2, "switch-")

        # Ours is back, and the extension adds to what that makes, too.
        chronicle.deactivate_parser("OKTA", parser)
        self.ingest("switch-4")
        rows = self.found('metadata.product_version = "7"', 2, "switch-")
        self.assertIn(("switch-4", f"{shipped}+{extension}"), [(user_of(row), row["parser"]) for row in rows])
        chronicle.delete_parser_extension("OKTA", extension)
        self.ingest("switch-5")
        rows = self.found(self.OURS, 4, "switch-")
        self.assertIn(("switch-5", shipped), [(user_of(row), row["parser"]) for row in rows])

    def test_stored_logs_are_read_again_while_others_come(self):
        chronicle = self.chronicle
        older = 3_000
        for first in range(0, older, 500):
            self.ingest_many(f"again-old-{number}" for number in range(first, first + 500))
        shipped = self.found(self.OURS, older, "again-")[0]["parser"]

        parser = self.made()
        chronicle.activate_parser("OKTA", parser)
        with Sending(self.ingest, "again-new-") as sending:
            sending.wait_for(3)
            sent = sending.sent
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                reparse = pool.submit(self.reparse)
                seen = [self.readers_of_older()]
                while not reparse.done():
                    seen.append(self.readers_of_older())
                done = reparse.result()
            seen.append(self.readers_of_older())
            during = sending.sent - sent
            sending.wait_for(3)
        # Whoever looked meanwhile saw each log's event once, all of them the old ones or all the new ones.
        ours, gates = {shipped: older}, {parser: older}
        self.assertEqual([one for one in seen if one not in (ours, gates)], [])
        self.assertEqual((seen[0], seen[-1]), (ours, gates))
        everything = older + sending.sent
        self.assertEqual((done["parser"], done["failed"]), (parser, 0))
        self.assertGreaterEqual(done["records"], older)
        self.assertEqual(done["events"], done["records"])
        self.assertEqual(done["events_before"], done["events"], "each had one, and has one")
        counts = f"{done['records']} logs were read again, {during} came and {len(seen)} searches ran meanwhile"
        print(f"        {counts}", flush=True)
        rows = self.found(self.GATES, everything, "again-")
        self.assertEqual({row["parser"] for row in rows}, {parser})
        # Of the old ones nothing is left, and each log shows the new one.
        self.found(self.OURS, 0, "again-")
        rows = self.server.search("raw", '"again-', limit=100_000, events=True)[0]
        self.assertEqual(len(rows), everything)
        for row in rows:
            self.assertEqual((row["parser"], [event["parser"] for event in row["events"]]), (parser, [parser]))

        # Only those that were received in a time; the others keep what they have.
        chronicle.deactivate_parser("OKTA", parser)
        newest = max(rows, key=lambda row: row["received_at"])
        oldest = min(rows, key=lambda row: row["received_at"])
        of_first = [row for row in rows if row["batch"] == oldest["batch"]]
        self.assertEqual(self.reparse("--from", newest["received_at"])["records"], 1)
        self.found(self.OURS, 1, "again-")
        second = min(row["received_at"] for row in rows if row["received_at"] > oldest["received_at"])
        done = self.reparse("--to", second)
        self.assertGreaterEqual(done["records"], len(of_first))
        self.found(self.OURS, 1 + len(of_first), "again-")
        self.found(self.GATES, everything - 1 - len(of_first), "again-")

    def readers_of_older(self):
        """By which parsers the older logs have events now, and how many."""
        rows = self.server.search("udm", f"({self.GATES}) or ({self.OURS})", limit=100_000, log_types=["OKTA"])[0]
        events = {(user_of(row), row["parser"]) for row in rows if user_of(row).startswith("again-old-")}
        self.assertEqual(len(events), sum(user_of(row).startswith("again-old-") for row in rows), "none is there twice")
        return dict(collections.Counter(parser for _, parser in events))

    def test_logs_that_failed_get_events_once_the_parser_is_mended(self):
        # Of a log without a user our program above makes nothing, since it reads a field that nobody set.
        stops = 'mutate { replace => { "event.idm.read_only_udm.target.user.userid" => "%{nobody}" } }'
        self.assertIn(stops, PARSER)
        mended = PARSER.replace(stops, 'mutate { replace => { "user" => "somebody" } }')
        programs = [self.written(f"{name}.conf", text) for name, text in (("broken", PARSER), ("mended", mended))]
        deploy = ("parser", "deploy", "--log-type", "HARBOUR_GATE", "--no-activate", "-o", "json")
        broken, mended = [json.loads(self.server.cli(*deploy, str(path)))[0]["id"] for path in programs]
        log = '{"from": "192.0.2.9", "at": "2026-03-01T08:00:00Z", "note": "mend-0"}'
        self.server.cli("parser", "activate", broken)
        with contextlib.redirect_stdout(None):
            self.chronicle.ingest_log(log_type="HARBOUR_GATE", log_message=log)
        self.server.wait_stored()
        [failure] = self.failures()
        [row] = self.server.search("raw", "mend-0", events=True)[0]
        self.assertEqual((row["id"], row["parser"], row.get("events")), (failure["id"], broken, None))

        self.server.cli("parser", "activate", mended)
        done = json.loads(self.server.cli("parser", "reparse", "--log-type", "HARBOUR_GATE", "-o", "json"))
        told = {key: done[key] for key in ("records", "events_before", "events", "failed", "parser")}
        self.assertEqual(told, {"records": 1, "events_before": 0, "events": 1, "failed": 0, "parser": mended})
        [row] = self.server.search("raw", "mend-0", events=True)[0]
        self.assertNotIn("issues", row)
        self.assertEqual((row["parser"], [event["parser"] for event in row["events"]]), (mended, [mended]))
        self.assertEqual(self.failures(), [])
        [found] = self.server.search("udm", 'target.user.userid = "somebody"')[0]
        self.assertEqual(found["id"], row["id"])

    def failures(self):
        said = self.server.cli("parser", "failures", "--log-type", "HARBOUR_GATE", "-o", "json")
        return json.loads(said)["failures"]


class Sending:
    """Sends one log after the other in a thread, for as long as the block lasts."""

    def __init__(self, send, prefix):
        self.send, self.prefix = send, prefix
        self.sent = 0
        self.error = None
        self.over = threading.Event()
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            while not self.over.is_set():
                self.send(f"{self.prefix}{self.sent}")
                with self.changed:
                    self.sent += 1
                    self.changed.notify_all()
        except Exception as error:
            self.error = error

    def wait_for(self, more):
        """Until so many more were sent."""
        with self.changed:
            wanted = self.sent + more
            if not self.changed.wait_for(lambda: self.sent >= wanted or self.error, 60) or self.error:
                raise AssertionError(f"only {self.sent} were sent") from self.error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(60)
        if self.error:
            raise self.error


def user_of(row):
    """Whose sign-in an event is, whoever made it: ours has an address, the other a name."""
    user = row["udm"]["target"]["user"]
    return (user.get("userid") or user["emailAddresses"][0]).removesuffix("@harbour.example")


def bare(event):
    """An element of Google's files of expected events as its API has it."""
    idm = event["event"]["idm"]
    return timeless({"entity": idm["entity"]} if "entity" in idm else {"event": idm["readOnlyUdm"]})


def timeless(event):
    """Without the times that are those of the run."""
    for metadata in [value.get("metadata", {}) for value in event.values()]:
        for key in ("collectedTimestamp", "interval"):
            metadata.pop(key, None)
        if metadata.get("eventTimestamp", "").startswith("2026-03-01") is False:
            metadata.pop("eventTimestamp", None)
    return event
