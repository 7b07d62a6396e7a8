//! Cargo workspaces: built offline from the crates in `vendor/`, linked statically for the device.

use super::target::Target;

pub(super) fn lines(target: &Target, binaries: &[String]) -> String {
    let rust_target = format!("{}-unknown-linux-gnu", target.architecture.gnu_cpu());
    let linker = rust_target.to_uppercase().replace('-', "_");
    let selected: String = binaries.iter().map(|binary| format!(" --bin {binary}")).collect();
    let install: String = binaries
        .iter()
        .map(|binary| format!("install -Dm755 target/{rust_target}/release/{binary} \"$DESTDIR/usr/bin/{binary}\"\n"))
        .collect();
    // A static program is position-independent unless told otherwise: PID 1 of a device is no fixed target.
    format!(
        "export CARGO_HOME=/work/cargo CARGO_TARGET_{linker}_LINKER={tools}-gcc\n\
         export RUSTFLAGS='-C target-feature=+crt-static -C panic=abort \
         --remap-path-prefix=/work=. -C link-arg=-Wl,--build-id=none'\n\
         mkdir -p /work/cargo\n\
         printf '[source.crates-io]\\nreplace-with = \"vendored\"\\n[source.vendored]\\ndirectory = \"/work/src/vendor\"\\n' \
         > /work/cargo/config.toml\n\
         cargo build --release --offline --locked --target {rust_target}{selected}\n\
         {install}",
        tools = target.tools(),
    )
}
