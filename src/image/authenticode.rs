//! An EFI program in, what a key has to sign for Secure Boot out; a program and a signature in, a signed program
//! out; and the check of such a program.
//!
//! Source: Microsoft's "Windows Authenticode Portable Executable Signature Format", 2008, and RFC 5652.
//! Invariant: no private key comes here; equal programs and signatures give equal bytes (no signing time); a program
//! that passes the check has no byte that its signature does not cover but the checksum, which must be zero.

use super::pe::{self, Pe, PeError};
use cms::builder::{create_content_type_attribute, create_message_digest_attribute};
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::db::rfc5911::ID_SIGNED_DATA;
use const_oid::db::rfc5912::{ID_SHA_256, RSA_ENCRYPTION};
use const_oid::ObjectIdentifier;
use der::asn1::{OctetString, SetOfVec};
use der::{Any, AnyRef, Decode, Encode};
use rsa::{Pkcs1v15Sign, RsaPublicKey};
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
/// A table of ours has about 2 KiB. The reader of a message sorts its sets in square time.
const LIMIT_TABLE_BYTES: usize = 16 << 10;

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
    #[error("the signature's attributes cannot be made: {0}")]
    Attributes(String),
    #[error("the program is not the one that was signed: its digest is {found}, the signature says {signed}")]
    Digest { found: String, signed: String },
    #[error("the signature was made by none of the trusted keys, or says more than osbuild's do")]
    Untrusted,
}

/// The digest that a signature covers: everything but the checksum, the directory entry of the signatures, and those.
/// A program with gaps between its sections is refused, as firmware would hash it in another way.
pub fn digest(program: &[u8]) -> Result<[u8; 32], PeError> {
    let pe = Pe::parse(program)?;
    pe.check_gapless()?;
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

/// The attributes of the signature: what a key signs, PKCS #1 v1.5 with SHA-256, to vouch for `program`.
pub fn signed_attributes(program: &[u8]) -> Result<Vec<u8>, AuthenticodeError> {
    Ok(attributes(&digest(program)?)?.to_der()?)
}

/// Whether they are [`signed_attributes`] of some program: there is one way to write them, with the digest at the end.
pub fn are_signed_attributes(message: &[u8]) -> bool {
    let written = |digest: &[u8; 32]| attributes_of(digest).ok()?.to_der().ok();
    message.last_chunk().and_then(written).is_some_and(|written| written == message)
}

/// `program` with this one `signature` over its [`signed_attributes`], by the key of the certificate.
pub fn attach(program: &[u8], certificate_der: &[u8], signature: Vec<u8>) -> Result<Vec<u8>, AuthenticodeError> {
    let certificate = Certificate::from_der(certificate_der)?;
    Ok(pe::with_certificates(program, &table(&digest(program)?, certificate, signature)?)?)
}

/// What is signed: of which kind the content is, and its digest.
fn attributes(digest: &[u8; 32]) -> Result<SignedAttributes, AuthenticodeError> {
    // Of the content without its tag and length (Authenticode, "SignerInfo").
    attributes_of(&Sha256::digest(&indirect_data(digest)[2..]).into())
}

fn attributes_of(message_digest: &[u8; 32]) -> Result<SignedAttributes, AuthenticodeError> {
    let failed = |error: cms::builder::Error| AuthenticodeError::Attributes(error.to_string());
    let mut attributes = SetOfVec::new();
    attributes.insert(create_content_type_attribute(INDIRECT_DATA).map_err(failed)?)?;
    attributes.insert(create_message_digest_attribute(message_digest).map_err(failed)?)?;
    Ok(attributes)
}

fn attributes_hash(digest: &[u8; 32]) -> Result<[u8; 32], AuthenticodeError> {
    Ok(Sha256::digest(attributes(digest)?.to_der()?).into())
}

/// The table of signatures that holds this one: there is one way to write it.
fn table(digest: &[u8; 32], certificate: Certificate, signature: Vec<u8>) -> Result<Vec<u8>, AuthenticodeError> {
    let content = Any::from_der(&signed_data(digest, certificate, signature)?.to_der()?)?;
    let message = ContentInfo { content_type: ID_SIGNED_DATA, content }.to_der()?;
    let length = u32::try_from(HEADER_BYTES + message.len()).map_err(|_| AuthenticodeError::Damaged("too large"))?;
    let mut table = length.to_le_bytes().to_vec();
    table.extend(REVISION_AND_TYPE);
    table.extend(message);
    table.resize(table.len().next_multiple_of(8), 0);
    Ok(table)
}

fn signed_data(
    digest: &[u8; 32],
    certificate: Certificate,
    signature: Vec<u8>,
) -> Result<SignedData, AuthenticodeError> {
    let algorithm = |oid| AlgorithmIdentifierOwned { oid, parameters: Some(Any::from(AnyRef::NULL)) };
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.tbs_certificate.issuer.clone(),
            serial_number: certificate.tbs_certificate.serial_number.clone(),
        }),
        digest_alg: algorithm(ID_SHA_256),
        signed_attrs: Some(attributes(digest)?),
        signature_algorithm: algorithm(RSA_ENCRYPTION),
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    Ok(SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![algorithm(ID_SHA_256)])?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: INDIRECT_DATA,
            econtent: Some(Any::from_der(&indirect_data(digest))?),
        },
        certificates: Some(CertificateSet(SetOfVec::try_from(vec![CertificateChoices::Certificate(certificate)])?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
    })
}

