//! Names of packages in, those packages and everything they depend on out.
//!
//! Each group of alternatives is met by what is chosen already, else by its first alternative that exists.
//! `Conflicts` and `Breaks` do not matter: the packages are unpacked side by side and never configured, and two
//! that hold one path are found when the tree is composed. Packages come from the default suite; from
//! another one only when asked for (`name/suite`) or when a package from there needs that version.
//!
//! Invariant: equal indexes and requests give equal packages; an error names the chain that led to it.

use super::index::{Index, Package};
use super::relation::{self, InvalidRelation, Relation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    #[error("there is no package `{name}` in suite `{suite}`{hint}")]
    NoPackage { name: String, suite: String, hint: String },
    #[error("`{suite}` is not one of the suites: {known}")]
    NoSuite { name: String, suite: String, known: String },
    #[error("nothing meets the dependency `{relation}`, needed by {chain}")]
    Unmet { relation: String, chain: String, asked_for: String },
    #[error("`{package}` has a dependency that cannot be read")]
    Relation {
        package: String,
        #[source]
        source: InvalidRelation,
    },
}

impl ResolveError {
    /// The package that the tree asks for and that leads here, where it is known.
    pub fn asked_for(&self) -> Option<&str> {
        match self {
            ResolveError::NoPackage { name, .. }
            | ResolveError::NoSuite { name, .. }
            | ResolveError::Unmet { asked_for: name, .. } => Some(name),
            ResolveError::Relation { .. } => None,
        }
    }
}

/// The packages of a tree, sorted by name. `exclude` names dependencies that are not followed.
pub fn resolve<'i, 'a>(
    index: &'i Index<'a>,
    requests: &[String],
    exclude: &[String],
) -> Result<Vec<&'i Package<'a>>, ResolveError> {
    let mut pins = BTreeMap::new();
    for request in requests {
        let (name, suite) = request.split_once('/').unwrap_or((request, index.default_suite()));
        let known = index.suites().iter().copied().find(|known| *known == suite);
        let (name, suite, known_ones) = (name.to_owned(), suite.to_owned(), index.suites().join(", "));
        let unknown = || ResolveError::NoSuite { name: name.clone(), suite, known: known_ones };
        let known = known.ok_or_else(unknown)?;
        pins.insert(name, known);
    }
    // Each restart pins one more package, so this ends.
    loop {
        let mut attempt = Attempt { index, exclude, pins: &pins, chosen: BTreeMap::new(), queue: VecDeque::new() };
        match attempt.run(requests)? {
            Some((name, suite)) => pins.insert(name, suite),
            None => return Ok(attempt.chosen.into_values().map(|choice| choice.package).collect()),
        };
    }
}

struct Attempt<'r, 'i, 'a> {
    index: &'i Index<'a>,
    exclude: &'r [String],
    /// The suite of each package that does not come from the default one, or that was asked for.
    pins: &'r BTreeMap<String, &'a str>,
    chosen: BTreeMap<&'a str, Choice<'i, 'a>>,
    queue: VecDeque<&'i Package<'a>>,
}

struct Choice<'i, 'a> {
    package: &'i Package<'a>,
    /// The package that needed it first; none: it was asked for.
    because: Option<&'a str>,
}

/// How a group of alternatives can be met.
enum Answer<'i, 'a> {
    /// By what is chosen, or by something that is excluded.
    Met,
    Choose(&'i Package<'a>),
    /// Only by the version of another suite.
    Pin(String, &'a str),
    Unmet,
}

impl<'i, 'a> Attempt<'_, 'i, 'a> {
    /// Chooses packages until nothing is missing, or says which package to pin first.
    fn run(&mut self, requests: &[String]) -> Result<Option<(String, &'a str)>, ResolveError> {
        for request in requests {
            let name = request.split('/').next().unwrap_or(request);
            let package = self.candidate(name).ok_or_else(|| self.no_package(name))?;
            self.choose(package, None);
        }
        while let Some(package) = self.queue.pop_front() {
            for field in package.depends {
                let groups = relation::parse(field)
                    .map_err(|source| ResolveError::Relation { package: package.name.to_owned(), source })?;
                for group in groups {
                    match self.answer(&group, package) {
                        Answer::Met => {}
                        Answer::Choose(needed) => self.choose(needed, Some(package.name)),
                        Answer::Pin(name, suite) => return Ok(Some((name, suite))),
                        Answer::Unmet => return Err(self.unmet(&group, package)),
                    }
                }
            }
        }
        Ok(None)
    }

