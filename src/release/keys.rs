//! A folder of keys: made once, read with care.
//!
//! `PK`, `KEK` and `db` are RSA-2048 with self-signed X.509 certificates (UEFI 2.10, section 32.3); `release` is
//! Ed25519 (RFC 8410). Invariant: a private key that others can read is not used.

use super::boot_key::BootKey;
use super::signer::role::{self, Role};
use super::signer::{Exchange, Signer};
use crate::io::file::{self, at, FileError};
use der::asn1::UtcTime;
use der::pem::LineEnding;
use der::{DateTime, DecodePem, Encode, EncodePem};
use ed25519_dalek::pkcs8::{DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use rand_core::OsRng;
use rsa::RsaPrivateKey;
use sha2::{Digest, Sha256};
use spki::SubjectPublicKeyInfoOwned;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use x509_cert::builder::{Builder, CertificateBuilder, Profile};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};
use x509_cert::Certificate;

const RSA_BITS: usize = 2048;
const BOOT_KEYS: [&str; 3] = ["PK", "KEK", "db"];
/// Begins the names on the certificates of development keys.
const DEVELOPMENT: &str = "osbuild DEVELOPMENT";
/// Says in one word what the keys are for.
pub(super) const PURPOSE_FILE: &str = "purpose";
/// A folder of keys may lie in the user's repository; its private keys never belong there.
const KEPT_OUT_OF_GIT: &[u8] = b"*.key\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Made without being asked for; nothing signed with them may be shipped.
    Development,
    Production,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there are keys in `{}` already", .0.display())]
    Exists(PathBuf),
    #[error("the private key `{}` can be read by others (mode {mode:o})", path.display())]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("`{}`, which says what is started to sign, can be changed by others (mode {mode:o})", path.display())]
    Changeable { path: PathBuf, mode: u32 },
    #[error("`{}` is not a valid {what}: {reason}", path.display())]
    Invalid { path: PathBuf, what: &'static str, reason: String },
    #[error("`{}` does not belong to the private key beside it", .0.display())]
    Mismatch(PathBuf),
    #[error("`{}` says what the certificates beside it do not: they are {found} ones", path.display())]
    Purpose { path: PathBuf, found: &'static str },
    #[error("the private half of key `{name}` is not here: there is neither `{}` nor a `{name}.signer` beside it", path.display())]
    Elsewhere { path: PathBuf, name: String },
    #[error("there is no key `{name}`: `{}` does not exist", path.display())]
    NoSigner { path: PathBuf, name: &'static str },
    #[error("a key cannot be made: {0}")]
    Make(String),
}

/// Everything that signs.
pub struct Keys {
    pub boot: BootKey,
    pub release: Signer,
    pub public: PublicKeys,
    pub purpose: Purpose,
}

/// Everything that verifies.
#[derive(Clone, Debug)]
pub struct PublicKeys {
    /// DER certificates.
    pub platform_key: Vec<u8>,
    pub key_exchange_key: Vec<u8>,
    pub signature_db: Vec<u8>,
    pub release: ed25519_dalek::VerifyingKey,
}

impl PublicKeys {
    /// Reads the public halves only.
    pub fn load(folder: &Path) -> Result<PublicKeys, KeyError> {
        let release = release_key(folder)?;
        let [platform_key, key_exchange_key, signature_db] = BOOT_KEYS.map(|name| certificate(folder, name));
        Ok(PublicKeys {
            platform_key: platform_key?,
            key_exchange_key: key_exchange_key?,
            signature_db: signature_db?,
            release,
        })
    }

    /// SHA-256 of the release key's SubjectPublicKeyInfo, in hex.
    pub fn key_id(&self) -> String {
        let der = self.release.to_public_key_der().expect("an Ed25519 key has an encoding");
        hex::encode(Sha256::digest(der.as_bytes()))
    }

    /// Whether they say of themselves that nothing may be shipped with them.
    pub fn are_for_development(&self) -> bool {
        self.purpose() == Purpose::Development
    }

    fn purpose(&self) -> Purpose {
        let name = DEVELOPMENT.as_bytes();
        let certificates = [&self.platform_key, &self.key_exchange_key, &self.signature_db];
        match certificates.iter().any(|der| der.windows(name.len()).any(|part| part == name)) {
            true => Purpose::Development,
            false => Purpose::Production,
        }
    }

    /// Of all of them: another set of keys makes another image.
    pub fn fingerprint(&self) -> [u8; 32] {
        let parts = [&self.platform_key, &self.key_exchange_key, &self.signature_db];
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(Sha256::digest(part)));
        hash.chain_update(self.release.as_bytes()).finalize().into()
    }
}

/// The public half of the key that signs payloads and manifests; whoever checks a repository needs no other.
pub fn release_key(folder: &Path) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    public_release_key(&folder.join("release.pub"))
}

/// That of a file, as of one before it was replaced.
pub fn public_release_key(path: &Path) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    let text = file::read_text(path)?;
    ed25519_dalek::VerifyingKey::from_public_key_pem(&text).map_err(invalid(path, "public key"))
}

impl Keys {
    /// Private halves that are not in the folder are those of others, whom `exchange` asks.
    pub fn load(folder: &Path, exchange: &Exchange) -> Result<Keys, KeyError> {
        let public = PublicKeys::load(folder)?;
        let release = Signer::load(folder, "release", exchange)?;
        let signer = Signer::load(folder, "db", exchange)?;
        let purpose = public.purpose();
        let path = folder.join(PURPOSE_FILE);
        // The file is for people; what is on the certificates reaches whoever verifies.
        if file::read_text(&path)?.trim() != purpose.word() {
            return Err(KeyError::Purpose { path, found: purpose.word() });
        }
        let boot = BootKey { certificate_der: public.signature_db.clone(), signer };
        Ok(Keys { boot, release, public, purpose })
    }
}

