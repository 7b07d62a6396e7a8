//! Plans made of steps of our own, run for real: what is done once, again, or not at all.

use super::action::Action;
use super::local::Workshop;
use super::progress::{Event, Observer};
use super::step::{Outputs, StepContext, StepRegistry};
use super::{run, Environment, ExecError, Outcome};
use crate::io::store::{Node, Store, StoreError, Tree};
use crate::model::{Digest, Origin, RelPath};
use crate::plan::steps::StepKind;
use crate::plan::task::{Command, Input, InputMount, OutputRef, Plan, Task, TaskId};
use crate::tools::fetch::{FetchOptions, Fetcher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    plan: Plan,
    /// How often the step `count` ran.
    ran: Arc<AtomicUsize>,
    interrupted: AtomicBool,
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn event(&self, event: &Event) {
        self.0.lock().expect("unpoisoned").push(format!("{event:?}"));
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("cache")).expect("a store");
        let (ran, interrupted) = (Arc::default(), AtomicBool::new(false));
        Bench { folder, store, plan: Plan::default(), ran, interrupted }
    }

    fn local(&self, text: &str) -> Input {
        Input::File { digest: self.store.put_bytes(text.as_bytes()).expect("kept"), executable: false }
    }

    fn add(&mut self, name: &str, step: &'static str, parameters: &str, inputs: Vec<Input>) -> OutputRef {
        let mounts = inputs.into_iter().enumerate();
        let inputs = mounts.map(|(i, source)| InputMount { path: Some(path(&format!("in/{i}"))), source }).collect();
        self.plan.tasks.push(Task {
            name: name.to_owned(),
            origin: Origin { file: "recipe.yaml".into(), line: 1, column: 1 },
            command: Command::Step { kind: StepKind { name: step, version: 1 }, parameters: parameters.to_owned() },
            inputs,
            outputs: vec![path("out")],
        });
        OutputRef { task: TaskId(self.plan.tasks.len() - 1), output: path("out"), below: None }
    }

    /// `join` concatenates its inputs and its parameters; `first` keeps the first letter; `fail` fails; `panic` panics; `sleep` takes
    /// its time.
    fn steps(&self) -> StepRegistry {
        let mut steps = StepRegistry::default();
        let ran = Arc::clone(&self.ran);
        steps.add("join", move |context| {
            ran.fetch_add(1, Ordering::SeqCst);
            let text = inputs(context)? + context.parameters;
            leave(context, &text)
        });
        steps.add("first", |context| leave(context, inputs(context)?.get(..1).unwrap_or_default()));
        steps.add("fail", |_| -> Result<Outputs, std::io::Error> { Err(std::io::Error::other("out of luck")) });
        steps.add("sleep", |context| {
            std::thread::sleep(Duration::from_millis(300));
            leave(context, "")
        });
        steps.add("panic", |context| -> Result<Outputs, std::io::Error> { panic!("of `{}`", context.parameters) });
        steps
    }

    fn run(&self, goals: &[&OutputRef]) -> (Result<Outcome, ExecError>, Vec<String>) {
        let fetcher = Fetcher::new(FetchOptions { offline: true, ..FetchOptions::new(self.folder.path()) });
        let (steps, notes) = (self.steps(), Notes::default());
        let env = Environment {
            store: &self.store,
            fetcher: &fetcher,
            steps: &steps,
            jobs: 2,
            observer: &notes,
            logs: self.folder.path(),
            interrupted: &self.interrupted,
        };
        let goals: Vec<OutputRef> = goals.iter().map(|goal| (*goal).clone()).collect();
        let result = run(&self.plan, &goals, &env);
        (result, notes.0.into_inner().expect("unpoisoned"))
    }

    fn text(&self, outcome: &Outcome, goal: &OutputRef) -> String {
        match outcome.output(&self.store, &self.plan, goal) {
            Ok(Node::File { digest, .. }) => {
                String::from_utf8(self.store.read(&digest, 1 << 20).expect("kept")).expect("text")
            }
            other => panic!("not a file: {other:?}"),
        }
    }

    fn ran(&self) -> usize {
        self.ran.swap(0, Ordering::SeqCst)
    }
}

fn inputs(context: &StepContext) -> Result<String, super::TaskError> {
    let mut text = String::new();
    for entry in context.store.walk(context.inputs)? {
        if let Node::File { digest, .. } = entry.node {
            text += &String::from_utf8_lossy(&context.store.read(&digest, 1 << 20)?);
        }
    }
    Ok(text)
}

fn leave(context: &StepContext, text: &str) -> Result<Outputs, super::TaskError> {
    let digest = context.store.put_bytes(text.as_bytes())?;
    Ok(Outputs::from([(path("out"), Node::File { digest, executable: false })]))
}

