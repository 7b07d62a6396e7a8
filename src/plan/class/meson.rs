//! Meson projects: a cross file for the device, then setup, compile and install.

use super::target::Target;
use super::words;
use crate::model::recipe::RunsOn;

pub(super) fn lines(target: &Target, options: &[String]) -> String {
    let mut lines = String::new();
    let mut cross = "";
    if target.runs_on == RunsOn::Device {
        let cpu = target.architecture.gnu_cpu();
        // Meson wants the compiler as a list of quoted words. For a device of the build's own processor it would run
        // what it compiled, with a C library that is not there.
        lines.push_str(&format!(
            "cat > /work/cross.ini <<EOF\n[binaries]\nc = [$(printf \"'%s', \" $CC)]\nar = '$AR'\nstrip = '$STRIP'\n\
             pkg-config = 'pkg-config'\n[host_machine]\nsystem = 'linux'\ncpu_family = '{cpu}'\ncpu = '{cpu}'\n\
             endian = 'little'\n[properties]\nsys_root = '/work/sysroot'\n\
             needs_exe_wrapper = true\nEOF\n"
        ));
        cross = " --cross-file /work/cross.ini";
    }
    lines.push_str(&format!(
        "meson setup /work/build --prefix=/usr --libdir=lib --buildtype=plain --wrap-mode=nodownload{cross}{options}\n\
         ninja -C /work/build\n\
         meson install -C /work/build --no-rebuild\n",
        options = words(options),
    ));
    lines
}
