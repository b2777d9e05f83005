"""OCI's lab on connectors and functions, from beginning to end, with Oracle's own `oci` command and `fdk`.

Told twice: with the functions that the lab prints, taken at test time from the folder that PENSTOCK_SEEDS names and
deployed with nothing changed, and with functions of our own that do the same work and say by id what they pass on,
which always run. The third party is a stand-in on this machine for the host that the functions name.
"""

import contextlib
import json
import unittest
from collections import Counter

from as_oci import FLOW, AsOci, Lab, flow, window
from server import until

INSTANCE = "compute-for-log-test"
FUNCTION = "oci-logs-to-something-python"
STRANGER, MACHINE = "132.145.1.2", "10.0.2.121"

OWN_REQUIREMENTS = "fdk==0.1.128\nrequests==2.34.2\n"

# What passes each record on, and says so; the second version says more of flow logs.
OWN = """
import io
import json
import logging

import requests

TODOS = "https://jsonplaceholder.typicode.com/todos"


def handler(ctx, data: io.BytesIO = None):
    say = logging.getLogger().info
    for record in json.loads(data.getvalue()):
        say("type: %s", record["type"])
        say("source: %s", record["source"])
        say("time: %s", record["time"])
FLOWS        answer = requests.post(TODOS, json={"title": record["source"], "record": record["id"]}, timeout=10)
        answer.raise_for_status()
        say("status_code: %s", answer.status_code)
"""
FLOWS = """        if record["type"] == "com.oraclecloud.vcn.flowlogs.DataEvent":
            seen = record["data"]
            say(
                "flowlog: %s %s %s:%s -> %s:%s", seen["action"], seen["protocolName"], seen["sourceAddress"],
                seen["sourcePort"], seen["destinationAddress"], seen["destinationPort"],
            )
"""

# Stops after the first record because of a misspelt name, and hides it: the trouble of the lab's example for Datadog.
OWN_DATADOG = """
import io
import json
import logging
import os

import requests


def handler(ctx, data: io.BytesIO = None):
    try:
        for record in json.loads(data.getvalue()):
            headers = {"DD-API-KEY": os.environ["DATADOG_TOKEN"]}
            answer = requests.post(os.environ["DATADOG_HOST"], json=record, headers=headers)
            logging.getLogger().info(anwser.status_code)
    except Exception as error:
        logging.getLogger().error(str(error))
"""
OWN_DATADOG_YAML = """
schema_version: 20180708
name: oci-logs-to-datadog-python
version: 0.0.1
runtime: python
entrypoint: /python/bin/fdk /function/func.py handler
config:
  DATADOG_HOST: https://http-intake.logs.datadoghq.com/v1/input
  DATADOG_TOKEN: ZZZZZzzzzz
"""