    fn choose(&mut self, package: &'i Package<'a>, because: Option<&'a str>) {
        if self.chosen.insert(package.name, Choice { package, because }).is_none() {
            self.queue.push_back(package);
        }
    }

    /// The one package of that name that may be chosen.
    fn candidate(&self, name: &str) -> Option<&'i Package<'a>> {
        self.index.get(name, self.pins.get(name).copied().unwrap_or(self.index.default_suite()))
    }

    fn answer(&self, group: &[Relation], parent: &Package) -> Answer<'i, 'a> {
        let native = || group.iter().filter(|relation| relation.is_native());
        if native().any(|relation| self.is_met(relation)) {
            return Answer::Met;
        }
        for relation in native() {
            if self.exclude.iter().any(|name| name == relation.name) {
                return Answer::Met;
            }
            if let Some(package) = self.candidate(relation.name).filter(|package| package.satisfies(relation)) {
                return Answer::Choose(package);
            }
            if let Some((name, suite)) = self.pin(relation, parent) {
                return Answer::Pin(name, suite);
            }
            if let Some(package) = self.provider(relation) {
                return Answer::Choose(package);
            }
        }
        Answer::Unmet
    }

    fn is_met(&self, relation: &Relation) -> bool {
        let by = |name: &str| self.chosen.get(name).is_some_and(|choice| choice.package.satisfies(relation));
        by(relation.name) || self.index.providers(relation.name).iter().any(|name| by(name))
    }

    /// A package from another suite may bring its dependencies from there.
    fn pin(&self, relation: &Relation, parent: &Package) -> Option<(String, &'a str)> {
        let from_elsewhere = |suite: &&str| *suite == parent.suite && *suite != self.index.default_suite();
        let suite = self.index.suites().iter().copied().find(from_elsewhere)?;
        let package = self.index.get(relation.name, suite)?;
        let is_new = !self.pins.contains_key(relation.name);
        (is_new && package.satisfies(relation)).then(|| (package.name.to_owned(), suite))
    }

    /// The most basic package that provides what is asked for; names decide between equals.
    fn provider(&self, relation: &Relation) -> Option<&'i Package<'a>> {
        let providers = self.index.providers(relation.name).iter();
        let excluded = |name: &str| self.exclude.iter().any(|other| other == name);
        providers
            .filter_map(|name| self.candidate(name))
            .filter(|package| package.satisfies(relation) && !excluded(package.name))
            .min_by_key(|package| (package.priority, package.name))
    }

    fn no_package(&self, name: &str) -> ResolveError {
        let suite = self.pins.get(name).copied().unwrap_or(self.index.default_suite());
        let elsewhere = self.index.versions(name).first();
        let near = || {
            let scored = self.index.names().map(|other| (strsim::damerau_levenshtein(name, other), other));
            scored.filter(|(distance, _)| *distance <= 2).min()
        };
        let hint = match elsewhere {
            Some(package) => format!("; ask for `{name}/{}`", package.suite),
            None => near().map(|(_, other)| format!("; did you mean `{other}`?")).unwrap_or_default(),
        };
        ResolveError::NoPackage { name: name.to_owned(), suite: suite.to_owned(), hint }
    }

