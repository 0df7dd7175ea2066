"""Receives signed deliveries and verifies them with PyPI's standardwebhooks, and v1a with PyNaCl.

Usage: signed.py PORT COUNT HMAC_KEY PUBLIC_KEY
"""

import base64
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from nacl.signing import VerifyKey
from standardwebhooks.webhooks import Webhook

port, count, secret, public = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
verified = 0


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        global verified
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        Webhook(secret).verify(body, headers)
        try:
            Webhook(secret).verify(body + b" ", headers)
            raise AssertionError("a changed body verified")
        except Exception as error:
            if isinstance(error, AssertionError):
                raise
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        v1a = [s[4:] for s in headers["webhook-signature"].split(" ") if s.startswith("v1a,")]
        key = VerifyKey(base64.b64decode(public.removeprefix("whpk_")))
        key.verify(signed, base64.b64decode(v1a[0]))
        verified += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", port), Receiver)
server.timeout = 60
while verified < count:
    before = verified
    server.handle_request()
    if verified == before:
        print(f"python: {verified} of {count} verified")
        sys.exit(1)
print(f"python: {verified} of {count} verified")
