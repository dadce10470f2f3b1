"""Calls the cloud with an official SDK, unmodified, that gets its credentials in one of the
ways stsd offers, as often as it is told.

Every line of standard input is a number of calls; each line of the answer is JSON: `{"calls":
N}`, or `{"error": …}` with the first that failed. A call is an upload, a part of an upload, or the
question who one is, so that the emulator verifies every signature. Secrets are never printed."""

import argparse
import json
import os
import signal
import sys
import tempfile
from urllib.parse import urlsplit

from shim_credentials import document, hold_no_key, told

# A library that hangs ends the program, so that nobody waits for it without a bound.
PATIENCE_SECONDS = 900
REGION = "cn-hongkong"
BUCKET = "examplebucket"

# A part of the smallest size that OSS accepts before the last one, and the number of parts.
PART = b"part" * 25 * 1024
PARTS = 3


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
    protocol = urlsplit(endpoints.sts).scheme
    sts = Client(Config(credential=client, endpoint=endpoint, protocol=protocol))
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


def boto3_client(endpoints):
    """boto3, which finds its credentials itself: in a profile, or at a container's endpoint."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoints.oss,
        region_name=f"oss-{REGION}",
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        ),
    )


def boto3(endpoints):
    s3 = boto3_client(endpoints)
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


class InParts:
    """One upload in parts: each call uploads one part, the last call also completes the upload."""

    def __init__(self, initiate, upload_part, complete):
        self.initiate, self.upload_part, self.complete = initiate, upload_part, complete
        self.id = None
        self.parts = []

    def __call__(self):
        if self.id is None:
            self.id = self.initiate()
        number = len(self.parts) + 1
        self.parts.append(self.upload_part(self.id, number, str(number).encode() + PART))
        if number == PARTS:
            self.complete(self.id, self.parts)


def oss2_in_parts(endpoints):
    import oss2

    key = "parts/oss2"
    provider = oss2.credentials.EcsRamRoleCredentialsProvider(os.environ["STORY_URL"])
    bucket = oss2.Bucket(oss2.ProviderAuthV4(provider), endpoints.oss, BUCKET, region=REGION)

    def upload_part(upload, number, body):
        answer = bucket.upload_part(key, upload, number, body)
        return oss2.models.PartInfo(number, answer.etag, part_crc=answer.crc, size=len(body))

    return InParts(
        lambda: bucket.init_multipart_upload(key).upload_id,
        upload_part,
        lambda upload, parts: bucket.complete_multipart_upload(key, upload, parts),
    )


def boto3_in_parts(endpoints):
    s3 = boto3_client(endpoints)
    place = {"Bucket": BUCKET, "Key": "parts/boto3"}

    def upload_part(upload, number, body):
        answer = s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def complete(upload, parts):
        s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})

    return InParts(
        lambda: s3.create_multipart_upload(**place)["UploadId"], upload_part, complete
    )


def large_file():
    """A file above the size from which both helpers upload in parts."""
    file = tempfile.NamedTemporaryFile()
    file.write(PART * 200)
    file.flush()
    return file


def oss2_file(endpoints):
    """The helper of oss2 for large files, whose parts have 10 MiB."""
    import oss2

    provider = oss2.credentials.EcsRamRoleCredentialsProvider(os.environ["STORY_URL"])
    bucket = oss2.Bucket(oss2.ProviderAuthV4(provider), endpoints.oss, BUCKET, region=REGION)

    def call():
        with large_file() as file, tempfile.TemporaryDirectory() as place:
            records = oss2.ResumableStore(root=place)
            oss2.resumable_upload(bucket, "files/oss2", file.name, store=records)

    return call


def boto3_file(endpoints):
    """The helper of boto3 for large files, whose parts have 8 MiB; before it, what rclone asks."""
    s3 = boto3_client(endpoints)

    def call():
        s3.create_bucket(Bucket=BUCKET)
        s3.head_bucket(Bucket=BUCKET)
        with large_file() as file:
            s3.upload_file(file.name, BUCKET, "files/boto3")

    return call


CONSUMERS = {
    "sts-by-uri": lambda endpoints: who_am_i(endpoints, by_uri()),
    "sts-by-chain": lambda endpoints: who_am_i(endpoints, by_chain()),
    "old-sts": old_sts,
    "oss2": oss2,
    "oss-v2": oss_v2,
    "boto3": boto3,
    "obstore": obstore,
    "opendal": opendal,
    "oss2-in-parts": oss2_in_parts,
    "boto3-in-parts": boto3_in_parts,
    "oss2-file": oss2_file,
    "boto3-file": boto3_file,
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
