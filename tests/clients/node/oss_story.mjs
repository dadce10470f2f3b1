// Puts, gets, heads, lists and deletes an object with ali-oss, unmodified, which asks the
// shim again for every refresh.

import assert from "node:assert";
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import OSS from "ali-oss";

const KEY = "stories/a b+c 中文.txt";
const TEXT = "written by an unmodified SDK";

const { values } = parseArgs({
  options: {
    v4: { type: "string" },
    endpoint: { type: "string" },
    bucket: { type: "string" },
    shim: { type: "string" },
  },
});
for (const name of ["ALIBABA_CLOUD_ACCESS_KEY_ID", "OSS_ACCESS_KEY_ID"]) {
  assert(!(name in process.env), `this story must not find ${name} in its environment`);
}

let asked = 0;
function credentials() {
  asked += 1;
  const [program, ...rest] = values.shim.split(" ");
  const got = JSON.parse(execFileSync(program, rest, { encoding: "utf8" }));
  return {
    accessKeyId: got.AccessKeyId,
    accessKeySecret: got.AccessKeySecret,
    stsToken: got.SecurityToken,
  };
}

const client = new OSS({
  ...credentials(),
  // Asked before a request once this many milliseconds have passed since the last time.
  refreshSTSToken: async () => credentials(),
  refreshSTSTokenInterval: 1,
  endpoint: values.endpoint,
  // The endpoint is an address, so the bucket goes into the path.
  sldEnable: true,
  region: "oss-cn-hongkong",
  bucket: values.bucket,
  authorizationV4: values.v4 === "true",
});

assert.equal((await client.put(KEY, Buffer.from(TEXT))).res.status, 200);
// The SDK compares milliseconds, so the next request has to be in a later one.
await new Promise((resolve) => setTimeout(resolve, 5));
assert.equal((await client.get(KEY)).content.toString(), TEXT);
assert.equal(Number((await client.head(KEY)).res.headers["content-length"]), TEXT.length);
const listed = await client.list({ prefix: "stories/" });
assert.deepEqual(listed.objects.map((it) => it.name), [KEY]);
await client.delete(KEY);
await assert.rejects(client.get(KEY), { code: "NoSuchKey" });
assert(asked > 1, "the SDK never asked again");
console.log(JSON.stringify({ client: `ali-oss, version ${values.v4 === "true" ? 4 : 1}`, ok: true }));
