//! The `osbuild` program; everything is in the library.

fn main() -> std::process::ExitCode {
    osbuild::cli::main()
}
