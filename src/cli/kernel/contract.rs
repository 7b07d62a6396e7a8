//! A product and the name of a Kconfig recipe in; its checked configuration, and what it would be if more were
//! requested, out.
//!
//! Invariant: the configuration has passed the check of the build.

use crate::cli::project::Project;
use crate::cli::report::Failure;
use crate::cli::sandbox;
use crate::cli::session::{BuildArgs, Session};
use crate::config::diagnostic::suggest;
use crate::image::kconfig;
use crate::io::store::Node;
use crate::model::machine::Architecture;
use crate::model::recipe::{BuildClass, KconfigKind};
use crate::model::RelPath;
use crate::plan::class::{built_for, editing};
use crate::plan::kconfig::{without_modules, Configuration, Edit, FragmentError, Requested, Symbols};
use crate::plan::task::{Command, Input, OutputRef, Task, TaskId};
use std::collections::BTreeMap;

const LIMIT_BYTES: u64 = 4 << 20;

pub struct Contract {
    pub session: Session,
    /// The recipe's name.
    pub recipe: String,
    pub requested: Requested,
    pub symbols: Symbols,
    pub configuration: Configuration,
    kind: KconfigKind,
    architecture: Architecture,
}

impl Contract {
    /// Configures and checks `recipe`, or the product's kernel.
    pub fn open(
        project: Project,
        product: Option<&str>,
        recipe: Option<&str>,
        build: &BuildArgs,
    ) -> Result<Contract, Failure> {
        let session = Session::open(project, product, &BTreeMap::new(), build)?;
        let recipe = recipe.unwrap_or(session.config.machine.kernel.as_str()).to_owned();
        let (kind, architecture) = kind(&session, &recipe)?;
        session.run(&[config_output(&session, &recipe, "check")?])?;
        let task = task(&session, &recipe, "check")?.1;
        let Command::Step { parameters, .. } = &task.command else {
            return Err(Failure::new(format!("`{}` is not a step of osbuild", task.name)));
        };
        let inputs = sandbox::action(&session, task)?.input_root;
        let contract = kconfig::Contract::read(&session.store, &inputs, parameters)?;
        let kconfig::Contract { requested, symbols, configuration, .. } = contract;
        Ok(Contract { session, recipe, requested, symbols, configuration, kind, architecture })
    }

    /// The configuration that the build would make of `requested`.
    pub fn configured(&mut self, requested: &Requested) -> Result<Configuration, Failure> {
        let task = editing::reconfigured(self.configure_task()?, self.kind, self.architecture, requested);
        self.session.plan.tasks.push(task);
        let last = TaskId(self.session.plan.tasks.len() - 1);
        let goal = OutputRef { task: last, output: path("config"), below: None };
        let outcome = self.session.run(std::slice::from_ref(&goal))?;
        let node = outcome.output(&self.session.store, &self.session.plan, &goal)?;
        self.parsed(&node)
    }

    /// The task that a person edits the checked configuration in.
    pub fn editor(&self) -> Result<Task, Failure> {
        let checked = Input::Output(config_output(&self.session, &self.recipe, "check")?);
        let goal = self.session.plan.goals.get(&editing::editor_goal(&self.recipe)).cloned();
        let tools = goal.ok_or_else(|| {
            let tree = editing::EDITOR_TREE;
            let help = format!("add `layers/LAYER/tools/{tree}.yaml` with the package `libncurses-dev`");
            Failure::new(format!("no layer has the tool tree `{tree}`, which the editor needs")).help(help)
        })?;
        Ok(editing::edited(self.configure_task()?, self.kind, self.architecture, checked, Input::Output(tools)))
    }

    /// A `.config` in the store.
    pub fn parsed(&self, node: &Node) -> Result<Configuration, Failure> {
        let Node::File { digest, .. } = node else { return Err(Failure::new("the configuration is not a file")) };
        let text = self.session.store.read(digest, LIMIT_BYTES)?;
        Ok(Configuration::parse(&String::from_utf8_lossy(&text)))
    }

    /// What of `edit` no build would take, because nothing brings modules to the device.
    pub fn modules(&self, edit: &Edit) -> Vec<FragmentError> {
        match self.kind {
            KconfigKind::Linux => without_modules(edit.requested()).err().unwrap_or_default(),
            KconfigKind::Busybox => Vec::new(),
        }
    }

    fn configure_task(&self) -> Result<&Task, Failure> {
        Ok(task(&self.session, &self.recipe, "config")?.1)
    }
}

/// What kind of Kconfig project `recipe` is, and what it is built for.
fn kind(session: &Session, recipe: &str) -> Result<(KconfigKind, Architecture), Failure> {
    let machine = session.config.machine.architecture;
    let kinds: BTreeMap<&str, (KconfigKind, Architecture)> = session
        .config
        .recipes
        .iter()
        .filter_map(|(name, recipe)| match recipe.class {
            BuildClass::Kernel { kind, .. } => Some((name.as_str(), (kind, built_for(recipe, machine)))),
            _ => None,
        })
        .collect();
    kinds.get(recipe).copied().ok_or_else(|| {
        let names: Vec<&str> = kinds.keys().copied().collect();
        let help = suggest(recipe, names.iter().copied()).unwrap_or_else(|| format!("there are: {}", names.join(", ")));
        Failure::new(format!("there is no recipe `{recipe}` of class kernel")).help(help)
    })
}

fn task<'a>(session: &'a Session, recipe: &str, step: &str) -> Result<(TaskId, &'a Task), Failure> {
    let name = format!("{recipe}:{step}");
    let mut tasks = session.plan.tasks.iter().enumerate();
    let found = tasks.find(|(_, task)| task.name == name);
    found.map(|(index, task)| (TaskId(index), task)).ok_or_else(|| Failure::new(format!("there is no task `{name}`")))
}

/// The configuration file that `RECIPE:STEP` leaves.
fn config_output(session: &Session, recipe: &str, step: &str) -> Result<OutputRef, Failure> {
    Ok(OutputRef { task: task(session, recipe, step)?.0, output: path("config"), below: None })
}

fn path(name: &str) -> RelPath {
    RelPath::new(name).expect("outputs named in this program are valid")
}
