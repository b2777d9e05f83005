"""Parsers through Google's `secops` library and command, and through our own command without a server: the same
programs on the same logs make the same events, and fail with the same words. Then parsers that are kept: made, tried,
activated and taken back by the library, and what the stream makes of the logs that it sends.
"""

import base64
import json
import os
import subprocess
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
