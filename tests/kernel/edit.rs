//! `osbuild kernel set`: what it would take to change an option, what follows, and what that contradicts.

use crate::command::osbuild;
use crate::{with_fragment, Project, GATEWAY};

#[test]
fn an_option_that_can_be_set_is_shown_as_a_fragment_and_its_consequences_beside() {
    let project = Project::of_this_repository();
    let set = osbuild(&project, &["kernel", "set", "CONFIG_BLK_DEV_RAM=y", "NET=n"]).succeeds();
    assert_eq!(set.output, "CONFIG_BLK_DEV_RAM=y\n# CONFIG_NET is not set\n");
    for line in [
        "by themselves follow:",
        "  CONFIG_BLK_DEV_RAM_COUNT: n -> 16",
        "conflict: kernel-config/network.config:",
        "requests `CONFIG_NET=y`, which is now: n",
        "requests `CONFIG_VETH=y`, which is now: n",
        "help: change or remove these lines",
    ] {
        assert!(set.errors.contains(line), "`{line}` is not in:\n{}", set.errors);
    }
}

#[test]
fn an_option_that_cannot_be_set_says_what_blocks_it() {
    let project = Project::of_this_repository();
    osbuild(&project, &["kernel", "set", "CONFIG_USB_SERIAL=y"]).fails_with(&[
        "`CONFIG_USB_SERIAL=y` is not met",
        "depends on `USB_SUPPORT` (drivers/usb/Kconfig:",
        "help: set what it depends on in the same command",
    ]);
    osbuild(&project, &["kernel", "set", "--recipe", "busybox", "CONFIG_WGTE=y"])
        .fails_with(&["no such option: CONFIG_WGTE", "did you mean `CONFIG_WGET`?"]);
    let wrong = osbuild(&project, &["kernel", "set", "CONFIG_NET=yes"]);
    assert_eq!(wrong.status, 2, "{}", wrong.errors);
    assert!(wrong.errors.contains("`CONFIG_NET=yes` does not set an option"), "{}", wrong.errors);
    let outside = osbuild(&project, &["kernel", "set", "CONFIG_NET=y", "--save", "../net.config"]);
    assert_eq!(outside.status, 2, "{}", outside.errors);
    assert!(outside.errors.contains("kernel-config/NAME.config"), "{}", outside.errors);
}

#[test]
fn a_saved_fragment_keeps_what_else_is_in_it_and_a_build_takes_it() {
    let project = with_fragment("# What the meter needs.\nCONFIG_USB_SUPPORT=y\n# CONFIG_SWAP is not set\n");
    let args = ["kernel", "set", "BLK_DEV_RAM=y", "USB_SUPPORT=n", "--save", "kernel-config/meter.config"];
    let set = osbuild(&project, &args).succeeds();
    assert!(set.errors.contains("written: kernel-config/meter.config"), "{}", set.errors);
    assert!(!set.errors.contains("conflict"), "its own line was replaced: {}", set.errors);
    let text = std::fs::read_to_string(project.root.join("kernel-config/meter.config")).expect("read");
    let expected = "# What the meter needs.\n# CONFIG_USB_SUPPORT is not set\n# CONFIG_SWAP is not set\n\
                    CONFIG_BLK_DEV_RAM=y\n";
    assert_eq!(text, expected);
    osbuild(&project, &["kernel", "check"]).succeeds();
    // Of another name, it has to be asked for; the product's line is there to be copied.
    let set = osbuild(&project, &["kernel", "set", "USB_SUPPORT=y", "--save", "usb"]).succeeds();
    assert!(set.errors.contains("conflict: kernel-config/meter.config:2: requests"), "{}", set.errors);
    assert!(set.errors.contains("add `usb` to `kernel-fragments` of the product `gateway`"), "{}", set.errors);
    project.edit(GATEWAY, "kernel-fragments: [meter]", "kernel-fragments: [meter, usb]");
    osbuild(&project, &["plan"]).fails_with(&["kernel-config/usb.config:1:", "kernel-config/meter.config:2"]);
}

#[test]
fn the_kernels_of_two_products_are_compared_option_by_option() {
    let project = Project::copy();
    project.write("kernel-config/meter.config", "CONFIG_BLK_DEV_RAM=y\n");
    let meter = "schema: 1\nproduct: meter\nextends: gateway\ntitle: Meter\nkernel-fragments: [meter]\n";
    project.write("layers/core/products/meter.yaml", meter);
    let diff = osbuild(&project, &["kernel", "diff", "gateway", "meter"]).succeeds().output;
    assert_eq!(
        diff,
        "CONFIG_BLK_DEV_RAM: n -> y\nCONFIG_BLK_DEV_RAM_COUNT: n -> 16\nCONFIG_BLK_DEV_RAM_SIZE: n -> 4096\n"
    );
    let same = osbuild(&project, &["kernel", "diff", "gateway", "meter", "--recipe", "busybox"]).succeeds().output;
    assert_eq!(same, "the two are configured alike\n");
}
