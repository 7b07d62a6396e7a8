//! A plan and goals in, the goals' outputs in the store out; in between, everything the cache does not have.
//!
//! Tasks are looked up as soon as the outputs they use are known, so a task whose inputs came out equal is not
//! run (early cutoff); what a missing task needs from outside is fetched while others run.
//! Invariant: a result enters the action cache after everything it names; a failure loses nothing finished.

use super::action::{self, Action};
use super::error::{ExecError, TaskError};
use super::fetch::{self, Job};
use super::graph::{Graph, Index, Queue};
use super::progress::{Event, Observer};
use super::step::{Outputs, StepRegistry};
use crate::io::store::{Node, Store};
use crate::model::Digest;
use crate::plan::task::{Input, OutputRef, Plan};
use crate::tools::fetch::Fetcher;
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Downloads at a time; they mostly wait.
const FETCHERS: usize = 4;
/// How often a waiting thread looks whether it was interrupted.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// What a run works with.
pub struct Environment<'a> {
    pub store: &'a Store,
    pub fetcher: &'a Fetcher,
    pub steps: &'a StepRegistry,
    /// Tasks at a time.
    pub jobs: usize,
    pub observer: &'a dyn Observer,
    /// Folder that receives a log per task.
    pub logs: &'a Path,
    /// Set from a signal handler to end the run.
    pub interrupted: &'a AtomicBool,
}

/// What a run made or found.
#[derive(Debug, Default)]
pub struct Outcome {
    outputs: HashMap<Index, Outputs>,
    actions: HashMap<Index, Digest>,
    pub ran: usize,
    pub cached: usize,
}

impl Outcome {
    /// What `reference` points at; none when the run did not need its task.
    pub fn output(&self, store: &Store, plan: &Plan, reference: &OutputRef) -> Result<Node, TaskError> {
        action::output_node(store, plan, reference, self.outputs.get(&reference.task.0))
    }

    /// The digest of the action that a task became.
    pub fn action(&self, index: Index) -> Option<&Digest> {
        self.actions.get(&index)
    }

    /// What a task left.
    pub fn outputs(&self, index: Index) -> Option<&Outputs> {
        self.outputs.get(&index)
    }
}

pub(super) enum End {
    Failed(ExecError),
    /// Failed, perhaps because a blob that this task uses is gone.
    Lost(Index, ExecError),
}

struct State {
    graph: Graph,
    /// Inputs known, not yet looked up.
    ready: Queue,
    /// Not in the cache, everything there.
    runnable: Queue,
    fetches: VecDeque<Job>,
    waiting_for: HashMap<Digest, Vec<Index>>,
    missing: HashMap<Index, usize>,
    actions: HashMap<Index, Action>,
    outcome: Outcome,
    left: usize,
    end: Option<End>,
}

pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    pub env: &'a Environment<'a>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Does everything that `goals` need, once.
pub(super) fn attempt(plan: &Plan, goals: &[OutputRef], env: &Environment) -> (Outcome, Option<End>) {
    let graph = Graph::new(plan, goals);
    let left = graph.needed_count();
    env.observer.event(&Event::Planned { tasks: left });
    let mut ready = Queue::default();
    graph.first().into_iter().for_each(|index| graph.push(&mut ready, index));
    let state = State {
        graph,
        ready,
        runnable: Queue::default(),
        fetches: VecDeque::new(),
        waiting_for: HashMap::new(),
        missing: HashMap::new(),
        actions: HashMap::new(),
        outcome: Outcome::default(),
        left,
        end: None,
    };
    let run = Run { plan, env, state: Mutex::new(state), changed: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..env.jobs.max(1) {
            scope.spawn(|| run.work());
        }
        for _ in 0..FETCHERS {
            scope.spawn(|| run.fetch());
        }
    });
    let state = run.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    (state.outcome, state.end)
}

enum Turn {
    LookUp(Index),
    Execute(Index, Action),
}

