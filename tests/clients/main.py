"""The runner of the tests with real clients; `run` beside it makes the environment and calls it.

A test is a method of a unittest case in one of the modules named below. Here they are counted and reported: a line for
each, every skip with its reason, and a closing line that a script can read.
"""

import argparse
import importlib
import os
import sys
import time
import traceback
import unittest

# In the order of running: what tells most, soonest, first.
MODULES = ["sample", "senders", "adc", "secops_sdk", "secops_cli", "parsers", "logstory_replay"]
MODULES += ["sekoia_docs", "sekoia_sdk", "sekoia_syslog", "sekoia_large"]
MODULES += ["oci_lab", "oci_sdk", "oci_faults", "lab_doc", "bad", "kill9"]
MODULES += ["normalise", "normalise_kill9"]


class Lines(unittest.TestResult):
    """Prints a line for every test as it ends."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.started_at = 0.0
        self.part_failed = False

    def startTest(self, test):
        super().startTest(test)
        self.part_failed = False
        self.started_at = time.monotonic()

    def say(self, word, test, text=""):
        seconds = time.monotonic() - self.started_at if self.started_at else 0.0
        print(f"{word} {name_of(test)}{text}  ({seconds:.1f} s)", flush=True)

    def addSuccess(self, test):
        # A test whose parts failed ends here too.
        if not self.part_failed:
            self.passed += 1
            self.say("ok     ", test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.failed(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self.failed(test, error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.part_failed = True
            self.failures.append((subtest, ""))
            self.failed(subtest, error)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIPPED {name_of(test)}: {reason}", flush=True)

    def failed(self, test, error):
        self.say("FAILED ", test)
        kind, value, trace = error
        text = "".join(traceback.format_exception(kind, value, trace))
        print("    " + text.rstrip().replace("\n", "\n    "), flush=True)


def name_of(test):
    """`module.Case.test`; where a whole case could not be set up, `module.Case`."""
    return test.id().removeprefix("setUpClass (").removesuffix(")")


def parse():
    parser = argparse.ArgumentParser(
        prog="tests/clients/run",
        description="Runs real clients against a real server. PENSTOCK_BIN names the binary; PENSTOCK_SEEDS, if set, "
        "the folder with the seed documents.",
        epilog="examples: run            everything (under ten minutes)\n"
        "          run sample     the sample program and what follows from it\n"
        "          run adc        credentials as Google's library finds them, through the googleapis listener\n"
        "          run secops_sdk secops_cli logstory_replay\n"
        "                         Google's library and command and logstory, through the same listener\n"
        "          run sekoia_docs sekoia_sdk sekoia_syslog\n"
        "                         Sekoia's documented examples, its SDK, and rsyslog as its forwarder\n"
        "          run oci_lab oci_sdk oci_faults lab_doc\n"
        "                         OCI's lab with Oracle's command and fdk, what goes wrong in it, and docs/lab-oci.md\n"
        "          run kill9 --rounds 20\n"
        "          run kill9 --unread-mb 2000\n"
        "          run normalise parsers normalise_kill9\n"
        "                         what parsers make of logs: found, delivered, switched, read again; killed meanwhile\n"
        "          run bad --long",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(MODULES))
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="kill9: how often the server is killed (default 3); normalise_kill9: the same, where it is over 32",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=None,
        help="kill9, normalise_kill9, sekoia_syslog: seed of the moments (default: new)",
    )
    parser.add_argument("--unread-mb", type=int, default=300, help="kill9: unread log at a start (default 300)")
    parser.add_argument("--long", action="store_true", help="bad, sekoia_large: also what takes minutes")
    parser.add_argument("--keep", action="store_true", help="keep the servers' folders and name them")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MODULES]
    if unknown:
        parser.error(f"no such test: {', '.join(unknown)}; there are {', '.join(MODULES)}")
    options.binary = os.environ.get("PENSTOCK_BIN", "")
    if not os.access(options.binary, os.X_OK):
        parser.error("set PENSTOCK_BIN to the penstock binary")
    options.binary = os.path.abspath(options.binary)
    options.seeds = os.environ.get("PENSTOCK_SEEDS") or None
    return options


def main():
    options = parse()
    result = Lines()
    for name in options.names or MODULES:
        module = importlib.import_module(name)
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        for case in vars(module).values():
            if isinstance(case, type) and issubclass(case, unittest.TestCase):
                case.options = options
        result.started_at = time.monotonic()
        suite.run(result)
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{result.passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not (result.passed or skipped) else 0


if __name__ == "__main__":
    sys.exit(main())
