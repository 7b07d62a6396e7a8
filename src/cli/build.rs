//! `osbuild build RECIPE`: runs a recipe's tasks and links what it installs into `out/recipes/`.
//!
//! Invariant: the link appears when everything below it is whole.

use super::project::Project;
use super::report::Failure;
use super::session::{BuildArgs, Session};
use crate::io::file;
use crate::io::store::Node;
use std::collections::BTreeMap;

#[derive(Clone, Debug, clap::Args)]
pub struct RecipeArgs {
    /// Recipes to build
    #[arg(required = true, value_name = "RECIPE")]
    pub recipes: Vec<String>,
    /// Build them as this product configures them
    #[arg(long)]
    pub product: Option<String>,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn build(project: Project, args: &RecipeArgs) -> Result<(), Failure> {
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let mut goals = Vec::new();
    for name in &args.recipes {
        goals.push(session.goal(name)?.clone());
    }
    let outcome = session.run(&goals)?;
    for (name, goal) in args.recipes.iter().zip(&goals) {
        if let Node::Folder(tree) = outcome.output(&session.store, &session.plan, goal)? {
            let link = session.project.out("recipes")?.join(name);
            file::link_atomic(&link, &session.store.checkout(&tree)?)?;
            println!("{}", link.display());
        }
    }
    Ok(())
}
