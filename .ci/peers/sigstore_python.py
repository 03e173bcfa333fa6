"""Signs and verifies with sigstore-python: `sigstore_python.py`, one JSON object a line in, and one out for each.

    {"do": "sign", "root": ROOT, "config": CONFIG, "token": TOKEN, "artifact": BASE64}      {"bundle": BUNDLE}
    {"do": "sign", ..., "statement": BASE64}                                                {"bundle": BUNDLE}
    {"do": "verify", "root": ROOT, "config": CONFIG, "bundle": BUNDLE, "artifact": BASE64, "identity": WHO, "issuer": URL}
                                                                                            {}

ROOT and CONFIG are what `trusted_root.json` and `signing_config.json` hold. What fails is answered by {"error": WHY}.
"""

import base64
import hashlib
import json
import logging
import sys
import warnings

from sigstore.dsse import Statement
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")


def configured(asked):
    return ClientTrustConfig.from_json(json.dumps({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(asked["root"]),
        "signingConfig": json.loads(asked["config"]),
    }))


def sign(asked):
    if "key" in asked:
        raise NotImplementedError("signs with identities only")
    token = IdentityToken(asked["token"])
    with SigningContext.from_trust_config(configured(asked)).signer(token) as signer:
        if "statement" in asked:
            bundle = signer.sign_dsse(Statement(base64.b64decode(asked["statement"])))
        else:
            bundle = signer.sign_artifact(base64.b64decode(asked["artifact"]))
    return {"bundle": bundle.to_json()}


def verify(asked):
    if "key" in asked:
        raise NotImplementedError("verifies identities only")
    artifact = base64.b64decode(asked["artifact"])
    verifier = Verifier(trusted_root=configured(asked).trusted_root)
    policy = Identity(identity=asked["identity"], issuer=asked["issuer"])
    bundle = Bundle.from_json(asked["bundle"])
    if "dsseEnvelope" not in json.loads(asked["bundle"]):
        verifier.verify_artifact(artifact, bundle, policy)
        return {}
    # Whose statement it is, is for the caller to look at.
    _, payload = verifier.verify_dsse(bundle, policy)
    digest = hashlib.sha256(artifact).hexdigest()
    if all(subject["digest"].get("sha256") != digest for subject in json.loads(payload)["subject"]):
        raise ValueError("the statement is about something else")
    return {}


for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = {"sign": sign, "verify": verify}[asked["do"]](asked)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
