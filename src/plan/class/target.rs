//! The compiler's view of a target: environment and flags shared by all classes.
//!
//! Invariant: no flag depends on the machine that builds; build paths are mapped away.

use crate::model::machine::Architecture;
use crate::model::recipe::{Recipe, RunsOn};
use std::collections::BTreeMap;

/// Compiler flags of everything that runs on the device: small, hardened, reproducible. `_FORTIFY_SOURCE` is not
/// among them: it is a promise of the C library's headers, and musl's make none.
const DEVICE_CFLAGS: &str = "-Os -pipe -fstack-protector-strong -fstack-clash-protection -fPIC \
    -ffunction-sections -fdata-sections -ffile-prefix-map=/work=.";
const DEVICE_LDFLAGS: &str = "-Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,--as-needed -Wl,--build-id=none";
const HOST_CFLAGS: &str = "-O2 -pipe -ffile-prefix-map=/work=.";

pub(super) struct Target {
    pub runs_on: RunsOn,
    pub architecture: Architecture,
}

impl Target {
    pub fn of(recipe: &Recipe, architecture: Architecture) -> Self {
        let architecture = if recipe.runs_on == RunsOn::Host { Architecture::X86_64 } else { architecture };
        Target { runs_on: recipe.runs_on, architecture }
    }

    /// GNU triplet of Debian's cross tools: `x86_64-linux-gnu`.
    pub fn tools(&self) -> String {
        format!("{}-linux-gnu", self.architecture.gnu_cpu())
    }

    /// GNU triplet of what is built.
    pub fn triplet(&self) -> String {
        let libc = if self.runs_on == RunsOn::Device { "musl" } else { "gnu" };
        format!("{}-linux-{libc}", self.architecture.gnu_cpu())
    }

    pub fn env(&self) -> BTreeMap<String, String> {
        let tools = self.tools();
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        for (name, tool) in [
            ("AR", "gcc-ar"),
            ("RANLIB", "gcc-ranlib"),
            ("NM", "gcc-nm"),
            ("STRIP", "strip"),
            ("OBJCOPY", "objcopy"),
            ("LD", "ld"),
        ] {
            set(name, format!("{tools}-{tool}"));
        }
        let flags = match self.runs_on {
            RunsOn::Device => format!("{DEVICE_CFLAGS} {}", self.control_flow()),
            RunsOn::Host => HOST_CFLAGS.to_owned(),
        };
        set("CC", format!("{tools}-gcc"));
        set("CFLAGS", flags);
        set("TRIPLET", self.triplet());
        set("ARCHITECTURE", self.architecture.gnu_cpu().to_owned());
        if self.runs_on == RunsOn::Device {
            set("LDFLAGS", DEVICE_LDFLAGS.to_owned());
            set("SYSROOT", "/work/sysroot".to_owned());
            let folders = ["lib", "share"].map(|folder| format!("/work/sysroot/usr/{folder}/pkgconfig"));
            set("PKG_CONFIG_LIBDIR", folders.join(":"));
            set("PKG_CONFIG_SYSROOT_DIR", "/work/sysroot".to_owned());
        }
        env
    }

    /// Marks where a jump may land, for processors that check it.
    fn control_flow(&self) -> &'static str {
        match self.architecture {
            Architecture::X86_64 => "-fcf-protection",
            Architecture::Aarch64 => "-mbranch-protection=standard",
        }
    }

    /// Shell lines that point the compiler at the sysroot's C library, where there is one.
    pub fn select_libc(&self) -> &'static str {
        match self.runs_on {
            // The C library's own recipe and the kernel's headers are built before there is one.
            RunsOn::Device => {
                "if [ -e /work/sysroot/usr/lib/musl-gcc.specs ]; then \
                 export CC=\"$CC -specs=/work/sysroot/usr/lib/musl-gcc.specs\"; fi\n"
            }
            RunsOn::Host => {
                "if [ -d /work/sysroot/usr ]; then export CPPFLAGS=-I/work/sysroot/usr/include \
                 LDFLAGS=-L/work/sysroot/usr/lib PKG_CONFIG_PATH=/work/sysroot/usr/lib/pkgconfig:/work/sysroot/usr/share/pkgconfig; fi\n"
            }
        }
    }

    /// Shell lines that strip what was installed for the device.
    pub fn strip(&self) -> String {
        if self.runs_on == RunsOn::Host {
            return String::new();
        }
        let lines = "cd /work/out\nfind . -type f \\( -name '*.so*' -o -perm -u+x \\) | while read -r file; do\n\
                     case $(head -c 4 \"$file\" | od -An -tx1 | tr -d ' ') in \
                     7f454c46) \"$STRIP\" --strip-unneeded -R .comment \"$file\";; esac\ndone\n";
        lines.to_owned()
    }
}
