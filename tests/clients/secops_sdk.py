"""Google's `secops` library, as it comes from PyPI, against a server in Google's place.

Every call of it that ingests, manages forwarders and feeds, lists or tells log types, or searches. The library runs in
this process, with the environment that an operator would give it. Each test looks at what was stored, or at what the
next call says, and not only at whether the call came back.
"""

import contextlib
import glob
import io
import json
import os
import re
import unittest
import unittest.mock
import uuid
from collections import Counter
from datetime import datetime, timedelta, timezone

from as_google import AsGoogle

# What every program of this library begins with, and one that has never been here before.
FROM_SCRATCH = """
import sys
from secops import SecOpsClient
chronicle = SecOpsClient().chronicle(customer_id=sys.argv[1], project_id="harbour", region="us")
for text in sys.argv[2:]:
    print(chronicle.ingest_log("OKTA", text))
"""

DEFAULT_FORWARDER = "Wrapper-SDK-Forwarder"

# Where the library lets its user choose a version. All versions are one to us, and so is every region.
VERSIONS = [("v1", "us"), ("v1beta", "europe-west2"), ("v1alpha", "me-central1")]

# Like one of each kind from the document that the library was made after, with its slips: a field that UDM does not
# have, one address and one result where UDM has lists.
LOGIN = {
    "metadata": {
        "event_timestamp": "2026-03-01T08:00:00.250Z",
        "event_type": "USER_LOGIN",
        "product_name": "Harbour Gate",
        "event_id": "not a field of UDM",
    },
    "principal": {"user": {"userid": "tea.novak"}, "ip": "10.20.30.40"},
    "target": {"application": "Tides"},
    "security_result": {"action": "ALLOW", "summary": "Malmö ☃"},
}


def event(product, at="2026-03-01T08:00:00Z", **more):
    metadata = {"event_timestamp": at, "event_type": "GENERIC_EVENT", "product_name": product}
    return {"metadata": {**metadata, **more.pop("metadata", {})}, **more}


