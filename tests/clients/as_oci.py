"""A server in OCI's place: what the tests of its lab share.

`AsOci` comes first among the bases of a case. It starts stand-ins of the third parties and one server for the whole
case, whose functions reach them through the egress proxy; makes a user with `penstock oci-user create`; and has
Oracle's own command and library speak to the server.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

from server import Server, until
from third_party import Authority, Datadog, Placeholder

# Oracle's `oci`. Its program in the environment knows where that was made, which is not where it is.
OCI = [sys.executable, "-m", "oci_cli.cli"]

APP = "oci-hol-fn-app"
INVOKED = "com.oraclecloud.functions.application.functioninvoke"
RUN = "com.oraclecloud.sch.serviceconnector.runlog"
FLOW = "com.oraclecloud.vcn.flowlogs.DataEvent"

SETTINGS = """\
[functions]
enabled = true
python = "{python}"

[functions.egress]
enabled = true
ca_file = "{ca_file}"
hosts = {{ "{placeholder.host}" = "{placeholder.address}", "{datadog.host}" = "{datadog.address}" }}
"""


def wheels():
    """Settings with which a server's pip takes what functions need from a folder here, whatever the index has today.

    The folder is filled once per lock and Python, beside the environment of the tests; where it cannot be, pip is left
    to itself.
    """
    lock = Path(__file__).with_name("functions.lock")
    of = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
    folder = cache / f"wheels-{of}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix="wheels-new.", dir=cache)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--require-hashes", "--only-binary", ":all:", "-d", fresh, "-r", str(lock)]
        got = subprocess.run(command, capture_output=True)
        try:
            if got.returncode == 0:
                os.rename(fresh, folder)
        except OSError:
            # Somebody else was faster.
            pass
        shutil.rmtree(fresh, ignore_errors=True)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)} if folder.exists() else {}


class AsOci:
    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        cls.server = Server(cls.options, wheels())
        cls.addClassCleanup(cls.server.close)
        authority = Authority(cls.server.folder / "third-parties")
        cls.placeholder, cls.datadog = Placeholder(authority), Datadog(authority)
        cls.addClassCleanup(cls.placeholder.close)
        cls.addClassCleanup(cls.datadog.close)
        settings = SETTINGS.format(
            # Not the environment's, whose packages functions must not see.
            python=Path(sys._base_executable).resolve(),
            ca_file=authority.file,
            placeholder=cls.placeholder,
            datadog=cls.datadog,
        )
        (cls.server.folder / "penstock.toml").write_text(settings)
        cls.server.start()
        cls.as_user = cls.server.folder / "oci-user"
        cls.server.cli("oci-user", "create", "--out", str(cls.as_user))
        # The user's own settings of the command have no say.
        home = cls.server.folder / "home"
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OCI_", "PENSTOCK_"))}
        cls.environment = {
            **kept,
            "HOME": str(home),
            "OCI_CLI_CONFIG_FILE": str(cls.as_user / "config"),
            "OCI_CLI_ENDPOINT": cls.server.url,
        }

    # Oracle's command.

    @classmethod
    def oci(cls, *arguments, status=0):
        """What `oci …` prints, parsed; what is no text among the arguments goes as JSON."""
        words = [word if isinstance(word, str) else json.dumps(word) for word in arguments]
        ran = subprocess.run(
            [*OCI, *words], capture_output=True, text=True, timeout=180, env=cls.environment, stdin=subprocess.DEVNULL
        )
        if ran.returncode != status:
            raise AssertionError(f"oci {words} ended with {ran.returncode}, not {status}:\n{ran.stdout}{ran.stderr}")
        if status:
            return ran.stderr
        try:
            return json.loads(ran.stdout) if ran.stdout.strip() else None
        except ValueError:
            return ran.stdout

    @classmethod
    def done(cls, *arguments):
        """Runs a command that begins some work, and waits for the work's end; gives the OCID of what it was done to."""
        said = cls.oci(*arguments, "--wait-for-state", "SUCCEEDED", "--wait-interval-seconds", "1")
        return said["data"]["resources"][0]["identifier"]

    # Oracle's library, where a command for each look would take its second.

    @classmethod
    def client(cls, kind):
        import oci

        module, name = kind.split(".")
        config = oci.config.from_file(str(cls.as_user / "config"))
        return getattr(getattr(oci, module), name)(config, service_endpoint=cls.server.url)

    @classmethod
    def tenancy(cls):
        return re.search(r"^tenancy=(\S+)$", (cls.as_user / "config").read_text(), re.M).group(1)

    def found(self, query, limit=1000):
        """The records that a log search finds, from an hour ago on."""
        import oci

        now = datetime.now(timezone.utc)
        asked = oci.loggingsearch.models.SearchLogsDetails(
            time_start=now - timedelta(hours=1), time_end=now + timedelta(minutes=5), search_query=query
        )
        answer = self.client("loggingsearch.LogSearchClient").search_logs(asked, limit=limit).data
        return [result.data["logContent"] for result in answer.results]

    def finding(self, query, count=1, limit=30):
        """The same once there are so many."""

        def look():
            rows = self.found(query)
            return rows if len(rows) >= count else None

        return until(look, f"{query} does not find {count}", limit, every=0.2)

    def said(self, function, needle=None, count=1):
        """Messages of a function, once there are so many with the needle in them."""
        query = f"search {quoted(self.compartment)} | type = '{INVOKED}' and subject = '{function}'"
        if needle:
            query += f" and data.message = '*{needle}*'"
        return [row["data"]["message"] for row in self.finding(query + " | sort by datetime asc", count)]

    def runs(self, connector, needle, count=1):
        """Messages of a connector's run log that hold the needle, once there are so many."""
        query = f"search {quoted(self.compartment)} | type = '{RUN}' and source = '{connector}'"
        query += f" and data.message = '*{needle}*' | sort by datetime asc"
        return [row["data"] for row in self.finding(query, count)]

    def metric(self, name, resource, wanted, namespace="oci_service_connector_hub"):
        """Waits until the sum of a metric of a connector or function is what is wanted."""

        def look():
            total = self.sum_of(name, resource, namespace)
            return total if total == wanted else None

        try:
            return until(look, name, 30, every=0.3)
        except AssertionError:
            found = self.sum_of(name, resource, namespace)
            raise AssertionError(f"{name} of {resource} is {found}, not {wanted}") from None

    def sum_of(self, name, resource, namespace):
        import oci

        now = datetime.now(timezone.utc)
        dimension = {"oci_service_connector_hub": "connectorId", "oci_faas": "resourceId"}[namespace]
        asked = oci.monitoring.models.SummarizeMetricsDataDetails(
            namespace=namespace,
            query=f'{name}[1m]{{{dimension} = "{resource}"}}.sum()',
            start_time=now - timedelta(minutes=30),
            end_time=now + timedelta(minutes=2),
        )
        series = self.client("monitoring.MonitoringClient").summarize_metrics_data(self.compartment, asked).data
        return sum(point.value for one in series for point in one.aggregated_datapoints)

    # Functions and connectors.

    @classmethod
    def calls(cls, function, *more):
        """The calls of a function, newest first."""
        return cls.server.cli_rows("function", "calls", function, *more)

    def call_that(self, function, wanted, what, limit=60):
        """Waits for a call for which `wanted` holds."""

        def look():
            return next((call for call in self.calls(function) if wanted(call)), None)

        try:
            return until(look, "no such call", limit, every=0.3)
        except AssertionError:
            raise AssertionError(f"no call of {function} {what}: {self.calls(function)[:5]}") from None

    @classmethod
    def write_function(cls, name, files):
        """A folder as `penstock function init` makes it, with other files in the place of some of its own."""
        folder = cls.server.folder / "functions" / name
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            cls.server.cli("function", "init", "--runtime", "python", str(folder))
        for file, content in files.items():
            (folder / file).write_text(content)
        return folder

    @classmethod
    def deploy(cls, folder, app=APP, *more):
        cls.server.cli("function", "deploy", str(folder), "--app", app, *more)

    @classmethod
    def make_app(cls, name=APP):
        """An application. OCI wants the subnet that its functions are in, which says nothing here."""
        return cls.oci(
            *("fn", "application", "create", "--compartment-id", cls.compartment, "--display-name", name),
            *("--subnet-ids", ["ocid1.subnet.oc1..none"]),
        )["data"]["id"]

    @classmethod
    def function_id(cls, app, name):
        listed = cls.client("functions.FunctionsManagementClient").list_functions(app, display_name=name).data
        (function,) = listed
        return function.id

    @classmethod
    def default_group(cls):
        """The log group that a compartment has without being asked, once there is something to log."""
        logging = cls.client("logging.LoggingManagementClient")
        (group,) = logging.list_log_groups(cls.compartment, display_name="Default_Group").data
        return group.id

    @classmethod
    def make_group(cls, name):
        return cls.done(
            *("logging", "log-group", "create", "--compartment-id", cls.compartment, "--display-name", name)
        )

    @classmethod
    def make_log(cls, group, name, flows_of=None):
        """A custom log, or the flow log of a subnet."""
        which = ["--log-type", "CUSTOM"]
        if flows_of:
            source = {"sourceType": "OCISERVICE", "service": "flowlogs", "resource": flows_of, "category": "all"}
            configuration = {"compartmentId": cls.compartment, "source": source}
            which = ["--log-type", "SERVICE", "--is-enabled", "true", "--configuration", configuration]
        return cls.done("logging", "log", "create", "--log-group-id", group, "--display-name", name, *which)

    @classmethod
    def connect(cls, name, source, function, condition=None, **target):
        """A service connector from a log group, a log or `_Audit` to a function."""
        from_log = {"kind": "logging", "logSources": [{"compartmentId": cls.compartment, **source}]}
        to_function = {"kind": "functions", "functionId": function, "batchTimeInSec": 1, **target}
        tasks = ["--tasks", [{"kind": "logRule", "condition": condition}]] if condition else []
        return cls.done(
            *("sch", "service-connector", "create", "--compartment-id", cls.compartment, "--display-name", name),
            *("--source", from_log, "--target", to_function, *tasks),
        )

    @classmethod
    def state_of(cls, connector):
        found = cls.client("sch.ServiceConnectorClient").get_service_connector(connector).data
        return found.lifecycle_state, found.lifecycle_details

    @classmethod
    def switch(cls, verb, connector):
        cls.done("sch", "service-connector", verb, "--service-connector-id", connector)

    def put(self, log, entries, kind="com.example.app", source="app", by_command=False):
        """Pushes entries in one request, with the library or the command; gives their ids."""
        import oci

        now = datetime.now(timezone.utc)
        texts = [data if isinstance(data, str) else json.dumps(data) for data in entries]
        batch = {
            "source": source,
            "type": kind,
            "defaultlogentrytime": rfc3339(now),
            "entries": [{"id": new_id(), "time": rfc3339(now), "data": text} for text in texts],
        }
        if by_command:
            command = ("logging-ingestion", "put-logs", "--log-id", log, "--specversion", "1.0")
            self.oci(*command, "--log-entry-batches", [batch])
        else:
            models = oci.loggingingestion.models
            taken = [models.LogEntry(id=entry["id"], time=now, data=entry["data"]) for entry in batch["entries"]]
            batches = [models.LogEntryBatch(source=source, type=kind, defaultlogentrytime=now, entries=taken)]
            details = models.PutLogsDetails(specversion="1.0", log_entry_batches=batches)
            self.client("loggingingestion.LoggingClient").put_logs(log, details)
        return [entry["id"] for entry in batch["entries"]]


