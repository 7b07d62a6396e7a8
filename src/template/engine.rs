//! One template at a time through Tera, with every failure located in the text.
//!
//! Invariant: the engine of a thread holds at most the template being rendered.

use super::bounded::{Bounded, OUTPUT_BYTES};
use super::names::{self, Named, Uses};
use super::{cost, is_template, limits, Context, TemplateError};
use serde_json::Value;
use std::cell::RefCell;
use std::error::Error;

/// Tera's name of the template at hand; it ends in nothing that switches HTML escaping on.
const SLOT: &str = "template";
/// The functions that are pure and bounded.
const FUNCTIONS: [&str; 1] = ["throw"];

thread_local! {
    // Building an engine registers all filters, which costs more than rendering a short string.
    static ENGINE: RefCell<tera::Tera> = RefCell::new(tera::Tera::default());
}

/// Renders `text`; `name` is for messages, such as the project path of a rootfs template.
pub fn render(text: &str, name: &str, context: &Context) -> Result<String, TemplateError> {
    if !is_template(text) && !text.contains("{#") {
        return Ok(text.to_owned());
    }
    if let Some(done) = substitute(text, context) {
        return Ok(done);
    }
    let located = Located { text, name };
    if let Some((at, message)) = limits::exceeded(text) {
        return Err(located.error(located.place(at), message, None));
    }
    ENGINE.with_borrow_mut(|engine| {
        engine.add_raw_template(SLOT, text).map_err(|error| located.syntax(&error))?;
        if let Ok(template) = engine.get_template(SLOT) {
            located.check(&names::of(&template.ast), context)?;
            if let Some(excess) = cost::exceeded(&template.ast, context) {
                let place = excess.word.map_or((1, 1), |word| located.find(&word));
                return Err(located.error(place, excess.message, None));
            }
        }
        let mut output = Bounded::default();
        let result = engine.render_to(SLOT, &context.0, &mut output);
        if output.overflowed {
            return Err(located.error((1, 1), format!("the template gives more than {OUTPUT_BYTES} bytes"), None));
        }
        result.map_err(|error| located.runtime(&error))?;
        String::from_utf8(output.bytes).map_err(|error| located.error((1, 1), error.to_string(), None))
    })
}

/// The result when the template holds nothing but `{{ name }}` of text, integers and booleans, which
/// is most of them; none: ask Tera, which gives the same or the error.
fn substitute(text: &str, context: &Context) -> Option<String> {
    let mut done = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        done.push_str(&rest[..at]);
        rest = &rest[at..];
        match rest.as_bytes().get(1) {
            Some(b'{') => {
                let (name, after) = rest[2..].split_once("}}")?;
                let name = name.trim_matches(' ');
                let plain = |word: &str| {
                    word.starts_with(|c: char| c.is_ascii_alphabetic())
                        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                };
                if !name.split('.').all(plain) {
                    return None;
                }
                match lookup(&context.0, name.split('.'))? {
                    Value::String(value) => done.push_str(value),
                    Value::Number(value) if value.is_u64() => done.push_str(&value.to_string()),
                    Value::Bool(value) => done.push_str(if *value { "true" } else { "false" }),
                    _ => return None,
                }
                rest = after;
                // Whoever counts the bytes says so.
                if done.len() > OUTPUT_BYTES - text.len().min(OUTPUT_BYTES) {
                    return None;
                }
            }
            Some(b'%' | b'#') => return None,
            _ => {
                done.push('{');
                rest = &rest[1..];
            }
        }
    }
    done.push_str(rest);
    Some(done)
}

