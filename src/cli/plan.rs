//! `osbuild plan`: the graph of tasks, for people, for scripts (JSON) and for drawings (Graphviz DOT).
//!
//! Invariant: it runs nothing and fetches nothing.

use super::project::Project;
use super::report::Failure;
use super::session::{BuildArgs, Session};
use crate::exec::action::arguments;
use crate::plan::task::{Command, Input, Plan, Task};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// The product to plan; the default product unless told
    pub product: Option<String>,
    /// Print the whole plan as JSON
    #[arg(long, conflicts_with = "dot")]
    pub json: bool,
    /// Print the graph in Graphviz's language
    #[arg(long)]
    pub dot: bool,
}

pub fn plan(project: Project, args: &PlanArgs) -> Result<(), Failure> {
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &BuildArgs::default())?;
    let plan = &session.plan;
    if args.json {
        println!("{:#}", to_json(plan));
    } else if args.dot {
        print!("{}", to_dot(plan));
    } else {
        print!("{}", to_text(plan, |digest| session.store.has(digest)));
    }
    Ok(())
}

/// The tasks that `task` uses, each once, in the plan's order.
fn uses(task: &Task) -> BTreeSet<usize> {
    let tools = match &task.command {
        Command::Sandbox { tools, .. } => Some(tools),
        Command::Step { .. } => None,
    };
    let inputs = task.inputs.iter().map(|input| &input.source).chain(tools);
    inputs.filter_map(|input| if let Input::Output(output) = input { Some(output.task.0) } else { None }).collect()
}

fn to_text(plan: &Plan, has: impl Fn(&crate::model::Digest) -> bool) -> String {
    let mut text = String::new();
    for task in &plan.tasks {
        let uses: Vec<&str> = uses(task).into_iter().map(|index| plan.tasks[index].name.as_str()).collect();
        let after = if uses.is_empty() { String::new() } else { format!(" <- {}", uses.join(" ")) };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}{after}", task.name);
    }
    let missing: Vec<_> = plan.fetches.keys().filter(|digest| !has(digest)).collect();
    let bytes: u64 = missing.iter().map(|digest| digest.size_bytes).sum();
    let _ = writeln!(
        text,
        "{} tasks; {} of {} files to fetch, {} MiB",
        plan.tasks.len(),
        missing.len(),
        plan.fetches.len(),
        bytes >> 20
    );
    text
}

fn to_json(plan: &Plan) -> Value {
    let tasks: Vec<Value> = plan
        .tasks
        .iter()
        .map(|task| {
            let outputs: Vec<&str> = task.outputs.iter().map(|path| path.as_str()).collect();
            let uses: Vec<&str> = uses(task).into_iter().map(|index| plan.tasks[index].name.as_str()).collect();
            json!({
                "name": task.name, "origin": task.origin.to_string(), "arguments": arguments(task),
                "uses": uses, "outputs": outputs,
            })
        })
        .collect();
    let goals: BTreeMap<&str, Value> = plan
        .goals
        .iter()
        .map(|(name, goal)| {
            let value = json!({ "task": plan.tasks[goal.task.0].name, "output": goal.output.as_str(),
                "below": goal.below.as_ref().map(|below| below.as_str()) });
            (name.as_str(), value)
        })
        .collect();
    let fetches: Vec<Value> = plan
        .fetches
        .iter()
        .map(|(digest, fetch)| {
            let places: Vec<String> = fetch.places.iter().map(ToString::to_string).collect();
            json!({ "name": fetch.name, "sha256": digest.hex(), "size_bytes": digest.size_bytes, "places": places })
        })
        .collect();
    json!({ "schema": 1, "tasks": tasks, "goals": goals, "fetches": fetches })
}

fn to_dot(plan: &Plan) -> String {
    let mut text = String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box];\n");
    for task in &plan.tasks {
        let _ = writeln!(text, "  {:?};", task.name);
        for used in uses(task) {
            let _ = writeln!(text, "  {:?} -> {:?};", plan.tasks[used].name, task.name);
        }
    }
    text + "}\n"
}
