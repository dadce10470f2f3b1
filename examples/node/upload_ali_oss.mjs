// Keeps each line of standard input as an object, with ali-oss.
//
//   OSS_ENDPOINT=https://oss-cn-hongkong.aliyuncs.com OSS_REGION=cn-hongkong OSS_BUCKET=mine \
//     stsctl exec oss-upload -- node upload_ali_oss.mjs

import { createInterface } from "node:readline";
import alicloud from "@alicloud/credentials";
import OSS from "ali-oss";

const { default: Credential, Config } = alicloud;

// Asks the URL again 15 minutes before a session ends.
const credential = new Credential(
  new Config({
    type: "credentials_uri",
    credentialsURI: process.env.ALIBABA_CLOUD_CREDENTIALS_URI,
  }),
);

async function credentials() {
  const now = await credential.getCredential();
  return {
    accessKeyId: now.accessKeyId,
    accessKeySecret: now.accessKeySecret,
    stsToken: now.securityToken,
  };
}

const client = new OSS({
  ...(await credentials()),
  // ali-oss does not know when a session ends: it asks, before a request, when the last time
  // was so many milliseconds ago. Nearly always the answer is the one that is at hand.
  refreshSTSToken: credentials,
  refreshSTSTokenInterval: 1000,
  endpoint: process.env.OSS_ENDPOINT,
  region: `oss-${process.env.OSS_REGION}`,
  bucket: process.env.OSS_BUCKET,
  authorizationV4: true,
});

let number = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const key = `lines/${number++}`;
  await client.put(key, Buffer.from(`${line}\n`));
  console.log(key);
}
