//! Archives in, the tasks that make file systems and their verity trees out.
//!
//! Invariant: identifiers depend on names only, so equal content is an equal image.

use super::builder::{mount, output, shell, step, PlanBuilder};
use super::product::{fixed_recipe, needed_recipe};
use super::steps;
use super::task::{Input, OutputRef, TaskId};
use super::toolchain;
use crate::model::{Digest, Origin, ToolTreeName};
use serde_json::json;
use std::collections::BTreeMap;

/// The host recipe that brings `mkfs.erofs`.
const EROFS_RECIPE: &str = "erofs-utils";

/// A UUID (RFC 9562 version 8) that depends on `label` only.
fn stable_uuid(label: &str) -> String {
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&Digest::of(format!("osbuild {label}").as_bytes()).sha256[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// An uncompressed EROFS, `image`, with what is in the archive `root.tar`.
pub(super) fn erofs(
    builder: &mut PlanBuilder,
    task: &str,
    origin: &Origin,
    tar: OutputRef,
    label: &str,
    image: &str,
) -> Option<OutputRef> {
    let name = fixed_recipe(EROFS_RECIPE);
    needed_recipe(builder, &name, origin)?;
    let base = ToolTreeName::new("c").expect("a valid name");
    let tools = toolchain::combined(builder, &[base], &[name], origin)?;
    let lines = format!("mkfs.erofs -T1 -U{} --quiet --tar=f {image} root.tar", stable_uuid(label));
    let inputs = vec![mount("root.tar", Input::Output(tar))];
    let command = shell(tools, BTreeMap::new(), lines);
    let task = builder.task(task.to_owned(), origin, command, inputs, &[image]);
    Some(output(task, image))
}

/// The image of [`erofs`] with its files where `layout` wants them.
pub(super) fn placed(
    builder: &mut PlanBuilder,
    task: &str,
    origin: &Origin,
    image: OutputRef,
    layout: Digest,
) -> OutputRef {
    let layout = Input::File { digest: layout, executable: false };
    let inputs = vec![mount("root.erofs", Input::Output(image)), mount("layout.json", layout)];
    let task = builder.task(task.to_owned(), origin, step(steps::PLACE, &json!({})), inputs, &["root.erofs"]);
    output(task, "root.erofs")
}

/// The task with the hash device `verity` and the text `root-hash` of an image; the salt is that of `name`.
pub(super) fn verity(builder: &mut PlanBuilder, task: &str, origin: &Origin, image: &OutputRef, name: &str) -> TaskId {
    let inputs = vec![mount("root.erofs", Input::Output(image.clone()))];
    let command = step(steps::VERITY, &json!({ "salt": salt(name) }));
    builder.task(task.to_owned(), origin, command, inputs, &["verity", "root-hash"])
}

/// 64 hexadecimal digits.
pub(super) fn salt(name: &str) -> String {
    Digest::of(name.as_bytes()).hex()
}

/// The data partition: an empty ext4 that the device grows on its first boot.
pub(super) fn data(builder: &mut PlanBuilder, origin: &Origin) -> Option<OutputRef> {
    let base = ToolTreeName::new("filesystems").expect("a valid name");
    let tools = toolchain::combined(builder, &[base], &[], origin)?;
    let uuid = stable_uuid(&format!("{} data", builder.config.product.name));
    let size_kib = builder.config.machine.partitions.data_bytes / 1024;
    // Lazy initialisation would leave work, and a difference, to the first mount. `resize` reserves
    // group descriptors for online growth to 64 GiB. The storage of an app is bounded by its user's quota.
    let lines = format!(
        "mke2fs -q -t ext4 -b 4096 -U {uuid} -L data -m 1 \
         -E hash_seed={uuid},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard,resize=16777216,quotatype=usrquota \
         -O ^metadata_csum_seed,^orphan_file,quota data.ext4 {size_kib}k"
    );
    // This e2fsprogs, 1.47.0, does not know SOURCE_DATE_EPOCH yet.
    let env = BTreeMap::from([("E2FSPROGS_FAKE_TIME".to_owned(), "1".to_owned())]);
    let command = shell(tools, env, lines);
    let task = builder.task("image:data".into(), origin, command, Vec::new(), &["data.ext4"]);
    Some(output(task, "data.ext4"))
}
