//! `recipe.yaml` to [`Recipe`].
//!
//! Invariant: a field that the build class does not use is an error, never ignored.

use super::{metadata, values, words};
use crate::config::diagnostic::Diagnostic;
use crate::config::file::recipe::{
    Class, InstallEntry, InstallFileEntry, PackageEntry, PlaceEntry, RecipeFile, SourceEntry,
};
use crate::model::recipe::{BuildClass, InstallFile, OutputPackage, Place, Recipe, Source, Unpack};
use crate::model::Origin;

pub fn recipe(mut file: RecipeFile, problems: &mut Vec<Diagnostic>) -> Option<Recipe> {
    let before = problems.len();
    let class = class(&mut file, problems);
    let sources = std::mem::take(&mut file.sources);
    let sources = sources.into_iter().filter_map(|entry| source(entry, problems)).collect();
    if file.packages.is_empty() {
        let name = &file.recipe.value;
        let problem = Diagnostic::at(&file.origin, "a recipe needs at least one package");
        problems.push(problem.help(format!("add `packages: [{{name: {name}, files: [\"/**\"]}}]`")));
    }
    if file.version.is_empty() || file.version.contains(char::is_whitespace) {
        problems.push(Diagnostic::at(&file.origin, format!("`{}` is not a version", file.version)));
    }
    let recipe = Recipe {
        // What goes wrong later is shown under the recipe's name, not under the file's first line.
        origin: file.recipe.origin,
        name: file.recipe.value,
        version: file.version,
        license: file.license.0,
        summary: file.summary,
        runs_on: file.runs_on,
        sources,
        class: class?,
        tools: values(file.tools),
        build_depends: values(file.build_depends),
        tool_depends: values(file.tool_depends),
        patches: file.patches,
        prepare: file.prepare,
        finish: file.finish,
        env: words(file.env),
        packages: file.packages.into_iter().map(package).collect(),
    };
    (problems.len() == before).then_some(recipe)
}

fn package(entry: PackageEntry) -> OutputPackage {
    OutputPackage {
        name: entry.name.value,
        files: entry.files.into_iter().map(|pattern| pattern.0).collect(),
        run_depends: values(entry.run_depends),
        metadata: entry.metadata.into_iter().map(metadata).collect(),
        origin: entry.origin,
    }
}

/// Which of the class's fields each class uses.
const USES: [(Class, &str, &[&str]); 8] = [
    (Class::Make, "make", &["arguments", "install"]),
    (Class::Autotools, "autotools", &["configure", "arguments", "install"]),
    (Class::Cmake, "cmake", &["options"]),
    (Class::Meson, "meson", &["options"]),
    (Class::Cargo, "cargo", &["binaries"]),
    (Class::Kernel, "kernel", &["kind", "fragments", "arguments"]),
    (Class::Prebuilt, "prebuilt", &["install"]),
    (Class::Files, "files", &["install"]),
];

fn class(file: &mut RecipeFile, problems: &mut Vec<Diagnostic>) -> Option<BuildClass> {
    let given = [
        ("configure", file.configure.is_some()),
        ("arguments", file.arguments.is_some()),
        ("install", file.install.is_some()),
        ("options", file.options.is_some()),
        ("binaries", file.binaries.is_some()),
        ("kind", file.kind.is_some()),
        ("fragments", file.fragments.is_some()),
    ];
    for (class, word, uses) in USES.iter().filter(|(class, ..)| *class == file.class) {
        let _ = class;
        for (field, _) in given.iter().filter(|(field, given)| *given && !uses.contains(field)) {
            let list = uses.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            let problem = Diagnostic::at(&file.origin, format!("class `{word}` has no field `{field}`"));
            problems.push(problem.help(format!("it has {list}")));
        }
    }
    let arguments = file.arguments.take().unwrap_or_default();
    let install = file.install.take().unwrap_or_default();
    let origin = &file.origin;
    Some(match file.class {
        Class::Make => BuildClass::Make { arguments, install: make_install(install, problems)? },
        Class::Autotools => BuildClass::Autotools {
            configure: file.configure.take().unwrap_or_default(),
            arguments,
            install: make_install(install, problems)?,
        },
        Class::Cmake => BuildClass::Cmake { options: file.options.take().unwrap_or_default() },
        Class::Meson => BuildClass::Meson { options: file.options.take().unwrap_or_default() },
        Class::Cargo => BuildClass::Cargo { binaries: needed(file.binaries.take(), "binaries", origin, problems)? },
        Class::Kernel => BuildClass::Kernel {
            kind: needed(file.kind.take(), "kind", origin, problems)?,
            fragments: values(file.fragments.take().unwrap_or_default()),
            arguments,
        },
        Class::Prebuilt => BuildClass::Prebuilt { install: files(install, origin, problems)? },
        Class::Files => BuildClass::Files { install: files(install, origin, problems)? },
    })
}

fn needed<T>(field: Option<T>, key: &str, origin: &Origin, problems: &mut Vec<Diagnostic>) -> Option<T> {
    if field.is_none() {
        let problem = Diagnostic::at(origin, format!("this build class needs the field `{key}`"));
        problems.push(problem.help(format!("add `{key}: ...`")));
    }
    field
}