/// Checks that `program` carries one signature as [`attach`] writes it, that it covers the program, and that one of
/// `trusted` (certificates, DER) made it.
pub fn verify(program: &[u8], trusted: &[&[u8]]) -> Result<(), AuthenticodeError> {
    let pe = Pe::parse(program)?;
    let found_table = &program[pe.certificates.clone()];
    if found_table.is_empty() {
        return Err(AuthenticodeError::Unsigned);
    }
    if pe.certificates.end != program.len() || !pe.certificates.start.is_multiple_of(8) {
        return Err(AuthenticodeError::Damaged("bytes follow that it does not cover"));
    }
    if found_table.len() > LIMIT_TABLE_BYTES {
        return Err(AuthenticodeError::Damaged("it is larger than any of osbuild's"));
    }
    if program[pe.checksum..pe.checksum + 4] != [0; 4] {
        return Err(AuthenticodeError::Damaged("the program's checksum is not zero"));
    }
    let signed_data = parse(found_table)?;
    let found = digest(program)?;
    let content = signed_data.encap_content_info.econtent.as_ref().map(Encode::to_der).transpose()?;
    let content = content.unwrap_or_default();
    if content != indirect_data(&found) {
        let signed = hex::encode(content.get(content.len().saturating_sub(32)..).unwrap_or_default());
        return Err(AuthenticodeError::Digest { found: hex::encode(found), signed });
    }
    let [signer] = signed_data.signer_infos.0.as_slice() else {
        return Err(AuthenticodeError::Damaged("it does not have one signer"));
    };
    let hash = attributes_hash(&found)?;
    for certificate in trusted {
        let certificate = Certificate::from_der(certificate)?;
        let key = certificate.tbs_certificate.subject_public_key_info.to_der()?;
        let Ok(key) = RsaPublicKey::from_public_key_der(&key) else { continue };
        if key.verify(Pkcs1v15Sign::new::<Sha256>(), &hash, signer.signature.as_bytes()).is_err() {
            continue;
        }
        // No key signs the bytes around the signature: they must be what the signer writes, bit for bit.
        return match table(&found, certificate, signer.signature.as_bytes().to_vec())? == found_table {
            true => Ok(()),
            false => Err(AuthenticodeError::Damaged("it says more than it should")),
        };
    }
    Err(AuthenticodeError::Untrusted)
}

/// The message in a table. What the parser lets pass, the comparison in [`verify`] does not.
fn parse(table: &[u8]) -> Result<SignedData, AuthenticodeError> {
    let header = table.get(..HEADER_BYTES).ok_or(AuthenticodeError::Damaged("it is too short"))?;
    let length = u32::from_le_bytes(header[..4].try_into().expect("4 bytes")) as usize;
    let message = table.get(HEADER_BYTES..length).ok_or(AuthenticodeError::Damaged("its header is not valid"))?;
    let info = ContentInfo::from_der(message)?;
    if info.content_type != ID_SIGNED_DATA {
        return Err(AuthenticodeError::Damaged("it is no signed data"));
    }
    Ok(info.content.decode_as()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::pe::tests::example;

    #[test]
    fn the_digest_is_the_one_that_others_calculate() {
        // osslsigncode 2.9.
        let digest = digest(&example()).expect("a program");
        assert_eq!(hex::encode(digest), "e954b57e0c845f35e17c6e905162dd07f5f6d465e6bb26a06f6aa3bea60bed3f");
    }

    #[test]
    fn a_program_without_a_signature_or_with_a_damaged_one_does_not_pass() {
        assert!(matches!(verify(&example(), &[]), Err(AuthenticodeError::Unsigned)));
        let damaged = pe::with_certificates(&example(), &[0; 8]).expect("a program");
        assert!(matches!(verify(&damaged, &[]), Err(AuthenticodeError::Damaged(_))));
    }

    /// Its algorithms are a set in the wrong order, which takes minutes to sort.
    #[test]
    fn a_table_that_would_take_long_to_read_is_refused_at_once() {
        let element =
            |n: u32| [&[0x30, 6, 6, 4][..], &(0x2a00_0000 | n & 0x7f | n << 1 & 0x7f00).to_be_bytes()].concat();
        let set: Vec<u8> = (0..60_000).rev().flat_map(element).collect();
        let table = [&(set.len() as u32 + 8).to_le_bytes()[..], &REVISION_AND_TYPE, &set].concat();
        let program = pe::with_certificates(&example(), &table).expect("a program");
        let error = verify(&program, &[]).expect_err("too large");
        assert!(matches!(error, AuthenticodeError::Damaged("it is larger than any of osbuild's")), "{error}");
    }
}
