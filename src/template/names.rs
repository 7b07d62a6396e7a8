//! A parsed template in, the names it takes from its context out.
//!
//! Invariant: a name that the template binds itself, or asks about with `is defined` or `default`,
//! is not among them.

use std::collections::BTreeSet;
use tera::ast::{Expr, ExprVal, Forloop, FunctionCall, Node};

/// What a template asks of the world around it, in order of appearance.
#[derive(Default)]
pub(super) struct Uses {
    pub names: Vec<String>,
    pub functions: Vec<String>,
    /// Tags that reach for another template: `include`, `import`, `extends`, macros and blocks.
    pub foreign: Vec<&'static str>,
    bound: Vec<String>,
    asked: BTreeSet<String>,
}

/// Everything `nodes` use.
pub(super) fn of(nodes: &[Node]) -> Uses {
    let mut uses = Uses::default();
    uses.nodes(nodes);
    let asked = std::mem::take(&mut uses.asked);
    let guarded = |name: &str| asked.iter().any(|a| name == a || name.starts_with(&format!("{a}.")));
    uses.names.retain(|name| !guarded(name));
    uses
}

impl Uses {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::VariableBlock(_, expression) => self.expression(expression),
            Node::Set(_, set) => {
                self.expression(&set.value);
                self.bound.push(set.key.clone());
            }
            Node::FilterSection(_, section, _) => {
                self.arguments(&section.filter);
                self.nodes(&section.body);
            }
            Node::Forloop(_, forloop, _) => self.forloop(forloop),
            Node::If(branches, _) => {
                for (_, condition, body) in &branches.conditions {
                    self.expression(condition);
                    self.nodes(body);
                }
                if let Some((_, body)) = &branches.otherwise {
                    self.nodes(body);
                }
            }
            Node::MacroDefinition(..) => self.foreign.push("macro"),
            Node::Extends(..) => self.foreign.push("extends"),
            Node::Include(..) => self.foreign.push("include"),
            Node::ImportMacro(..) => self.foreign.push("import"),
            Node::Block(..) | Node::Super => self.foreign.push("block"),
            Node::Text(_) | Node::Raw(..) | Node::Break(_) | Node::Continue(_) | Node::Comment(..) => {}
        }
    }

    fn forloop(&mut self, forloop: &Forloop) {
        self.expression(&forloop.container);
        let depth = self.bound.len();
        self.bound.extend(forloop.key.clone());
        self.bound.extend([forloop.value.clone(), "loop".to_owned()]);
        self.nodes(&forloop.body);
        self.bound.truncate(depth);
        if let Some(body) = &forloop.empty_body {
            self.nodes(body);
        }
    }

    fn expression(&mut self, expression: &Expr) {
        let defaulted = expression.filters.iter().any(|filter| filter.name == "default");
        for filter in &expression.filters {
            self.arguments(filter);
        }
        match &expression.val {
            ExprVal::Ident(name) if defaulted => {
                self.asked.insert(name.clone());
            }
            ExprVal::Ident(name) => self.name(name),
            ExprVal::Math(math) => {
                self.expression(&math.lhs);
                self.expression(&math.rhs);
            }
            ExprVal::Logic(logic) => {
                self.expression(&logic.lhs);
                self.expression(&logic.rhs);
            }
            ExprVal::Test(test) => {
                if matches!(test.name.as_str(), "defined" | "undefined") {
                    self.asked.insert(test.ident.clone());
                } else {
                    self.name(&test.ident);
                }
                test.args.iter().for_each(|argument| self.expression(argument));
            }
            ExprVal::MacroCall(_) => self.foreign.push("macro"),
            ExprVal::FunctionCall(call) => {
                self.functions.push(call.name.clone());
                self.arguments(call);
            }
            ExprVal::Array(items) => items.iter().for_each(|item| self.expression(item)),
            ExprVal::StringConcat(parts) => {
                for part in &parts.values {
                    self.expression(&Expr::new(part.clone()));
                }
            }
            ExprVal::In(test) => {
                self.expression(&test.lhs);
                self.expression(&test.rhs);
            }
            ExprVal::String(_) | ExprVal::Int(_) | ExprVal::Float(_) | ExprVal::Bool(_) => {}
        }
    }

    fn arguments(&mut self, call: &FunctionCall) {
        // The parser keeps arguments in a hash map; sorted, messages do not depend on its order.
        let mut names: Vec<&String> = call.args.keys().collect();
        names.sort();
        for name in names {
            self.expression(&call.args[name]);
        }
    }

    fn name(&mut self, name: &str) {
        // What stands in brackets is known only at run time, and Tera checks it then.
        let path = name.split('[').next().unwrap_or(name);
        let root = path.split('.').next().unwrap_or(path);
        if !self.bound.iter().any(|bound| bound == root) {
            self.names.push(path.to_owned());
        }
    }
}
