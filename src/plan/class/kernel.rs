//! Kconfig projects: fragments in, a checked `.config`, then the build.
//!
//! Invariant: the build uses exactly the configuration that the contract check let through.

use super::{stored_lz4, words};
use crate::config::Fragment;
use crate::model::machine::{Architecture, KernelCompression};
use crate::model::product::Waiver;
use crate::model::recipe::{KconfigKind, Recipe};
use crate::model::Origin;
use crate::plan::builder::{mount, output, shell, step, PlanBuilder};
use crate::plan::kconfig;
use crate::plan::steps;
use crate::plan::task::{Input, InputMount};
use serde_json::json;
use std::collections::BTreeMap;

/// Adds `RECIPE:config` and `RECIPE:check`; the result is the checked configuration file.
pub(in crate::plan) fn configure(
    builder: &mut PlanBuilder,
    recipe: &Recipe,
    kind: KconfigKind,
    own: &[String],
    inputs: &[InputMount],
    tools: &Input,
) -> Option<Input> {
    let (fragments, waivers) = requested(builder, recipe, kind, own)?;
    let text = allconfig(builder, kind, &fragments)?;
    let architecture = super::built_for(recipe, builder.config.machine.architecture);
    let lines = configure_script(kind, architecture, &text);
    let command = shell(tools.clone(), BTreeMap::new(), lines);
    let name = format!("{}:config", recipe.name);
    let config = builder.task(name, &recipe.origin, command, inputs.to_vec(), &["config"]);

    let fragments: Vec<_> = fragments.iter().map(|f| json!({ "file": f.file, "text": f.text })).collect();
    let waivers: Vec<_> = waivers
        .iter()
        .map(|w| json!({ "option": w.option, "reason": w.reason, "origin": w.origin.to_string() }))
        .collect();
    let parameters = json!({
        "fragments": fragments, "waivers": waivers, "root": "source/Kconfig",
        "architecture": architecture.kernel(),
    });
    let source = inputs.iter().find(|input| input.path.as_ref().is_some_and(|path| path.as_str() == "src"))?;
    let checked =
        vec![mount("source", source.source.clone()), mount("config", Input::Output(output(config, "config")))];
    let command = step(steps::KCONFIG_CHECK, &parameters);
    let check = builder.task(format!("{}:check", recipe.name), &recipe.origin, command, checked, &["config"]);
    Some(Input::Output(output(check, "config")))
}

/// What the fragments request together, sorted: so a changed comment or order does not rebuild the kernel.
fn allconfig(builder: &mut PlanBuilder, kind: KconfigKind, fragments: &[&Fragment]) -> Option<String> {
    let texts = fragments.iter().map(|fragment| (fragment.file.as_str(), fragment.text.as_str()));
    let requested = kconfig::requested(texts).and_then(|requested| match kind {
        KconfigKind::Linux => kconfig::without_modules(requested),
        KconfigKind::Busybox => Ok(requested),
    });
    match requested {
        Ok(requested) => Some(kconfig::allconfig(&requested)),
        Err(errors) => {
            for error in errors {
                let place = error.place();
                let origin = Origin { file: place.file.clone(), line: place.line, column: 1 };
                builder.problem(&origin, error.message(), Some(error.help().to_owned()));
            }
            None
        }
    }
}

/// Leaves `config`, made from exactly what `allconfig` requests.
pub(super) fn configure_script(kind: KconfigKind, architecture: Architecture, allconfig: &str) -> String {
    format!(
        "cat > requested <<'END_OF_FRAGMENTS'\n{allconfig}END_OF_FRAGMENTS\ncd src\n{make}cp .config /work/config\n",
        make = configure_lines(kind, &make_variables(kind, architecture)),
    )
}

/// Shell lines that turn `/work/requested` into `.config`, with everything else off.
fn configure_lines(kind: KconfigKind, make: &str) -> String {
    match kind {
        KconfigKind::Linux => format!("make {make} KCONFIG_ALLCONFIG=/work/requested allnoconfig\n"),
        // busybox's older `allnoconfig` writes the Config.in files but answers no to what was requested too.
        // So say no to every option that was not requested; what is left takes its default.
        KconfigKind::Busybox => format!(
            "make {make} allnoconfig > /dev/null\n\
             sed -n 's/^#* *\\(CONFIG_[A-Za-z0-9_]*\\)[= ].*/\\1/p' /work/requested > /work/names\n\
             find . -name Config.in -exec sed -n \
             's/^[[:space:]]*config \\([A-Za-z0-9_]*\\)$/# CONFIG_\\1 is not set/p' {{}} + \
             | sort -u | grep -vwFf /work/names | cat - /work/requested > .config\n\
             yes '' | make {make} oldconfig > /dev/null\n"
        ),
    }
}

