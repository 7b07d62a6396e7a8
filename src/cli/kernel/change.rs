//! `osbuild kernel menuconfig|set`: an edit of the checked configuration in, a fragment with the changed options out.
//!
//! The fragment goes to standard output, everything that is said about it to standard error.
//! Invariant: a build with the fragment, and without the requests named as conflicts, has every option as edited, or
//! is said not to.

use super::contract::Contract;
use super::EditArgs;
use crate::cli::project::Project;
use crate::cli::report::Failure;
use crate::cli::{sandbox, terminal};
use crate::exec::local::Workshop;
use crate::plan::class::editing;
use crate::plan::kconfig::{self, assignment, diff, Change, Configuration, Edit, Settings, Unmet};
use crate::plan::task::Command;
use std::collections::BTreeSet;

/// Opens the editor; the user's terminal is its screen.
pub fn menuconfig(project: Project, product: Option<&str>, args: &EditArgs) -> Result<(), Failure> {
    if !terminal::is_here() {
        let help = "run it in a terminal, or use `osbuild kernel set CONFIG_NAME=VALUE`";
        return Err(Failure::new("the editor needs a terminal, but standard input or error is none").help(help));
    }
    let mut contract = Contract::open(project, product, args.recipe.as_deref(), &args.build)?;
    let after = edited(&contract)?;
    let edit = Edit::by_hand(&contract.configuration, &after, &contract.requested, &contract.symbols);
    if edit.is_empty() {
        eprintln!("{}: nothing was changed", contract.recipe);
        return Ok(());
    }
    let edit = settled(&mut contract, edit, &after)?;
    report(&contract, &edit, args)
}

/// What the user leaves in the editor.
fn edited(contract: &Contract) -> Result<Configuration, Failure> {
    let session = &contract.session;
    let task = contract.editor()?;
    let action = sandbox::action(session, &task)?;
    let workshop = Workshop::prepare(&session.store, &action)?;
    let argv = match &task.command {
        Command::Sandbox { argv, .. } => argv.clone(),
        Command::Step { .. } => Vec::new(),
    };
    let ended = sandbox::run(session, &workshop, &task, argv).and_then(|status| match status.success() {
        true => Ok(workshop.collect(&session.store, &task.outputs)?),
        false => Err(Failure::new(format!("the editor of `{}` failed: {status}", contract.recipe)).help(
            "its message is above; it needs a window of 80 by 19 characters, and a terminal that can be drawn on",
        )),
    });
    workshop.remove();
    let outputs = ended?;
    let node = outputs.into_values().next();
    contract.parsed(&node.ok_or_else(|| Failure::new(format!("the editor left no `{}`", editing::EDITED)))?)
}

/// Configures with the edit, as a build would, and adds what was changed and does not follow by itself.
///
/// What the editor left alone may still go: an option that only something else had selected keeps its value there.
fn settled(contract: &mut Contract, mut edit: Edit, after: &Configuration) -> Result<Edit, Failure> {
    let changes = diff(&contract.configuration, after);
    let changed: BTreeSet<&str> = changes.iter().map(Change::name).collect();
    let mut built = contract.configured(&edit.applied_to(&contract.requested))?;
    for with_the_rest in [false, true] {
        let missing = diff(&built, after);
        if !missing.iter().any(|change| changed.contains(change.name())) {
            break;
        }
        let wanted = missing.iter().filter(|change| with_the_rest || changed.contains(change.name()));
        edit.take(wanted, after, &contract.symbols);
        built = contract.configured(&edit.applied_to(&contract.requested))?;
    }
    for change in diff(after, &built).iter().filter(|change| changed.contains(change.name())) {
        eprintln!("note: no fragment can request what the editor left; in a build {change}");
    }
    Ok(Edit::of(edit.settings, &contract.configuration, &built, &contract.requested))
}

/// Sets options as a fragment would.
pub fn set(project: Project, options: &[String], product: Option<&str>, args: &EditArgs) -> Result<(), Failure> {
    let settings = options.iter().map(|word| {
        assignment(word).ok_or_else(|| {
            let help = "write `CONFIG_NAME=VALUE`; values are y, m, n, a number or a quoted string, as in '\"text\"'";
            Failure { exit: 2, ..Failure::new(format!("`{word}` does not set an option")).help(help) }
        })
    });
    let settings = settings.collect::<Result<Settings, Failure>>()?;
    let mut contract = Contract::open(project, product, args.recipe.as_deref(), &args.build)?;
    let alone = Edit { settings: settings.clone(), ..Edit::default() };
    if let Some(error) = contract.modules(&alone).first() {
        return Err(Failure::new(error.message()).help(error.help()));
    }
    let after = contract.configured(&alone.applied_to(&contract.requested))?;
    kconfig::check(&alone.requested(), &after, &[], &contract.symbols).map_err(refused)?;
    let edit = Edit::of(settings, &contract.configuration, &after, &contract.requested);
    report(&contract, &edit, args)
}

fn refused(unmet: Vec<Unmet>) -> Failure {
    let lines: Vec<String> = unmet
        .into_iter()
        .map(|unmet| match unmet.help {
            Some(help) if unmet.message.starts_with("no such") => format!("{}\n  help: {help}", unmet.message),
            _ => unmet.message,
        })
        .collect();
    let failure = Failure::new(lines.join("\n"));
    match lines.iter().any(|line| !line.starts_with("no such")) {
        true => failure.help("set what it depends on in the same command"),
        false => failure,
    }
}

/// The fragment to standard output; what follows from it, what it contradicts and where it went to standard error.
fn report(contract: &Contract, edit: &Edit, args: &EditArgs) -> Result<(), Failure> {
    print!("{}", edit.fragment());
    if !edit.follows.is_empty() {
        eprintln!("by themselves follow:");
        edit.follows.iter().for_each(|change| eprintln!("  {change}"));
    }
    let file = args.save.as_ref().map(super::FragmentFile::path);
    let mut conflicts = edit.conflicts_outside(file.as_deref()).peekable();
    let any = conflicts.peek().is_some();
    conflicts.for_each(|conflict| eprintln!("conflict: {conflict}"));
    if any {
        eprintln!("  help: change or remove these lines, or the fragments contradict each other");
    }
    for error in contract.modules(edit) {
        eprintln!("conflict: {}\n  help: {}", error.message(), error.help());
    }
    match &args.save {
        Some(file) => file.save(&contract.session, &contract.recipe, edit),
        None => Ok(()),
    }
}
