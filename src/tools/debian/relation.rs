//! Relations between packages: `libc6 (>= 2.36), gcc | c-compiler, perl:any`. Policy, section 7.1.
//!
//! Invariant: names and versions are checked, so no relation holds text that could not be in an index.

use super::version;
use std::cmp::Ordering;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

/// One alternative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    pub name: &'a str,
    /// `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    pub version: Option<(Operator, &'a str)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a relation between packages")]
pub struct InvalidRelation(pub String);

impl Relation<'_> {
    /// Whether `version` is what the relation asks for.
    pub fn accepts(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else { return true };
        let order = version::compare(version, wanted);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order.is_le(),
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order.is_ge(),
            Operator::Later => order == Ordering::Greater,
        }
    }

    /// Whether a package of this machine's architecture can be meant: other architectures are not in the index.
    pub fn is_native(&self) -> bool {
        matches!(self.qualifier, None | Some("any" | "native"))
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = self.version {
            let sign = match operator {
                Operator::Earlier => "<<",
                Operator::EarlierOrEqual => "<=",
                Operator::Equal => "=",
                Operator::LaterOrEqual => ">=",
                Operator::Later => ">>",
            };
            write!(f, " ({sign} {version})")?;
        }
        Ok(())
    }
}

/// All relations of a field: every inner list is one group of alternatives.
pub fn parse(field: &str) -> Result<Vec<Vec<Relation<'_>>>, InvalidRelation> {
    let groups = field.split(',').map(str::trim).filter(|group| !group.is_empty());
    groups.map(|group| group.split('|').map(|text| one(text.trim())).collect()).collect()
}

fn one(text: &str) -> Result<Relation<'_>, InvalidRelation> {
    let invalid = || InvalidRelation(text.to_owned());
    let (head, version) = match text.split_once('(') {
        Some((head, rest)) => (head.trim(), Some(constraint(rest.strip_suffix(')').ok_or_else(invalid)?.trim()))),
        None => (text, None),
    };
    let version = match version {
        Some(version) => Some(version.ok_or_else(invalid)?),
        None => None,
    };
    let (name, qualifier) = match head.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (head, None),
    };
    let valid = is_package_name(name) && qualifier.is_none_or(is_package_name);
    if !valid {
        return Err(invalid());
    }
    Ok(Relation { name, qualifier, version })
}

fn constraint(text: &str) -> Option<(Operator, &str)> {
    use Operator::*;
    let signs = [("<<", Earlier), ("<=", EarlierOrEqual), (">=", LaterOrEqual), (">>", Later), ("=", Equal)];
    let (version, operator) = signs.iter().find_map(|(sign, op)| Some((text.strip_prefix(sign)?.trim(), *op)))?;
    is_version(version).then_some((operator, version))
}

/// Policy, section 5.6.7; upper-case letters do occur in virtual packages.
pub fn is_package_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

pub fn is_version(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_read_and_written() {
        let groups = parse("libc6 (>= 2.36), gcc:any | c-compiler (<<5~), perl(= 1:2-3),\n x,").expect("valid");
        let text: Vec<Vec<String>> =
            groups.iter().map(|group| group.iter().map(Relation::to_string).collect()).collect();
        assert_eq!(
            text,
            [vec!["libc6 (>= 2.36)"], vec!["gcc:any", "c-compiler (<< 5~)"], vec!["perl (= 1:2-3)"], vec!["x"]]
        );
        assert!(groups[0][0].accepts("2.36-9") && !groups[0][0].accepts("2.35"));
        assert!(groups[1][1].accepts("4") && !groups[1][1].accepts("5"));
        for bad in ["a (2)", "a (>= )", "a b", "a (>= 1", "|", "a/b", "a:", "a (>= 1/2)"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_accepted_prints_to_the_same(text in "[a-c:()<>=|, 1.~-]{0,24}") {
            if let Ok(groups) = parse(&text) {
                for relation in groups.iter().flatten() {
                    let printed = relation.to_string();
                    proptest::prop_assert_eq!(&parse(&printed).expect("valid")[0][0], relation);
                }
            }
        }
    }
}
