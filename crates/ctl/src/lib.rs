//! The part of `stsctl` that reads the files of other tools, as a library: the fuzz target
//! calls it with any bytes.

pub mod aliyun_profiles;
pub mod json_object;
