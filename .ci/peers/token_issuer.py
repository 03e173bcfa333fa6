"""Issues bearer tokens for a registry of distribution: `token_issuer.py DIR`.

DIR gets a key and a certificate (`issuer.crt`, the registry's `rootcertbundle`). The address it listens at goes to
standard output. `writer` may do all there is, `reader` pull, each with the password `open sesame`; the identity token
`sesame identity` stands for `writer`; anyone else gets tokens for nothing.
"""

import base64
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SECONDS = 3
PASSWORD, IDENTITY = "open sesame", "sesame identity"
RIGHTS = {"reader": {"pull"}, "writer": {"pull", "push", "delete", "*"}, None: set()}


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def openssl(*arguments, content=None):
    return subprocess.run(["openssl", *arguments], input=content, check=True, capture_output=True).stdout


class Issuer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        user = None
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        if scheme:
            user, _, password = base64.b64decode(secret).decode().partition(":")
            if user not in RIGHTS or password != PASSWORD:
                return self.answer(401, {"details": "who is this?"})
        self.issue(user, parse_qs(urlsplit(self.path).query))

    def do_POST(self):
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if asked.get("grant_type") != ["refresh_token"] or asked.get("refresh_token") != [IDENTITY]:
            return self.answer(401, {"error": "invalid_grant"})
        self.issue("writer", asked)

    def issue(self, user, asked):
        access = []
        for scope in " ".join(asked.get("scope", [])).split():
            kind, rest = scope.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            granted = sorted(RIGHTS[user] & set(actions.split(",")))
            access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        claims = {
            "iss": "judge", "sub": user or "", "aud": asked["service"][0], "jti": str(time.time_ns()),
            "iat": now, "nbf": now - 1, "exp": now + SECONDS, "access": access,
        }
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self.server.certificate]}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = openssl("dgst", "-sha256", "-sign", f"{self.server.dir}/issuer.key", content=signed.encode())
        token = f"{signed}.{base64url(signature)}"
        self.answer(200, {"token": token, "access_token": token, "expires_in": SECONDS})

    def answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
server.dir = sys.argv[1]
key, certificate = f"{server.dir}/issuer.key", f"{server.dir}/issuer.crt"
openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=judge", "-keyout", key, "-out", certificate)
server.certificate = base64.b64encode(openssl("x509", "-in", certificate, "-outform", "der")).decode()
print(f"127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
