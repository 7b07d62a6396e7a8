//! A project and a product's name in; its configuration, its plan, and the means to run it, out.
//!
//! Invariant: a session holds the cache's lock of use from its first to its last read.

use super::interrupt::{self, Interruption};
use super::project::Project;
use super::report::Failure;
use super::{keys, progress, steps};
use crate::config::{self, lock, Config, Diagnostic};
use crate::exec::step::StepRegistry;
use crate::exec::{self, Environment, ExecError, Outcome};
use crate::image::erofs::{Layout, LIMIT_LAYOUT_BYTES};
use crate::io::file;
use crate::io::store::{Store, StoreError, StoreLock};
use crate::model::lock::Lock;
use crate::model::{Digest, Origin};
use crate::plan::task::{OutputRef, Plan};
use crate::plan::{self, LocalInputs};
use crate::tools::fetch::{FetchOptions, Fetcher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// After which the user is told what is waited for.
const PATIENT_ATTEMPTS: u64 = 20;
const PAUSE: Duration = Duration::from_millis(50);
pub const LOCK_FILE: &str = "osbuild.lock";

/// What every command that builds understands.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BuildArgs {
    /// Tasks and processors to use; all of them unless told
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
    /// Never touch the network
    #[arg(long)]
    pub offline: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub progress: progress::Style,
    /// The same as `--progress json`
    #[arg(long, conflicts_with = "progress")]
    pub json: bool,
}

impl BuildArgs {
    fn style(&self) -> progress::Style {
        match self.json {
            true => progress::Style::Json,
            false => self.progress,
        }
    }
}

pub struct Session {
    pub project: Project,
    pub store: Store,
    pub config: Config,
    pub plan: Plan,
    local: LocalInputs,
    args: BuildArgs,
    fetcher: Fetcher,
    steps: StepRegistry,
    interruption: Interruption,
    _in_use: StoreLock,
}

impl Session {
    /// Loads and plans; `variables` replace those of the product, and so do the project's signers where it names none.
    pub fn open(
        project: Project,
        product: Option<&str>,
        variables: &BTreeMap<String, String>,
        args: &BuildArgs,
    ) -> Result<Session, Failure> {
        let mut config = config::load_with(&project.root, product, variables)?;
        let signers = keys::signer_variables(&project, &config.product.variables)?;
        if !signers.is_empty() {
            let variables = variables.clone().into_iter().chain(signers).collect();
            config = config::load_with(&project.root, product, &variables)?;
        }
        let lock = read_lock(&project)?;
        let jobs = limit_processors(args.jobs)?;
        let (store, in_use) = open_store(&project)?;
        let mut local = LocalInputs::default();
        for path in plan::local::paths(&config) {
            let place = project.root.join(path.as_str());
            // What is missing is reported by the plan, with the line that names it.
            if place.exists() {
                local.set_id.extend(file::set_id_below(&place, &path));
                local.nodes.insert(path, store.ingest_node(&place, false)?);
            }
        }
        let plan = make_plan(&project, &config, &lock, &local)?;
        let fetcher = fetcher(&project, args.offline);
        let args = BuildArgs { jobs: Some(jobs), ..args.clone() };
        let (steps, interruption) = (steps::registry(), Interruption::watch()?);
        Ok(Session { project, store, config, plan, local, args, fetcher, steps, interruption, _in_use: in_use })
    }

    /// The same, with the files of the product's root where `layout`, in the store, wants them.
    pub fn with_layout(mut self, layout: Digest) -> Result<Session, Failure> {
        self.local.layout = Some(layout);
        self.plan = make_plan(&self.project, &self.config, &read_lock(&self.project)?, &self.local)?;
        Ok(self)
    }

    /// Where the files of the product's root are to lie, when the plan says so.
    pub fn layout(&self) -> Result<Option<Layout>, Failure> {
        let Some(digest) = &self.local.layout else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&self.store.read(digest, LIMIT_LAYOUT_BYTES)?)?))
    }

    /// Runs what `goals` need; a failure points at the line that caused the task.
    pub fn run(&self, goals: &[OutputRef]) -> Result<Outcome, Failure> {
        let logs = self.logs()?;
        let observer = progress::Progress::new(self.args.style());
        let environment = Environment {
            store: &self.store,
            fetcher: &self.fetcher,
            steps: &self.steps,
            jobs: self.args.jobs.unwrap_or(1),
            observer: &observer,
            logs: &logs,
            interrupted: self.interruption.flag(),
        };
        let result = self.interruption.guard(|| exec::run(&self.plan, goals, &environment));
        observer.finish();
        result.map_err(|error| self.failure(error))
    }

    pub fn logs(&self) -> Result<PathBuf, Failure> {
        Ok(self.project.out("logs")?)
    }

    /// Whether the user wants to stop.
    pub fn interrupted(&self) -> bool {
        self.interruption.flag().load(Ordering::Relaxed)
    }

    /// What becomes true when the user wants to stop.
    pub fn wish_to_stop(&self) -> Arc<AtomicBool> {
        Arc::clone(self.interruption.flag())
    }

    /// Does `work`, which looks at the wish; the process ends when it does not come back soon after.
    pub fn guard<T>(&self, work: impl FnOnce() -> T) -> T {
        self.interruption.guard(work)
    }

    /// The goal of that name, or a message that names the ones there are.
    pub fn goal(&self, name: &str) -> Result<&OutputRef, Failure> {
        self.plan.goals.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.plan.goals.keys().map(String::as_str).filter(|g| !g.contains(':')).collect();
            let help = match config::diagnostic::suggest(name, known.iter().copied()) {
                Some(hint) => hint,
                None => format!("there are: {}", known.join(", ")),
            };
            Failure::new(format!("there is no recipe `{name}`")).help(help)
        })
    }

    fn failure(&self, error: ExecError) -> Failure {
        match error {
            ExecError::Interrupted => Failure { exit: interrupt::EXIT, ..Failure::from(error) },
            ExecError::Fetch { origin, cause } => {
                let help = cause.help();
                let failure = Failure::from(*cause);
                explain(&self.project, origin.as_ref(), failure.message, help.or(failure.help))
            }
            ExecError::Task { task, origin, cause } => {
                let shell =
                    cause.left_a_sandbox().then(|| format!("`osbuild shell {task}` opens a shell where it ran"));
                let help = cause.help(self.store.root());
                let failure = Failure::from(*cause);
                let message = format!("task `{task}` failed: {}", failure.message);
                explain(&self.project, Some(&origin), message, help.or(failure.help).or(shell))
            }
            other => other.into(),
        }
    }
}

