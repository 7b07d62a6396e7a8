//! YAML, the lock, a Cargo.lock, path patterns and templates of any text: an answer, never a panic.

use osbuild::config::{lock, yaml};
use osbuild::model::RelPath;
use osbuild::template::{self, Context};
use osbuild::tools::lock::cargo_lock;
use osbuild::tree::glob::Glob;

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(tree) = yaml::parse(text, &"fuzz.yaml".into(), yaml::Limits::FILE) {
        let written = yaml::document(&tree, true);
        let _ = yaml::parse(&written, &"fuzz.yaml".into(), yaml::Limits::FILE);
    }
    if let Ok(read) = lock::parse(text, "osbuild.lock") {
        assert_eq!(lock::parse(&lock::emit(&read), "osbuild.lock"), Ok(read));
    }
    let _ = cargo_lock::parse(text);
    if let Some((Ok(glob), Ok(path))) = text.split_once('\n').map(|(glob, path)| (Glob::new(glob), RelPath::new(path)))
    {
        let _ = glob.matches(&path);
    }
    let _ = template::render(text, "fuzz", &Context::new());
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../layers/core/products/gateway.yaml"),
        include_str!("../../layers/core/machines/qemu-x86_64.yaml"),
        include_str!("../../recipes/curl/recipe.yaml"),
        include_str!("../../rootfs/developer/etc/profile.tera"),
        "schema: 1\ntools:\n  c:\n    - {name: gcc, version: \"12\", file: pool/g.deb, size: 3, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}\nsources: {}\ncrates: {}\n",
        "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+r\"\nchecksum = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n",
        "/usr/**/lib?*.so\nusr/a/b/libx.so",
        "{% if a %}{{ b.c | upper }}{% else %}{# no #}{{ \"x\" ~ 1 + 2 }}{% endif %}",
        "{{ '}}' == ((((((((((((((((((1)))))))))))))))))) }}{# {{ ' #}{% raw %}{{ `(( {% endraw %}",
        "{% set x = 'ab' %}{% set x = x ~ x %}{% set x = [x, x] %}{{ x | json_encode | replace(from='a', to='aaaa') }}",
        "{% set y = 'ab' %}{% for a in [1, 2, 3, 4] %}{% for b in 'abcd' %}{% set_global y = y ~ b %}{% endfor %}{% endfor %}",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
