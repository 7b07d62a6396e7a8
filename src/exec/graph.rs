//! A plan and its goals in; who waits for whom, and who may go next, out.
//!
//! Invariant: a task becomes ready once, when the last task it uses is done.

use crate::plan::task::{Command, Input, OutputRef, Plan, Task};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Index of a task in the plan.
pub type Index = usize;

/// The part of the plan that the goals need.
pub struct Graph {
    /// Whether the goals need the task.
    pub needed: Vec<bool>,
    dependents: Vec<Vec<Index>>,
    /// How many tasks each one still waits for.
    waits_for: Vec<usize>,
    /// Length of the longest chain of tasks that wait for this one.
    height: Vec<usize>,
}

/// Tasks in the order in which they should go: those that most others wait for first.
#[derive(Default)]
pub struct Queue(BTreeSet<(Reverse<usize>, Index)>);

/// The outputs of other tasks that `task` uses.
pub fn used_by(task: &Task) -> impl Iterator<Item = &OutputRef> {
    let tools = match &task.command {
        Command::Sandbox { tools, .. } => Some(tools),
        Command::Step { .. } => None,
    };
    let inputs = task.inputs.iter().map(|input| &input.source).chain(tools);
    inputs.filter_map(|input| match input {
        Input::Output(reference) => Some(reference),
        Input::File { .. } | Input::Tree(_) => None,
    })
}

impl Graph {
    pub fn new(plan: &Plan, goals: &[OutputRef]) -> Graph {
        let count = plan.tasks.len();
        let uses: Vec<BTreeSet<Index>> =
            plan.tasks.iter().map(|task| used_by(task).map(|reference| reference.task.0).collect()).collect();
        let mut needed = vec![false; count];
        goals.iter().for_each(|goal| needed[goal.task.0] = true);
        // Tasks stand after those they use, so one pass from the end sees every user before the used.
        let mut height = vec![0; count];
        for index in (0..count).rev() {
            if needed[index] {
                for &used in &uses[index] {
                    needed[used] = true;
                    height[used] = height[used].max(height[index] + 1);
                }
            }
        }
        let mut dependents = vec![Vec::new(); count];
        for (index, uses) in uses.iter().enumerate().filter(|(index, _)| needed[*index]) {
            uses.iter().for_each(|&used| dependents[used].push(index));
        }
        let waits_for = uses.iter().map(BTreeSet::len).collect();
        Graph { needed, dependents, waits_for, height }
    }

    pub fn needed_count(&self) -> usize {
        self.needed.iter().filter(|needed| **needed).count()
    }

    /// Tasks that use no other.
    pub fn first(&self) -> Vec<Index> {
        (0..self.needed.len()).filter(|&index| self.needed[index] && self.waits_for[index] == 0).collect()
    }

    /// Notes that a task is done and returns those that it was the last to hold up.
    pub fn done(&mut self, index: Index) -> Vec<Index> {
        let mut ready = Vec::new();
        for dependent in std::mem::take(&mut self.dependents[index]) {
            self.waits_for[dependent] -= 1;
            if self.waits_for[dependent] == 0 {
                ready.push(dependent);
            }
        }
        ready
    }

    pub fn push(&self, queue: &mut Queue, index: Index) {
        queue.0.insert((Reverse(self.height[index]), index));
    }
}

impl Queue {
    pub fn pop(&mut self) -> Option<Index> {
        self.0.pop_first().map(|(_, index)| index)
    }
}
