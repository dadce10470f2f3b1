"""Calls the cloud with an official SDK, unmodified, that gets its credentials in one of the
ways stsd offers, as often as it is told.

Every line of standard input is a number of calls; each line of the answer is JSON: `{"calls":
N}`, or `{"error": …}` with the first that failed. A call is an upload, or the question who
one is, so that the emulator verifies every signature. Secrets are never printed."""

import argparse
import json
import os
import signal
import sys
from urllib.parse import urlsplit

from shim_credentials import document, hold_no_key, told

# A library that hangs ends the program, so that nobody waits for it without a bound.
PATIENCE_SECONDS = 900
REGION = "cn-hongkong"
BUCKET = "examplebucket"


def by_uri():
    """alibabacloud_credentials, told where to ask."""
    from alibabacloud_credentials.client import Client
    from alibabacloud_credentials.models import Config

    return Client(Config(type="credentials_uri", credentials_uri=os.environ["STORY_URL"]))


def by_chain():
    """alibabacloud_credentials, told nothing: its default chain."""
    from alibabacloud_credentials.client import Client

    return Client()


def who_am_i(endpoints, client):
    """alibabacloud-sts20150401 asks who it is."""
    from alibabacloud_sts20150401.client import Client
    from alibabacloud_tea_openapi.models import Config

    endpoint = urlsplit(endpoints.sts).netloc
    sts = Client(Config(credential=client, endpoint=endpoint, protocol="http"))
    return sts.get_caller_identity


def old_sts(endpoints):
    """aliyun-python-sdk-sts, which takes a session as it is: a new client for each call."""
    from aliyunsdkcore.auth.credentials import StsTokenCredential
    from aliyunsdkcore.client import AcsClient
    from aliyunsdksts.request.v20150401 import GetCallerIdentityRequest

    def call():
        got = document(endpoints.shim)
        session = StsTokenCredential(
            got["AccessKeyId"], got["AccessKeySecret"], got["SecurityToken"]
        )
        request = GetCallerIdentityRequest.GetCallerIdentityRequest()
        request.set_protocol_type("http")
        request.set_endpoint(urlsplit(endpoints.sts).netloc)
        AcsClient(REGION, credential=session).do_action_with_exception(request)

    return call


def oss2(endpoints):
    import oss2

    provider = oss2.credentials.EcsRamRoleCredentialsProvider(os.environ["STORY_URL"])
    bucket = oss2.Bucket(oss2.ProviderAuthV4(provider), endpoints.oss, BUCKET, region=REGION)
    return lambda: bucket.put_object("consumers/oss2", b"text")


def oss_v2(endpoints):
    import alibabacloud_oss_v2 as oss

    client = by_uri()

    def provide():
        got = client.get_credential()
        return oss.credentials.Credentials(
            got.access_key_id, got.access_key_secret, got.security_token
        )

    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.CredentialsProviderFunc(provide)
    config.region = REGION
    config.endpoint = endpoints.oss
    bucket = oss.Client(config)
    request = {"bucket": BUCKET, "key": "consumers/oss-v2", "body": b"text"}
    return lambda: bucket.put_object(oss.PutObjectRequest(**request))


def boto3(endpoints):
    """boto3, which finds its credentials itself: in a profile, or at a container's endpoint."""
    import boto3
    from botocore.config import Config

    s3 = boto3.client(
        "s3",
        endpoint_url=endpoints.oss,
        region_name=f"oss-{REGION}",
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        ),
    )
    return lambda: s3.put_object(Bucket=BUCKET, Key="consumers/boto3", Body=b"text")


def obstore(endpoints):
    """obstore, which finds its credentials at a container's endpoint."""
    from obstore import put
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=endpoints.oss,
        region=f"oss-{REGION}",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    return lambda: put(store, "consumers/obstore", b"text")


def opendal(endpoints):
    """opendal, which finds its credentials in instance metadata."""
    import opendal

    settings = {"bucket": BUCKET, "endpoint": endpoints.oss, "region": REGION, "root": "/"}
    bucket = opendal.Operator("oss", addressing_style="path", **settings)
    return lambda: bucket.write("consumers/opendal", b"text")


CONSUMERS = {
    "sts-by-uri": lambda endpoints: who_am_i(endpoints, by_uri()),
    "sts-by-chain": lambda endpoints: who_am_i(endpoints, by_chain()),
    "old-sts": old_sts,
    "oss2": oss2,
    "oss-v2": oss_v2,
    "boto3": boto3,
    "obstore": obstore,
    "opendal": opendal,
}


def calls(call, count):
    try:
        for _ in range(count):
            call()
    except Exception as error:
        return {"error": told(error)}
    return {"calls": count}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("consumer", choices=CONSUMERS)
    parser.add_argument("--sts", required=True)
    parser.add_argument("--oss", required=True)
    parser.add_argument("--shim", help="the shim's command line")
    arguments = parser.parse_args()
    signal.alarm(PATIENCE_SECONDS)
    hold_no_key()
    call = CONSUMERS[arguments.consumer](arguments)
    for line in sys.stdin:
        print(json.dumps(calls(call, int(line))), flush=True)


if __name__ == "__main__":
    main()
