// Gets credentials with @alicloud/credentials, unmodified, as it is told.
//
// Its first line says what it is. After that every line of standard input, `in-a-row N` or
// `at-once N`, is answered with a line of JSON that has one entry a get: the AccessKey id
// that came, or the error. An AccessKey id is an identifier; secrets are never printed.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const require = createRequire(import.meta.url);
const { default: Credential, Config } = require("@alicloud/credentials");
const { version } = require("@alicloud/credentials/package.json");

// A library that hangs ends the program, so that nobody waits for it without a bound.
const PATIENCE_MILLIS = 60_000;
setTimeout(() => process.exit(1), PATIENCE_MILLIS).unref();

const { values } = parseArgs({
  options: {
    // Without a scheme: the library always speaks https.
    endpoint: { type: "string" },
    "access-key-id": { type: "string" },
    "role-arn": { type: "string" },
    // In seconds.
    duration: { type: "string" },
  },
});

const credential = new Credential(
  new Config({
    type: "ram_role_arn",
    accessKeyId: values["access-key-id"],
    accessKeySecret: process.env.STORY_ACCESS_KEY_SECRET,
    roleArn: values["role-arn"],
    roleSessionName: "comparison",
    roleSessionExpiration: Number(values.duration),
    stsEndpoint: values.endpoint,
  }),
);

async function get() {
  try {
    return { key: (await credential.getCredential()).accessKeyId };
  } catch (error) {
    return { error: error.name, message: error.message };
  }
}

const orders = {
  "in-a-row": async (gets) => {
    const got = [];
    for (let done = 0; done < gets; done += 1) got.push(await get());
    return got;
  },
  "at-once": (gets) => Promise.all(Array.from({ length: gets }, get)),
};

const say = (what) => console.log(JSON.stringify(what));
say({
  library: `@alicloud/credentials ${version}`,
  language: "Node.js",
  runs_on: `Node.js ${process.versions.node}`,
});
for await (const line of createInterface({ input: process.stdin })) {
  const [order, gets] = line.split(" ");
  say(await orders[order](Number(gets)));
}
