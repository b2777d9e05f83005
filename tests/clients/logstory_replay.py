"""logstory, which replays recorded logs into Google SecOps, as it comes from PyPI, against a server in Google's place.

Its two ways, the older API and the newer, with logs that its package brings along: 2.7 MB of real Zeek, Windows and
directory logs, in batches of half a megabyte. What is stored is what it sent, none lost and none
twice. What it sends is not what its files hold, since it moves all times to today; so its own code says what that is.
"""

import importlib.util
import json
import unittest
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from as_google import AsGoogle, console_script

COMMAND = console_script("logstory.logstory:entry_point")

# Writes down what the package would send, through the place where it takes its ways of sending.
RECORDING = """
import datetime, json, sys
from logstory import ingestion, main
use_case, log_type, entities = sys.argv[1], sys.argv[2], sys.argv[3] == "entities"
class Recorder(ingestion.IngestionBackend):
    def __init__(self):
        pass
    def post_unstructured_logs(self, log_type, entries, labels):
        print(json.dumps([entry["logText"] for entry in entries]))
    def post_udm_events(self, *_):
        raise NotImplementedError
    def post_entities(self, *_):
        raise NotImplementedError
    def get_base_url(self):
        return ""
main.ingestion_backend = Recorder()
main.usecase_replay_logtype(use_case, log_type, datetime.datetime.now(datetime.UTC), entities=entities)
"""

WORKSHOP = "RULES_SEARCH_WORKSHOP"

# What is replayed: the command's words, and the file of the package that it reads.
REPLAYS = [
    (["usecase", "NETWORK_ANALYSIS"], "NETWORK_ANALYSIS", "EVENTS", "BRO_JSON"),
    (["logtype", WORKSHOP, "WINDOWS_DEFENDER_AV"], WORKSHOP, "EVENTS", "WINDOWS_DEFENDER_AV"),
    (["usecase", WORKSHOP, "--entities"], WORKSHOP, "ENTITIES", "WINDOWS_AD"),
]


class Logstory(AsGoogle, unittest.TestCase):
    def batches(self, use_case, folder, log_type):
        """What it would send of a file, as the batches that it would send."""
        said = self.run_program(RECORDING, use_case, log_type, folder.lower())
        return [json.loads(line) for line in said.splitlines()]

    def replay(self, words, key_file, instance, **settings):
        environment = {"LOGSTORY_CUSTOMER_ID": instance, "LOGSTORY_CREDENTIALS_PATH": str(key_file), **settings}
        # The variable keeps google-auth from looking for credentials on the network.
        return self.run_program(COMMAND, "replay", *words, credentials=key_file, **environment)

    def check(self, method, **settings):
        for words, use_case, folder, log_type in REPLAYS:
            with self.subTest(log_type):
                # The texts hold the day, so a replay at midnight is made again.
                while True:
                    day = datetime.now(timezone.utc).date()
                    instance = self.server.new_instance()
                    self.replay(words, self.key_file("ingest", instance), instance, **settings)
                    batches = self.batches(use_case, folder, log_type)
                    if datetime.now(timezone.utc).date() == day:
                        break
                self.check_stored(instance, method, use_case, log_type, batches)
                lines = self.file(use_case, folder, log_type).read_text().splitlines()
                self.assertEqual(sum(map(len, batches)), len(lines))

    def check_stored(self, instance, method, use_case, log_type, batches):
        sent = [text for batch in batches for text in batch]
        rows = self.find(
            "raw", "", len(sent), regex="(?s).*", case_sensitive=True, instance=instance, limit=1_000_000
        )
        self.assertEqual(Counter(row["text"] for row in rows), Counter(sent))
        self.assertEqual({row["log_type"] for row in rows}, {log_type})
        labels = [{label["key"]: label["value"] for label in row["labels"]} for row in rows]
        for one in labels:
            self.assertEqual((one["replayed_from"], one["source_usecase"]), ("logstory", use_case))
        self.assertEqual(len({row["batch"] for row in rows}), len(batches))
        # Everything that came was stored, in as many requests as it made.
        [counts] = [one for one in self.server.status()["instances"] if one["id"] == instance]
        names = ("received", "committed", "repeated", "refused")
        self.assertEqual([counts[name] for name in names], [len(sent), len(sent), 0, 0])
        self.assertEqual({row["feed"] for row in rows}, self.feeds(instance, method))

    def feeds(self, instance, method):
        """The older API has no forwarders; by the newer one it makes its own."""
        if method == "legacy":
            return {""}
        path = f"/v1alpha/projects/harbour/locations/us/instances/{instance}/forwarders"
        [forwarder] = self.server.api("GET", path).json()["forwarders"]
        self.assertEqual(forwarder["displayName"], "Logstory-REST-Forwarder")
        return {f"forwarders/{forwarder['name'].rsplit('/')[-1]}"}

    def file(self, use_case, folder, log_type):
        package = Path(importlib.util.find_spec("logstory").origin).parent
        return package / "usecases" / use_case / folder / f"{log_type}.log"

    def test_by_the_older_api(self):
        self.check("legacy", LOGSTORY_API_TYPE="legacy", LOGSTORY_REGION="EUROPE")

    def test_by_the_newer_api(self):
        self.check("rest", LOGSTORY_API_TYPE="rest", LOGSTORY_PROJECT_ID="harbour", LOGSTORY_REGION="US")

    def test_a_foreign_instance_is_refused(self):
        instance, other = self.server.new_instance(), self.server.new_instance()
        key_file = self.key_file("ingest", other)
        words = ["logtype", WORKSHOP, "WINDOWS_DEFENDER_AV"]
        for api in ("legacy", "rest"):
            with self.subTest(api):
                environment = {"LOGSTORY_CUSTOMER_ID": instance, "LOGSTORY_CREDENTIALS_PATH": str(key_file)}
                environment |= {"LOGSTORY_API_TYPE": api, "LOGSTORY_PROJECT_ID": "harbour"}
                said = self.run_program(COMMAND, "replay", *words, credentials=key_file, status=1, **environment)
                self.assertIn("PERMISSION_DENIED", said)
        for one in (instance, other):
            self.find_nothing("raw", "", regex=".", instance=one)
