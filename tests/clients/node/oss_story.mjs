// Puts, gets, heads, lists and deletes an object with ali-oss, unmodified, which asks the
// shim again for every refresh.

import assert from "node:assert/strict";
import { execSync } from "node:child_process";
import { parseArgs } from "node:util";
import OSS from "ali-oss";

const KEY = "stories/a b+c 中文.txt";
const TEXT = "written by an unmodified SDK";

// What the SDKs and their tools look for, of any generation.
const LONG_LIVED = [
  "ALIBABA_CLOUD_ACCESS_KEY_ID",
  "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
  "ALIBABACLOUD_ACCESS_KEY_ID",
  "ALIBABACLOUD_ACCESS_KEY_SECRET",
  "ALICLOUD_ACCESS_KEY",
  "ALICLOUD_SECRET_KEY",
  "ALIYUN_ACCESS_KEY_ID",
  "ALIYUN_ACCESS_KEY_SECRET",
  "OSS_ACCESS_KEY_ID",
  "OSS_ACCESS_KEY_SECRET",
];

const { values } = parseArgs({
  options: {
    v4: { type: "string" },
    endpoint: { type: "string" },
    region: { type: "string", default: "cn-hongkong" },
    bucket: { type: "string" },
    shim: { type: "string" },
  },
});
const v4 = values.v4 === "true";

let asked = 0;
function credentials() {
  asked += 1;
  let got;
  try {
    const stdio = ["ignore", "pipe", "inherit"];
    got = JSON.parse(execSync(values.shim, { encoding: "utf8", stdio }));
  } catch (error) {
    // Node's own errors quote what the shim printed.
    throw new Error(`no document from the shim, which ended with status ${error.status ?? 0}`);
  }
  return {
    accessKeyId: got.AccessKeyId,
    accessKeySecret: got.AccessKeySecret,
    stsToken: got.SecurityToken,
  };
}

async function story() {
  const held = LONG_LIVED.filter((name) => name in process.env);
  assert.deepEqual(held, [], "this story must not find these in its environment");

  const client = new OSS({
    ...credentials(),
    // Asked before a request once this many milliseconds have passed since the last time.
    refreshSTSToken: async () => credentials(),
    refreshSTSTokenInterval: 1,
    endpoint: values.endpoint,
    // The endpoint is an address, so the bucket goes into the path.
    sldEnable: true,
    region: `oss-${values.region}`,
    bucket: values.bucket,
    authorizationV4: v4,
  });

  const steps = [];
  const step = async (name, check) => {
    await check();
    steps.push(name);
  };
  await step("put", async () => {
    assert.equal((await client.put(KEY, Buffer.from(TEXT))).res.status, 200);
  });
  // The SDK compares milliseconds, so the next request has to be in a later one.
  await new Promise((resolve) => setTimeout(resolve, 5));
  await step("get", async () => {
    assert.equal((await client.get(KEY)).content.toString(), TEXT);
  });
  await step("head", async () => {
    const { res } = await client.head(KEY);
    assert.equal(Number(res.headers["content-length"]), TEXT.length);
  });
  await step("list", async () => {
    // The prefix is the key itself, so that the query has to be encoded and signed too.
    const { objects } = await client.list({ prefix: KEY });
    assert.deepEqual(objects?.map((it) => it.name), [KEY]);
  });
  await step("delete", async () => {
    assert.equal((await client.delete(KEY)).res.status, 204);
  });
  await step("get deleted: NoSuchKey", () =>
    assert.rejects(client.get(KEY), { code: "NoSuchKey" }));
  assert(asked > 1, "the SDK never asked again");
  return { client: `ali-oss-v${v4 ? 4 : 1}`, ok: true, steps, asked };
}

try {
  console.log(JSON.stringify(await story()));
} catch (error) {
  // Not the whole error: ali-oss hangs the request's parameters onto it.
  console.error([error.name, error.code, error.requestId, error.message].filter(Boolean).join(" "));
  process.exitCode = 1;
}
