//! HTTPS: an authority that is generated at each start, and the certificate that it issues for the
//! addresses and the host names of the emulator.
//!
//! The private keys stay in memory, so that the file of the authority can sign for no other program.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{clock::saturating_add, encoding::base64};

/// Lifetime of the certificates. Some clients refuse one of more than 398 days.
const CERTIFICATE_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Time before the start at which the certificates become valid, for a client whose clock is behind.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_hours(24);

/// Length of a serial number and of a key identifier (RFC 5280, section 4.1.2.2).
const SERIAL_BYTES: usize = 20;

/// Length of a line of PEM (RFC 7468).
const PEM_LINE_CHARS: usize = 64;

/// The reason for which no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be encoded or signed.
    #[error("cannot issue a certificate")]
    Certificate(#[from] Error),
    /// rustls refuses the certificate.
    #[error("cannot use the certificate")]
    Config(#[from] rustls::Error),
    /// The system has no random bytes.
    #[error("cannot generate a key")]
    Key,
}

/// The server's side of HTTPS.
pub(crate) struct Tls {
    /// The certificate of the authority, as PEM.
    pub(crate) authority_pem: String,
    pub(crate) config: Arc<ServerConfig>,
}

/// A key that signs certificates or handshakes.
struct GeneratedKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    random: SystemRandom,
}

impl Tls {
    /// Returns a new authority, and a certificate for `localhost`, the loopback addresses and
    /// `host_names`.
    ///
    /// # Errors
    ///
    /// The system has no random bytes, or a host name is none.
    pub(crate) fn generate(host_names: Vec<String>, now: Timestamp) -> Result<Self, TlsError> {
        let authority_key = GeneratedKey::generate()?;
        let authority = authority_params(&authority_key, now)?;
        let authority_der = authority.self_signed(&authority_key)?.der().to_vec();
        let issuer = Issuer::new(authority, authority_key);
        let key = GeneratedKey::generate()?;
        let certificate = server_params(host_names, &key, now)?.signed_by(&key, &issuer)?;
        let private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private_key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            authority_pem: pem(&authority_der),
            config: Arc::new(config),
        })
    }
}

impl GeneratedKey {
    fn generate() -> Result<Self, TlsError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random);
        let pkcs8 = document.map_err(|_| TlsError::Key)?.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random);
        Ok(Self {
            pair: pair.map_err(|_| TlsError::Key)?,
            pkcs8,
            random,
        })
    }

    /// Returns random bytes for a serial number or a key identifier. The first bit is not set, so
    /// that the number is positive.
    fn random_id(&self) -> Result<Vec<u8>, TlsError> {
        let mut id = [0; SERIAL_BYTES];
        self.random.fill(&mut id).map_err(|_| TlsError::Key)?;
        id[0] = id[0] & 0x7f | 0x40;
        Ok(id.to_vec())
    }
}

impl PublicKeyData for GeneratedKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for GeneratedKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.pair.sign(&self.random, message);
        let signature = signature.map_err(|_| Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

fn authority_params(key: &GeneratedKey, now: Timestamp) -> Result<CertificateParams, TlsError> {
    let mut params = params("stsd-emulator CA, generated at its start", key, now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server_params(
    host_names: Vec<String>,
    key: &GeneratedKey,
    now: Timestamp,
) -> Result<CertificateParams, TlsError> {
    let mut params = params("stsd-emulator", key, now)?;
    let addresses = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    let mut names = vec!["localhost".to_owned()];
    names.extend(addresses.iter().map(ToString::to_string));
    names.extend(host_names);
    params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // OpenSSL's strict check, the default of Python 3.13, requires the identifier.
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Returns the fields that both certificates have.
fn params(name: &str, key: &GeneratedKey, now: Timestamp) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(key.random_id()?.into());
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.random_id()?);
    // The beginning of a day.
    let date = |time: Timestamp| {
        let date = jiff::tz::Offset::UTC.to_datetime(time).date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = date(saturating_add(now, -CLOCK_LEEWAY));
    params.not_after = date(saturating_add(now, CERTIFICATE_LIFETIME - CLOCK_LEEWAY));
    Ok(params)
}

fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(PEM_LINE_CHARS) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
