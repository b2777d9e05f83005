"""docs/lab-oci.md, followed by a shell to the letter.

Its blocks of `sh` are run in their order, each as a shell would go on from the one before: its folder and variables
are handed over. A line `<!-- shows: TEXT -->` before a block says what somebody who follows the document sees sooner
or later; such a block is run again until it shows that. What the test changes is where the server listens, which is
any free port here, and the third party, for which a stand-in is configured in the way that the document describes.
"""

import os
import re
import shlex
import subprocess
import unittest
from pathlib import Path

from as_oci import OCI, wheels
from server import Server, until
from third_party import Authority, Placeholder

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "lab-oci.md"
BLOCK = re.compile(r"(?:^<!-- shows: (?P<shows>[^\n]*) -->\n)?^```sh\n(?P<text>.*?)^```$", re.M | re.S)

STAND_IN = """
[functions.egress]
ca_file = "{file}"
hosts = {{ "{host}" = "{address}" }}
"""


class Document(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])

    def test_every_command_works(self):
        server = Server(self.options, wheels())
        self.addCleanup(server.close)
        authority = Authority(server.folder / "third-parties")
        placeholder = Placeholder(authority)
        self.addCleanup(placeholder.close)
        shell = Shell(server)
        blocks = [(block["text"], block["shows"]) for block in BLOCK.finditer(DOCUMENT.read_text())]
        self.assertGreater(len(blocks), 15)

        (start, _), *rest = blocks
        self.assertTrue(start.endswith("penstock serve\n"), start)
        shell.run(start.removesuffix("penstock serve\n"))
        settings = server.folder / "lab" / "penstock.toml"
        stand_in = STAND_IN.format(file=authority.file, host=placeholder.host, address=placeholder.address)
        (server.folder / "penstock.toml").write_text(settings.read_text() + stand_in)
        server.start()
        # The other terminal.
        shell = Shell(server)

        for text, shows in rest:
            shell.run(text, shows)
        titles = [todo["title"] for todo in placeholder.bodies()]
        self.assertEqual(titles, ["me"] + ["compute-for-log-test"] * 2 + ["-"] * 3)


class Shell:
    """Runs blocks one after the other; folder and variables of one are those of the next."""

    def __init__(self, server):
        self.server = server
        folder = server.folder / "shell"
        folder.mkdir(exist_ok=True)
        for name, command in [("penstock", [server.options.binary]), ("oci", OCI)]:
            program = folder / name
            program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            program.chmod(0o755)
        kept = {name: value for name, value in server.environment().items() if not name.startswith("OCI_")}
        self.environment = {**kept, "HOME": str(folder), "PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "200"}
        if server.process:
            self.environment["PENSTOCK_SERVER"] = server.url
        self.state = folder / "state"
        self.state.write_text(f"cd '{server.folder}'\n")

    def run(self, text, shows=None):
        if shows is None:
            return self.once(text)
        said = ["nothing"]

        def look():
            said[0] = self.once(text)
            return said[0] if shows in said[0] else None

        try:
            return until(look, "not shown", 60, every=0.5)
        except AssertionError:
            raise AssertionError(f"{shows!r} is not shown by\n{text}but\n{said[0]}\n{self.server.log()}") from None

    def once(self, text):
        # Everything that a block sets is exported, so that it can be handed on.
        keep = (
            f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > '{self.state}.new'\nmv '{self.state}.new' '{self.state}'\n"
        )
        script = f". '{self.state}'\nset -aeuo pipefail\n{text}\nset +a\n{keep}"
        ran = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            timeout=300,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        if ran.returncode:
            raise AssertionError(f"status {ran.returncode} of\n{text}\n{ran.stdout}{ran.stderr}\n{self.server.log()}")
        return ran.stdout + ran.stderr
