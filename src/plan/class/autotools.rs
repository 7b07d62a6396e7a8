//! Projects with a `configure` script.

use super::target::Target;
use super::words;
use crate::model::recipe::RunsOn;

pub(super) fn lines(target: &Target, configure: &[String], arguments: &[String], install: &[String]) -> String {
    let host = match target.runs_on {
        RunsOn::Device => format!(" --build=x86_64-pc-linux-gnu --host={}", target.triplet()),
        RunsOn::Host => String::new(),
    };
    format!(
        "./configure --prefix=/usr --sysconfdir=/etc --localstatedir=/var{host}{configure}\n\
         make -j\"$(nproc)\"{arguments}\nmake{install}\n",
        configure = words(configure),
        arguments = words(arguments),
        install = if install.is_empty() { " install DESTDIR=$DESTDIR".to_owned() } else { words(install) },
    )
}
