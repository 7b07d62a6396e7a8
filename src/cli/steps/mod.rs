//! The steps of osbuild itself: what the plan calls each in, the function of the stage that it belongs to out.
//!
//! Invariant: every step that a plan can contain is here, and nothing of what a step does.

use crate::exec::step::{Outputs, StepError, StepRegistry};
use crate::image::{app_step, initramfs_step, kconfig, place_step, uki, verity};
use crate::io::store::Store;
use crate::model::Digest;
use crate::plan::steps::{self, StepKind};
use crate::tools::{source, tooltree};
use crate::tree::{app_root, packages, rootfs, sysroot};

/// All of them.
pub fn registry() -> StepRegistry {
    let mut registry = StepRegistry::default();
    add(&mut registry, steps::SOURCE, source::step);
    add(&mut registry, steps::TOOL_TREE, tooltree::step::compose);
    add(&mut registry, steps::MERGE, tooltree::step::merge);
    add(&mut registry, steps::KCONFIG_CHECK, kconfig::check);
    add(&mut registry, steps::SYSROOT, sysroot::step);
    add(&mut registry, steps::PACKAGES, packages::step);
    add(&mut registry, steps::APP_ROOT, app_root::step);
    add(&mut registry, steps::APP_PACKAGE, app_step);
    add(&mut registry, steps::ROOTFS, rootfs::step);
    add(&mut registry, steps::VERITY, verity::step);
    add(&mut registry, steps::PLACE, place_step);
    add(&mut registry, steps::INITRAMFS, initramfs_step);
    add(&mut registry, steps::UKI, uki::step);
    registry
}

/// The input root and canonical JSON in, the outputs out.
type Step<E> = fn(&Store, &Digest, &str) -> Result<Outputs, E>;

fn add<E: Into<StepError> + 'static>(registry: &mut StepRegistry, kind: StepKind, step: Step<E>) {
    registry.add(kind.name, move |context| step(context.store, context.inputs, context.parameters));
}

#[cfg(test)]
mod tests;