/// Arguments of `make install`.
fn make_install(entries: Vec<InstallEntry>, problems: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let argument = |entry| match entry {
        InstallEntry::Argument(argument) => Some(argument.value),
        InstallEntry::File(file) => {
            let message = "this build class installs with `make`: write its arguments";
            problems.push(Diagnostic::at(&file.origin, message).help("such as `[install, \"DESTDIR=$DESTDIR\"]`"));
            None
        }
    };
    let all: Vec<_> = entries.into_iter().map(argument).collect();
    all.into_iter().collect()
}

fn files(entries: Vec<InstallEntry>, origin: &Origin, problems: &mut Vec<Diagnostic>) -> Option<Vec<InstallFile>> {
    if entries.is_empty() {
        let problem = Diagnostic::at(origin, "this build class needs the field `install`");
        problems.push(problem.help("such as `install: [{from: tool, to: /usr/bin/tool, executable: true}]`"));
        return None;
    }
    let file = |entry| match entry {
        InstallEntry::File(InstallFileEntry { from, to, executable, .. }) => {
            Some(InstallFile { from: from.0, to: to.0, executable })
        }
        InstallEntry::Argument(argument) => {
            let problem = Diagnostic::at(&argument.origin, "this build class installs files: write `from` and `to`");
            problems.push(problem.help(format!("such as `{{from: {}, to: /usr/share/...}}`", argument.value)));
            None
        }
    };
    let all: Vec<_> = entries.into_iter().map(file).collect();
    all.into_iter().collect()
}

fn source(entry: SourceEntry, problems: &mut Vec<Diagnostic>) -> Option<Source> {
    let origin = entry.origin.clone();
    let kinds = [!entry.places.is_empty(), entry.file.is_some(), entry.crates.is_some()];
    if kinds.iter().filter(|given| **given).count() != 1 {
        let problem = Diagnostic::at(&origin, "a source has exactly one of `places`, `file` and `crates`");
        problems.push(problem.help("`places` for an archive, `file` for a path of this project"));
        return None;
    }
    let before = problems.len();
    let archive = entry.file.is_none() && entry.crates.is_none();
    if archive && entry.sha256.is_none() {
        let problem = Diagnostic::at(&origin, "an archive needs its `sha256`");
        problems.push(problem.help("every place must give the same bytes, so they are named by their digest"));
    }
    if !archive && (entry.sha256.is_some() || entry.inner.is_some() || entry.strip.is_some()) {
        let problem = Diagnostic::at(&origin, "`sha256`, `strip` and `inner` are for archives from `places`");
        problems.push(problem.help("remove them: project files and crates have digests of their own"));
    }
    let places: Vec<Place> = match (entry.file, entry.crates) {
        (Some(file), _) => vec![Place::File(file)],
        (_, Some(lock)) => vec![Place::Crates { lock }],
        _ => entry.places.into_iter().filter_map(|entry| place(entry, problems)).collect(),
    };
    if problems.len() > before {
        return None;
    }
    let unpack = if entry.unpack {
        Unpack::Archive { strip: entry.strip.unwrap_or(1), inner: entry.inner }
    } else {
        Unpack::No { file_name: file_name(&places) }
    };
    Some(Source { places, sha256: entry.sha256.map(|digest| digest.0), unpack, into: entry.into, origin })
}

/// The last component of the first place.
fn file_name(places: &[Place]) -> String {
    let text = match places.first() {
        Some(Place::Https(url) | Place::Git { url, .. }) => url.split(['?', '#']).next().unwrap_or(url),
        Some(Place::Debian(path)) => path,
        Some(Place::File(path) | Place::Crates { lock: path }) => path.as_str(),
        None => "",
    };
    text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

fn place(entry: PlaceEntry, problems: &mut Vec<Diagnostic>) -> Option<Place> {
    let PlaceEntry { https, debian, git, commit, origin } = entry;
    let mut wrong = |message: String, help: &str| {
        problems.push(Diagnostic::at(&origin, message).help(help));
        None
    };
    let is_https = |url: &str| url.strip_prefix("https://").is_some_and(|rest| rest.contains('/'));
    match (https, debian, git, commit) {
        (Some(url), None, None, None) if is_https(&url) => Some(Place::Https(url)),
        (Some(url), None, None, None) => wrong(format!("`{url}` is not an https address"), "begin with `https://`"),
        (None, Some(path), None, None) => {
            match path.starts_with("pool/") && crate::model::RelPath::new(&path).is_ok() {
                true => Some(Place::Debian(path)),
                false => wrong(format!("`{path}` is not a path of the Debian archive"), "it begins with `pool/`"),
            }
        }
        (None, None, Some(url), Some(commit)) => {
            let hex = commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if !matches!(commit.len(), 40 | 64) || !hex {
                return wrong(
                    format!("`{commit}` is not a commit"),
                    "write all 40 (or 64) hex digits, not a branch or tag",
                );
            }
            if !is_https(&url) {
                return wrong(format!("`{url}` is not an https address"), "begin with `https://`");
            }
            Some(Place::Git { url, commit })
        }
        (None, None, Some(_), None) => wrong("a git place needs `commit`".to_owned(), "a branch or tag may move"),
        _ => wrong("a place is exactly one of `https`, `debian` and `git`".to_owned(), "write one item for each place"),
    }
}
