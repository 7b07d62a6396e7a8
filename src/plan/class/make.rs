//! Projects with a hand-written Makefile.

use super::words;

pub(super) fn lines(arguments: &[String], install: &[String]) -> String {
    let install = if install.is_empty() { " install DESTDIR=$DESTDIR".to_owned() } else { words(install) };
    format!("make -j\"$(nproc)\"{arguments}\nmake{install}\n", arguments = words(arguments))
}
