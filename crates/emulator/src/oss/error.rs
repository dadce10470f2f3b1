//! The errors of the emulated OSS, each with its code, HTTP status, `EC` and message.

use crate::encoding::{escape_xml, hex};

/// The `EC` of an error whose number this project does not know.
const UNKNOWN_EC: &str = "0000-00000000";

/// The reason for which OSS refused a request. The text is the `Message` of the reply.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the code it prints")]
pub enum OssError {
    #[error("The OSS Access Key Id you provided does not exist in our records.")]
    InvalidAccessKeyId { id: String, temporary: bool },
    #[error("The OSS Access Key Id you provided is disabled.")]
    AccessKeyDisabled { id: String },
    #[error("The security token you provided has expired.")]
    SecurityTokenExpired,
    #[error("The security token you provided is invalid.")]
    InvalidSecurityToken,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    SignatureDoesNotMatch {
        id: String,
        string_to_sign: String,
        canonical_request: String,
        provided: String,
    },
    #[error("The difference between the request time and the current time is too large.")]
    RequestTimeTooSkewed,
    #[error("{message}")]
    AccessDenied {
        message: &'static str,
        ec: &'static str,
    },
    #[error("{0}")]
    InvalidArgument(String),
    #[error("The specified bucket does not exist.")]
    NoSuchBucket,
    #[error("The specified key does not exist.")]
    NoSuchKey,
    #[error("The specified bucket is not valid.")]
    InvalidBucketName,
    #[error("Bucket already exists can't modify location.")]
    BucketLocation,
    #[error("The bucket you tried to delete is not empty.")]
    BucketNotEmpty,
    #[error("You have attempted to create more buckets than allowed.")]
    TooManyBuckets,
    #[error(
        "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."
    )]
    WrongEndpoint { bucket: String, endpoint: String },
    #[error("The object you specified already exists and can not be overwritten.")]
    FileAlreadyExists,
    #[error(
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )]
    NoSuchUpload,
    #[error(
        "One or more of the specified parts could not be found or the specified entity tag might not have matched the part's entity tag."
    )]
    InvalidPart,
    #[error(
        "The list of parts was not in ascending order. Parts list must be specified in order by part number."
    )]
    InvalidPartOrder,
    #[error("Part number must be an integer between 1 and 10000, inclusive.")]
    InvalidPartNumber,
    #[error("Your proposed upload is smaller than the minimum allowed size.")]
    EntityTooSmall,
    #[error(
        "The XML you provided was not well-formed or did not validate against our published schema."
    )]
    MalformedXml,
    #[error("The Content-MD5 you specified did not match what we received.")]
    InvalidDigest,
    #[error("The hash of the body does not match x-amz-content-sha256.")]
    ContentMismatch,
    #[error("The requested range cannot be satisfied.")]
    InvalidRange,
    #[error("Your proposed upload exceeds the maximum allowed size of 256 MiB in this emulator.")]
    EntityTooLarge,
    #[error("This emulator stores at most 1 GiB of objects and parts.")]
    QuotaExceeded,
    #[error("This emulator does not implement {0}.")]
    NotImplemented(String),
    #[error("{message}")]
    Scripted {
        code: String,
        status: u16,
        message: String,
    },
}

impl OssError {
    pub(crate) const FORBIDDEN: Self = Self::AccessDenied {
        message: "You have no right to access this object because of bucket acl.",
        ec: "0003-00000001",
    };
    pub(crate) const ANONYMOUS: Self = Self::AccessDenied {
        message: "You are forbidden to list or access this bucket without a signature.",
        ec: "0003-00000901",
    };
    pub(crate) const NO_DATE: Self = Self::AccessDenied {
        message: "OSS authentication requires a valid Date.",
        ec: "0002-00000203",
    };
    pub(crate) const UNSIGNED_HEADERS: Self = Self::AccessDenied {
        message: "There were headers present in the request which were not signed.",
        ec: UNKNOWN_EC,
    };
    pub(crate) const URL_EXPIRED: Self = Self::AccessDenied {
        message: "Request has expired.",
        ec: "0002-00000069",
    };

    pub(crate) fn argument(text: &str) -> Self {
        Self::InvalidArgument(text.to_owned())
    }

