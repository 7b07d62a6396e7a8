use super::*;
use proptest::prelude::*;
use serde_json::json;

fn context() -> Context {
    Context::from_json(json!({
        "version": "1.3.1", "features": {"ssh": true, "wifi": false}, "vars": {"site": "lab", "port": 22},
        "users": {"root": {"uid": 0, "shell": null}},
    }))
}

fn fails(text: &str) -> TemplateError {
    render(text, "rootfs/etc/motd.tera", &context()).expect_err(text)
}

#[test]
fn values_conditions_and_loops_are_rendered() {
    for (text, expected) in [
        ("zlib-{{ version }}.tar.gz", "zlib-1.3.1.tar.gz"),
        ("{{vars.port}} {{ features.ssh }}", "22 true"),
        ("{% if features.ssh %}ssh{% else %}none{% endif %}", "ssh"),
        ("{% for name, user in users %}{{ name }}:{{ user.uid }}{% endfor %}", "root:0"),
        ("{{ vars.site | upper }}", "LAB"),
        ("{% if other is defined %}{{ other.deep }}{% endif %}", ""),
        ("{{ other | default(value=\"x\") }}", "x"),
        ("a {# comment #}b", "a b"),
        ("no { braces } here", "no { braces } here"),
        ("{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"),
    ] {
        assert_eq!(render(text, "t", &context()).expect(text), expected);
    }
}

#[test]
fn an_undefined_name_is_an_error_with_its_place_and_a_suggestion() {
    let error = fails("hello\nat {{ vars.sitr }}\n");
    assert_eq!((error.line, error.column), (2, 7));
    assert_eq!(error.message, "`vars.sitr` is not defined");
    assert_eq!(error.help.as_deref(), Some("did you mean `vars.site`?"));
    assert_eq!(
        error.to_string(),
        "`vars.sitr` is not defined\n --> rootfs/etc/motd.tera:2:7\n  |\n2 | at {{ vars.sitr }}\n  |       ^\n\
         help: did you mean `vars.site`?"
    );
    assert_eq!(fails("{{ versoin }}").help.as_deref(), Some("did you mean `version`?"));
}

#[test]
fn an_undefined_name_is_found_where_tera_would_take_it_for_false() {
    for text in [
        "{% if features.shs %}x{% endif %}",
        "{% if not features.shs %}x{% endif %}",
        "{% if features.wifi %}{{ nowhere }}{% endif %}",
        "{% if features.ssh and features.shs %}x{% endif %}",
        "{% for x in nowhere %}{% endfor %}",
        "{% set a = nowhere %}",
    ] {
        assert!(fails(text).message.ends_with("is not defined"), "{text}");
    }
}

#[test]
fn syntax_errors_carry_their_place() {
    let error = fails("one\ntwo {{ version");
    assert_eq!(error.line, 2, "{error}");
    assert!(error.message.starts_with("the template cannot be read"), "{error}");
}

#[test]
fn nothing_but_the_context_has_a_way_in() {
    for text in ["{{ get_env(name=\"HOME\") }}", "{{ now() }}", "{% include \"x\" %}", "{% import \"x\" as y %}"] {
        assert!(render(text, "t", &context()).is_err(), "{text}");
    }
}

#[test]
fn a_template_cannot_exhaust_the_stack_or_the_memory() {
    let operators = format!("{{{{ {} }}}}", vec!["1"; 200_000].join("+"));
    let brackets = format!("{{{{ {}1{} }}}}", "(".repeat(17), ")".repeat(17));
    let blocks = "{% if true %}".repeat(50_000);
    let filters = format!("{{{{ version {} }}}}", "| upper ".repeat(100_000));
    for (text, expected) in [
        (operators, "this tag is longer than 1024 bytes"),
        (brackets, "more than 16 brackets are open at once"),
        (blocks, "more than 32 blocks are open at once"),
        (filters, "this tag is longer than 1024 bytes"),
        ("{{ range(end=1000000000) }}".to_owned(), "function `range` is not available in templates"),
    ] {
        assert_eq!(fails(&text).message, expected);
    }
    let deepest = format!("{{{{ {}1{} }}}}", "(".repeat(16), ")".repeat(16));
    let longest = format!("{{{{ {} }}}}", vec!["1"; 500].join("+"));
    let nested = format!("{}x{}", "{% if true %}".repeat(32), "{% endif %}".repeat(32));
    for text in [deepest, longest, nested, "{% if not true and not false %}x{% endif %}".to_owned()] {
        render(&text, "t", &context()).unwrap_or_else(|error| panic!("{error}"));
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n{}%#.|\u{e9}]{0,60}") {
        let _ = render(&text, "t", &context());
    }

    #[test]
    fn the_short_way_gives_what_tera_gives(words in prop::collection::vec("[a-z{}. ]{0,6}|\\{\\{ ?(version|vars.port|features.ssh|vars.site) ?\\}\\}", 0..6)) {
        let text = words.concat();
        let whole = tera::Tera::one_off(&text, &context().0, false);
        if let (Ok(short), Ok(whole)) = (render(&text, "t", &context()), whole) {
            prop_assert_eq!(short, whole);
        }
    }
}
