"""Keeps each line of standard input as an object, with oss2.

    OSS_ENDPOINT=https://oss-cn-hongkong.aliyuncs.com OSS_REGION=cn-hongkong OSS_BUCKET=mine \
        stsctl exec oss-upload -- python upload_oss2.py
"""

import os
import sys

import oss2

# Its name says ECS; it asks any URL, and again when 15 % of a session are left.
provider = oss2.credentials.EcsRamRoleCredentialsProvider(
    os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"]
)
bucket = oss2.Bucket(
    oss2.ProviderAuthV4(provider),
    os.environ["OSS_ENDPOINT"],
    os.environ["OSS_BUCKET"],
    region=os.environ["OSS_REGION"],
)

for number, line in enumerate(sys.stdin):
    bucket.put_object(f"lines/{number}", line)
    print(f"lines/{number}", flush=True)