fn make_plan(project: &Project, config: &Config, lock: &Lock, local: &LocalInputs) -> Result<Plan, Failure> {
    plan::plan(config, lock, local).map_err(|problems| {
        let diagnostics = problems
            .into_iter()
            .map(|problem| Diagnostic::at(&problem.origin, problem.message).maybe_help(problem.help))
            .collect();
        Failure::from(config::explain(&project.root, diagnostics))
    })
}

/// Shows the line of the configuration that is behind a failure.
pub fn explain(project: &Project, origin: Option<&Origin>, message: String, help: Option<String>) -> Failure {
    let diagnostic = match origin {
        Some(origin) => Diagnostic::at(origin, message),
        None => Diagnostic::nowhere(message),
    };
    config::explain(&project.root, vec![diagnostic.maybe_help(help)]).into()
}

/// The lock file's content; none yet is an error that says how to make it.
pub fn read_lock(project: &Project) -> Result<Lock, Failure> {
    let path = project.root.join(LOCK_FILE);
    if !path.exists() {
        return Err(Failure::new(format!("`{LOCK_FILE}` does not exist")).help("run `osbuild lock`"));
    }
    Ok(lock::parse(&file::read_text(&path)?, LOCK_FILE)?)
}

pub fn fetcher(project: &Project, offline: bool) -> Fetcher {
    let project_mirror = std::env::var("OSBUILD_MIRROR").ok().filter(|mirror| !mirror.is_empty());
    Fetcher::new(FetchOptions { offline, project_mirror, ..FetchOptions::new(&project.root) })
}

/// Opens the cache; when nobody else uses it, first removes what interrupted processes left.
pub fn open_store(project: &Project) -> Result<(Store, StoreLock), Failure> {
    let store = project.store()?;
    if let Ok(Some(_alone)) = store.try_lock_whole() {
        recover(&store)?;
        // In a cache that cannot be written it stays; whatever has to be written there says so itself.
        let _ = store.remove_scratch();
    }
    let lock = wait_for_use(&store, &project.cache)?;
    Ok((store, lock))
}

/// Another process that is just starting holds the cache for a moment; one that sweeps or checks all of it, longer.
fn wait_for_use(store: &Store, cache: &Path) -> Result<StoreLock, StoreError> {
    let mut attempts = 0_u64;
    loop {
        if let Some(lock) = store.try_lock_use()? {
            return Ok(lock);
        }
        attempts += 1;
        if attempts == PATIENT_ATTEMPTS {
            eprintln!("the cache at `{}` is being swept or checked by another osbuild; waiting", cache.display());
        }
        std::thread::sleep(PAUSE);
    }
}

/// For who is alone with the cache: what a power cut left is put right before anything is read.
pub fn recover(store: &Store) -> Result<(), StoreError> {
    if store.was_cut_off()? {
        eprintln!("the machine stopped while the cache was written to: reading all of it once");
    }
    store.recover()
}

/// Restricts this process, and so every task's `nproc`, to `jobs` processors.
fn limit_processors(jobs: Option<usize>) -> Result<usize, Failure> {
    let present = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(jobs) = jobs else { return Ok(present) };
    if jobs == 0 {
        return Err(Failure::new("`--jobs 0` would never finish").help("give at least 1"));
    }
    let failed = |error: rustix::io::Errno| Failure::new(format!("cannot limit the processors: {error}"));
    let all = rustix::thread::sched_getaffinity(None).map_err(failed)?;
    let mut chosen = rustix::thread::CpuSet::new();
    let usable = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).take(jobs);
    usable.for_each(|cpu| chosen.set(cpu));
    rustix::thread::sched_setaffinity(None, &chosen).map_err(failed)?;
    Ok(jobs)
}
