//! An EFI program and a key in, a program signed for Secure Boot out; and the check of such a signature.
//!
//! Source: Microsoft's "Windows Authenticode Portable Executable Signature Format", 2008, and RFC 5652.
//! Invariant: equal programs and keys give equal bytes (PKCS #1 v1.5, no signing time); a program that passes the
//! check has no byte that its signature does not cover but the checksum, which must be zero.

use super::pe::{self, Pe, PeError};
use cms::builder::{create_content_type_attribute, create_message_digest_attribute};
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::db::rfc5911::{ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ID_SHA_256, RSA_ENCRYPTION};
use const_oid::ObjectIdentifier;
use der::asn1::{OctetString, SetOfVec};
use der::{Any, AnyRef, Decode, Encode};
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use sha2::{Digest, Sha256};
use spki::{AlgorithmIdentifierOwned, DecodePublicKey};
use x509_cert::Certificate;

/// `SPC_INDIRECT_DATA_OBJID`.
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
/// `SpcAttributeTypeAndOptionalValue` of a PE image: its OID, no flags, and an empty file name.
const PE_IMAGE_DATA: [u8; 25] = [
    0x30, 0x17, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f, 0x30, 0x09, 0x03, 0x01, 0x00,
    0xa0, 0x04, 0xa2, 0x02, 0x80, 0x00,
];
/// `DigestInfo` of SHA-256 up to the digest.
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];
/// `WIN_CERTIFICATE`: revision 2.0, PKCS #7 signed data.
const REVISION_AND_TYPE: [u8; 4] = [0x00, 0x02, 0x02, 0x00];
const HEADER_BYTES: usize = 8;

/// A key that signs, and the certificate that firmware knows it by.
#[derive(Clone, Debug)]
pub struct SigningKey {
    pub certificate_der: Vec<u8>,
    pub key: RsaPrivateKey,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthenticodeError {
    #[error(transparent)]
    Pe(#[from] PeError),
    #[error("the program is not signed")]
    Unsigned,
    #[error("the signature is damaged: {0}")]
    Damaged(&'static str),
    #[error("the signature cannot be read")]
    Der(#[from] der::Error),
    #[error("the signature cannot be made")]
    Sign(#[source] rsa::Error),
    #[error("the signature's attributes cannot be made: {0}")]
    Attributes(String),
    #[error("the program is not the one that was signed: its digest is {found}, the signature says {signed}")]
    Digest { found: String, signed: String },
    #[error("the signature was made by none of the trusted keys")]
    Untrusted,
}

/// The digest that a signature covers: everything but the checksum, the directory entry of the signatures, and those.
pub fn digest(program: &[u8]) -> Result<[u8; 32], PeError> {
    let pe = Pe::parse(program)?;
    let hash = Sha256::new_with_prefix(&program[..pe.checksum])
        .chain_update(&program[pe.checksum + 4..pe.certificate_directory])
        .chain_update(&program[pe.certificate_directory + 8..pe.certificates.start]);
    // Signers pad the program to 8 bytes before they hash it.
    let padding = pe.certificates.start.next_multiple_of(8) - pe.certificates.start;
    Ok(hash.chain_update(&[0; 8][..padding]).finalize().into())
}

/// The content that is signed, as DER.
fn indirect_data(digest: &[u8; 32]) -> Vec<u8> {
    let content = [&PE_IMAGE_DATA[..], &DIGEST_INFO, digest].concat();
    let mut der = vec![0x30, content.len() as u8];
    der.extend(content);
    der
}

/// `program` with this one signature.
pub fn sign(program: &[u8], key: &SigningKey) -> Result<Vec<u8>, AuthenticodeError> {
    let signed_data = signed_data(&digest(program)?, key)?;
    let content = Any::from_der(&signed_data.to_der()?)?;
    let message = ContentInfo { content_type: ID_SIGNED_DATA, content }.to_der()?;
    let length = u32::try_from(HEADER_BYTES + message.len()).map_err(|_| AuthenticodeError::Damaged("too large"))?;
    let mut certificate = length.to_le_bytes().to_vec();
    certificate.extend(REVISION_AND_TYPE);
    certificate.extend(message);
    certificate.resize(certificate.len().next_multiple_of(8), 0);
    Ok(pe::with_certificates(program, &certificate)?)
}

fn signed_data(digest: &[u8; 32], key: &SigningKey) -> Result<SignedData, AuthenticodeError> {
    let content = indirect_data(digest);
    let sha256 = AlgorithmIdentifierOwned { oid: ID_SHA_256, parameters: Some(Any::from(AnyRef::NULL)) };
    let certificate = Certificate::from_der(&key.certificate_der)?;
    let failed = |error: cms::builder::Error| AuthenticodeError::Attributes(error.to_string());
    let mut attributes = SetOfVec::new();
    attributes.insert(create_content_type_attribute(INDIRECT_DATA).map_err(failed)?)?;
    // Of the content without its tag and length (Authenticode, "SignerInfo").
    attributes.insert(create_message_digest_attribute(&Sha256::digest(&content[2..])).map_err(failed)?)?;
    let signature = key.key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(attributes.to_der()?));
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.tbs_certificate.issuer.clone(),
            serial_number: certificate.tbs_certificate.serial_number.clone(),
        }),
        digest_alg: sha256.clone(),
        signed_attrs: Some(attributes),
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: RSA_ENCRYPTION,
            parameters: Some(Any::from(AnyRef::NULL)),
        },
        signature: OctetString::new(signature.map_err(AuthenticodeError::Sign)?)?,
        unsigned_attrs: None,
    };
    Ok(SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![sha256])?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: INDIRECT_DATA,
            econtent: Some(Any::from_der(&content)?),
        },
        certificates: Some(CertificateSet(SetOfVec::try_from(vec![CertificateChoices::Certificate(certificate)])?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
    })
}

