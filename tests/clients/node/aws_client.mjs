// Puts an object and gets it in turn with @aws-sdk/client-s3, unmodified, as often as it is told.
// The SDK finds its credentials, region and endpoint itself: in a profile, or in the environment.
//
// Every line of standard input is a number of calls; each line of the answer is JSON:
// `{"calls": N}`, or `{"error": …}` with the first that failed. Secrets are never printed.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

// A library that hangs ends the program, so that no story waits for it without a bound.
const PATIENCE_MILLIS = 900_000;
setTimeout(() => process.exit(1), PATIENCE_MILLIS).unref();

const TEXT = "text";
const place = { Bucket: "examplebucket", Key: "consumers/aws-js" };
const s3 = new S3Client({});

async function put() {
  await s3.send(new PutObjectCommand({ ...place, Body: TEXT }));
}

async function get() {
  const { Body } = await s3.send(new GetObjectCommand(place));
  assert.equal(await Body.transformToString(), TEXT);
}

let done = 0;
async function calls(count) {
  try {
    for (let call = 0; call < count; call += 1) {
      await (done % 2 === 0 ? put() : get());
      done += 1;
    }
  } catch (error) {
    return { error: [error.name, error.message].filter(Boolean).join(" ") };
  }
  return { calls: count };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await calls(Number(line))));
}
