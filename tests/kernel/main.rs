//! `osbuild kernel`: fragments as a contract, and edits of a configuration, with the real sources of linux and busybox.
#![allow(clippy::disallowed_methods)]

#[path = "../command/mod.rs"]
mod command;
mod contract;
mod edit;
mod menuconfig;

use command::Project;

const GATEWAY: &str = "layers/core/products/gateway.yaml";

/// A project whose default product also asks for the fragment `meter`, with this text.
fn with_fragment(text: &str) -> Project {
    let project = Project::copy();
    project.write("kernel-config/meter.config", text);
    project.edit(GATEWAY, "hostname: gateway\n", "hostname: gateway\nkernel-fragments: [meter]\n");
    project
}
