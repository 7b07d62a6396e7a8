//! A product in, the tasks that make the unsigned parts of its image out.
//!
//! Invariant: nothing here needs a key: signatures are attached after every task has run.

use super::builder::{mount, output, shell, step, PlanBuilder};
use super::recipe::{self, installed_file, metadata_json, package_output};
use super::set_id;
use super::source::local_node;
use super::steps;
use super::task::{Input, InputMount, OutputRef};
use super::toolchain;
use crate::model::product::Product;
use crate::model::recipe::{OutputPackage, Recipe};
use crate::model::service::{Restart, Service};
use crate::model::{Digest, Origin, PackageName, RecipeName, ToolTreeName};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Names in `Plan::goals` of the parts that an image is assembled from.
pub mod goals {
    pub const ROOT: &str = "image:root.erofs";
    pub const VERITY: &str = "image:verity";
    pub const ROOT_HASH: &str = "image:root-hash";
    pub const UKI: &str = "image:uki";
    pub const DATA: &str = "image:data";
    pub const PACKAGES: &str = "image:packages.json";
    pub const KERNEL_CONFIG: &str = "image:kernel.config";
    /// The tool tree of the virtual board; no part of the image.
    pub const BOARD: &str = "tools:board";
    pub const ALL: [&str; 7] = [ROOT, VERITY, ROOT_HASH, UKI, DATA, PACKAGES, KERNEL_CONFIG];
}

/// The host recipe that brings `mkfs.erofs`.
const EROFS_RECIPE: &str = "erofs-utils";
/// The recipe of the on-device half.
const AGENT_RECIPE: &str = "osagent";

/// Adds the product's tasks and their goals.
pub(super) fn plan(builder: &mut PlanBuilder) -> Option<()> {
    let origin = builder.config.product.origin.clone();
    let rootfs = rootfs(builder, &origin)?;
    let root = erofs(builder, &origin, output(rootfs, "root.tar"))?;
    let kernel = needed_recipe(builder, &builder.config.machine.kernel.clone(), &origin)?;
    let stub = needed_recipe(builder, &builder.config.machine.efi_stub.clone(), &origin)?;

    let product = &builder.config.product;
    let verity_parameters = json!({ "salt": Digest::of(product.name.as_str().as_bytes()).hex() });
    let inputs = vec![mount("root.erofs", Input::Output(root.clone()))];
    let command = step(steps::VERITY, &verity_parameters);
    let verity = builder.task("image:verity".into(), &origin, command, inputs, &["verity", "root-hash"]);

    let agent = needed_recipe(builder, &fixed_recipe(AGENT_RECIPE), &origin)?;
    let inputs = vec![mount("init", installed_file(&agent, "usr/bin/osagent"))];
    let command = step(steps::INITRAMFS, &json!({}));
    let initramfs = builder.task("image:initramfs".into(), &origin, command, inputs, &["initramfs"]);

    let stub_name = match builder.config.machine.architecture {
        crate::model::machine::Architecture::X86_64 => "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
        crate::model::machine::Architecture::Aarch64 => "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
    };
    let inputs = vec![
        mount("stub", installed_file(&stub, stub_name)),
        mount("linux", installed_file(&kernel, "boot/vmlinuz")),
        mount("release", installed_file(&kernel, "boot/release")),
        mount("initramfs", Input::Output(output(initramfs, "initramfs"))),
        mount("root", Input::Output(root.clone())),
        mount("root-hash", Input::Output(output(verity, "root-hash"))),
        mount("os-release", Input::Output(output(rootfs, "os-release"))),
    ];
    let command = step(steps::UKI, &json!({ "command_line": command_line(builder) }));
    let uki = builder.task("image:uki".into(), &origin, command, inputs, &["uki.efi"]);
    let data = data(builder, &origin)?;

    let board = ToolTreeName::new("board").expect("a valid name");
    toolchain::combined(builder, &[board], &[], &origin)?;

    builder.goal(goals::ROOT.into(), root);
    builder.goal(goals::VERITY.into(), output(verity, "verity"));
    builder.goal(goals::ROOT_HASH.into(), output(verity, "root-hash"));
    builder.goal(goals::UKI.into(), output(uki, "uki.efi"));
    builder.goal(goals::DATA.into(), data);
    builder.goal(goals::PACKAGES.into(), output(rootfs, "packages.json"));
    let Input::Output(kernel_config) = installed_file(&kernel, "boot/config") else { return None };
    builder.goal(goals::KERNEL_CONFIG.into(), kernel_config);
    Some(())
}

