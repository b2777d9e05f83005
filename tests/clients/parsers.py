"""Parsers through Google's `secops` library and command, and through our own command without a server: the same
programs on the same logs make the same events, and fail with the same words.
"""

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
