//! What the classes' scripts say for each place to run and each processor.

use super::{quote, script, BuildScript};
use crate::model::machine::{Architecture, KernelCompression};
use crate::model::recipe::{BuildClass, FileMetadata, InstallFile, KconfigKind, OutputPackage, Recipe, RunsOn};
use crate::model::{Origin, PackageName, RecipeName, RelPath};

const X86_64: Architecture = Architecture::X86_64;
const AARCH64: Architecture = Architecture::Aarch64;

fn origin() -> Origin {
    Origin { file: "recipe.yaml".into(), line: 1, column: 1 }
}

fn recipe(class: BuildClass, runs_on: RunsOn) -> Recipe {
    Recipe {
        name: RecipeName::new("r").expect("valid"),
        version: "1".into(),
        license: "MIT".into(),
        summary: String::new(),
        runs_on,
        sources: vec![],
        class,
        tools: vec![],
        build_depends: vec![],
        tool_depends: vec![],
        patches: vec![],
        prepare: None,
        finish: None,
        env: Default::default(),
        packages: vec![],
        origin: origin(),
    }
}

fn class(name: &str) -> BuildClass {
    let kernel = |kind| BuildClass::Kernel { kind, fragments: vec![], arguments: vec![] };
    let path = |text: &str| RelPath::new(text).expect("a path");
    let install = vec![InstallFile { from: Some(path("a")), to: path("usr/a"), executable: true }];
    match name {
        "make" => BuildClass::Make { arguments: vec![], install: vec![] },
        "autotools" => BuildClass::Autotools { configure: vec![], arguments: vec![], install: vec![] },
        "cmake" => BuildClass::Cmake { options: vec![] },
        "meson" => BuildClass::Meson { options: vec![] },
        "cargo" => BuildClass::Cargo { binaries: vec!["x".into()] },
        "linux" => kernel(KconfigKind::Linux),
        "busybox" => kernel(KconfigKind::Busybox),
        "prebuilt" => BuildClass::Prebuilt { install },
        "files" => BuildClass::Files { install },
        other => panic!("no class {other}"),
    }
}

fn built(name: &str, runs_on: RunsOn, architecture: Architecture) -> BuildScript {
    script(&recipe(class(name), runs_on), architecture, KernelCompression::Stored)
}

const CLASSES: [&str; 9] = ["make", "autotools", "cmake", "meson", "cargo", "linux", "busybox", "prebuilt", "files"];

#[test]
fn every_class_is_told_the_processor_of_the_device_or_of_the_build() {
    for name in CLASSES {
        for (runs_on, architecture, cpu, triplet) in [
            (RunsOn::Device, X86_64, "x86_64", "x86_64-linux-musl"),
            (RunsOn::Device, AARCH64, "aarch64", "aarch64-linux-musl"),
            (RunsOn::Host, X86_64, "x86_64", "x86_64-linux-gnu"),
            (RunsOn::Host, AARCH64, "x86_64", "x86_64-linux-gnu"),
        ] {
            let BuildScript { env, lines } = built(name, runs_on, architecture);
            let case = format!("{name} {runs_on:?} {architecture:?}");
            assert_eq!((env["ARCHITECTURE"].as_str(), env["TRIPLET"].as_str()), (cpu, triplet), "{case}");
            let device = runs_on == RunsOn::Device;
            // The kernel finds its own: no program's tool or flag is part of its task.
            if name != "linux" {
                for (tool, program) in [("CC", "gcc"), ("AR", "gcc-ar"), ("STRIP", "strip"), ("LD", "ld")] {
                    assert_eq!(env[tool], format!("{cpu}-linux-gnu-{program}"), "{case}");
                }
                assert_eq!(env.contains_key("SYSROOT"), device, "{case}");
            }
            assert_eq!(lines.contains("\"$STRIP\" --strip-unneeded"), device, "{case}");
            assert_eq!(lines.contains("musl-gcc.specs"), device, "{case}");
            let foreign = if cpu == "x86_64" { "aarch64" } else { "x86_64-linux" };
            assert!(!lines.replace("--build=x86_64-pc-linux-gnu", "").contains(foreign), "{case}: {lines}");
        }
    }
}

