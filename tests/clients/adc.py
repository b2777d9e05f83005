"""Application-default credentials of every kind, as Google's own library finds and uses them, and no line of it changed.

Each test runs a program of its own that asks google-auth for credentials and posts to Google's ingestion host. That it
reaches our server is the environment's doing alone: HTTPS_PROXY names the googleapis listener, REQUESTS_CA_BUNDLE its
certificate. What was sent is found by search.
"""

import json
import re
import socket
import ssl
import threading
import unittest
from datetime import datetime, timedelta, timezone

from as_google import AsGoogle

CLOUD = "https://www.googleapis.com/auth/cloud-platform"

# What a program does that knows nothing of us. Warnings of the library go to its error output.
PROGRAM = """
import logging, sys
import google.auth
from google.auth.transport.requests import AuthorizedSession
logging.basicConfig(level=logging.WARNING)
credentials, _ = google.auth.default(scopes=[sys.argv[1]])
session = AuthorizedSession(credentials)
for text in sys.argv[2:]:
    body = {"log_type": "OKTA", "entries": [{"log_text": text}]}
    url = "https://malachiteingestion-pa.googleapis.com/v2/unstructuredlogentries:batchCreate"
    reply = session.post(url, json=body, timeout=60)
    print(reply.status_code, reply.text, flush=True)
print(type(credentials).__module__)
"""

# The same with credentials that the program makes itself from what it finds.
IMPERSONATING = """
import sys
import google.auth
from google.auth import impersonated_credentials
from google.auth.transport.requests import AuthorizedSession
source, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/iam"])
credentials = impersonated_credentials.Credentials(
    source_credentials=source, target_principal=sys.argv[2], target_scopes=[sys.argv[1]], lifetime=600
)
reply = AuthorizedSession(credentials).post(
    "https://europe-malachiteingestion-pa.googleapis.com/v2/unstructuredlogentries:batchCreate",
    json={"log_type": "OKTA", "entries": [{"log_text": sys.argv[3]}]},
    timeout=60,
)
print(reply.status_code, reply.text)
"""


