//! Dependency expressions: text in, a tree out, evaluated over a final configuration.
//!
//! Invariant: nesting is at most [`DEPTH_LIMIT`]; what a macro (`$(...)`) answers is unknown here and counts as `y`.

use super::{Configuration, Value};
use std::fmt;

/// Nesting of parentheses and negations. Linux 6.12 stays below 8.
const DEPTH_LIMIT: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    Symbol(String),
    /// A quoted string, without its quotes.
    Constant(String),
    /// `$(name,arguments)`, as written.
    Macro(String),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Compare(Box<Expression>, Comparison, Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    const ALL: [(&'static str, Comparison); 6] = [
        ("!=", Comparison::Unequal),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("=", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
}

/// The three values of an option that is no text; ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tristate {
    No,
    Module,
    Yes,
}

impl Tristate {
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Yes => Tristate::Yes,
            Value::Module => Tristate::Module,
            Value::No | Value::Text(_) => Tristate::No,
        }
    }
}

impl Expression {
    /// The expression at the start of `text`, up to its end or a comment; none when it is not one.
    pub fn parse(text: &str) -> Option<Expression> {
        let mut parser = Parser { rest: text };
        let expression = parser.or(0)?;
        parser.skip_spaces();
        (parser.rest.is_empty() || parser.rest.starts_with('#')).then_some(expression)
    }

    pub fn evaluate(&self, configuration: &Configuration) -> Tristate {
        match self {
            Expression::Symbol(name) => match name.as_str() {
                "y" => Tristate::Yes,
                "m" => Tristate::Module,
                "n" => Tristate::No,
                _ => Tristate::of(configuration.get(name)),
            },
            Expression::Constant(text) => match text.as_str() {
                "y" => Tristate::Yes,
                "m" => Tristate::Module,
                _ => Tristate::No,
            },
            Expression::Macro(_) => Tristate::Yes,
            Expression::Not(inner) => match inner.evaluate(configuration) {
                Tristate::No => Tristate::Yes,
                Tristate::Module => Tristate::Module,
                Tristate::Yes => Tristate::No,
            },
            Expression::And(all) => all.iter().map(|e| e.evaluate(configuration)).min().unwrap_or(Tristate::Yes),
            Expression::Or(any) => any.iter().map(|e| e.evaluate(configuration)).max().unwrap_or(Tristate::No),
            Expression::Compare(left, comparison, right) => {
                match compare(&left.text(configuration), *comparison, &right.text(configuration)) {
                    true => Tristate::Yes,
                    false => Tristate::No,
                }
            }
        }
    }

    /// The operands of a conjunction, or the expression itself.
    pub fn conjuncts(&self) -> &[Expression] {
        match self {
            Expression::And(all) => all,
            other => std::slice::from_ref(other),
        }
    }

    /// The options named in it, left to right, without the constants `y`, `m` and `n`.
    pub fn symbols(&self) -> Vec<&str> {
        match self {
            Expression::Symbol(name) if !matches!(name.as_str(), "y" | "m" | "n") && !is_number(name) => vec![name],
            Expression::Symbol(_) | Expression::Constant(_) | Expression::Macro(_) => Vec::new(),
            Expression::Not(inner) => inner.symbols(),
            Expression::And(all) | Expression::Or(all) => all.iter().flat_map(Expression::symbols).collect(),
            Expression::Compare(left, _, right) => [left.symbols(), right.symbols()].concat(),
        }
    }

