//! Hostile apps on the virtual board, one per attack: each must end as `expected.yaml` says, while another app answers.
//!
//! Invariant: every attack of `attacks/` stands in the table, each runs on a real boot, and what was measured is printed.
#![allow(clippy::disallowed_methods)]

#[path = "../command/mod.rs"]
mod command;
mod images;
mod packages;
mod pings;

use command::copy;
use command::guest::{self, Guest};
use command::Project;
use osbuild::config::yaml;
use pings::Pings;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Generous: the board is emulated, and its two processors share the host's with the test.
const LIMIT_MEDIAN: Duration = Duration::from_millis(500);
const LIMIT_WORST: Duration = Duration::from_secs(5);
/// All attacks at once, as the board starts them.
const PATIENCE: Duration = Duration::from_secs(240);
const PINGER_PORT: u16 = 7000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    attack: String,
    /// The system call that ends it.
    killed: Option<String>,
    /// Empty: it cannot say for which.
    refused: Option<Vec<String>>,
    limit: Option<String>,
    #[serde(default)]
    app: String,
}

impl Attack {
    fn id(&self) -> String {
        format!("attack-{}", self.attack)
    }

    /// None: it ended as it must.
    fn objection(&self, end: &Value, log: &str) -> Option<String> {
        let (reason, name) = (&end["reason"], &self.attack);
        let said = log.lines().rev().find(|line| line.contains(&format!("attack {name}: "))).unwrap_or_default();
        let holds = match (&self.killed, &self.refused, self.limit.as_deref()) {
            (Some(call), None, None) => reason["kind"] == "forbidden-call" && reason["name"] == call.as_str(),
            (None, Some(reasons), None) => {
                let code = reason["kind"] == "exit" && reason["code"] == 40;
                code && (reasons.is_empty()
                    || reasons.iter().any(|wanted| said.ends_with(&format!(": refused: {wanted}"))))
            }
            (None, None, Some("memory")) => reason["kind"] == "out-of-memory",
            _ => panic!("`{name}` needs one of killed, refused, limit: memory"),
        };
        (!holds).then(|| format!("{name}: wanted {self:?}\n  got {reason}, and it said: {said}"))
    }
}

fn attacks() -> Vec<Attack> {
    let file = "tests/hostile/expected.yaml".into();
    let table = yaml::parse(include_str!("expected.yaml"), &file, yaml::Limits::FILE).expect("a table");
    serde_json::from_value(table.to_json()).expect("attacks and their ends")
}

fn say(text: &str) {
    // Straight to standard error: what a passed test prints otherwise, the test harness keeps to itself.
    std::io::stderr().write_all(text.as_bytes()).expect("said");
}

/// A developer's product with every attack, and an app that answers.
fn project() -> Project {
    let project = Project::copy();
    let attacks_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/attacks");
    copy::tree(&attacks_folder, &project.root.join("attacks"));
    let packages: String = ["hostile", "pinger", "rebinder", "smuggled"]
        .map(|name| format!("  - name: {name}\n    files: [/usr/bin/{name}]\n    run-depends: [musl]\n"))
        .concat();
    project.write(
        "recipes/attacks/recipe.yaml",
        &format!(
            "schema: 1\nrecipe: attacks\nversion: \"1\"\nsummary: programs that attack\nlicense: Apache-2.0\nsources:\n  - \
             file: attacks\nclass: make\nbuild-depends: [musl]\npackages:\n{packages}"
        ),
    );
    let attacks = attacks();
    for attack in &attacks {
        app(
            &project,
            &attack.id(),
            "hostile",
            &attack.attack,
            &format!("restart: never\nlimits: {{memory: 4M, cpu: 50, processes: 16, files: 64}}\n{}\n", attack.app),
        );
    }
    // It is no part of the product, but brought later.
    app(&project, packages::VISITOR, "hostile", "setuid", "restart: never\n");
    let listens = format!(
        "capabilities: {{listen: [{{port: {PINGER_PORT}, from: network}}]}}\nlimits: {{memory: 4M, processes: 4, files: 32}}\n"
    );
    app(&project, "pinger", "pinger", "", &listens);
    let machine = "layers/core/machines/qemu-x86_64.yaml";
    project.edit(machine, "{2222: 22}", "{2222: 22, 7001: 7000}");
    // The C library lies in the image of each app.
    project.edit(machine, "root: 48M\n  verity: 1M", "root: 128M\n  verity: 2M");
    let (_, line) = guest::key(&project);
    let list: String = attacks.iter().map(|attack| format!(", {}: {{third-party: true}}", attack.id())).collect();
    let product = format!(
        "schema: 1\nproduct: hostile\nextends: gateway-dev\ntitle: Hostile\nvars: {{ssh_key: \"{line}\"}}\napps: {{pinger: \
         {{}}{list}}}\ndns-servers: [127.0.0.1]\nservices: {{rebinder: {{exec: [/usr/bin/rebinder]}}}}\nappend: {{packages: \
         [rebinder]}}\n"
    );
    project.write("layers/core/products/hostile.yaml", &product);
    project
}