@contextlib.contextmanager
def task(name):
    """One step of a story, named where it fails; what follows needs it."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in task {name}")
        raise


class Story(AsOci):
    """The lab's tasks in their order, in a compartment of its own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.compartment = json.loads(cls.server.cli("oci", "compartment", "create", "lab", "-o", "json"))["id"]

    def reboot(self, instance=INSTANCE):
        return self.demo("reboot", "--name", instance)

    def ssh(self):
        return self.demo("ssh", "--from", STRANGER, "--to", MACHINE)

    def demo(self, *what):
        """Has something happen in the compartment; gives the ids of the records about it."""
        made = json.loads(self.server.cli("demo", "oci", *what, "--compartment", "lab", "-o", "json"))
        return [record["id"] for record in made["records"]]

    def titles(self):
        return Counter(todo["title"] for todo in self.placeholder.bodies())

    def assert_titles(self, **wanted):
        """The third party has got exactly this: `audit` of the instance's events, `flows` of the flow log."""
        wanted = {INSTANCE: wanted.get("audit", 0), "-": wanted.get("flows", 0)}
        self.placeholder.having(sum(wanted.values()), "records")
        self.assertEqual(self.titles(), Counter({title: count for title, count in wanted.items() if count}))

    def tell(self, first, second, requirements):
        """Gives the ids of all records that pass a filter."""
        passing = []
        with task("2: the function"):
            app = self.make_app()
            folder = self.write_function(FUNCTION, {"func.py": first, "requirements.txt": requirements})
            self.deploy(folder)
            function = self.function_id(app, FUNCTION)

        with task("3 and 4: audit events reach the third party"):
            by_name = f"logContent.source = '{INSTANCE}'"
            audit = self.connect("svc-connector-audit-logs-to-function", {"logGroupId": "_Audit"}, function, by_name)
            self.assertEqual(self.state_of(audit)[0], "ACTIVE")
            self.reboot("another-instance")
            passing += self.reboot()
            self.assert_titles(audit=2)
            self.assert_audited(INSTANCE, 2)
            self.metric("MessagesWrittenToTarget", audit, 2)
            self.metric("ErrorsAtTarget", audit, 0)
            said = self.said(FUNCTION, "status_code: 201", 2)
            self.assertEqual(len(said), 2, said)
            self.assertRegex(said[0], r"^\S+ - root - INFO - status_code: 201$")
            self.assertIn(f"source: {INSTANCE}", "\n".join(self.said(FUNCTION, "source: ", 2)))

        with task("5: a flow log"):
            group = self.default_group()
            subnet = "ocid1.subnet.oc1.us-ashburn-1.lab"
            flows = self.make_log(group, "public-subnet-for-compute-flow-logs", flows_of=subnet)
            listed = self.oci("logging", "log", "list", "--log-group-id", group)["data"]
            names = [(log["display-name"], log["log-type"], log["is-enabled"]) for log in listed if log["id"] == flows]
            self.assertEqual(names, [("public-subnet-for-compute-flow-logs", "SERVICE", True)])

        with task("6: the changed function"):
            self.write_function(FUNCTION, {"func.py": second})
            self.deploy(folder)
            self.assertEqual(self.function_id(app, FUNCTION), function, "a new version is the same function")

        with task("7 and 8: flow logs reach the third party, and are found by the stranger's address"):
            from_log = {"logGroupId": group, "logId": flows}
            connector = self.connect("svc-connector-flow-logs-to-function", from_log, function)
            passing += self.ssh()
            self.assert_titles(audit=2, flows=2)
            pushed = [flow("203.0.113.9", MACHINE, port, "REJECT") for port in (23, 3389)]
            passing += self.put(flows, pushed, kind=FLOW, source="-", by_command=True)
            self.assert_titles(audit=2, flows=4)
            self.metric("MessagesReadFromSource", connector, 4)
            self.metric("MessagesWrittenToTarget", connector, 4)
            messages = self.said(FUNCTION, STRANGER, 2)
            there = [message for message in messages if message.endswith(f"-> {MACHINE}:22")]
            self.assertEqual(len(there), 1, messages)
            self.assertRegex(there[0], rf"flowlog: ACCEPT TCP {STRANGER}:\d+ -> {MACHINE}:22$")
            self.assertIn(
                f"flowlog: REJECT TCP 203.0.113.9:36266 -> {MACHINE}:3389", "\n".join(self.said(FUNCTION, ":3389"))
            )
            self.assert_search_by_command(there[0])

        with task("9: deactivated, nothing flows; activated, nothing is missing"):
            self.switch("deactivate", audit)
            self.assertEqual(self.state_of(audit)[0], "INACTIVE")
            passing += self.reboot()
            # The other connector has read past the reboot when these arrive.
            passing += self.ssh()
            self.assert_titles(audit=2, flows=6)
            self.switch("deactivate", connector)
            passing += self.ssh()
            self.switch("activate", audit)
            self.assert_titles(audit=4, flows=6)
            passing += self.reboot()
            self.assert_titles(audit=6, flows=6)
            self.switch("activate", connector)
            self.assert_titles(audit=6, flows=8)
            self.switch("deactivate", audit)
            self.switch("deactivate", connector)

        with task("every call was ok"):
            calls = self.calls(FUNCTION, "--limit", "100")
            self.assertEqual({call["state"] for call in calls}, {"ok"}, calls)
            self.assertEqual(sum(call["records"] for call in calls), 14)
            self.assertEqual(sum(call["requests"] for call in calls), 14)
            self.metric("FunctionInvocationCount", function, len(calls), "oci_faas")
        return passing

    def assert_audited(self, instance, count):
        """The events of an instance, as the command lists them."""
        begin, end = window()
        only = f"data[?data.\"resource-name\"=='{instance}']"
        command = ("audit", "event", "list", "--compartment-id", self.compartment, "--all")

        def look():
            events = self.oci(*command, "--start-time", begin, "--end-time", end, "--query", only) or []
            return events if len(events) >= count else None

        events = until(look, "no audit events")
        self.assertEqual(len(events), count, events)
        kinds = [event["event-type"] for event in events]
        self.assertEqual(len(set(kinds)), count, "the beginning and the end of one action")
        grouped = {event["data"]["event-grouping-id"] for event in events}
        self.assertEqual(len(grouped), 1, grouped)

    def assert_search_by_command(self, message):
        """The lab's own search: an address, anywhere in what is there."""
        begin, end = window()
        query = f"search \"{self.compartment}\" | logContent = '*{STRANGER}*' | sort by datetime desc"
        command = ("logging-search", "search-logs", "--search-query", query)
        answer = self.oci(*command, "--time-start", begin, "--time-end", end)["data"]
        found = [row["data"]["logContent"] for row in answer["results"]]
        self.assertIn(message, [row["data"].get("message") for row in found])
        # The function's lines, and the flow records themselves.
        self.assertTrue({FLOW} < {row["type"] for row in found}, found)

    def tell_datadog(self, folder, fixed):
        """A function with a misspelt name: what a platform that only looks at the status would call a success."""
        with task("as printed"):
            app = self.make_app()
            self.deploy(folder)
            name = "oci-logs-to-datadog-python"
            function = self.function_id(app, name)
            group = self.default_group()
            log = self.make_log(group, "app")
            connector = self.connect("to-datadog", {"logGroupId": group, "logId": log}, function)
            first = self.put(log, [f"record {number}" for number in range(5)])
            call = self.call_that(name, lambda call: call["records"] == 5, "has five records")
            self.assertEqual((call["state"], call["status"], call["requests"]), ("suspicious", 200, 1), call)
            self.assertIn("is not defined", call["note"])
            self.assertIn("1 of 5 records sent", call["note"])
            page = self.server.cli("function", "calls", name, "--state", "suspicious")
            self.assertIn("1 of 5 records sent", page)
            errors = self.said(name, "is not defined")
            self.assertRegex(errors[0], r"name '\w+' is not defined")
            (told,) = self.runs("to-datadog", "was taken")
            self.assertEqual(told["level"], "WARN", told)
            self.assertIn("1 of 5 records sent", told["message"])
            self.assertEqual([record["id"] for record in self.datadog.bodies()], first[:1])
            self.metric("MessagesReadFromSource", connector, 5)

        with task("mended"):
            (folder / "func.py").write_text(fixed((folder / "func.py").read_text()))
            self.deploy(folder)
            self.datadog.forget()
            second = self.put(log, [f"record {number}" for number in range(5, 12)])
            self.datadog.having(7, "records")
            self.assertEqual(Counter(record["id"] for record in self.datadog.bodies()), Counter(second))
            call = self.call_that(name, lambda call: call["records"] == 7, "has seven records")
            self.assertEqual((call["state"], call["requests"]), ("ok", 7), call)