    /// An operand of a comparison as text.
    fn text(&self, configuration: &Configuration) -> String {
        match self {
            Expression::Symbol(name) if is_number(name) => name.clone(),
            Expression::Symbol(name) if matches!(name.as_str(), "y" | "m" | "n") => name.clone(),
            Expression::Symbol(name) => configuration.get(name).to_string().trim_matches('"').to_owned(),
            Expression::Constant(text) | Expression::Macro(text) => text.clone(),
            Expression::Not(_) | Expression::And(_) | Expression::Or(_) | Expression::Compare(..) => String::new(),
        }
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn compare(left: &str, comparison: Comparison, right: &str) -> bool {
    let order = match (number(left), number(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.cmp(right),
    };
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn or(&mut self, depth: usize) -> Option<Expression> {
        let mut any = vec![self.and(depth)?];
        while self.take("||") {
            any.push(self.and(depth)?);
        }
        Some(if any.len() == 1 { any.remove(0) } else { Expression::Or(any) })
    }

    fn and(&mut self, depth: usize) -> Option<Expression> {
        let mut all = vec![self.unary(depth)?];
        while self.take("&&") {
            all.push(self.unary(depth)?);
        }
        Some(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn unary(&mut self, depth: usize) -> Option<Expression> {
        if depth == DEPTH_LIMIT {
            return None;
        }
        if self.take("!") {
            return Some(Expression::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.or(depth + 1)?;
            return self.take(")").then_some(inner);
        }
        let left = self.operand()?;
        for (token, comparison) in Comparison::ALL {
            if self.take(token) {
                return Some(Expression::Compare(Box::new(left), comparison, Box::new(self.operand()?)));
            }
        }
        Some(left)
    }

    fn operand(&mut self) -> Option<Expression> {
        self.skip_spaces();
        let first = self.rest.chars().next()?;
        if first == '"' || first == '\'' {
            let (text, rest) = self.rest[1..].split_once(first)?;
            self.rest = rest;
            return Some(Expression::Constant(text.to_owned()));
        }
        if self.rest.starts_with("$(") {
            let length = macro_length(self.rest)?;
            let (text, rest) = self.rest.split_at(length);
            self.rest = rest;
            return Some(Expression::Macro(text.to_owned()));
        }
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'$');
        let length = self.rest.bytes().position(|b| !word(b)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        (!name.is_empty()).then(|| Expression::Symbol(name.to_owned()))
    }
}

/// Bytes of the macro call at the start of `text`, through its closing parenthesis.
fn macro_length(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => open += 1,
            b')' => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, items: &[Expression], between: &str| {
            for (index, item) in items.iter().enumerate() {
                let nested = matches!(item, Expression::And(_) | Expression::Or(_));
                let (open, close) = if nested { ("(", ")") } else { ("", "") };
                write!(f, "{}{open}{item}{close}", if index == 0 { "" } else { between })?;
            }
            Ok(())
        };
        match self {
            Expression::Symbol(text) | Expression::Macro(text) => f.write_str(text),
            Expression::Constant(text) if text.contains('"') => write!(f, "'{text}'"),
            Expression::Constant(text) => write!(f, "\"{text}\""),
            Expression::Not(inner) => match **inner {
                Expression::And(_) | Expression::Or(_) | Expression::Compare(..) => write!(f, "!({inner})"),
                _ => write!(f, "!{inner}"),
            },
            Expression::And(all) => joined(f, all, " && "),
            Expression::Or(any) => joined(f, any, " || "),
            Expression::Compare(left, comparison, right) => {
                let token = Comparison::ALL.iter().find(|(_, c)| c == comparison).map_or("=", |(token, _)| token);
                write!(f, "{left} {token} {right}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Tristate {
        let configuration = Configuration::parse("CONFIG_A=y\nCONFIG_M=m\nCONFIG_N8=8\nCONFIG_S=\"x\"\n");
        Expression::parse(text).unwrap_or_else(|| panic!("{text} is an expression")).evaluate(&configuration)
    }

    #[test]
    fn three_valued_logic() {
        for (text, expected) in [
            ("A && M", Tristate::Module),
            ("A || B", Tristate::Yes),
            ("!B && !(A && M)", Tristate::Module),
            ("!A", Tristate::No),
            ("A=y && B!=y # why", Tristate::Yes),
            ("N8 >= 8 && N8 < 0x10", Tristate::Yes),
            ("S = \"x\"", Tristate::Yes),
            ("$(cc-option,-f(x)) && B", Tristate::No),
            ("A = M", Tristate::No),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "A &&", "(A", "A B", "&& A", "\"x", "$(x", &"!".repeat(100), &"(".repeat(1000)] {
            assert_eq!(Expression::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_again_changes_nothing(text in "[AB!()=<>&|$\"' ]{0,40}|\\PC{0,40}|((!?\\(?A|B\\)?|y=n) ?(&&|\\|\\|) ?){0,6}M") {
            if let Some(expression) = Expression::parse(&text) {
                prop_assert_eq!(Expression::parse(&expression.to_string()), Some(expression));
            }
        }
    }
}
