//! An app's package file to a mounted image that the kernel verifies block by block.
//!
//! Invariant: root hash, salt and size of the table are the manifest's; a block that does not match is an error for
//! who reads it, and no reason for the machine to restart.

use super::package::Package;
use crate::boot::slot::wait_for_device;
use crate::error::{chain, AgentError, Doing};
use osbuild_format::app::{package, Manifest};
use osbuild_format::verity::BLOCK_BYTES;
use osbuild_sys::device_mapper::{self, create_read_only, Table};
use osbuild_sys::loop_device::LoopDevice;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::path::{Path, PathBuf};

/// A mounted image; dropping it takes everything away again.
#[derive(Debug)]
pub struct Image {
    name: String,
    folder: PathBuf,
    device: bool,
    mounted: bool,
}

/// Mounts the image of `package` at `folder`, which is made. `name` is the device's and nobody else's.
pub fn open(package: &Package, name: &str, folder: &Path) -> Result<Image, AgentError> {
    let mut image = Image { name: name.to_owned(), folder: folder.to_owned(), device: false, mounted: false };
    let file = crate::file::open(&package.path).doing(|| format!("open `{}`", package.path.display()))?;
    let bytes = package::image_bytes(&package.manifest);
    // The kernel detaches it once the verity device, the only one that has it open, is gone.
    let below = LoopDevice::attach(&file, package::IMAGE_OFFSET, bytes)
        .doing(|| format!("attach `{}`", package.path.display()))?;
    let minor = create_read_only(&Table {
        name,
        uuid: "",
        sectors: package.manifest.image.data_blocks * u64::from(BLOCK_BYTES / 512),
        target: "verity",
        parameters: &table(&package.manifest, below.path()),
    })
    .doing(|| format!("open the image of `{}`", package.manifest.id))?;
    image.device = true;
    let device = format!("/dev/dm-{minor}");
    wait_for_device(&device, &mut || ())?;
    std::fs::create_dir_all(folder).doing(|| format!("make the folder `{}`", folder.display()))?;
    let flags = MountFlags::RDONLY.union(MountFlags::NODEV).union(MountFlags::NOSUID);
    mount(&device, folder, "erofs", flags, c"").doing(|| format!("mount the image of `{}`", package.manifest.id))?;
    image.mounted = true;
    Ok(image)
}

/// Data and tree are on one device; the tree begins behind the superblock's block.
fn table(manifest: &Manifest, device: &str) -> String {
    let image = &manifest.image;
    let salt = if image.salt.is_empty() { "-" } else { &image.salt };
    let (block, blocks, tree) = (BLOCK_BYTES, image.data_blocks, image.data_blocks + 1);
    format!("1 {device} {device} {block} {block} {blocks} {tree} sha256 {} {salt}", image.root_hash)
}

impl Image {
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A block that was read did not match.
    pub fn is_corrupted(&self) -> bool {
        device_mapper::status(&self.name).is_ok_and(|status| status.status.starts_with('C'))
    }

    fn close(&mut self) -> Result<(), AgentError> {
        if std::mem::take(&mut self.mounted) {
            // A process that is just dying may still hold it; the mount goes when it does.
            unmount(&self.folder, UnmountFlags::DETACH).doing(|| format!("unmount `{}`", self.folder.display()))?;
        }
        if std::mem::take(&mut self.device) {
            device_mapper::remove(&self.name).doing(|| format!("close the device `{}`", self.name))?;
        }
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            crate::console::say(&chain(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_kernel_documents() {
        let manifest = serde_json::json!({
            "format": 1, "id": "a", "version": "1.0.0", "title": "A", "architecture": "x86_64", "abi": {},
            "image": {"data_blocks": 7, "root_hash": "ab".repeat(32), "salt": ""}, "argv": ["/a"],
        });
        let manifest = Manifest::from_json(manifest.to_string().as_bytes()).expect("valid");
        let wanted = format!("1 /dev/loop0 /dev/loop0 4096 4096 7 8 sha256 {} -", "ab".repeat(32));
        assert_eq!(table(&manifest, "/dev/loop0"), wanted);
    }
}
