"""A server in Google's place, for clients that know no other address, and what they need to believe it.

`AsGoogle` comes first among the bases of a case. It starts one server for the whole case with the googleapis listener,
and says how a program is run against it: HTTPS_PROXY names the listener, REQUESTS_CA_BUNDLE its certificate, and key
files name Google's token endpoint. No line of a client is changed. What was sent is looked up over our own API.
"""

import json
import os
import subprocess
import sys
import unittest
import unittest.mock

from server import Server, until

GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"


class AsGoogle:
    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        # Google's library keeps the log types of the first server that it met for as long as the process lives.
        cls.enterClassContext(unittest.mock.patch("secops.chronicle.log_types._LOG_TYPES_CACHE", None))
        cls.server = Server(cls.options, {"PENSTOCK_LISTEN__GOOGLEAPIS__ADDRESS": "127.0.0.1:0"})
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        cls.folder = cls.server.folder
        cls.ca = cls.folder / "ca.pem"
        cls.server.cli("ca", "--out", str(cls.ca))
        cls.proxy = json.loads(cls.server.cli("ca", "-o", "json"))["proxy"]

    @classmethod
    def account(cls, role, instance=None):
        """A new account's key file as Google's are: tokens come from Google's address."""
        path = cls.folder / f"{role}-{len(os.listdir(cls.folder))}.json"
        instance = instance or cls.server.customer_id
        cls.server.cli("account", "create", "--role", role, "--instance", instance, "--out", str(path))
        return {**json.loads(path.read_text()), "token_uri": GOOGLE_TOKEN_URL}

    @classmethod
    def written(cls, name, content):
        path = cls.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    @classmethod
    def key_file(cls, role, instance=None):
        """The path of such a file."""
        account = cls.account(role, instance)
        return cls.written(f"{account['client_email'].split('@')[0]}-google.json", account)

    @classmethod
    def environment(cls, credentials=None, **more):
        """Of a program that is to believe our server; without credentials it finds none."""
        ours = {
            "PATH": os.environ["PATH"],
            # Clients keep their settings there, and must not find the user's.
            "HOME": str(cls.folder),
            "HTTPS_PROXY": cls.proxy,
            "REQUESTS_CA_BUNDLE": str(cls.ca),
        }
        if credentials:
            ours["GOOGLE_APPLICATION_CREDENTIALS"] = str(credentials)
        return {**ours, **more}

    def run_program(self, program, *arguments, credentials=None, status=0, **environment):
        """Runs a program; gives what it prints, with what it complains of where it is to fail."""
        ran = subprocess.run(
            [sys.executable, "-B", "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment(credentials, **environment),
            cwd=self.folder,
        )
        self.assertEqual(ran.returncode, status, ran.stdout + ran.stderr + self.server.log())
        # google-auth's call in the background: it only warns, so that is looked for.
        self.assertNotIn("malformed", ran.stderr)
        return ran.stdout + (ran.stderr if status else "")

    def find(self, language, query, count=1, **more):
        """The rows of a search once there are so many, and not one more."""

        def look():
            rows = self.server.search(language, query, **more)[0]
            return rows if len(rows) >= count else None

        rows = until(look, f"{query!r} does not find {count}")
        self.assertEqual(len(rows), count, f"{query!r} finds {rows[:3]} and so on")
        return rows

    def find_nothing(self, language, query, **more):
        """What was refused is nowhere, once everything that was taken can be seen."""
        self.server.wait_stored()
        self.assertEqual(self.server.search(language, query, **more)[0], [], query)


def console_script(entry_point):
    """The program of a package's command, as its installer writes it; `module:function`."""
    module, function = entry_point.split(":")
    name = module.split(".")[0]
    return f"import sys; sys.argv[0] = {name!r}; from {module} import {function}; sys.exit({function}())"