def new_id():
    return str(uuid.uuid4())


def rfc3339(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def window():
    """From half an hour ago until soon, as arguments of commands."""
    now = datetime.now(timezone.utc)
    return rfc3339(now - timedelta(minutes=30)), rfc3339(now + timedelta(minutes=1))


def quoted(ocid):
    return f'"{ocid}"'


def flow(source, destination, port=22, action="ACCEPT"):
    """What a flow log says of one connection."""
    now = int(datetime.now().timestamp())
    return {
        "action": action,
        "bytesOut": 640,
        "packets": 9,
        "protocol": 6,
        "protocolName": "TCP",
        "sourceAddress": source,
        "sourcePort": 36266,
        "destinationAddress": destination,
        "destinationPort": port,
        "flowid": "3fa2c1d0",
        "startTime": now - 60,
        "endTime": now,
        "status": "OK",
        "version": "2",
    }


# A seed document's code stands in fences, indented, some of it within <copy>.
FENCE = re.compile(r"^[ ]*```[a-z]*\n(.*?)^[ ]*```", re.M | re.S)


def code_of(seed):
    """The code blocks of a document, as somebody who follows it pastes them."""
    blocks = []
    for block in FENCE.findall(seed):
        lines = block.splitlines()
        if lines and lines[0].strip() == "<copy>":
            lines = lines[1 : next(at for at, line in enumerate(lines) if line.strip() == "</copy>")]
        blocks.append(textwrap.dedent("\n".join(lines)) + "\n")
    return blocks


class Lab:
    """The lab's programs, from the folder that PENSTOCK_SEEDS names."""

    def __init__(self, folder):
        found = sorted(Path(folder).glob("004*.txt"))
        if not found:
            raise unittest.SkipTest(f"there is no document of the lab in {folder}")
        blocks = code_of(found[0].read_text())
        handlers = [block for block in blocks if "def handler(" in block]
        self.datadog, self.first, self.second = handlers
        (self.datadog_yaml,) = [block for block in blocks if "schema_version" in block]
        (self.requirements,) = [block for block in blocks if block.startswith("fdk")]
