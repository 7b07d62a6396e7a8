//! Any text as a Kconfig file, a fragment and a final configuration, and the check of one by the other.

use osbuild::plan::kconfig::{allconfig, check, diff, read, requested, Configuration, Symbols};

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (tree, fragment) = text.split_once("\n%%\n").unwrap_or((&text, &text));
    // A file that reads itself many times over is bounded by count and depth.
    let symbols = read("Kconfig", "x86", &|path| (path == "Kconfig").then(|| tree.to_owned()));
    let configuration = Configuration::parse(fragment);
    let _ = diff(&configuration, &Configuration::default());
    let Ok(requests) = requested([("a.config", fragment)]) else { return };
    let _ = allconfig(&requests);
    let _ = check(&requests, &Configuration::parse(tree), &[], &symbols.unwrap_or_else(|_| Symbols::default()));
}

pub fn seeds() -> Vec<Vec<u8>> {
    let tree = "menu \"m\"\n\tdepends on NET\nif PCI\nconfig A\n\tbool \"a\" if EXPERT || $(cc-option,-f(x))\n\tdepends on B && !(C = m)\n\tselect D if E\n\thelp\n\t  text\n\nendif\nchoice\n\tprompt \"c\"\nconfig F\n\tint \"f\"\nendchoice\nosource \"absent\"\nendmenu\n%%\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S=\"x\"\nCONFIG_N=0x10\n";
    let texts = [
        tree,
        include_str!("../../kernel-config/hardening.config"),
        include_str!("../../kernel-config/busybox.config"),
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
