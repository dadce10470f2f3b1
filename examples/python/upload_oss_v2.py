"""Keeps each line of standard input as an object, with alibabacloud-oss-v2.

    OSS_ENDPOINT=https://oss-cn-hongkong.aliyuncs.com OSS_REGION=cn-hongkong OSS_BUCKET=mine \
        stsctl exec oss-upload -- python upload_oss_v2.py
"""

import os
import sys

import alibabacloud_oss_v2 as oss
from alibabacloud_credentials.client import Client
from alibabacloud_credentials.models import Config

# Asks the URL again 15 minutes before a session ends.
credentials = Client(
    Config(
        type="credentials_uri", credentials_uri=os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"]
    )
)


def provide():
    """Called before each request."""
    now = credentials.get_credential()
    return oss.credentials.Credentials(
        now.access_key_id, now.access_key_secret, now.security_token
    )


config = oss.config.load_default()
config.credentials_provider = oss.credentials.CredentialsProviderFunc(provide)
config.region = os.environ["OSS_REGION"]
config.endpoint = os.environ["OSS_ENDPOINT"]
client = oss.Client(config)

for number, line in enumerate(sys.stdin):
    key = f"lines/{number}"
    client.put_object(
        oss.PutObjectRequest(bucket=os.environ["OSS_BUCKET"], key=key, body=line)
    )
    print(key, flush=True)