class Printed(Story, unittest.TestCase):
    """With the functions that the lab prints."""

    @classmethod
    def setUpClass(cls):
        if not cls.options.seeds:
            raise unittest.SkipTest("PENSTOCK_SEEDS names no folder with the document of the lab")
        cls.lab = Lab(cls.options.seeds)
        super().setUpClass()

    def test_the_lab(self):
        self.tell(self.lab.first, self.lab.second, self.lab.requirements)
        with task("what the function hides when the third party is down"):
            self.placeholder.down()
            record = {"type": "com.example.try", "source": "me", "time": "2026-11-27T10:00:00Z", "data": {}}
            self.server.cli("function", "invoke", FUNCTION, "--body", json.dumps([record]))
            (last,) = self.calls(FUNCTION, "--limit", "1")
            self.assertEqual((last["state"], last["status"]), ("suspicious", 200), last)
            self.assertIn("jsonplaceholder.typicode.com", last["note"])
            self.assertEqual(last["requests_failed"], 1, last)


class PrintedDatadog(Story, unittest.TestCase):
    """With the lab's example for Datadog, misprint and all."""

    @classmethod
    def setUpClass(cls):
        if not cls.options.seeds:
            raise unittest.SkipTest("PENSTOCK_SEEDS names no folder with the document of the lab")
        cls.lab = Lab(cls.options.seeds)
        super().setUpClass()

    def test_a_misprint_is_not_taken_for_a_success(self):
        files = {
            "func.py": self.lab.datadog,
            "func.yaml": self.lab.datadog_yaml,
            "requirements.txt": self.lab.requirements,
        }
        self.assertIn("reponse.text", files["func.py"])
        folder = self.write_function("oci-logs-to-datadog-python", files)
        self.tell_datadog(folder, lambda text: text.replace("reponse.text", "response.text"))


class Own(Story, unittest.TestCase):
    """With functions of our own."""

    def test_the_lab(self):
        passing = self.tell(OWN.replace("FLOWS", ""), OWN.replace("FLOWS", FLOWS), OWN_REQUIREMENTS)
        # By id: each of them once, and no other in its place.
        self.assertEqual(Counter(todo["record"] for todo in self.placeholder.bodies()), Counter(passing))


class OwnDatadog(Story, unittest.TestCase):
    """With an example of our own for Datadog, and a slip like the lab's."""

    def test_a_slip_is_not_taken_for_a_success(self):
        files = {"func.py": OWN_DATADOG, "func.yaml": OWN_DATADOG_YAML, "requirements.txt": OWN_REQUIREMENTS}
        folder = self.write_function("oci-logs-to-datadog-python", files)
        self.tell_datadog(folder, lambda text: text.replace("anwser", "answer"))
