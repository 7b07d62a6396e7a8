//! Files that are installed as they are: from somebody else's archive, or from this project.

use super::quote;
use crate::model::recipe::InstallFile;

pub(super) fn lines(install: &[InstallFile]) -> String {
    let mut lines = String::new();
    for file in install {
        let from = file.from.as_ref().map_or(".", |from| from.as_str());
        let to = file.to.as_str();
        let mode = if file.executable { "755" } else { "644" };
        lines.push_str(&format!(
            "if [ -d {from} ]; then mkdir -p \"$DESTDIR\"/{to}; cp -R {from}/. \"$DESTDIR\"/{to}/; \
             else install -Dm{mode} {from} \"$DESTDIR\"/{to}; fi\n",
            from = quote(from),
            to = quote(to),
        ));
    }
    lines
}