/// `a` -> `first` -> `b`, and the goal `b`.
fn chain(bench: &mut Bench, source: &str) -> OutputRef {
    bench.plan = Plan::default();
    let source = bench.local(source);
    let a = bench.add("r:a", "join", "-a", vec![source]);
    let cut = bench.add("r:first", "first", "", vec![Input::Output(a)]);
    bench.add("r:b", "join", "-b", vec![Input::Output(cut)])
}

#[test]
fn what_is_done_is_not_done_again() {
    let mut bench = Bench::new();
    let goal = chain(&mut bench, "x1");
    let (outcome, _) = bench.run(&[&goal]);
    let outcome = outcome.expect("done");
    assert_eq!((bench.text(&outcome, &goal).as_str(), bench.ran()), ("x-b", 2));
    let (outcome, notes) = bench.run(&[&goal]);
    let outcome = outcome.expect("done");
    assert_eq!((outcome.ran, outcome.cached, bench.ran()), (0, 3, 0), "{notes:?}");
}

#[test]
fn equal_outputs_end_a_rebuild_early() {
    let mut bench = Bench::new();
    let goal = chain(&mut bench, "x1");
    bench.run(&[&goal]).0.expect("done");
    bench.ran();
    // `first` leaves the same again, so `b` has nothing new to do.
    let goal = chain(&mut bench, "x2");
    let (outcome, _) = bench.run(&[&goal]);
    assert_eq!((outcome.expect("done").ran, bench.ran()), (2, 1));
}

#[test]
fn only_what_the_goals_need_is_done() {
    let mut bench = Bench::new();
    let source = bench.local("x");
    let wanted = bench.add("r:wanted", "join", "", vec![source.clone()]);
    bench.add("r:other", "fail", "", vec![source]);
    assert_eq!(bench.run(&[&wanted]).0.expect("done").ran, 1);
}

#[test]
fn a_failure_names_its_task_and_line_and_loses_nothing_finished() {
    let mut bench = Bench::new();
    let source = bench.local("x");
    let done = bench.add("r:done", "join", "", vec![source]);
    let failed = bench.add("r:failed", "fail", "", vec![Input::Output(done.clone())]);
    let error = bench.run(&[&failed]).0.expect_err("a failure");
    let ExecError::Task { task, origin, cause } = error else { panic!("{error}") };
    assert_eq!((task.as_str(), origin.to_string().as_str()), ("r:failed", "recipe.yaml:1:1"));
    assert_eq!(cause.to_string(), "out of luck");
    assert_eq!(bench.ran(), 1);
    assert_eq!((bench.run(&[&done]).0.expect("done").cached, bench.ran()), (1, 0));
}

#[test]
fn a_blob_that_is_lost_or_damaged_is_made_again() {
    let mut bench = Bench::new();
    let source = bench.local("x");
    let a = bench.add("r:a", "join", "-a", vec![source]);
    let b = bench.add("r:b", "join", "-b", vec![Input::Output(a)]);
    bench.run(&[&b]).0.expect("done");
    bench.ran();
    let intermediate = Digest::of(b"x-a");
    let result = Digest::of(b"x-a-b");

    bench.store.remove(&result);
    assert_eq!((bench.run(&[&b]).0.expect("done").ran, bench.ran()), (1, 1));

    // `b` is to run again, but what it reads was changed behind our back, with the time put back.
    bench.store.remove(&result);
    let file = bench.store.blob_path(&intermediate, false);
    let time = std::fs::metadata(&file).and_then(|m| m.modified()).expect("a time");
    crate::io::file::write_atomic(&file, b"x-?", 0o644).expect("written");
    crate::io::file::open(&file).expect("opened").set_modified(time).expect("a time");
    let (outcome, notes) = bench.run(&[&b]);
    assert_eq!(bench.text(&outcome.expect("made again"), &b), "x-a-b", "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("Repairing")), "{notes:?}");
}

#[test]
fn two_runs_at_once_do_each_task_once() {
    let mut bench = Bench::new();
    let goals: Vec<OutputRef> = (0..20)
        .map(|i| {
            let source = bench.local(&i.to_string());
            bench.add(&format!("r:{i}"), "join", "", vec![source])
        })
        .collect();
    let goals: Vec<&OutputRef> = goals.iter().collect();
    let bench = &bench;
    let goals = &goals;
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(move || bench.run(goals).0.expect("done"))).collect();
        let ran: usize = runs.into_iter().map(|run| run.join().expect("no panic").ran).sum();
        assert_eq!(ran, 20);
    });
    assert_eq!(bench.ran(), 20);
}

