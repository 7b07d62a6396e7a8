//! Text for people and scripts, on its way to whoever reads it: takes the place of the standard library's macros.
//!
//! Invariant: a reader that has gone away (`osbuild plan | head`) is no error and ends no build; the standard
//! macros would panic.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::result(format_args!($($text)*)) };
}
macro_rules! println {
    ($($text:tt)*) => { $crate::cli::output::result(format_args!("{}\n", format_args!($($text)*))) };
}
macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::output::remark(format_args!($($text)*)) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::cli::output::remark(format_args!("{}\n", format_args!($($text)*))) };
}

/// To standard output. What does not arrive for another reason than a closed pipe, such as a full disk, must not
/// look like success.
pub fn result(text: Arguments) {
    let mut out = io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            remark(format_args!("error: cannot write to standard output: {error}\n"));
            std::process::exit(1);
        }
        _ => {}
    }
}

/// To standard error, where a failure has nowhere else to be told.
pub fn remark(text: Arguments) {
    let _ = io::stderr().lock().write_fmt(text);
}
