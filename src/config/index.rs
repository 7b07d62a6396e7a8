//! Files of all layers in, what each name stands for out.
//!
//! Invariant: where layers define one name twice, the higher priority counts; a tie is an error.

use super::cycle;
use super::diagnostic::{suggest, Diagnostic};
use super::file::layer::LayerFile;
use super::file::overriding::{OverrideFile, TargetKind};
use super::gaps::Gaps;
use super::read::{File, Kind, Project};
use super::record;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Index {
    pub machines: BTreeMap<String, File>,
    pub products: BTreeMap<String, File>,
    pub tools: BTreeMap<String, File>,
    pub recipes: BTreeMap<String, File>,
    pub apps: BTreeMap<String, File>,
    /// From the lowest priority to the highest.
    pub overrides: Vec<OverrideFile>,
    /// Of Debian's archive, as the highest layer that names any has them.
    pub suites: Vec<String>,
}

impl Index {
    pub fn of(&self, kind: TargetKind) -> &BTreeMap<String, File> {
        match kind {
            TargetKind::Machine => &self.machines,
            TargetKind::Product => &self.products,
            TargetKind::Tools => &self.tools,
            TargetKind::Recipe => &self.recipes,
            TargetKind::App => &self.apps,
        }
    }
}

/// Sorts the project's files; takes them out of `project`.
pub fn build(project: &mut Project, problems: &mut Vec<Diagnostic>) -> Index {
    let mut files = std::mem::take(&mut project.files);
    let (priorities, suites) = layers(&files, &project.gaps, problems);
    let priority = |file: &File| file.layer.as_ref().map_or(-1, |l| priorities.get(&**l).copied().unwrap_or(0));
    // Stable: within one priority, by layer and path, as they were found.
    files.sort_by_key(priority);
    let mut index = Index { suites, ..Index::default() };
    for file in files {
        check_name(&file, problems);
        let map = match file.kind {
            Kind::Layer => continue,
            Kind::Override => {
                match record::read(&file.tree, problems) {
                    Some(one) => index.overrides.push(one),
                    None => project.gaps.add(Kind::Override, &file.stem, project.sources.get(&file.path).cloned()),
                }
                continue;
            }
            Kind::Machine => &mut index.machines,
            Kind::Product => &mut index.products,
            Kind::Tools => &mut index.tools,
            Kind::Recipe => &mut index.recipes,
            Kind::App => &mut index.apps,
        };
        if let Some(lower) = map.get(&file.stem) {
            if priority(lower) == priority(&file) {
                let message = format!("{} `{}` is defined twice, also at {}", file.kind.key(), file.stem, lower.path);
                let help = "give one of the layers a higher priority, or write an override";
                problems.push(Diagnostic::at(&file.tree.origin, message).help(help));
            }
        }
        map.insert(file.stem.clone(), file);
    }
    check_targets(&index, &project.gaps, problems);
    index
}

/// The priority of each layer, and the suites of the archive.
fn layers(files: &[File], gaps: &Gaps, problems: &mut Vec<Diagnostic>) -> (BTreeMap<String, i64>, Vec<String>) {
    let layers: Vec<LayerFile> = files
        .iter()
        .filter(|file| file.kind == Kind::Layer)
        .filter_map(|file| record::read(&file.tree, problems))
        .collect();
    let names: BTreeMap<&str, &LayerFile> = layers.iter().map(|l| (l.layer.value.as_str(), l)).collect();
    for (layer, depended) in layers.iter().flat_map(|layer| layer.depends.iter().map(move |d| (layer, d))) {
        let name = &depended.value;
        match names.get(name.as_str()) {
            None if gaps.may_define(Kind::Layer, name) => {}
            None => problems.push(
                Diagnostic::at(&depended.origin, format!("there is no layer `{name}`"))
                    .maybe_help(suggest(name, names.keys().copied())),
            ),
            Some(below) if below.priority >= layer.priority && below.layer.value != layer.layer.value => {
                let (high, low) = (below.priority, layer.priority);
                let message = format!("layer `{name}` of priority {high} is not below this one, of priority {low}");
                problems.push(Diagnostic::at(&depended.origin, message).help("raise the `priority` of this layer"));
            }
            Some(_) => {}
        }
    }
    let edges = |layer: &'_ LayerFile| layer.depends.len();
    let graph: cycle::Graph = layers
        .iter()
        .filter(|layer| edges(layer) > 0)
        .map(|layer| {
            (layer.layer.value.as_str(), layer.depends.iter().map(|d| (d.value.as_str(), &d.origin)).collect())
        })
        .collect();
    problems.extend(cycle::problems(&graph, "layers", "builds on"));
    let priorities = layers.iter().map(|layer| (layer.layer.value.clone(), i64::from(layer.priority)));
    (priorities.collect(), suites(&layers, problems))
}

fn suites(layers: &[LayerFile], problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    for suite in layers.iter().flat_map(|layer| &layer.suites) {
        if suite.value.is_empty() || !suite.value.bytes().all(plain) {
            let message = format!("`{}` is not the name of a suite", suite.value);
            problems.push(Diagnostic::at(&suite.origin, message).help("as in `bookworm-backports`"));
        }
    }
    let highest = layers.iter().filter(|layer| !layer.suites.is_empty()).max_by_key(|layer| layer.priority);
    highest.map(|layer| layer.suites.iter().map(|suite| suite.value.clone()).collect()).unwrap_or_default()
}

/// A file is found by its name, so the name inside must be the same.
fn check_name(file: &File, problems: &mut Vec<Diagnostic>) {
    let key = file.kind.key();
    let Some(node) = file.tree.get(key).filter(|_| file.kind != Kind::Override) else { return };
    if let Some(name) = node.text().filter(|name| *name != file.stem) {
        let message = format!("this {key} is named `{name}`, but its path says `{}`", file.stem);
        let help = format!("write `{key}: {}`, or rename the file", file.stem);
        problems.push(Diagnostic::at(&node.origin, message).help(help));
    }
}

fn check_targets(index: &Index, gaps: &Gaps, problems: &mut Vec<Diagnostic>) {
    for one in &index.overrides {
        let target = &one.target.value;
        let known = index.of(target.kind);
        let (what, kind) = match target.kind {
            TargetKind::Machine => ("machine", Kind::Machine),
            TargetKind::Product => ("product", Kind::Product),
            TargetKind::Tools => ("tool tree", Kind::Tools),
            TargetKind::Recipe => ("recipe", Kind::Recipe),
            TargetKind::App => ("app", Kind::App),
        };
        if !known.contains_key(&target.name) && !gaps.may_define(kind, &target.name) {
            let message = format!("there is no {what} `{}` to override", target.name);
            let help = suggest(&target.name, known.keys().map(String::as_str));
            problems.push(Diagnostic::at(&one.target.origin, message).maybe_help(help));
        }
        let Some(when) = &one.when else { continue };
        let named = [
            when.product.as_ref().map(|p| (Kind::Product, p.value.as_str(), &p.origin, &index.products)),
            when.machine.as_ref().map(|m| (Kind::Machine, m.value.as_str(), &m.origin, &index.machines)),
        ];
        for (kind, name, origin, known) in named.into_iter().flatten() {
            if !known.contains_key(name) && !gaps.may_define(kind, name) {
                let help = suggest(name, known.keys().map(String::as_str));
                problems.push(Diagnostic::at(origin, format!("there is no {} `{name}`", kind.key())).maybe_help(help));
            }
        }
    }
}
