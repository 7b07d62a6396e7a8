//! A parsed template and its context in, a problem out when rendering could take without end.
//!
//! Tera has no limits of its own: a text that is set to twice itself again and again, filters that repeat, and
//! loops in loops take any time and memory. Each value is followed as what it may be at most: some values of
//! the context, or anything of a size. Invariant: nothing is rendered here, and what passes takes at most
//! `WORK` bytes and steps and holds no value larger than `VALUE_BYTES`.

use super::path::{steps, Step};
use super::Context;
use serde_json::Value;
use std::collections::BTreeMap;
use tera::ast::{Expr, ExprVal, Forloop, FunctionCall, Node};

/// Of one value.
const VALUE_BYTES: u64 = 4 << 20;
/// Bytes handled in all.
const WORK: u64 = 1 << 28;
/// What a step costs beside the bytes it handles.
const STEP: u64 = 64;
/// Loops in loops.
const LOOPS: usize = 4;
/// Rounds of a loop after which what it sets must not change any more.
const ROUNDS: usize = 3;
/// A number or a boolean as text, or the overhead of an item.
const SCALAR_BYTES: u64 = 32;
/// No filter makes more of a byte, but for those that repeat an argument.
const FILTER_GROWTH: u64 = 16;

/// What is wrong; the word to point at, if one is to blame.
pub(super) struct Excess {
    pub word: Option<String>,
    pub message: String,
}

/// The first thing in `nodes` that has no bound.
pub(super) fn exceeded(nodes: &[Node], context: &Context) -> Option<Excess> {
    let mut cost = Cost { context, scopes: vec![BTreeMap::new()], times: 1, work: 0, excess: None };
    cost.nodes(nodes);
    cost.excess
}

#[derive(Clone)]
enum Size<'a> {
    /// One of these values of the context.
    Among(Vec<&'a Value>),
    AtMost(u64),
}

impl<'a> Size<'a> {
    fn bytes(&self) -> u64 {
        match self {
            Size::Among(values) => values.iter().map(|value| bytes(value)).max().unwrap_or(0),
            Size::AtMost(bytes) => *bytes,
        }
    }

    /// How often a loop over it runs, and what the loop's variable may be.
    fn items(&self) -> (u64, Size<'a>) {
        let Size::Among(values) = self else { return (self.bytes() + 1, self.clone()) };
        let mut most = 0;
        let mut items = Vec::new();
        for value in values {
            let before = items.len();
            match value {
                Value::Array(list) => items.extend(list),
                Value::Object(fields) => items.extend(fields.values()),
                // A loop over a text runs over its characters.
                _ => return (self.bytes() + 1, Size::AtMost(self.bytes())),
            }
            most = most.max(items.len() - before);
        }
        (most as u64, Size::Among(items))
    }

    /// One step down.
    fn field(&self, step: &Step) -> Size<'a> {
        let (Size::Among(values), Step::Field(name)) = (self, step) else { return Size::AtMost(self.bytes()) };
        let below = |value: &&'a Value| match value {
            Value::Object(fields) => fields.get(*name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        };
        Size::Among(values.iter().filter_map(below).collect())
    }
}

/// As text or in memory, whichever is more.
fn bytes(value: &Value) -> u64 {
    let below = match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() as u64 + bytes(value)).sum(),
        _ => 0,
    };
    below + SCALAR_BYTES
}

struct Cost<'a> {
    context: &'a Context,
    /// Variables of the template: those of the whole first, then those of each loop.
    scopes: Vec<BTreeMap<String, Size<'a>>>,
    /// How often the present place is reached.
    times: u64,
    work: u64,
    excess: Option<Excess>,
}

