//! `osbuild tools TREE`: composes a tool tree and says where it is checked out.
//!
//! Invariant: the tree is the very one that tasks run on.

use super::project::Project;
use super::report::Failure;
use super::session::{BuildArgs, Session};
use crate::io::store::Node;
use std::collections::BTreeMap;

#[derive(Clone, Debug, clap::Args)]
pub struct ToolsArgs {
    /// A tree of `layers/*/tools/`, or a combination that a task uses, such as `c+erofs-utils`
    pub tree: String,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn tools(project: Project, args: &ToolsArgs) -> Result<(), Failure> {
    let session = Session::open(project, None, &BTreeMap::new(), &args.build)?;
    let Some(goal) = session.plan.goals.get(&format!("tools:{}", args.tree)) else {
        let known: Vec<&str> = session.plan.goals.keys().filter_map(|goal| goal.strip_prefix("tools:")).collect();
        let message = format!("no task uses a tool tree `{}`", args.tree);
        return Err(Failure::new(message).help(format!("there are: {}", known.join(", "))));
    };
    let outcome = session.run(std::slice::from_ref(goal))?;
    match outcome.output(&session.store, &session.plan, goal)? {
        Node::Folder(tree) => println!("{}", session.store.checkout(&tree)?.display()),
        _ => return Err(Failure::new(format!("`{}` is not a tree", args.tree))),
    }
    Ok(())
}