/// The fragments that apply, in order, and the waivers.
fn requested<'a>(
    builder: &mut PlanBuilder<'a>,
    recipe: &Recipe,
    kind: KconfigKind,
    own: &[String],
) -> Option<(Vec<&'a Fragment>, &'a [Waiver])> {
    let config = builder.config;
    let mut names: Vec<&String> = own.iter().collect();
    let mut waivers: &[Waiver] = &[];
    if kind == KconfigKind::Linux {
        names.extend(&config.machine.kernel_fragments);
        names.extend(&config.product.kernel_fragments);
        waivers = &config.product.kernel_waivers;
    }
    let mut fragments = Vec::new();
    for name in names {
        match config.fragments.get(name) {
            Some(fragment) => fragments.push(fragment),
            None => {
                let message = format!("there is no kernel fragment `{name}`");
                builder.problem(&recipe.origin, message, Some(format!("add `kernel-config/{name}.config`")));
                return None;
            }
        }
    }
    Some((fragments, waivers))
}

/// Variables that make the result independent of who builds, where and when.
pub(super) fn make_variables(kind: KconfigKind, architecture: Architecture) -> String {
    let cross = format!("CROSS_COMPILE={}-linux-gnu-", architecture.gnu_cpu());
    match kind {
        KconfigKind::Linux => format!(
            "ARCH={} {cross} KBUILD_BUILD_USER=osbuild KBUILD_BUILD_HOST=osbuild \
             KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:01 UTC 1970' KBUILD_BUILD_VERSION=1",
            architecture.kernel()
        ),
        KconfigKind::Busybox => format!("ARCH={}", architecture.gnu_cpu()),
    }
}

/// The kernel as an EFI program, which the stub starts; a shell word.
fn image(architecture: Architecture, make: &str) -> String {
    match architecture {
        Architecture::X86_64 => format!("$(make -s {make} image_name)"),
        // What make calls the image is packed with gzip, and so no EFI program.
        Architecture::Aarch64 => "arch/arm64/boot/Image".to_owned(),
    }
}

/// What the build of Linux takes of a program's environment. It finds its tools by `CROSS_COMPILE` and knows its own
/// flags; so a new flag for programs does not compile the kernel anew.
const LINUX_ENV: [&str; 2] = ["ARCHITECTURE", "TRIPLET"];

/// The environment of the build, from that of a program for the same target.
pub(super) fn env(kind: KconfigKind, mut programs: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if kind == KconfigKind::Linux {
        programs.retain(|name, _| LINUX_ENV.contains(&name.as_str()));
    }
    programs
}

/// The build: configuration in place, then the image (linux) or the program and its links (busybox).
pub(super) fn lines(
    kind: KconfigKind,
    architecture: Architecture,
    compression: KernelCompression,
    arguments: &[String],
) -> String {
    let make = make_variables(kind, architecture);
    let arguments = words(arguments);
    // x86 has no image that is not compressed, but make knows its compressor by a variable.
    let (compressor, variable) = match (architecture, compression) {
        (Architecture::X86_64, KernelCompression::Stored) => (stored_lz4::write_script(), stored_lz4::MAKE_VARIABLE),
        _ => (String::new(), ""),
    };
    match kind {
        KconfigKind::Linux => format!(
            "cp ../config .config\n\
             {compressor}\
             make -j\"$(nproc)\" {make}{variable}{arguments}\n\
             install -Dm644 \"{image}\" \"$DESTDIR/boot/vmlinuz\"\n\
             install -Dm644 .config \"$DESTDIR/boot/config\"\n\
             make -s {make} kernelrelease > \"$DESTDIR/boot/release\"\n",
            image = image(architecture, &make),
        ),
        KconfigKind::Busybox => format!(
            "cp ../config .config\n\
             make -j\"$(nproc)\" {make} CC=\"$CC\" AR=\"$AR\" STRIP=\"$STRIP\" SKIP_STRIP=y \
             EXTRA_CFLAGS=\"$CFLAGS\" EXTRA_LDFLAGS=\"$LDFLAGS\"{arguments}\n\
             make {make} CC=\"$CC\" AR=\"$AR\" STRIP=\"$STRIP\" SKIP_STRIP=y EXTRA_CFLAGS=\"$CFLAGS\" \
             EXTRA_LDFLAGS=\"$LDFLAGS\" CONFIG_PREFIX=\"$DESTDIR\" install\n"
        ),
    }
}
