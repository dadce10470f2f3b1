"""Puts, gets, heads, lists and deletes an object with an official SDK, unmodified."""

import argparse

from shim_credentials import document, hold_no_key, require, run

KEY = "stories/a b+c 中文.txt"
TEXT = b"written by an unmodified SDK"


class Oss2:
    """oss2, signature version 1 or 4."""

    def __init__(self, arguments, auth_class):
        import oss2

        class Provider(oss2.credentials.CredentialsProvider):
            def get_credentials(self):
                got = document(arguments.shim)
                return oss2.credentials.Credentials(
                    got["AccessKeyId"], got["AccessKeySecret"], got["SecurityToken"]
                )

        auth = getattr(oss2, auth_class)(Provider())
        self.bucket = oss2.Bucket(
            auth, arguments.endpoint, arguments.bucket, region=arguments.region
        )
        self.gone = oss2.exceptions.NoSuchKey

    def put(self):
        return self.bucket.put_object(KEY, TEXT).status

    def get(self):
        return self.bucket.get_object(KEY).read()

    def head(self):
        return self.bucket.head_object(KEY).content_length

    def list(self):
        return [it.key for it in self.bucket.list_objects(prefix=KEY).object_list]

    def delete(self):
        return self.bucket.delete_object(KEY).status

    def is_gone(self):
        try:
            self.bucket.get_object(KEY)
        except self.gone:
            return True
        return False


class OssV2:
    """alibabacloud-oss-v2, which signs with version 4."""

    def __init__(self, arguments):
        import alibabacloud_oss_v2 as oss

        def provide():
            got = document(arguments.shim)
            return oss.credentials.Credentials(
                got["AccessKeyId"], got["AccessKeySecret"], got["SecurityToken"]
            )

        config = oss.config.load_default()
        config.credentials_provider = oss.credentials.CredentialsProviderFunc(provide)
        config.region = arguments.region
        config.endpoint = arguments.endpoint
        self.oss = oss
        self.name = arguments.bucket
        self.client = oss.Client(config)

    def put(self):
        request = self.oss.PutObjectRequest(bucket=self.name, key=KEY, body=TEXT)
        return self.client.put_object(request).status_code

    def get(self):
        request = self.oss.GetObjectRequest(bucket=self.name, key=KEY)
        return self.client.get_object(request).body.read()

    def head(self):
        request = self.oss.HeadObjectRequest(bucket=self.name, key=KEY)
        return self.client.head_object(request).content_length

    def list(self):
        request = self.oss.ListObjectsV2Request(bucket=self.name, prefix=KEY)
        return [it.key for it in self.client.list_objects_v2(request).contents or []]

    def delete(self):
        request = self.oss.DeleteObjectRequest(bucket=self.name, key=KEY)
        return self.client.delete_object(request).status_code

    def is_gone(self):
        try:
            self.get()
        except self.oss.exceptions.OperationError as error:
            if getattr(error.unwrap(), "code", None) == "NoSuchKey":
                return True
            raise
        return False


class Boto3:
    """boto3, by OSS's S3-compatible way."""

    def __init__(self, arguments):
        import boto3
        from botocore.config import Config

        got = document(arguments.shim)
        self.at = {"Bucket": arguments.bucket, "Key": KEY}
        self.s3 = boto3.client(
            "s3",
            endpoint_url=arguments.endpoint,
            region_name=f"oss-{arguments.region}",
            aws_access_key_id=got["AccessKeyId"],
            aws_secret_access_key=got["SecretAccessKey"],
            aws_session_token=got["SessionToken"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def put(self):
        answer = self.s3.put_object(**self.at, Body=TEXT)
        return answer["ResponseMetadata"]["HTTPStatusCode"]

    def get(self):
        return self.s3.get_object(**self.at)["Body"].read()

    def head(self):
        return self.s3.head_object(**self.at)["ContentLength"]

    def list(self):
        answer = self.s3.list_objects_v2(Bucket=self.at["Bucket"], Prefix=KEY)
        return [it["Key"] for it in answer["Contents"]]

    def delete(self):
        answer = self.s3.delete_object(**self.at)
        return answer["ResponseMetadata"]["HTTPStatusCode"]

    def is_gone(self):
        try:
            self.get()
        except self.s3.exceptions.NoSuchKey:
            return True
        return False


class Obstore:
    """obstore, by OSS's S3-compatible way; it has no statuses to tell of."""

    def __init__(self, arguments):
        from obstore.store import S3Store

        got = document(arguments.shim)
        self.store = S3Store(
            arguments.bucket,
            endpoint=arguments.endpoint,
            region=f"oss-{arguments.region}",
            access_key_id=got["AccessKeyId"],
            secret_access_key=got["SecretAccessKey"],
            session_token=got["SessionToken"],
            virtual_hosted_style_request=False,
            # The emulator deletes one object at a time.
            disable_bulk_delete=True,
            client_options={"allow_http": True},
        )

    def put(self):
        return 200 if self.store.put(KEY, TEXT)["e_tag"] else 0

    def get(self):
        return bytes(self.store.get(KEY).bytes())

    def head(self):
        return self.store.head(KEY)["size"]

    def list(self):
        # Its prefixes are whole folders.
        pages = self.store.list(prefix=KEY.rpartition("/")[0])
        return [it["path"] for page in pages for it in page]

    def delete(self):
        return 204 if self.store.delete(KEY) is None else 0

    def is_gone(self):
        try:
            self.get()
        except FileNotFoundError:
            return True
        return False


CLIENTS = {
    "oss2-v1": lambda arguments: Oss2(arguments, "ProviderAuth"),
    "oss2-v4": lambda arguments: Oss2(arguments, "ProviderAuthV4"),
    "oss-v2": OssV2,
    "boto3": Boto3,
    "obstore": Obstore,
}


def story(arguments):
    hold_no_key()
    client = CLIENTS[arguments.client](arguments)
    steps = []
    for name, act, wanted in (
        ("put", client.put, 200),
        ("get", client.get, TEXT),
        ("head", client.head, len(TEXT)),
        # The prefix is the key itself, so that the query has to be encoded and signed too.
        ("list", client.list, [KEY]),
        ("delete", client.delete, 204),
        ("get deleted: NoSuchKey", client.is_gone, True),
    ):
        got = act()
        require(got == wanted, f"{name}: {wanted!r} was wanted, this came: {got!r}")
        steps.append(name)
    return {"client": arguments.client, "ok": True, "steps": steps}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", choices=CLIENTS, required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--shim", required=True, help="the shim's command line")
    arguments = parser.parse_args()
    run(lambda: story(arguments))


if __name__ == "__main__":
    main()
