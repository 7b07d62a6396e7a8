//! A graph of names in, its circles out.
//!
//! Invariant: no recursion, so the longest chain a layer can hold does not run out of stack; each
//! circle is reported once, from its smallest name.

use super::diagnostic::Diagnostic;
use crate::model::Origin;
use std::collections::{BTreeMap, BTreeSet};

/// What each name points at, and where that was written.
pub type Graph<'a> = BTreeMap<&'a str, Vec<(&'a str, &'a Origin)>>;

/// One problem per circle; `verb` joins the names: `extends`, `builds on`.
pub fn problems(graph: &Graph, what: &str, verb: &str) -> Vec<Diagnostic> {
    let describe = |circle: Vec<(&str, &str, &Origin)>| {
        let mut names: Vec<String> = circle.iter().map(|(from, _, _)| format!("`{from}`")).collect();
        names.extend(names.first().cloned());
        let lines: Vec<String> =
            circle.iter().map(|(from, to, origin)| format!("`{from}` {verb} `{to}` at {origin}")).collect();
        let (_, _, origin) = circle[0];
        Diagnostic::at(origin, format!("{what} go in a circle: {}", names.join(" -> ")))
            .help(format!("remove one of these:\n      {}", lines.join("\n      ")))
    };
    circles(graph).into_iter().map(describe).collect()
}

/// Each circle as its edges: from, to, and where it was written.
fn circles<'a>(graph: &Graph<'a>) -> Vec<Vec<(&'a str, &'a str, &'a Origin)>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut found = BTreeMap::new();
    for start in graph.keys() {
        // The path from `start`, with the index of the next edge to follow at each name.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_path: BTreeSet<&str> = BTreeSet::from([*start]);
        if done.contains(start) {
            continue;
        }
        while let Some((name, next)) = path.last_mut() {
            let name: &str = name;
            let Some((to, _)) = graph.get(name).and_then(|edges| edges.get(*next)) else {
                done.insert(name);
                on_path.remove(name);
                path.pop();
                continue;
            };
            *next += 1;
            if on_path.contains(to) {
                let begin = path.iter().position(|(name, _)| name == to).unwrap_or(0);
                let circle = edges(graph, &path[begin..]);
                found.insert(circle[0].0, circle);
            } else if !done.contains(to) && graph.contains_key(to) {
                on_path.insert(to);
                path.push((to, 0));
            }
        }
    }
    found.into_values().collect()
}

/// The edges last followed from each name of `path`, beginning with the smallest name.
fn edges<'a>(graph: &Graph<'a>, path: &[(&'a str, usize)]) -> Vec<(&'a str, &'a str, &'a Origin)> {
    let edge = |&(from, next): &(&'a str, usize)| {
        let (to, origin) = graph[from][next - 1];
        (from, to, origin)
    };
    let mut circle: Vec<_> = path.iter().map(edge).collect();
    let smallest = circle.iter().enumerate().min_by_key(|(_, (from, _, _))| *from).map_or(0, |(index, _)| index);
    circle.rotate_left(smallest);
    circle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_shown_with_the_place_of_each_link() {
        let at = |line| Origin { file: "r.yaml".into(), line, column: 1 };
        let (one, two, three) = (at(1), at(2), at(3));
        let graph = Graph::from([
            ("c", vec![("a", &three), ("x", &three)]),
            ("a", vec![("x", &one), ("b", &one)]),
            ("b", vec![("c", &two)]),
            ("z", vec![("a", &one)]),
        ]);
        let problems = problems(&graph, "recipes", "builds on");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].message, "recipes go in a circle: `a` -> `b` -> `c` -> `a`");
        let help = problems[0].help.as_deref().unwrap_or_default();
        assert!(help.contains("`b` builds on `c` at r.yaml:2:1"), "{help}");
    }

    #[test]
    fn a_name_can_point_at_itself_and_a_chain_can_be_long() {
        let at = Origin { file: "r.yaml".into(), line: 1, column: 1 };
        assert_eq!(problems(&Graph::from([("a", vec![("a", &at)])]), "recipes", "builds on").len(), 1);
        let names: Vec<String> = (0..100_000).map(|n| format!("r{n:06}")).collect();
        let chain: Graph = names.windows(2).map(|pair| (pair[0].as_str(), vec![(pair[1].as_str(), &at)])).collect();
        assert!(problems(&chain, "recipes", "builds on").is_empty());
    }
}
