//! A task whose inputs are known in, its Remote Execution API v2 action out.
//!
//! Invariant: the action's digest covers everything that the task can see, and nothing of this host.

use super::error::TaskError;
use super::step::Outputs;
use crate::io::store::{from_message, to_message, Node, Store, StoreError, TreeBuilder};
use crate::model::{Digest, RelPath};
use crate::plan::task::{Command, Input, OutputRef, Plan, Task};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use reapi::command::{EnvironmentVariable, OutputDirectoryFormat};
use std::collections::BTreeMap;

/// What each task's environment starts from.
pub const BASE_ENV: [(&str, &str); 4] =
    [("HOME", "/nonexistent"), ("LC_ALL", "C.UTF-8"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("TZ", "UTC")];
/// Raised when the sandbox shows its tasks something else than before.
const SANDBOX_VERSION: &str = "1";

/// A task that can be looked up, and run.
#[derive(Clone, Debug)]
pub struct Action {
    pub digest: Digest,
    pub input_root: Digest,
    /// Root of the tool tree; none for steps of osbuild itself.
    pub tools: Option<Digest>,
    messages: [Vec<u8>; 2],
}

impl Action {
    pub fn new(
        store: &Store,
        task: &Task,
        resolve: &dyn Fn(&Input) -> Result<Node, TaskError>,
    ) -> Result<Action, TaskError> {
        let mut builder = TreeBuilder::new();
        for input in &task.inputs {
            match (&input.path, resolve(&input.source)?) {
                (Some(path), node) => builder.insert(path, node)?,
                (None, Node::Folder(tree)) => builder.insert_tree(None, tree)?,
                (None, _) => return Err(StoreError::Conflict { path: ".".into() }.into()),
            }
        }
        let input_root = builder.finish(store)?;
        let tools = match &task.command {
            Command::Step { .. } => None,
            Command::Sandbox { tools, .. } => match resolve(tools)? {
                Node::Folder(tree) => Some(tree),
                _ => return Err(StoreError::Conflict { path: "/".into() }.into()),
            },
        };
        let command = command(task, tools.as_ref()).encode_to_vec();
        let action = reapi::Action {
            command_digest: Some(to_message(&Digest::of(&command))),
            input_root_digest: Some(to_message(&input_root)),
            platform: Some(platform(tools.as_ref())),
            ..Default::default()
        };
        let action = action.encode_to_vec();
        Ok(Action { digest: Digest::of(&action), input_root, tools, messages: [command, action] })
    }

    /// What tells its files from those of other actions of the same task: 16 hex digits.
    pub fn key(&self) -> String {
        self.digest.hex()[..16].to_owned()
    }

    /// Keeps the messages, as a REAPI server would want them before it executes.
    pub fn store(&self, store: &Store) -> Result<(), StoreError> {
        self.messages.iter().try_for_each(|message| store.put_bytes(message).map(drop))
    }
}

fn command(task: &Task, tools: Option<&Digest>) -> reapi::Command {
    let mut output_paths: Vec<String> = task.outputs.iter().map(ToString::to_string).collect();
    // The specification wants them sorted (Command.output_paths).
    output_paths.sort();
    let variable = |(name, value): (&str, &str)| EnvironmentVariable { name: name.into(), value: value.into() };
    let environment_variables = environment(task).iter().map(|(name, value)| variable((name, value))).collect();
    // A worker of an earlier version of the interface reads the platform here.
    #[allow(deprecated)]
    let command = reapi::Command {
        arguments: arguments(task),
        environment_variables,
        output_paths,
        platform: Some(platform(tools)),
        output_directory_format: OutputDirectoryFormat::DirectoryOnly as i32,
        ..Default::default()
    };
    command
}

/// The tool tree is what a container image is to other workers: a property of the platform.
fn platform(tools: Option<&Digest>) -> reapi::Platform {
    let property = |name: &str, value: String| reapi::platform::Property { name: name.into(), value };
    let mut properties = vec![property("osbuild-sandbox", SANDBOX_VERSION.into())];
    properties.extend(tools.map(|tools| property("osbuild-tool-tree", tools.to_string())));
    reapi::Platform { properties }
}

/// The words of the command; a step's are `osbuild-step NAME VERSION PARAMETERS`.
pub fn arguments(task: &Task) -> Vec<String> {
    match &task.command {
        Command::Sandbox { argv, .. } => argv.clone(),
        Command::Step { kind, parameters } => {
            vec!["osbuild-step".to_owned(), kind.name.to_owned(), kind.version.to_string(), parameters.clone()]
        }
    }
}

/// The whole environment of the task, sorted by name.
pub fn environment(task: &Task) -> BTreeMap<&str, &str> {
    match &task.command {
        Command::Step { .. } => BTreeMap::new(),
        Command::Sandbox { env, .. } => {
            BASE_ENV.into_iter().chain(env.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
        }
    }
}

/// What `reference` points at, given what its task left.
pub fn output_node(
    store: &Store,
    plan: &Plan,
    reference: &OutputRef,
    outputs: Option<&Outputs>,
) -> Result<Node, TaskError> {
    let task = &plan.tasks[reference.task.0];
    let missing = |path: &RelPath| TaskError::NoInput { path: path.clone(), from: task.name.clone() };
    let node = outputs.and_then(|outputs| outputs.get(&reference.output)).ok_or_else(|| missing(&reference.output))?;
    match (&reference.below, node) {
        (None, node) => Ok(node.clone()),
        (Some(below), Node::Folder(tree)) => store.lookup(tree, below)?.ok_or_else(|| missing(below)),
        (Some(below), _) => Err(missing(below)),
    }
}

/// A task's outputs as the result message that the action cache keeps.
pub fn to_result(outputs: &Outputs, log: Option<Digest>) -> reapi::ActionResult {
    let mut result = reapi::ActionResult { stdout_digest: log.as_ref().map(to_message), ..Default::default() };
    for (path, node) in outputs {
        let path = path.to_string();
        match node {
            Node::File { digest, executable } => result.output_files.push(reapi::OutputFile {
                path,
                digest: Some(to_message(digest)),
                is_executable: *executable,
                ..Default::default()
            }),
            Node::Folder(digest) => result.output_directories.push(reapi::OutputDirectory {
                path,
                root_directory_digest: Some(to_message(digest)),
                ..Default::default()
            }),
            Node::Symlink { target } => {
                result.output_symlinks.push(reapi::OutputSymlink { path, target: target.clone(), ..Default::default() })
            }
        }
    }
    result
}

/// The outputs that a result names; none unless the store has the first blob of each.
pub fn from_result(store: &Store, result: &reapi::ActionResult) -> Option<Outputs> {
    let mut outputs = Outputs::new();
    for file in &result.output_files {
        let digest = from_message(file.digest.as_ref()).filter(|digest| store.has(digest))?;
        outputs.insert(RelPath::new(&file.path).ok()?, Node::File { digest, executable: file.is_executable });
    }
    for folder in &result.output_directories {
        let digest = from_message(folder.root_directory_digest.as_ref()).filter(|digest| store.has(digest))?;
        outputs.insert(RelPath::new(&folder.path).ok()?, Node::Folder(digest));
    }
    for link in &result.output_symlinks {
        outputs.insert(RelPath::new(&link.path).ok()?, Node::Symlink { target: link.target.clone() });
    }
    Some(outputs)
}
