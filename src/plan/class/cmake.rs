//! CMake projects: a toolchain file for the device, then configure, build and install with Ninja or make.

use super::target::Target;
use super::words;
use crate::model::recipe::RunsOn;

pub(super) fn lines(target: &Target, options: &[String]) -> String {
    let mut lines = String::new();
    let mut toolchain = String::new();
    if target.runs_on == RunsOn::Device {
        // Behind the compiler's name stand flags only where the sysroot has a C library.
        lines.push_str(&format!(
            "cat > /work/toolchain.cmake <<EOF\n\
             set(CMAKE_SYSTEM_NAME Linux)\n\
             set(CMAKE_SYSTEM_PROCESSOR {cpu})\n\
             set(CMAKE_C_COMPILER {tools}-gcc)\n\
             set(CMAKE_C_FLAGS_INIT \"${{CC#{tools}-gcc}}\")\n\
             set(CMAKE_FIND_ROOT_PATH /work/sysroot)\n\
             set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)\n\
             set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)\n\
             set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)\n\
             set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)\n\
             EOF\n",
            cpu = target.architecture.gnu_cpu(),
            tools = target.tools(),
        ));
        toolchain.push_str(" -DCMAKE_TOOLCHAIN_FILE=/work/toolchain.cmake");
    }
    // CMake takes its own name for the compiler; the flags behind it come from the toolchain file.
    let unset = if toolchain.is_empty() { "" } else { "env -u CC " };
    lines.push_str(&format!(
        "{unset}cmake -S . -B /work/build -DCMAKE_BUILD_TYPE=None -DCMAKE_INSTALL_PREFIX=/usr \
         -DCMAKE_INSTALL_LIBDIR=lib{toolchain}{options}\n\
         cmake --build /work/build -j \"$(nproc)\"\n\
         cmake --install /work/build\n",
        options = words(options),
    ));
    lines
}