    fn unmet(&self, group: &[Relation], package: &Package<'a>) -> ResolveError {
        let relation = group.iter().map(Relation::to_string).collect::<Vec<_>>().join(" | ");
        let mut chain = format!("`{} {}`", package.name, package.version);
        let mut name = package.name;
        let mut seen = BTreeSet::from([name]);
        while let Some(parent) = self.chosen.get(name).and_then(|choice| choice.because) {
            if !seen.insert(parent) {
                break;
            }
            chain.push_str(&format!(", needed by `{parent}`"));
            name = parent;
        }
        ResolveError::Unmet { relation, chain, asked_for: name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// `name version; Field: value; ...` a package.
    fn text(packages: &[&str]) -> String {
        let stanza = |line: &&str| {
            let mut parts = line.split("; ");
            let (name, version) = parts.next().and_then(|p| p.split_once(' ')).expect("a name and a version");
            let fields: String = parts.map(|field| format!("{field}\n")).collect();
            format!("Package: {name}\nVersion: {version}\nFilename: pool/{name}.deb\nSize: 3\nSHA256: {HASH}\n{fields}")
        };
        packages.iter().map(stanza).collect::<Vec<_>>().join("\n")
    }

    fn run(main: &[&str], backports: &[&str], requests: &[&str], exclude: &[&str]) -> Result<String, ResolveError> {
        let (main, backports) = (text(main), text(backports));
        let mut index = Index::default();
        index.add("bookworm", &main).expect("a valid index");
        index.add("bookworm-backports", &backports).expect("a valid index");
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let packages = resolve(&index, &owned(requests), &owned(exclude))?;
        Ok(packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn alternatives_provisions_and_cycles() {
        let main = [
            "a 1; Depends: b (>= 2) | c, v, w (>= 2)",
            "b 1",
            "c 1; Pre-Depends: a",
            "p1 1; Provides: v",
            "p0 1; Provides: v; Priority: required",
            "q1 1; Provides: w",
            "q2 1; Provides: w (= 2)",
        ];
        assert_eq!(run(&main, &[], &["a"], &[]).expect("resolved"), "a=1 c=1 p0=1 q2=1");
        assert_eq!(run(&main, &[], &["p1", "a"], &[]).expect("resolved"), "a=1 c=1 p1=1 q2=1");
        assert_eq!(run(&main, &[], &["a"], &["c", "v", "w"]).expect("resolved"), "a=1");
        let first = ["a 1; Depends: d | x", "d 1", "x 1"];
        assert_eq!(run(&first, &[], &["a"], &["d"]).expect("resolved"), "a=1");
        assert_eq!(run(&first, &[], &["x", "a"], &[]).expect("resolved"), "a=1 x=1");
        assert_eq!(
            run(&["a 1; Depends: b:any, c:i386 | d", "b 1", "d 1"], &[], &["a"], &[]).expect("resolved"),
            "a=1 b=1 d=1"
        );
    }

    #[test]
    fn another_suite_is_used_where_it_is_asked_for_or_needed() {
        let main = ["a 1", "lib 1; Depends: data (= 1)", "data 1", "other 1; Depends: lib (>= 1)"];
        let backports = ["a 2; Depends: lib (>= 2), other", "lib 2; Depends: data (= 2)", "data 2", "other 2", "b 1"];
        assert_eq!(run(&main, &backports, &["a"], &[]).expect("resolved"), "a=1");
        let newer = run(&main, &backports, &["a/bookworm-backports"], &[]).expect("resolved");
        assert_eq!(newer, "a=2 data=2 lib=2 other=1");
        let late = run(&main, &backports, &["other", "a/bookworm-backports"], &[]).expect("resolved");
        assert_eq!(late, newer);
        let error = run(&main, &backports, &["b"], &[]).expect_err("not in the default suite");
        assert!(error.to_string().ends_with("; ask for `b/bookworm-backports`"), "{error}");
        assert!(matches!(run(&main, &backports, &["a/sid"], &[]), Err(ResolveError::NoSuite { .. })));
    }

    #[test]
    fn errors_name_the_chain_and_what_was_meant() {
        let main =
            ["gcc 1; Depends: cpp", "cpp 1; Depends: libmpc3", "libmpc3 1; Depends: libmpfr6 (>= 4) | x", "libmpfr6 3"];
        let error = run(&main, &[], &["gcc"], &[]).expect_err("unmet");
        assert_eq!(
            error.to_string(),
            "nothing meets the dependency `libmpfr6 (>= 4) | x`, needed by `libmpc3 1`, needed by `cpp`, needed by `gcc`"
        );
        let error = run(&main, &[], &["gccc"], &[]).expect_err("unknown");
        assert_eq!(error.to_string(), "there is no package `gccc` in suite `bookworm`; did you mean `gcc`?");
    }
}
