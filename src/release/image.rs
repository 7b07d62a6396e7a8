//! Unsigned parts and keys in, the folder of one release out.
//!
//! Invariant: the folder has its name, which depends on the unsigned parts and the public keys only, when
//! everything in it is whole and on the disk; `latest` points at the one that was asked for last.

use super::boot_key::BootKeyError;
use super::building::Building;
use super::keys::{Keys, PublicKeys};
use super::manifest::{App, Package, Predicate, Statement, PAYLOAD_TYPE};
use super::signer::SignError;
use crate::disk::{self, DiskError, Payload, SlotContents};
use crate::image::erofs::Layout;
use crate::image::esp::{self, EspError};
use crate::image::uki::{self, UkiError};
use crate::io::file::{self, at, FileError};
use crate::io::store::{Store, StoreError};
use crate::model::digest::Digester;
use crate::model::machine::{Architecture, Machine};
use crate::model::Digest;
use crate::tree::size::{self, PackageList, SlotUse};
use osbuild_format::dsse;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

pub const ROOT: &str = "root.erofs";
pub const VERITY: &str = "verity.img";
pub const ROOT_HASH: &str = "root-hash";
pub const UKI: &str = "uki.efi";
pub const ESP: &str = "esp.img";
pub const DATA: &str = "data.ext4";
pub const PACKAGES: &str = "packages.json";
pub const KERNEL_CONFIG: &str = "kernel.config";
pub const SIZE: &str = "size.json";
pub const MANIFEST: &str = "manifest.dsse.json";
pub const LATEST: &str = "latest";
/// Raised when the folder's content changes for equal parts.
const FORMAT: &str = "osbuild image folder 1";
const LIMIT_PART_BYTES: u64 = 512 << 20;

/// The unsigned parts, in the store.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub root: Digest,
    pub verity: Digest,
    pub root_hash: Digest,
    pub uki: Digest,
    pub data: Digest,
    pub packages: Digest,
    pub kernel_config: Digest,
}

/// What a release is made of.
pub struct ReleaseInputs<'a> {
    pub store: &'a Store,
    pub product: &'a str,
    pub version: &'a str,
    pub security_epoch: u32,
    /// Whether the product is one for the field.
    pub production: bool,
    pub machine: &'a Machine,
    pub parts: Parts,
    /// What was fetched: SHA-256 to what it is.
    pub sources: BTreeMap<String, String>,
    /// Part to the digest of its action.
    pub actions: BTreeMap<String, String>,
    pub keys: &'a Keys,
    /// Where the root's files were to lie; none: where `mkfs.erofs` puts them.
    pub layout: Option<Layout>,
    /// Folder that holds the releases of the product.
    pub folder: &'a Path,
}