class Adc(AsGoogle, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sender = cls.account("ingest")
        # The metadata listener is for an account that exists, so it comes with a second start.
        cls.server.stop()
        cls.server.settings["PENSTOCK_LISTEN__METADATA__ADDRESS"] = "127.0.0.1:0"
        cls.server.settings["PENSTOCK_LISTEN__METADATA__ACCOUNT"] = cls.sender["client_email"]
        cls.server.start()
        cls.proxy = json.loads(cls.server.cli("ca", "-o", "json"))["proxy"]
        said = (cls.folder / "server.out").read_text()
        cls.metadata = re.findall(r"GCE_METADATA_HOST=(\S+)", said)[-1]

    def check(self, name, module, **how):
        """The program sends two records with the credentials that it finds, of this module of google-auth."""
        texts = [f"{name} one", f"{name} two"]
        said = self.run_program(PROGRAM, CLOUD, *texts, **how).splitlines()
        self.assertEqual(said, ["200 {}", "200 {}", module])
        self.assert_stored(*texts)

    def assert_stored(self, *texts):
        for text in texts:
            self.assertEqual([row["text"] for row in self.find("raw", text)], [text])

    # The kinds of credentials.

    def test_service_account(self):
        path = self.written("service-account.json", self.sender)
        self.check("service account", "google.oauth2.service_account", credentials=path)

    def test_authorized_user(self):
        path = self.folder / "adc.json"
        self.server.cli("account", "adc", self.sender["client_email"], "--out", str(path))
        self.check("authorized user", "google.oauth2.credentials", credentials=path)

    def test_authorized_user_until_it_is_revoked(self):
        path, account = self.folder / "revoked.json", self.account("ingest")["client_email"]
        self.server.cli("account", "adc", account, "--out", str(path))
        self.check("before the end", "google.oauth2.credentials", credentials=path)
        self.server.cli("account", "revoke-adc", account)
        said = self.run_program(PROGRAM, CLOUD, "after the end", credentials=path, status=1)
        self.assertIn("invalid_grant", said)

    def test_impersonated_by_a_file(self):
        target = self.sender["client_email"]
        url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{target}:generateAccessToken"
        content = {
            "type": "impersonated_service_account",
            "service_account_impersonation_url": url,
            "delegates": [],
            "source_credentials": self.account("admin"),
        }
        path = self.written("impersonated.json", content)
        self.check("impersonated by a file", "google.auth.impersonated_credentials", credentials=path)

    def test_impersonated_by_a_program(self):
        target = self.sender["client_email"]
        admin, sender = self.written("admin.json", self.account("admin")), self.written("sender.json", self.sender)
        text = "impersonated by a program"
        said = self.run_program(IMPERSONATING, CLOUD, target, text, credentials=admin)
        self.assertEqual(said.strip(), "200 {}")
        self.assert_stored(text)
        # Whoever only sends is nobody else.
        said = self.run_program(IMPERSONATING, CLOUD, target, "never", credentials=sender, status=1)
        self.assertIn("PERMISSION_DENIED", said)
        foreign = "somebody@elsewhere-00000000.iam.gserviceaccount.com"
        said = self.run_program(IMPERSONATING, CLOUD, foreign, "never", credentials=admin, status=1)
        self.assertIn("NOT_FOUND", said)

    def test_metadata_server(self):
        where = {"GCE_METADATA_HOST": self.metadata, "GCE_METADATA_IP": self.metadata}
        self.check("metadata server", "google.auth.compute_engine.credentials", **where)

    # What such programs must not get, and what else they might ask.

    def test_other_hosts_are_refused_by_name(self):
        program = "import requests; requests.get('https://storage.googleapis.com/', timeout=30)"
        said = self.run_program(program, status=1)
        self.assertIn("Penstock does not stand in for storage.googleapis.com", said)

    def test_without_the_certificate_nobody_is_fooled(self):
        path = self.written("untrusting.json", self.sender)
        with_others = {"REQUESTS_CA_BUNDLE": ""}
        said = self.run_program(PROGRAM, CLOUD, "never", credentials=path, status=1, **with_others)
        self.assertIn("CERTIFICATE_VERIFY_FAILED", said)

    # The certificates, as OpenSSL sees them when it is strict, which Python is by itself from 3.13 on.

    def strict(self):
        context = ssl.create_default_context(cafile=str(self.ca))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    def test_strict_clients_take_the_certificates(self):
        hosts = [
            "oauth2.googleapis.com",
            "asia-southeast1-malachiteingestion-pa.googleapis.com",
            "chronicle.northamerica-northeast2.rep.googleapis.com",
        ]
        for host in hosts:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = self.strict()
                context.minimum_version = context.maximum_version = version
                address, port = self.proxy.removeprefix("http://").split(":")
                with socket.create_connection((address, int(port)), timeout=30) as plain:
                    plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
                    self.assertIn(b" 200 ", plain.recv(4096))
                    with context.wrap_socket(plain, server_hostname=host) as tls:
                        certificate = tls.getpeercert()
                        self.assertEqual(certificate["subjectAltName"], (("DNS", host),))
                        life = ssl.cert_time_to_seconds(certificate["notAfter"]) - ssl.cert_time_to_seconds(
                            certificate["notBefore"]
                        )
                        self.assertLess(life, 397 * 86_400)

    def test_the_authority_signs_for_googleapis_alone(self):
        """With its key in the wrong hands: certificates for other names are worth nothing to those who trust it."""
        cases = {
            "storage.googleapis.com": None,
            "example.com": "permitted subtree violation",
            "googleapis.com.example.com": "permitted subtree violation",
            "127.0.0.1": "excluded subtree violation",
        }
        for name, expected in cases.items():
            self.assertEqual(self.shake_hands(name), expected, name)

    def shake_hands(self, name):
        """Why a strict client refuses a server with a certificate of our authority for this name; None if it does not."""
        here, there = socket.socketpair()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(str(self.forged(name)))

        def serve():
            try:
                server.wrap_socket(there, server_side=True).close()
            except OSError:
                there.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            self.strict().wrap_socket(here, server_hostname=name).close()
            return None
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        finally:
            here.close()
            thread.join(30)

    def forged(self, name):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
        import ipaddress

        pem = (self.server.data / "keys" / "googleapis-ca.key.pem").read_bytes()
        authority, its_key = x509.load_pem_x509_certificate(pem), serialization.load_pem_private_key(pem, None)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
        is_address = name.replace(".", "").isdigit()
        alternative = x509.IPAddress(ipaddress.ip_address(name)) if is_address else x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Forger")])
        usage = dict.fromkeys(
            "content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
            "encipher_only decipher_only".split(),
            False,
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
                critical=False,
            )
            .sign(its_key, hashes.SHA256())
        )
        path = self.folder / f"forged-{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return path
