"""Oracle's library against the calls of OCI that are served: what is made is found, changed, listed in pages and
removed; what is refused says so in OCI's form; and nothing is taken whose signature is not right.
"""

import base64
import io
import json
import subprocess
import unittest
import zipfile
from datetime import datetime, timedelta, timezone

from as_oci import OCI, AsOci, new_id, window

HELLO = """
import io
import json
import os
import sys


def handler(ctx, data: io.BytesIO = None):
    print("printed", file=sys.stderr)
    asked = json.loads(data.getvalue() or b"null")
    if asked == "raise":
        raise ValueError("told to raise")
    return json.dumps({"asked": asked, "who": os.environ.get("WHO"), "function": ctx.FnName(), "call": ctx.CallID()})
"""


class Calls(AsOci, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.compartment = cls.tenancy()
        cls.logging = cls.client("logging.LoggingManagementClient")
        cls.identity = cls.client("identity.IdentityClient")
        cls.functions = cls.client("functions.FunctionsManagementClient")
        cls.invoking = cls.client("functions.FunctionsInvokeClient")
        cls.connectors = cls.client("sch.ServiceConnectorClient")
        cls.ingestion = cls.client("loggingingestion.LoggingClient")

    def refused(self, status, code, call, *arguments, **named):
        """A call is refused with this, in OCI's form."""
        import oci

        with self.assertRaises(oci.exceptions.ServiceError) as caught:
            call(*arguments, **named)
        error = caught.exception
        self.assertEqual((error.status, error.code), (status, code), error.message)
        self.assertTrue(error.message)
        self.assertTrue(error.request_id, "an error has a request id")
        return error

    def finished(self, client, answer):
        """The work that an answer names, once it is done; gives the OCID of what it was done to."""
        import oci

        work = client.get_work_request(answer.headers["opc-work-request-id"])
        work = oci.wait_until(client, work, "status", "SUCCEEDED", max_interval_seconds=1, max_wait_seconds=30).data
        self.assertEqual(work.percent_complete, 100.0)
        return work.resources[0].identifier

    def group(self, name):
        details = self.models("logging").CreateLogGroupDetails(compartment_id=self.compartment, display_name=name)
        return self.finished(self.logging, self.logging.create_log_group(details))

    def log(self, group, name):
        details = self.models("logging").CreateLogDetails(display_name=name, log_type="CUSTOM")
        return self.finished(self.logging, self.logging.create_log(group, details))

    @staticmethod
    def models(module):
        import oci

        return getattr(oci, module).models

    def every(self, call, *arguments, **named):
        import oci

        return oci.pagination.list_call_get_all_results(call, *arguments, **named).data

    # Resources.

    def test_log_groups_and_logs(self):
        models = self.models("logging")
        group = self.group("sdk-logs")
        found = self.logging.get_log_group(group)
        self.assertEqual((found.data.display_name, found.data.lifecycle_state), ("sdk-logs", "ACTIVE"))
        log = self.log(group, "one")
        seen = self.logging.get_log(group, log).data
        self.assertEqual((seen.display_name, seen.log_type, seen.is_enabled), ("one", "CUSTOM", True))
        self.assertEqual(
            (seen.log_group_id, seen.compartment_id, seen.tenancy_id), (group, self.compartment, self.compartment)
        )
        self.refused(409, "Conflict", self.log, group, "one")

        etag = found.headers["etag"]
        changed = models.UpdateLogGroupDetails(description="changed")
        self.refused(412, "NoEtagMatch", self.logging.update_log_group, group, changed, if_match='"another"')
        self.logging.update_log_group(group, changed, if_match=etag)
        now = self.logging.get_log_group(group)
        self.assertEqual(now.data.description, "changed")
        self.assertNotEqual(now.headers["etag"], etag)

        self.finished(self.logging, self.logging.delete_log(group, log))
        self.refused(404, "NotAuthorizedOrNotFound", self.logging.get_log, group, log)
        self.finished(self.logging, self.logging.delete_log_group(group))
        self.refused(404, "NotAuthorizedOrNotFound", self.logging.get_log_group, group)

    def test_lists_come_in_pages(self):
        group = self.group("sdk-pages")
        names = [f"log-{number}" for number in range(7)]
        for name in names:
            self.log(group, name)
        first = self.logging.list_logs(group, limit=3)
        self.assertEqual(len(first.data), 3)
        self.assertTrue(first.has_next_page)
        self.assertEqual(sorted(log.display_name for log in self.every(self.logging.list_logs, group, limit=3)), names)
        self.assertEqual(
            [log.display_name for log in self.logging.list_logs(group, display_name="log-4").data], ["log-4"]
        )

    def test_a_repeated_request_makes_one(self):
        models = self.models("logging")
        details = models.CreateLogGroupDetails(compartment_id=self.compartment, display_name="sdk-once")
        token = new_id()
        first, second = (self.logging.create_log_group(details, opc_retry_token=token) for _ in range(2))
        self.assertEqual(self.finished(self.logging, first), self.finished(self.logging, second))
        other = models.CreateLogGroupDetails(compartment_id=self.compartment, display_name="sdk-other")
        self.refused(409, "InvalidatedRetryToken", self.logging.create_log_group, other, opc_retry_token=token)

    def test_compartments(self):
        models = self.models("identity")
        details = models.CreateCompartmentDetails(compartment_id=self.compartment, name="sdk-place", description="d")
        made = self.identity.create_compartment(details).data
        self.assertEqual(
            (made.name, made.compartment_id, made.lifecycle_state), ("sdk-place", self.compartment, "ACTIVE")
        )
        listed = self.every(self.identity.list_compartments, self.compartment)
        self.assertIn(made.id, [one.id for one in listed])
        root = self.identity.get_compartment(self.compartment).data
        self.assertEqual(root.id, self.compartment)
        below = models.CreateCompartmentDetails(compartment_id=made.id, name="below", description="d")
        below = self.identity.create_compartment(below).data
        whole = self.every(self.identity.list_compartments, self.compartment, compartment_id_in_subtree=True)
        self.assertLessEqual({made.id, below.id}, {one.id for one in whole})

    def test_connectors(self):
        models = self.models("sch")
        app = self.application("sdk-connectors")
        function = self.function(app, "target")
        source = models.LoggingSourceDetails(
            log_sources=[models.LogSource(compartment_id=self.compartment, log_group_id="_Audit")]
        )
        condition = (
            "(type='a' or logContent.type='b') AND (isNull(data.request.action) or data.request.action != 'GET')"
        )
        details = models.CreateServiceConnectorDetails(
            display_name="sdk",
            compartment_id=self.compartment,
            source=source,
            tasks=[models.LogRuleTaskDetails(condition=condition)],
            target=models.FunctionsTargetDetails(function_id=function, batch_size_in_kbs=512, batch_time_in_sec=60),
        )
        connector = self.finished(self.connectors, self.connectors.create_service_connector(details))
        found = self.connectors.get_service_connector(connector)
        self.assertEqual((found.data.lifecycle_state, found.data.target.batch_size_in_kbs), ("ACTIVE", 512))
        self.assertEqual(found.data.tasks[0].condition, condition)
        listed = self.connectors.list_service_connectors(self.compartment, display_name="sdk").data.items
        self.assertEqual([one.id for one in listed], [connector])
        changed = models.UpdateServiceConnectorDetails(display_name="sdk-renamed")
        self.finished(
            self.connectors,
            self.connectors.update_service_connector(connector, changed, if_match=found.headers["etag"]),
        )
        self.assertEqual(self.connectors.get_service_connector(connector).data.display_name, "sdk-renamed")
        for verb, state in [("deactivate", "INACTIVE"), ("activate", "ACTIVE")]:
            call = getattr(self.connectors, f"{verb}_service_connector")
            self.finished(self.connectors, call(connector))
            self.assertEqual(self.connectors.get_service_connector(connector).data.lifecycle_state, state)
        requests = self.every(self.connectors.list_work_requests, self.compartment)
        self.assertGreaterEqual(len(requests if isinstance(requests, list) else requests.items), 4)

        details.tasks[0].condition = "type = "
        error = self.refused(400, "InvalidParameter", self.connectors.create_service_connector, details)
        self.assertIn("condition", error.message)
        details.tasks = []
        details.target = models.FunctionsTargetDetails(function_id=function[:-4] + "0000")
        self.refused(404, "NotAuthorizedOrNotFound", self.connectors.create_service_connector, details)
        self.finished(self.connectors, self.connectors.delete_service_connector(connector))
        gone = self.connectors.list_service_connectors(self.compartment, lifecycle_state="ACTIVE").data.items
        self.assertNotIn(connector, [one.id for one in gone])

    # Functions.

    def application(self, name):
        models = self.models("functions")
        details = models.CreateApplicationDetails(
            compartment_id=self.compartment,
            display_name=name,
            subnet_ids=["ocid1.subnet.oc1..none"],
            config={"WHO": "app"},
        )
        return self.functions.create_application(details).data.id

    def archive(self):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            file.writestr("func.py", HELLO)
            file.writestr("requirements.txt", "fdk==0.1.128\n")
        return content.getvalue()

    def function(self, app, name, config=None):
        """A function of an archive, once it is installed."""
        models = self.models("functions")
        source = models.CreateArchiveFunctionSourceDetails(
            archive_source_details=models.CreateDirectArchiveSourceDetails(
                archive_file=base64.b64encode(self.archive()).decode()
            ),
            handler="func.handler",
            runtime_config=models.CreateFunctionUpdateRuntimeConfig(functions_runtime_name="python3.12"),
        )
        details = models.CreateFunctionDetails(
            application_id=app,
            display_name=name,
            memory_in_mbs=128,
            timeout_in_seconds=30,
            config=config,
            source_details=source,
        )
        return self.installed(self.functions.create_function(details).data.id)

    def installed(self, function):
        import oci

        found = self.functions.get_function(function)
        waits = {"max_interval_seconds": 1, "max_wait_seconds": 180}
        return oci.wait_until(self.functions, found, "lifecycle_state", "ACTIVE", **waits).data.id

    def test_a_function_by_command(self):
        """Made of a zip file, given a configuration, called and deleted with nothing but the `oci` command."""
        app = self.application("cli-functions")
        file = self.server.folder / "hello.zip"
        file.write_bytes(self.archive())
        kind = ("archive-function", "direct-archive", "fn-update-runtime-config")
        made = self.oci(
            *("fn", "function", "create", *kind, "--display-name", "zipped", "--application-id", app),
            *("--memory-in-mbs", "128", "--archive-file", str(file), "--handler", "func.handler"),
            *("--functions-runtime-name", "python3.12"),
        )["data"]["id"]
        self.installed(made)
        call = ("fn", "function", "invoke", "--function-id", made, "--file", "-")
        self.assertEqual(self.oci(*call, "--body", '["x"]')["who"], "app")
        change = ("--config", '{"WHO": "changed"}', "--force")
        self.oci("fn", "function", "update", "archive-function", "--function-id", made, *change)
        self.assertEqual(self.oci(*call, "--body", "")["who"], "changed")
        self.assertIsNone(self.oci(*call, "--body", "1", "--fn-invoke-type", "detached"))
        self.call_that("zipped", lambda seen: seen["state"] == "ok" and seen["records"] is None, "is ok")
        said = self.oci(*call[:-2], "--file", "-", "--body", '"raise"', "--no-retry", status=1)
        self.assertIn("FunctionInvokeExecutionFailed", said)
        self.oci("fn", "function", "delete", "--function-id", made, "--force")

    def test_functions(self):
        models = self.models("functions")
        app = self.application("sdk-functions")
        function = self.function(app, "hello", {"WHO": "function"})
        seen = self.functions.get_function(function)
        self.assertEqual((seen.data.memory_in_mbs, seen.data.config), (128, {"WHO": "function"}))
        self.assertEqual(seen.data.invoke_endpoint, self.server.url)

        answer = self.invoking.invoke_function(function, invoke_function_body=b'[1, "\xc3\xa5"]')
        said = json.loads(answer.data.content)
        self.assertEqual((said["asked"], said["who"], said["function"]), ([1, "å"], "function", "hello"))
        self.assertEqual(answer.headers["fn-call-id"], said["call"])
        large = json.dumps("x" * (5 << 20)).encode()
        self.assertEqual(
            len(json.loads(self.invoking.invoke_function(function, invoke_function_body=large).data.content)["asked"]),
            5 << 20,
        )
        self.refused(
            413, "RequestEntityTooLarge", self.invoking.invoke_function, function, invoke_function_body=b"x" * (7 << 20)
        )
        self.refused(
            502,
            "FunctionInvokeExecutionFailed",
            self.invoking.invoke_function,
            function,
            invoke_function_body=b'"raise"',
        )
        detached = self.invoking.invoke_function(function, invoke_function_body=b'"later"', fn_invoke_type="detached")
        self.assertEqual(detached.status, 202)
        call = detached.headers["fn-call-id"]
        self.call_that("hello", lambda seen: seen["call_id"] == call and seen["state"] == "ok", "is the detached one")

        changed = models.UpdateFunctionDetails(config={"WHO": "changed"})
        self.refused(412, "NoEtagMatch", self.functions.update_function, function, changed, if_match='"another"')
        self.functions.update_function(function, changed, if_match=seen.headers["etag"])
        said = json.loads(self.invoking.invoke_function(function, invoke_function_body=b"1").data.content)
        self.assertEqual(said["who"], "changed")
        self.assertEqual([one.id for one in self.functions.list_functions(app).data], [function])
        self.functions.delete_function(function)
        self.refused(404, "NotAuthorizedOrNotFound", self.invoking.invoke_function, function, invoke_function_body=b"1")
        self.functions.delete_application(app)
        self.refused(404, "NotAuthorizedOrNotFound", self.functions.get_application, app)

    def test_a_container_image_is_nothing_that_runs(self):
        """It is kept as what the function is, and calls say that there is no code."""
        models = self.models("functions")
        app = self.application("sdk-images")
        source = models.CreateContainerImageFunctionSourceDetails(image="iad.ocir.io/ns/repo/hello:0.0.1")
        details = models.CreateFunctionDetails(
            application_id=app, display_name="image", memory_in_mbs=128, source_details=source
        )
        made = self.functions.create_function(details).data.id
        self.refused(
            502, "FunctionInvokeImageNotAvailable", self.invoking.invoke_function, made, invoke_function_body=b"1"
        )

    def test_the_older_api_of_functions(self):
        """Of SDKs before 2.187.0, whose calls are signed by the library that is installed here."""
        listed = self.signed("GET", f"/20181201/applications?compartmentId={self.compartment}")
        self.assertEqual(listed.status_code, 200, listed.text)
        app = self.application("sdk-older")
        seen = self.signed("GET", f"/20181201/applications/{app}")
        self.assertEqual(seen.json()["displayName"], "sdk-older")

    # Records.

    def test_what_is_put_is_found(self):
        models = self.models("loggingingestion")
        log = self.log(self.group("sdk-records"), "records")
        mark = f"mark-{new_id()[:8]}"
        now = datetime.now(timezone.utc)
        texts = [
            f"{mark} plain",
            f"{mark} Malmö ☃ 😀 \u2028",
            json.dumps({"message": mark, "deep": {"er": [1, None]}}),
            f"{mark} " + "x" * 200_000,
        ]
        entries = [models.LogEntry(data=text, id=new_id(), time=now) for text in texts]
        batch = models.LogEntryBatch(
            entries=entries, source="host-1", type="com.example.app", subject="unit", defaultlogentrytime=now
        )
        answer = self.ingestion.put_logs(log, models.PutLogsDetails(specversion="1.0", log_entry_batches=[batch]))
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["opc-request-id"])
        rows = {
            row["id"]: row
            for row in self.finding(f"search \"{self.compartment}\" | logContent = '*{mark}*'", len(texts))
        }
        self.assertEqual(set(rows), {entry.id for entry in entries})
        for entry, text in zip(entries, texts):
            row = rows[entry.id]
            expected = json.loads(text) if text.startswith("{") else {"message": text}
            self.assertEqual(row["data"], expected)
            self.assertEqual(
                (row["source"], row["type"], row["subject"], row["specversion"]),
                ("host-1", "com.example.app", "unit", "1.0"),
            )
            self.assertEqual((row["oracle"]["logid"], row["oracle"]["tenantid"]), (log, self.compartment))
            self.assertTrue(row["oracle"]["ingestedtime"])
        self.refused(
            404,
            "NotAuthorizedOrNotFound",
            self.ingestion.put_logs,
            log[:-4] + "0000",
            models.PutLogsDetails(specversion="1.0", log_entry_batches=[batch]),
        )

    def test_queries(self):
        log = self.log(self.group("sdk-queries"), "q")
        self.put(
            log,
            [{"city": city, "n": n} for n, city in enumerate(["Malmö", "Lund", "Lund", "Ystad"])],
            kind="com.example.q",
        )
        scope = f"search \"{self.compartment}\" | type = 'com.example.q'"
        self.assertEqual(len(self.finding(scope, 4)), 4)
        for stages, wanted in [
            (" and data.city = 'Lund'", 2),
            (" | where data.n >= 2", 2),
            (" | where not (data.city = 'Lund')", 2),
            (" and data.city = '*Yst*'", 1),
            (" | sort by datetime desc | top 3 by datetime", 3),
        ]:
            with self.subTest(stages):
                self.assertEqual(len(self.found(scope + stages)), wanted)
        counted = self.rows(scope + " | summarize count() as hits by data.city | sort by hits desc")
        self.assertEqual([row["hits"] for row in counted], [2, 1, 1], counted)
        (total,) = self.rows(scope + " | count")
        self.assertEqual(list(total.values()), [4], total)
        error = self.refused(400, "InvalidParameter", self.found, f"{scope} | where")
        self.assertTrue(error.message)

    def rows(self, query):
        models = self.models("loggingsearch")
        now = datetime.now(timezone.utc)
        asked = models.SearchLogsDetails(
            time_start=now - timedelta(hours=1), time_end=now + timedelta(minutes=5), search_query=query
        )
        return [row.data for row in self.client("loggingsearch.LogSearchClient").search_logs(asked).data.results]

    # Signatures.

    def signed(self, method, path, body=None, change=None, key=None, drop=()):
        """One request signed by the library, then changed."""
        import oci
        import requests

        config = oci.config.from_file(str(self.as_user / "config"))
        signer = oci.signer.Signer(
            *(config["tenancy"], config["user"], config["fingerprint"]),
            key or config["key_file"],
        )
        request = requests.Request(method, self.server.url + path, data=body, auth=signer)
        if body is not None:
            request.headers["content-type"] = "application/json"
        prepared = requests.Session().prepare_request(request)
        if change:
            change(prepared)
        for name in drop:
            del prepared.headers[name]
        return requests.Session().send(prepared, timeout=30)

    def test_only_what_is_signed_rightly_is_taken(self):
        import requests
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        stranger = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self.server.folder / "stranger.pem"
        file.write_bytes(stranger)
        path = f"/20200531/logGroups?compartmentId={self.compartment}"
        body = json.dumps({"compartmentId": self.compartment, "displayName": "never"}).encode()
        make = "/20200531/logGroups"

        def in_body(request):
            request.body = request.body.replace(b"never", b"nevar")

        def in_path(request):
            request.url += "&limit=1"

        def in_authorization(old, new):
            def change(request):
                said = request.headers["authorization"]
                assert old in said
                request.headers["authorization"] = said.replace(old, new, 1)

            return change

        self.assertEqual(self.signed("GET", path).status_code, 200)
        skewed = {"date": (datetime.now(timezone.utc) - timedelta(minutes=6)).strftime("%a, %d %b %Y %H:%M:%S GMT")}
        cases = {
            "another's key": lambda: self.signed("GET", path, key=str(file)),
            "a changed path": lambda: self.signed("GET", path, change=in_path),
            "a changed body": lambda: self.signed("POST", make, body, change=in_body),
            "an unknown user": lambda: self.signed(
                "GET", path, change=in_authorization("ocid1.user.oc1..", "ocid1.user.oc1..0")
            ),
            "another tenancy": lambda: self.signed(
                "GET", path, change=in_authorization("ocid1.tenancy.oc1..", "ocid1.tenancy.oc1..0")
            ),
            "another algorithm": lambda: self.signed("GET", path, change=in_authorization("rsa-sha256", "rsa-sha1")),
            "without a date": lambda: self.signed("GET", path, drop=["date"]),
            "no signature": lambda: requests.get(self.server.url + path, timeout=30),
            "an old date": lambda: self.at(skewed, path),
        }
        for name, send in cases.items():
            with self.subTest(name):
                answer = send()
                self.assertEqual(answer.status_code, 401, answer.text)
                said = answer.json()
                self.assertEqual(said["code"], "NotAuthenticated", said)
                self.assertTrue(said["message"])
                self.assertTrue(answer.headers["opc-request-id"])
        self.assertEqual(self.logging.list_log_groups(self.compartment, display_name="never").data, [])

    def at(self, headers, path):
        """A request that is signed with these headers in the place of the library's own."""
        import oci
        import requests

        config = oci.config.from_file(str(self.as_user / "config"))
        signer = oci.signer.Signer(config["tenancy"], config["user"], config["fingerprint"], config["key_file"])
        request = requests.Request("GET", self.server.url + path, headers=headers, auth=signer)
        return requests.Session().send(requests.Session().prepare_request(request), timeout=30)

    def test_roles(self):
        """Who may only send may not look."""
        import oci

        log = self.log(self.group("sdk-roles"), "l")
        folder = self.server.folder / "sender"
        self.server.cli("oci-user", "create", "--out", str(folder), "--role", "ingest")
        config = oci.config.from_file(str(folder / "config"))
        models = self.models("loggingingestion")
        now = datetime.now(timezone.utc)
        entry = models.LogEntry(data="by a sender", id=new_id(), time=now)
        batch = models.LogEntryBatch(entries=[entry], source="s", type="t", defaultlogentrytime=now)
        details = models.PutLogsDetails(specversion="1.0", log_entry_batches=[batch])
        sender = oci.loggingingestion.LoggingClient(config, service_endpoint=self.server.url)
        self.assertEqual(sender.put_logs(log, details).status, 200)
        looker = oci.logging.LoggingManagementClient(config, service_endpoint=self.server.url)
        self.refused(404, "NotAuthorizedOrNotFound", looker.list_log_groups, self.compartment)

    def test_the_command_says_what_is_wrong(self):
        said = self.oci(
            "logging", "log-group", "get", "--log-group-id", "ocid1.loggroup.oc1.us-ashburn-1.none", status=1
        )
        self.assertIn("NotAuthorizedOrNotFound", said)
        self.assertNotIn("Traceback", said)
        begin, end = window()
        command = ("logging-search", "search-logs", "--time-start", begin, "--time-end", end)
        self.assertIn("InvalidParameter", self.oci(*command, "--search-query", "find everything", status=1))

    def test_a_user_that_is_ended(self):
        folder = self.server.folder / "ended"
        self.server.cli("oci-user", "create", "--out", str(folder), "--instance", self.server.customer_id)
        import oci

        config = oci.config.from_file(str(folder / "config"))
        client = oci.logging.LoggingManagementClient(config, service_endpoint=self.server.url)
        client.list_log_groups(self.compartment)
        self.server.cli("oci-user", "delete", config["user"])
        self.refused(401, "NotAuthenticated", client.list_log_groups, self.compartment)

    def test_the_folder_of_a_user(self):
        """What the command finds there is enough for it, and for nobody else's eyes; it warns of nothing."""
        for name in ("config", "key.pem", "oci_cli_rc"):
            self.assertEqual((self.as_user / name).stat().st_mode & 0o777, 0o600, name)
        listing = [*OCI, "iam", "compartment", "list", "--compartment-id", self.compartment]
        ran = subprocess.run(listing, capture_output=True, text=True, env=self.environment, timeout=60)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_a_profile_beside_others(self):
        """`--install` adds a profile behind those that are there, and touches none of them."""
        home = self.server.folder / "somebody"
        (home / ".oci").mkdir(parents=True)
        config = home / ".oci" / "config"
        before = "[DEFAULT]\nuser=ocid1.user.oc1..theirs\nregion=eu-frankfurt-1\n# theirs"
        config.write_text(before)
        config.chmod(0o600)
        command = [self.options.binary, "oci-user", "create", "--out", str(home / "lab"), "--install"]
        command += ["--server", self.server.url, "--data", str(self.server.data)]
        command += ["--instance", self.server.customer_id]
        environment = {**self.server.environment(), "HOME": str(home)}
        run = lambda: subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        made = run()
        self.assertEqual(made.returncode, 0, made.stderr)
        now = config.read_text()
        self.assertTrue(now.startswith(before))
        self.assertEqual(now.count("[PENSTOCK]"), 1)
        oci = [*OCI, "--profile", "PENSTOCK", "iam", "compartment", "list", "--compartment-id", self.compartment]
        theirs = {name: value for name, value in self.environment.items() if not name.startswith("OCI_CLI_")}
        listed = subprocess.run(oci, capture_output=True, text=True, env={**theirs, "HOME": str(home)}, timeout=60)
        self.assertEqual((listed.returncode, listed.stderr), (0, ""))
        command[4] = str(home / "again")
        again = run()
        self.assertEqual(again.returncode, 1, again.stdout)
        self.assertIn("PENSTOCK", again.stderr)
        self.assertEqual(config.read_text(), now)

    # Last: a server with two tenancies has to be told each time which is meant.

    def test_z_another_tenancy(self):
        import oci

        models = self.models("loggingingestion")
        group = self.group("sdk-foreign")
        log = self.log(group, "l")
        other = self.server.new_instance()
        folder = self.server.folder / "other"
        self.server.cli("oci-user", "create", "--out", str(folder), "--instance", other)
        config = oci.config.from_file(str(folder / "config"))
        stranger = oci.logging.LoggingManagementClient(config, service_endpoint=self.server.url)
        self.refused(404, "NotAuthorizedOrNotFound", stranger.list_logs, group)
        sender = oci.loggingingestion.LoggingClient(config, service_endpoint=self.server.url)
        now = datetime.now(timezone.utc)
        entry = models.LogEntry(data="by a stranger", id=new_id(), time=now)
        batch = models.LogEntryBatch(entries=[entry], source="s", type="t", defaultlogentrytime=now)
        details = models.PutLogsDetails(specversion="1.0", log_entry_batches=[batch])
        self.refused(404, "NotAuthorizedOrNotFound", sender.put_logs, log, details)