    /// Returns code, HTTP status and `EC`, the error's number in the vendor's catalogue.
    fn parts(&self) -> (&str, u16, &'static str) {
        match self {
            Self::InvalidAccessKeyId {
                temporary: true, ..
            } => ("InvalidAccessKeyId", 403, "0002-00000002"),
            Self::InvalidAccessKeyId { .. } => ("InvalidAccessKeyId", 403, "0002-00000902"),
            Self::AccessKeyDisabled { .. } => ("InvalidAccessKeyId", 403, "0002-00000903"),
            Self::SecurityTokenExpired => ("SecurityTokenExpired", 403, "0002-00000007"),
            Self::InvalidSecurityToken => ("InvalidSecurityToken", 403, "0002-00000004"),
            Self::SignatureDoesNotMatch { .. } => ("SignatureDoesNotMatch", 403, "0002-00000040"),
            Self::RequestTimeTooSkewed => ("RequestTimeTooSkewed", 403, "0002-00000504"),
            Self::AccessDenied { ec, .. } => ("AccessDenied", 403, ec),
            Self::InvalidArgument(_) => ("InvalidArgument", 400, "0017-00000201"),
            Self::NoSuchBucket => ("NoSuchBucket", 404, "0015-00000101"),
            Self::NoSuchKey => ("NoSuchKey", 404, "0026-00000001"),
            Self::InvalidBucketName => ("InvalidBucketName", 400, "0015-00000001"),
            Self::BucketLocation => ("BucketAlreadyExists", 409, UNKNOWN_EC),
            Self::BucketNotEmpty => ("BucketNotEmpty", 409, UNKNOWN_EC),
            Self::TooManyBuckets => ("TooManyBuckets", 400, UNKNOWN_EC),
            Self::WrongEndpoint { .. } => ("AccessDenied", 403, UNKNOWN_EC),
            Self::FileAlreadyExists => ("FileAlreadyExists", 409, UNKNOWN_EC),
            Self::NoSuchUpload => ("NoSuchUpload", 404, "0042-00000002"),
            Self::InvalidPart => ("InvalidPart", 400, UNKNOWN_EC),
            Self::InvalidPartOrder => ("InvalidPartOrder", 400, "0042-00000209"),
            Self::InvalidPartNumber => ("InvalidArgument", 400, "0017-00000220"),
            Self::EntityTooSmall => ("EntityTooSmall", 400, "0042-00000213"),
            Self::MalformedXml => ("MalformedXML", 400, UNKNOWN_EC),
            Self::InvalidDigest => ("InvalidDigest", 400, "0016-00000501"),
            Self::ContentMismatch => ("XAmzContentSHA256Mismatch", 400, UNKNOWN_EC),
            Self::InvalidRange => ("InvalidRange", 416, "0026-00000021"),
            Self::EntityTooLarge => ("EntityTooLarge", 400, "0016-00000605"),
            Self::QuotaExceeded => ("QuotaExceeded", 403, "0016-00000900"),
            Self::NotImplemented(_) => ("NotImplemented", 501, "0017-00000901"),
            Self::Scripted { code, status, .. } => (code, *status, UNKNOWN_EC),
        }
    }

    /// Returns the `Code` of the reply.
    #[must_use]
    pub fn code(&self) -> &str {
        self.parts().0
    }

    /// Returns the HTTP status of the reply.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.parts().1
    }

    /// Returns the `EC` of the reply.
    #[must_use]
    pub fn ec(&self) -> &'static str {
        self.parts().2
    }

    /// Returns the code and the HTTP status for AWS SDKs, which differ from OSS's for some errors.
    pub(crate) fn s3_code_and_status(&self) -> (&str, u16) {
        match self {
            Self::SecurityTokenExpired => ("ExpiredToken", 400),
            Self::InvalidSecurityToken => ("InvalidToken", 400),
            _ => (self.code(), self.status()),
        }
    }

    /// Returns the error document, with that code.
    pub(crate) fn xml(&self, code: &str, request_id: &str, host: &str) -> String {
        let mut fields = vec![
            ("Code", code.to_owned()),
            ("Message", self.to_string()),
            ("RequestId", request_id.to_owned()),
            ("HostId", host.to_owned()),
        ];
        match self {
            Self::InvalidAccessKeyId { id, .. } | Self::AccessKeyDisabled { id } => {
                fields.push(("OSSAccessKeyId", id.clone()));
            }
            Self::SignatureDoesNotMatch {
                id,
                string_to_sign,
                canonical_request,
                provided,
            } => {
                fields.push(("OSSAccessKeyId", id.clone()));
                fields.push(("SignatureProvided", provided.clone()));
                fields.push(("StringToSign", string_to_sign.clone()));
                fields.push(("StringToSignBytes", hex(string_to_sign.as_bytes())));
                if !canonical_request.is_empty() {
                    fields.push(("CanonicalRequest", canonical_request.clone()));
                }
            }
            Self::WrongEndpoint { bucket, endpoint } => {
                fields.push(("Bucket", bucket.clone()));
                fields.push(("Endpoint", endpoint.clone()));
            }
            _ => {}
        }
        fields.push(("EC", self.ec().to_owned()));
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!("  <{name}>{}</{name}>\n", escape_xml(value)))
            .collect();
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n{fields}</Error>\n")
    }
}
