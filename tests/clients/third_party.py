"""Third parties on this machine: TLS servers that stand in for hosts of the internet, certified by an authority of
their own.

Each keeps what it was sent, and can be told to be down, slow, or to answer with an error. The authority and the
certificates are made the way that a strict OpenSSL wants them: critical constraints and key usages, and identifiers
of both keys.
"""

import contextlib
import datetime
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time
from pathlib import Path

from server import until


class Authority:
    """An authority of a test, whose certificate lies in a file."""

    def __init__(self, folder):
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Third parties of a test")])
        usage = key_usage(key_cert_sign=True, crl_sign=True)
        built = self.builder(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0), usage)
        self.certificate = self.signed(built)
        self.file = self.folder / "third-party-ca.pem"
        self.file.write_bytes(pem(self.certificate))

    def certify(self, host):
        """A file with a key and a certificate for this host."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        usage = key_usage(digital_signature=True)
        built = self.builder(name, key, x509.BasicConstraints(ca=False, path_length=None), usage)
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        server = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = self.signed(built.add_extension(server, critical=False))
        file = self.folder / f"{host}.pem"
        encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(key.private_bytes(*encoding) + pem(certificate))
        return file

    def builder(self, subject, key, constraints, usage):
        from cryptography import x509

        now = datetime.datetime.now(datetime.timezone.utc)
        built = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        built = built.not_valid_before(now - datetime.timedelta(hours=1))
        built = built.not_valid_after(now + datetime.timedelta(days=2))
        built = built.add_extension(constraints, critical=True).add_extension(usage, critical=True)
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return built.add_extension(subject_key, critical=False).add_extension(issuer_key, critical=False)

    def signed(self, built):
        from cryptography.hazmat.primitives import hashes

        return built.sign(self.key, hashes.SHA256())


def key_usage(**given):
    from cryptography import x509

    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    names += " key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**{**dict.fromkeys(names.split(), False), **given})


def pem(certificate):
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


class Sent:
    """A request that arrived and was answered with a success."""

    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body

    def json(self):
        return json.loads(self.body)


class ThirdParty:
    """One host. What a subclass answers to a good request is in `answer`."""

    host = None

    def __init__(self, authority):
        self.sent = []
        self.connections = set()
        self.lock = threading.Lock()
        self.refused = 0
        self.status = None
        self.delay = 0.0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.certify(self.host))
        self.port = 0
        self.server = None
        self.up()

    # What it is told.

    def up(self):
        """Listens, on the port that it had before."""
        if self.server:
            return
        party = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are two writes, which must not wait for each other.
            disable_nagle_algorithm = True
            timeout = 30

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply(*party.take(self.path, self.headers, body))

            def do_GET(self):
                self.reply(404, {"error": "only POST"})

            def reply(self, status, answer):
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def finish_request(self, request, client_address):
                # The handshake is each connection's own matter: a slow one holds up nobody else.
                request.settimeout(30)
                with party.context.wrap_socket(request, server_side=True) as connection:
                    with party.lock:
                        party.connections.add(connection)
                    try:
                        super().finish_request(connection, client_address)
                    finally:
                        with party.lock:
                            party.connections.discard(connection)

            def handle_error(self, *_):
                """Clients that go away are no news here."""

        self.server = Listener(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self):
        """Takes no more connections, and breaks those that there are."""
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        if self.server:
            self.down()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def take(self, path, headers, body):
        time.sleep(self.delay)
        answer = (self.status, {"error": "told to refuse"}) if self.status else self.answer(path, headers, body)
        with self.lock:
            if answer[0] < 300:
                self.sent.append(Sent(path, headers, body))
            else:
                self.refused += 1
        return answer

    def answer(self, path, headers, body):
        raise NotImplementedError

    # What is asked of it.

    def bodies(self):
        """Everything that it took, parsed, in its order."""
        with self.lock:
            return [sent.json() for sent in self.sent]

    def forget(self):
        with self.lock:
            self.sent.clear()

    def having(self, count, what, limit=60):
        """Waits until it took so many, and gives all that it has then."""

        def look():
            bodies = self.bodies()
            return bodies if len(bodies) >= count else None

        return until(look, f"{self.host} has not got {count} {what} but {len(self.bodies())}", limit)


class Placeholder(ThirdParty):
    """Stands in for the lab's third party: says 201 with what it was sent and an id."""

    host = "jsonplaceholder.typicode.com"

    def answer(self, path, headers, body):
        if path != "/todos":
            return 404, {}
        return 201, {**json.loads(body), "id": 201}


class Datadog(ThirdParty):
    """Stands in for Datadog's intake."""

    host = "http-intake.logs.datadoghq.com"
    key = "ZZZZZzzzzz"

    def answer(self, path, headers, body):
        if path != "/v1/input":
            return 404, {}
        if headers.get("DD-API-KEY") != self.key:
            return 403, {"errors": ["Forbidden"]}
        json.loads(body)
        return 202, {}
