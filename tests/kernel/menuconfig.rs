//! The editor in a real terminal, and the shell, which shares its way to the terminal.

use crate::command::osbuild;
use crate::command::terminal::Terminal;
use crate::Project;

const ESCAPE: &str = "\x1b\x1b";

#[test]
fn without_a_terminal_the_editor_says_what_to_use_instead() {
    let project = Project::of_this_repository();
    osbuild(&project, &["kernel", "menuconfig"])
        .fails_with(&["the editor needs a terminal", "help: run it in a terminal, or use `osbuild kernel set"]);
}

#[test]
fn what_is_changed_in_the_editor_becomes_a_fragment_and_what_that_contradicts_is_named() {
    let project = Project::copy();
    let mut terminal = Terminal::start(&project, &["kernel", "menuconfig", "--save", "kernel-config/ram.config"]);
    // Search, jump to what was found, change it, and leave level by level.
    terminal.sees("Legend").types("/").sees("Enter (sub)string").types("BLK_DEV_RAM\r").sees("Defined at");
    terminal.types("1").sees("Legend").types("y").sees("Default number").types(ESCAPE).sees("Defined at").types(ESCAPE);
    terminal.sees("Legend").types("/").sees("Enter (sub)string").types("I6300ESB_WDT\r").sees("Defined at");
    terminal.types("1").sees("Legend").types("n").types(ESCAPE).sees("Defined at").types(ESCAPE);
    terminal.sees("Legend").types(ESCAPE).sees("save your new configuration").types("\r");
    let ended = terminal.ends().succeeds();
    let fragment = "CONFIG_BLK_DEV_RAM=y\n# CONFIG_I6300ESB_WDT is not set\n";
    assert_eq!(ended.output, fragment, "{}", ended.errors);
    for line in [
        "by themselves follow:\n  CONFIG_BLK_DEV_RAM_COUNT: n -> 16\n",
        // Only the watchdog had needed it, and the editor would have left it.
        "  CONFIG_WATCHDOG_CORE: y -> n\n",
        "conflict: kernel-config/virtual-board.config:",
        "requests `CONFIG_I6300ESB_WDT=y`, which is now: n",
        "add `ram` to `kernel-fragments` of the product",
    ] {
        assert!(ended.errors.contains(line), "`{line}` is not in:\n{}", ended.errors);
    }
    let written = std::fs::read_to_string(project.root.join("kernel-config/ram.config")).expect("read");
    assert_eq!(written, fragment);
}

#[test]
fn busybox_has_the_same_editor_and_keeping_what_is_there_changes_nothing() {
    let project = Project::of_this_repository();
    let mut terminal = Terminal::start(&project, &["kernel", "menuconfig", "--recipe", "busybox"]);
    terminal.sees("Legend").types(ESCAPE).sees("save your new configuration").types("\r");
    let ended = terminal.ends().succeeds();
    assert_eq!(ended.output, "");
    assert!(ended.errors.contains("busybox: nothing was changed"), "{}", ended.errors);
}

#[test]
fn a_shell_has_a_terminal_of_its_own_and_ctrl_c_does_not_end_it() {
    let project = Project::of_this_repository();
    let mut terminal = Terminal::start(&project, &["shell", "zlib:build"]);
    terminal.sees("$ ").types("stty size; echo $TERM\r").sees("32 100").sees("xterm-256color");
    terminal.resize(40, 120).types("stty size\r").sees("40 120");
    // Typed with quotes, so that what is seen is the program's word and not the line's echo.
    for _ in 0..2 {
        terminal.types("sh -c 'echo rea\"\"dy; exec sleep 100'\r").sees("ready").types("\x03").sees("$ ");
    }
    terminal.types("echo still $((40 + 2))\r").sees("still 42");
    terminal.types("exit\r");
    let ended = terminal.ends().succeeds();
    assert!(!ended.errors.contains("no job control"), "{}", ended.errors);
}
