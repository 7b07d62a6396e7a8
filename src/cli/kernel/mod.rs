//! `osbuild kernel check|diff|menuconfig|set`: whether the kernel is what the fragments ask for, how two products'
//! differ, and changes to it as fragments. A recipe such as busybox, which has the same language, is a kernel here, too.
//!
//! Invariant: what is compared is the final `.config` that the build uses; nothing here changes a build but the
//! fragment that the user asks to be written.

mod change;
mod contract;
mod fragment;

use super::project::Project;
use super::report::Failure;
use super::session::BuildArgs;
use crate::plan::kconfig::diff;
use contract::Contract;
use fragment::FragmentFile;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum KernelCommand {
    /// Configure the kernel and check that every requested option is in it
    Check {
        /// The default product unless told
        product: Option<String>,
        /// Another recipe with a Kconfig configuration, such as busybox
        #[arg(long)]
        recipe: Option<String>,
        #[command(flatten)]
        build: BuildArgs,
    },
    /// Show the options that differ between the kernels of two products
    Diff {
        old: String,
        new: String,
        /// Another recipe with a Kconfig configuration, such as busybox
        #[arg(long)]
        recipe: Option<String>,
        #[command(flatten)]
        build: BuildArgs,
    },
    /// Open the kernel's own editor on the checked configuration; shows the changes as a fragment
    Menuconfig {
        /// The default product unless told
        product: Option<String>,
        #[command(flatten)]
        edit: EditArgs,
    },
    /// Set options, and show what follows, as a fragment
    Set {
        /// `CONFIG_NAME=VALUE`; the value n switches an option off
        #[arg(required = true, value_name = "OPTION=VALUE")]
        options: Vec<String>,
        /// The default product unless told
        #[arg(long)]
        product: Option<String>,
        #[command(flatten)]
        edit: EditArgs,
    },
}

/// What both ways to change a configuration understand.
#[derive(Clone, Debug, clap::Args)]
pub struct EditArgs {
    /// Another recipe with a Kconfig configuration, such as busybox
    #[arg(long)]
    recipe: Option<String>,
    /// Write the changed options to this fragment, `kernel-config/NAME.config`; what else is in it stays
    #[arg(long, value_name = "FILE")]
    save: Option<FragmentFile>,
    #[command(flatten)]
    build: BuildArgs,
}

pub fn kernel(project: Project, command: &KernelCommand) -> Result<(), Failure> {
    match command {
        KernelCommand::Check { product, recipe, build } => {
            let contract = Contract::open(project, product.as_deref(), recipe.as_deref(), build)?;
            println!("{}: every requested option is set as asked, or waived", contract.recipe);
            Ok(())
        }
        KernelCommand::Diff { old, new, recipe, build } => {
            let old = Contract::open(project.clone(), Some(old), recipe.as_deref(), build)?;
            let new = Contract::open(project, Some(new), recipe.as_deref(), build)?;
            let changes = diff(&old.configuration, &new.configuration);
            changes.iter().for_each(|change| println!("{change}"));
            if changes.is_empty() {
                println!("the two are configured alike");
            }
            Ok(())
        }
        KernelCommand::Menuconfig { product, edit } => change::menuconfig(project, product.as_deref(), edit),
        KernelCommand::Set { options, product, edit } => change::set(project, options, product.as_deref(), edit),
    }
}