/// The value that `path` leads to.
fn lookup<'a, 'p>(context: &'a tera::Context, mut path: impl Iterator<Item = &'p str>) -> Option<&'a Value> {
    let mut value = context.get(path.next()?)?;
    for part in path {
        value = match value {
            Value::Object(fields) => fields.get(part)?,
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

struct Located<'a> {
    text: &'a str,
    name: &'a str,
}

impl Located<'_> {
    fn check(&self, uses: &Uses, context: &Context) -> Result<(), TemplateError> {
        if let Some(tag) = uses.foreign.first() {
            let help = "each template stands alone; put the text here".to_owned();
            return Err(self.error(self.find(tag), format!("`{tag}` is not available in templates"), Some(help)));
        }
        if let Some(function) = uses.functions.iter().find(|name| !FUNCTIONS.contains(&name.as_str())) {
            let message = format!("function `{function}` is not available in templates");
            return Err(self.error(self.find(function), message, Some("only `throw` is".to_owned())));
        }
        match uses.names.iter().find(|name| lookup(&context.0, name.path.iter().map(String::as_str)).is_none()) {
            Some(name) => Err(self.undefined(name, context)),
            None => Ok(()),
        }
    }

    /// Names the first step of `name` that is not there, and what is there instead.
    fn undefined(&self, name: &Named, context: &Context) -> TemplateError {
        let place = self.find(&name.text);
        let root = context.0.clone().into_json();
        let mut here = &root;
        let mut prefix = String::new();
        for part in &name.path {
            let next = match here {
                Value::Object(fields) => fields.get(part),
                Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(next) = next else {
                let known: Vec<&str> = here.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let help = match here {
                    Value::Object(_) | Value::Array(_) => suggest(part, &prefix, &known),
                    // The name before is a value: perhaps the field has a name of its own.
                    _ => {
                        let names: Vec<&str> =
                            root.as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
                        let value = format!("`{}` has no fields", prefix.trim_end_matches('.'));
                        Some(suggest(part, "", &names).map_or(value.clone(), |hint| format!("{value}; {hint}")))
                    }
                };
                return self.error(place, format!("`{prefix}{part}` is not defined"), help);
            };
            here = next;
            prefix = format!("{prefix}{part}.");
        }
        self.error(place, format!("`{}` is not defined", name.text), None)
    }

    fn syntax(&self, error: &tera::Error) -> TemplateError {
        let detail = deepest(error);
        // The grammar's report: ` --> LINE:COLUMN`, the line, then `= expected ...`.
        let place = detail.split("--> ").nth(1).and_then(|rest| {
            let (line, column) = rest.split_whitespace().next()?.split_once(':')?;
            Some((line.parse().ok()?, column.parse().ok()?))
        });
        let reason = detail.split("= ").nth(1).unwrap_or(&detail).trim().replace('\n', " ");
        let help = "write `{{ name }}`, `{% if name %}...{% endif %}`; literal braces go in `{% raw %}`".to_owned();
        self.error(place.unwrap_or((1, 1)), format!("the template cannot be read: {reason}"), Some(help))
    }

    fn runtime(&self, error: &tera::Error) -> TemplateError {
        let detail = deepest(error).replace(&format!(" while rendering '{SLOT}'"), "");
        let place = detail.split('`').nth(1).map_or((1, 1), |name| self.find(name));
        let mut message = detail;
        if let Some(first) = message.get(..1) {
            let lower = first.to_ascii_lowercase();
            message.replace_range(..1, &lower);
        }
        self.error(place, message.trim_end_matches('.').to_owned(), None)
    }

    fn error(&self, (line, column): (u32, u32), message: String, help: Option<String>) -> TemplateError {
        let source_line = self.text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default().to_owned();
        TemplateError { name: self.name.to_owned(), line, column, message, help, source_line }
    }

    /// Line and column of the first `word` inside a tag; the start when it is nowhere.
    fn find(&self, word: &str) -> (u32, u32) {
        let part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let inside = |at: usize| {
            let before = &self.text[..at];
            let open = before.rfind("{{").max(before.rfind("{%"));
            open.is_some() && open >= before.rfind("}}").max(before.rfind("%}"))
        };
        let whole = |at: usize| {
            let after = &self.text[at + word.len()..];
            !self.text[..at].ends_with(part) && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        };
        self.place(self.text.match_indices(word).map(|(at, _)| at).find(|&at| inside(at) && whole(at)).unwrap_or(0))
    }

    /// Line and column of a byte offset.
    fn place(&self, at: usize) -> (u32, u32) {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line as u32, column as u32)
    }
}

/// The innermost cause, which says what happened rather than that something did.
fn deepest(error: &tera::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn suggest(word: &str, prefix: &str, known: &[&str]) -> Option<String> {
    let distance = |name: &&&str| strsim::damerau_levenshtein(word, name);
    match known.iter().min_by_key(distance).filter(|name| distance(name) <= 1 + word.chars().count() / 3) {
        Some(near) => Some(format!("did you mean `{prefix}{near}`?")),
        None if known.is_empty() => None,
        None => {
            let names: Vec<String> = known.iter().take(12).map(|name| format!("`{prefix}{name}`")).collect();
            Some(format!("defined here: {}", names.join(", ")))
        }
    }
}
