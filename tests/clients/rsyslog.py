"""rsyslog from Debian, without installing it: the packages are fetched and unpacked into the cache that `run` keeps.

It runs in the foreground with a folder of its own and a configuration that says what Sekoia's forwarder says of the way
to Sekoia; what differs is the address, the certificates, and how soon it tries again.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from server import until

# rsyslogd, its ways to send over TLS and RELP, and the libraries that nothing else of a small system needs.
PACKAGES = ["rsyslog", "rsyslog-gnutls", "rsyslog-openssl", "rsyslog-relp"]
PACKAGES += ["librelp0", "libestr0", "libfastjson4", "liblognorm5"]

# The line that the forwarder makes of every message: its own time, the device's name, the key, the text without the
# blanks before it.
LINE = (
    "<%pri%>1 %timegenerated:::date-rfc3339% %hostname% %app-name% %procid% LOG "
    r"[SEKOIA@53288 intake_key=\"{key}\"] %msg:R,ERE,1,FIELD:^[ \t]*(.*)$--end%\n"
)
CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="250k" defaultNetstreamDriverCAFile="{ca}")
module(load="imtcp")
module(load="omrelp" tls.tlslib="openssl")
template(name="line" type="string" string="{line}")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{folder}/port" ruleset="forward")
ruleset(name="forward" queue.type="LinkedList" queue.filename="queue" queue.saveOnShutdown="on") {{
  action({action} template="line" action.resumeRetryCount="-1" action.resumeInterval="1")
}}
"""
TLS = (
    'type="omfwd" protocol="tcp" target="{host}" port="{port}" TCP_Framing="octet-counted" StreamDriver="{driver}" '
    'StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="{name}"'
)
RELP = (
    'type="omrelp" target="{host}" port="{port}" tls="on" tls.caCert="{ca}" tls.authMode="name" '
    'tls.permittedPeer=["{name}"]'
)


class Rsyslog:
    """One rsyslogd that forwards what it is fed. `way` is `gtls`, `ossl` or `relp`."""

    def __init__(self, way, address, name, ca, key, folder):
        self.root = unpacked()
        self.folder = Path(tempfile.mkdtemp(prefix="rsyslog-", dir=folder))
        host, port = address.rsplit(":", 1)
        action = (RELP if way == "relp" else TLS).format(host=host, port=port, driver=way, name=name, ca=ca)
        line = LINE.replace("{key}", key)
        configuration = CONFIGURATION.format(folder=self.folder, ca=ca, line=line, action=action)
        (self.folder / "rsyslog.conf").write_text(configuration)
        self.process = None

    def __enter__(self):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*command(self.root), "-n", "-f", self.folder / "rsyslog.conf", "-i", self.folder / "pid"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.root),
                cwd=self.folder,
            )
        self.port = until(self.listening, "rsyslogd does not listen")
        return self

    def listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"rsyslogd ended with {self.process.returncode}\n{self.log()}")
        path = self.folder / "port"
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text else None

    def feed(self, lines):
        """Hands lines over as a device would, over TCP."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall("".join(line + "\n" for line in lines).encode())

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)


def unpacked():
    """The folder with the unpacked packages; skips where the machine cannot have them."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE))
    root = cache / f"rsyslog-{system.get('ID')}-{system.get('VERSION_ID')}-{os.uname().machine}"
    if not root.exists():
        for program in ("apt-get", "dpkg"):
            if not shutil.which(program):
                raise unittest.SkipTest(f"there is no {program} on this machine, so rsyslog cannot be fetched")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="rsyslog-new.", dir=cache) as fresh:
            fresh = Path(fresh)
            download(fresh)
            (fresh / "root").mkdir()
            for package in fresh.glob("*.deb"):
                run("dpkg", "-x", package, fresh / "root")
            # Whoever renames first wins; the loser's copy is as good and goes.
            try:
                (fresh / "root").rename(root)
            except OSError:
                pass
    # What a full system has and a small one may not, such as libgnutls.
    modules = [libraries(root) / "rsyslog" / f"{name}.so" for name in ("omrelp", "lmnsd_gtls", "lmnsd_ossl")]
    loaded = run("ldd", root / "usr" / "sbin" / "rsyslogd", *modules, env=environment(root))
    missing = sorted(set(re.findall(r"(\S+) => not found", loaded)))
    if missing:
        raise unittest.SkipTest(f"rsyslog needs libraries that this machine does not have: {', '.join(missing)}")
    return root


def download(folder):
    """Fetches the packages with the lists that the system has, or else with lists of our own."""
    lists = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
    for directory in ("lists/partial", "cache/archives/partial"):
        (folder / directory).mkdir(parents=True)
    try:
        return run("apt-get", "download", *PACKAGES, cwd=folder)
    except unittest.SkipTest:
        run("apt-get", *lists, "update", cwd=folder)
        return run("apt-get", *lists, "download", *PACKAGES, cwd=folder)


def run(*command, **how):
    """What a program prints; skips where it does not work or is not there."""
    try:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, **how)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise unittest.SkipTest(f"{command[0]} does not work here: {error}") from error
    if ran.returncode != 0:
        lines = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()] or [""]
        raise unittest.SkipTest(f"{command[0]} {command[1]} does not work here: {lines[-1][:300]}")
    return ran.stdout


def libraries(root):
    """The folder of the unpacked libraries: `usr/lib/x86_64-linux-gnu` and its like."""
    found = sorted(root.glob("usr/lib/*/rsyslog"))
    if not found:
        raise unittest.SkipTest(f"rsyslog's package unpacks into other folders than known: {root}")
    return found[0].parent


def command(root):
    return [str(root / "usr" / "sbin" / "rsyslogd"), "-M", str(libraries(root) / "rsyslog")]


def environment(root):
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(libraries(root))}