impl Run<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self, state: &mut State) -> bool {
        if state.end.is_none() && self.env.interrupted.load(Ordering::Relaxed) {
            state.end = Some(End::Failed(ExecError::Interrupted));
        }
        state.left == 0 || state.end.is_some()
    }

    /// Whether nothing more is to be begun or waited for.
    pub(super) fn has_ended(&self) -> bool {
        self.is_over(&mut self.lock())
    }

    fn work(&self) {
        while let Some(turn) = self.next_turn() {
            match turn {
                Turn::LookUp(index) => self.guarded(index, || self.look_up(index)),
                Turn::Execute(index, action) => self.guarded(index, || self.execute(index, &action)),
            }
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    /// Does `work`; a panic in it fails the task, since the other threads would wait for it for ever.
    fn guarded(&self, index: Index, work: impl FnOnce()) {
        if let Err(words) = caught(work) {
            self.failed(index, TaskError::Defect(words));
        }
    }

    fn next_turn(&self) -> Option<Turn> {
        let mut state = self.lock();
        loop {
            if self.is_over(&mut state) {
                return None;
            }
            if let Some(index) = state.ready.pop() {
                return Some(Turn::LookUp(index));
            }
            if let Some(index) = state.runnable.pop() {
                let action = state.actions[&index].clone();
                return Some(Turn::Execute(index, action));
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn fetch(&self) {
        loop {
            let mut state = self.lock();
            let job = loop {
                if self.is_over(&mut state) {
                    return;
                }
                if let Some(job) = state.fetches.pop_front() {
                    break job;
                }
                state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            };
            drop(state);
            let result = caught(|| fetch::fetch(self.plan, self.env, &job));
            let result = result.unwrap_or_else(|words| Err(ExecError::Defect(words)));
            let mut state = self.lock();
            match result {
                Ok(()) => job.digests.iter().for_each(|digest| arrived(&mut state, digest)),
                Err(error) => fail(&mut state, End::Failed(error)),
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Makes the task's action and asks the cache; a miss becomes runnable when its sources are here.
    fn look_up(&self, index: Index) {
        let task = &self.plan.tasks[index];
        let action = Action::new(self.env.store, task, &|input| self.resolve(input));
        let action = match action {
            Ok(action) => action,
            Err(error) => return self.failed(index, error),
        };
        if let Some(outputs) = self.cached(&action) {
            self.env.observer.event(&Event::Cached { task: &task.name });
            return self.done(index, action.digest, outputs, true);
        }
        let jobs = fetch::jobs(self.plan, self.env.store, task);
        let mut state = self.lock();
        state.actions.insert(index, action);
        let digests: Vec<Digest> = jobs.iter().flat_map(|job| job.digests.iter().copied()).collect();
        state.missing.insert(index, digests.len());
        if digests.is_empty() {
            make_runnable(&mut state, index);
        }
        for mut job in jobs {
            // Someone else may wait for the same blob already.
            job.digests.retain(|digest| {
                let waiting = state.waiting_for.entry(*digest).or_default();
                waiting.push(index);
                waiting.len() == 1
            });
            if !job.digests.is_empty() {
                state.fetches.push_back(job);
            }
        }
    }

    fn resolve(&self, input: &Input) -> Result<Node, TaskError> {
        match input {
            Input::File { digest, executable } => Ok(Node::File { digest: *digest, executable: *executable }),
            Input::Tree(digest) => Ok(Node::Folder(*digest)),
            Input::Output(reference) => {
                let outputs = self.lock().outcome.outputs.get(&reference.task.0).cloned();
                action::output_node(self.env.store, self.plan, reference, outputs.as_ref())
            }
        }
    }

    pub(super) fn cached(&self, action: &Action) -> Option<Outputs> {
        action::from_result(self.env.store, &self.env.store.action_result(&action.digest)?)
    }

    pub(super) fn done(&self, index: Index, action: Digest, outputs: Outputs, cached: bool) {
        let mut state = self.lock();
        let state = &mut *state;
        state.outcome.outputs.insert(index, outputs);
        state.outcome.actions.insert(index, action);
        state.outcome.cached += usize::from(cached);
        state.outcome.ran += usize::from(!cached);
        state.left -= 1;
        for ready in state.graph.done(index) {
            state.graph.push(&mut state.ready, ready);
        }
    }

    pub(super) fn failed(&self, index: Index, error: TaskError) {
        let task = &self.plan.tasks[index];
        let mut state = self.lock();
        if matches!(error, TaskError::Interrupted) {
            return fail(&mut state, End::Failed(ExecError::Interrupted));
        }
        let lost = error.may_be_loss();
        let error = ExecError::Task { task: task.name.clone(), origin: task.origin.clone(), cause: Box::new(error) };
        fail(&mut state, if lost { End::Lost(index, error) } else { End::Failed(error) });
    }
}

/// What `work` returns, or what its panic said.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words_of(&*panic))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it gave no reason".to_owned())
}

/// The first failure is the one that is reported.
fn fail(state: &mut State, end: End) {
    state.end.get_or_insert(end);
}

fn arrived(state: &mut State, digest: &Digest) {
    for index in state.waiting_for.remove(digest).unwrap_or_default() {
        let missing = state.missing.entry(index).or_default();
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            make_runnable(state, index);
        }
    }
}

fn make_runnable(state: &mut State, index: Index) {
    state.graph.push(&mut state.runnable, index);
}