fn app(project: &Project, name: &str, program: &str, argument: &str, rest: &str) {
    let exec = match argument {
        "" => format!("[/usr/bin/{program}]"),
        argument => format!("[/usr/bin/{program}, {argument}]"),
    };
    let text = format!(
        "schema: 1\napp: {name}\nversion: \"1.0.0\"\ntitle: {name}\npackages: [{program}]\nexec: {exec}\nabi: {{runtime: \
         1}}\n{rest}"
    );
    project.write(&format!("apps/{name}/app.yaml"), &text);
}

/// Whether it neither runs nor is about to.
fn rests(app: &Value) -> bool {
    !app["last_end"].is_null()
        && !matches!(app["state"].as_str(), Some("running" | "starting" | "stopping" | "waiting"))
}

/// The board has started them all at once; none may have kept it, or another app, from working.
fn wait_for_all(guest: &Guest, attacks: &[Attack]) {
    let start = Instant::now();
    loop {
        let text = guest.shell("osagent app status --json").succeeds().output;
        let all: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let at_work: Vec<String> = attacks.iter().map(Attack::id).filter(|id| !rests(&all[id.as_str()])).collect();
        if at_work.is_empty() {
            say(&format!("all at once, they were over {} s after the board was ready\n", start.elapsed().as_secs()));
            return;
        }
        assert!(start.elapsed() < PATIENCE, "these do not end: {at_work:?}\n{:#}", all[at_work[0].as_str()]);
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Of each app, by its id.
fn users(guest: &Guest) -> BTreeMap<String, u64> {
    let text = guest.shell("osagent app status --json").succeeds().output;
    let all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    all.into_iter().filter_map(|(id, app)| Some((id, app["user"].as_u64()?))).collect()
}

/// Starts it and waits for its end: what the agent says of it, and the end of its log.
fn run(guest: &Guest, id: &str) -> (Value, String) {
    let script = format!(
        "osagent app start {id} || exit 1; i=0; while [ $i -lt 60 ]; do s=$(osagent app status {id} --json); case \"$s\" in \
         *'\"state\": \"running\"'*|*'\"state\": \"starting\"'*) sleep 1;; *) break;; esac; i=$((i+1)); done; echo \"$s\"; \
         echo =====; osagent app logs {id} | tail -n 3"
    );
    let text = guest.shell(&script).succeeds().output;
    let (status, log) = text.split_once("=====").unwrap_or_else(|| panic!("{text}"));
    let status = serde_json::from_str(status).unwrap_or_else(|error| panic!("{error}: {text}"));
    (status, log.to_owned())
}

#[test]
fn every_attack_ends_as_it_must_while_another_app_answers() {
    let project = project();
    let attacks = attacks();
    let mut guest = Guest::start(&project, "hostile");
    wait_for_all(&guest, &attacks);
    let pings = Pings::start(guest.port(PINGER_PORT));
    std::thread::sleep(Duration::from_secs(2));
    say(&format!("answers while nobody attacks: {}\n", pings.since_last()));
    let mut objections = Vec::new();
    for attack in &attacks {
        let (status, log) = run(&guest, &attack.id());
        let measured = pings.since_last();
        let said = log.lines().rev().find_map(|line| line.split_once(": refused: ")).map_or("", |(_, reason)| reason);
        say(&format!("{}: {} {said}; answers: {measured}\n", attack.attack, status["last_end"]["text"]));
        if status["ends"].as_array().is_none_or(|ends| ends.len() < 2) || !rests(&status) {
            objections.push(format!("{}: it did not run and end twice: {status:#}", attack.attack));
        }
        objections.extend(attack.objection(&status["last_end"], &log));
        if !measured.is_within(LIMIT_MEDIAN, LIMIT_WORST) {
            objections.push(format!("{}: the pinger answered too late: {measured}", attack.attack));
        }
    }
    packages::install_all(&project, &guest, &pings, &mut objections);
    assert_eq!(guest.app("pinger")["state"], "running");
    assert!(guest.app("pinger")["last_end"].is_null(), "{:#}", guest.app("pinger"));
    let log_bytes = guest.shell("cat /run/log/apps/attack-log-flood* | wc -c").succeeds().output;
    say(&format!("the log of the flood keeps {} bytes\n", log_bytes.trim()));
    assert!(log_bytes.trim().parse::<u64>().is_ok_and(|bytes| bytes < 2 << 20), "{log_bytes}");
    let before = users(&guest);
    let distinct: BTreeSet<u64> = before.values().copied().collect();
    assert_eq!(distinct.len(), before.len(), "two apps have one user: {before:?}");
    // What was installed, and the user that it got, are there after the power was off.
    guest.restart();
    let visitor = guest.app(packages::VISITOR);
    assert_eq!((&visitor["origin"], &visitor["version"]), (&"installed".into(), &"1.0.0".into()), "{visitor:#}");
    assert_eq!(users(&guest), before);
    assert!(objections.is_empty(), "{} of the attacks:\n{}", objections.len(), objections.join("\n"));
}

#[test]
fn every_attack_of_the_programs_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/attacks");
    let mut written: Vec<String> = Vec::new();
    for name in ["kernel.c", "files.c", "processes.c", "resources.c", "network.c"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("read");
        let (_, list) = text.split_once("_attacks[] = {").expect("a list");
        written.extend(
            list.lines().filter_map(|line| Some(line.trim().strip_prefix("{ \"")?.split_once('"')?.0.to_owned())),
        );
    }
    let table: Vec<String> = attacks().into_iter().map(|attack| attack.attack).collect();
    assert_eq!(table, written);
}
