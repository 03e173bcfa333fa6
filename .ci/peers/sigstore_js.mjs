// Signs and verifies with sigstore-js: `sigstore_js.mjs DIR`, with its packages in DIR/node_modules, speaking as
// sigstore_python.py does. Besides, {"key": PEM} signs with a key and verifies by one; {"log": true} wants it in a log.

import crypto from "node:crypto";
import { createRequire } from "node:module";
import readline from "node:readline";

const require = createRequire(`${process.argv[2]}/`);
const { DSSEBundleBuilder, FulcioSigner, MessageSignatureBundleBuilder, RekorWitness, TSAWitness } = require("@sigstore/sign");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");
const { bundleFromJSON, bundleToJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");

const PAYLOAD = "application/vnd.in-toto+json";
const hint = (key) => crypto.hash("sha256", key.export({ type: "spki", format: "der" }), "base64");

// A signer for keys is for the caller to bring.
class KeySigner {
  constructor(pem) {
    this.key = crypto.createPrivateKey(pem);
  }

  async sign(data) {
    const publicKey = crypto.createPublicKey(this.key);
    return {
      // Ed25519 hashes by itself; with all else the package takes SHA-256.
      signature: crypto.sign(this.key.asymmetricKeyType === "ed25519" ? null : "sha256", data, this.key),
      key: { $case: "publicKey", publicKey: publicKey.export({ type: "spki", format: "pem" }), hint: hint(publicKey) },
    };
  }
}

async function sign(asked) {
  const config = JSON.parse(asked.config);
  const options = { timeout: 20000, retry: 0 };
  const signer = asked.key
    ? new KeySigner(asked.key)
    : new FulcioSigner({
        fulcioBaseURL: config.caUrls[0].url,
        identityProvider: { getToken: async () => asked.token },
        ...options,
      });
  const witnesses = [];
  for (const { url, majorApiVersion } of config.rekorTlogUrls ?? []) {
    witnesses.push(new RekorWitness({ rekorBaseURL: url, majorApiVersion, ...options }));
  }
  for (const { url } of config.tsaUrls ?? []) {
    witnesses.push(new TSAWitness({ tsaBaseURL: url, ...options }));
  }
  const builder = asked.statement
    ? new DSSEBundleBuilder({ signer, witnesses })
    : new MessageSignatureBundleBuilder({ signer, witnesses });
  const data = Buffer.from(asked.statement ?? asked.artifact, "base64");
  const bundle = await builder.create({ data, type: asked.statement && PAYLOAD });
  return { bundle: JSON.stringify(bundleToJSON(bundle)) };
}

function verify(asked) {
  const artifact = Buffer.from(asked.artifact, "base64");
  const bundle = bundleFromJSON(JSON.parse(asked.bundle));
  const key = asked.key && crypto.createPublicKey(asked.key);
  // Keys do not expire, so there has to be no time; the log is looked at where there is an entry.
  const keys = key && { [hint(key)]: { rawBytes: key.export({ type: "spki", format: "der" }) } };
  const thresholds = key ? { timestampThreshold: 0, tlogThreshold: asked.log ? 1 : 0 } : {};
  const trust = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(asked.root)), keys);
  const escaped = asked.identity?.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const policy = key ? undefined : { subjectAlternativeName: `^${escaped}$`, extensions: { issuer: asked.issuer } };
  const isStatement = bundle.content.$case === "dsseEnvelope";
  new Verifier(trust, thresholds).verify(toSignedEntity(bundle, isStatement ? undefined : artifact), policy);
  if (!isStatement) return {};
  // Whose statement it is, is for the caller to look at.
  const statement = JSON.parse(bundle.content.dsseEnvelope.payload.toString());
  const digest = crypto.createHash("sha256").update(artifact).digest("hex");
  if (statement.subject.every((subject) => subject.digest.sha256 !== digest)) {
    throw new Error("the statement is about something else");
  }
  return {};
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = await { sign, verify }[asked.do](asked);
  } catch (error) {
    answer = { error: [error, error.cause].filter(Boolean).map(String).join(": ") };
  }
  console.log(JSON.stringify(answer));
}
