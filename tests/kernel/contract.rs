//! Fragments that disagree, ask for what is not, or for what cannot be; and waivers.

use crate::command::osbuild;
use crate::{with_fragment, GATEWAY};

#[test]
fn the_kernel_of_this_repository_is_what_its_fragments_ask_for() {
    let project = crate::Project::of_this_repository();
    let kernel = osbuild(&project, &["kernel", "check"]).succeeds().output;
    assert!(kernel.contains("linux: every requested option is set as asked"), "{kernel}");
    let busybox = osbuild(&project, &["kernel", "check", "--recipe", "busybox"]).succeeds().output;
    assert!(busybox.contains("busybox: every requested option is set as asked"), "{busybox}");
    osbuild(&project, &["kernel", "check", "--recipe", "busybx"])
        .fails_with(&["no recipe `busybx` of class kernel", "did you mean `busybox`"]);
    osbuild(&project, &["kernel", "check", "--recipe", "zlib"]).fails_with(&["known here: `busybox`, `linux`"]);
}

#[test]
fn two_fragments_that_disagree_are_both_named() {
    let project = with_fragment("# A meter has no network.\n# CONFIG_NET is not set\n");
    let parts = ["kernel-config/meter.config:2:", "`CONFIG_NET`", "requests: y", "kernel-config/network.config:2"];
    osbuild(&project, &["plan"]).fails_with(&parts);
    osbuild(&project, &["kernel", "check"]).fails_with(&parts);
}

#[test]
fn lines_that_are_almost_a_request_are_refused() {
    let project = with_fragment("CONFIG_USB = y\n#CONFIG_PCI is not set\n");
    osbuild(&project, &["plan"]).fails_with(&[
        "kernel-config/meter.config:1:",
        "`CONFIG_USB = y` is neither",
        "kernel-config/meter.config:2:",
        "without spaces around `=`",
    ]);
}

#[test]
fn modules_are_refused_where_they_are_asked_for() {
    let project = with_fragment("# A camera.\nCONFIG_USB=m\nCONFIG_MODULES=y\n");
    project.edit("kernel-config/base.config", "# CONFIG_MODULES is not set\n", "");
    osbuild(&project, &["plan"]).fails_with(&[
        "kernel-config/meter.config:2:",
        "`CONFIG_USB=m` asks for kernel modules, which no package would bring to the device",
        "help: build the option in: `=y`",
        "kernel-config/meter.config:3:",
        "`CONFIG_MODULES=y` asks for kernel modules",
    ]);
    let project = crate::Project::of_this_repository();
    osbuild(&project, &["kernel", "set", "CONFIG_USB=m"]).fails_with(&["`CONFIG_USB=m` asks for kernel modules"]);
}

#[test]
fn every_broken_request_is_named_at_once_with_its_cause() {
    let project = with_fragment("CONFIG_VIRTO_NET=y\nCONFIG_USB_SERIAL=y\n");
    let waivers = "kernel-waivers:\n  - option: CONFIG_VETH\n    reason: the meter has one network\n\
                   hostname: gateway\n";
    project.edit(GATEWAY, "hostname: gateway\n", waivers);
    osbuild(&project, &["kernel", "check"]).fails_with(&[
        "task `linux:check` failed",
        "kernel-config/meter.config:1: no such option: CONFIG_VIRTO_NET",
        "did you mean `CONFIG_VIRTIO_NET`?",
        "kernel-config/meter.config:2: `CONFIG_USB_SERIAL=y` is not met",
        "depends on `USB_SUPPORT` (drivers/usb/Kconfig:",
        "`USB_SUPPORT` is: n",
        "gateway.yaml:",
        "the waiver for `CONFIG_VETH` is not needed: the option is as requested",
    ]);
    // With what is missing, and waivers with a reason for the rest, the contract holds.
    project.write("kernel-config/meter.config", "CONFIG_VIRTIO_NET=y\nCONFIG_USB_SERIAL=y\n");
    project.edit(GATEWAY, "CONFIG_VETH\n", "CONFIG_USB_SERIAL\n");
    osbuild(&project, &["kernel", "check"]).succeeds();
}

#[test]
fn a_waiver_says_why() {
    let project = with_fragment("CONFIG_USB_SERIAL=y\n");
    let waiver = |reason: &str| format!("kernel-waivers:\n  - option: CONFIG_USB_SERIAL\n{reason}hostname: gateway\n");
    project.edit(GATEWAY, "hostname: gateway\n", &waiver(""));
    osbuild(&project, &["plan"]).fails_with(&["gateway.yaml:", "reason"]);
    project.edit(GATEWAY, "hostname: gateway\n", "    reason: \" \"\nhostname: gateway\n");
    osbuild(&project, &["plan"]).fails_with(&[
        "gateway.yaml:",
        "the waiver for `CONFIG_USB_SERIAL` has no reason",
        "help: say in `reason` why",
    ]);
}

/// Each is an option of its own, which a configuration that starts from nothing leaves out.
#[test]
fn every_defence_against_speculation_is_compiled_in() {
    let project = crate::Project::of_this_repository();
    let disk = osbuild(&project, &["image"]).succeeds().output;
    let configuration = project.root.join(disk.trim()).with_file_name("kernel.config");
    let text = std::fs::read_to_string(configuration).expect("read");
    let missing: Vec<&str> = text.lines().filter(|line| line.starts_with("# CONFIG_MITIGATION_")).collect();
    assert_eq!(missing, ["# CONFIG_MITIGATION_CALL_DEPTH_TRACKING is not set"]);
    assert!(text.contains("CONFIG_MITIGATION_PAGE_TABLE_ISOLATION=y"), "{text}");
}