/// Makes a new folder of keys; there must be none. It appears whole or not at all.
pub fn create(folder: &Path, purpose: Purpose) -> Result<(), KeyError> {
    if folder.exists() {
        return Err(KeyError::Exists(folder.to_owned()));
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    file::create_dir_all(parent)?;
    let building = tempfile::Builder::new().prefix(".keys-").tempdir_in(parent);
    let building = building.map_err(at("create a folder in", parent))?;
    for name in BOOT_KEYS {
        boot_key(building.path(), name, purpose)?;
    }
    let release = ed25519_dalek::SigningKey::generate(&mut OsRng);
    let text = role::private_pem(&release)?;
    file::write_atomic(&building.path().join("release.key"), text.as_bytes(), 0o600)?;
    let text = release.verifying_key().to_public_key_pem(LineEnding::LF);
    let text = text.map_err(|error| KeyError::Make(error.to_string()))?;
    file::write_atomic(&building.path().join("release.pub"), text.as_bytes(), 0o644)?;
    Role::ALL.into_iter().try_for_each(|role| role::create(building.path(), role))?;
    file::write_atomic(&building.path().join(PURPOSE_FILE), format!("{}\n", purpose.word()).as_bytes(), 0o644)?;
    file::write_atomic(&building.path().join(".gitignore"), KEPT_OUT_OF_GIT, 0o644)?;
    match std::fs::rename(building.path(), folder) {
        Ok(()) => {
            let _ = building.keep();
            Ok(())
        }
        // Another process was faster, and its folder is whole.
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            Err(KeyError::Exists(folder.to_owned()))
        }
        Err(error) => Err(at("create", folder)(error).into()),
    }
}

impl Purpose {
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Development => "development",
            Purpose::Production => "production",
        }
    }
}

fn boot_key(folder: &Path, name: &str, purpose: Purpose) -> Result<(), KeyError> {
    let failed = |error: &dyn std::fmt::Display| KeyError::Make(error.to_string());
    let key = RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|error| failed(&error))?;
    let subject = match purpose {
        Purpose::Development => format!("CN={DEVELOPMENT} {name} - do not ship"),
        Purpose::Production => format!("CN=osbuild {name}"),
    };
    let subject = Name::from_str(&subject).map_err(|error| failed(&error))?;
    let day = |year, month, day| {
        let time = DateTime::new(year, month, day, 0, 0, 0).and_then(UtcTime::from_date_time);
        Time::UtcTime(time.expect("a date within UTCTime's years"))
    };
    // Firmware does not look at these; a device in the field must not stop booting on a birthday.
    let validity = Validity { not_before: day(2020, 1, 1), not_after: day(2049, 12, 31) };
    let public = SubjectPublicKeyInfoOwned::from_key(key.to_public_key()).map_err(|error| failed(&error))?;
    let serial = Sha256::digest(public.to_der().map_err(|error| failed(&error))?);
    // Positive and without a leading zero, as DER wants integers.
    let serial = SerialNumber::new(&[&[1], &serial[..15]].concat()).map_err(|error| failed(&error))?;
    let signer = rsa::pkcs1v15::SigningKey::<Sha256>::new(key.clone());
    // An end certificate, though self-signed: OpenSSL wants `digitalSignature` of whoever signs a program.
    let profile =
        Profile::Leaf { issuer: subject.clone(), enable_key_agreement: false, enable_key_encipherment: false };
    let builder = CertificateBuilder::new(profile, serial, validity, subject, public, &signer);
    let certificate = builder.and_then(|builder| builder.build()).map_err(|error| failed(&error))?;
    let text = certificate.to_pem(LineEnding::LF).map_err(|error| failed(&error))?;
    file::write_atomic(&folder.join(format!("{name}.crt")), text.as_bytes(), 0o644)?;
    let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| failed(&error))?;
    Ok(file::write_atomic(&folder.join(format!("{name}.key")), text.as_bytes(), 0o600)?)
}

fn certificate(folder: &Path, name: &str) -> Result<Vec<u8>, KeyError> {
    let path = folder.join(format!("{name}.crt"));
    let text = file::read_text(&path)?;
    let certificate = Certificate::from_pem(&text).map_err(invalid(&path, "certificate"))?;
    certificate.to_der().map_err(invalid(&path, "certificate"))
}

pub(super) fn private(path: &Path) -> Result<String, KeyError> {
    let metadata = std::fs::metadata(path).map_err(at("look at", path))?;
    if !metadata.is_file() {
        return Err(invalid(path, "private key")("it is not a file"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(file::read_text(path)?)
}

/// The text of a file that says which program or library signs.
pub(super) fn own(path: &Path) -> Result<String, KeyError> {
    let mode = std::fs::metadata(path).map_err(at("look at", path))?.permissions().mode() & 0o777;
    match mode & 0o022 {
        0 => Ok(file::read_text(path)?),
        _ => Err(KeyError::Changeable { path: path.to_owned(), mode }),
    }
}

pub(super) fn invalid<E: std::fmt::Display>(path: &Path, what: &'static str) -> impl FnOnce(E) -> KeyError {
    let path = path.to_owned();
    move |error| KeyError::Invalid { path, what, reason: error.to_string() }
}
