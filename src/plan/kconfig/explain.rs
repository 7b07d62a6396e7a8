//! An option that is not as requested in, the dependency that blocked it out.
//!
//! Invariant: an explanation names a line of a Kconfig file, or says that none decides.

use super::expression::{Expression, Tristate};
use super::symbols::{Definition, Selection, Symbol, Symbols};
use super::{Configuration, Value};

/// More than this many dependencies are fixed one after the other anyway.
const BLOCKERS: usize = 4;

/// Why `name` is not `wanted`, in one clause.
pub(super) fn explain(name: &str, wanted: &Value, symbols: &Symbols, configuration: &Configuration) -> String {
    let Some(symbol) = symbols.by_name.get(name) else { return "no Kconfig file defines it".to_owned() };
    if *wanted == Value::No {
        return forced(name, symbol, configuration);
    }
    let prompts: Vec<&Definition> = symbol.definitions.iter().filter(|definition| definition.prompt).collect();
    let Some(first) = prompts.first() else { return unasked(name, symbol, configuration) };
    let wanted_text = matches!(wanted, Value::Text(_));
    let wanted = if *wanted == Value::Module { Tristate::Module } else { Tristate::Yes };
    let blockers: Vec<String> =
        prompts.iter().filter_map(|definition| blocker(name, definition, wanted, configuration)).collect();
    if blockers.len() == prompts.len() {
        return blockers.into_iter().next().unwrap_or_default();
    }
    let members = prompts.iter().filter_map(|definition| symbols.choices.get(definition.choice?));
    for choice in members {
        let chosen = choice.members.iter().find(|member| *configuration.get(member) == Value::Yes);
        if let Some(chosen) = chosen.filter(|chosen| *chosen != name) {
            return format!("it is one of a choice ({}), of which `CONFIG_{chosen}` is set", choice.place);
        }
    }
    let refused = match wanted_text {
        true => "so its type or its range refuses the value",
        false => "so a check of the compiler, or another option, decides",
    };
    format!("its dependencies hold ({}), {refused}", first.place)
}

/// Whether a person, or a fragment, can choose the value of `name`: it is asked for, and nothing selects it.
pub(super) fn can_be_chosen(name: &str, symbols: &Symbols, configuration: &Configuration) -> bool {
    let Some(symbol) = symbols.by_name.get(name) else { return false };
    let mut prompts = symbol.definitions.iter().filter(|definition| definition.prompt);
    prompts.any(|definition| blocker(name, definition, Tristate::Module, configuration).is_none())
        && selection(symbol, configuration).is_none()
}

/// What sets the option, whatever is requested.
fn selection<'a>(symbol: &'a Symbol, configuration: &Configuration) -> Option<&'a Selection> {
    symbol.selected_by.iter().find(|selection| {
        let condition = selection.condition.as_ref().map_or(Tristate::Yes, |c| c.evaluate(configuration));
        condition != Tristate::No && *configuration.get(&selection.by) != Value::No
    })
}

/// The dependencies of `definition` that are below `wanted`, the nearest first; none when all of them hold.
fn blocker(name: &str, definition: &Definition, wanted: Tristate, configuration: &Configuration) -> Option<String> {
    let mut unmet: Vec<String> = Vec::new();
    for dependency in &definition.dependencies {
        let parts = dependency.expression.conjuncts();
        for part in parts.iter().filter(|part| part.evaluate(configuration) < wanted) {
            let part = format!("`{part}` ({}), and {}", dependency.place, values(part, configuration));
            // Enclosing blocks often repeat a condition; the first words are enough to tell.
            let condition = part.split(" (").next();
            if !unmet.iter().any(|known| known.split(" (").next() == condition) {
                unmet.push(part);
            }
        }
    }
    unmet.truncate(BLOCKERS);
    (!unmet.is_empty()).then(|| format!("`CONFIG_{name}` depends on {}", unmet.join("; on ")))
}

/// `A is: n, B is: y`, for each option of the expression.
fn values(expression: &Expression, configuration: &Configuration) -> String {
    let mut symbols = expression.symbols();
    symbols.dedup();
    if symbols.is_empty() {
        return "that is: n".to_owned();
    }
    let one = |name: &&str| format!("`{name}` is: {}", configuration.get(name));
    symbols.iter().take(6).map(one).collect::<Vec<_>>().join(", ")
}

/// Why an option without a prompt cannot be requested.
fn unasked(name: &str, symbol: &Symbol, configuration: &Configuration) -> String {
    if symbol.selected_by.is_empty() {
        return format!("`CONFIG_{name}` has no prompt: its defaults alone decide");
    }
    let idle = |selection: &Selection| idle(selection, configuration);
    let names: Vec<String> = symbol.selected_by.iter().filter_map(idle).take(BLOCKERS).collect();
    format!("`CONFIG_{name}` has no prompt: options that select it are {}", names.join(", "))
}

/// A selection that does nothing, and why: its option is off, or its condition does not hold.
fn idle(selection: &Selection, configuration: &Configuration) -> Option<String> {
    let named = format!("`{}` ({})", selection.by, selection.place);
    if *configuration.get(&selection.by) == Value::No {
        return Some(named);
    }
    let condition = selection.condition.as_ref().filter(|c| c.evaluate(configuration) == Tristate::No)?;
    Some(format!("{named} if `{condition}`, and {}", values(condition, configuration)))
}

/// Why an option is set although nobody wanted it.
fn forced(name: &str, symbol: &Symbol, configuration: &Configuration) -> String {
    match (selection(symbol, configuration), symbol.definitions.first()) {
        (Some(selection), _) => format!("`CONFIG_{}` selects it ({})", selection.by, selection.place),
        (None, Some(definition)) => {
            let hidden = symbol.definitions.iter().filter(|d| d.prompt);
            let hidden: Vec<String> =
                hidden.filter_map(|d| blocker(name, d, Tristate::Module, configuration)).collect();
            match hidden.into_iter().next() {
                Some(why) => format!("its default sets it where it cannot be asked for: {why}"),
                None => format!("its default sets it ({})", definition.place),
            }
        }
        (None, None) => "no Kconfig file defines it".to_owned(),
    }
}
