//! A root, and how full each slot is, in; `packages.json` and `size.json` out.
//!
//! Invariant: bytes are those of the files' content: what compression, holes or block sizes make of them is in
//! the slots' figures only.

use super::parameters::Parameters;
use super::root::{Content, Owner, Root};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `packages.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageList {
    /// 1.
    pub schema: u32,
    /// Sorted by name.
    pub packages: Vec<PackageUse>,
    /// Skeleton files, and files that osbuild generates.
    pub skeletons: FileUse,
    pub generated: FileUse,
    /// Sorted by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppUse>,
}

/// An app of the image: a root of its own in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppUse {
    pub id: String,
    pub version: String,
    /// SHA-256 of its manifest.
    pub digest: String,
    /// Of the file, which [`PackageList::generated`] counts, too.
    pub bytes: u64,
    /// What its root is made of.
    pub packages: Vec<PackageUse>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageUse {
    pub name: String,
    pub version: String,
    pub license: String,
    pub recipe: String,
    /// Files and symlinks.
    pub files: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileUse {
    pub files: u64,
    pub bytes: u64,
}

/// How full a slot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotUse {
    /// `root-a`.
    pub name: String,
    pub size_bytes: u64,
    pub used_bytes: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    packages: BTreeMap<&'a str, u64>,
    skeleton_bytes: u64,
    generated_bytes: u64,
    total_bytes: u64,
    slots: Vec<SlotLine<'a>>,
}

#[derive(Serialize)]
struct SlotLine<'a> {
    name: &'a str,
    size_bytes: u64,
    used_bytes: u64,
    free_bytes: u64,
    /// Rounded down, so 100 means that not a byte is free.
    used_percent: u64,
}

/// The bytes of `packages.json`.
pub fn packages_json(root: &Root, parameters: &Parameters, apps: Vec<AppUse>) -> Vec<u8> {
    let mut uses: BTreeMap<&Owner, FileUse> = BTreeMap::new();
    let (mut skeletons, mut generated) = (FileUse::default(), FileUse::default());
    for item in root.items.values().filter(|item| item.content != Content::Folder) {
        let used = match &item.owner {
            Owner::Package(_) => uses.entry(&item.owner).or_default(),
            Owner::Skeleton { .. } => &mut skeletons,
            Owner::Generated => &mut generated,
        };
        used.files += 1;
        if let Content::File { digest, .. } = &item.content {
            used.bytes += digest.size_bytes;
        }
    }
    let package = |package: &super::parameters::Package| {
        let FileUse { files, bytes } = uses.get(&Owner::Package(package.name.clone())).copied().unwrap_or_default();
        let (name, version) = (package.name.clone(), package.version.clone());
        PackageUse { name, version, license: package.license.clone(), recipe: package.recipe.clone(), files, bytes }
    };
    let packages = parameters.packages.iter().map(package).collect();
    to_json(&PackageList { schema: 1, packages, skeletons, generated, apps })
}

/// The bytes of `size.json`, from `packages.json` and the slots.
pub fn report(packages_json: &[u8], slots: &[SlotUse]) -> Result<Vec<u8>, serde_json::Error> {
    let list: PackageList = serde_json::from_slice(packages_json)?;
    let packages: BTreeMap<&str, u64> = list.packages.iter().map(|p| (p.name.as_str(), p.bytes)).collect();
    let (skeleton_bytes, generated_bytes) = (list.skeletons.bytes, list.generated.bytes);
    let total_bytes = packages.values().sum::<u64>() + skeleton_bytes + generated_bytes;
    let slots = slots.iter().map(slot_line).collect();
    Ok(to_json(&Report { schema: 1, packages, skeleton_bytes, generated_bytes, total_bytes, slots }))
}

/// The largest packages for a message, a line each.
pub fn largest(list: &PackageList) -> String {
    const LINES: usize = 10;
    let mut packages: Vec<&PackageUse> = list.packages.iter().collect();
    packages.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    let line = |package: &&PackageUse| format!("\n  {:<24} {:>8}", package.name, package.bytes.div_ceil(1024));
    let lines: String = packages.iter().take(LINES).map(line).collect();
    format!("  {:<24} {:>8}{lines}", "largest packages", "KiB")
}

fn slot_line(slot: &SlotUse) -> SlotLine<'_> {
    let (size_bytes, used_bytes) = (slot.size_bytes, slot.used_bytes);
    let used_percent = (u128::from(used_bytes) * 100 / u128::from(size_bytes.max(1))) as u64;
    SlotLine {
        name: &slot.name,
        size_bytes,
        used_bytes,
        free_bytes: size_bytes.saturating_sub(used_bytes),
        used_percent,
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("strings, numbers and lists are JSON");
    bytes.push(b'\n');
    bytes
}