#[test]
fn an_interrupted_run_says_so_and_goes_on_later() {
    let mut bench = Bench::new();
    let goal = chain(&mut bench, "x");
    bench.interrupted.store(true, Ordering::SeqCst);
    assert!(matches!(bench.run(&[&goal]).0, Err(ExecError::Interrupted)));
    bench.interrupted.store(false, Ordering::SeqCst);
    assert_eq!(bench.run(&[&goal]).0.expect("done").ran, 3);
}

#[test]
fn the_key_of_an_action_is_pinned() {
    let mut bench = Bench::new();
    let goal = chain(&mut bench, "x");
    let (outcome, _) = bench.run(&[&goal]);
    let outcome = outcome.expect("done");
    let action = outcome.action(0).expect("an action");
    // Another digest means that every cache starts empty: raise SANDBOX_VERSION or a step's version knowingly.
    assert_eq!(action.to_string(), PINNED_ACTION);
}

const PINNED_ACTION: &str = "48b4027749d1321118380584fd8d06b1bb092cf43cdb2d63f4e9e766fc578a86/164";

#[test]
fn a_panic_in_a_step_fails_its_task_and_holds_nobody_up() {
    let mut bench = Bench::new();
    let broken = bench.add("broken", "panic", "p", vec![]);
    let last = bench.add("last", "join", "", vec![Input::Output(broken)]);
    let (result, _) = bench.run(&[&last]);
    match result.expect_err("it panics") {
        ExecError::Task { task, cause, .. } => {
            assert_eq!((task.as_str(), cause.to_string().as_str()), ("broken", "osbuild itself has a defect: of `p`"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_sandbox_whose_inputs_are_lost_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let source = bench.local("x");
    bench.add("r:a", "join", "", vec![source]);
    let tools = bench.store.put_tree(&Tree::default()).expect("kept");
    let task = &mut bench.plan.tasks[0];
    task.command =
        Command::Sandbox { tools: Input::Tree(tools), argv: vec!["/bin/sh".to_owned()], env: Default::default() };
    let resolve = |input: &Input| match input {
        Input::File { digest, executable } => Ok(Node::File { digest: *digest, executable: *executable }),
        Input::Tree(tree) => Ok(Node::Folder(*tree)),
        Input::Output(_) => panic!("it has none"),
    };
    let action = Action::new(&bench.store, task, &resolve).expect("an action");
    bench.store.remove(&Digest::of(b"x"));
    assert!(matches!(Workshop::prepare(&bench.store, &action), Err(StoreError::Missing(_))));
    let left = crate::io::file::list(&bench.store.root().join("tmp")).expect("listed");
    assert!(left.is_empty(), "{left:?}");
}

/// Notes of this kind: `Started { task: "b" }` is one of `Started`.
fn tasks_of(notes: &[String], kind: &str) -> Vec<String> {
    let start = format!("{kind} {{ task: ");
    let rest = notes.iter().filter_map(|note| note.strip_prefix(&start));
    let mut tasks: Vec<String> = rest.filter_map(|rest| rest.split('"').nth(1).map(str::to_owned)).collect();
    tasks.sort();
    tasks
}

#[test]
fn what_has_been_started_has_exactly_one_end() {
    for step in ["fail", "panic"] {
        let mut bench = Bench::new();
        let source = bench.local("x");
        let done = bench.add("done", "join", "", vec![source]);
        let broken = bench.add("broken", step, "", vec![Input::Output(done)]);
        let other = bench.add("other", "join", "o", vec![]);
        let (result, notes) = bench.run(&[&broken, &other]);
        result.expect_err("a failure");
        let ends = ["Finished", "Failed", "Stopped"].map(|kind| tasks_of(&notes, kind));
        assert_eq!(ends[1], ["broken"], "{notes:?}");
        let mut ends = ends.concat();
        ends.sort();
        assert_eq!(ends, tasks_of(&notes, "Started"), "{notes:?}");
    }
}

#[test]
fn a_failure_does_not_wait_for_what_another_process_makes() {
    let mut bench = Bench::new();
    let awaited = bench.add("awaited", "join", "", vec![]);
    let digest = *bench.run(&[&awaited]).0.expect("done").action(0).expect("an action");
    bench.store.remove_action_result(&digest);
    let slow = bench.add("slow", "sleep", "", vec![]);
    let failed = bench.add("failed", "fail", "", vec![Input::Output(slow)]);
    // The lock is the kernel's: it does not matter that it is held in this process.
    let lock = bench.store.try_lock_action(&digest).expect("a lock");
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _held = lock.expect("free");
            std::thread::sleep(Duration::from_secs(12));
        });
        let (result, notes) = bench.run(&[&awaited, &failed]);
        assert!(matches!(result, Err(ExecError::Task { task, .. }) if task == "failed"), "{notes:?}");
        assert_eq!(tasks_of(&notes, "Waiting"), ["awaited"], "{notes:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "it waited for {:?}", start.elapsed());
    });
}
