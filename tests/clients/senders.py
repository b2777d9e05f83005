"""Senders that cannot be installed here, re-enacted: requests exactly as contracts and sources say that they send them.

Each differs from the others in what a server might stumble over: how the assertion is encoded, what it claims, which
keys a body has, which headers are missing, and what the sender does with the answer.
"""

import base64
import gzip
import json
import os
import time
import unittest
import urllib.parse

from server import Server, until

INGESTION = "https://www.googleapis.com/auth/malachite-ingestion"
GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RAW = "/v2/unstructuredlogentries:batchCreate"


def url_safe(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def url_safe_padded(data):
    return base64.urlsafe_b64encode(data)


class Senders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("PENSTOCK_NO_PACKAGES"):
            raise unittest.SkipTest(os.environ["PENSTOCK_NO_PACKAGES"])
        cls.server = Server(cls.options)
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        made = cls.server.folder / "ingest.json"
        cls.server.cli("account", "create", "--role", "ingest", "--out", str(made))
        cls.key_file = json.loads(made.read_text())

    # Signing, as each library does it.

    def jwt(self, claims, header=None, encode=url_safe, encode_header=None):
        from google.auth import crypt

        signer = crypt.RSASigner.from_string(self.key_file["private_key"])
        header = header or {"alg": "RS256", "typ": "JWT"}
        signed = (encode_header or encode)(compact(header)) + b"." + encode(compact(claims))
        return (signed + b"." + encode(signer.sign(signed))).decode()

    def claims(self, aud, life=3600, **more):
        now = int(time.time())
        return {
            "iss": self.key_file["client_email"],
            "scope": INGESTION,
            "aud": aud,
            "iat": now,
            "exp": now + life,
            **more,
        }

    def grant(self, assertion, expect=200):
        form = urllib.parse.urlencode({"grant_type": GRANT, "assertion": assertion})
        reply = self.server.ask(
            "POST", "/token", form.encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        )
        self.assertEqual(reply.status, expect, reply)
        answer = reply.json()
        if expect == 200:
            self.assertEqual(answer["token_type"].lower(), "bearer")
            self.assertIsInstance(answer["expires_in"], int)
            self.assertGreater(answer["expires_in"], 60)
            return answer["access_token"]
        # oauth2 error texts: one client needs both fields to read the answer at all.
        self.assertTrue(answer["error"] and answer["error_description"], answer)
        return answer

    # Sending.

    def post(self, body, token=None, path=RAW, expect=200, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = body if isinstance(body, bytes) else compact(body)
        reply = self.server.ask("POST", path, body, headers)
        self.assertEqual(reply.status, expect, reply)
        self.assertLess(len(reply.body), 4096)
        if expect == 200:
            self.assertEqual(reply.json(), {})
        else:
            self.assertEqual(reply.json()["error"]["code"], expect)
        return reply

    def entries(self, *entries, **more):
        return {"customer_id": self.server.customer_id, "log_type": "OKTA", "entries": list(entries), **more}

    def assert_stored(self, *texts):
        for text in texts:
            rows = until(lambda: self.server.search("raw", text)[0] or None, f"{text!r} is not found")
            self.assertEqual([row["text"] for row in rows], [text])

    # The senders.

    def test_fluent_bit(self):
        """No kid, the header in plain base64, Google's own token URL as audience; asks for its log type first."""
        claims = self.claims(GOOGLE_TOKEN_URL, life=3000)
        token = self.grant(self.jwt(claims, encode_header=base64.b64encode))
        reply = self.server.ask("GET", "/v2/logtypes", headers={"Authorization": f"Bearer {token}"})
        self.assertEqual(reply.status, 200, reply)
        answer = reply.json()
        self.assertTrue(all(isinstance(value, list) for value in answer.values()))
        self.assertIn("OKTA", [entry.get("logType") for entry in answer["logTypes"]])
        times = ["2026-11-21T20:15:00.123Z", "2026-11-21T20:15:00.123456Z", "2026-11-21T20:15:00.123456789Z"]
        texts = [f"fluent-bit line {index}" for index in range(3)]
        sent = [{"log_text": text, "ts_rfc3339": at} for text, at in zip(texts, times)]
        self.post(self.entries(*sent), token, Content_Type="application/json", User_Agent="Fluent-Bit")
        self.assert_stored(*texts)

    def test_fluent_bit_sends_all_again(self):
        """After a failure it sends what had been taken once more."""
        token = self.grant(self.jwt(self.claims(GOOGLE_TOKEN_URL, life=3000), encode_header=base64.b64encode))
        body = self.entries({"log_text": "fluent-bit retries", "ts_rfc3339": "2026-11-21T20:15:01.123Z"})
        first, again = self.post(body, token), self.post(body, token)
        self.assertEqual(first.headers["X-Penstock-Batch"], again.headers["X-Penstock-Batch"])
        self.assert_stored("fluent-bit retries")

    def test_padded_base64url(self):
        """yup-oauth2 and gcp_auth: no kid, padding in all three segments, the key file's token URL as audience."""
        for name in ("yup-oauth2", "gcp_auth"):
            claims = self.claims(self.key_file["token_uri"], life=3595)
            token = self.grant(self.jwt(claims, encode=url_safe_padded))
            self.post(self.entries({"log_text": f"{name} line"}), token, Content_Type="application/json")
            self.assert_stored(f"{name} line")

    def test_vector(self):
        """goauth's assertion, the health check, then batches in snake case with a time for every entry."""
        header = {"typ": "JWT", "alg": "RS256"}
        token = self.grant(self.jwt(self.claims(self.key_file["token_uri"]), header=header))
        health = self.server.ask("GET", "/v2/logtypes", headers={"Authorization": f"Bearer {token}"})
        self.assertEqual(health.status, 200, health)
        body = self.entries(
            {"log_text": "vector line", "ts_rfc3339": "2026-11-21T20:15:00.123456789+00:00"},
            namespace="prod",
            labels=[{"key": "source", "value": "vector"}],
        )
        packed = gzip.compress(compact(body))
        self.post(packed, token, Content_Type="application/json", Content_Encoding="gzip")
        self.assert_stored("vector line")

    def test_vector_with_an_api_key(self):
        key = self.server.api_key()
        self.assertEqual(self.server.ask("GET", f"/v2/logtypes?key={key}").status, 200)
        self.post(self.entries({"log_text": "vector api key line"}), path=f"{RAW}?key={key}")
        self.assert_stored("vector api key line")

    def test_first_version_with_an_api_key(self):
        """Cribl's V1 and others: the older paths, the key in the query, nothing in the headers."""
        key = self.server.api_key()
        self.assertEqual(self.server.ask("GET", f"/v1/logtypes?key={key}").status, 200)
        text = "first version line"
        self.post(self.entries({"log_text": text}), path=f"/v1/unstructuredlogentries?key={key}")
        self.assert_stored(text)

    def test_self_signed_bearer(self):
        """google-cloud-cpp and google-cloud-auth: no token request, the JWT itself is the bearer."""
        now, email = int(time.time()), self.key_file["client_email"]
        times = {"iss": email, "sub": email, "iat": now, "exp": now + 3600}
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_file["private_key_id"]}
        variants = {"scope": INGESTION, "aud": "https://malachiteingestion-pa.googleapis.com/"}
        for name, value in variants.items():
            bearer = self.jwt({**times, name: value}, header=header)
            self.post(self.entries({"logText": f"self-signed with {name}"}), bearer, Content_Type="application/json")
            self.assert_stored(f"self-signed with {name}")

    def test_logstory(self):
        """Keys of both styles in one body, no Content-Type, and signs that others' servers choke on."""
        token = self.google_auth_token()
        text = "logstory line: Windows® Defender™ © 2026"
        body = {
            "customer_id": self.server.customer_id,
            "log_type": "WINDOWS_DEFENDER_AV",
            "entries": [{"logText": text, "ts_rfc3339": "2026-11-21T20:15:00+00:00"}],
        }
        self.post(json.dumps(body).encode(), token)
        self.assert_stored(text)

    def test_scripts_with_a_session(self):
        """Google's ingestion scripts: an authorised session of requests, `.json()` on every answer."""
        from google.auth.transport.requests import AuthorizedSession

        session = AuthorizedSession(self.google_credentials())
        text = "ingestion-scripts line"
        url = self.server.url + RAW
        response = session.post(url, json=self.entries({"logText": text}))
        self.assertEqual((response.status_code, response.json()), (200, {}))
        response = session.post(url, json=self.entries({"logText": text}, log_type="NO_SUCH_TYPE"))
        self.assertEqual(response.status_code, 400)
        self.assertIn("NO_SUCH_TYPE", response.json()["error"]["message"])
        self.assert_stored(text)

    def test_escaped_colon_and_nulls(self):
        token = self.google_auth_token()
        body = self.entries({"log_text": "escaped colon", "ts_rfc3339": None}, namespace=None, labels=None)
        self.post(body, token, path="/v2/unstructuredlogentries%3AbatchCreate")
        self.assert_stored("escaped colon")

    def test_numbers_as_texts(self):
        token = self.google_auth_token()
        entries = [
            {"log_text": "number as text", "ts_epoch_microseconds": "1772352000250000"},
            {"log_text": "number as number", "ts_epoch_microseconds": 1772352000250001},
        ]
        self.post(self.entries(*entries), token)
        self.assert_stored("number as text", "number as number")

    def test_answers_are_packed_on_request(self):
        token = self.google_auth_token()
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip, deflate"}
        reply = self.server.ask("GET", "/v2/logtypes", headers=headers)
        self.assertEqual(reply.headers["Content-Encoding"], "gzip")
        self.assertGreater(len(reply.json()["logTypes"]), 2000)

    # The ones that must not get in.

    def test_false_tokens(self):
        good = self.jwt(self.claims(self.key_file["token_uri"]))
        unsigned = url_safe(compact({"alg": "none", "typ": "JWT"})).decode() + "." + good.split(".")[1] + "."
        body = self.entries({"log_text": "must not get in"})
        garbled = good[:-6] + ("AAAAAA" if not good.endswith("AAAAAA") else "BBBBBB")
        for token in (unsigned, garbled, "x"):
            self.post(body, token, expect=401)
        self.post(body, expect=401)
        self.post(body, path=f"{RAW}?key=AIzaNoSuchKey", expect=401)
        for assertion in (unsigned, garbled, "x"):
            self.grant(assertion, expect=400)
        expired = self.claims(self.key_file["token_uri"])
        expired.update(iat=expired["iat"] - 9000, exp=expired["exp"] - 9000)
        self.assertEqual(self.grant(self.jwt(expired), expect=400)["error"], "invalid_grant")
        self.assertEqual(self.server.search("raw", "must not get in")[0], [])

    def test_a_scope_that_is_not_enough(self):
        claims = self.claims(self.key_file["token_uri"], scope="https://www.googleapis.com/auth/chronicle.readonly")
        reply = self.server.ask(
            "POST",
            "/token",
            urllib.parse.urlencode({"grant_type": GRANT, "assertion": self.jwt(claims)}).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        # An account for intake asks for reading: refused here already, or a token that opens nothing.
        if reply.status == 200:
            token = reply.json()["access_token"]
            self.post(self.entries({"log_text": "wrong scope"}), token, expect=403)
        else:
            self.assertEqual(reply.status, 400, reply)

    def test_another_instance(self):
        token = self.google_auth_token()
        body = {**self.entries({"log_text": "foreign"}), "customer_id": "11111111-2222-4333-8444-555555555555"}
        self.post(body, token, expect=403)
        self.post({**body, "customer_id": "nonsense"}, token, expect=400)

    def test_unknown_ways(self):
        token = self.google_auth_token()
        authorization = {"Authorization": f"Bearer {token}"}
        for method, path, expected in [("GET", RAW, 405), ("POST", "/v2/logtypes", 405), ("POST", "/v2/nothing", 404)]:
            reply = self.server.ask(method, path, b"{}" if method == "POST" else None, authorization)
            self.assertEqual((reply.status, reply.json()["error"]["code"]), (expected, expected), f"{method} {path}")

    def test_the_limit_to_the_byte(self):
        token = self.google_auth_token()
        for name, limit, expect in [("fits", 1_048_576, {200}), ("does not", 1_048_577, {400, 413})]:
            for packed in (False, True):
                body = compact(self.entries({"log_text": f"{name} {packed} " + "@"}))
                body = body.replace(b"@", b"x" * (limit - len(body) + 1))
                self.assertEqual(len(body), limit)
                headers = {"Authorization": f"Bearer {token}"}
                if packed:
                    headers["Content-Encoding"], body = "gzip", gzip.compress(body)
                reply = self.server.ask("POST", RAW, body, headers)
                self.assertIn(reply.status, expect, f"{name}, packed {packed}: {reply}")

    def google_credentials(self):
        from google.oauth2 import service_account

        return service_account.Credentials.from_service_account_info(self.key_file, scopes=[INGESTION])

    def google_auth_token(self):
        import google.auth.transport.requests

        credentials = self.google_credentials()
        credentials.refresh(google.auth.transport.requests.Request())
        return credentials.token


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
