//! Tasks that do what they may not: reach the network, write elsewhere, leave nothing.

use crate::command::{osbuild, Ended, Project};
use crate::server::serve;

fn fails(name: &str, script: &str, parts: &[&str]) -> (Project, Ended) {
    let project = Project::copy();
    project.script(name, script);
    let (failed, place) = (format!("task `{name}:build` failed"), format!("--> recipes/{name}/recipe.yaml:"));
    let ended = osbuild(&project, &["build", name]).fails_with(&[&failed, &place, "help: "]).fails_with(parts);
    (project, ended)
}

#[test]
fn a_task_reaches_no_network_not_even_that_of_the_host() {
    let connect = |host: &str| format!("bash -c 'exec 3<>/dev/tcp/{host}; echo GET >&3'");
    let parts = ["Network is unreachable", "tasks have no network", "under `sources` of the recipe"];
    fails("away", &connect("192.0.2.1/80"), &parts);
    let server = serve(|_, _| Ok(()));
    let address = server.url().replace("http://", "").replace(':', "/");
    fails("near", &connect(&address), &["Connection refused", "tasks have no network"]);
    fails("named", &connect("mirror.example/80"), &["Name or service not known", "tasks have no network"]);
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_task_writes_nowhere_but_in_its_own_folders() {
    let parts = ["Read-only file system", "a task can write below `/work` and `/tmp` only", "$DESTDIR"];
    for (name, path) in [("tools", "/usr/escaped"), ("system", "/etc/escaped"), ("root", "/escaped")] {
        fails(name, &format!("echo 1 > {path}"), &parts);
    }
    fails("kernel", "echo host > /proc/sys/kernel/hostname", &parts);
    // What it does to its inputs stays with it: the next recipe sees them as they are.
    let project = Project::copy();
    project.script("vandal", "echo spoilt > etc/hosts.tera\nrm etc/motd.tera\nmkdir $DESTDIR/x");
    project.script("victim", "mkdir $DESTDIR/x\ncp etc/hosts.tera etc/motd.tera $DESTDIR/x");
    osbuild(&project, &["build", "vandal"]).succeeds();
    osbuild(&project, &["build", "victim"]).succeeds();
    let seen = std::fs::read_to_string(project.root.join("out/recipes/victim/x/hosts.tera")).expect("read");
    assert_eq!(seen, std::fs::read_to_string(project.root.join("rootfs/base/etc/hosts.tera")).expect("read"));
}

#[test]
fn a_task_without_its_output_or_with_a_setuid_file_is_told_so() {
    fails("nothing", "rmdir $DESTDIR", &["it did not leave its output `out`"]);
    let project = Project::copy();
    let script = "mkdir -p $DESTDIR/usr\necho 1 > $DESTDIR/usr/x\nchmod 4755 $DESTDIR/usr/x\nprintf 'all:\\ninstall:\\n' > Makefile";
    project.script("privileged", script);
    project.edit("recipes/privileged/recipe.yaml", "\n  exit 0\n", "\n");
    osbuild(&project, &["build", "privileged"]).fails_with(&[
        "task `privileged:build` failed",
        "setuid or setgid, but not in the metadata of a package of privileged: ./usr/x",
        "help: declare it under `metadata` of the package",
    ]);
}

#[test]
fn a_folder_that_hands_its_group_on_is_told_too() {
    let project = Project::copy();
    let script = "mkdir -p $DESTDIR/usr/games\nchmod 2775 $DESTDIR/usr/games\nprintf 'all:\\ninstall:\\n' > Makefile";
    project.script("shared", script);
    project.edit("recipes/shared/recipe.yaml", "\n  exit 0\n", "\n");
    let parts = ["setuid or setgid, but not in the metadata of a package of shared: ./usr/games"];
    osbuild(&project, &["build", "shared"]).fails_with(&parts);
    let metadata = "files: [\"/**\"]\n    metadata: [{path: /usr/games, mode: \"2775\"}]";
    project.edit("recipes/shared/recipe.yaml", "files: [\"/**\"]", metadata);
    osbuild(&project, &["build", "shared"]).succeeds();
}

#[test]
fn a_set_id_bit_in_the_project_is_declared_or_refused_before_anything_runs() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::copy();
    project.write("rootfs/base/usr/bin/door.tera", "#!/usr/bin/osagent\n");
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(project.root.join("rootfs/base/usr/bin/door.tera"), mode).expect("set");
    let message = "`rootfs/base/usr/bin/door.tera` has mode 4755, but no metadata says the mode of `/usr/bin/door`";
    let place = "--> layers/core/products/gateway.yaml:";
    osbuild(&project, &["plan"]).fails_with(&[message, place, "help: add `{path: /usr/bin/door, mode: \"4755\"}`"]);
    let metadata = "metadata: [{path: /bin/door, mode: \"4755\"}]\nhostname: gateway\n";
    project.edit("layers/core/products/gateway.yaml", "hostname: gateway\n", metadata);
    osbuild(&project, &["plan"]).succeeds();
}

#[test]
fn what_a_failed_task_left_is_there_for_a_shell() {
    let script = "mkdir -p $DESTDIR/usr\necho 1 > $DESTDIR/usr/x\nfalse";
    let (project, ended) = fails("broken", script, &["exit status 1", "the whole log is in `"]);
    assert!(ended.errors.contains("help: `osbuild shell broken:build`"), "{}", ended.errors);
    let shell = osbuild(&project, &["shell", "broken:build", "--", "ls", "out/usr"]).succeeds();
    assert!(shell.output.contains('x') && shell.errors.contains("as its last failure left it"), "{}", shell.errors);
    osbuild(&project, &["shell", "broken:source"]).fails_with(&["is a step of osbuild itself: it has no sandbox"]);
}

#[test]
fn a_machine_is_told_each_start_and_one_end_of_it() {
    let project = Project::copy();
    project.script("broken", "false");
    let plain = osbuild(&project, &["build", "broken", "--json", "--progress", "plain"]);
    assert_eq!(plain.status, 2, "two styles at once: {}", plain.errors);
    for style in [["--json", "--offline"], ["--progress", "json"]] {
        let ended = osbuild(&project, &["build", "broken", style[0], style[1]]);
        assert_eq!(ended.status, 1);
        let events: Vec<serde_json::Value> =
            ended.errors.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let tasks = |kinds: &[&str]| {
            let of_kind = |event: &&serde_json::Value| kinds.iter().any(|kind| event["event"] == *kind);
            let mut tasks: Vec<String> = events.iter().filter(of_kind).map(|event| event["task"].to_string()).collect();
            tasks.sort();
            tasks
        };
        assert!(tasks(&["started"]).contains(&"\"broken:build\"".to_owned()), "{}", ended.errors);
        assert_eq!(tasks(&["started"]), tasks(&["finished", "failed", "stopped"]), "{}", ended.errors);
    }
}