class SecOpsSdk(AsGoogle, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = cls.key_file("admin")
        cls.customer = cls.server.customer_id
        # As a shell would have it, for as long as this case runs.
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, cls.environment(cls.admin)))
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, {"NO_PROXY": "", "no_proxy": ""}))
        cls.chronicle = cls.client(cls.admin)

    @classmethod
    def client(cls, key_file, customer=None, region="us", version="v1alpha"):
        from secops import SecOpsClient

        return SecOpsClient(service_account_path=str(key_file)).chronicle(
            customer_id=customer or cls.customer, project_id="harbour", region=region, default_api_version=version
        )

    @property
    def parent(self):
        return f"projects/harbour/locations/us/instances/{self.customer}"

    def ingest(self, *arguments, chronicle=None, **how):
        """Ingests logs, without what the library prints."""
        with contextlib.redirect_stdout(io.StringIO()):
            reply = (chronicle or self.chronicle).ingest_log(*arguments, **how)
        self.assertEqual(reply, {})

    @contextlib.contextmanager
    def refused(self, status, *names):
        """The library says why it was refused, and names these."""
        from secops.exceptions import APIError

        with self.assertRaises(APIError) as raised:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        said = str(raised.exception)
        for name in (f"status={status}", *names):
            self.assertIn(name, said)

    def forwarders(self, chronicle=None):
        """All of them: their ids by what they are called."""
        listed = (chronicle or self.chronicle).list_forwarders().get("forwarders", [])
        return {forwarder["displayName"]: forwarder["name"].rsplit("/")[-1] for forwarder in listed}

    # Raw logs.

    def test_a_log_is_stored_as_it_was_given(self):
        log = json.dumps({"displayMessage": "one log: Malmö ☃", "actor": {"alternateId": "tea.novak"}})
        before = datetime.now() - timedelta(seconds=1)
        self.ingest("OKTA", log)
        [row] = self.find("raw", "one log: Malm")
        self.assertEqual((row["text"], row["log_type"], row["kind"]), (log, "OKTA", "raw"))
        self.assertEqual((row["namespace"], row["labels"]), ("", []))
        self.assertEqual(row["feed"], f"forwarders/{self.forwarders()[DEFAULT_FORWARDER]}")
        # The library calls its local time UTC, so the log's time is what its clock said, whatever the zone.
        said = datetime.fromisoformat(row["sender_time"].rstrip("Z")[:26])
        self.assertTrue(before <= said <= datetime.now(), row["sender_time"])

    def test_the_forwarder_is_made_once(self):
        for index in range(3):
            self.ingest("OKTA", [f"by the one forwarder {index}"])
        listed = [f["displayName"] for f in self.chronicle.list_forwarders()["forwarders"]]
        self.assertEqual(listed.count(DEFAULT_FORWARDER), 1)
        feeds = {row["feed"] for row in self.find("raw", "by the one forwarder", 3)}
        self.assertEqual(feeds, {f"forwarders/{self.forwarders()[DEFAULT_FORWARDER]}"})

    def test_a_list_is_one_log_for_each_item(self):
        logs = [
            "list of logs: plain",
            "list of logs: of\r\ntwo lines\n",
            "list of logs: \t Malmö ☃ 港",
            'list of logs: "quoted" \\u0041 \\',
            "list of logs: plain",
        ]
        labels = {"site": "dock 4", "note": "über"}
        self.ingest("BIND_DNS", logs, namespace="harbour", labels=labels)
        rows = self.find("raw", "list of logs", len(logs))
        self.assertEqual(Counter(row["text"] for row in rows), Counter(logs))
        for row in rows:
            self.assertEqual(row["namespace"], "harbour")
            self.assertEqual({label["key"]: label["value"] for label in row["labels"]}, labels)
            self.assertEqual(row["log_type"], "BIND_DNS")

    def test_a_text_is_split_as_the_library_splits_it(self):
        cases = {
            "BIND_DNS": ("split: a\nsplit: b\n\n  \nsplit: c\n", ["split: a", "split: b", "split: c"]),
            "OKTA": ('[{"split": 1},\n {"split": "☃"}]', ['{"split": 1}', '{"split": "\\u2603"}']),
            "WINEVTLOG": (
                "<Event>split\n1</Event>\n<Event>split 2</Event>",
                ["<Event>split\n1</Event>", "<Event>split 2</Event>"],
            ),
            "CISCO_ISE": ("<a>split 1</a> <b>split\n2</b>", ["<a>split 1</a>", "<b>split\n2</b>"]),
        }
        for log_type, (text, logs) in cases.items():
            with self.subTest(log_type):
                self.ingest(log_type, text)
                rows = self.find("raw", "split", len(logs), log_types=[log_type])
                self.assertEqual(sorted(row["text"] for row in rows), sorted(logs))

    def test_many_logs_in_one_call(self):
        logs = [f"many logs {index:04}" for index in range(2_500)]
        self.ingest("OKTA", logs)
        rows = self.find("raw", "many logs", len(logs), limit=10_000)
        self.assertEqual(Counter(row["text"] for row in rows), Counter(logs))

    def test_times_are_the_senders(self):
        entry = datetime(2024, 2, 29, 23, 59, 59, 123456)
        cases = {
            "both": (entry, entry + timedelta(minutes=5)),
            # Equal is not before.
            "equal": (entry, entry),
            # The library takes a zone and leaves it out.
            "zone": (datetime(2024, 2, 29, 23, 59, 59, 123456, timezone(timedelta(hours=9))),) * 2,
        }
        for name, (entry_time, collection_time) in cases.items():
            with self.subTest(name):
                self.ingest("OKTA", [f"times: {name}"], log_entry_time=entry_time, collection_time=collection_time)
                [row] = self.find("raw", f"times: {name}")
                self.assertEqual(row["sender_time"], row["event_time"])
                self.assertRegex(row["sender_time"], r"^2024-02-29T23:59:59\.123456(000)?Z$")
                expected = r"^2024-03-01T00:04:59" if name == "both" else r"^2024-02-29T23:59:59"
                self.assertRegex(row["collected_at"], expected)
        with self.assertRaises(ValueError):
            self.ingest("OKTA", ["times: never"], log_entry_time=entry, collection_time=entry - timedelta(seconds=1))

    def test_a_forwarder_gives_what_it_has(self):
        made = self.chronicle.create_forwarder(
            display_name="gives",
            metadata={"asset_namespace": "dock", "labels": {"site": "4", "kept": "yes"}},
            regex_filters=[{"description": "noise", "regexp": "chatter$", "behavior": "BLOCK"}],
        )
        name = made["name"]
        cases = {
            # Its full name or its id; what a log says of itself goes before.
            "full name": (name, {}, "dock", {"site": "4", "kept": "yes"}),
            "id": (name.rsplit("/")[-1], {}, "dock", {"site": "4", "kept": "yes"}),
            "own": (name, {"namespace": "pier", "labels": {"site": "5"}}, "pier", {"site": "5", "kept": "yes"}),
        }
        for case, (forwarder, how, namespace, labels) in cases.items():
            with self.subTest(case):
                logs = [f"given: {case}", f"given: {case} chatter"]
                self.ingest("OKTA", logs, forwarder_id=forwarder, **how)
                [row] = self.find("raw", f"given: {case}")
                self.assertEqual((row["text"], row["namespace"]), (logs[0], namespace))
                self.assertEqual({label["key"]: label["value"] for label in row["labels"]}, labels)
                self.assertEqual(row["feed"], f"forwarders/{name.rsplit('/')[-1]}")

    def test_a_forwarder_that_nobody_made(self):
        self.ingest("OKTA", ["by nobody's forwarder"], forwarder_id="11111111-2222-4333-8444-555555555555")
        [row] = self.find("raw", "by nobody's forwarder")
        self.assertEqual(row["feed"], "forwarders/11111111-2222-4333-8444-555555555555")

    def test_unknown_log_types_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Invalid log type: BIND_DSN"):
            self.ingest("BIND_DSN", "type: never")
        with self.refused(400, "BIND_DSN", "BIND_DNS"):
            self.chronicle.ingest_log("BIND_DSN", "type: never", force_log_type=True)
        self.find_nothing("raw", "type: never")

    def test_log_types_of_the_instances_own(self):
        self.server.cli("log-type", "add", "TIDE_GAUGE", "--instance", self.customer)
        self.ingest("TIDE_GAUGE", ["type: our own"], force_log_type=True)
        self.assertEqual(self.find("raw", "type: our own")[0]["log_type"], "TIDE_GAUGE")

    # UDM events and entities.

    def assert_events(self, product, sent, has_ids=False):
        """They are stored as they were sent, but for the ids that the library makes."""
        rows = self.find("udm", f'metadata.product_name = "{product}"', len(sent))
        stored = [row["udm"] for row in rows]
        if not has_ids:
            for one in stored:
                self.assertEqual(uuid.UUID(one["metadata"].pop("id")).version, 4)
        for one in sent:
            self.assertIn(one, stored)
        return rows

    def test_one_event(self):
        sent = event("one event", principal={"hostname": "crane-7"}, network={"received_bytes": "9007199254740993"})
        self.assertEqual(self.chronicle.ingest_udm(sent), {})
        [row] = self.assert_events("one event", [sent])
        self.assertEqual((row["log_type"], row["event_time"]), ("UDM", "2026-03-01T08:00:00Z"))

    def test_a_list_of_events(self):
        sent = [event("events", target={"port": port}) for port in range(1, 6)]
        self.assertEqual(self.chronicle.ingest_udm(sent), {})
        self.assert_events("events", sent)

    def test_events_with_ids_and_without(self):
        own = event("own ids", metadata={"id": "AAECAwQF"})
        none = event("no ids", at="2026-03-01T08:00:00+02:00")
        self.assertEqual(self.chronicle.ingest_udm([own, none], add_missing_ids=False), {})
        self.assert_events("own ids", [own], has_ids=True)
        [row] = self.assert_events("no ids", [none], has_ids=True)
        self.assertEqual(row["event_time"], "2026-03-01T06:00:00Z")

    def test_an_event_without_a_time_gets_the_librarys(self):
        sent = {"metadata": {"event_type": "GENERIC_EVENT", "product_name": "no time"}}
        self.assertEqual(self.chronicle.ingest_udm(sent), {})
        [row] = self.find("udm", 'metadata.product_name = "no time"')
        at = datetime.fromisoformat(row["udm"]["metadata"]["event_timestamp"])
        self.assertEqual(datetime.fromisoformat(row["event_time"][:26].rstrip("Z") + "+00:00"), at)

    def test_an_event_with_slips_is_taken(self):
        self.assertEqual(self.chronicle.ingest_udm(LOGIN), {})
        self.assert_events("Harbour Gate", [LOGIN])
        self.find("udm", 'principal.ip = "10.20.30.40" AND security_result.summary = "Malmö ☃"')

    def test_one_bad_event_keeps_all_out(self):
        good = [event("all or nothing", target={"port": port}) for port in (1, 2)]
        bad = event("all or nothing", target={"port": "eighty"})
        with self.refused(400, "events[1]", "target.port", "INVALID_ARGUMENT"):
            self.chronicle.ingest_udm([good[0], bad, good[1]])
        self.find_nothing("udm", 'metadata.product_name = "all or nothing"')

    def test_entities(self):
        def user(name):
            metadata = {"collected_timestamp": "2026-03-01T09:00:00Z", "entity_type": "USER", "vendor_name": "Harbour"}
            return {"metadata": metadata, "entity": {"user": {"userid": name, "product_object_id": f"h-{name}"}}}

        self.assertEqual(self.chronicle.import_entities(user("one"), log_type="OKTA"), {})
        self.assertEqual(self.chronicle.import_entities([user("two"), user("three")], log_type="WINDOWS_AD"), {})
        for name, log_type in [("one", "OKTA"), ("two", "WINDOWS_AD"), ("three", "WINDOWS_AD")]:
            [row] = self.find("udm", f'entity.user.userid = "{name}"')
            self.assertEqual((row["entity"], row["kind"], row["log_type"]), (user(name), "entity", log_type))
        with self.refused(400, "NO_SUCH"):
            self.chronicle.import_entities(user("never"), log_type="NO_SUCH")
        self.find_nothing("udm", 'entity.user.userid = "never"')

    # Forwarders.

    def test_forwarders(self):
        least = self.chronicle.create_forwarder("least")
        self.assertRegex(least["name"], rf"^{self.parent}/forwarders/[0-9a-f-]{{36}}$")
        self.assertEqual((least["displayName"], least["state"]), ("least", "ACTIVE"))
        all_of_it = self.chronicle.create_forwarder(
            display_name="all of it",
            metadata={"asset_namespace": "dock", "labels": {"site": "4"}},
            upload_compression=True,
            enable_server=True,
            regex_filters=[{"description": "noise", "regexp": "chat+er", "behavior": "BLOCK"}],
            graceful_timeout="15s",
            drain_timeout="10s",
            http_settings={"port": 8080, "host": "0.0.0.0", "routeSettings": {"availableStatusCode": 204}},
        )
        config = all_of_it["config"]
        self.assertEqual(config["metadata"], {"assetNamespace": "dock", "labels": {"site": "4"}})
        self.assertIs(config["uploadCompression"], True)
        self.assertEqual(config["regexFilters"][0]["regexp"], "chat+er")
        server = config["serverSettings"]
        self.assertEqual((server["enabled"], server["gracefulTimeout"], server["drainTimeout"]), (True, "15s", "10s"))
        self.assertEqual(server["httpSettings"]["port"], 8080)
        identity = all_of_it["name"].rsplit("/")[-1]
        self.assertEqual(self.chronicle.get_forwarder(identity), all_of_it)
        listed = {one["name"]: one for one in self.chronicle.list_forwarders()["forwarders"]}
        self.assertEqual((listed[least["name"]], listed[all_of_it["name"]]), (least, all_of_it))

        changed = self.chronicle.update_forwarder(identity, display_name="renamed", upload_compression=False)
        self.assertEqual(changed["displayName"], "renamed")
        self.assertFalse(changed["config"].get("uploadCompression", False))
        self.assertEqual(changed["config"]["metadata"], config["metadata"])
        # Only what the mask names.
        changed = self.chronicle.update_forwarder(
            identity,
            display_name="not this",
            metadata={"asset_namespace": "pier"},
            update_mask=["config.metadata.asset_namespace"],
        )
        self.assertEqual(changed["displayName"], "renamed")
        self.assertEqual(changed["config"]["metadata"], {"assetNamespace": "pier", "labels": {"site": "4"}})
        with self.refused(400, "display_nam"):
            self.chronicle.update_forwarder(identity, display_name="never", update_mask=["display_nam"])
        self.assertEqual(self.chronicle.get_forwarder(identity), changed)

        for one in (least, all_of_it):
            self.assertEqual(self.chronicle.delete_forwarder(one["name"].rsplit("/")[-1]), {})
        with self.refused(404, "NOT_FOUND"):
            self.chronicle.get_forwarder(identity)
        with self.refused(404, "NOT_FOUND"):
            self.chronicle.delete_forwarder(identity)
        self.assertFalse({"least", "all of it", "renamed"} & set(self.forwarders()))

    def test_forwarders_by_pages(self):
        made = {self.chronicle.create_forwarder(f"page {index}")["name"] for index in range(5)}
        seen, token = [], None
        while True:
            page = self.chronicle.list_forwarders(page_size=2, page_token=token)
            self.assertLessEqual(len(page["forwarders"]), 2)
            seen += [forwarder["name"] for forwarder in page["forwarders"]]
            token = page.get("nextPageToken")
            if not token:
                break
        self.assertEqual(len(seen), len(set(seen)))
        self.assertLessEqual(made, set(seen))
        # A token says of which list it is.
        page = self.chronicle.list_forwarders(page_size=2)
        with self.refused(400, "pageToken"):
            self.chronicle.get_all_log_types(page_size=2, page_token=page["nextPageToken"])

    def test_a_forwarder_is_found_or_made(self):
        first = self.chronicle.get_or_create_forwarder("found or made")
        self.assertEqual(self.chronicle.get_or_create_forwarder("found or made"), first)
        self.chronicle.delete_forwarder(first["name"].rsplit("/")[-1])
        again = self.chronicle.get_or_create_forwarder("found or made")
        self.assertNotEqual(again["name"], first["name"])
        self.assertEqual(self.chronicle.get_or_create_forwarder()["displayName"], DEFAULT_FORWARDER)

    # Log types.

    def test_log_types(self):
        names = [one["name"].rsplit("/")[-1] for one in self.chronicle.get_all_log_types()]
        self.assertGreater(len(names), 2_000, "of all pages")
        self.assertEqual(len(names), len(set(names)))
        for log_type in ("OKTA", "BIND_DNS", "WINEVTLOG", "CATCH_ALL", "UDM"):
            self.assertIn(log_type, names)
            self.assertTrue(self.chronicle.is_valid_log_type(log_type))
            self.assertTrue(self.chronicle.get_log_type_description(log_type))
        self.assertFalse(self.chronicle.is_valid_log_type("okta"))
        self.assertIsNone(self.chronicle.get_log_type_description("NO_SUCH"))
        page = self.chronicle.get_all_log_types(page_size=7)
        self.assertEqual([one["name"].rsplit("/")[-1] for one in page], names[:7])
        found = {one["name"].rsplit("/")[-1] for one in self.chronicle.search_log_types("okta")}
        self.assertIn("OKTA", found)
        self.assertLess(len(found), 50)

    def test_logs_are_classified(self):
        okta = {
            "actor": {"alternateId": "tea.novak@example.com", "displayName": "Tea Novak", "type": "User"},
            "client": {"ipAddress": "10.20.30.40", "userAgent": {"os": "Mac OS X", "browser": "SAFARI"}},
            "displayMessage": "User login to Okta",
            "eventType": "user.session.start",
            "outcome": {"result": "SUCCESS"},
            "published": "2026-03-01T08:00:00Z",
        }
        predictions = self.chronicle.classify_logs(json.dumps(okta))
        self.assertEqual(predictions[0]["logType"].rsplit("/")[-1], "OKTA")
        scores = [prediction["score"] for prediction in predictions]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertTrue(all(0 <= score <= 1 for score in scores))
        self.assertTrue(all(one["score"] < 0.2 for one in self.chronicle.classify_logs("the tide is out today")))

    # Searches.

    def day(self):
        return {"start_time": datetime(2026, 3, 1), "end_time": datetime(2026, 3, 2)}

    def test_searches_of_events(self):
        def sent(minute, host):
            at = f"2026-03-01T10:{minute:02}:00Z"
            return event("searched", at=at, principal={"hostname": host}, target={"port": 8000 + minute})

        events = [sent(1, "crane-1"), sent(2, "CRANE-1"), sent(3, "tug-9")]
        yesterday = event("searched", at="2026-02-28T23:59:59Z", principal={"hostname": "crane-1"})
        self.chronicle.ingest_udm([*events, yesterday], add_missing_ids=False)
        product = 'metadata.product_name = "searched"'
        self.find("udm", product, 4)

        found = self.chronicle.search_udm(f'{product} AND principal.hostname = "crane-1"', **self.day())
        self.assertEqual((found["total_events"], found["more_data_available"]), (2, False))
        for one, original in zip(found["events"], [events[1], events[0]]):
            self.assertTrue(one["name"].startswith(f"{self.parent}/events/"), one["name"])
            shown = one["udm"]
            self.assertEqual(shown["principal"], original["principal"])
            self.assertEqual(shown["target"], original["target"])
            self.assertTrue(shown["metadata"]["id"])
        found = self.chronicle.search_udm(product, **self.day(), max_events=2)
        self.assertEqual((found["total_events"], found["more_data_available"]), (2, True))
        found = self.chronicle.search_udm(product, **self.day(), as_list=True)
        self.assertEqual([one["udm"]["target"]["port"] for one in found], [8003, 8002, 8001])
        with self.refused(400, "principal.hostnam"):
            self.chronicle.search_udm('principal.hostnam = "x"', **self.day())

        lines = self.chronicle.fetch_udm_search_csv(
            f'{product} AND principal.hostname = "crane-1"',
            **self.day(),
            fields=["timestamp", "principal.hostname", "target.port"],
        )["csv"]["row"]
        self.assertEqual(len(lines), 3)
        self.assertEqual([line.split(",")[1:] for line in lines[1:]], [["CRANE-1", "8002"], ["crane-1", "8001"]])
        lines = self.chronicle.fetch_udm_search_csv(
            f'{product} AND principal.hostname = "crane-1"',
            **self.day(),
            fields=["target.port"],
            case_insensitive=False,
        )["csv"]["row"]
        self.assertEqual(lines[1:], ["8001"])

        [view] = self.chronicle.fetch_udm_search_view(product, **self.day(), max_events=2)
        self.assertEqual(len(view["events"]["events"]), 2)
        self.assertTrue(view["tooManyEvents"])
        [view] = self.chronicle.fetch_udm_search_view(product, **self.day())
        ports = [one["event"]["target"]["port"] for one in view["events"]["events"]]
        self.assertEqual((ports, view["complete"]), ([8003, 8002, 8001], True))

        values = self.chronicle.find_udm_field_values("crane-")["valueMatches"]
        pairs = {(match["fieldPath"], match["value"]) for match in values}
        self.assertLessEqual({("principal.hostname", "crane-1"), ("principal.hostname", "CRANE-1")}, pairs)
        self.assertEqual(len(self.chronicle.find_udm_field_values("crane-", page_size=1)["valueMatches"]), 1)

    def test_searches_of_raw_logs(self):
        at = {"log_entry_time": datetime(2026, 3, 1, 11), "collection_time": datetime(2026, 3, 1, 11)}
        self.ingest("OKTA", ["Sought: one", "sought: two"], **at)
        self.ingest("BIND_DNS", ["sought: three"], **at)
        self.ingest("OKTA", ["sought: another day"], log_entry_time=datetime(2026, 3, 2))
        self.find("raw", "sought: ", 4)
        cases = [
            ('raw = "sought:"', {}, ["Sought: one", "sought: two", "sought: three"]),
            ('raw = "sought:"', {"case_sensitive": True}, ["sought: two", "sought: three"]),
            ('raw = "sought:"', {"log_types": ["BIND_DNS"]}, ["sought: three"]),
            ('raw = "sought:"', {"snapshot_query": 'raw = "two"'}, ["sought: two"]),
            ('raw = /sought: t[a-z]+$/ AND raw != "three"', {"page_size": 10}, ["sought: two"]),
            ('raw = "not sought"', {}, []),
        ]
        for query, how, texts in cases:
            with self.subTest(query, **how):
                answers = self.chronicle.search_raw_logs(query, **self.day(), **how)
                matches = [match for answer in answers for match in answer.get("matches", [])]
                self.assertEqual(sorted(match["snippet"]["snippet"] for match in matches), sorted(texts))
                self.assertTrue(answers[-1]["complete"])

    def test_queries_are_validated(self):
        self.assertEqual(self.chronicle.validate_query('ip != "10.20.30.40"')["queryType"], "QUERY_TYPE_UDM_QUERY")
        wrong = self.chronicle.validate_query('principal.hostnam != "x"')
        self.assertNotIn("queryType", wrong)
        self.assertIn("hostnam", wrong["errorText"])
        self.assertTrue(wrong["errorType"])
        self.assertEqual((wrong["errorPosition"]["startLine"], wrong["errorPosition"]["startColumn"]), (1, 11))

    # Feeds.

    def test_feeds(self):
        details = {
            "feedSourceType": "HTTPS_PUSH_WEBHOOK",
            "logType": f"{self.parent}/logTypes/OKTA",
            "assetNamespace": "dock",
            "labels": {"site": "4"},
            "httpsPushWebhookSettings": {"splitDelimiter": "\n"},
        }
        feed = self.chronicle.create_feed("pushed", details)
        identity = feed["name"].rsplit("/")[-1]
        self.assertTrue(feed["name"].startswith(f"{self.parent}/feeds/"), feed)
        self.assertEqual((feed["displayName"], feed["state"]), ("pushed", "ACTIVE"))
        self.assertEqual(feed["details"]["feedSourceType"], "HTTPS_PUSH_WEBHOOK")
        self.assertIn(feed, self.chronicle.list_feeds())
        self.assertEqual(self.chronicle.get_feed(identity), feed)
        self.assertEqual(self.chronicle.get_feed(feed["name"]), feed)

        secret, key = self.chronicle.generate_secret(identity)["secret"], self.server.api_key()
        self.push(identity, key, secret, "feed: one\nfeed: two\n\nfeed: Malmö ☃", 200)
        rows = self.find("raw", "feed: ", 3)
        self.assertEqual(Counter(row["text"] for row in rows), Counter(["feed: one", "feed: two", "feed: Malmö ☃"]))
        for row in rows:
            self.assertEqual((row["log_type"], row["namespace"], row["feed"]), ("OKTA", "dock", f"feeds/{identity}"))
            self.assertEqual(row["labels"], [{"key": "site", "value": "4"}])

        # Neither of the two alone opens it, nor does a secret that there is a newer one of.
        newer = self.chronicle.generate_secret(identity)["secret"]
        self.push(identity, key, secret, "feed never: old secret", 401)
        self.push(identity, "AIzaNoSuchKey", newer, "feed never: false key", 401)
        self.push(identity, key, newer, b"feed never: \xff", 400)

        self.assertEqual(self.chronicle.disable_feed(identity)["state"], "INACTIVE")
        self.push(identity, key, newer, "feed never: disabled", 403)
        self.assertEqual(self.chronicle.enable_feed(identity)["state"], "ACTIVE")
        changed = self.chronicle.update_feed(identity, display_name="renamed")
        self.assertEqual((changed["displayName"], changed["details"]), ("renamed", feed["details"]))
        changed = self.chronicle.update_feed(identity, details={**details, "logType": "BIND_DNS"})
        self.assertTrue(changed["details"]["logType"].endswith("BIND_DNS"))
        self.push(identity, key, newer, "pushed after all of it", 200)
        self.assertEqual(self.find("raw", "pushed after all of it")[0]["log_type"], "BIND_DNS")

        self.chronicle.delete_feed(identity)
        with self.refused(404, "NOT_FOUND"):
            self.chronicle.get_feed(identity)
        self.push(identity, key, newer, "feed never: deleted", 404)
        self.find_nothing("raw", "feed never")

    def push(self, feed, key, secret, body, expected):
        import requests

        url = f"https://us-chronicle.googleapis.com/v1alpha/{self.parent}/feeds/{feed}:importPushLogs"
        body = body if isinstance(body, bytes) else body.encode()
        reply = requests.post(url, params={"key": key, "secret": secret}, data=body, timeout=60)
        self.assertEqual(reply.status_code, expected, reply.text)
        if reply.status_code == 200:
            self.assertEqual(reply.json(), {})

    def test_feeds_that_fetch_are_refused(self):
        details = {"feedSourceType": "AMAZON_S3", "logType": "OKTA", "amazonS3Settings": {"s3Uri": "s3://dock"}}
        with self.refused(400, "feedSourceType"):
            self.chronicle.create_feed("fetches", details)
        self.assertNotIn("fetches", [feed["displayName"] for feed in self.chronicle.list_feeds()])

    # Versions, credentials, instances.

    def test_every_version_in_any_region(self):
        for version, region in VERSIONS:
            with self.subTest(version):
                chronicle = self.client(self.admin, region=region, version=version)
                product = f"version {version}"
                self.ingest("OKTA", [f"{product}: log"], chronicle=chronicle)
                self.assertEqual(self.find("raw", f"{product}: log")[0]["text"], f"{product}: log")
                sent = event(product)
                self.assertEqual(chronicle.ingest_udm(sent), {})
                self.assert_events(product, [sent])
                metadata = {"collected_timestamp": "2026-03-01T09:00:00Z", "entity_type": "USER"}
                user = {"metadata": metadata, "entity": {"user": {"userid": product}}}
                self.assertEqual(chronicle.import_entities(user, "OKTA"), {})
                self.find("udm", f'entity.user.userid = "{product}"')
                forwarder = chronicle.create_forwarder(product)
                self.assertIn(f"/locations/{region}/", forwarder["name"])
                identity = forwarder["name"].rsplit("/")[-1]
                self.assertEqual(chronicle.update_forwarder(identity, upload_compression=True)["displayName"], product)
                self.assertEqual(chronicle.delete_forwarder(identity), {})
                self.assertEqual(len(chronicle.get_all_log_types(page_size=3)), 3)
                self.assertTrue(chronicle.classify_logs('{"eventType": "user.session.start"}') is not None)
                feed = chronicle.create_feed(product, {"feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA"})
                self.assertTrue(chronicle.generate_secret(feed["name"].rsplit("/")[-1])["secret"])
                chronicle.delete_feed(feed["name"].rsplit("/")[-1])
                found = chronicle.search_udm(f'metadata.product_name = "{product}"', **self.day())
                self.assertEqual(found["total_events"], 1)

    def test_a_token_that_is_no_longer_taken_is_fetched_anew(self):
        chronicle = self.client(self.admin)
        chronicle.ingest_udm(event("before the token ended"))
        credentials = chronicle.session.credentials
        good = credentials.token
        credentials.token = good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB")
        self.assertFalse(credentials.expired)
        self.assertEqual(chronicle.ingest_udm(event("after the token ended")), {})
        self.assertNotIn(credentials.token[-8:], ("AAAAAAAA", "BBBBBBBB"))
        self.find("udm", 'metadata.product_name = "after the token ended"')

    def test_another_instance_is_closed(self):
        other = self.server.new_instance()
        for customer in (other, str(uuid.uuid4())):
            chronicle = self.client(self.admin, customer=customer)
            calls = {
                "logs": lambda: chronicle.ingest_log("OKTA", ["foreign"], forwarder_id="f", force_log_type=True),
                "events": lambda: chronicle.ingest_udm(event("foreign")),
                "entities": lambda: chronicle.import_entities({"metadata": {}, "entity": {}}, "OKTA"),
                "forwarder": lambda: chronicle.create_forwarder("foreign"),
                "forwarders": lambda: chronicle.list_forwarders(),
                "feeds": lambda: chronicle.list_feeds(),
                "search": lambda: chronicle.search_udm('ip = "x"', **self.day()),
                "raw": lambda: chronicle.search_raw_logs('raw = "x"', **self.day()),
            }
            for name, call in calls.items():
                with self.subTest(name), self.refused(403, "PERMISSION_DENIED"):
                    call()
        self.find_nothing("raw", "foreign")
        self.find_nothing("udm", 'metadata.product_name = "foreign"')
        self.assertEqual(self.forwarders(self.client(self.key_file("admin", other), customer=other)), {})

    def test_roles_hold(self):
        sender, reader = self.client(self.key_file("ingest")), self.client(self.key_file("read"))
        with self.refused(403, "PERMISSION_DENIED"):
            sender.search_udm('ip = "x"', **self.day())
        with self.refused(403, "PERMISSION_DENIED"):
            sender.create_forwarder("with metadata", metadata={"asset_namespace": "foreign"})
        with self.refused(403, "PERMISSION_DENIED"):
            reader.ingest_udm(event("by a reader"))
        self.assertEqual(reader.search_udm('metadata.product_name = "by a reader"', **self.day())["events"], [])

    def test_a_sender_from_scratch(self):
        """In a new process, on an instance where nobody has been, with a credential that can do nothing but send."""
        instance = self.server.new_instance()
        sender = self.key_file("ingest", instance)
        for texts in (["scratch one"], ["scratch two", "scratch three"]):
            said = self.run_program(FROM_SCRATCH, instance, *texts, credentials=sender)
            self.assertEqual(said.count("{}"), len(texts), said)
        admin = self.client(self.key_file("admin", instance), customer=instance)
        made = self.forwarders(admin)
        self.assertEqual(list(made), [DEFAULT_FORWARDER])
        rows = self.find("raw", "scratch", 3, instance=instance)
        self.assertEqual(Counter(row["text"] for row in rows), Counter(["scratch one", "scratch two", "scratch three"]))
        self.assertEqual({row["feed"] for row in rows}, {f"forwarders/{made[DEFAULT_FORWARDER]}"})

    # The document that the library's authors wrote: its programs as they are printed.

    def documented(self, heading):
        if not self.options.seeds:
            self.skipTest("PENSTOCK_SEEDS is not set, so there is no document to take the program from")
        files = glob.glob(os.path.join(self.options.seeds, "000*.txt"))
        if not files:
            self.skipTest(f"there is no 000*.txt in {self.options.seeds}")
        with open(files[0], encoding="utf-8") as file:
            text = file.read()
        program = re.search(rf"^## {heading}$.*?^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL).group(1)
        self.assertIn("your-chronicle-instance-id", program)
        return program.replace("your-chronicle-instance-id", self.customer)

    def test_the_documented_log(self):
        program = self.documented("Log Ingestion") + "\nprint(json.dumps(okta_log))"
        said = self.run_program(program, credentials=self.admin).splitlines()
        self.assertEqual(said[-2], "Operation: None")
        [row] = self.find("raw", json.loads(said[-1])["published"])
        self.assertEqual((row["text"], row["log_type"]), (said[-1], "OKTA"))

    def test_the_documented_event(self):
        program = self.documented("UDM Ingestion") + "\nimport json; print(json.dumps(udm_event))"
        said = self.run_program(program, credentials=self.admin).splitlines()
        self.assertEqual(said[-2], "Operation: None")
        sent = json.loads(said[-1])
        self.assert_events(sent["metadata"]["product_name"], [sent])