/// A class, what it is built for, and what its script says and does not say.
type Case = (&'static str, RunsOn, Architecture, &'static [&'static str], &'static [&'static str]);

#[test]
fn each_class_tells_its_build_system_what_it_builds_for() {
    let cases: &[Case] = &[
        ("autotools", RunsOn::Device, AARCH64, &["--build=x86_64-pc-linux-gnu --host=aarch64-linux-musl"], &[]),
        ("autotools", RunsOn::Device, X86_64, &["--build=x86_64-pc-linux-gnu --host=x86_64-linux-musl"], &[]),
        ("autotools", RunsOn::Host, AARCH64, &[], &["--host"]),
        (
            "cmake",
            RunsOn::Device,
            AARCH64,
            &["PROCESSOR aarch64", "CMAKE_C_COMPILER aarch64-linux-gnu-gcc", "-DCMAKE_TOOLCHAIN_FILE", "env -u CC "],
            &[],
        ),
        ("cmake", RunsOn::Device, X86_64, &["\"${CC#x86_64-linux-gnu-gcc}\""], &["${CC#* }"]),
        ("cmake", RunsOn::Host, AARCH64, &["cmake -S ."], &["-DCMAKE_TOOLCHAIN_FILE", "env -u"]),
        (
            "meson",
            RunsOn::Device,
            AARCH64,
            &["cpu_family = 'aarch64'", "needs_exe_wrapper = true", "--cross-file"],
            &[],
        ),
        ("meson", RunsOn::Device, X86_64, &["cpu_family = 'x86_64'", "needs_exe_wrapper = true"], &[]),
        ("meson", RunsOn::Host, AARCH64, &["meson setup"], &["--cross-file", "needs_exe_wrapper"]),
        (
            "cargo",
            RunsOn::Device,
            AARCH64,
            &[
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc",
                "+crt-static -C panic=abort --remap",
            ],
            &["relocation-model"],
        ),
        ("cargo", RunsOn::Host, AARCH64, &["--target x86_64-unknown-linux-gnu"], &[]),
        (
            "linux",
            RunsOn::Device,
            AARCH64,
            &["ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-", "\"arch/arm64/boot/Image\" \"$DESTDIR/boot/vmlinuz\""],
            &["image_name"],
        ),
        (
            "linux",
            RunsOn::Device,
            X86_64,
            &["ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu-", "image_name)\" \"$DESTDIR"],
            &[],
        ),
        ("busybox", RunsOn::Device, AARCH64, &["ARCH=aarch64", "CC=\"$CC\""], &["CROSS_COMPILE"]),
        ("prebuilt", RunsOn::Device, AARCH64, &["install -Dm755 a \"$DESTDIR\"/usr/a"], &[]),
        ("files", RunsOn::Host, X86_64, &["install -Dm755 a \"$DESTDIR\"/usr/a"], &[]),
        ("make", RunsOn::Device, X86_64, &["make install DESTDIR=$DESTDIR"], &[]),
    ];
    for (name, runs_on, architecture, present, absent) in cases {
        let lines = built(name, *runs_on, *architecture).lines;
        for part in *present {
            assert!(lines.contains(part), "{name} {runs_on:?} {architecture:?}: `{part}` is not in {lines}");
        }
        for part in *absent {
            assert!(!lines.contains(part), "{name} {runs_on:?} {architecture:?}: `{part}` is in {lines}");
        }
    }
}

#[test]
fn programs_of_the_device_are_hardened_and_find_every_pkg_config_file() {
    let flags = |runs_on, architecture| built("make", runs_on, architecture).env["CFLAGS"].clone();
    let (x86_64, aarch64) = (flags(RunsOn::Device, X86_64), flags(RunsOn::Device, AARCH64));
    for flag in ["-fstack-protector-strong", "-fstack-clash-protection", "-fPIC", "-ffile-prefix-map=/work=."] {
        assert!(x86_64.contains(flag) && aarch64.contains(flag), "{flag}");
    }
    assert!(x86_64.contains("-fcf-protection") && !x86_64.contains("branch-protection"));
    assert!(aarch64.contains("-mbranch-protection=standard") && !aarch64.contains("cf-protection"));
    assert!(!flags(RunsOn::Host, AARCH64).contains("protection"));
    let env = built("make", RunsOn::Device, X86_64).env;
    let folders = "/work/sysroot/usr/lib/pkgconfig:/work/sysroot/usr/share/pkgconfig";
    assert_eq!(env["PKG_CONFIG_LIBDIR"], folders);
}

/// The kernel takes longer than all the rest: what its task is told must not change for a program's sake.
#[test]
fn flags_for_programs_are_no_part_of_the_kernels_task() {
    let names: Vec<String> = built("linux", RunsOn::Device, X86_64).env.into_keys().collect();
    assert_eq!(names, ["ARCHITECTURE", "TRIPLET"]);
}

#[test]
fn a_set_id_file_or_folder_is_refused_unless_its_mode_is_declared() {
    let mut recipe = recipe(class("make"), RunsOn::Device);
    let lines = script(&recipe, X86_64, KernelCompression::Stored).lines;
    assert!(lines.starts_with("mkdir -p out\n[ ! -g out ] || chmod g-s out\n"), "{lines}");
    assert!(lines.contains("find . ! -type l -perm /6000)"), "{lines}");
    let metadata = |path: &str, mode: Option<u32>| FileMetadata {
        path: RelPath::new(path).expect("a path"),
        user: None,
        group: None,
        mode,
        xattrs: Default::default(),
        device: None,
        origin: origin(),
    };
    recipe.packages.push(OutputPackage {
        name: PackageName::new("p").expect("valid"),
        files: vec![],
        run_depends: vec![],
        metadata: vec![metadata("usr/bin/su", Some(0o4755)), metadata("usr/bin/other", None)],
        origin: origin(),
    });
    let lines = script(&recipe, X86_64, KernelCompression::Stored).lines;
    assert!(lines.contains("-perm /6000 ! -path ./usr/bin/su)"), "{lines}");
}

#[test]
fn words_reach_the_program_as_written() {
    for (word, quoted) in [
        ("--prefix=/usr", "--prefix=/usr"),
        ("CC=gcc -Os", "\"CC=gcc -Os\""),
        ("$DESTDIR/x", "\"$DESTDIR/x\""),
        ("a\"b", "\"a\\\"b\""),
        ("", "\"\""),
    ] {
        assert_eq!(quote(word), quoted);
    }
}
