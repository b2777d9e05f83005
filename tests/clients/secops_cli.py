"""Google's `secops` command, as it comes from PyPI, against a server in Google's place.

Each call is a process of its own with the settings that its user would give it. What it prints is read, its exit status
is checked, and what it sent is looked up.
"""

import json
import unittest
from collections import Counter
from datetime import datetime, timezone

from as_google import AsGoogle, console_script

COMMAND = console_script("secops.cli:main")


class SecOpsCommand(AsGoogle, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = cls.key_file("admin")
        cls.customer = cls.server.customer_id

    def secops(self, *arguments, status=0, customer=None, version="v1alpha"):
        """Runs the command; gives what it prints."""
        settings = [
            f"--service-account={self.admin}",
            f"--customer-id={customer or self.customer}",
            "--project-id=harbour",
            "--region=us",
            f"--api-version={version}",
        ]
        return self.run_program(COMMAND, *settings, *arguments, status=status)

    def answer(self, *arguments, **how):
        """The JSON that it prints, after what it tells of its work."""
        said = self.secops(*arguments, **how)
        start = min(at for at in (said.find("{"), said.find("[")) if at >= 0)
        return json.loads(said[start:])

    # Logs.

    def test_a_log_from_the_command_line(self):
        log = '{"displayMessage": "by message: Malmö ☃"}'
        cases = [
            ('{"site": "dock 4", "note": "a=b"}', {"site": "dock 4", "note": "a=b"}),
            ("site=dock, n=2", {"site": "dock", "n": "2"}),
        ]
        for index, (labels, expected) in enumerate(cases):
            text = log.replace("by message", f"by message {index}")
            self.assertEqual(self.answer("log", "ingest", "--type", "OKTA", "--message", text, "--labels", labels), {})
            [row] = self.find("raw", f"by message {index}")
            self.assertEqual((row["text"], row["log_type"]), (text, "OKTA"))
            self.assertEqual({label["key"]: label["value"] for label in row["labels"]}, expected)

    def test_logs_from_a_file(self):
        lines = [f"by file {index}: client 10.20.30.{index}#4238: query: ☃.example IN A +" for index in range(300)]
        path = self.written("bind.log", "\n".join(lines) + "\n")
        for version in ("v1alpha", "v1"):
            more = ["--forwarder-id", f"file-{version}"]
            said = self.secops("log", "ingest", "--type", "BIND_DNS", "--file", str(path), *more, version=version)
            self.assertIn("300 individual log entries", said)
        # The times differ, so the second is no repeat.
        rows = self.find("raw", "by file", 600, limit=1_000)
        stored = Counter((row["text"], row["feed"]) for row in rows)
        feeds = ["forwarders/file-v1alpha", "forwarders/file-v1"]
        self.assertEqual(stored, Counter((line, feed) for line in lines for feed in feeds))

    def test_what_is_refused_ends_with_one(self):
        said = self.secops("log", "ingest", "--type", "BIND_DSN", "--message", "refused", status=1)
        self.assertIn("Invalid log type: BIND_DSN", said)
        said = self.secops("log", "ingest", "--type", "BIND_DSN", "--message", "refused", "--force", status=1)
        self.assertIn("BIND_DNS", said)
        other = self.server.new_instance()
        said = self.secops("log", "ingest", "--type", "OKTA", "--message", "refused", status=1, customer=other)
        self.assertIn("PERMISSION_DENIED", said)
        self.find_nothing("raw", "refused")

    def test_events_from_a_file(self):
        def event(port):
            metadata = {"event_timestamp": "2026-03-01T08:00:00Z", "event_type": "GENERIC_EVENT"}
            return {"metadata": metadata | {"product_name": "by file"}, "target": {"port": port}}

        for index, content in enumerate([event(1), [event(2), event(3)]]):
            path = self.written(f"events-{index}.json", content)
            self.assertEqual(self.answer("log", "ingest-udm", "--file", str(path)), {})
        stored = [row["udm"] for row in self.find("udm", 'metadata.product_name = "by file"', 3)]
        for one in stored:
            self.assertTrue(one["metadata"].pop("id"))
        for port in (1, 2, 3):
            self.assertIn(event(port), stored)
        path = self.written("bad.json", [event(4), {**event(5), "principal": {"hostname": 7}}])
        said = self.secops("log", "ingest-udm", "--file", str(path), status=1)
        self.assertIn("events[1]", said)
        self.assertIn("principal.hostname", said)
        self.find_nothing("udm", 'metadata.product_name = "by file" AND target.port >= 4')

    def test_entities_from_a_file(self):
        metadata = {"collected_timestamp": "2026-03-01T09:00:00Z", "entity_type": "USER", "vendor_name": "Harbour"}
        user = {"metadata": metadata, "entity": {"user": {"userid": "tea.novak", "product_object_id": "h-1"}}}
        path = self.written("entity.json", user)
        self.assertEqual(self.answer("entity", "import", "--file", str(path), "--type", "OKTA"), {})
        [row] = self.find("udm", 'entity.user.userid = "tea.novak"')
        self.assertEqual((row["entity"], row["log_type"]), (user, "OKTA"))

    def test_log_types(self):
        everything = self.answer("log", "types")
        names = [one["name"].rsplit("/")[-1] for one in everything]
        self.assertGreater(len(names), 2_000)
        self.assertLessEqual({"OKTA", "BIND_DNS", "WINEVTLOG"}, set(names))
        found = self.answer("log", "types", "--search", "bind")
        self.assertEqual([one for one in everything if one in found], found)
        self.assertIn("BIND_DNS", [one["name"].rsplit("/")[-1] for one in found])
        self.assertEqual(self.answer("log", "types", "--page-size", "3"), everything[:3])

    def test_logs_are_classified(self):
        log = "<166>Mar 01 2026 08:00:00 fw1 : %ASA-6-302013: Built outbound TCP connection 7 for outside:203.0.113.1"
        path = self.written("asa.log", log)
        for given in (log, str(path)):
            best = self.answer("log", "classify", "--log", given)[0]
            self.assertEqual(best["logType"].rsplit("/")[-1], "CISCO_ASA_FIREWALL")
            self.assertGreater(best["score"], 0.2)

    # Forwarders and feeds.

    def test_forwarders(self):
        made = self.answer("forwarder", "create", "--display-name", "least")
        self.assertEqual((made["displayName"], made["state"]), ("least", "ACTIVE"))
        identity = made["name"].rsplit("/")[-1]
        self.assertEqual(self.answer("forwarder", "get", "--id", identity), made)
        changed = self.answer(
            *["forwarder", "update", "--id", identity, "--display-name", "more", "--upload-compression", "true"],
            *["--metadata", '{"asset_namespace": "dock", "labels": {"site": "4"}}'],
            *["--regex-filters", '[{"description": "noise", "regexp": "chat+er", "behavior": "BLOCK"}]'],
        )
        self.assertEqual((changed["name"], changed["displayName"]), (made["name"], "more"))
        self.assertEqual(changed["config"]["metadata"], {"assetNamespace": "dock", "labels": {"site": "4"}})
        self.assertIs(changed["config"]["uploadCompression"], True)
        # It counts for what is sent by it at once.
        text = "by the changed forwarder\nby the changed forwarder, chatter"
        self.secops("log", "ingest", "--type", "BIND_DNS", "--message", text, "--forwarder-id", identity)
        [row] = self.find("raw", "by the changed forwarder")
        self.assertEqual((row["text"], row["namespace"]), ("by the changed forwarder", "dock"))
        self.assertEqual(row["labels"], [{"key": "site", "value": "4"}])

        full = self.answer(
            *["forwarder", "create", "--display-name", "full", "--upload-compression", "false"],
            *["--enable-server", "true", "--graceful-timeout", "15s", "--drain-timeout", "10s"],
            *["--http-settings", '{"port": 8080, "routeSettings": {"readyStatusCode": 204}}'],
        )
        self.assertIs(full["config"]["serverSettings"]["enabled"], True)
        listed = self.answer("forwarder", "list")["forwarders"]
        self.assertEqual([one for one in listed if one["displayName"] in ("more", "full")], [changed, full])
        self.assertEqual(len(self.answer("forwarder", "list", "--page-size", "1")["forwarders"]), 1)
        self.assertEqual(self.answer("forwarder", "get-or-create", "--display-name", "full"), full)
        for one in (changed, full):
            self.secops("forwarder", "delete", "--id", one["name"].rsplit("/")[-1])
        said = self.secops("forwarder", "get", "--id", identity, status=1)
        self.assertIn("NOT_FOUND", said)

    def test_feeds(self):
        details = {"feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA", "httpsPushWebhookSettings": {}}
        made = self.answer("feed", "create", "--display-name", "pushed", "--details", json.dumps(details))
        identity = made["name"].rsplit("/")[-1]
        self.assertIn(made, self.answer("feed", "list")["feeds"])
        self.assertIn(made, self.answer("feed", "list", "--as-list"))
        self.assertEqual(self.answer("feed", "get", "--id", identity), made)
        changed = self.answer("feed", "update", "--id", identity, "--display-name", "renamed")
        self.assertEqual((changed["displayName"], changed["details"]), ("renamed", made["details"]))
        self.assertEqual(self.answer("feed", "disable", "--id", identity)["state"], "INACTIVE")
        self.assertEqual(self.answer("feed", "enable", "--id", identity)["state"], "ACTIVE")
        secret, key = self.answer("feed", "generate-secret", "--id", identity)["secret"], self.server.api_key()
        path = f"/v1alpha/projects/harbour/locations/us/instances/{self.customer}/feeds/{identity}:importPushLogs"
        headers = {"X-Goog-Api-Key": key, "X-Webhook-Access-Key": secret}
        self.assertEqual(self.server.ask("POST", path, b"pushed to the command's feed", headers).status, 200)
        [row] = self.find("raw", "pushed to the command's feed")
        self.assertEqual(row["feed"], f"feeds/{identity}")
        self.secops("feed", "delete", "--id", identity)
        self.assertIn("NOT_FOUND", self.secops("feed", "get", "--id", identity, status=1))

    # Searches.

    def test_searches(self):
        now = datetime.now(timezone.utc)
        metadata = {"event_type": "GENERIC_EVENT", "product_name": "sought"}
        events = [
            {"metadata": metadata | {"event_timestamp": now.isoformat()}, "principal": {"hostname": host}}
            for host in ("crane-1", "crane-2")
        ]
        path = self.written("sought.json", events)
        self.secops("log", "ingest-udm", "--file", str(path))
        self.find("udm", 'metadata.product_name = "sought"', 2)

        query = 'metadata.product_name = "sought" AND principal.hostname = "crane-2"'
        found = self.answer("search", "--query", query, "--time-window", "1")
        self.assertEqual((found["total_events"], found["more_data_available"]), (1, False))
        self.assertEqual(found["events"][0]["udm"]["principal"], {"hostname": "crane-2"})
        more = ["--start-time", "2026-01-01T00:00:00Z", "--end-time", "2026-01-02T00:00:00Z"]
        self.assertEqual(self.answer("search", "--query", query, *more)["events"], [])
        said = self.secops("search", "--query", query, "--csv", "--fields", "principal.hostname")
        self.assertIn("'crane-2'", said)
        self.assertNotIn("crane-1", said)
        [view] = self.answer("udm-search-view", "--query", query, "--time-window", "1")
        self.assertEqual([one["event"]["principal"] for one in view["events"]["events"]], [{"hostname": "crane-2"}])
        matches = self.answer("search", "udm-field-values", "--query", "crane-", "--page-size", "10")["valueMatches"]
        pairs = {(match["fieldPath"], match["value"]) for match in matches}
        self.assertEqual(pairs, {("principal.hostname", "crane-1"), ("principal.hostname", "crane-2")})
        said = self.secops("search", "--query", 'principal.hostnam = "x"', status=1)
        self.assertIn("principal.hostnam", said)

    def test_searches_of_raw_logs(self):
        for log_type, text in [("OKTA", "Sought: one"), ("OKTA", "sought: two"), ("BIND_DNS", "sought: three")]:
            self.secops("log", "ingest", "--type", log_type, "--message", text)
        self.find("raw", "sought: ", 3)
        cases = [
            ([], {"Sought: one", "sought: two", "sought: three"}),
            (["--case-sensitive"], {"sought: two", "sought: three"}),
            (["--log-types", "BIND_DNS"], {"sought: three"}),
            (["--snapshot-query", 'raw = "one"'], {"Sought: one"}),
        ]
        # The command stamps logs with local time and asks in UTC, so the window is wider than the world's zones.
        window = ["--start-time", "2020-01-01T00:00:00Z", "--end-time", "2100-01-01T00:00:00Z"]
        for arguments, texts in cases:
            with self.subTest(arguments):
                answers = self.answer("search", "raw-logs", "--query", 'raw = "sought:"', *window, *arguments)
                matches = [match for answer in answers for match in answer.get("matches", [])]
                self.assertEqual({match["snippet"]["snippet"] for match in matches}, texts)