fn fixed_recipe(name: &str) -> RecipeName {
    RecipeName::new(name).expect("recipe names written in the plan are valid")
}

fn needed_recipe(builder: &mut PlanBuilder, name: &RecipeName, origin: &Origin) -> Option<super::builder::RecipeTasks> {
    if !builder.config.recipes.contains_key(name) {
        builder.problem(
            origin,
            format!("an image needs the recipe `{name}`, which no layer defines"),
            Some(format!("add `recipes/{name}/recipe.yaml`")),
        );
        return None;
    }
    recipe::plan(builder, name)
}

/// Kernel command line without the root hash, which the UKI step adds.
fn command_line(builder: &PlanBuilder) -> String {
    let (machine, product) = (&builder.config.machine, &builder.config.product);
    let mut words = vec![format!("console={}", machine.console)];
    words.extend(machine.kernel_command_line.iter().cloned());
    words.extend(product.kernel_command_line.iter().cloned());
    words.join(" ")
}

/// Every package of the image: those the product names and what they need at run time, each with its recipe.
fn package_closure<'a>(builder: &PlanBuilder<'a>) -> Vec<(&'a Recipe, &'a OutputPackage)> {
    let mut owners: BTreeMap<&PackageName, (&Recipe, &OutputPackage)> = BTreeMap::new();
    for recipe in builder.config.recipes.values() {
        owners.extend(recipe.packages.iter().map(|package| (&package.name, (recipe, package))));
    }
    let mut chosen = BTreeSet::new();
    let mut waiting: Vec<&PackageName> = builder.config.product.packages.iter().map(|p| &p.value).collect();
    while let Some(name) = waiting.pop() {
        // Names that no recipe owns were reported when the configuration was loaded.
        if let Some((_, package)) = owners.get(name) {
            if chosen.insert(name) {
                waiting.extend(&package.run_depends);
            }
        }
    }
    chosen.into_iter().filter_map(|name| owners.get(name).copied()).collect()
}

fn rootfs(builder: &mut PlanBuilder, origin: &Origin) -> Option<super::task::TaskId> {
    let mut inputs = Vec::new();
    let mut packages = Vec::new();
    for (owner, package) in package_closure(builder) {
        let tasks = recipe::plan(builder, &owner.name)?;
        inputs.push(mount(&format!("packages/{}", package.name), Input::Output(package_output(&tasks, package))));
        packages.push(json!({
            "name": package.name.as_str(), "recipe": owner.name.as_str(), "version": owner.version,
            "license": owner.license, "origin": package.origin.to_string(),
            "run_depends": package.run_depends.iter().map(PackageName::as_str).collect::<Vec<_>>(),
            "metadata": metadata_json(&package.metadata),
        }));
    }
    let product = &builder.config.product;
    let mut skeletons = Vec::new();
    for (index, skeleton) in product.skeletons.iter().enumerate() {
        let Some(node) = local_node(builder, &skeleton.value) else {
            let message = format!("skeleton folder `{}` does not exist", skeleton.value);
            builder.problem(&skeleton.origin, message, Some("paths are relative to the project's root".into()));
            return None;
        };
        set_id::check_skeleton(builder, skeleton);
        inputs.push(InputMount { ..mount(&format!("skeletons/{index:03}"), node) });
        skeletons.push(json!({ "input": format!("skeletons/{index:03}"), "path": skeleton.value.as_str() }));
    }
    let parameters = json!({
        "packages": packages, "skeletons": skeletons, "product": product_json(builder),
        "metadata": metadata_json(&product.metadata),
    });
    let command = step(steps::ROOTFS, &parameters);
    let outputs = ["root.tar", "packages.json", "os-release"];
    Some(builder.task("image:rootfs".into(), origin, command, inputs, &outputs))
}

