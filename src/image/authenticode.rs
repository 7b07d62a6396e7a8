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
    CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::db::rfc5911::ID_SIGNED_DATA;
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
/// A table of ours has about 2 KiB. The reader of a message sorts its sets in square time.
const LIMIT_TABLE_BYTES: usize = 16 << 10;

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

/// `program` with this one signature.
pub fn sign(program: &[u8], key: &SigningKey) -> Result<Vec<u8>, AuthenticodeError> {
    let digest = digest(program)?;
    let hash = attributes_hash(&digest)?;
    let signature = key.key.sign(Pkcs1v15Sign::new::<Sha256>(), &hash).map_err(AuthenticodeError::Sign)?;
    let certificate = Certificate::from_der(&key.certificate_der)?;
    Ok(pe::with_certificates(program, &table(&digest, certificate, signature)?)?)
}

/// What is signed: of which kind the content is, and its digest.
fn attributes(digest: &[u8; 32]) -> Result<SignedAttributes, AuthenticodeError> {
    let failed = |error: cms::builder::Error| AuthenticodeError::Attributes(error.to_string());
    let mut attributes = SetOfVec::new();
    attributes.insert(create_content_type_attribute(INDIRECT_DATA).map_err(failed)?)?;
    // Of the content without its tag and length (Authenticode, "SignerInfo").
    let message_digest = Sha256::digest(&indirect_data(digest)[2..]);
    attributes.insert(create_message_digest_attribute(&message_digest).map_err(failed)?)?;
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

/// Checks that `program` carries one signature as [`sign`] writes it, that it covers the program, and that one of
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
    use der::DecodePem;
    use proptest::prelude::*;
    use rsa::pkcs8::DecodePrivateKey;
    use std::sync::OnceLock;

    /// Made for these tests with `openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=test`.
    const KEY: &str = include_str!("testdata/signer.key.pem");
    const CERTIFICATE: &str = include_str!("testdata/signer.crt.pem");

    // osslsigncode 2.9 calculates the same digest and says that the signature is valid.
    const DIGEST: &str = "e954b57e0c845f35e17c6e905162dd07f5f6d465e6bb26a06f6aa3bea60bed3f";
    const SIGNED: &str = "fac37f2389d5cc8a9669120443bde6cf4ec2fd5cd4a60f4f822731ba35bea887";

    fn key() -> SigningKey {
        let key = RsaPrivateKey::from_pkcs8_pem(KEY).expect("a key");
        SigningKey { certificate_der: Certificate::from_pem(CERTIFICATE).and_then(|c| c.to_der()).expect("DER"), key }
    }

    fn signed() -> &'static (Vec<u8>, Vec<u8>) {
        static SIGNED: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        SIGNED.get_or_init(|| (sign(&example(), &key()).expect("signed"), key().certificate_der))
    }

    fn is_sound(program: &[u8]) -> bool {
        verify(program, &[&signed().1]).is_ok()
    }

    #[test]
    fn equal_programs_and_keys_give_equal_signatures() {
        assert_eq!(hex::encode(digest(&example()).expect("a program")), DIGEST);
        assert_eq!(hex::encode(Sha256::digest(&signed().0)), SIGNED);
        assert!(is_sound(&signed().0));
        assert_eq!(
            sign(&signed().0, &key()).expect("signed again"),
            signed().0,
            "a signature is replaced, not added to"
        );
    }

    #[test]
    fn each_flipped_bit_is_found() {
        use rayon::prelude::*;
        let missed: Vec<usize> = (0..signed().0.len() * 8)
            .into_par_iter()
            .filter(|bit| {
                let mut program = signed().0.clone();
                program[bit / 8] ^= 1 << (bit % 8);
                is_sound(&program)
            })
            .collect();
        assert_eq!(missed, [0; 0]);
    }

    #[test]
    fn what_is_added_behind_the_signature_is_found() {
        for tail in [&[0_u8; 8][..], b"x", &[1; 4096]] {
            assert!(!is_sound(&[&signed().0, tail].concat()));
        }
        assert!(matches!(verify(&example(), &[&signed().1]), Err(AuthenticodeError::Unsigned)));
        assert!(matches!(verify(&signed().0, &[]), Err(AuthenticodeError::Untrusted)));
    }

    /// Its algorithms are a set in the wrong order, which takes minutes to sort.
    #[test]
    fn a_table_that_would_take_long_to_read_is_refused_at_once() {
        let element =
            |n: u32| [&[0x30, 6, 6, 4][..], &(0x2a00_0000 | n & 0x7f | n << 1 & 0x7f00).to_be_bytes()].concat();
        let set: Vec<u8> = (0..60_000).rev().flat_map(element).collect();
        let table = [&(set.len() as u32 + 8).to_le_bytes()[..], &REVISION_AND_TYPE, &set].concat();
        let program = pe::with_certificates(&example(), &table).expect("a program");
        let error = verify(&program, &[&signed().1]).expect_err("too large");
        assert!(matches!(error, AuthenticodeError::Damaged("it is larger than any of osbuild's")), "{error}");
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..2400, keep: bool) {
            let mut program = signed().0.clone();
            if keep {
                let end = program.len().min(at + bytes.len());
                let start = at.min(end);
                program[start..end].copy_from_slice(&bytes[..end - start]);
            } else {
                program = pe::with_certificates(&example(), &bytes).expect("a program");
            }
            prop_assert_eq!(is_sound(&program), program == signed().0);
        }
    }
}