/// Checks that `program` carries one signature, that it covers the program, and that one of `trusted`
/// (certificates, DER) made it.
pub fn verify(program: &[u8], trusted: &[&[u8]]) -> Result<(), AuthenticodeError> {
    let pe = Pe::parse(program)?;
    let table = &program[pe.certificates.clone()];
    if table.is_empty() {
        return Err(AuthenticodeError::Unsigned);
    }
    if pe.certificates.end != program.len() || !pe.certificates.start.is_multiple_of(8) {
        return Err(AuthenticodeError::Damaged("bytes follow that it does not cover"));
    }
    if program[pe.checksum..pe.checksum + 4] != [0; 4] {
        return Err(AuthenticodeError::Damaged("the program's checksum is not zero"));
    }
    let signed_data = parse(table)?;
    let found = digest(program)?;
    let content = signed_data.encap_content_info.econtent.as_ref().map(Encode::to_der).transpose()?;
    let content = content.unwrap_or_default();
    if content != indirect_data(&found) {
        let signed = hex::encode(content.get(content.len().saturating_sub(32)..).unwrap_or_default());
        return Err(AuthenticodeError::Digest { found: hex::encode(found), signed });
    }
    for certificate in trusted {
        let certificate = Certificate::from_der(certificate)?;
        let key = certificate.tbs_certificate.subject_public_key_info.to_der()?;
        let key = RsaPublicKey::from_public_key_der(&key);
        let Ok(key) = key else { continue };
        if is_signed_by(&signed_data, &content, &key)? {
            // Also what the mathematics does not cover must be what our signer writes, bit for bit.
            return exact(table, &signed_data, &certificate, &found);
        }
    }
    Err(AuthenticodeError::Untrusted)
}

fn parse(table: &[u8]) -> Result<SignedData, AuthenticodeError> {
    let header = table.get(..HEADER_BYTES).ok_or(AuthenticodeError::Damaged("it is too short"))?;
    let length = u32::from_le_bytes(header[..4].try_into().expect("4 bytes")) as usize;
    let fits = header[4..] == REVISION_AND_TYPE && length > HEADER_BYTES && length.next_multiple_of(8) == table.len();
    let message = if fits { table.get(HEADER_BYTES..length) } else { None };
    let message = message.ok_or(AuthenticodeError::Damaged("its header is not valid"))?;
    if table[length..].iter().any(|byte| *byte != 0) {
        return Err(AuthenticodeError::Damaged("its padding is not zero"));
    }
    let info = ContentInfo::from_der(message)?;
    if info.content_type != ID_SIGNED_DATA {
        return Err(AuthenticodeError::Damaged("it is no signed data"));
    }
    Ok(info.content.decode_as()?)
}

fn is_signed_by(data: &SignedData, content: &[u8], key: &RsaPublicKey) -> Result<bool, AuthenticodeError> {
    let [signer] = data.signer_infos.0.as_slice() else {
        return Err(AuthenticodeError::Damaged("it does not have one signer"));
    };
    let attributes = signer.signed_attrs.as_ref().ok_or(AuthenticodeError::Damaged("it has no attributes"))?;
    let digests = attributes.iter().filter(|attribute| attribute.oid == ID_MESSAGE_DIGEST);
    let values: Vec<_> = digests.flat_map(|attribute| attribute.values.iter()).collect();
    let [value] = values[..] else { return Err(AuthenticodeError::Damaged("it does not have one digest")) };
    if value.value() != &Sha256::digest(&content[2..])[..] {
        return Err(AuthenticodeError::Damaged("its digest is not that of its content"));
    }
    let hash = Sha256::digest(attributes.to_der()?);
    Ok(key.verify(Pkcs1v15Sign::new::<Sha256>(), &hash, signer.signature.as_bytes()).is_ok())
}

/// Whether the table is the one that [`sign`] would make around this signature.
fn exact(
    table: &[u8],
    data: &SignedData,
    certificate: &Certificate,
    digest: &[u8; 32],
) -> Result<(), AuthenticodeError> {
    let [signer] = data.signer_infos.0.as_slice() else { return Err(AuthenticodeError::Untrusted) };
    let content = Any::from_der(&data.to_der()?)?;
    let message = ContentInfo { content_type: ID_SIGNED_DATA, content }.to_der()?;
    let embedded = data.certificates.as_ref().map(|set| set.0.as_slice());
    let same_certificate = embedded == Some(&[CertificateChoices::Certificate(certificate.clone())]);
    let known = &certificate.tbs_certificate;
    let same_signer = matches!(&signer.sid, SignerIdentifier::IssuerAndSerialNumber(id)
        if id.issuer == known.issuer && id.serial_number == known.serial_number);
    let algorithms = signer.digest_alg.oid == ID_SHA_256 && signer.signature_algorithm.oid == RSA_ENCRYPTION;
    let plain = signer.unsigned_attrs.is_none() && data.crls.is_none();
    let versions = (data.version, signer.version) == (CmsVersion::V1, CmsVersion::V1);
    let one_digest = data.digest_algorithms.as_slice() == [signer.digest_alg.clone()];
    let same_content = data.encap_content_info.econtent_type == INDIRECT_DATA
        && data.encap_content_info.econtent.as_ref().map(Encode::to_der).transpose()? == Some(indirect_data(digest));
    let all = [same_certificate, same_signer, algorithms, plain, versions, one_digest, same_content];
    match all.iter().all(|holds| *holds) && table[HEADER_BYTES..].starts_with(&message) {
        true => Ok(()),
        false => Err(AuthenticodeError::Damaged("it says more than it should")),
    }
}
