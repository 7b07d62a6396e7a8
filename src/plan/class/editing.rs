//! The planned configuration of a Kconfig recipe in, tasks beside the plan out: the same source configured
//! otherwise, or edited by a person.
//!
//! Invariant: such a task sees what `RECIPE:config` sees; no task of a build depends on one, nor on the editor's tools.

use super::kernel::{configure_script, make_variables};
use crate::model::machine::Architecture;
use crate::model::recipe::{KconfigKind, Recipe};
use crate::plan::builder::{fixed_path, mount, PlanBuilder};
use crate::plan::kconfig::{allconfig, Requested};
use crate::plan::task::{Command, Input, Task};
use crate::plan::toolchain;

/// The tool tree with what draws the editor's screen, laid over the recipe's own.
pub const EDITOR_TREE: &str = "menuconfig";
/// The configuration after the edit: the output of the task that [`edited`] makes.
pub const EDITED: &str = "edited";

/// The name in `Plan::goals` of the tree that `recipe` is edited in.
pub fn editor_goal(recipe: &str) -> String {
    format!("{recipe}:editor")
}

/// Adds the editor's tree, for layers that have one.
pub(in crate::plan) fn offer(builder: &mut PlanBuilder, recipe: &Recipe) {
    if let Some(Input::Output(tree)) = toolchain::for_recipe_with(builder, recipe, EDITOR_TREE) {
        builder.goal(editor_goal(recipe.name.as_str()), tree);
    }
}

/// `configure` (the task `RECIPE:config`) with other requests; the output is `config`, too.
pub fn reconfigured(configure: &Task, kind: KconfigKind, architecture: Architecture, requested: &Requested) -> Task {
    let script = configure_script(kind, architecture, &allconfig(requested));
    Task { name: beside(configure, "edited"), command: with_script(configure, script), ..configure.clone() }
}

/// The editor of the source of `configure`, opened on the configuration `checked`.
pub fn edited(
    configure: &Task,
    kind: KconfigKind,
    architecture: Architecture,
    checked: Input,
    editor_tree: Input,
) -> Task {
    let make = make_variables(kind, architecture);
    // A terminal that the tree does not describe is most often a kind of xterm.
    let script = format!(
        "infocmp \"$TERM\" > /dev/null 2>&1 || export TERM=xterm\n\
         cd src\ncp ../config .config\nmake -s {make} menuconfig\ncp .config ../{EDITED}\n"
    );
    let mut task = configure.clone();
    task.name = beside(configure, "menuconfig");
    task.inputs.push(mount("config", checked));
    task.outputs = vec![fixed_path(EDITED)];
    task.command = match with_script(configure, script) {
        Command::Sandbox { argv, env, .. } => Command::Sandbox { argv, env, tools: editor_tree },
        step => step,
    };
    task
}

/// `RECIPE:STEP` for the recipe of `configure`.
fn beside(configure: &Task, step: &str) -> String {
    let recipe = configure.name.split(':').next().unwrap_or_default();
    format!("{recipe}:{step}")
}

fn with_script(task: &Task, script: String) -> Command {
    let mut command = task.command.clone();
    if let Command::Sandbox { argv, .. } = &mut command {
        argv.pop();
        argv.push(script);
    }
    command
}
