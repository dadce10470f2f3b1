//! The tables of an account model's file, as serde reads them.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) account: String,
    #[serde(default)]
    pub(crate) chained_session_cap: bool,
    #[serde(default)]
    pub(crate) user: Vec<UserTable>,
    #[serde(default)]
    pub(crate) role: Vec<RoleTable>,
    #[serde(default)]
    pub(crate) oidc_provider: Vec<OidcProviderTable>,
    #[serde(default)]
    pub(crate) saml_provider: Vec<SamlProviderTable>,
    pub(crate) instance: Option<InstanceTable>,
    #[serde(default)]
    pub(crate) bucket: Vec<BucketTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserTable {
    pub(crate) name: String,
    pub(crate) policy: Option<String>,
    #[serde(default)]
    pub(crate) key: Vec<KeyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyTable {
    pub(crate) id: String,
    pub(crate) secret: String,
    #[serde(default)]
    pub(crate) status: KeyStatus,
}

/// The status of an AccessKey.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyStatus {
    #[default]
    Active,
    Inactive,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleTable {
    pub(crate) name: String,
    pub(crate) trusts: Vec<String>,
    #[serde(default)]
    pub(crate) oidc_subjects: Vec<String>,
    pub(crate) max_session: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) policy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BucketTable {
    pub(crate) name: String,
    pub(crate) region: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcProviderTable {
    pub(crate) name: String,
    pub(crate) issuer: String,
    pub(crate) client_ids: Vec<String>,
    pub(crate) jwks: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SamlProviderTable {
    pub(crate) name: String,
    pub(crate) issuer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstanceTable {
    pub(crate) role: String,
    pub(crate) region: Option<String>,
    #[serde(default)]
    pub(crate) v1: bool,
    pub(crate) credential_life: Option<String>,
    pub(crate) replaced_before_end: Option<String>,
}