#[derive(Clone, Debug)]
pub struct Release {
    pub folder: PathBuf,
    /// Whether it was there already.
    pub was_there: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the unified kernel image cannot be signed")]
    Sign(#[from] BootKeyError),
    #[error("the manifest cannot be signed")]
    Manifest(#[from] SignError),
    #[error("the unified kernel image cannot be read")]
    Uki(#[from] UkiError),
    #[error(transparent)]
    Esp(#[from] EspError),
    #[error("the disk cannot be assembled")]
    Disk(#[source] DiskError),
    #[error("{overflow}\n{packages}")]
    Overflow {
        overflow: DiskError,
        /// The largest packages, a line each.
        packages: String,
    },
    #[error("`packages.json` cannot be read")]
    Packages(#[from] serde_json::Error),
}

impl ReleaseError {
    /// Whether others have to sign first.
    pub fn is_wanted(&self) -> bool {
        match self {
            ReleaseError::Sign(BootKeyError::Sign(error)) | ReleaseError::Manifest(error) => error.is_wanted(),
            _ => false,
        }
    }
}

impl Parts {
    fn named(&self) -> [(&'static str, Digest); 7] {
        [
            (ROOT, self.root),
            (VERITY, self.verity),
            (ROOT_HASH, self.root_hash),
            (UKI, self.uki),
            (DATA, self.data),
            (PACKAGES, self.packages),
            (KERNEL_CONFIG, self.kernel_config),
        ]
    }
}

/// The release's name: 16 hex digits.
fn identity(inputs: &ReleaseInputs) -> String {
    let mut text = format!("{FORMAT}\n{}\n{}\n{:?}\n", inputs.product, inputs.version, inputs.machine.partitions);
    inputs.parts.named().iter().for_each(|(name, digest)| text += &format!("{name} {digest}\n"));
    for (key, value) in inputs.sources.iter().chain(&inputs.actions) {
        text += &format!("{key} {value}\n");
    }
    text += &hex::encode(inputs.keys.public.fingerprint());
    Digest::of(text.as_bytes()).hex()[..16].to_owned()
}

/// Writes the release, unless it is there.
pub fn write(inputs: &ReleaseInputs) -> Result<Release, ReleaseError> {
    let name = identity(inputs);
    let folder = inputs.folder.join(&name);
    let was_there = is_whole(&folder, &inputs.keys.public);
    if !was_there {
        file::create_dir_all(inputs.folder)?;
        let building = Building::begin(inputs.folder)?;
        fill(inputs, building.path())?;
        building.finish(&folder, &inputs.keys.public)?;
    }
    let latest = inputs.folder.join(LATEST);
    if std::fs::read_link(&latest).ok().as_deref() != Some(Path::new(&name)) {
        file::link_atomic(&latest, Path::new(&name))?;
    }
    Ok(Release { folder, was_there })
}

/// Whether every file that the folder's manifest names is there with its size. What is in the files, `osbuild verify`
/// tells.
pub(super) fn is_whole(folder: &Path, keys: &PublicKeys) -> bool {
    let read = || {
        let envelope = file::read(&folder.join(MANIFEST), dsse::LIMIT_BYTES as u64).ok()?;
        let payload = dsse::verify(&envelope, PAYLOAD_TYPE, &keys.release, &keys.key_id()).ok()?;
        Statement::parse(&payload).ok()
    };
    let has = |(name, bytes): (&String, &u64)| {
        std::fs::symlink_metadata(folder.join(name)).is_ok_and(|found| found.is_file() && found.len() == *bytes)
    };
    read().is_some_and(|statement| statement.predicate.size_bytes.iter().all(has))
}

/// Removes every release of the folder but this one.
pub fn keep_only(release: &Release) -> Result<(), FileError> {
    let (Some(folder), Some(name)) = (release.folder.parent(), release.folder.file_name()) else { return Ok(()) };
    let others = file::list(folder)?
        .into_iter()
        .filter(|other| !other.starts_with('.') && *other != LATEST && name != other.as_str());
    others
        .map(|other| folder.join(other))
        .filter(|other| other.is_dir())
        .try_for_each(|other| file::remove_tree(&other))
}

fn fill(inputs: &ReleaseInputs, folder: &Path) -> Result<(), ReleaseError> {
    for (name, digest) in inputs.parts.named().into_iter().filter(|(name, _)| *name != UKI) {
        copy(inputs.store, &digest, &folder.join(name))?;
    }
    let unsigned = inputs.store.read(&inputs.parts.uki, LIMIT_PART_BYTES)?;
    let what = format!("UKI of {} {} for {}", inputs.product, inputs.version, inputs.machine.name);
    let uki = inputs.keys.boot.sign(&what, &unsigned)?;
    let facts = uki::read(&uki)?;
    file::write_atomic(&folder.join(UKI), &uki, 0o644)?;
    let esp = esp_image(inputs.machine, &facts.root_hash, &uki, &folder.join(ESP))?;

    let payload = |name: &str, digest| Payload { path: folder.join(name), digest };
    let contents = SlotContents {
        esp: payload(ESP, esp),
        root: payload(ROOT, inputs.parts.root),
        verity: payload(VERITY, inputs.parts.verity),
        data: payload(DATA, inputs.parts.data),
    };
    let (architecture, sizes) = (inputs.machine.architecture, &inputs.machine.partitions);
    let disk = disk::standard(inputs.product, &facts.root_hash, architecture, sizes, Some(contents));
    let package_bytes = inputs.store.read(&inputs.parts.packages, LIMIT_PART_BYTES)?;
    let packages: PackageList = serde_json::from_slice(&package_bytes)?;
    let assembled = disk::assemble(folder, &disk).map_err(|error| match error {
        DiskError::Overflow(_) => ReleaseError::Overflow { overflow: error, packages: size::largest(&packages) },
        other => ReleaseError::Disk(other),
    })?;
    file::write_atomic(&folder.join(SIZE), &size::report(&package_bytes, &assembled.slots)?, 0o644)?;

    let mut files = BTreeMap::new();
    let mut sizes = BTreeMap::new();
    let names = file::list(folder)?;
    let digests: Vec<Digest> =
        names.par_iter().map(|name| digest_of(&folder.join(name))).collect::<Result<_, FileError>>()?;
    for (name, digest) in names.into_iter().zip(digests) {
        sizes.insert(name.clone(), digest.size_bytes);
        files.insert(name, digest.hex());
    }
    let predicate = predicate(inputs, &packages, facts, sizes, &assembled.slots);
    let statement = Statement::new(&files, predicate).to_json();
    let what = format!("manifest of {} {} for {}", inputs.product, inputs.version, inputs.machine.name);
    let envelope = inputs.keys.release.sign_statement(&what, PAYLOAD_TYPE, &statement)?;
    Ok(file::write_atomic(&folder.join(MANIFEST), envelope.as_bytes(), 0o644)?)
}

fn predicate(
    inputs: &ReleaseInputs,
    packages: &PackageList,
    facts: uki::Uki,
    size_bytes: BTreeMap<String, u64>,
    slots: &[SlotUse],
) -> Predicate {
    let package = |package: &size::PackageUse| Package {
        name: package.name.clone(),
        version: package.version.clone(),
        license: package.license.clone(),
    };
    let app = |app: &size::AppUse| App {
        id: app.id.clone(),
        version: app.version.clone(),
        digest: app.digest.clone(),
        packages: app.packages.iter().map(package).collect(),
    };
    Predicate {
        product: inputs.product.to_owned(),
        version: inputs.version.to_owned(),
        machine: inputs.machine.name.to_string(),
        security_epoch: inputs.security_epoch,
        architecture: inputs.machine.architecture.gnu_cpu().to_owned(),
        keys: inputs.keys.purpose.word().to_owned(),
        production: inputs.production,
        root_hash: hex::encode(facts.root_hash),
        command_line: facts.command_line,
        size_bytes,
        partition_bytes: slots.iter().map(|slot| (slot.name.clone(), slot.size_bytes)).collect(),
        packages: packages.packages.iter().map(package).collect(),
        apps: packages.apps.iter().map(app).collect(),
        sources: inputs.sources.clone(),
        actions: inputs.actions.clone(),
        layout: inputs.layout.clone(),
    }
}

/// Writes the ESP of a slot; its volume id belongs to the root hash.
pub fn esp_image(machine: &Machine, root_hash: &[u8; 32], uki: &[u8], path: &Path) -> Result<Digest, ReleaseError> {
    write_esp(path, machine.partitions.esp_bytes, root_hash, &boot_file(machine.architecture), uki)?;
    digest_of(path).map_err(ReleaseError::from)
}

/// Where firmware looks for the program to start. UEFI 2.10, section 3.5.1.1.
pub(super) fn boot_file(architecture: Architecture) -> String {
    format!("EFI/BOOT/{}", architecture.efi_boot_file())
}

pub(super) fn write_esp(
    path: &Path,
    size_bytes: u64,
    root_hash: &[u8; 32],
    boot_file: &str,
    uki: &[u8],
) -> Result<(), ReleaseError> {
    let mut pending = file::Pending::create(path, 0o644)?;
    let target: &mut File = pending.file();
    target.set_len(size_bytes).map_err(at("set the size of", path))?;
    esp::write(target, size_bytes, esp::volume_id(root_hash), &[(boot_file, uki)])?;
    Ok(pending.commit()?)
}

/// Copies a blob out of the store: what is in `out/` is the user's to change. Damage has to show before it is signed.
fn copy(store: &Store, digest: &Digest, to: &Path) -> Result<(), ReleaseError> {
    store.check(digest)?;
    let mut source = store.open_blob(digest)?;
    let mut target = file::Pending::create(to, 0o644)?;
    std::io::copy(&mut source, target.file()).map_err(at("write", to))?;
    Ok(target.commit()?)
}

pub(super) fn digest_of(path: &Path) -> Result<Digest, FileError> {
    let mut digester = Digester::default();
    std::io::copy(&mut file::open(path)?, &mut digester).map_err(at("read", path))?;
    Ok(digester.finish())
}
