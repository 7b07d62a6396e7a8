//! A product in, the tasks that make the unsigned parts of its image out.
//!
//! Invariant: nothing here needs a key: signatures are attached after every task has run.

use super::builder::{mount, output, step, PlanBuilder};
use super::contents::{self, Contents};
use super::recipe::{self, installed_file, metadata_json};
use super::source::local_node;
use super::task::Input;
use super::{app, filesystem, set_id, steps, toolchain};
use crate::model::product::ProductApp;
use crate::model::service::{Restart, Service};
use crate::model::{AppName, Origin, RecipeName, ToolTreeName};
use serde_json::{json, Value};
use std::collections::BTreeMap;

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

/// Tool trees of what tests talk to, where a layer has them; no task uses them.
const FOR_TESTS: [&str; 2] = ["broker", "softhsm"];
/// The recipe of the on-device half.
const AGENT_RECIPE: &str = "osagent";

/// Adds the product's tasks and their goals.
pub(super) fn plan(builder: &mut PlanBuilder) -> Option<()> {
    let origin = builder.config.product.origin.clone();
    let rootfs = rootfs(builder, &origin)?;
    let label = format!("{} root", builder.config.product.name);
    let tar = output(rootfs, "root.tar");
    let mut root = filesystem::erofs(builder, "image:erofs", &origin, tar, &label, "root.erofs")?;
    if let Some(layout) = builder.local.layout {
        root = filesystem::placed(builder, "image:place", &origin, root, layout);
    }
    let kernel = needed_recipe(builder, &builder.config.machine.kernel.clone(), &origin)?;
    let stub = needed_recipe(builder, &builder.config.machine.efi_stub.clone(), &origin)?;

    let name = builder.config.product.name.as_str();
    let verity = filesystem::verity(builder, "image:verity", &origin, &root, name);

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
    let data = filesystem::data(builder, &origin)?;

    let board = ToolTreeName::new("board").expect("a valid name");
    toolchain::combined(builder, &[board], &[], &origin)?;
    for name in FOR_TESTS {
        let tree = ToolTreeName::new(name).expect("a valid name");
        if builder.config.tool_trees.contains_key(&tree) {
            toolchain::combined(builder, &[tree], &[], &origin)?;
        }
    }

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

pub(super) fn fixed_recipe(name: &str) -> RecipeName {
    RecipeName::new(name).expect("recipe names written in the plan are valid")
}

pub(super) fn needed_recipe(
    builder: &mut PlanBuilder,
    name: &RecipeName,
    origin: &Origin,
) -> Option<super::builder::RecipeTasks> {
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

fn rootfs(builder: &mut PlanBuilder, origin: &Origin) -> Option<super::task::TaskId> {
    let product = &builder.config.product;
    product.skeletons.iter().for_each(|skeleton| set_id::check_skeleton(builder, skeleton));
    let Contents { mut inputs, packages, skeletons } = contents::plan(builder, &product.packages, &product.skeletons)?;
    for name in product.apps.keys() {
        let app = app::plan(builder, name)?;
        inputs.push(mount(&format!("apps/{name}.app"), Input::Output(app.package)));
        inputs.push(mount(&format!("apps/{name}.digest"), Input::Output(app.digest)));
        inputs.push(mount(&format!("apps/{name}.packages.json"), Input::Output(app.packages)));
    }
    let (root, ca) = (product.update.root.as_ref(), product.update.ca.as_ref());
    for (file, name) in [(root, "root.json"), (ca, "ca.pem")] {
        let Some(file) = file else { continue };
        match local_node(builder, &file.value) {
            Some(node @ Input::File { .. }) => inputs.push(mount(&format!("update/{name}"), node)),
            _ => {
                let message = format!("there is no file `{}` in the project", file.value);
                builder.problem(&file.origin, message, Some("paths are relative to the project's root".into()));
                return None;
            }
        }
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
pub(super) fn product_json(builder: &PlanBuilder) -> Value {
    let product = &builder.config.product;
    let groups: BTreeMap<_, _> =
        product.groups.iter().map(|(name, group)| (name, json!({ "gid": group.gid }))).collect();
    let users: BTreeMap<_, _> = product.users.iter().map(|(name, user)| {
        (name, json!({
            "uid": user.uid, "group": user.group, "home": user.home, "shell": user.shell, "ssh_keys": user.ssh_keys,
        }))
    }).collect();
    let services: BTreeMap<_, _> = product.services.iter().map(|(name, s)| (name, service_json(s))).collect();
    let app = |(name, own): (&AppName, &ProductApp)| {
        let version = builder.config.apps.get(name).map(|app| app.manifest.version.clone());
        (name.to_string(), json!({ "version": version, "critical": own.critical, "third_party": own.third_party }))
    };
    let apps: BTreeMap<String, _> = product.apps.iter().map(app).collect();
    json!({
        "name": product.name.as_str(), "version": product.version, "title": product.title,
        "machine": product.machine.as_str(), "architecture": builder.config.machine.architecture.gnu_cpu(),
        "console": builder.config.machine.console, "hostname": product.hostname,
        "ntp_servers": product.ntp_servers, "production": product.production, "features": product.features,
        "variables": product.variables, "update_channel": product.update.channel,
        "support_until": product.support_until, "groups": groups, "users": users, "services": services,
        "apps": apps, "safe_mode": product.safe_mode, "app_signers": product.app_signers,
        "capability_signers": product.capability_signers, "dns_servers": product.dns_servers,
        "devices": builder.config.machine.devices, "interfaces": builder.config.machine.interfaces,
        "security_epoch": product.security_epoch, "update": product.update.config,
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
