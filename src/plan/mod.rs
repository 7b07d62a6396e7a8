//! A valid configuration and a lock in, a graph of actions out.
//!
//! Invariant: plan never does I/O; equal inputs give an equal plan, task for task.

pub mod app;
mod builder;
pub mod class;
mod contents;
mod filesystem;
pub mod kconfig;
pub mod local;
mod product;
mod recipe;
mod set_id;
mod source;
pub mod steps;
pub mod task;
mod toolchain;

pub use local::LocalInputs;
pub use product::goals;

use crate::config::Config;
use crate::model::lock::Lock;
use crate::model::Origin;
use builder::PlanBuilder;
use task::Plan;

/// Something in the configuration that cannot be planned, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    pub message: String,
    pub help: Option<String>,
}

/// Plans every recipe, every app and the product's image. All problems are returned at once.
pub fn plan(config: &Config, lock: &Lock, local: &LocalInputs) -> Result<Plan, Vec<Problem>> {
    let mut builder = PlanBuilder::new(config, lock, local);
    for name in config.recipes.keys() {
        recipe::plan(&mut builder, name);
    }
    for name in config.apps.keys() {
        app::plan(&mut builder, name);
    }
    product::plan(&mut builder);
    builder.finish()
}
