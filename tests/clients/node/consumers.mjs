// Uploads with ali-oss, unmodified, as often as it is told, with credentials that come in one
// of the ways stsd offers. With a fourth argument, `parts`, a call uploads one part of an object,
// and the third call also completes the object.
//
// Every line of standard input is a number of calls; each line of the answer is JSON:
// `{"calls": N}`, or `{"error": …}` with the first that failed. Secrets are never printed.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import OSS from "ali-oss";

const require = createRequire(import.meta.url);
const { default: Credential, Config } = require("@alicloud/credentials");

// A library that hangs ends the program, so that nobody waits for it without a bound.
const PATIENCE_MILLIS = 900_000;
setTimeout(() => process.exit(1), PATIENCE_MILLIS).unref();

const [consumer, endpoint, interval, mode] = process.argv.slice(2);

// A part of the smallest size that OSS accepts before the last one, and the number of parts.
const PART = "part".repeat(25 * 1024);
const PARTS = 3;

// @alicloud/credentials, told where to ask, or told nothing: its default chain.
const ways = {
  uri: () =>
    asked(new Credential(new Config({ type: "credentials_uri", credentialsURI: process.env.STORY_URL }))),
  chain: () => asked(new Credential()),
};

function asked(credential) {
  return async () => {
    const got = await credential.getCredential();
    return { id: got.accessKeyId, secret: got.accessKeySecret, token: got.securityToken };
  };
}

const way = ways[consumer]();
async function credentials() {
  const { id, secret, token } = await way();
  return { accessKeyId: id, accessKeySecret: secret, stsToken: token };
}

let bucket;
async function upload(act) {
  bucket ??= new OSS({
    ...(await credentials()),
    refreshSTSToken: credentials,
    // Asked before a request once this many milliseconds have passed since the last time.
    refreshSTSTokenInterval: Number(interval),
    endpoint,
    // The endpoint is an address, so the bucket goes into the path.
    sldEnable: true,
    region: "oss-cn-hongkong",
    bucket: "examplebucket",
    authorizationV4: true,
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  await act();
}

let uploadId;
const parts = [];
const acts = {
  put: () => bucket.put("consumers/ali-oss", Buffer.from("text")),
  parts: async () => {
    const key = "parts/ali-oss";
    uploadId ??= (await bucket.initMultipartUpload(key)).uploadId;
    const number = parts.length + 1;
    const body = Buffer.from(`${number}${PART}`);
    const { etag } = await bucket.uploadPart(key, uploadId, number, body, 0, body.length);
    parts.push({ number, etag });
    if (number === PARTS) await bucket.completeMultipartUpload(key, uploadId, parts);
  },
};
const act = acts[mode ?? "put"];

async function calls(count) {
  try {
    for (let done = 0; done < count; done += 1) await upload(act);
  } catch (error) {
    // Not the whole error: ali-oss hangs the request's parameters onto it.
    return { error: [error.name, error.code, error.requestId, error.message].filter(Boolean).join(" ") };
  }
  return { calls: count };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await calls(Number(line))));
}
