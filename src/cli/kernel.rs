//! `osbuild kernel check|diff`: whether the kernel is what the fragments ask for, and how two products' differ.
//!
//! Invariant: what is compared is the final `.config` that the build uses.

use super::project::Project;
use super::report::Failure;
use super::session::{BuildArgs, Session};
use crate::io::store::Node;
use crate::model::RelPath;
use crate::plan::kconfig::{diff, Configuration};
use crate::plan::task::{OutputRef, TaskId};
use std::collections::BTreeMap;

const LIMIT_BYTES: u64 = 4 << 20;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum KernelCommand {
    /// Configure the kernel and check that every requested option is in it
    Check {
        /// The default product unless told
        product: Option<String>,
        #[command(flatten)]
        build: BuildArgs,
    },
    /// Show the options that differ between the kernels of two products
    Diff {
        old: String,
        new: String,
        #[command(flatten)]
        build: BuildArgs,
    },
}

pub fn kernel(project: Project, command: &KernelCommand) -> Result<(), Failure> {
    match command {
        KernelCommand::Check { product, build } => {
            let (recipe, _) = configuration(project, product.as_deref(), build)?;
            println!("{recipe}: every requested option is set as asked, or waived");
        }
        KernelCommand::Diff { old, new, build } => {
            let old = configuration(project.clone(), Some(old), build)?.1;
            let new = configuration(project, Some(new), build)?.1;
            let changes = diff(&old, &new);
            changes.iter().for_each(|change| println!("{change}"));
            if changes.is_empty() {
                println!("the two kernels are configured alike");
            }
        }
    }
    Ok(())
}

/// The checked configuration of the product's kernel, and the kernel recipe's name.
fn configuration(
    project: Project,
    product: Option<&str>,
    build: &BuildArgs,
) -> Result<(String, Configuration), Failure> {
    let session = Session::open(project, product, &BTreeMap::new(), build)?;
    let recipe = session.config.machine.kernel.to_string();
    let check = format!("{recipe}:check");
    let index = session.plan.tasks.iter().position(|task| task.name == check);
    let index = index.ok_or_else(|| Failure::new(format!("there is no task `{check}`")))?;
    let output = RelPath::new("config").expect("a valid path");
    let goal = OutputRef { task: TaskId(index), output, below: None };
    let outcome = session.run(std::slice::from_ref(&goal))?;
    let Node::File { digest, .. } = outcome.output(&session.store, &session.plan, &goal)? else {
        return Err(Failure::new(format!("`{check}` left no file")));
    };
    let text = session.store.read(&digest, LIMIT_BYTES)?;
    Ok((recipe, Configuration::parse(&String::from_utf8_lossy(&text))))
}