/// What templates and the device see of the product.
fn product_json(builder: &PlanBuilder) -> Value {
    let product = &builder.config.product;
    let groups: BTreeMap<_, _> =
        product.groups.iter().map(|(name, group)| (name, json!({ "gid": group.gid }))).collect();
    let users: BTreeMap<_, _> = product.users.iter().map(|(name, user)| {
        (name, json!({
            "uid": user.uid, "group": user.group, "home": user.home, "shell": user.shell, "ssh_keys": user.ssh_keys,
        }))
    }).collect();
    let services: BTreeMap<_, _> = product.services.iter().map(|(name, s)| (name, service_json(s))).collect();
    json!({
        "name": product.name.as_str(), "version": product.version, "title": product.title,
        "machine": product.machine.as_str(), "architecture": builder.config.machine.architecture.gnu_cpu(),
        "console": builder.config.machine.console, "hostname": product.hostname,
        "ntp_servers": product.ntp_servers, "production": product.production, "features": product.features,
        "variables": product.variables, "update_channel": product.update_channel,
        "support_until": product.support_until, "groups": groups, "users": users, "services": services,
    })
}

fn service_json(service: &Service) -> Value {
    let restart = match service.restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    };
    json!({
        "argv": service.argv, "user": service.user, "group": service.group, "env": service.env,
        "after": service.after, "restart": restart, "stop_timeout_seconds": service.stop_timeout_seconds,
        "terminal": service.terminal, "critical": service.critical, "origin": service.origin.to_string(),
    })
}

/// A UUID (RFC 9562 version 8) that depends on the product's name and `label` only.
fn stable_uuid(product: &Product, label: &str) -> String {
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&Digest::of(format!("osbuild {} {label}", product.name).as_bytes()).sha256[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn erofs(builder: &mut PlanBuilder, origin: &Origin, tar: OutputRef) -> Option<OutputRef> {
    let name = fixed_recipe(EROFS_RECIPE);
    needed_recipe(builder, &name, origin)?;
    let base = ToolTreeName::new("c").expect("a valid name");
    let tools = toolchain::combined(builder, &[base], &[name], origin)?;
    let uuid = stable_uuid(&builder.config.product, "root");
    let lines = format!("mkfs.erofs -T1 -U{uuid} --quiet --tar=f root.erofs root.tar");
    let inputs = vec![mount("root.tar", Input::Output(tar))];
    let command = shell(tools, BTreeMap::new(), lines);
    let task = builder.task("image:erofs".into(), origin, command, inputs, &["root.erofs"]);
    Some(output(task, "root.erofs"))
}

/// The data partition: an empty ext4 that the device grows on its first boot.
fn data(builder: &mut PlanBuilder, origin: &Origin) -> Option<OutputRef> {
    let base = ToolTreeName::new("filesystems").expect("a valid name");
    let tools = toolchain::combined(builder, &[base], &[], origin)?;
    let uuid = stable_uuid(&builder.config.product, "data");
    let size_kib = builder.config.machine.partitions.data_bytes / 1024;
    // Lazy initialisation would leave work, and a difference, to the first mount. `resize` reserves
    // group descriptors for online growth to 64 GiB.
    let lines = format!(
        "mke2fs -q -t ext4 -b 4096 -U {uuid} -L data -m 1 \
         -E hash_seed={uuid},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard,resize=16777216 \
         -O ^metadata_csum_seed,^orphan_file data.ext4 {size_kib}k"
    );
    // This e2fsprogs, 1.47.0, does not know SOURCE_DATE_EPOCH yet.
    let env = BTreeMap::from([("E2FSPROGS_FAKE_TIME".to_owned(), "1".to_owned())]);
    let command = shell(tools, env, lines);
    let task = builder.task("image:data".into(), origin, command, Vec::new(), &["data.ext4"]);
    Some(output(task, "data.ext4"))
}
