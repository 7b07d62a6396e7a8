//! A parsed template in, the names it takes from its context out.
//!
//! Invariant: a name that the template binds itself is not among them; one that it asks about with `is defined`
//! is left out within that `if` only, and one with a `default` at that place only.

use super::path::{steps, Step};
use tera::ast::{Expr, ExprVal, Forloop, FunctionCall, Node};

/// A name as it is written, and the steps of it that can be looked up beforehand.
pub(super) struct Named {
    pub text: String,
    pub path: Vec<String>,
}

/// What a template asks of the world around it, in order of appearance.
#[derive(Default)]
pub(super) struct Uses {
    pub names: Vec<Named>,
    pub functions: Vec<String>,
    /// Tags that reach for another template (`include`, `import`, `extends`, macros and blocks), and filter
    /// sections, which would hold any amount of text in memory.
    pub foreign: Vec<&'static str>,
    bound: Vec<String>,
    /// What the present `if` and those around it have asked about.
    asked: Vec<Vec<String>>,
}

/// Everything `nodes` use.
pub(super) fn of(nodes: &[Node]) -> Uses {
    let mut uses = Uses::default();
    uses.nodes(nodes);
    uses
}

impl Uses {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            let asked = self.asked.len();
            self.node(node);
            self.asked.truncate(asked);
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::VariableBlock(_, expression) => self.expression(expression),
            Node::Set(_, set) => {
                self.expression(&set.value);
                self.bound.push(set.key.clone());
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
            Node::FilterSection(..) => self.foreign.push("filter"),
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
        for filter in &expression.filters {
            self.arguments(filter);
        }
        match &expression.val {
            ExprVal::Ident(name) => self.name(name, expression.has_default_filter()),
            ExprVal::Math(math) => {
                self.expression(&math.lhs);
                self.expression(&math.rhs);
            }
            ExprVal::Logic(logic) => {
                self.expression(&logic.lhs);
                self.expression(&logic.rhs);
            }
            ExprVal::Test(test) => {
                let asks = matches!(test.name.as_str(), "defined" | "undefined");
                if asks {
                    self.asked.push(known_path(&steps(&test.ident)));
                }
                self.name(&test.ident, asks);
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

    /// `excused`: it may be absent here. What its brackets name may not.
    fn name(&mut self, text: &str, excused: bool) {
        let steps = steps(text);
        for step in &steps {
            if let Step::Computed(name) = step {
                self.name(name, false);
            }
        }
        let path = known_path(&steps);
        let is_bound = path.first().is_some_and(|root| self.bound.contains(root));
        if !excused && !is_bound && !self.asked.iter().any(|asked| path.starts_with(asked)) {
            self.names.push(Named { text: text.to_owned(), path });
        }
    }
}

/// The steps before the first that is known only at run time; Tera checks the rest then.
fn known_path(steps: &[Step]) -> Vec<String> {
    let known = steps.iter().map_while(|step| if let Step::Field(name) = step { Some(name) } else { None });
    known.map(|name| (*name).to_owned()).collect()
}