impl<'a> Cost<'a> {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            if self.excess.is_some() {
                return;
            }
            self.node(node);
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Text(text) | Node::Raw(_, text, _) => self.charge(text.len() as u64),
            Node::VariableBlock(_, expression) => drop(self.value(expression)),
            Node::Set(_, set) => {
                let size = self.value(&set.value);
                let scope = if set.global { 0 } else { self.scopes.len() - 1 };
                self.set(scope, &set.key, size);
            }
            Node::If(branches, _) => {
                for (_, condition, body) in &branches.conditions {
                    self.value(condition);
                    self.nodes(body);
                }
                branches.otherwise.iter().for_each(|(_, body)| self.nodes(body));
            }
            Node::Forloop(_, forloop, _) => self.forloop(forloop),
            // Those that reach for other templates are refused before.
            _ => {}
        }
    }

    fn charge(&mut self, bytes: u64) {
        self.work = self.work.saturating_add(self.times.saturating_mul(bytes.saturating_add(STEP)));
        if self.work > WORK {
            self.refuse(
                None,
                "rendering this takes too long: it loops over too much, or its texts are too long".into(),
            );
        }
    }

    fn refuse(&mut self, word: Option<&str>, message: String) {
        self.excess.get_or_insert(Excess { word: word.map(str::to_owned), message });
    }

    /// A variable that is set in several places may be any of what it is set to.
    fn set(&mut self, scope: usize, key: &str, size: Size<'a>) {
        let size = match self.scopes[scope].remove(key) {
            Some(old) => Size::AtMost(old.bytes().max(size.bytes())),
            None => size,
        };
        self.scopes[scope].insert(key.to_owned(), size);
    }

    fn forloop(&mut self, forloop: &Forloop) {
        if self.scopes.len() > LOOPS {
            return self.refuse(Some(&forloop.value), format!("more than {LOOPS} loops are in one another"));
        }
        let container = self.value(&forloop.container);
        let (count, item) = container.items();
        let outer = self.times;
        self.times = outer.saturating_mul(count.max(1));
        for round in 0.. {
            let before = self.globals();
            let key = forloop.key.iter().map(|key| (key.clone(), Size::AtMost(container.bytes())));
            let own = [(forloop.value.clone(), item.clone()), ("loop".to_owned(), Size::AtMost(SCALAR_BYTES))];
            self.scopes.push(key.chain(own).collect());
            self.nodes(&forloop.body);
            self.scopes.pop();
            let after = self.globals();
            let Some(grown) = after.iter().find(|(key, bytes)| before.get(*key) != Some(bytes)) else { break };
            if round == ROUNDS || self.excess.is_some() {
                self.refuse(Some(grown.0), format!("`{}` grows each time round the loop", grown.0));
                break;
            }
        }
        self.times = outer;
        forloop.empty_body.iter().for_each(|body| self.nodes(body));
    }

    fn globals(&self) -> BTreeMap<String, u64> {
        self.scopes[0].iter().map(|(key, size)| (key.clone(), size.bytes())).collect()
    }

    /// What `expression` may come to.
    fn value(&mut self, expression: &Expr) -> Size<'a> {
        let mut size = match &expression.val {
            ExprVal::String(text) => Size::AtMost(text.len() as u64),
            ExprVal::Ident(name) => self.named(name),
            ExprVal::Array(items) => self.together(items.iter()),
            ExprVal::StringConcat(parts) => {
                let parts: Vec<Expr> = parts.values.iter().cloned().map(Expr::new).collect();
                self.together(parts.iter())
            }
            ExprVal::Math(math) => self.scalar([&*math.lhs, &*math.rhs]),
            ExprVal::Logic(logic) => self.scalar([&*logic.lhs, &*logic.rhs]),
            ExprVal::In(test) => self.scalar([&*test.lhs, &*test.rhs]),
            ExprVal::Test(test) => {
                self.named(&test.ident);
                self.scalar(test.args.iter())
            }
            ExprVal::FunctionCall(call) => self.scalar(call.args.values()),
            ExprVal::Int(_) | ExprVal::Float(_) | ExprVal::Bool(_) | ExprVal::MacroCall(_) => {
                Size::AtMost(SCALAR_BYTES)
            }
        };
        for filter in &expression.filters {
            size = self.filtered(&size, filter);
            self.check(&size);
        }
        self.check(&size);
        self.charge(size.bytes());
        size
    }

    fn check(&mut self, size: &Size) {
        if size.bytes() > VALUE_BYTES {
            self.refuse(None, format!("a value in this template may have more than {VALUE_BYTES} bytes"));
        }
    }

    fn together<'e>(&mut self, items: impl Iterator<Item = &'e Expr>) -> Size<'a> {
        Size::AtMost(items.fold(SCALAR_BYTES, |sum, item| sum.saturating_add(self.value(item).bytes() + 1)))
    }

    fn scalar<'e>(&mut self, operands: impl IntoIterator<Item = &'e Expr>) -> Size<'a> {
        operands.into_iter().for_each(|operand| drop(self.value(operand)));
        Size::AtMost(SCALAR_BYTES)
    }

    fn filtered(&mut self, size: &Size, filter: &FunctionCall) -> Size<'a> {
        let arguments =
            filter.args.values().fold(0u64, |sum, argument| sum.saturating_add(self.value(argument).bytes()));
        let bytes = size.bytes();
        Size::AtMost(match filter.name.as_str() {
            // Once for each byte or item, and before the first.
            "replace" | "join" => (bytes + 1).saturating_mul(arguments + 1),
            // Four spaces unless told.
            "indent" => (bytes + 1).saturating_mul(arguments + 4),
            _ => bytes.saturating_add(arguments).max(SCALAR_BYTES).saturating_mul(FILTER_GROWTH),
        })
    }

    fn named(&mut self, name: &str) -> Size<'a> {
        let steps = steps(name);
        let Some((Step::Field(root), below)) = steps.split_first() else { return Size::AtMost(0) };
        let given = self.context.0.get(root).map(|value| Size::Among(vec![value]));
        // What is set in a branch that is not taken leaves the name to the context, so both count.
        let variables = self.scopes.iter().filter_map(|scope| scope.get(*root)).chain(&given);
        let start = match variables.collect::<Vec<_>>().as_slice() {
            [] => Size::Among(Vec::new()),
            [only] => (*only).clone(),
            several => Size::AtMost(several.iter().map(|size| size.bytes()).max().unwrap_or(0)),
        };
        below.iter().fold(start, |size, step| size.field(step))
    }
}
