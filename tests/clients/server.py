"""A server under test: a process of its own with a data folder of its own, and the ways to look into it.

Only the standard library, so that tests without packages can use it too.
"""

import gzip
import http.client
import http.server
import json
import os
import re
import signal
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

LISTENING = re.compile(r"listening on (http://\S+)")


class Server:
    """Starts, stops and kills one server. Its folder lives as long as this object."""

    def __init__(self, options, settings=None):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-test-"))
        self.data = self.folder / "data"
        self.settings = settings or {}
        self.process = None
        self.address = "127.0.0.1:0"
        self.start_secs = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"http://{self.address}"

    @property
    def pid(self):
        return self.process.pid

    def environment(self):
        """Ours without settings of another server, and with state folders that are not the user's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        ours = {"XDG_STATE_HOME": str(self.folder / "state"), "NO_COLOR": "1", "RUST_BACKTRACE": "0"}
        return {**kept, **ours, **self.settings}

    def start(self):
        """Starts the server on the port it had before, so that its key files stay good, and waits until it is ready."""
        began = time.monotonic()
        log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen(
            [self.options.binary, "serve", "--data", str(self.data), "--listen", self.address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=self.environment(),
            cwd=self.folder,
        )
        log.close()
        found = threading.Event()
        threading.Thread(target=self.read_output, args=(self.process, found), daemon=True).start()
        if not found.wait(60) or self.address.endswith(":0"):
            raise AssertionError(f"the server printed no address\n{self.log()}")
        until(lambda: self.get_status("/readyz") == 200 or None, "the server is not ready", 60, every=0.005)
        self.start_secs = time.monotonic() - began
        return self

    def read_output(self, process, found):
        with open(self.folder / "server.out", "ab") as kept:
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                match = LISTENING.search(line.decode(errors="replace"))
                if match and not found.is_set():
                    self.address = match.group(1).removeprefix("http://").rstrip("/.,")
                    found.set()
        found.set()

    def stop(self):
        """Ends it as an operator would; gives how long that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        if status != 0:
            raise AssertionError(f"the server ended with status {status} on SIGTERM\n{self.log()}")
        return time.monotonic() - began

    def kill(self):
        """Ends it as a power cut would, as far as a process can feel one."""
        self.process.kill()
        self.process.wait(30)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        if self.options.keep:
            print(f"        kept {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        """The end of what the server wrote, for the text of a failure."""
        texts = []
        for name in ("server.out", "server.log"):
            path = self.folder / name
            if path.exists():
                texts.append(f"--- end of {name}\n" + path.read_text(errors="replace")[-3000:])
        return "\n".join(texts)

    # Looking in.

    @property
    def key_file(self):
        return self.data / "keys" / "default.json"

    @property
    def customer_id(self):
        return json.loads(self.key_file.read_text())["customer_id"]

    @property
    def operator_token(self):
        return (self.data / "keys" / "operator.token").read_text().strip()

    def ask(self, method, path, body=None, headers=None, timeout=60):
        """One request exactly as given: nothing is added but Host, Content-Length and what `headers` says."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def get_status(self, path):
        try:
            return self.ask("GET", path, timeout=5).status
        except OSError:
            return None

    def api(self, method, path, body=None, timeout=120):
        headers = {"Authorization": f"Bearer {self.operator_token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        return self.ask(method, path, body, headers, timeout)

    def search(self, language, query, **more):
        """The rows of a search and its closing line."""
        reply = self.api("POST", "/api/search", {"language": language, "query": query, **more})
        if reply.status != 200:
            raise AssertionError(f"search {query!r}: {reply.status} {reply.text}")
        *rows, done = [json.loads(line) for line in reply.body.splitlines() if line]
        if done.get("done") is not True:
            raise AssertionError(f"search {query!r} does not end with a done line but {done}")
        return rows, done

    def cli(self, *arguments, status=0):
        """Runs a command of the binary against this server; gives its standard output."""
        command = [self.options.binary, *arguments, "--server", self.url, "--data", str(self.data)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environment())
        if ran.returncode != status:
            raise AssertionError(f"{arguments} ended with {ran.returncode}, not {status}:\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def cli_rows(self, *arguments):
        """The JSON objects that a command prints with `-o ndjson`, without a search's closing line."""
        rows = [json.loads(line) for line in self.cli(*arguments, "-o", "ndjson").splitlines() if line]
        return [row for row in rows if row.get("done") is not True]

    def api_key(self, role="ingest", instance=None):
        """A new API key, of the default instance or of this one."""
        made = self.cli("key", "create", "--role", role, "--instance", instance or self.customer_id, "-o", "json")
        return json.loads(made)["api_key"]

    def new_instance(self):
        """The id of a new instance."""
        return json.loads(self.cli("instance", "create", "-o", "json"))["id"]

    def status(self):
        reply = self.api("GET", "/api/status")
        if reply.status != 200:
            raise AssertionError(f"GET /api/status: {reply.status} {reply.text}")
        return reply.json()

    def wait_stored(self, limit=120):
        """Waits until the store has read the whole log."""

        def read():
            return self.status()["followers"]["store"]["lag_bytes"] == 0 or None

        until(read, "the store has not read the whole log", limit, every=0.1)

    def memory_peak(self):
        """The most memory that the process ever had resident, in bytes."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) * 1024


class Reply:
    """An answer, read whole."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        if self.headers.get("Content-Encoding") == "gzip":
            self.body = gzip.decompress(self.body)

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.text[:2000]}"


class Collector:
    """A third party: takes what a connector delivers and keeps it."""

    def __init__(self):
        self.elements = []
        self.lock = threading.Lock()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                text = body.decode()
                if text.lstrip().startswith("["):
                    elements = json.loads(text)
                else:
                    elements = [json.loads(line) for line in text.splitlines() if line]
                with collector.lock:
                    collector.elements.extend(elements)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def having(self, wanted):
        """The elements for which `wanted` holds."""
        with self.lock:
            return [element for element in self.elements if wanted(element)]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def until(look, what, limit=30, every=0.05):
    """Looks again and again until there is something to see; gives it."""
    end = time.monotonic() + limit
    while True:
        seen = look()
        if seen is not None:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"{what} after {limit} s")
        time.sleep(every)
